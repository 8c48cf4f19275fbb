"""Rational units, and networks with dormant slots."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reference
from senn.nn import (
    ACTIVATIONS,
    MLP,
    AbstractFixed,
    Dense,
    Hidden,
    rational,
    rational_features,
    register,
)
from senn.nn.activation import Rational
from senn.nn.spaces import CAPACITY_GROWTH, SLOTS_AT_ONCE, next_capacity

rng = np.random.default_rng(0)
x = jnp.asarray(rng.normal(size=(6, 3)))


def with_random_bias(network):
    """Biases start at zero; give the active ones values, so that tests see them."""

    def noisy(layer):
        noise = np.where(layer.born >= 0, rng.normal(size=layer.capacity), 0)
        return noise.astype(layer.dense.bias.dtype)

    def biases(n):
        return [h.dense.bias for h in n.hidden]

    new = [jnp.asarray(noisy(h)) for h in network.hidden]
    return eqx.tree_at(biases, network, new) if new else network


def make(sizes=(4, 3), activation="rational", capacity=6, **options):
    network = MLP(
        3, 2, sizes, key=jax.random.key(1), activation=activation, capacity=capacity, **options
    )
    return with_random_bias(network)


# --- rational units ---------------------------------------------------------------------------

z = jnp.concatenate([rng.normal(size=12) * 3, jnp.array([0.0, 1.0, -1.0, 1e3])])
theta = jnp.asarray(rng.normal(size=(3, 16)))


def test_rational_is_the_printed_formula():
    alpha, beta, gamma = theta
    np.testing.assert_allclose(
        rational(z, theta), alpha * z + (beta + gamma * z) / (1 + z**2), rtol=1e-14
    )
    np.testing.assert_allclose(
        np.sum(theta * np.asarray(rational_features(z)), axis=0), rational(z, theta), rtol=1e-13
    )


def test_rational_derivatives():
    alpha, beta, gamma = theta
    first = alpha + (gamma * (1 - z**2) - 2 * beta * z) / (1 + z**2) ** 2
    slope = jax.grad(lambda z: jnp.sum(rational(z, theta)))
    np.testing.assert_allclose(slope(z), first, rtol=1e-11, atol=1e-15)
    curve = jax.grad(lambda z: jnp.sum(slope(z)))
    second = (beta * (6 * z**2 - 2) + gamma * (2 * z**3 - 6 * z)) / (1 + z**2) ** 3
    np.testing.assert_allclose(curve(z), second, rtol=1e-9, atol=1e-15)
    by_theta = jax.grad(lambda t: jnp.sum(rational(z, t)))(theta)
    np.testing.assert_allclose(by_theta, rational_features(z), rtol=1e-14)


@pytest.mark.parametrize("size", [1e10, 1e30, 3e38])
def test_rational_is_finite_for_huge_inputs(size):
    huge = jnp.array([size, -size], jnp.float32)
    theta = jnp.array([[0.5], [2.0], [-3.0]], jnp.float32)
    value, pull = jax.vjp(rational, huge, jnp.repeat(theta, 2, axis=1))
    slope, by_theta = pull(jnp.ones_like(value))
    np.testing.assert_allclose(value, 0.5 * huge)
    np.testing.assert_allclose(slope, 0.5)
    assert np.isfinite(by_theta).all()


def test_rational_identity_and_zero_are_exact():
    zero = jnp.zeros((3, len(z)))
    one = zero.at[0].set(1)
    np.testing.assert_array_equal(rational(z, one), z)
    np.testing.assert_array_equal(rational(z, zero), 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (type("Bare", (AbstractFixed,), {}), "'Bare' is no activation: it lacks name and numpy"),
        (type("Named", (AbstractFixed,), {"name": "named"}), "'Named' .* lacks numpy"),
    ],
)
def test_activations_that_lack_something_are_told_of(given, message):
    with pytest.raises(ValueError, match=message):
        register(given)


# --- networks ---------------------------------------------------------------------------------


def test_dense_sums_blocks():
    a, b = jnp.asarray(rng.normal(size=(5, 2))), jnp.asarray(rng.normal(size=(5, 3)))
    weight, bias = rng.normal(size=(5, 4)), rng.normal(size=4)
    dense = Dense((jnp.asarray(weight[:2]), jnp.asarray(weight[2:])), jnp.asarray(bias))
    np.testing.assert_allclose(dense((a, b)), np.hstack([a, b]) @ weight + bias, rtol=1e-13)
    np.testing.assert_array_equal(dense.weight, weight)
    with pytest.raises(ValueError, match="zip"):
        dense((a,))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_outputs_match_the_reference(activation):
    network = make(activation=activation)
    y, reads = network.taps(x)
    wanted, read = reference.forward(network, x)
    np.testing.assert_allclose(network(x), wanted, rtol=1e-12)
    np.testing.assert_allclose(y, wanted, rtol=1e-12)
    for m, (a, expected) in enumerate(zip(reads[: network.n_maps], read, strict=True)):
        active = np.asarray(network.active_inputs(m))
        a = np.concatenate(a, axis=1)
        np.testing.assert_allclose(a[:, active], expected, rtol=1e-12)
        np.testing.assert_array_equal(a[:, ~active], 0)  # dormant slots are silent


def test_outputs_of_any_leading_shape():
    network = make()
    np.testing.assert_allclose(network(x.reshape(2, 3, 3)), network(x).reshape(2, 3, 2), rtol=1e-13)
    np.testing.assert_allclose(network(x[0]), network(x)[0], rtol=1e-13)


def test_linear_model():
    network = make(())
    np.testing.assert_allclose(
        network(x), x @ network.readout.weight + network.readout.bias, rtol=1e-13
    )
    assert (network.hidden_sizes, network.capacities, network.sources) == ((), (), ((0,),))
    assert network.n_parameters == 3 * 2 + 2


@pytest.mark.parametrize("activation", ["rational", "relu"])
def test_counts_speak_of_active_units_only(activation):
    network = make((4, 3), activation)
    assert (network.in_size, network.out_size, network.n_maps) == (3, 2, 3)
    assert (network.hidden_sizes, network.capacities) == ((4, 3), (6, 6))
    assert [network.n_inputs(m) for m in range(3)] == [3, 4, 3]
    assert network.n_parameters == sum(a.size for a in reference.active(network))
    assert network.n_parameters == 3 * 4 + 4 + 4 * 3 + 3 + 3 * 2 + 2 + 21 * (
        activation == "rational"
    )
    assert network.sources == ((0,), (1,), (2,))
    assert [network.readers(layer) for layer in range(2)] == [(1,), (2,)]


def test_residual_layers_are_read_beside_their_inputs():
    chain = make((4, 3, 2))
    r, c = True, False
    flags = [[h.residual for h in chain.hidden]]
    assert flags == [[c, c, c]]
    for pattern, sources, readers in [
        ((r, r, r), ((0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)), ((1, 2, 3), (2, 3), (3,))),
        ((r, c, r), ((0,), (0, 1), (2,), (2, 3)), ((1,), (2, 3), (3,))),
        ((c, r, c), ((0,), (1,), (1, 2), (3,)), ((1, 2), (2,), (3,))),
    ]:
        hidden = tuple(
            Hidden(h.dense, h.activation, h.born, flag)
            for h, flag in zip(chain.hidden, pattern, strict=True)
        )
        network = eqx.tree_at(lambda n: n.hidden, chain, hidden)
        assert network.sources == sources
        assert tuple(network.readers(layer) for layer in range(3)) == readers
        sizes = (3, 4, 3, 2)
        assert [network.n_inputs(m) for m in range(4)] == [
            sum(sizes[n] for n in s) for s in sources
        ]


def test_active_inputs_under_jit():
    network = make((4, 3))
    found = eqx.filter_jit(lambda n: n.active_inputs(1))(network)
    np.testing.assert_array_equal(found, [True] * 4 + [False] * 2)
    assert network.active_inputs(0).all()


def test_shifts_move_the_outputs_of_maps():
    network = make((4, 3))
    shifts, maps = network.no_shifts(6), network.n_maps
    assert [s.shape for s in shifts] == [(6, c) for c in (6, 6, 2, 6, 6)]
    y, pull = jax.vjp(lambda s: network.taps(x, s).outputs, shifts)
    np.testing.assert_allclose(y, network(x), rtol=1e-13)
    v = jnp.asarray(rng.normal(size=y.shape))
    (found,) = pull(v)
    for J, g, n in zip(reference.map_jacobians(network, x), found[:maps], (4, 3, 2), strict=True):
        np.testing.assert_allclose(g[:, :n], np.einsum("nop,no->np", J, v), rtol=1e-10, atol=1e-13)
        np.testing.assert_array_equal(g[:, n:], 0)
    # What reaches an activation's output goes on to its input by its derivative.
    z = network.taps(x).reads[maps:]
    for layer, at_map, at_activation, zs in zip(
        network.hidden, found[: maps - 1], found[maps:], z, strict=True
    ):
        _, slope = jax.jvp(layer.activation, (zs,), (jnp.ones_like(zs),))
        np.testing.assert_allclose(at_map, slope * at_activation, rtol=1e-11, atol=1e-14)


def test_initialisation():
    network = MLP(200, 3, (300,), key=jax.random.key(0), capacity=320)
    weight = np.asarray(network.hidden[0].dense.weight)
    assert weight[:, :300].std() == pytest.approx(200**-0.5, rel=0.02)  # LeCun normal
    assert np.asarray(network.readout.weight)[:300].std() == pytest.approx(300**-0.5, rel=0.1)
    sigma = network.hidden[0].activation
    assert isinstance(sigma, Rational)
    assert np.asarray(sigma.theta)[:, :300].std() == pytest.approx(1, rel=0.1)
    for dormant in (weight[:, 300:], network.readout.weight[300:], sigma.theta[:, 300:]):
        np.testing.assert_array_equal(dormant, 0)
    other = MLP(200, 3, (300,), key=jax.random.key(1), capacity=320)
    assert not np.array_equal(other.readout.weight, network.readout.weight)


def test_dtype():
    arrays = jax.tree.leaves(eqx.filter(make(dtype=jnp.float32), eqx.is_inexact_array))
    assert {a.dtype for a in arrays} == {jnp.dtype("float32")}
    assert make().readout.bias.dtype == jnp.float64  # JAX's own default in these tests


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "sine"}, "'sine' is not known; choose one of rational, relu"),
        ({"hidden_sizes": (3, 0)}, r"at least 1; got \(3, 3, 0, 2\)"),
        ({"in_size": 0}, "at least 1"),
        ({"out_size": 0}, "at least 1"),
    ],
)
def test_bad_arguments(options, message):
    arguments = {"in_size": 3, "out_size": 2, "hidden_sizes": (4,), "key": jax.random.key(0)}
    with pytest.raises(ValueError, match=message):
        MLP(**(arguments | options))


def test_wrong_number_of_features():
    with pytest.raises(TypeError):
        make()(jnp.zeros((6, 5)))


def test_capacities_grow_geometrically():
    assert next_capacity(1) == next_capacity(SLOTS_AT_ONCE) == SLOTS_AT_ONCE
    capacity, steps = 0, 0
    while capacity < 10_000:
        new = next_capacity(capacity + 1, capacity)
        if capacity:
            assert CAPACITY_GROWTH <= new / capacity < CAPACITY_GROWTH + SLOTS_AT_ONCE / capacity
            assert new % SLOTS_AT_ONCE == 0
        capacity, steps = new, steps + 1
    assert steps < 15
    assert next_capacity(10, limit=30) == 30  # never more slots than a budget of units can use
    assert next_capacity(70, 64, limit=80) == 80
    assert next_capacity(1000) >= 1000
