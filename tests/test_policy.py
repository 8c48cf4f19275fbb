"""When and where to grow: thresholds, costs and budgets as tables."""

import re

import jax
import numpy as np
import pytest
from sklearn.base import clone

from senn import SENNClassifier
from senn.actions import Beside, Between, Widen
from senn.nn import MLP
from senn.policy import Policy
from senn.proposals import Proposal
from senn.proposals.proposal import join

rng = np.random.default_rng(4)


def proposal(score, stderr=0.0, *, eta=1.0, reach=1.0, units=1, action=Widen, position=0):
    new = {"weight": np.zeros((2, units)), "bias": np.zeros(units), "theta": None}
    return Proposal(
        action(position), **new, fit_score=score, score=score, stderr=stderr, eta=eta,
        limit=100.0, reach=reach,
    )  # fmt: skip


def policy(**settings):
    plain = {"tau": 1.1, "alpha": 0.01, "confidence": 0.0, "layer_cost": None}
    return Policy(**(plain | settings))


# --- thresholds -------------------------------------------------------------------------------

NOT_ALPHA, NOT_TAU, NOTHING = r"α asks 1\.00%", r"τ asks 1\.1", "nothing on held-out data"
DECISIONS = {
    "passes both": (proposal(0.2), {}, None),
    "just above τ": (proposal(0.1001), {}, None),
    "just below τ": (proposal(0.0999), {}, rf"η_c 1\.1-fold.*{NOT_TAU}"),
    "just above α": (proposal(0.0101, eta=0.01), {}, None),
    "just below α": (proposal(0.0099, eta=0.01), {}, rf"0\.99%.*{NOT_ALPHA}"),
    "α is relative": (proposal(0.2, reach=25.0), {}, rf"0\.80%.*{NOT_ALPHA}"),
    "τ is relative": (proposal(0.2, eta=2.1), {}, NOT_TAU),
    "η_c = 0": (proposal(0.2, eta=0.0), {}, None),
    "nothing left": (proposal(0.0, eta=0.0, reach=0.0), {}, NOTHING),
    "negative": (proposal(-0.1), {}, rf"{NOTHING} \(-0\.1 ± 0\)"),
    "not a number": (proposal(np.nan), {}, NOTHING),
    "doubtful": (proposal(0.2, 0.15), {"confidence": 1.0}, rf"1\.05-fold.*{NOT_TAU}"),
    "certain enough": (proposal(0.2, 0.05), {"confidence": 1.0}, None),
    "within the error": (proposal(0.2, 0.2), {"confidence": 1.0}, rf"{NOTHING} \(0\.2 ± 0\.2\)"),
    "a layer a unit": (proposal(0.39, units=4, action=Beside), {}, NOT_TAU),
    "a layer worth it": (proposal(0.41, units=4, action=Beside), {}, None),
    "the paper's constant": (proposal(0.21, units=4, action=Beside), {"layer_cost": 2.0}, None),
    "constant too high": (proposal(0.19, action=Beside), {"layer_cost": 2.0}, NOT_TAU),
    "constant is for layers": (proposal(0.2, units=2), {"layer_cost": 1e9}, NOT_TAU),
}


@pytest.mark.parametrize(("offer", "settings", "refusal"), DECISIONS.values(), ids=DECISIONS)
def test_decisions_and_their_reasons(offer, settings, refusal):
    decision = policy(**settings).decide([[offer]], PLAIN)
    (verdict,) = decision.verdicts
    assert verdict.proposal is offer
    assert verdict.accepted == (refusal is None)
    assert decision.accepted == ([offer] if refusal is None else [])
    assert str(offer.action) in decision.reason
    assert verdict.reason in decision.reason
    assert re.search(refusal or r"α 1\.00%.*τ 1\.1", verdict.reason)


