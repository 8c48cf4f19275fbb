"""Spaces, ports and sites: one table of properties for every architecture."""

import math
from functools import cache, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from senn.batches import InputMoment
from senn.curvature import moments, through
from senn.losses import SoftmaxCrossEntropy, make_metric
from senn.nn import ConvNet, LayerNorm
from senn.nn.edits import arrange, erase, resize, write
from senn.nn.graph import Graph, cost
from senn.nn.sites import UnitwiseSite
from senn.nn.spaces import Port, Space, births, leaf_at, slots, units
from senn.nn.tapped import AbstractTapped
from senn.optimizers import KFAC
from senn.optimizers.kfac_factors import seen_on
from strategies import layers_beside, random_batch, random_network
from towers import Towers
from wrapped import Residual, Tokens, normed, tanh_layers, wrapped

N, CAPACITY = 7, 6
NETWORKS = {
    "chain": lambda: random_network((5, 4, 3, 2), capacity=CAPACITY),
    "residual": lambda: random_network((5, 4, 3, 2), residual=(0, 1), capacity=CAPACITY),
    "silu": lambda: random_network((5, 4, 3, 2), "silu", residual=(1,), capacity=CAPACITY),
    "linear": lambda: random_network((5, 2)),
    "towers": lambda: Towers((2, 3, 4, 3, 2, 2), CAPACITY),
    "convnet": lambda: convolutions((6, 5, 2), (4, 3)),
    "flattened": lambda: layers_beside(
        convolutions((4, 4), (4,), stride=2, head="flatten", activation="silu"), CAPACITY, (0, 2)
    ),
    "wrapped layers": lambda: wrapped(tanh_layers((5, 4, 3, 2)), (5,), CAPACITY),
    "wrapped images": lambda: wrapped(Residual((1, 4, 2), 2, (3, 4)), (1, 4, 2), CAPACITY),
    "wrapped tokens": lambda: wrapped(Tokens((3, 4), 2, (3, 2)), (3, 4), CAPACITY),
    "wrapped norm": lambda: wrapped(normed(LayerNorm(4)), (3,), CAPACITY),
}


def convolutions(image_shape, channels, **settings):
    return ConvNet(image_shape, 2, channels, key=KEY, capacity=CAPACITY, **settings)


network_of = cache(lambda name: NETWORKS[name]())
LOSS = SoftmaxCrossEntropy()
METRIC = make_metric("fisher", LOSS)
KEY = jax.random.key(0)

every_network = pytest.mark.parametrize("name", NETWORKS)
outputs = eqx.filter_jit(lambda network, x: network(x))


def free(network):
    """The spaces that may grow: those with slots to spare here."""
    return [s for s in network.graph.spaces if s.written and s.read and not s.rigid]


@cache
def batch_like(shape):
    batch = random_batch("softmax_cross_entropy", N, math.prod(shape), 2, weighted=True)
    return batch._replace(x=batch.x.reshape(N, *shape))


def batch_of(network):
    """Of its own inputs, with weights."""
    return batch_like(network.in_shape)


def newborn(network, space, count, seed=0):
    """Random numbers for all that writes units and is carried with them."""
    draw = np.random.default_rng(seed)

    def like(port):
        shape = list(leaf_at(network, port.leaf).shape)
        shape[port.axis] = count * port.outer * port.inner
        rows = draw.normal(size=shape)
        return rows * alive_rows(network, port)

    return {port: like(port) for port in (*space.written, *space.carried) if trained(network, port)}


def trained(network, port):
    """Whether it holds parameters, and not which units count in a norm."""
    return leaf_at(network, port.leaf).dtype != bool


def alive_rows(network, written):
    """1 where the map that writes reads a unit in use, or none at all; broadcasts to the leaf."""
    alive = 1.0
    for space in network.graph.spaces:
        for port in space.read:
            if port.leaf == written.leaf:
                of_units = np.repeat(births(network, space) >= 0, port.inner)
                shape = [1] * np.ndim(leaf_at(network, port.leaf))
                shape[port.axis] = -1
                alive = np.tile(of_units, port.outer).reshape(shape).astype(float)
    return alive


