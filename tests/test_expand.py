"""Growing networks: nothing that they compute may change."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

import reference
from senn.expand import (
    SINGULAR_VALUE_FLOOR,
    add_width,
    grow_capacity,
    insert_layer,
    insert_zeros,
    raise_singular_values,
)
from senn.nn import ACTIVATIONS, MLP
from senn.nn.spaces import next_capacity
from strategies import random_network, random_units

SIZES = (5, 4, 3, 2)
x = jnp.asarray(np.random.default_rng(0).normal(size=(7, 5)))
x32 = x.astype(jnp.float32)
y = jnp.asarray(np.random.default_rng(1).normal(size=(7, 2)))

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
residuals = pytest.mark.parametrize("residual", [(), (0,), (0, 1)], ids=str)
jitted = eqx.filter_jit(lambda network, x: network(x))


def bits(array):
    return np.asarray(array).view(f"i{array.dtype.itemsize}")


def assert_same_bits(before, after, *, jit=True):
    for outputs in (lambda network, x: network(x), jitted)[: 1 + jit]:
        np.testing.assert_array_equal(bits(outputs(after, x32)), bits(outputs(before, x32)))


def insert(network, position, q, kind="residual", seed=0, **options):
    weight, bias, theta = random_units(network, position, q, seed)
    if kind == "identity":
        theta = None
    return insert_layer(network, position, weight, bias, kind, theta, **options)


def parameters(network):
    return eqx.filter(network, eqx.is_inexact_array)


def dormant(network, tree):
    """All entries of a network-shaped tree that belong to dormant slots."""
    outs = [*network.hidden_sizes, network.out_size]
    found = []
    for m, (dense, out) in enumerate(zip(tree.maps, outs, strict=True)):
        unread = ~np.asarray(network.active_inputs(m))
        found += [dense.weight[unread], dense.weight[:, out:], dense.bias[out:]]
        if m < len(network.hidden) and network.activation.learned:
            found.append(tree.hidden[m].activation.theta[:, out:])
    return np.concatenate([np.ravel(a) for a in found])


# --- width ------------------------------------------------------------------------------------


@every_activation
@pytest.mark.parametrize("layer", [0, 1])
def test_width_growth_is_exact_to_the_bit(activation, layer):
    network = random_network(SIZES, activation, residual=(1,), capacity=9, dtype=jnp.float32)
    grown = network
    for k in (1, 3, 1):  # the last one or two fill the capacity
        grown = add_width(grown, layer, *random_units(grown, layer, k, seed=k))
        assert_same_bits(network, grown)
    assert grown.capacities == network.capacities


@residuals
def test_added_units_compute_what_was_asked_for(residual):
    network = random_network(SIZES, residual=residual)
    for layer in (0, 1):
        weight, bias, theta = random_units(network, layer, 2)
        grown = add_width(network, layer, weight, bias, theta)
        outputs, read = reference.forward(grown, x)
        np.testing.assert_allclose(grown(x), outputs, rtol=1e-11)
        units = reference.sigma("rational", read[layer] @ weight + bias, theta)
        # the layer is the last block that its first reader reads, the units its last columns
        np.testing.assert_allclose(read[layer + 1][:, -2:], units, rtol=1e-12)
        sizes = [4, 3]
        sizes[layer] += 2
        assert grown.hidden_sizes == tuple(sizes)
        assert grown.n_parameters == sum(p.size for p in reference.active(grown))
        assert not dormant(grown, grown).any()
        for old, new in zip(reference.active(network), reference.active(grown), strict=True):
            if old.shape == new.shape:
                np.testing.assert_array_equal(old, new)


def test_units_at_once_or_one_by_one():
    network = random_network(SIZES, capacity=9)
    weight, bias, theta = random_units(network, 0, 3)
    together, one_by_one = add_width(network, 0, weight, bias, theta), network
    for k in range(3):
        one = slice(k, k + 1)
        one_by_one = add_width(one_by_one, 0, weight[:, one], bias[one], theta[:, one], born=1)
    assert eqx.tree_equal(together, one_by_one)


@pytest.mark.parametrize("layer", [0, 1])
def test_growth_beyond_capacity(layer):
    network = random_network(SIZES, residual=(0, 1), capacity=4)
    k = 5
    grown = add_width(network, layer, *random_units(network, layer, k))
    wanted = [4, 4]
    wanted[layer] = next_capacity(network.hidden_sizes[layer] + k, 4)
    assert list(grown.capacities) == wanted
    assert not dormant(grown, grown).any()
    np.testing.assert_allclose(jitted(grown, x), jitted(network, x), rtol=1e-12)


@pytest.mark.parametrize("capacities", [(64, 96), (256, 384)], ids=str)
@pytest.mark.parametrize("n", [7, 1024])
def test_capacity_growth_keeps_outputs_to_rounding(capacities, n):
    """Not to the bit: a matrix product of another size may sum in another order."""
    small, large = capacities
    network = random_network((30, small - 3, small, 10), capacity=small, dtype=jnp.float32)
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(n, 30)), jnp.float32)
    grown = grow_capacity(grow_capacity(network, 0, large), 1, large)
    before, after = np.asarray(jitted(network, inputs)), np.asarray(jitted(grown, inputs))
    assert np.abs(after - before).max() <= 16 * np.finfo(np.float32).eps * np.abs(before).max()
    for old, new in zip(reference.active(network), reference.active(grown), strict=True):
        np.testing.assert_array_equal(old, new)


def test_growth_within_capacity_compiles_nothing():
    traces = 0

    @eqx.filter_jit
    def outputs(network, x):
        nonlocal traces
        traces += 1
        return network(x)

    network = MLP(5, 2, (2, 2), key=jax.random.key(0), capacity=6)
    for _ in range(3):
        outputs(network, x)
        network = add_width(network, 0, *random_units(network, 0, 1))
    assert traces == 1
    network = insert(network, 1, 2)
    for _ in range(3):
        outputs(network, x)
        network = add_width(network, 1, *random_units(network, 1, 1))
    assert traces == 2


# --- depth ------------------------------------------------------------------------------------


@every_activation
@pytest.mark.parametrize("position", [0, 1, 2])
def test_residual_insertion_is_exact_to_the_bit(activation, position):
    network = random_network(SIZES, activation, dtype=jnp.float32)
    grown = insert(network, position, 3)
    assert_same_bits(network, grown, jit=position == 1)
    grown = add_width(grown, position, *random_units(grown, position, 2))
    assert_same_bits(network, grown, jit=position == 1)


@pytest.mark.parametrize("residual", [(0,), (1,), (0, 1)], ids=str)
def test_residual_insertion_beside_residual_layers(residual):
    network = random_network(SIZES, residual=residual, dtype=jnp.float32)
    for position in range(3):
        assert_same_bits(network, insert(network, position, 2), jit=position == 0)


@pytest.mark.parametrize("positions", [(0, 0, 0), (2, 3, 4), (2, 1, 0), (1, 1, 3)], ids=str)
def test_repeated_residual_insertion(positions):
    network = random_network(SIZES, dtype=jnp.float32)
    grown = network
    for seed, position in enumerate(positions):
        grown = insert(grown, position, 2, seed=seed)
        assert_same_bits(network, grown, jit=seed == 2)
    exact = reference.forward(grown, np.asarray(x32))[0]
    np.testing.assert_allclose(grown(x32), exact, rtol=1e-4, atol=1e-5)


@residuals
@pytest.mark.parametrize("position", [0, 1, 2])
def test_inserted_residual_units_compute_what_was_asked_for(residual, position):
    network = random_network(SIZES, residual=residual)
    weight, bias, theta = random_units(network, position, 6)
    grown = insert_layer(network, position, weight, bias, "residual", theta)
    outputs, read = reference.forward(grown, x)
    np.testing.assert_allclose(grown(x), outputs, rtol=1e-11)
    units = reference.sigma("rational", read[position] @ weight + bias, theta)
    np.testing.assert_allclose(read[position + 1][:, -6:], units, rtol=1e-12)
    sizes = [4, 3]
    sizes.insert(position, 6)
    assert grown.hidden_sizes == tuple(sizes)
    assert grown.capacities[position] == next_capacity(6)
    assert grown.n_parameters == sum(p.size for p in reference.active(grown))
    added = grown.n_parameters - network.n_parameters
    outs = [n for m, n in enumerate((*grown.hidden_sizes, 2)) if m in grown.readers(position)]
    assert added == weight.size + 6 + 18 + 6 * sum(outs)
    assert not dormant(grown, grown).any()
    relabelled = [[n + (n > position) for n in nodes] for nodes in reference.read_nodes(network)]
    for m, nodes in enumerate(relabelled):
        moved = m + (m >= position)
        without_new = [n for n in grown.sources[moved] if n != position + 1]
        assert without_new == nodes


@residuals
@pytest.mark.parametrize("position", [0, 1, 2])
def test_identity_insertion(residual, position):
    network = random_network(SIZES, residual=residual)
    n = network.n_inputs(position)
    weight, bias, _ = random_units(network, position, n, seed=position)
    grown = insert_layer(network, position, weight, bias, "identity")
    error = np.abs(grown(x) - network(x)).max()
    assert error <= 1e-12 * np.linalg.cond(weight)
    np.testing.assert_allclose(grown(x), reference.forward(grown, x)[0], rtol=1e-9)
    _, read = reference.forward(grown, x)
    np.testing.assert_allclose(
        read[position + 1][:, :n], read[position] @ weight + bias, rtol=1e-12
    )
    sizes = [4, 3]
    sizes.insert(position, n)
    assert grown.hidden_sizes == tuple(sizes)
    assert grown.n_parameters == sum(p.size for p in reference.active(grown))
    assert not dormant(grown, grown).any()
    again = insert(grown, position + 1, grown.n_inputs(position + 1), "identity", seed=7)
    assert np.abs(again(x) - network(x)).max() <= 1e-9


def test_depth_of_a_linear_model():
    network = random_network((5, 2))
    for kind, q in (("identity", 5), ("residual", 3)):
        grown = insert(network, 0, q, kind, capacity=8)
        np.testing.assert_allclose(grown(x), network(x), atol=1e-12)
        assert (grown.hidden_sizes, grown.capacities) == ((q,), (8,))


def test_singular_values_are_raised_to_the_floor():
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(2))
    s = np.array([2.0, 1.0, 1e-5, 0.0])
    raised = raise_singular_values((u * s) @ v)
    floor = SINGULAR_VALUE_FLOOR * s.mean()
    np.testing.assert_allclose(raised, (u * np.maximum(s, floor)) @ v, atol=1e-14)
    good = rng.normal(size=(4, 4))
    np.testing.assert_array_equal(raise_singular_values(good), good)


@pytest.mark.parametrize(
    "weight",
    [np.ones((4, 4)), np.diag([1.0, 1, 1, 0]), np.ones((4, 4), int), np.eye(4).tolist()],
    ids=["rank one", "rank three", "integers", "list"],
)
def test_identity_insertion_of_singular_matrices(weight):
    network = random_network(SIZES)
    grown = insert_layer(network, 1, weight, np.zeros(4), "identity")
    np.testing.assert_allclose(grown(x), network(x), atol=1e-12 / SINGULAR_VALUE_FLOOR)


# --- training goes on -------------------------------------------------------------------------

OPTIMISERS = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adam": optax.adam(0.01),
    "adamw": optax.adamw(0.01, weight_decay=0.1),
}


@eqx.filter_jit
def gradient(network, x, y):
    return eqx.filter_grad(lambda n: jnp.mean((n(x) - y) ** 2))(network)


@eqx.filter_jit
def train(optimiser, network, state, x, y):
    """Three steps."""
    params, static = eqx.partition(network, eqx.is_inexact_array)

    def step(carry, _):
        params, state = carry
        g = parameters(gradient(eqx.combine(params, static), x, y))
        updates, state = optimiser.update(g, state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, state), _ = jax.lax.scan(step, (params, state), length=3)
    return eqx.combine(params, static), state


@pytest.mark.parametrize("name", OPTIMISERS)
def test_no_optimiser_wakes_dormant_slots(name):
    optimiser, network = OPTIMISERS[name], random_network(SIZES, residual=(0,))
    state = optimiser.init(parameters(network))
    trained, state = train(optimiser, network, state, x, y)
    assert not dormant(network, trained).any()
    for old, new in zip(reference.active(network), reference.active(trained), strict=True):
        assert (old != new).all()
    for tree in jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, MLP)):
        if isinstance(tree, MLP):
            assert not dormant(network, tree).any()
    grown = add_width(trained, 0, *random_units(trained, 0, 1))
    trained, _ = train(optimiser, grown, state, x, y)
    assert not dormant(grown, trained).any()
    outgoing = blocks(grown, trained)[1, 2]
    assert outgoing[-1].all()  # the new unit joins in


@every_activation
def test_dormant_slots_receive_no_gradient(activation):
    network = random_network(SIZES, activation, residual=(1,))
    g = gradient(network, x, y)
    assert not dormant(network, g).any()
    assert all(a.any() for a in reference.active(network, g))


def blocks(network, tree):
    """Every active array of a tree by (node read, node made): stable under relabelling."""
    sizes, found = reference.node_sizes(network), {}
    arrays = iter(reference.active(network, tree))
    for m, nodes in enumerate(reference.read_nodes(network)):
        weight, start = next(arrays), 0
        for node in nodes:
            found[node, m + 1] = weight[start : start + sizes[node]]
            start += sizes[node]
        found["bias", m + 1] = next(arrays)
        if m < len(network.hidden) and network.activation.learned:
            found["theta", m + 1] = next(arrays)
    return found


@pytest.fixture(scope="module")
def adam():
    """A network that Adam has trained for a few steps, and Adam's state."""
    optimiser, network = OPTIMISERS["adam"], random_network(SIZES, residual=(0, 1))
    return optimiser, *train(optimiser, network, optimiser.init(parameters(network)), x, y)