def test_the_best_a_unit_wins():
    offers = [
        proposal(0.5),
        proposal(0.9, units=2, action=Beside),
        proposal(0.6, 0.3, position=1),
        proposal(0.05, position=2),
    ]
    alone = [[offer] for offer in offers]
    decision = policy(confidence=1.0).decide(alone, PLAIN)
    assert decision.accepted == [offers[0]]
    assert [v.proposal for v in decision.verdicts] == offers
    assert "worth more" in decision.verdicts[1].reason
    assert "worth more" in decision.verdicts[2].reason
    assert "τ asks" in decision.verdicts[3].reason
    assert policy(layer_cost=1.0).decide(alone, PLAIN).accepted == [offers[1]]
    assert policy().decide(alone, PLAIN).accepted == [offers[2]]
    # The score decides, not how much it multiplies η_c.
    (best,) = policy().decide([[proposal(0.3, eta=0.1)], [proposal(0.4)]], PLAIN).accepted
    assert best.score == 0.4


@pytest.mark.parametrize(
    ("offers", "exhausted"),
    [
        ([proposal(0.5)], False),  # accepted
        ([proposal(0.05)], False),  # only τ refuses: it may pass when η_c has fallen
        ([proposal(0.005)], True),
        ([proposal(0.005), proposal(0.05)], False),
        ([proposal(-1.0), proposal(0.005, eta=0.0)], True),
        ([], True),
    ],
)
def test_exhausted_when_nothing_passes_alpha(offers, exhausted):
    decision = policy().decide([[offer] for offer in offers], PLAIN)
    assert decision.exhausted == exhausted
    assert bool(decision.reason)


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"tau": 2.0, "alpha": 1e-3, "additions_at_once": 100}, 10),  # the paper's example
        ({"tau": 2.0, "alpha": 1e-3, "additions_at_once": 3}, 3),
        ({"tau": 10.0, "alpha": 0.5, "additions_at_once": 100}, 1),
        ({"tau": 1.001, "alpha": 1e-6, "additions_at_once": 50}, 50),
    ],
)
def test_most_units_respects_theorem_1(settings, most):
    found = Policy(**settings).most_units()
    assert found == most
    # N_s < 1 + ln(λ/α) / ln τ
    assert found < 1 - np.log(settings["alpha"]) / np.log(settings["tau"])


# --- units in turn ----------------------------------------------------------------------------


def in_turn(*scores, eta=1.0, position=0):
    """Units of one layer in turn; η_c of each counts those before it."""
    before = np.cumsum((0, *scores[:-1]))
    return [
        proposal(s, eta=eta + b, position=position) for s, b in zip(scores, before, strict=True)
    ]


def test_units_are_accepted_in_turn_until_one_is_refused():
    units = in_turn(0.5, 0.3, 0.05, 0.9)
    decision = policy().decide([units], PLAIN)
    assert decision.accepted == units[:2]
    # The refusal that ended it is on record, what follows was not looked at.
    assert [v.proposal for v in decision.verdicts] == units[:3]
    assert "τ asks" in decision.verdicts[2].reason


def test_tau_counts_the_units_before():
    # 0.15 raises η_c = 1 by more than the tenth that τ asks, but not η_c = 2.
    assert len(policy().decide([in_turn(0.15, 0.15)], PLAIN).accepted) == 2
    assert len(policy().decide([in_turn(1.0, 0.15)], PLAIN).accepted) == 1


def test_only_the_best_place_gets_more_than_one():
    best, other = in_turn(0.5, 0.3), in_turn(0.4, 0.4, position=1)
    decision = policy().decide([other, best], PLAIN)
    assert decision.accepted == best
    assert [v.proposal for v in decision.verdicts] == [other[0], best[0], best[1]]
    assert "worth more" in decision.verdicts[0].reason


@pytest.mark.parametrize("room", [1, 2, 3])
@pytest.mark.parametrize("budget", ["max_units", "max_parameters"])
def test_budgets_end_the_run_of_units(budget, room):
    units = in_turn(*[0.9] * 5)
    a_unit = units[0].action.cost(PLAIN, 1)
    limits = {
        "max_units": sum(PLAIN.hidden_sizes) + room,
        "max_parameters": PLAIN.n_parameters + room * a_unit + a_unit - 1,
    }
    decision = policy(**{budget: limits[budget]}).decide([units], PLAIN)
    assert len(decision.accepted) == room


