"""What it costs to lose a unit, beside the dense quadratic model, and what removing one does."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reference
from senn.batches import Batch
from senn.growth import look
from senn.losses import make_loss, make_metric
from senn.nn.edits import erase, write
from senn.nn.spaces import births, leaf_at
from senn.prices import Factor, Prices, factors_of, matrix_of
from senn.removal import remove_units, take_out, without_layer
from senn.score import removal_price, score_increase
from strategies import random_network
from test_any_network import copied
from towers import Towers

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


# --- networks ---------------------------------------------------------------------------------

CAPACITY = 6
NETWORKS = {
    "one layer": lambda: random_network((5, 4, 2), capacity=CAPACITY),
    "two layers": lambda: random_network((5, 3, 4, 2), capacity=CAPACITY),
    "residual": lambda: random_network((5, 3, 3, 2), residual=(0, 1), capacity=CAPACITY),
    "towers": lambda: Towers((2, 3, 2, 3, 2, 2), CAPACITY),
}
every_network = pytest.mark.parametrize("name", NETWORKS)
X = np.random.default_rng(5).normal(size=(60, 5))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
LOSS = make_loss("softmax_cross_entropy")
METRIC = make_metric("fisher", LOSS)
outputs = eqx.filter_jit(lambda network: network(jnp.asarray(X)))


@pytest.fixture(scope="module")
def seen():
    made = {}

    def of(name):
        if name not in made:
            network, sample = NETWORKS[name](), Batch.of(X, Y)
            looked = look(network, LOSS, METRIC, sample, sample, jax.random.key(0))
            made[name] = network, [looked.fit.maps, looked.held_out.maps]
        return made[name]

    return of


def by_hand(network, m, seen_maps):
    """a [N, T, J'], W and S of a map without what is dormant, and the columns that they are."""
    site, of = network.graph.maps[m], seen_maps[0][m]
    J, outs = site.shape(network)
    a = np.asarray(of.a)[:, None]
    a = a[..., [*range(J - (site.bias is not None)), *([-1] if site.bias else [])]]
    used = np.flatnonzero((a**2).sum(axis=(0, 1)) > 0)
    return a[..., used], matrix_of(network, site)[used], np.asarray(of.S)[:outs, :outs], used


@every_network
def test_the_price_of_a_unit_is_summed_over_the_maps_that_read_it(name, seen):
    network, maps = seen(name)
    found = Prices.of(network, factors_of(network, maps), damping=1e-4)
    for layer, space in enumerate(network.graph.hidden):
        wanted = np.zeros(CAPACITY)
        for m in network.graph.readers(space):
            a, W, S, used = by_hand(network, m, maps)
            prices = np.zeros(network.graph.maps[m].shape(network)[0])
            prices[used] = reference.removal_price(a, W, S, ridge(a, 1e-4))
            np.testing.assert_allclose(
                prices[used], removal_price(*map(jnp.asarray, (a, W, S)), 1e-4), rtol=1e-7
            )
            wanted += prices[network.graph.maps[m].columns(network, space)]
        n = network.hidden_sizes[layer]
        np.testing.assert_allclose(found.at(layer)[:n], wanted[:n], rtol=1e-8)
        assert np.isinf(found.at(layer)[n:]).all()


@every_network
def test_prices_after_some_have_left_are_those_of_the_smaller_network(name, seen):
    """Elimination is refitting: what is left costs what it costs in the refitted network."""
    network, maps = seen(name)
    factors = factors_of(network, maps)
    moments = {m: f.A for m, f in factors.items()}
    steps = in_turn(Prices.of(network, factors, damping=0.0))
    gone = {}
    for (unit, left), _ in zip(steps, range(3), strict=False):
        gone.setdefault(unit.layer, []).append(unit.slot)
        smaller, _ = take_out(network, None, gone, moments, damping=0.0)
        cut = {m: _without(f, network, m, gone) for m, f in factors.items()}
        anew = Prices.of(smaller, cut, damping=0.0)
        for layer in range(len(network.graph.hidden)):
            np.testing.assert_allclose(left.at(layer), anew.at(layer), rtol=1e-6)
        assert left.hidden_sizes == smaller.hidden_sizes
        assert network.parameters_with(left.hidden_sizes) == smaller.n_parameters


def _without(factor, network, m, gone):
    A = factor.A.copy()
    for layer, slots in gone.items():
        space = network.graph.hidden[layer]
        if m in network.graph.readers(space):
            columns = network.graph.maps[m].columns(network, space)[slots]
            A[columns], A[:, columns] = 0, 0
    return factor._replace(A=A)


def test_a_layer_keeps_its_last_unit_and_those_that_may_not_leave_stay():
    network = NETWORKS["two layers"]()
    factors = {m: Factor(np.eye(7), np.eye(6)) for m in (1, 2)}
    factors[2] = Factor(np.eye(7), np.eye(2))
    left = list(in_turn(Prices.of(network, factors)))
    assert sorted(unit.layer for unit, _ in left) == [0, 0, 1, 1, 1]
    may = [np.zeros(CAPACITY, bool), np.arange(CAPACITY) == 2]
    assert [(u.layer, u.slot) for u, _ in in_turn(Prices.of(network, factors), may)] == [(1, 2)]


@every_network
def test_a_copy_is_free_and_is_not_missed(name):
    network = NETWORKS[name]()
    for layer in range(len(network.graph.hidden)):
        two, slot = copied(network, layer), network.hidden_sizes[layer]
        sample = Batch.of(X, Y)
        maps = [look(two, LOSS, METRIC, sample, sample, jax.random.key(0)).fit.maps]
        factors = factors_of(two, maps)
        found = [Prices.of(two, factors, damping).at(layer) for damping in (1e-4, 1e-8)]
        assert (found[1][[0, slot]] <= 1e-4 * np.max(found[1][1:slot])).all()
        assert (found[1][[0, slot]] <= 1e-3 * found[0][[0, slot]]).all()
        moments = {m: f.A for m, f in factors.items()}
        smaller, _ = take_out(two, None, {layer: [slot]}, moments, damping=1e-10)
        np.testing.assert_allclose(outputs(smaller), outputs(two), rtol=1e-7, atol=1e-8)


@every_network
def test_a_whole_layer_leaves_with_its_last_unit_or_says_why_not(name):
    network = NETWORKS[name]()
    for layer, n in enumerate(network.hidden_sizes):
        if layer not in network.removable:
            with pytest.raises(ValueError, match="leave it one"):
                remove_units(network, layer, range(n), X)
            if network.insertions:
                with pytest.raises(ValueError, match="cannot be taken out whole"):
                    network.without_layer(layer)
            continue
        erased = erase(network, network.graph.hidden[layer], slice(None))
        smaller = without_layer({"velocity": erased}, layer)["velocity"]
        np.testing.assert_allclose(outputs(smaller), outputs(erased), rtol=1e-13, atol=1e-13)
        assert smaller.hidden_sizes == tuple(np.delete(network.hidden_sizes, layer))
        assert smaller.n_parameters == network.parameters_with(erased.hidden_sizes)
        assert eqx.tree_equal(remove_units(network, layer, range(n)), smaller)
        again = smaller.with_layer(layer, CAPACITY, beside=True)
        assert jax.tree.structure(again) == jax.tree.structure(network)


def test_what_read_a_whole_layer_is_refitted_by_what_it_reads_beside_it():
    network = NETWORKS["residual"]()  # the output map reads the inputs and both layers
    smaller = remove_units(network, 1, range(3), X, damping=1e-12)
    beside = network.taps(jnp.asarray(X)).reads[2]
    kept = np.concatenate([beside[0], beside[1][:, :3], np.ones((len(X), 1))], axis=1)
    y = np.asarray(outputs(network))
    wanted = kept @ np.linalg.lstsq(kept, y, rcond=None)[0]
    np.testing.assert_allclose(outputs(smaller), wanted, rtol=1e-6, atol=1e-6)
    assert smaller.hidden_sizes == (3,)
    assert np.abs(outputs(smaller) - y).max() > 1e-2


@every_network
def test_removal_and_the_same_unit_again_restore_all_bits(name):
    network = NETWORKS[name]()
    for layer, space in enumerate(network.graph.hidden):
        smaller, state = take_out(network, {"velocity": network, "age": 3}, {layer: [1]})
        assert births(smaller, space)[1] == -1
        assert eqx.tree_equal(state["velocity"], smaller)
        unit = {port: at_slot(network, port, 1) for port in space.ports}
        again = write(smaller, space, [1], unit, born=int(births(network, space)[1]))
        assert eqx.tree_equal(again, network)


def at_slot(network, port, slot):
    return np.take(np.asarray(leaf_at(network, port.leaf)), [slot], axis=port.axis)


def in_turn(left, may=None):
    """Units as they leave, the cheapest of those left first, and the prices after each."""
    while (unit := left.cheapest(may)) is not None:
        left = left.without(unit.layer, unit.slot)
        yield unit, left