def by_unit(tree, port):
    """What a tree has at a port, unit by unit."""
    array = np.moveaxis(np.asarray(leaf_at(tree, port.leaf)), port.axis, 0)
    apart = array.reshape(port.outer, -1, port.inner, *array.shape[1:])
    return np.moveaxis(apart, 1, 0)


def params(tree):
    return eqx.filter(tree, eqx.is_inexact_array)


def gradient(network):
    return _gradient(network, batch_of(network))


@eqx.filter_jit
def _gradient(network, batch):
    return eqx.filter_grad(lambda n: jnp.mean(batch.weight * LOSS(n(batch.x), batch.y)))(network)


def signals(network):
    return _signals(network, batch_of(network))


@eqx.filter_jit
def _signals(network, batch):
    seen = through(network, LOSS, METRIC, batch)
    g_y = LOSS.gradient(seen.outputs, batch.y)
    return seen.rows, seen.back(g_y)[1], seen.back(seen.metric.draw(KEY, seen.outputs))[1]


def bits(array):
    return np.asarray(array).view(np.int64)


# --- spaces -----------------------------------------------------------------------------------


@every_network
def test_a_birth_keeps_every_bit_and_a_death_undoes_it(name):
    network, batch = network_of(name), batch_of(network_of(name))
    for space in free(network):
        n = units(network, space)
        new = slice(n, n + 2)
        grown = write(network, space, new, newborn(network, space, 2), born=3)
        assert not eqx.tree_equal(grown, network)
        np.testing.assert_array_equal(
            bits(outputs(grown, batch.x)), bits(outputs(network, batch.x))
        )
        # What reads the units feels them: they can be of use.
        felt = gradient(grown)
        reads = [by_unit(felt, port) for port in space.read]
        assert all(g[new].any(axis=tuple(range(1, g.ndim))).all() for g in reads)
        assert births(grown, space).tolist() == [0] * n + [3] * 2 + [-1] * (CAPACITY - n - 2)
        undone = erase(grown, space, new)
        assert eqx.tree_equal(undone, network)
        assert not any(
            np.any(leaf_at(erase(grown, space, slice(None)), p.leaf)) for p in space.read
        )


@every_network
def test_more_room_changes_nothing_and_less_takes_it_back(name):
    network, batch = network_of(name), batch_of(network_of(name))
    for space in free(network):
        wide = resize(network, space, 9)
        assert slots(wide, space) == 9
        for part in (wide, gradient(wide)):
            for port in filter(partial(trained, network), space.ports):
                assert not by_unit(part, port)[6:].any()
        np.testing.assert_allclose(
            outputs(wide, batch.x), outputs(network, batch.x), rtol=1e-12, atol=1e-14
        )
        assert eqx.tree_equal(resize(wide, space, CAPACITY), network)


@every_network
def test_no_unit_in_use_is_cut_off(name):
    network = network_of(name)
    for space in free(network):
        with pytest.raises(ValueError, match=f"1 slots are too few for {space.name}, where"):
            resize(network, space, 1)


@every_network
def test_dormant_slots_receive_no_gradient(name):
    network = network_of(name)
    g = gradient(network)
    for space in network.graph.spaces:
        n = units(network, space)
        for port in filter(partial(trained, network), space.ports):
            parts = by_unit(g, port)
            assert not parts[n:].any()
            assert parts[:n].any()


@every_network
def test_units_in_another_order_are_the_same_network(name):
    network, batch = network_of(name), batch_of(network_of(name))
    for space in free(network):
        n = units(network, space)
        order = np.r_[np.random.default_rng(0).permutation(n), n:CAPACITY]
        mixed = arrange(network, space, order)
        np.testing.assert_allclose(
            outputs(mixed, batch.x), outputs(network, batch.x), rtol=1e-12, atol=1e-14
        )
        assert eqx.tree_equal(arrange(mixed, space, np.argsort(order)), network)


@every_network
def test_a_mean_and_the_moments_of_optimisers_go_along(name):
    network = network_of(name)
    adam, kfac = optax.adam(0.01), KFAC()
    state = {
        "adam": adam.update(params(gradient(network)), adam.init(params(network)))[1],
        "kfac": kfac.init(network),
        "mean": network,
        "step": jnp.ones(3),
        "none": None,
    }
    for space in free(network):
        wide = resize(state, space, 9)
        fresh = adam.init(params(resize(network, space, 9)))
        assert jax.tree.map(jnp.shape, wide["adam"]) == jax.tree.map(jnp.shape, fresh)
        assert eqx.tree_equal(wide["mean"], resize(network, space, 9))
        assert eqx.tree_equal(wide["step"], state["step"])
        assert eqx.tree_equal(resize(wide, space, CAPACITY), state)
        moments_of = wide["adam"][0].mu
        assert eqx.tree_equal(moments_of, resize(state["adam"][0].mu, space, 9))