@pytest.mark.parametrize(
    ("added", "fruitless", "steps"),
    [
        (4, 0, 10),
        (5, 0, 10),
        (2, 0, 20),
        (1, 0, 40),
        (4, 1, 20),
        (4, 3, 80),
        (1, 1, 40),
        (1, 3, 80),
    ],
)
def test_steps_to_the_next_consideration(added, fruitless, steps):
    rule = policy(every=10, backoff=2.0, additions_at_once=4, tau=1.001)
    assert rule.next_look(7, added, fruitless) == 7 + steps


@pytest.mark.parametrize("fruitless", [0, 1])
def test_layers_come_last_and_after_a_first_failure(fruitless):
    places = policy().actions(PLAIN)
    units = tuple(place for place in places if not place.inserts)
    layers = tuple(place for place in places if place.inserts)
    found = policy().stages(places, fruitless)
    assert [tuple(stage) for stage in found] == ([units, layers] if fruitless else [units])
    assert [tuple(stage) for stage in policy().stages(layers, fruitless)] == [layers]
    at_once = policy(layers_last=False).stages(places, fruitless)
    assert [tuple(stage) for stage in at_once] == [units + layers]


def test_units_in_turn_a_place():
    rule = policy(additions_at_once=7, layer_units=3, tau=1.001)
    assert (rule.units_in_turn(Widen(0)), rule.units_in_turn(Beside(0))) == (7, 3)
    whole = policy(layer_kind="identity", layer_units=3)
    assert whole.units_in_turn(Between(0)) == 1  # one proposal of as many units as inputs


def test_joined_proposals_are_one_of_all_their_units():
    parts = [proposal(0.3, 0.03), proposal(0.1, 0.04)]
    both = join(parts)
    assert (both.units, both.score, both.fit_score) == (2, pytest.approx(0.4), pytest.approx(0.4))
    assert both.stderr == pytest.approx(0.05)
    assert both.weight.shape == (2, 2)
    assert join(parts[:1]).score == parts[0].score


# --- places and budgets -----------------------------------------------------------------------


def grown(*layers, sizes=(), activation="rational", out=2):
    """A network of 3 inputs, with so many units by each action."""
    network = MLP(3, out, sizes, key=jax.random.key(0), activation=activation, capacity=8)
    for action, units in layers:
        network = grow(network, action, units)
    return network


def grow(network, action, units):
    n = network.n_inputs(action.position)
    units = n if action.square else units
    theta = rng.normal(size=(3, units)) if network.activation.learned else None
    new = rng.normal(size=(n, units)), rng.normal(size=units)
    return action.apply(network, None, *new, theta, 8)[0]


