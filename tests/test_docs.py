"""The site holds together: every page and every public name can be found, every snippet runs.

`make docs` builds it in full, with the examples executed and warnings as errors. This is what can
be told of it within seconds.
"""

import importlib
import inspect
import re
import runpy
from fnmatch import fnmatch
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

import senn
from senn import plain
from senn.evaluation import outputs
from senn.nn import activation
from senn.standalone import numpy_predict

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SNIPPETS = sorted(path.stem for path in (DOCS / "snippets").glob("*.py"))
GENERATED = {"gallery/index", *(f"gallery/{path.stem}" for path in EXAMPLES)}
WRITTEN = {
    str(path.relative_to(DOCS).with_suffix(""))
    for path in (*DOCS.rglob("*.md"), *DOCS.rglob("*.rst"))
    if path.relative_to(DOCS).parts[0] not in ("gallery", "snippets", "sg_execution_times.rst")
}
SOURCES = {p: next(DOCS.glob(f"{p}.*")).read_text("utf-8") for p in sorted(WRITTEN)}


def toctree_entries(page: str) -> list[str]:
    """The pages that the toctrees of a page name, globs resolved among pages of that folder."""
    blocks = re.findall(r"^```\{toctree\}\n(.*?)^```", SOURCES[page], re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if line and line[0] != ":"]
    folder = "" if "/" not in page else page.rsplit("/", 1)[0] + "/"
    found = []
    for line in lines:
        same_depth = {p for p in WRITTEN - {page} if p.count("/") == (folder + line).count("/")}
        globbed = sorted(p for p in same_depth if fnmatch(p, folder + line))
        found += globbed if "*" in line else [folder + line]
    return found


def test_every_page_is_in_a_toctree_that_the_index_leads_to():
    reached, todo = {"index"}, ["index"]
    while todo:
        new = set(toctree_entries(todo.pop())) - reached
        reached |= new
        todo += new & WRITTEN
    assert "gallery/index" in reached
    reached |= GENERATED  # sphinx-gallery's own index leads to every example
    assert reached == WRITTEN | GENERATED


def target(page: str, link: str) -> str:
    """The page that a `doc` link leads to."""
    start = DOCS if link.startswith("/") else (DOCS / page).parent
    return str((start / link.lstrip("/")).resolve().relative_to(DOCS))


def doc_links():
    pages = [*SOURCES.items(), *((f"gallery/{p.stem}", p.read_text("utf-8")) for p in EXAMPLES)]
    for page, text in pages:
        for link in re.findall(r"(?:\{doc\}|:doc:)`(?:[^`<]*<)?([^`>]+)>?`", text):
            yield page, link


@pytest.mark.parametrize(("page", "link"), list(doc_links()))
def test_links_between_pages_resolve(page, link):
    assert target(page, link) in WRITTEN | GENERATED


def public_names():
    """All of `senn.__all__`, and what its modules and packages define or re-export."""
    for name in senn.__all__:
        thing = getattr(senn, name)
        if not inspect.ismodule(thing):
            yield f"senn.{name}"
            continue
        for inner in dir(thing):  # of a lazy package its list
            value = getattr(thing, inner)
            alias = value is getattr(senn, inner, None)  # of one that has been listed
            if not (inner.startswith("_") or alias) and belongs(thing, value):
                yield f"senn.{name}.{inner}"


def belongs(module, value) -> bool:
    if hasattr(module, "__path__"):  # a package: what it re-exports, modules aside
        return not inspect.ismodule(value)
    return (inspect.isclass(value) or inspect.isfunction(value)) and (
        value.__module__ == module.__name__
    )


DOCUMENTED = {
    name
    for page, text in SOURCES.items()
    if page.startswith("api/")
    for name in re.findall(r"^\.\. (?:auto\w+|py:\w+):: ([\w.]+)", text, re.MULTILINE)
}


@pytest.mark.parametrize("name", sorted(public_names()))
def test_every_public_name_is_in_the_reference(name):
    assert name in DOCUMENTED


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_every_name_in_the_reference_exists(name):
    module, _, rest = name.partition(".")
    thing = importlib.import_module(module)
    for part in rest.split("."):
        parent = thing.__name__ if inspect.ismodule(thing) else None
        if not hasattr(thing, part) and parent:
            importlib.import_module(f"{parent}.{part}")
        thing = getattr(thing, part)