def assert_fits(optimiser, network, state):
    wanted = optimiser.init(parameters(network))
    assert jax.tree.structure(state) == jax.tree.structure(wanted)
    for found, fresh in zip(jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True):
        assert (found.shape, found.dtype) == (fresh.shape, fresh.dtype)


def test_adam_across_capacity_growth(adam):
    optimiser, network, state = adam
    for layer in (0, 1):
        grown, moments = (grow_capacity(tree, layer, 10) for tree in (network, state))
        assert_fits(optimiser, grown, moments)
        assert moments[0].count == 3
        for old, new in ((state[0].mu, moments[0].mu), (state[0].nu, moments[0].nu)):
            assert not dormant(grown, new).any()
            for a, b in zip(
                reference.active(network, old), reference.active(grown, new), strict=True
            ):
                np.testing.assert_array_equal(a, b)
                assert a.any()


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("kind", ["residual", "identity"])
@pytest.mark.parametrize("capacity", [None, 6])
def test_adam_across_insertion(adam, position, kind, capacity):
    """Old moments stay, new ones are zero, as are those in coordinates that are new.

    Also where the new layer happens to have as many slots as the old one (capacity 6).
    """
    optimiser, network, state = adam
    n = network.n_inputs(position)
    grown = insert(network, position, n, kind, capacity=capacity)
    moments = insert_zeros(state, grown, position)
    assert_fits(optimiser, grown, moments)
    made = position + 1  # the new node; those behind it move by one
    folded = {m + 1 for m in grown.readers(position)} if kind == "identity" else set()
    for old, new in ((state[0].mu, moments[0].mu), (state[0].nu, moments[0].nu)):
        assert not dormant(grown, new).any()
        before = {
            tuple(n + (n > position) if isinstance(n, int) else n for n in key): value
            for key, value in blocks(network, old).items()
        }
        for (source, target), value in blocks(grown, new).items():
            is_new = made in (source, target)
            if is_new or (target in folded and source != "theta"):
                assert not value.any()
            else:
                np.testing.assert_array_equal(value, before[source, target])
                assert value.any()


