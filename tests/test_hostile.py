"""Data that break training elsewhere: every case trains to finite numbers, or says why not.

All in float32, which is what users get. Cases share shapes, and with them what is compiled.
"""

import dataclasses
import math
import warnings

import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

import senn
from senn import Policy, Schedule, SENNClassifier, SENNRegressor
from senn.datasets import DataError
from senn.nn import MLP
from senn.preparation import LARGEST_RAW

N, I = 100, 4  # noqa: E741
X = np.random.default_rng(0).normal(size=(N, I))
SIGNAL = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
LABELS = np.digitize(SIGNAL, [-0.5, 0.5])
TARGETS = {"classification": LABELS, "regression": SIGNAL}


@pytest.fixture(autouse=True)
def float32():
    with jax.enable_x64(False):
        yield


def model(task: str, hidden_sizes=(3,), **settings):
    make = SENNClassifier if task == "classification" else SENNRegressor
    defaults = {
        "max_units": 6, "max_iter": 45, "random_state": 0, "policy": Policy(depth=False),
    }  # fmt: skip
    return make(hidden_sizes, **{**defaults, **settings})


def assert_sound(network, history):
    """Finite parameters, and a number wherever the ledger promises one."""
    for array in jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array)):
        assert np.isfinite(array).all()
    for record in history.records:
        for field in dataclasses.fields(record):
            if field.type is float:
                assert math.isfinite(getattr(record, field.name)), record
    assert history.stop_reason


def assert_predicts(fitted, x):
    assert_sound(fitted.network_, fitted.history_)
    predict = getattr(fitted, "predict_proba", fitted.predict)
    assert np.isfinite(predict(x)).all()


def assert_trains_or_says_why_not(estimator, x, y):
    """Features as they are may be too large, which is refused, or make training end early."""
    limit = LARGEST_RAW if not estimator.standardize else float(np.finfo(np.float32).max)
    if not np.isfinite(x).all() or float(np.abs(x.astype(float)).max()) > limit:
        with pytest.raises(DataError, match=r"in columns? 'column_"):
            estimator.fit(x, y)
        return
    with warnings.catch_warnings():
        if not estimator.standardize:
            warnings.simplefilter("ignore", ConvergenceWarning)
        assert_predicts(estimator.fit(x, y), x)


def _with(rows, columns, value):
    changed = X.copy()
    changed[rows, columns] = value
    return changed


FEATURES = {
    "plain": X,
    "scales of 1e-12 and 1e12 side by side": X * [1e-12, 1e12, 1, 1],
    "the smallest and the largest numbers": X * [1e-38, 1e37, 1, 1],
    "large numbers close together": X + np.array([1e6, 0, 0, -1e7]),
    "all rows zero": np.zeros((N, I)),
    "every second row zero": _with(slice(0, None, 2), slice(None), 0),
    "duplicate columns": X[:, [0, 0, 1, 1]],
    "columns that sum to another": np.column_stack([X[:, :3], X[:, :3].sum(axis=1)]),
    "a single row that is not zero": _with(slice(1, None), slice(None), 0),
    "outliers": _with(slice(0, 2), 0, [1e30, -1e25]),
    "float16": X.astype(np.float16),
    "float16 near its largest": (X * 15_000).astype(np.float16),
    "64-bit integers": (X * 2**60).astype(np.int64),
    "booleans": X > 0,
}


@pytest.mark.parametrize("standardize", [True, False], ids=["standardised", "raw"])
@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("case", FEATURES)
def test_features(case, task, standardize):
    assert_trains_or_says_why_not(
        model(task, standardize=standardize), FEATURES[case], TARGETS[task]
    )


HARDEST = (
    "scales of 1e-12 and 1e12 side by side",
    "duplicate columns",
    "all rows zero",
)


@pytest.mark.parametrize("optimizer", ["natural_gradient", "adam"])
@pytest.mark.parametrize("case", HARDEST)
def test_features_with_other_optimisers(case, optimizer):
    raw = model("classification", optimizer=optimizer, standardize=False)
    assert_trains_or_says_why_not(raw, FEATURES[case], LABELS)


def _corrupt(labels):
    return np.where(np.arange(N) % 100 == 7, (labels + 1) % 3, labels)


ODD_TARGETS = {
    "heavy tails": ("regression", np.random.default_rng(1).standard_cauchy(N) ** 3),
    "a constant": ("regression", np.full(N, 3.0)),
    "zero": ("regression", np.zeros(N)),
    "nothing left to learn": ("regression", X @ [1.0, -2.0, 0.5, 0.0]),
    "large": ("regression", 1e37 * SIGNAL),
    "tiny": ("regression", 1e-37 * SIGNAL),
    "float16": ("regression", SIGNAL.astype(np.float16)),
    "1 % of corrupt labels": ("classification", _corrupt(LABELS)),
    "separable": ("classification", np.digitize(X[:, 0], [-0.5, 0.5])),
    "one row each of two classes": ("classification", np.r_[0, 1, np.full(N - 2, 2)]),
    "labels in order": ("classification", np.sort(LABELS)),
}