def roles(text: str) -> list[tuple[str, str]]:
    return re.findall(r"(?:\{|:)(class|func|meth|attr)(?:\}|:)`~?([\w.]+)`", text)


@pytest.mark.parametrize("page", sorted(SOURCES))
def test_references_in_the_text_lead_to_the_reference(page):
    for role, name in roles(SOURCES[page]):
        found = name.rsplit(".", 1)[0] if role in ("meth", "attr") else name
        assert found in DOCUMENTED, name


def test_tables_of_figures_are_made_and_used():
    measured = runpy.run_path(str(DOCS / "measured.py"))
    tables = measured["substitutions"]()
    used = {name for text in SOURCES.values() for name in re.findall(r"\{\{ (\w+) \}\}", text)}
    assert used == set(tables)
    for name, (file, command, _) in measured["SOURCES"].items():
        assert command in tables[name], "a figure without the command that gives it"
        program, what, *_ = command.split()
        assert what == "reproduce" if program == "senn" else (ROOT / what).is_file()
        assert "Not measured" in tables[name] or (ROOT / file).exists()
        cells = {line.count("|") for line in tables[name].splitlines() if line[:1] == "|"}
        assert len(cells) <= 1, "rows of different length"


def run(snippet: str) -> dict:
    return runpy.run_path(str(DOCS / "snippets" / f"{snippet}.py"))


GREEDY = {"every": 2, "depth": False, "alpha": 1e-9, "tau": 1 + 1e-9, "confidence": 0}


def steps(**settings):
    """A few steps with growth, on data that compile once for all."""
    x = np.random.default_rng(0).normal(size=(1024, 3))
    hurry = {
        "optimizer": "adam",
        "proposer": senn.proposals.Random(candidates=64),
        "policy": senn.Policy(**GREEDY),
        "schedule": senn.Schedule(max_steps=6, batch_size=64, sample_size=512, steps_per_call=2),
    }
    network = settings.pop("network", None)
    network = network or senn.nn.MLP(3, 2, (2,), key=jax.random.key(0), capacity=8)
    return senn.fit(network, (x, (x[:, 0] * x[:, 1] > 0).astype(int)), **{**hurry, **settings})


def test_every_snippet_is_shown_and_tested():
    shown = {s for text in SOURCES.values() for s in re.findall(r"snippets/(\w+)\.py", text)}
    assert shown == set(SNIPPETS)
    assert {f"test_snippet_{name}" for name in SNIPPETS} <= set(globals())


def test_snippet_pipeline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run("pipeline")
    houses, model = ran["houses"], ran["model"]
    session = onnxruntime.InferenceSession("houses.onnx")
    label, chances = session.run(None, {name: houses[[name]].to_numpy() for name in houses})
    np.testing.assert_allclose(chances, model.predict_proba(houses), atol=1e-5)
    assert label.tolist() == model.predict(houses).tolist()


def test_snippet_convnet():
    ran = run("convnet")
    network, history = ran["network"], ran["history"]
    assert history.additions
    assert {a.place for a in history.additions} <= {"stage 0", "stage 1"}
    for addition in history.additions:
        np.testing.assert_allclose(addition.loss_after, addition.loss_before, rtol=1e-12)
    found = outputs(network, ran["X"][:5])
    assert found.shape == (5, 10)
    with pytest.raises(ValueError, match=r"needs x \[N, 8, 8, 1\]; got shape \(5, 64\)"):
        outputs(network, ran["X"][:5].reshape(5, 64))


def test_snippet_wrapping():
    ran = run("wrapping")
    assert ran["table"] in SOURCES["guide/wrapping"]
    network, history, module = ran["network"], ran["history"], ran["module"]
    assert {a.place for a in history.additions} <= {"blocks.0.inner", "blocks.1.inner"}
    assert history.additions
    for addition in history.additions:
        np.testing.assert_allclose(addition.loss_after, addition.loss_before, rtol=1e-5)
    assert type(module) is ran["Residual"]
    x = jnp.asarray(ran["X"][:5], module.head.weight.dtype)
    again = eqx.filter_jit(lambda module: jax.vmap(module)(x))(module)
    np.testing.assert_allclose(again, outputs(network, ran["X"][:5]), rtol=1e-4, atol=1e-5)


def test_snippet_partly_rigid():
    assert str(run("partly_rigid")["network"]) in SOURCES["guide/wrapping"]


def test_snippet_callback():
    gains = run("callback")["Gains"]()
    _, history = steps(callbacks=[gains])
    assert list(gains.by_step) == [addition.step for addition in history.additions]
    assert gains.by_step


