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


def test_channels_are_made_in_four_ways(monkeypatch, capsys):
    words = ["--data", "digits", "--seeds", "1", "--passes", "20", "--max-parameters", "1500"]
    monkeypatch.setattr(sys, "argv", ["channels.py", *words])
    runpy.run_path(str(SCRIPTS / "channels.py"), run_name="__main__")
    *lines, _, _, _, _ = capsys.readouterr().out.splitlines()
    found = [ast.literal_eval(line) for line in lines]
    assert [line["arm"] for line in found] == [
        "grown", "random filters", "random filters, evenly", "from the start",
    ]  # fmt: skip
    assert len({sum(line["channels"]) for line in found}) == 1
    assert len({line["steps"] for line in found}) == 1
    grown, random, _, started = (tuple(line["channels"]) for line in found)
    assert sum(grown) > 24
    assert grown == random == started


def test_what_is_told_of_places_is_ranked_beside_their_gains():
    script = runpy.run_path(str(SCRIPTS / "places.py"), run_name="places")
    lines = [
        {"repeat": r, "channels": (8, 8), "place": f"stage {p}", "gain": gain,
         "price": 2 * gain, "score": -gain, "fit_score": score}
        for r, gains in enumerate(((1.0, 2.0, 3.0), (2.0, 1.0, 4.0)))
        for p, (gain, score) in enumerate(zip(gains, (1.0, 2.0, 3.0), strict=True))
    ]  # fmt: skip
    told = script["table"](lines)
    assert "8-8          stage 1    1.5000 ± 0.5000" in told
    assert "gains with price: 1.00 ± 0.00" in told
    assert "gains with score: -1.00 ± 0.00" in told
    assert "gains with fit_score: 0.75 ± 0.25" in told
