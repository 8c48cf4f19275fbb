"""What it costs to lose a unit, beside the dense quadratic model, and what removing one does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reference
from senn.score import removal_price, score_increase

SEEDS = range(4)
DAMPINGS = (0.0, 1e-3, 0.3)
prices_of = jax.jit(removal_price, static_argnames="damping")


def arrays(seed, positions=1, n=24, inputs=5, outs=3):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, positions, inputs)) @ rng.normal(size=(inputs, inputs))
    a[..., -1] = 1
    R = rng.normal(size=(outs, outs))
    return a, rng.normal(size=(inputs, outs)), R @ R.T


def ridge(a, damping):
    rows = a.reshape(-1, a.shape[-1])
    return reference.ridge(rows.T @ rows / len(rows), damping)


@pytest.mark.parametrize("positions", [1, 4])
@pytest.mark.parametrize("damping", DAMPINGS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_price_is_the_least_rise_of_the_quadratic_model(seed, damping, positions):
    a, W, S = arrays(seed, positions)
    wanted = reference.removal_price(a, W, S, ridge(a, damping))
    found = prices_of(*map(jnp.asarray, (a, W, S)), damping=damping)
    np.testing.assert_allclose(found, wanted, rtol=1e-8)
    if positions == 1:  # as rows of one position, which need not be said
        flat = removal_price(*map(jnp.asarray, (a[:, 0], W, S)), damping=damping)
        np.testing.assert_allclose(flat, found, rtol=1e-10)


@pytest.mark.parametrize("damping", [1e-2, 1e-4, 1e-6, 0.0])
def test_an_input_that_another_replaces_is_free(damping):
    a, W, S = arrays(0)
    a[..., 1] = a[..., 0]
    found = np.asarray(prices_of(*map(jnp.asarray, (a, W, S)), damping=damping))
    wanted = reference.removal_price(a, W, S, ridge(a, max(damping, 1e-12)))
    np.testing.assert_allclose(found[2:], wanted[2:], rtol=1e-8)
    assert (found[:2] <= 2 * damping * wanted[2:].max() + 1e-10).all()


def test_inputs_that_are_silent_or_that_nobody_reads_are_free():
    a, W, S = arrays(1)
    a[..., 1], W[2] = 0, 0
    for damping in DAMPINGS:
        found = removal_price(*map(jnp.asarray, (a, W * (np.arange(5) != 1)[:, None], S)), damping)
        np.testing.assert_array_equal(np.asarray(found)[1:3], 0)
    nothing = removal_price(*map(jnp.asarray, (0 * a, W, S)))
    np.testing.assert_allclose(nothing, 0, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_unit_gained_is_what_it_costs_to_lose(seed):
    """A step to the minimum of the quadratic model gains ½Δη by a new unit: that is its price."""
    a, _, S = arrays(seed)
    rng = np.random.default_rng(seed)
    g, a = rng.normal(size=(len(a), len(S))), a[:, 0]
    A, G = a.T @ a / len(a), a.T @ g / len(a)
    W = -np.linalg.solve(A, G) @ np.linalg.inv(S)
    found = removal_price(*map(jnp.asarray, (a, W, S)))
    for u in range(a.shape[1]):
        others = np.delete(a, u, axis=1)
        gained = score_increase(*map(jnp.asarray, (others, a[:, [u]], g, S)))
        np.testing.assert_allclose(found[u], gained / 2, rtol=1e-7)
