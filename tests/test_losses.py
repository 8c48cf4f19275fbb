"""Losses, their gradients, and output metrics against dense formulas."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from scipy.optimize import check_grad

import reference
from senn.losses import LOSSES, METRICS, Euclidean, Fisher, make_loss, make_metric, mean_loss

rng = np.random.default_rng(1)
N, OUT = 7, 3
y = jnp.asarray(rng.normal(size=(N, OUT)) * 2)
TARGETS = {
    "softmax_cross_entropy": jnp.array([0, 1, 2, 2, 0, 1, 1]),
    "binary_cross_entropy": jnp.asarray(rng.integers(0, 2, (N, OUT))),
    "squared_error": jnp.asarray(rng.normal(size=(N, OUT))),
}
PAIRS = [(loss, metric) for loss in LOSSES for metric in METRICS]
every_loss = pytest.mark.parametrize("name", LOSSES)
every_pair = pytest.mark.parametrize(("name", "metric"), PAIRS)


def make(name, metric):
    loss = make_loss(name)
    return loss, make_metric(metric, loss), reference.metric_matrices(metric, name, y)


@every_loss
def test_values_and_gradients(name):
    loss, t = make_loss(name), TARGETS[name]
    np.testing.assert_allclose(loss(y, t), reference.loss_values(name, y, t), rtol=1e-12)
    g = np.asarray(loss.gradient(y, t))
    np.testing.assert_allclose(g, reference.loss_gradients(name, y, t), rtol=1e-11, atol=1e-14)
    error = check_grad(
        lambda v: float(jnp.sum(loss(jnp.asarray(v.reshape(N, OUT)), t))),
        lambda _: g.ravel(),
        y.ravel(),
    )
    assert error < 1e-5


def test_values_are_scikit_learns():
    t = TARGETS["softmax_cross_entropy"]
    p = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    assert np.mean(make_loss("softmax_cross_entropy")(y, t)) == pytest.approx(
        sklearn.metrics.log_loss(t, p), rel=1e-12
    )
    t, logits = TARGETS["binary_cross_entropy"][:, :1], y[:, :1]
    assert np.mean(make_loss("binary_cross_entropy")(logits, t)) == pytest.approx(
        sklearn.metrics.log_loss(t[:, 0], 1 / (1 + np.exp(-logits[:, 0]))), rel=1e-12
    )


@every_loss
def test_mean_loss_takes_weights_as_they_are(name):
    loss, t, w = make_loss(name), TARGETS[name], rng.uniform(size=N)
    found = mean_loss(loss, jnp.asarray(y), t, jnp.asarray(w))
    assert found == pytest.approx(np.mean(w * reference.loss_values(name, y, t)), rel=1e-12)


@every_pair
def test_metric_against_the_dense_matrix(name, metric):
    _, metric, M = make(name, metric)
    eye = jnp.eye(OUT)
    R = np.stack([metric.root(y, jnp.broadcast_to(e, y.shape)) for e in eye], axis=-1)  # [N, O, O]
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), M, atol=1e-14)
    v = jnp.asarray(rng.normal(size=(N, OUT)))
    np.testing.assert_allclose(metric.product(y, v), np.einsum("nop,np->no", M, v), atol=1e-13)
    np.testing.assert_allclose(
        jax.jit(metric.product)(y, v), np.einsum("nop,np->no", M, v), atol=1e-13
    )


@every_pair
def test_metric_solves_for_loss_gradients(name, metric):
    loss, metric, M = make(name, metric)
    g = loss.gradient(y, TARGETS[name])
    solution = metric.solve(y, g)
    np.testing.assert_allclose(np.einsum("nop,np->no", M, solution), g, atol=1e-13)
    pinv = np.linalg.pinv(M, 1e-12, hermitian=True)
    np.testing.assert_allclose(
        metric.length(y, g), np.einsum("no,nop,np->n", g, pinv, g), rtol=1e-10
    )


@every_loss
def test_fisher_is_the_expected_hessian(name):
    """For these likelihoods (exponential families in their natural parameters) at any target."""
    loss = make_loss(name)
    one = lambda v, t: loss(v[None], t[None])[0]  # noqa: E731
    hessian = jax.vmap(jax.hessian(one))(jnp.asarray(y), jnp.asarray(TARGETS[name]))
    np.testing.assert_allclose(hessian, reference.metric_matrices("fisher", name, y), atol=1e-13)


def outcomes(name):
    """(probability [N], targets) pairs whose mean and covariance are the likelihood's."""
    if name == "softmax_cross_entropy":
        return [(jax.nn.softmax(y)[:, c], jnp.full(N, c)) for c in range(OUT)]
    if name == "binary_cross_entropy":
        p = jax.nn.sigmoid(y)
        codes = jnp.array(list(itertools.product([0, 1], repeat=OUT)))
        return [(jnp.prod(jnp.where(t, p, 1 - p), axis=1), jnp.tile(t, (N, 1))) for t in codes]
    points = OUT**0.5 * jnp.concatenate([jnp.eye(OUT), -jnp.eye(OUT)])  # of N(0, I)
    return [(jnp.full(N, 1 / len(points)), y + e) for e in points]


