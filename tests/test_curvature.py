"""Moments, Kronecker factors and Gauss–Newton products against dense Jacobians."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reference
from senn import curvature
from senn.batches import Batch
from senn.curvature import gauss_newton, loss_gradient, moments, through
from senn.losses import make_loss, make_metric
from strategies import random_batch, random_network

N = 7
NETWORKS = {
    "chain": {"sizes": (3, 4, 3, 2)},
    "residual": {"sizes": (3, 4, 3, 2), "residual": (0, 1)},
    "linear": {"sizes": (3, 2)},
    "silu": {"sizes": (3, 4, 2), "activation": "silu"},
}
CASES = [
    ("chain", "softmax_cross_entropy", "fisher"),
    ("chain", "squared_error", "euclidean"),
    ("residual", "binary_cross_entropy", "fisher"),
    ("linear", "softmax_cross_entropy", "euclidean"),
    ("silu", "binary_cross_entropy", "euclidean"),
]


@eqx.filter_jit
def everything(network, loss, metric, batch, v):
    return (
        moments(network, loss, metric, batch, jax.random.key(0)),
        loss_gradient(network, loss, batch),
        gauss_newton(network, metric, batch)(v),
        signals(network, loss, metric, batch, jax.random.key(0)),
    )


def signals(network, loss, metric, batch, key):
    """The loss's gradient, what every site reads, and draws at its outputs."""
    seen = through(network, loss, metric, batch)
    g_y = seen.loss.gradient(seen.outputs, batch.y)
    gradient = seen.back(g_y * batch.weight[:, None] / len(batch.weight))[0]
    return gradient, seen.rows, seen.back(seen.metric.draw(key, seen.outputs))[1]


class Case:
    def __init__(self, kind, loss, metric):
        self.network = random_network(**NETWORKS[kind])
        self.names = loss, metric
        self.loss = make_loss(loss)
        self.metric = make_metric(metric, self.loss)
        self.batch = random_batch(loss, N, 3, 2, weighted=True, seed=1)
        rng = np.random.default_rng(2)
        params = eqx.filter(self.network, eqx.is_inexact_array)
        self.v = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape)), params)
        self.moments, (self.value, self.gradient), self.product, self.signals = self.compute(
            self.batch
        )
        self.dense = reference.problem(self.network, loss, metric, *self.batch)
        self.factors = reference.factors(self.network, loss, metric, *self.batch)

    def compute(self, batch):
        return everything(self.network, self.loss, self.metric, batch, self.v)


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request):
    return Case(*request.param)


def active_rows(case, m):
    sizes = (*case.network.hidden_sizes, case.network.out_size)
    return np.r_[np.asarray(case.network.active_inputs(m)), True], sizes[m]