@pytest.mark.parametrize("case", ODD_TARGETS)
def test_targets(case):
    task, y = ODD_TARGETS[case]
    assert_predicts(model(task).fit(X, y), X)


def test_more_features_than_rows():
    x = np.random.default_rng(2).normal(size=(12, 40))
    assert_predicts(model("classification").fit(x, LABELS[:12]), x)


def test_outputs_that_overflow_are_refused():
    fitted = model("classification", standardize=False).fit(X, LABELS)
    with pytest.raises(DataError, match=r"outputs for 1 of 2 rows overflow, the first .* row 1"):
        fitted.predict_proba(np.array([X[0], np.full(I, 3e38)], np.float32))


def test_training_that_cannot_go_on_says_so():
    fitted = model("regression", optimizer=optax.sgd(1e30))
    with pytest.warns(ConvergenceWarning, match="the loss was not finite, also after"):
        fitted.fit(X, SIGNAL)
    assert_predicts(fitted, X)


def test_a_thousand_classes():
    x = np.random.default_rng(3).normal(size=(1500, 2))
    y = np.r_[np.arange(1000), np.arange(500)]
    fitted = model("classification", max_iter=4, policy=Policy(depth=False, every=3)).fit(x, y)
    assert len(fitted.classes_) == 1000
    assert_predicts(fitted, x[:100])


def test_a_linear_model_with_one_feature_grows():
    x = np.linspace(-3, 3, 80)[:, None]
    policy = Policy(every=5, backoff=1)
    settings = {"policy": policy, "max_units": 3, "standardize": True}  # codes alone would do it
    fitted = model("regression", (), **settings).fit(x, np.abs(x[:, 0]))
    assert fitted.hidden_sizes_
    assert_predicts(fitted, x)


# --- Where slots end, and streams ---------------------------------------------------------------

GROWING = Policy(depth=False, every=5, backoff=1, alpha=1e-6, additions_at_once=2)
SHORT = Schedule(max_steps=40, batch_size=50, anneal_epochs=None, steps_per_call=10)
ROWS = X.astype(np.float32), LABELS.astype(np.int32)


def test_growth_over_the_edge_of_capacity():
    network = MLP(I, 3, (3,), key=jax.random.key(3), capacity=4)
    network, history = senn.fit(network, ROWS, policy=GROWING, schedule=SHORT)
    assert history.additions[0].hidden_sizes == (5,)  # two at once, beyond the one free slot
    assert network.capacities[0] >= network.hidden_sizes[0]
    assert_sound(network, history)


def test_every_slot_used():
    network = MLP(I, 3, (6,), key=jax.random.key(0), capacity=6)
    full = dataclasses.replace(GROWING, max_units=6)
    network, history = senn.fit(network, ROWS, policy=full, schedule=SHORT)
    assert network.hidden_sizes == network.capacities == (6,)
    assert_sound(network, history)


def test_all_labels_of_a_batch_alike():
    batches = [tuple(part[k == LABELS] for part in ROWS) for k in (0, 1, 2)]
    schedule = dataclasses.replace(SHORT, batch_size=20, sample_size=20)
    network = MLP(I, 3, (3,), key=jax.random.key(0), capacity=6)
    network, history = senn.fit(
        network, batches, loss="softmax_cross_entropy", policy=GROWING, schedule=schedule
    )
    assert_sound(network, history)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32])
def test_rows_of_other_types(dtype):
    x = (100 * X).astype(dtype)
    network = MLP(I, 3, (3,), key=jax.random.key(0), capacity=6)
    network, history = senn.fit(network, (x, ROWS[1]), schedule=SHORT, policy=GROWING)
    assert network.readout.bias.dtype == np.float32
    assert_sound(network, history)


@pytest.mark.parametrize("optimizer", ["kfac", "adam"])
def test_inputs_whose_squares_overflow(optimizer):
    """The loop alone has no say in what it is given; it returns a finite network all the same."""
    network = MLP(I, 3, (3,), key=jax.random.key(0), capacity=6)
    x = (1e25 * X).astype(np.float32)
    assert_sound(*senn.fit(network, (x, ROWS[1]), optimizer=optimizer, schedule=SHORT))


# --- Anything -------------------------------------------------------------------------------------

DTYPES = ("float16", "float32", "float64", "int8", "int64", "bool")


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    exponents=st.lists(st.integers(-37, 36), min_size=I, max_size=I),
    offsets=st.lists(st.sampled_from([0.0, 1.0, -1e3, 1e8]), min_size=I, max_size=I),
    zeroed=st.sets(st.integers(0, N - 1), max_size=5),
    dtype=st.sampled_from(DTYPES),
    standardize=st.booleans(),
    task=st.sampled_from(sorted(TARGETS)),
)
def test_any_scales_and_types(exponents, offsets, zeroed, dtype, standardize, task):
    """Either it trains, or a sentence says which column cannot be used."""
    x = (X + offsets) * 10.0 ** np.array(exponents)
    x[list(zeroed)] = 0
    with np.errstate(all="ignore"):
        x = x.astype(dtype)
    assert_trains_or_says_why_not(model(task, standardize=standardize), x, TARGETS[task])
