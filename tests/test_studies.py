"""Studies use public names alone, and the scripts of `experiments/` run in their smallest form."""

import ast
import re
import runpy
import sys
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from senn import add_width
from senn.losses import make_loss, make_metric
from strategies import random_batch, random_network, random_units

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "experiments"


def taken(tree: ast.AST):
    """Every name that is imported, or is an attribute of something else than the object itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
            yield node.attr


def test_studies_use_public_names_alone():
    files = sorted((ROOT / "src" / "senn" / "studies").glob("*.py"))
    assert files
    for path in files:
        for name in taken(ast.parse(path.read_text("utf-8"))):
            assert not re.search(r"(^|\.)_(?!_)", name), f"{path.name} uses {name}"


def test_a_linear_model_grows_to_fit_the_moons(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seeds.py", "moons", "--seeds", "1", "--max-units", "8"])
    runpy.run_path(str(SCRIPTS / "seeds.py"), run_name="__main__")
    found = re.search(r"^ +0 +(0\.\d+) +(\d+) ", capsys.readouterr().out, re.MULTILINE)
    assert found
    assert float(found[1]) > 0.9
    assert 1 < int(found[2]) <= 8


def test_the_rate_of_new_units_alone_is_raised():
    """What `experiments/rewarming.py` compares: the others' updates stay as they are."""
    script = runpy.run_path(str(SCRIPTS / "rewarming.py"), run_name="rewarming")
    first = random_network((3, 2, 2), activation="relu", capacity=4)
    network = add_width(first, 0, *random_units(first, 0, 1))
    batch = random_batch("softmax_cross_entropy", 20, 3, 2)
    loss = make_loss("softmax_cross_entropy")
    metric = make_metric("fisher", loss)

    @eqx.filter_jit
    def moved(factor):
        rule = script["Rewarmed"](factor=factor)
        state = rule.init(network)
        new, *_ = rule.step(network, state, loss, metric, batch, jnp.ones(()))
        return new.hidden[0].dense.bias - network.hidden[0].dense.bias

    plain, twice = (np.asarray(moved(jnp.asarray(factor))) for factor in (1.0, 2.0))
    assert plain[:3].all()
    np.testing.assert_allclose(twice, plain * [1, 1, 2, 1], rtol=1e-6)