def test_snippet_policy():
    policy = run("policy")["LastLayerOnly"]()
    network = senn.nn.MLP(3, 2, (2, 2), key=jax.random.key(0))
    assert [place.position for place in policy.actions(network)] == [1]


def test_snippet_proposer():
    _, history = steps(proposer=run("proposer")["Differences"](candidates=16))
    assert history.considerations
    assert all(np.isfinite(c.score) for c in history.considerations)


def test_snippet_optimizer():
    network, history = steps(optimizer=run("optimizer")["NormalizedDescent"]())
    assert history.additions
    dormant = slice(network.hidden_sizes[0], None)
    assert not np.asarray(network.maps[0].weight)[:, dormant].any()


@pytest.fixture
def wave(monkeypatch):
    """The activation of the guide, forgotten afterwards."""
    for table in (activation.ACTIVATIONS, numpy_predict.ACTIVATIONS, plain.LEARNED):
        monkeypatch.setitem(table, "wave", None)
        del table["wave"]
    return run("activation")["Wave"]


def test_snippet_activation(wave, tmp_path):
    """It trains, grows by units and by both kinds of layers, is saved, predicts and is exported."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2)).astype(np.float32)
    y = np.sin(3 * x[:, 0]) * x[:, 1]
    policy = senn.Policy(alpha=1e-9, every=2, layer_every=2, layers_last=False, confidence=0.0)
    model = senn.SENNRegressor(
        hidden_sizes=(3,), activation="wave", max_iter=6, max_layers=2, policy=policy,
        random_state=0,
    ).fit(x, y)  # fmt: skip
    assert model.history_.additions
    assert model.network_.activation is wave
    assert model.network_.hidden[0].activation.theta.shape[0] == 2
    model.save(tmp_path / "model.senn")
    found = senn.load(tmp_path / "model.senn").predict(x)
    np.testing.assert_array_equal(found, model.predict(x))
    by_jax = outputs(model.network_, model.inputs_(x))[:, 0]
    scaled = (found - model.target_scaler_.mean_) / model.target_scaler_.scale_
    np.testing.assert_allclose(scaled, by_jax, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="knows rational, relu, silu, gelu, tanh, not 'wave'"):
        senn.export.to_numpy(model, tmp_path / "model.npz")
    senn.export.to_onnx(model, tmp_path / "model.onnx")
    session = pytest.importorskip("onnxruntime").InferenceSession(tmp_path / "model.onnx")
    (predicted,) = session.run(None, {"X": x})
    np.testing.assert_allclose(predicted, found, rtol=1e-3, atol=1e-4)
    del activation.ACTIVATIONS["wave"], plain.LEARNED["wave"]
    with pytest.raises(ValueError, match=r"'wave' is not known.*must be registered first"):
        senn.load(tmp_path / "model.senn")


def test_identity_layers_of_ones_own_activation_keep_what_is_computed(wave):
    network = senn.nn.MLP(3, 2, (4,), key=jax.random.key(0), activation=wave)
    weight = np.eye(4) + 0.1
    deeper = senn.insert_layer(network, 1, weight, np.zeros(4), "identity")
    x = jax.random.normal(jax.random.key(1), (5, 3))
    np.testing.assert_allclose(deeper(x), network(x), rtol=1e-5, atol=1e-6)


def test_a_name_is_taken_once(wave):
    with pytest.raises(ValueError, match="an activation called 'wave' already"):
        activation.register(type("Other", (wave,), {}))


def test_snippet_layer():
    snippet = run("layer")
    network, history = steps(network=snippet["Passed"](3, 2, units=2), optimizer="kfac")
    assert history.additions
    assert {a.place for a in history.additions} == {"hidden"}
    snippet["check_dormant_slots"](network, jnp.ones((5, 3)))
    woken = eqx.tree_at(lambda n: n.out, network, network.out.at[-1].set(1.0))
    with pytest.raises(AssertionError, match="would wake"):
        snippet["check_dormant_slots"](woken, jnp.ones((5, 3)))


def test_snippet_action():
    network, history = steps(policy=run("action")["SnugPolicy"](**GREEDY))
    assert history.additions
    assert network.capacities == network.hidden_sizes


def test_snippet_researcher():
    assert run("researcher")["network"].hidden_sizes[0] <= 12


def test_snippet_by_hand():
    assert run("by_hand")["grown"].hidden_sizes == (4,)
