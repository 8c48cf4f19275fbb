"""One act of growth: a proposal for every place, and additions that disturb nothing."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reference
from senn.actions import Beside, Between, Widen
from senn.batches import Batch
from senn.expand import map_networks
from senn.growth import add, look, propose_all, propose_at
from senn.losses import make_loss, make_metric
from senn.nn import MLP
from senn.optimizers import KFAC, NaturalGradient, Optax
from senn.policy import Policy
from senn.proposals import Proposal, Random
from senn.proposals.proposal import join

rng = np.random.default_rng(6)
N = 16
x = rng.normal(size=(N, 3))
OPTIMIZERS = {"adam": Optax(optax.adam(0.1)), "cg": NaturalGradient(), "kfac": KFAC()}
IDENTITY = Policy(layer_kind="identity")
forward = eqx.filter_jit(lambda network, x: network(x))


def params(network):
    return eqx.filter(network, eqx.is_inexact_array)


def make(activation="rational", dtype=None, capacity=6):
    """A network whose biases are not zero."""
    network = MLP(
        3, 2, (4,), key=jax.random.key(0), activation=activation, capacity=capacity, dtype=dtype
    )
    biases = [network.hidden[0].dense.bias.at[:4].set(jnp.arange(1, 5)), network.readout.bias + 1]
    return eqx.tree_at(lambda n: [n.hidden[0].dense.bias, n.readout.bias], network, biases)


def proposal(network, place, units=1):
    n = network.n_inputs(place.position)
    units = n if place.square else units
    theta = rng.normal(size=(3, units)) if network.activation.learned else None
    new = rng.normal(size=(n, units)) + 2 * np.eye(n, units), rng.normal(size=units)
    scores = dict.fromkeys(("fit_score", "score", "stderr", "eta", "limit", "reach"), 1.0)
    return Proposal(place, *new, theta, **scores)


def state_of(name, network):
    """An optimiser's state whose every moment is the parameter that it belongs to."""
    return map_networks(lambda _: params(network), OPTIMIZERS[name].init(network))


def networks_in(state):
    found = []
    map_networks(found.append, state)
    return found


def entries(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params(tree))])


# --- adding -----------------------------------------------------------------------------------

CHAIN = [  # place and units; the second is read by two maps once layer 1 exists
    (Widen(0), 1), (Beside(1), 2), (Widen(0), 1), (Widen(1), 3), (Beside(0), 2),
    (Beside(3), 1), (Beside(2), 2), (Widen(0), 2), (Widen(4), 1),
]  # fmt: skip


@pytest.mark.parametrize("activation", ["rational", "relu"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_additions_change_no_output_and_no_moment(activation, name):
    network = make(activation, jnp.float32)
    inputs = jnp.asarray(x, jnp.float32)
    outputs, state = forward(network, inputs), state_of(name, network)
    kept = np.sort(entries(network)[entries(network) != 0])
    for place, units in CHAIN:
        new, state = add(network, state, proposal(network, place, units), Policy())
        assert sum(new.hidden_sizes) == sum(network.hidden_sizes) + units
        assert len(new.hidden) == len(network.hidden) + place.inserts
        np.testing.assert_array_equal(forward(new, inputs), outputs)
        moments = networks_in(state)
        assert len(moments) == (2 if name == "adam" else 1)
        for moment in moments:
            assert jax.tree.structure(moment) == jax.tree.structure(params(new))
            old = entries(moment) != 0
            np.testing.assert_array_equal(entries(moment)[old], entries(new)[old])
            np.testing.assert_array_equal(np.sort(entries(moment)[old]), kept)
        network = new


@pytest.mark.parametrize("capacity", [6, 64])  # 64 is also that of the new layer
@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_identity_layers_reset_the_moments_of_what_they_multiply(name, position, capacity):
    network = make(capacity=capacity)
    state = state_of(name, network)
    new, state = add(network, state, proposal(network, Between(position)), IDENTITY)
    np.testing.assert_allclose(forward(new, x), forward(network, x), rtol=1e-11, atol=1e-12)
    multiplied = jax.tree.leaves(params(network.maps[position]))
    lost = sum(np.count_nonzero(leaf) for leaf in multiplied)
    for moment in networks_in(state):
        old = entries(moment) != 0
        assert old.sum() == np.count_nonzero(entries(network)) - lost
        np.testing.assert_array_equal(entries(moment)[old], entries(new)[old])
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(moment.maps[position + 1]))
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(moment.maps[position]))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_capacity_grows_with_the_moments(name):
    network = make(capacity=4)
    state, outputs = state_of(name, network), forward(network, x)
    for _ in range(3):
        new, state = add(network, state, proposal(network, Widen(0)), Policy(max_units=6))
        np.testing.assert_allclose(forward(new, x), outputs, rtol=1e-13, atol=1e-15)
        for moment in networks_in(state):
            assert jax.tree.structure(moment) == jax.tree.structure(params(new))
            old = entries(moment) != 0
            assert old.sum() == np.count_nonzero(entries(make(capacity=4)))
            np.testing.assert_array_equal(entries(moment)[old], entries(new)[old])
        network = new
    assert network.hidden_sizes == (7,)