@every_loss
def test_fisher_is_the_covariance_of_scores(name):
    """E[g_y g_yᵀ] over targets drawn from the model itself."""
    loss = make_loss(name)
    scores = [(p, loss.gradient(y, t)) for p, t in outcomes(name)]
    found = sum(np.einsum("n,no,np->nop", p, g, g) for p, g in scores)
    np.testing.assert_allclose(found, reference.metric_matrices("fisher", name, y), atol=1e-13)


@every_pair
def test_draws_have_covariance_M(name, metric):
    _, metric, M = make(name, metric)
    draws = 20_000
    s = jax.vmap(metric.draw, in_axes=(0, None))(jax.random.split(jax.random.key(2), draws), y)
    np.testing.assert_allclose(np.mean(s, axis=0), 0, atol=5 / draws**0.5)
    np.testing.assert_allclose(np.einsum("kno,knp->nop", s, s) / draws, M, atol=5 / draws**0.5)


def test_length_of_softmax_gradients():
    loss, t = make_loss("softmax_cross_entropy"), TARGETS["softmax_cross_entropy"]
    p = np.exp(-reference.loss_values("softmax_cross_entropy", y, t))
    length = Fisher(loss).length(y, loss.gradient(y, t))
    np.testing.assert_allclose(length, 1 / p - 1, rtol=1e-12)
    squared = Euclidean().length(y, loss.gradient(y, t))
    np.testing.assert_allclose(squared, np.sum(np.asarray(loss.gradient(y, t)) ** 2, axis=1))


@pytest.mark.parametrize("name", ["binary_cross_entropy", "squared_error"])
def test_flat_targets_of_one_output(name):
    loss, t = make_loss(name), jnp.array([0, 1, 1, 0, 1])
    outputs = jnp.asarray(rng.normal(size=(5, 1)))
    found = loss(outputs, t)
    assert found.shape == (5,)
    np.testing.assert_allclose(found, reference.loss_values(name, outputs, t), rtol=1e-12)
    np.testing.assert_allclose(found, loss(outputs, t[:, None]))


@pytest.mark.parametrize("name", ["binary_cross_entropy", "squared_error"])
@pytest.mark.parametrize("shape", [(OUT, N), (N * OUT,), (N,)])
def test_targets_of_another_shape_are_refused(name, shape):
    with pytest.raises(ValueError, match=r"shape \(7, 3\) need targets of that shape"):
        make_loss(name)(y, jnp.zeros(shape))


@every_pair
def test_extreme_outputs_stay_finite(name, metric):
    loss = make_loss(name)
    metric = make_metric(metric, loss)
    outputs = jnp.array([[1e4, -1e4], [-1e4, 1e4], [-1e4, -1e4], [1e4, 1e4]], jnp.float32)
    t = jnp.array([0, 0, 1, 1])
    t = t if name == "softmax_cross_entropy" else jnp.stack([t, 1 - t], axis=1)
    g = loss.gradient(outputs, t)
    for value in (
        loss(outputs, t),
        g,
        metric.product(outputs, g),
        metric.solve(outputs, g),
        metric.draw(jax.random.key(0), outputs),
    ):
        assert np.isfinite(value).all()
    assert np.isfinite(jnp.mean(metric.length(outputs, g)))


def test_names():
    loss = make_loss("squared_error")
    assert make_loss(loss) is loss
    metric = make_metric("fisher", loss)
    assert isinstance(metric, Fisher)
    assert metric.loss is loss
    assert make_metric(metric, make_loss("softmax_cross_entropy")) is metric
    with pytest.raises(ValueError, match="'hinge' is not known; choose one of softmax_cross"):
        make_loss("hinge")
    with pytest.raises(ValueError, match="'sphere' is not known; choose one of euclidean, fisher"):
        make_metric("sphere", loss)
