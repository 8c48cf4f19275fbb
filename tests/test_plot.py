"""Every function draws on the axes given, what the ledger or the model says."""

import matplotlib as mpl

mpl.use("Agg")

import importlib
import sys

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
import pytest
from sklearn.linear_model import LogisticRegression

import senn
from senn.history import History
from senn.plot import architecture, decision_boundary, decisions, growth, score_landscape
from senn.proposals import Random

RNG = np.random.default_rng(0)
X = np.sort(RNG.normal(size=(64, 1)), axis=0)
DATA = (X, np.sin(3 * X))


@pytest.fixture(scope="module")
def grown():
    """A network of one input, and the ledger of its growth."""
    network = senn.nn.MLP(1, 1, (3,), key=jax.random.key(0), capacity=16)
    return senn.fit(
        network,
        DATA,
        metric="euclidean",
        optimizer=optax.adam(1e-2),
        proposer=Random(candidates=8),
        policy=senn.Policy(tau=1.0001, alpha=1e-9, depth=False, every=4, additions_at_once=2),
        schedule=senn.Schedule(max_steps=24, batch_size=32, evaluate_every=8, sample_size=32),
    )


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


DRAWN = {
    "growth": lambda grown, ax: growth(grown[1], ax=ax),
    "decisions": lambda grown, ax: decisions(grown[1], ax=ax),
    "architecture": lambda grown, ax: architecture(grown[0], ax=ax),
    "architecture in time": lambda grown, ax: architecture(*grown, ax=ax),
    "score_landscape": lambda grown, ax: score_landscape(grown[0], DATA, ax=ax),
    "decision_boundary": lambda _, ax: decision_boundary(*two_classes(), ax=ax),
}


def two_classes():
    x = RNG.normal(size=(40, 2))
    labels = np.where(x[:, 0] > 0, "a", "b")
    return LogisticRegression().fit(x, labels), x, labels


def pixels(ax) -> np.ndarray:
    ax.figure.canvas.draw()
    return np.asarray(ax.figure.canvas.buffer_rgba())


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_it_draws_on_the_axes_given_and_returns_them(grown, ax, draw):
    empty = pixels(ax).copy()
    other = plt.figure().gca()  # the current axes are others
    assert draw(grown, ax) is ax
    assert (pixels(ax) != empty).any()
    assert not other.has_data()
    plt.close(other.figure)


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_without_axes_it_draws_on_the_current_ones(grown, ax, draw):
    assert draw(grown, None) is ax


def test_growth_ends_at_the_units_of_the_ledger(grown, ax):
    _, history = grown
    growth(history, ax=ax)
    (layer,) = ax.collections
    top = layer.get_paths()[0].vertices[:, 1].max()
    assert top == sum(history.additions[-1].hidden_sizes)
    assert len(ax.lines) == len(history.additions)


def test_decisions_has_a_mark_for_every_consideration(grown, ax):
    _, history = grown
    decisions(history, ax=ax)
    marks = {c.get_label(): len(c.get_offsets()) for c in ax.collections}
    accepted = sum(c.accepted for c in history.considerations)
    assert marks["unit added"] == accepted > 0
    assert sum(marks.values()) == len(history.considerations)


def test_decisions_counts_as_the_policy_does(grown, ax):
    _, history = grown
    policy = senn.Policy(tau=1.0001, alpha=1e-9, depth=False)
    decisions(history, policy=policy, ax=ax)
    (added,) = (c for c in ax.collections if c.get_label() == "unit added")
    assert (added.get_offsets()[:, 1] > policy.alpha).all()


def test_architecture_has_a_dot_for_every_unit(grown, ax):
    network, history = grown
    architecture(network, history, ax=ax)
    inputs, hidden, outputs, coloured = (c for c in ax.collections if len(c.get_offsets()) > 0
                                         and type(c).__name__ == "PathCollection")  # fmt: skip
    assert len(inputs.get_offsets()) == len(outputs.get_offsets()) == 1
    assert len(hidden.get_offsets()) == network.hidden_sizes[0]
    assert len(coloured.get_offsets()) == network.hidden_sizes[0] - 3  # those that came


def test_a_network_without_hidden_layers_is_drawn(ax):
    linear = senn.nn.MLP(3, 2, (), key=jax.random.key(0))
    architecture(linear, History(), ax=ax)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["inputs", "outputs"]


def test_the_landscape_is_high_where_units_are_missing(ax):
    """A bump that the network knows nothing of, at 1 and of width 0.2."""
    x = np.linspace(-3, 3, 400)[:, None]
    bump = 1 / (1 + ((x - 1) / 0.2) ** 2)
    linear = senn.nn.MLP(1, 1, (1,), key=jax.random.key(0), activation="tanh", capacity=4)
    network = senn.nn.MLP(1, 1, (1,), key=jax.random.key(0), capacity=4)
    score_landscape(network, (x, bump), ax=ax)
    (mesh,) = (c for c in ax.collections if type(c).__name__ == "QuadMesh")
    scores = mesh.get_array().reshape(60, 120)
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    assert abs(np.linspace(-3, 3, 120)[column] - 1) < 0.3
    assert 0.05 < 6 * np.geomspace(0.01, 1, 60)[row] < 0.8
    assert score_landscape(linear, (x, bump)) is plt.gca()


@pytest.mark.parametrize(
    ("sizes", "layer", "message"),
    [((2, 3), 0, "the network has 2"), ((1, 3), 1, "layer=1 is no hidden layer")],
)
def test_what_has_no_landscape_is_explained(sizes, layer, message):
    network = senn.nn.MLP(sizes[0], 1, (sizes[1],), key=jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        score_landscape(network, DATA, layer=layer)


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.delitem(sys.modules, "senn.plot")
    with pytest.raises(ImportError, match=r"pip install 'senn\[plot\]'"):
        importlib.import_module("senn.plot")
