"""The score of maps that are applied at several positions, and the search by it."""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import senn
from senn import growth
from senn.actions import Beside, Widen
from senn.batches import Batch
from senn.curvature import moments
from senn.growth import look, propose_at
from senn.losses import SoftmaxCrossEntropy, make_metric
from senn.nn import ConvNet
from senn.nn.spaces import alive
from senn.policy import Policy
from senn.positions import moments_at_positions
from senn.prices import DAMPING as DAMPING_OF_PRICES
from senn.prices import Prices, factors_of
from senn.proposals import Langevin, Projection, Random
from senn.proposals.base import search_keys
from senn.proposals.spread import climbed, spread_problem
from senn.proposals.units import draw_units
from senn.score import line_score, natural_expansion_score, residual_gradient, score_increase_bound

N, T, K, OUTS, P = 64, 5, 3, 2, 4
LOSS = SoftmaxCrossEntropy()
METRIC = make_metric("fisher", LOSS)
DAMPING = 0.1


def drawn(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def correlated(seed, columns):
    """Rows whose positions are much alike."""
    return drawn(seed, N, T, columns) + 2 * drawn(seed + 1, N, 1, columns)


def second_moment(s):
    """Summed over positions."""
    return jnp.einsum("nto,ntp->op", s, s) / len(s)


def block(a, s):
    """E[vec(Σ a sᵀ) vec(Σ a sᵀ)ᵀ], the exact curvature of the weights."""
    each = np.einsum("ntk,nto->nko", a, s).reshape(len(a), -1)
    return each.T @ each / len(a)


# --- the score --------------------------------------------------------------------------------


@pytest.mark.parametrize("damping", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_the_score_along_a_line_is_no_more_than_that_by_the_exact_block(seed, damping):
    a, g, s = (correlated(10 * seed + k, n) for k, n in ((0, K), (3, OUTS), (6, OUTS)))
    found = float(line_score(a, g, s, second_moment(s), damping))
    c = np.einsum("ntk,nto->ko", a, g).ravel() / N
    exact = c @ np.linalg.solve(block(a, s), c)
    assert 0 < found <= exact * (1 + 1e-9)
    if not damping:
        A = np.einsum("ntk,ntl->kl", a, a) / (N * T)
        v = np.linalg.solve(np.kron(A, second_moment(s)), c)
        np.testing.assert_allclose(found, (c @ v) ** 2 / (v @ block(a, s) @ v), rtol=1e-9)


def pairs(seed):
    """Every input with every draw: of such rows the curvature is A ⊗ S itself."""
    a, s = drawn(seed, 7, K), drawn(seed + 1, 6, OUTS)
    return jnp.repeat(a, 6, axis=0), jnp.tile(s, (7, 1)), drawn(seed + 2, 42, OUTS)


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_with_one_position_it_is_the_score_of_the_factors(damping):
    a, s, g = pairs(0)
    S = s.T @ s / len(s)
    found = line_score(a[:, None], g[:, None], s[:, None], S, damping)
    np.testing.assert_allclose(found, natural_expansion_score(a, g, S, damping), rtol=1e-9)


def test_with_one_position_it_stands_for_the_bound_of_theorem_2():
    a, s, g = pairs(4)
    S, before = s.T @ s / len(s), drawn(9, 42, 2)
    left = residual_gradient(before, g)
    found = line_score(a[:, None], left[:, None], s[:, None], S)
    np.testing.assert_allclose(found, score_increase_bound(before, a, g, S), rtol=1e-9)


def test_positions_that_all_say_the_same_count_once():
    """The factors count them T times, as if each brought something new."""
    a, s, g = pairs(0)
    repeated = (jnp.repeat(v[:, None], T, axis=1) for v in (a, g, s))
    S = s.T @ s / len(s)
    found = line_score(*repeated, T * S)
    np.testing.assert_allclose(found, natural_expansion_score(a, g, S), rtol=1e-9)


def test_where_nothing_is_to_be_gained_the_score_is_0():
    a, s, _ = pairs(0)
    parts = a[:, None], jnp.zeros((42, 1, OUTS)), s[:, None]
    assert line_score(*parts, jnp.eye(OUTS)) == 0


# --- the search -------------------------------------------------------------------------------


@cache
def network():
    return ConvNet((5, 4, 2), OUTS, (3, 2), key=jax.random.key(0), capacity=4)


@cache
def sample():
    draw = np.random.default_rng(1)
    return Batch.of(
        draw.normal(size=(N, 5, 4, 2)), draw.integers(0, OUTS, N), draw.uniform(0.5, 1.5, N)
    )


@cache
def seen():
    return look(network(), LOSS, METRIC, sample(), sample(), jax.random.key(2))


@cache
def problem_at(layer):
    action, net, of = Widen(layer), network(), seen()
    (m,), (reader,) = action.sources(net), action.readers(net)
    at = [(net.graph.maps[k], of.fit.maps[k], of.held_out.maps[k]) for k in (m, reader)]
    usable = net.inputs_in_use(m)
    return spread_problem(at[0], at[1:], usable, action.activation(net), damping=DAMPING)


@cache
def units_at(layer):
    return draw_units(problem_at(layer), P, jax.random.key(layer))


def by_hand(layer):
    """h, q [N, P], what damping adds, and the score by the exact block, by a network with them."""
    net, units = network(), units_at(layer)
    in_use = net.inputs_in_use(layer)
    grown = senn.add_width(
        net, layer, units.weight[:, in_use, 0].T, units.bias[:, 0], units.theta[..., 0].T
    )
    m = layer + 1
    site, of = grown.graph.maps[m], seen().fit.maps[m]
    J, outs = net.graph.maps[m].shape(net)
    alive_outs = np.flatnonzero(net.outputs_in_use(m))
    root = np.sqrt(np.asarray(sample().weight))[:, None, None]
    old = np.asarray(net.graph.maps[m].rows(net.taps(sample().x).reads[m])) * root
    A = np.einsum("ntj,ntk->jk", old, old) / (N * old.shape[1])
    G = np.einsum("ntj,nto->jo", old, of.g) / N
    diagonal, S = np.diag(A), np.asarray(of.S)
    eps = DAMPING * diagonal[diagonal > 0].mean()
    eps_S = DAMPING * np.diag(S)[alive_outs].mean()
    left = of.g - old @ np.linalg.solve(A + eps * np.eye(J), G) / old.shape[1]
    rows = np.asarray(site.rows(grown.taps(sample().x).reads[m])) * root
    slots = site.columns(grown, grown.graph.hidden[layer])[net.hidden_sizes[layer] :][:P]
    h, q, extra, each, slopes = [], [], [], [], []
    for columns in slots.reshape(P, -1):
        a = rows[..., columns]
        A_p = np.einsum("ntk,ntl->kl", a, a) / (N * a.shape[1])
        C = np.einsum("ntk,nto->ko", a, left) / N
        damped_A, damped_S = A_p + eps * np.eye(len(A_p)), S + eps_S * np.eye(outs)
        V = np.linalg.solve(damped_A, C) @ np.linalg.inv(damped_S)
        h.append(np.einsum("ntk,ko,nto->n", a, V, left))
        q.append(np.einsum("ntk,ko,nto->n", a, V, of.s))
        extra.append(np.trace(V.T @ damped_A @ V @ damped_S) - np.trace(V.T @ A_p @ V @ S))
        each.append(np.einsum("ntk,nto->nko", a, of.s[..., alive_outs]).reshape(N, -1))
        slopes.append(C[:, alive_outs].ravel())
    each, slope = np.concatenate(each, axis=1), np.concatenate(slopes)
    exact = slope @ np.linalg.pinv(each.T @ each / N, hermitian=True) @ slope
    return np.stack(h, 1), np.stack(q, 1), np.array(extra), exact


scores = eqx.filter_jit(lambda problem, units: problem.scores(units))
choice = eqx.filter_jit(lambda problem, units, keys: problem.choice(Random().select, units, keys))
layers = pytest.mark.parametrize("layer", [0, 1])


@layers
def test_units_score_what_a_network_with_them_says(layer):
    h, q, extra, _ = by_hand(layer)
    slope = h.mean(axis=0)
    wanted = slope**2 / (np.mean(q**2, axis=0) + extra)
    np.testing.assert_allclose(scores(problem_at(layer), units_at(layer)), wanted, rtol=1e-6)


@layers
def test_units_in_turn_add_up_to_all_of_them_and_to_no_more_than_by_their_exact_block(layer):
    h, q, extra, exact = by_hand(layer)
    slope, curvature = h.mean(axis=0), q.T @ q / N + np.diag(extra)
    keys = search_keys(jax.random.key(0), P)[1]
    found = choice(problem_at(layer), units_at(layer), keys)
    assert sorted(found.chosen.tolist()) == list(range(P))
    for k in range(1, P + 1):
        some = np.asarray(found.chosen)[:k]
        wanted = slope[some] @ np.linalg.solve(curvature[np.ix_(some, some)], slope[some])
        np.testing.assert_allclose(np.sum(found.fit_score[:k]), wanted, rtol=1e-6)
    assert np.sum(found.fit_score) <= exact * (1 + 1e-9)
    # The other sample is the same here.
    np.testing.assert_allclose(found.score, found.fit_score, rtol=1e-6)


@layers
def test_what_maps_see_is_what_others_compute_of_all_rows(layer):
    plain = eqx.filter_jit(moments)(network(), LOSS, METRIC, sample(), jax.random.key(0))
    of, wanted = seen().fit.maps[layer], plain.maps[layer]
    T = wanted.a.shape[1]
    np.testing.assert_allclose(of.A, np.einsum("ntj,ntk->jk", wanted.a, wanted.a) / (N * T))
    np.testing.assert_allclose(of.G, np.einsum("ntj,nto->jo", wanted.a, wanted.g) / N, atol=1e-12)
    np.testing.assert_allclose(of.g, wanted.g, atol=1e-12)
    np.testing.assert_allclose(of.S, wanted.S, atol=1e-12)
    np.testing.assert_allclose(seen().fit.limit, plain.limit)


@layers
def test_a_channel_costs_what_is_measured_where_it_leaves(layer):
    """½ E[(Σ sᵀ ΔWᵀ a)²], its weights gone and the others refitted, and what damping adds."""
    net, m = network(), layer + 1
    rows = [seen().fit.maps, seen().held_out.maps]
    found = Prices.of(net, factors_of(net, rows)).at(layer)
    site, of = net.graph.maps[m], seen().fit.maps[m]
    root = np.sqrt(np.asarray(sample().weight))[:, None, None]
    a = np.asarray(site.rows(net.taps(sample().x).reads[m])) * root
    flat, W, S = a.reshape(-1, a.shape[-1]), np.asarray(site.matrix(net)), np.asarray(of.S)
    A = flat.T @ flat / len(flat)
    ridge = DAMPING_OF_PRICES * A.diagonal()[A.diagonal() > 0].mean() * np.eye(len(A))
    for slot in range(net.hidden_sizes[layer]):
        own = site.columns(net, net.graph.hidden[layer])[slot]
        others = np.delete(np.arange(len(W)), own)
        change = np.zeros_like(W)
        change[own] = -W[own]
        pull = A[np.ix_(others, own)] @ W[own]
        change[others] = np.linalg.solve((A + ridge)[np.ix_(others, others)], pull)
        measured = np.mean(np.einsum("ntj,jo,nto->n", a, change, of.s) ** 2)
        factored, damped = (np.trace(change.T @ B @ change @ S) for B in (A, A + ridge))
        wanted = damped / 2 * max(measured / factored, 1)
        np.testing.assert_allclose(found[slot], wanted, rtol=1e-6)


@pytest.mark.parametrize("position", [1, 2])
def test_a_layer_beside_a_map_is_read_at_its_outputs(position):
    """What it would add to the map's rows is what a network with it reads there."""
    action, net, units = Beside(position), network(), units_at(position - 1)
    at = [(net.graph.maps[m], seen().fit.maps[m], seen().held_out.maps[m])
          for m in (*action.sources(net), *action.readers(net))]  # fmt: skip
    used = net.inputs_in_use(position)
    units = units._replace(weight=jnp.asarray(np.random.default_rng(0).normal(
        size=(P, len(used), 1)) * used[:, None]))  # fmt: skip
    problem = spread_problem(
        at[0], at[1:], used, action.activation(net), damping=DAMPING, blocks=action.blocks(net)
    )
    (found,) = eqx.filter_jit(lambda p, u: p.numbers(u, p.fit))(problem, units)
    grown, _ = action.apply(
        net, None, np.asarray(units.weight)[:, used, 0].T, np.asarray(units.bias[:, 0]),
        np.asarray(units.theta[..., 0].T),
    )  # fmt: skip
    site = grown.graph.maps[position + 1]
    root = np.sqrt(np.asarray(sample().weight))[:, None, None]
    read = eqx.filter_jit(lambda n, x: site.rows(n.taps(x).reads[position + 1]))
    rows = np.asarray(read(grown, sample().x)) * root
    columns = site.columns(grown, grown.graph.hidden[position])[:P, 0]
    np.testing.assert_allclose(found[..., 0], rows[..., columns], rtol=1e-9, atol=1e-12)
    assert grown.n_parameters - net.n_parameters == action.cost(net, P)
    assert grown.capacities[position] == 8


def test_a_space_that_several_maps_write_is_said_to_be_rigid():
    class Both(Widen):
        def sources(self, network):  # noqa: ARG002
            return 0, 1

    with pytest.raises(ValueError, match="stage 1 is written by 2 maps, some of them applied at"):
        propose_at(network(), seen(), Random(), Policy(), Both(1, "stage 1"), jax.random.key(1))


def test_units_climb():
    problem, start = problem_at(0), units_at(0)
    after = eqx.filter_jit(climbed)(problem, start, 4, 0.3)
    before, found = scores(problem, start), scores(problem, after)
    assert (found >= before).all()
    assert (found > 1.05 * before).any()
    dormant = ~np.asarray(problem.inputs)
    assert not np.any(after.weight[:, dormant])


SEARCHES = [Projection(screened=16, candidates=3, steps=1), Langevin(3, 10)]


@pytest.mark.parametrize("search", SEARCHES, ids=lambda s: type(s).__name__)
def test_every_search_finds_channels(search):
    policy = Policy(additions_at_once=2, damping=DAMPING)
    found = propose_at(network(), seen(), search, policy, Widen(1), jax.random.key(1))
    assert len(found) == 2
    for proposal in found:
        assert proposal.weight.shape == (27, 1)
        assert proposal.fit_score > 0
    grown, _ = Widen(1).apply(network(), None, found[0].weight, found[0].bias, found[0].theta)
    assert int(alive(grown, grown.graph.hidden[1]).sum()) == 3


class Elsewhere(Random):
    at_positions = False


def test_a_search_that_knows_no_positions_says_so():
    with pytest.raises(ValueError, match="Elsewhere searches for units of maps that are applied"):
        propose_at(network(), seen(), Elsewhere(), Policy(), Widen(1), jax.random.key(1))


def test_what_a_look_needs_is_known_before_there_is_one():
    """Of mere shapes the problem has the shapes of the real one, so that its program serves."""
    net, action = network(), Widen(1)
    policy, search = Policy(damping=DAMPING), Random()
    given = (net, LOSS, METRIC, sample(), jax.random.key(0), None)
    shapes = moments_at_positions.shapes(*given)
    made, known = (
        growth._spread_task(net, of, search, policy, action, shapes=mere)
        for of, mere in ((seen(), False), (growth.Seen(shapes, shapes), True))
    )
    kinds = [
        [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(of.problem)] for of in (made, known)
    ]
    assert kinds[0] == kinds[1]
    assert jax.tree.structure(made.problem) == jax.tree.structure(known.problem)