@pytest.mark.parametrize(
    ("policy", "place", "capacities"),
    [
        (Policy(), Widen(0), (64,)),
        (Policy(max_units=9), Widen(0), (9,)),
        (Policy(max_units=100), Widen(0), (64,)),
        (Policy(max_units=9), Beside(0), (9, 4)),
        (Policy(), Beside(1), (4, 64)),
        (Policy(max_units=2), Beside(1), (4, 3)),  # never less than asked for
    ],
)
def test_capacity_stays_within_the_unit_budget(policy, place, capacities):
    network = make(capacity=4)
    new, _ = add(network, None, proposal(network, place, 3), policy)
    assert new.capacities == capacities
    assert network.hidden_sizes == (4,)


# --- proposing --------------------------------------------------------------------------------

LOSS = make_loss("softmax_cross_entropy")
METRIC = make_metric("fisher", LOSS)


def batch(seed):
    draw = np.random.default_rng(seed)
    return Batch.of(x + draw.normal(size=x.shape), draw.integers(0, 2, N), draw.uniform(0.2, 2, N))


FIT, HELD_OUT = batch(0), batch(1)


@pytest.fixture(scope="module")
def branched():
    """A network with a residual layer in use, so that layer 0 has two readers."""
    network = make()
    network, _ = add(network, None, proposal(network, Beside(1), 2), Policy(max_units=8))
    block = network.readout.weights[1].at[:2].set(rng.normal(size=(2, 2)))
    return eqx.tree_at(lambda n: n.readout.weights[1], network, block)


def bound_by_the_formula(network, found, damping):
    """η_c and Δη′ of a proposal on the fitting sample, from dense matrices."""
    weight = np.asarray(FIT.weight)
    factors = reference.factors(network, "softmax_cross_entropy", "fisher", FIT.x, FIT.y, weight)
    root = np.sqrt(weight)[:, None]
    read = factors[found.action.position][0][:, :-1]
    new = reference.sigma(network.activation.name, read @ found.weight + found.bias, found.theta)
    readers = [(a * root, g * root, S) for a, g, S in
               (factors[m] for m in found.action.readers(network))]  # fmt: skip
    ridge_a = np.mean([reference.ridge(a.T @ a / N, damping) for a, *_ in readers])
    eta = bound = 0.0
    for a, g, S in readers:  # the curvature has a block for each
        ridge_s = reference.ridge(S, damping)
        eta += reference.kronecker_score(a, g, S, ridge_a, ridge_s)
        left = g - a @ np.linalg.solve(a.T @ a / N + ridge_a * np.eye(a.shape[1]), a.T @ g / N)
        bound += reference.kronecker_score(new * root, left, S, ridge_a, ridge_s)
    return eta, bound


PLACES = {
    "residual": (Widen(0), Widen(1), Beside(0), Beside(1), Beside(2)),
    "identity": (Between(1), Between(2)),
}


