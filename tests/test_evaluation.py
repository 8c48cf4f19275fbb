"""Outputs in pieces, and scores against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

import senn.evaluation
from senn.batches import Batch
from senn.evaluation import evaluate, outputs, r_squared
from senn.losses import make_loss
from senn.nn import MLP

rng = np.random.default_rng(3)
N = 13
x = jnp.asarray(rng.normal(size=(N, 2)))
network = MLP(2, 3, (4,), key=jax.random.key(0), capacity=6)
WEIGHTS = {
    "even": np.ones(N),
    "uneven": rng.uniform(0.1, 3, N),
    "some zero": np.where(np.arange(N) % 3, 1.0, 0.0),
}
every_weight = pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)


def score(loss, y, weight):
    return evaluate(network, make_loss(loss), Batch.of(x, y, weight))


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 8, 13])
def test_pieces_give_the_networks_outputs(monkeypatch, n):
    monkeypatch.setattr(senn.evaluation, "ROWS_AT_ONCE", 4)
    found = outputs(network, x[:n])
    assert isinstance(found, np.ndarray)
    assert found.shape == (n, 3)
    np.testing.assert_allclose(found, network(x)[:n], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy", "squared_error"])
def test_scores_do_not_depend_on_the_pieces(monkeypatch, loss):
    y = rng.integers(0, 2, N) if loss == "softmax_cross_entropy" else rng.integers(0, 2, (N, 3))
    whole = score(loss, y, WEIGHTS["uneven"])
    monkeypatch.setattr(senn.evaluation, "ROWS_AT_ONCE", 4)
    assert N % 4
    assert score(loss, y, WEIGHTS["uneven"]) == pytest.approx(whole, rel=1e-13)


@every_weight
def test_accuracy_of_classes(weight):
    logits, y = np.asarray(network(x)), rng.integers(0, 3, N)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = sklearn.metrics.log_loss(y, p, sample_weight=weight, labels=[0, 1, 2])
    right = sklearn.metrics.accuracy_score(y, logits.argmax(axis=1), sample_weight=weight)
    assert score("softmax_cross_entropy", y, weight) == pytest.approx((loss, right), rel=1e-12)
    assert 0 < right < 1


@every_weight
def test_accuracy_of_binary_outputs(weight):
    logits, y = np.asarray(network(x)), rng.integers(0, 2, (N, 3))
    p = 1 / (1 + np.exp(-logits))
    loss = sum(
        sklearn.metrics.log_loss(y[:, o], p[:, o], sample_weight=weight, labels=[0, 1])
        for o in range(3)
    )
    right = 1 - np.average(np.abs(y - (p > 0.5)).mean(axis=1), weights=weight)
    assert score("binary_cross_entropy", y, weight) == pytest.approx((loss, right), rel=1e-12)


@every_weight
def test_r_squared_of_numbers(weight):
    y = np.asarray(network(x)) + rng.normal(size=(N, 3)) * [0.1, 1, 3]
    predictions = network(x)
    loss = 1.5 * sklearn.metrics.mean_squared_error(y, predictions, sample_weight=weight)
    r2 = sklearn.metrics.r2_score(y, predictions, sample_weight=weight)
    assert score("squared_error", y, weight) == pytest.approx((loss, r2), rel=1e-12)


def test_r_squared_of_a_constant_is_zero():
    y = rng.normal(size=(N, 2))
    y[:, 1] = 5.0
    predictions = rng.normal(size=(N, 2))
    wanted = sklearn.metrics.r2_score(y, predictions)
    assert r_squared(y, predictions, np.ones(N)) == pytest.approx(wanted, rel=1e-12)
    assert r_squared(y[:, 1:], predictions[:, 1:], np.ones(N)) == 0


def test_a_vector_of_targets_serves_one_output():
    one = MLP(2, 1, (), key=jax.random.key(0))
    y = rng.normal(size=N)
    data = Batch.of(x, y), Batch.of(x, y[:, None])
    flat, column = (evaluate(one, make_loss("squared_error"), d) for d in data)
    assert flat == column
    assert flat.score == pytest.approx(sklearn.metrics.r2_score(y, one(x)[:, 0]), rel=1e-12)


@pytest.mark.parametrize("weight", [None, np.zeros(N)], ids=["no rows", "no weight"])
def test_nothing_to_evaluate(weight):
    rows = slice(N if weight is not None else 0)
    data = Batch.of(x[rows], np.zeros((N, 3))[rows], weight)
    with pytest.raises(ValueError, match="at least one example"):
        evaluate(network, make_loss("squared_error"), data)
