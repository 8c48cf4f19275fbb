"""Optimisers against dense solves and plain optax; dormant slots stay dormant."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reference
from senn.batches import Batch
from senn.losses import make_loss, make_metric
from senn.nn import MLP
from senn.optimizers import KFAC, OPTIMIZERS, NaturalGradient, Optax, make_optimizer
from senn.policy import Policy
from senn.training import Schedule, fit

rng = np.random.default_rng(5)
N, OUT = 9, 2
x = rng.normal(size=(N, 2))
WEIGHT = rng.uniform(0.2, 2, N)
TARGETS = {
    "softmax_cross_entropy": rng.integers(0, OUT, N),
    "binary_cross_entropy": rng.integers(0, 2, (N, OUT)),
    "squared_error": rng.normal(size=(N, OUT)),
}
one = jnp.ones(())


@pytest.fixture(scope="module")
def network():
    return MLP(2, OUT, (3,), key=jax.random.key(0), capacity=5)


@eqx.filter_jit
def take(optimizer, network, state, loss, metric, batch, scale):
    return optimizer.step(network, state, loss, metric, batch, scale)


def setup(name, metric, weight):
    loss = make_loss(name)
    return loss, make_metric(metric, loss), Batch.of(x, TARGETS[name], weight)


def flat(network, tree):
    return reference.flat(reference.active(network, tree))


def all_zero_but_the_active(network, tree):
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    total = sum(np.count_nonzero(leaf) for leaf in leaves)
    return total == np.count_nonzero(flat(network, tree))


# --- natural gradient -------------------------------------------------------------------------

CASES = [
    ("softmax_cross_entropy", "euclidean", None),
    ("softmax_cross_entropy", "fisher", WEIGHT),
    ("binary_cross_entropy", "fisher", WEIGHT),
    ("squared_error", "euclidean", WEIGHT),
]
EXACT = NaturalGradient(
    learning_rate=0.3, damping=0.05, max_steps=200, rtol=1e-12, weight_decay=0.02
)


@pytest.mark.parametrize(("name", "metric", "weight"), CASES)
def test_natural_gradient_is_the_dense_solve(network, name, metric, weight):
    loss, metric_of, batch = setup(name, metric, weight)
    p = reference.problem(network, name, metric, x, TARGETS[name], weight)
    g = reference.gradient(p)
    wanted = np.linalg.solve(reference.fisher(p) + EXACT.damping * np.eye(len(g)), g)
    state = EXACT.init(network)
    new, state, info = take(EXACT, network, state, loss, metric_of, batch, 0.5 * one)

    delta = flat(network, state)
    assert np.linalg.norm(delta - wanted) < 1e-6 * np.linalg.norm(wanted)
    assert info.eta == pytest.approx(g @ wanted, rel=1e-6)
    w = np.ones(N) if weight is None else weight
    values = reference.loss_values(name, reference.forward(network, x)[0], TARGETS[name])
    assert info.loss == pytest.approx(np.mean(w * values), rel=1e-12)
    assert 0 < info.solver_steps <= EXACT.max_steps
    assert info.solver_residual <= EXACT.rtol
    # θ ← θ − scale · rate · (δ + decay · θ)
    old = flat(network, network)
    np.testing.assert_allclose(
        flat(network, new), old - 0.5 * 0.3 * (delta + 0.02 * old), rtol=1e-12, atol=1e-15
    )
    assert all_zero_but_the_active(network, new)
    assert all_zero_but_the_active(network, state)

    losses = [info.loss]
    for _ in range(5):
        new, state, info = take(EXACT, new, state, loss, metric_of, batch, one)
        losses.append(info.loss)
    assert (np.diff(losses) < 0).all()
    assert all_zero_but_the_active(network, new)


@pytest.mark.parametrize("factor", [0.0, 0.9])
def test_warm_start_begins_from_a_fraction_of_the_last_solution(network, factor):
    case = setup("squared_error", "euclidean", None)
    last = jax.tree.map(lambda p: 2 * p, eqx.filter(network, eqx.is_inexact_array))
    lazy = NaturalGradient(warm_start=factor, rtol=1e6, learning_rate=1.0)  # content at once
    new, state, info = take(lazy, network, last, *case, one)
    assert info.solver_steps == 0
    np.testing.assert_array_equal(flat(network, state), factor * flat(network, last))
    np.testing.assert_allclose(
        flat(network, new), (1 - 2 * factor) * flat(network, network), rtol=1e-14
    )


def test_natural_gradient_starts_from_zero(network):
    assert not np.any(flat(network, NaturalGradient().init(network)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", np.nan),
        ("damping", 0.0),
        ("damping", -1.0),
        ("rtol", 0.0),
        ("weight_decay", -0.1),
        ("warm_start", -0.1),
        ("warm_start", np.nan),
        ("max_steps", 0),
    ],
)
def test_bad_settings(name, value):
    with pytest.raises(ValueError, match=name):
        NaturalGradient(**{name: value})


# --- optax ------------------------------------------------------------------------------------

TRANSFORMATIONS = {
    "adam": optax.adam(0.05),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "adamw": optax.adamw(0.05, weight_decay=0.1),
}


def plain_loss(params):
    """Weighted cross-entropy of a network without spare slots, written out."""
    W, b, (alpha, beta, gamma), V, c = params
    z = x @ W + b
    y = (alpha * z + (beta + gamma * z) / (1 + z**2)) @ V + c
    log_p = y - jax.scipy.special.logsumexp(y, axis=1, keepdims=True)
    return -jnp.mean(WEIGHT * log_p[jnp.arange(N), TARGETS["softmax_cross_entropy"]])


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_optax_is_a_plain_optax_loop(network, name):
    transformation = TRANSFORMATIONS[name]
    params = [jnp.asarray(p) for p in reference.active(network)]
    plain = transformation.init(params)

    @jax.jit
    def plain_step(params, state):
        value, g = jax.value_and_grad(plain_loss)(params)
        updates, state = transformation.update(g, state, params)
        return optax.apply_updates(params, updates), state, value

    optimizer, case = Optax(transformation), setup("softmax_cross_entropy", "euclidean", WEIGHT)
    new, state = network, optimizer.init(network)
    for _ in range(4):
        params, plain, value = plain_step(params, plain)
        new, state, info = take(optimizer, new, state, *case, one)
        assert info.loss == pytest.approx(float(value), rel=1e-12)
    wanted = reference.flat([np.asarray(p) for p in params])
    np.testing.assert_allclose(flat(network, new), wanted, rtol=1e-10)
    assert np.isnan(info.eta)
    assert all_zero_but_the_active(network, new)
    counts = [np.count_nonzero(leaf) for leaf in jax.tree.leaves(state)]
    assert counts == [np.count_nonzero(leaf) for leaf in jax.tree.leaves(plain)]


def test_scale_multiplies_the_update(network):
    optimizer = Optax(TRANSFORMATIONS["adam"])
    case = setup("softmax_cross_entropy", "euclidean", WEIGHT)
    old = flat(network, network)
    moved = [
        flat(network, take(optimizer, network, optimizer.init(network), *case, s * one)[0]) - old
        for s in (1.0, 0.25, 0.0)
    ]
    np.testing.assert_allclose(moved[1], 0.25 * moved[0], rtol=1e-10)
    assert not moved[2].any()


def test_transformations_that_ask_for_the_loss(network):
    optimizer = Optax(optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1)))
    case = setup("softmax_cross_entropy", "euclidean", WEIGHT)
    new, _, _ = take(optimizer, network, optimizer.init(network), *case, one)
    assert not np.array_equal(flat(network, new), flat(network, network))


def test_make_optimizer():
    assert isinstance(make_optimizer("natural_gradient"), NaturalGradient)
    assert make_optimizer("natural_gradient") == NaturalGradient(weight_decay=1e-3)
    assert make_optimizer("kfac") == KFAC()
    assert isinstance(make_optimizer("adam"), Optax)
    assert make_optimizer(EXACT) is EXACT
    assert make_optimizer(TRANSFORMATIONS["adam"]).transformation is TRANSFORMATIONS["adam"]
    with pytest.raises(ValueError, match=f"'sgd'.*{', '.join(OPTIMIZERS)}"):
        make_optimizer("sgd")


def test_other_numbers_of_the_rule_compile_nothing():
    network, targets = MLP(2, 1, (2,), key=jax.random.key(0)), TARGETS["squared_error"][:, :1]
    data, still = (x, targets), Policy(width=False, depth=False)

    def trained(rule):
        return fit(network, data, optimizer=rule, policy=still, schedule=Schedule(max_steps=30))

    first, _ = trained(KFAC())
    other, history = trained(
        KFAC(learning_rate=0.05, damping=0.1, momentum=0.5, kl_clip=0.1, prior=2.0, decay=0.5)
    )
    assert history.n_compilations == 0
    assert not np.allclose(other(jnp.asarray(x)), first(jnp.asarray(x)))