class Folded(AbstractTapped):
    """Two rows of 2 × 3 × 2 numbers: outer 2, three units, inner 2."""

    numbers: jax.Array
    born: jax.Array
    graph = Graph((Space("units", "born", read=(Port("numbers", 1, outer=2, inner=2),)),), ())
    no_shifts = None

    def taps(self, x, shifts=None):
        raise NotImplementedError


def test_units_of_several_numbers_stay_together():
    rows = np.arange(24.0).reshape(2, 2, 3, 2)
    tree = Folded(jnp.asarray(rows.reshape(2, 12)), jnp.array([0, 2, 1]))
    (space,) = tree.graph.spaces

    def found(tree):
        return np.asarray(tree.numbers).reshape(2, 2, -1, 2)

    assert (tree.n_parameters, cost(tree, space, 2)) == (24, 16)
    wide = found(resize(tree, space, 5))
    assert resize(tree, space, 5).born.tolist() == [0, 2, 1, -1, -1]
    np.testing.assert_array_equal(wide[:, :, :3], rows)
    assert not wide[:, :, 3:].any()
    assert arrange(tree, space, [2, -1, 0]).born.tolist() == [1, -1, 0]
    assert arrange(tree, space, [2, -1, 0]).n_parameters == 16
    moved = found(arrange(tree, space, [2, -1, 0]))
    np.testing.assert_array_equal(moved[:, :, [0, 2]], rows[:, :, [2, 0]])
    assert not moved[:, :, 1].any()
    assert erase(tree, space, [0, 2]).born.tolist() == [-1, 2, -1]
    erased = found(erase(tree, space, [0, 2]))
    np.testing.assert_array_equal(erased[:, :, 1], rows[:, :, 1])
    assert not erased[:, :, [0, 2]].any()
    (port,) = space.ports
    unit = np.arange(100.0, 108).reshape(2, 4)
    assert write(tree, space, [1], {port: unit}).born.tolist() == [0, 2, 1]
    assert write(tree, space, [1], {port: unit}, born=7).born.tolist() == [0, 7, 1]
    written = found(write(tree, space, [1], {port: unit}))
    np.testing.assert_array_equal(written[:, :, 1], unit.reshape(2, 2, 2))
    np.testing.assert_array_equal(written[:, :, [0, 2]], rows[:, :, [0, 2]])


# --- sites ------------------------------------------------------------------------------------


@every_network
def test_every_parameter_belongs_to_one_site(name):
    network = network_of(name)
    leaves = [leaf for site in network.graph.sites for leaf in site.leaves]
    assert len(set(leaves)) == len(leaves) == len(jax.tree.leaves(params(network)))
    for site in network.graph.sites:
        matrix = site.matrix(network)
        assert matrix.shape == site.shape(network)
        assert eqx.tree_equal(site.put(network, matrix), network)
        moved = site.put(network, matrix + 1)
        np.testing.assert_array_equal(site.matrix(moved), matrix + 1)


@every_network
def test_rows_give_the_gradient_of_every_site(name):
    """Σ a gᵀ, whatever the shape of its weights."""
    network = network_of(name)
    rows, at, _ = signals(network)
    g, weight = gradient(network), np.asarray(batch_of(network).weight)
    for site, a, s in zip(network.graph.sites, rows, at, strict=True):
        product = "n,ntfc,ntc->fc" if isinstance(site, UnitwiseSite) else "n,ntj,nto->jo"
        found = np.einsum(product, weight, a, s) / N
        np.testing.assert_allclose(found, site.matrix(g), rtol=1e-9, atol=1e-13)