LINEAR, PLAIN = grown(), grown(sizes=(4, 5))
STACKED = grown((Beside(0), 2), (Beside(0), 3), sizes=(4,))  # inputs read three times
NETWORKS = {
    "linear": LINEAR,
    "plain": PLAIN,
    "relu": grown(sizes=(4, 5), activation="relu"),
    "residual": grown((Beside(1), 2), sizes=(4,)),
    "stacked": STACKED,
    "stacked relu": grown((Beside(0), 2), (Beside(0), 3), activation="relu"),
    "identity": grown((Between(1), 4), sizes=(4,)),
    "identity before residual": grown((Beside(0), 2), (Between(0), 3)),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("units", [1, 3])
def test_the_cost_is_the_difference_that_growth_makes(network, units):
    places = Policy().actions(network)
    assert any(place.inserts for place in places)
    if network.activation.learned:
        places += Policy(layer_kind="identity").actions(network)
    for place in places:
        new = grow(network, place, units)
        n = network.n_inputs(place.position) if place.square else units
        assert new.n_parameters - network.n_parameters == place.cost(network, n), place


UNITS_4 = {"layer_units": 4}
PLACES = {
    "linear": (LINEAR, {}, [Beside(0)]),
    "everywhere": (PLAIN, {}, [Widen(0), Widen(1), Beside(0), Beside(1), Beside(2)]),
    "width only": (PLAIN, {"depth": False}, [Widen(0), Widen(1)]),
    "depth only": (PLAIN, {"width": False}, [Beside(0), Beside(1), Beside(2)]),
    "nowhere": (PLAIN, {"width": False, "depth": False}, []),
    "one a layer, whoever reads it": (STACKED, {"depth": False}, [Widen(0), Widen(1), Widen(2)]),
    "all units used": (PLAIN, {"max_units": 9}, []),
    "one unit left": (PLAIN, {"max_units": 10, **UNITS_4}, [Widen(0), Widen(1)]),
    "a layer's worth left": (
        PLAIN,
        {"max_units": 13, **UNITS_4, "width": False},
        [Beside(0), Beside(1), Beside(2)],
    ),
    "over the budget already": (PLAIN, {"max_units": 3}, []),
    "all layers used": (PLAIN, {"max_layers": 2}, [Widen(0), Widen(1)]),
    "one layer left": (PLAIN, {"max_layers": 3, "width": False}, [Beside(0), Beside(1), Beside(2)]),
    "no parameters left": (PLAIN, {"max_parameters": PLAIN.n_parameters}, []),
    # a unit of layer 0 costs 3 + 1 + 3 + 5, one of layer 1 4 + 1 + 3 + 2
    "parameters for the second": (
        PLAIN,
        {"max_parameters": PLAIN.n_parameters + 11, "depth": False},
        [Widen(1)],
    ),
    "identity layers in all": (
        PLAIN,
        {"layer_kind": "identity", "width": False, "max_units": 13},
        [Between(0), Between(1)],
    ),
    "identity layers each": (
        PLAIN,
        {"layer_kind": "identity", "width": False, "max_identity_units": 4},
        [Between(0), Between(1)],
    ),
}


@pytest.mark.parametrize(("network", "settings", "places"), PLACES.values(), ids=PLACES)
def test_places_within_the_budgets(network, settings, places):
    assert list(Policy(**settings).actions(network)) == places
    allowed = [p for p in places if not p.inserts]
    assert list(Policy(**settings).actions(network, layers_allowed=False)) == allowed


def test_layer_size():
    assert Policy(layer_units=5).layer_size(PLAIN, 1) == 5
    assert [Policy(layer_kind="identity").layer_size(STACKED, p) for p in range(4)] == [3, 6, 8, 4]


BAD = [
    ("tau", 1.0), ("tau", 0.5), ("tau", np.nan), ("alpha", 0.0), ("alpha", -1.0),
    ("alpha", np.nan), ("confidence", -0.1), ("layer_cost", 0.0), ("layer_cost", -1.0),
    ("layer_kind", "dense"), ("layer_units", 0), ("max_identity_units", -1), ("every", 0),
    ("backoff", 0.5),
    ("layer_every", 0), ("additions_at_once", 0), ("max_units", -1), ("max_layers", -1),
    ("max_parameters", -1), ("max_seconds", -1.0), ("patience", 0), ("unit_scale", 0.0),
    ("damping", 0.0), ("damping", np.nan),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_settings(name, value):
    with pytest.raises((ValueError, TypeError), match=name):  # TypeError: beartype's
        Policy(**{name: value})


def test_a_search_over_the_settings_of_a_policy():
    """As scikit-learn's searches do: parameters by name, in a clone."""
    rule = Policy(tau=1.5)
    model = clone(SENNClassifier(policy=rule)).set_params(policy__alpha=0.25, policy__width=False)
    assert (model.policy, rule) == (Policy(tau=1.5, alpha=0.25, width=False), Policy(tau=1.5))
    assert model.get_params()["policy__alpha"] == 0.25
    assert clone(model).policy == model.policy
    before = Policy(**model.policy.get_params())
    for params, message in (
        ({"alpha": -1.0}, "alpha must be at least 0; got -1.0"),
        ({"alfa": 1.0}, "Policy has no setting 'alfa'; it has tau, alpha,"),
    ):
        with pytest.raises(ValueError, match=message):
            model.policy.set_params(**params)
        assert model.policy == before