def test_moments_of_every_map(case):
    root = np.sqrt(np.asarray(case.batch.weight))[:, None]
    for m, (found, (a, g, S)) in enumerate(zip(case.moments.maps, case.factors, strict=True)):
        rows, n = active_rows(case, m)
        found_a, found_g, found_S = found.dense
        np.testing.assert_allclose(found_a[:, rows], root * a, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(found_g[:, :n], root * g, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found_S[:n, :n], S, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.root_weight, root[:, 0], rtol=1e-13)


def test_dormant_slots_have_zero_moments(case):
    for m, found in enumerate(case.moments.maps):
        rows, n = active_rows(case, m)
        a, g, S = found.dense
        for dormant in (a[:, ~rows], g[:, n:], S[n:], S[:, n:]):
            np.testing.assert_array_equal(dormant, 0)


def test_gradient_of_a_map_is_the_moment_of_inputs_and_gradients(case):
    """E[a gᵀ] is what backpropagation gives for the weights, its last row for the biases."""
    for found, dense in zip(case.moments.maps, case.gradient.maps, strict=True):
        G, (a, g, _) = np.vstack([dense.weight, dense.bias]), found.dense
        np.testing.assert_allclose(a.T @ g / N, G, rtol=1e-9, atol=1e-13)


def test_loss_limit_and_gradient(case):
    y = reference.forward(case.network, case.batch.x)[0]
    losses = reference.loss_values(case.names[0], y, case.batch.y)
    mean = np.mean(np.asarray(case.batch.weight) * losses)
    assert case.moments.loss == pytest.approx(mean, rel=1e-11)
    assert case.value == pytest.approx(mean, rel=1e-11)
    assert case.moments.limit == pytest.approx(reference.limit(case.dense), rel=1e-9)
    reach = 2 * mean if case.names[1] == "fisher" else reference.limit(case.dense)
    assert case.moments.reach == pytest.approx(reach, rel=1e-9)
    found = reference.flat(reference.active(case.network, case.gradient))
    np.testing.assert_allclose(found, reference.gradient(case.dense), rtol=1e-8, atol=1e-13)


def test_signals_forwards_and_backwards(case):
    (gradient, rows, draws), network = case.signals, case.network
    for leaf, wanted in zip(jax.tree.leaves(gradient), jax.tree.leaves(case.gradient), strict=True):
        np.testing.assert_allclose(leaf, wanted, rtol=1e-10, atol=1e-14)
    read = reference.forward(network, case.batch.x)[1]
    maps = network.n_maps
    for m, (a, wanted) in enumerate(zip(rows[:maps], read, strict=True)):
        in_use = active_rows(case, m)[0]
        constant = np.ones((N, 1))
        np.testing.assert_allclose(a[:, 0, in_use], np.hstack([wanted, constant]), rtol=1e-11)
    sites = network.graph.sites
    for site, a, of_theta, phi in zip(sites, rows, sites[maps:], rows[maps:], strict=False):
        z = a[:, 0] @ site.matrix(network)
        np.testing.assert_allclose(phi[:, 0], np.moveaxis(of_theta.features(z), 0, 1), rtol=1e-10)
    # One draw an example at the outputs, and the network's own Jacobian below.
    drawn = np.asarray(draws[maps - 1][:, 0])
    for J, s in zip(
        reference.map_jacobians(network, case.batch.x), (s[:, 0] for s in draws[:maps]), strict=True
    ):
        wanted = np.einsum("nop,no->np", J, drawn)
        np.testing.assert_allclose(s[:, : J.shape[2]], wanted, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(s[:, J.shape[2] :], 0)


def test_gauss_newton_product(case):
    v, found = (reference.flat(reference.active(case.network, t)) for t in (case.v, case.product))
    np.testing.assert_allclose(found, reference.fisher(case.dense) @ v, rtol=1e-8, atol=1e-12)
    n_active = sum(np.count_nonzero(leaf) for leaf in jax.tree.leaves(case.product))
    assert n_active <= case.network.n_parameters  # dormant entries are zero even if v's are not


def test_weights_are_repetitions(case):
    weight = np.array([2, 0, 1, 0, 3, 1, 0])
    rows = np.repeat(np.arange(N), weight)
    x, y, _ = case.batch
    weighted = case.compute(Batch(x, y, jnp.asarray(weight, float)))
    repeated = case.compute(Batch(x[rows], y[rows], jnp.ones(N)))

    def second_moments(result):
        rows = [of.dense for of in result[0].maps]
        found = [(a.T @ a, a.T @ g, g.T @ g, S) for a, g, S in rows]
        return jax.tree.leaves((found, result[0].loss, result[0].limit, result[1:3]))

    for a, b in zip(second_moments(weighted), second_moments(repeated), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_drawn_factors_are_unbiased(monkeypatch):
    monkeypatch.setattr(curvature, "EXACT_OUTPUTS", 0)
    case = Case(*CASES[0])
    draws = 4000

    @eqx.filter_jit
    def sample(keys):
        def factors(key):
            return [
                m.S for m in moments(case.network, case.loss, case.metric, case.batch, key).maps
            ]

        return jax.vmap(factors)(keys)

    for m, drawn in enumerate(sample(jax.random.split(jax.random.key(1), draws))):
        drawn, S = np.asarray(drawn), case.factors[m][2]
        n = len(S)
        error = np.abs(drawn.mean(axis=0)[:n, :n] - S)
        assert (error <= 5 * drawn.std(axis=0)[:n, :n] / draws**0.5 + 1e-12).all()
        assert drawn.std() > 0
        np.testing.assert_array_equal(drawn[:, n:], 0)