@every_network
def test_moments_are_those_of_the_rows(name):
    network = network_of(name)
    rows, at, _ = signals(network)
    batch = batch_of(network)
    seen = eqx.filter_jit(moments)(network, LOSS, METRIC, batch, KEY)
    root = np.sqrt(np.asarray(batch.weight))
    for of, a, g in zip(seen.maps, rows, at, strict=False):
        np.testing.assert_array_equal(of.root_weight, root)
        np.testing.assert_allclose(of.a, a * root[:, None, None], rtol=1e-12)
        np.testing.assert_allclose(of.g, g * root[:, None, None], rtol=1e-9, atol=1e-14)
    assert len(seen.maps) == len(network.graph.maps)


def second_moment(rows, weight, *, mean=False):
    """Summed over positions, or their mean."""
    total = np.einsum("n,nti,ntj->ij", weight, rows, rows) / len(rows)
    return total / rows.shape[1] if mean else total


@every_network
def test_a_step_of_kfac_is_that_of_the_dense_curvature(name):
    """Every site's block of F + εI inverted as a dense matrix; all maps' inputs from the batch."""
    network, rule = network_of(name), KFAC(prior=0.3, kl_clip=1e9)
    batch = batch_of(network)
    inputs = np.concatenate([batch.x, np.ones((*batch.x.shape[:-1], 1))], axis=-1)
    A0 = second_moment(inputs.reshape(N, -1, inputs.shape[-1]), batch.weight, mean=True)
    state = rule.init(network)
    state = rule.observe(state, InputMoment(A0, N))
    step = eqx.filter_jit(lambda n, s: rule.step(n, s, LOSS, METRIC, batch, jnp.ones(())))
    new, *_ = step(network, state)
    rows, _, draws = (jax.tree.map(np.asarray, part) for part in signals(network))
    g, weight = gradient(network), np.asarray(batch.weight)

    def damped(A, S):
        alive_A, alive_S = np.diag(A)[np.diag(A) != 0], np.diag(S)[np.diag(S) != 0]
        pi, root = np.sqrt(alive_A.mean() / alive_S.mean()), rule.damping**0.5
        return np.kron(A + pi * root * np.eye(len(A)), S + root / pi * np.eye(len(S)))

    for site, a, s in zip(network.graph.sites, rows, draws, strict=True):
        old, precision = np.asarray(site.matrix(network)), np.asarray(site.precision(network))
        G = np.asarray(site.matrix(g)) + 0.3 / N * precision * old
        wanted = np.zeros_like(G)
        if isinstance(site, UnitwiseSite):
            F = np.einsum("n,ntfc,nthc,ntc->cfh", weight, a, a, s**2) / N
            for c, block in enumerate(F):
                wanted[:, c] = np.linalg.solve(block + rule.damping * np.eye(len(block)), G[:, c])
        else:
            S = second_moment(s, weight)
            parts = [np.arange(a.shape[-1])]
            if site.reads_inputs:  # with the constant, apart from hidden layers
                n = inputs.shape[1] - 1
                parts = [np.r_[0:n, a.shape[-1] - 1], np.arange(n, a.shape[-1] - 1)]
            for part in parts:
                if len(part):
                    A = second_moment(a[..., part], weight, mean=True)
                    solved = np.linalg.solve(damped(A, S), G[part].ravel())
                    wanted[part] = solved.reshape(len(part), -1)
        found = (old - np.asarray(site.matrix(new))) / rule.learning_rate
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-11)


def test_factors_of_convolutions_come_from_few_images_of_every_few_steps():
    network = network_of("flattened")
    batch, state = batch_of(network), KFAC().init(network)

    @eqx.filter_jit
    def seen(state, batch, examples):
        rule = KFAC(examples=examples)
        return rule._seen_at_places(network, LOSS, METRIC, batch, state)

    g, factors, value = seen(state, batch, N)
    wanted = eqx.filter_jit(seen_on)(network, LOSS, METRIC, batch, state)
    for found, known in zip((g, factors, value), wanted, strict=True):
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(known), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-13)
    # The first of the batch alone, and until the fourth step no others.
    later = state._replace(factors=factors, age=jnp.int32(3))
    assert eqx.tree_equal(seen(later, batch, N)[1], factors)
    others = batch._replace(x=batch.x.at[2:].set(0.0))
    few, same = (seen(state, of, 2)[1] for of in (batch, others))
    assert eqx.tree_equal(few, same)
    assert not eqx.tree_equal(few, factors)