@pytest.mark.parametrize("kind", PLACES)
def test_proposals_for_every_place(branched, kind):
    policy = Policy(
        layer_kind=kind, layer_units=2, damping=1e-8, unit_scale=0.7, additions_at_once=3
    )
    places = PLACES[kind]
    assert set(places) <= set(policy.actions(branched))
    seen = look(branched, LOSS, METRIC, FIT, HELD_OUT, jax.random.key(0))
    found = propose_all(branched, seen, Random(candidates=4), policy, places, jax.random.key(0))
    assert [{p.action for p in at} for at in found] == [{place} for place in places]
    weight = np.asarray(FIT.weight)
    limit = reference.limit(
        reference.problem(branched, "softmax_cross_entropy", "fisher", FIT.x, FIT.y, weight)
    )
    _, read = reference.forward(branched, FIT.x)
    for in_turn in found:
        action, f = in_turn[0].action, join(in_turn)
        n = branched.n_inputs(action.position)
        width = not action.inserts
        assert len(in_turn) == (3 if width else 1)
        assert f.units == (3 if width else policy.layer_size(branched, action.position))
        assert f.weight.shape == (n, f.units)
        assert f.theta.shape == (3, f.units)
        assert f.weight.all()
        assert f.limit == pytest.approx(limit, rel=1e-9)
        eta, bound = bound_by_the_formula(branched, f, policy.damping)
        gained = np.cumsum([0.0, *(p.score for p in in_turn[:-1])])
        np.testing.assert_allclose([p.eta for p in in_turn], eta + gained, rtol=1e-8)
        assert f.score != f.fit_score
        assert f.stderr > 0
        new, _ = add(branched, None, f, policy)
        np.testing.assert_allclose(forward(new, x), forward(branched, x), rtol=1e-10, atol=1e-11)
        if kind == "identity":
            assert f.fit_score == pytest.approx(bound, rel=1e-8)
            continue
        # The score is that of the units before they are scaled, which the ridge alone can tell.
        assert f.fit_score == pytest.approx(bound, rel=1e-4 if f.units == 1 else 2e-3)
        a = reference.sigma("rational", read[action.position] @ f.weight + f.bias, f.theta)
        inputs = np.hstack([read[m] for m in action.readers(branched)])
        rms = np.sqrt(np.average(a**2, axis=0, weights=weight))
        wanted = 0.7 * np.sqrt(np.mean(np.average(inputs**2, axis=0, weights=weight)))
        np.testing.assert_allclose(rms, wanted, rtol=1e-9)


def test_factors_of_an_optimiser_are_read_as_they_are(branched):
    """S replaced by that which would be computed changes nothing; another S changes the score."""
    own = look(branched, LOSS, METRIC, FIT, HELD_OUT, jax.random.key(0))
    sizes = (*branched.capacities, branched.out_slots)
    factors = tuple(m.S[:n, :n] for m, n in zip(own.fit.maps, sizes, strict=True))
    policy, place = Policy(additions_at_once=1), Widen(1)

    def score(factors):
        seen = look(branched, LOSS, METRIC, FIT, HELD_OUT, jax.random.key(0), factors)
        return propose_at(branched, seen, Random(), policy, place, jax.random.key(1))[0].score

    ((alone,),) = propose_all(branched, own, Random(), policy, (place,), jax.random.key(1))
    assert score(factors) == pytest.approx(score(None), rel=1e-10)
    doubled = tuple(2 * S for S in factors)
    assert score(doubled) == pytest.approx(score(None) / 2, rel=1e-9)
    assert np.isfinite(alone.score)


def test_without_places_nothing_is_proposed(branched):
    seen = look(branched, LOSS, METRIC, FIT, HELD_OUT, jax.random.key(0))
    assert propose_all(branched, seen, Random(), Policy(), (), jax.random.key(0)) == []


# --- K-FAC ------------------------------------------------------------------------------------


def test_kfac_forgets_its_factors_and_keeps_its_velocity():
    rule, network = KFAC(), make()
    state = rule.init(network)
    state = map_networks(lambda _: params(network), state)._replace(age=jnp.asarray(9, jnp.int32))
    new, grown = add(network, state, proposal(network, Beside(1), 2), Policy(max_units=8))
    grown = rule.grown(grown, new)
    old = entries(grown.velocity) != 0
    np.testing.assert_array_equal(entries(grown.velocity)[old], entries(new)[old])
    assert jax.tree.structure(grown.velocity) == jax.tree.structure(params(new))
    assert grown.age == 0
    assert [f.S.shape[0] for f in grown.factors[: new.n_maps]] == [
        m.bias.shape[0] for m in new.maps
    ]
    assert not any(np.any(leaf) for leaf in jax.tree.leaves((grown.factors, grown.inverses)))