def test_growth_leaves_the_network_and_other_leaves_alone():
    network = random_network(SIZES, residual=(0,))
    copies = [np.array(leaf) for leaf in jax.tree.leaves(network)]
    add_width(network, 0, *random_units(network, 0, 2))
    add_width(network, 1, *random_units(network, 1, 20))
    insert(network, 1, 3)
    insert(network, 1, network.n_inputs(1), "identity")
    grow_capacity(network, 1, 20)
    for leaf, copy in zip(jax.tree.leaves(network), copies, strict=True):
        np.testing.assert_array_equal(leaf, copy)
    others = {"step": 3, "ema": jnp.ones(2), "none": None}
    assert eqx.tree_equal(grow_capacity(others, 0, 20), others)


# --- errors -----------------------------------------------------------------------------------

zeros = np.zeros
RELU, RATIONAL = random_network(SIZES, "relu"), random_network(SIZES)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (add_width, (RELU, 2, zeros((3, 1)), zeros(1)), "layer=2 does not exist.* has 2 hidden"),
        (add_width, (RELU, -1, zeros((3, 1)), zeros(1)), "layer=-1 does not exist"),
        (add_width, (RELU, 7, zeros((9, 1)), zeros(1)), "layer=7 does not exist"),
        (add_width, (RELU, 1, zeros((5, 1)), zeros(1)), r"I = 4 active.*\(5, 1\) and \(1,\)"),
        (add_width, (RELU, 1, zeros((4, 2)), zeros(1)), r"got shapes \(4, 2\) and \(1,\)"),
        (add_width, (RELU, 1, zeros((4, 0)), zeros(0)), "need weight"),
        (add_width, (RELU, 1, zeros(4), 0.0), "need weight"),
        (add_width, (RELU, 1, zeros((4, 1)), zeros(1), zeros((3, 1))), "relu units have no param"),
        (add_width, (RATIONAL, 1, zeros((4, 1)), zeros(1)), r"θ of shape \(3, 1\); got None"),
        (add_width, (RATIONAL, 1, zeros((4, 1)), zeros(1), zeros(3)), r"got \(3,\)"),
        (add_width, (RELU, 1, np.full((4, 1), np.nan), zeros(1)), "finite"),
        (add_width, (RELU, 1, zeros((4, 1)), np.array([np.inf])), "finite"),
        (add_width, (RATIONAL, 1, zeros((4, 1)), zeros(1), np.full((3, 1), np.nan)), "finite"),
        (insert_layer, (RELU, 3, zeros((2, 1)), zeros(1)), "position=3.* positions 0 to 2"),
        (insert_layer, (RELU, -1, zeros((2, 1)), zeros(1)), "position=-1 does not exist"),
        (insert_layer, (RELU, 1, zeros((4, 1)), zeros(1), "wide"), "'wide' is not known; choose"),
        (insert_layer, (RELU, 1, np.eye(4), zeros(4), "identity"), "this network has relu"),
        (insert_layer, (RATIONAL, 1, zeros((4, 3)), zeros(3), "identity"), r"\(4, 4\); got \(4, 3"),
        (insert_layer, (RATIONAL, 1, zeros((4, 4)), zeros(4), "identity"), "not all zero"),
        (insert_layer, (RATIONAL, 1, np.diag([1, 1, 1, np.nan]), zeros(4), "identity"), "finite"),
        (insert_layer, (RATIONAL, 1, np.eye(4), zeros(3), "identity"), r"\(4, 4\) and \(3,\)"),
        (insert_layer, (RELU, 1, zeros((5, 1)), zeros(1)), "I = 4 active inputs"),
        (grow_capacity, (RELU, 0, 3), "capacity=3 is below the 6 slots that layer 0 has"),
    ],
)
def test_errors(monkeypatch, function, arguments, message):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it
    with pytest.raises(ValueError, match=message):
        function(*arguments)
