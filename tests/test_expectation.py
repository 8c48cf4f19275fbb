"""What units to come are expected to be worth, by the prices of those that are there."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

import senn
from senn.actions import Beside, Widen
from senn.expectation import ACTIVATION, Expected, by_price, far_from_complete, typical_worth, work
from senn.nn import MLP, ConvNet
from senn.policy import Policy
from senn.prices import Factor, Prices, matrix_of
from senn.proposals import Random
from senn.pruning import Going, everywhere
from senn.training import Schedule

KEY = jax.random.key(0)
IMAGES = ConvNet((6, 6), 3, (4, 3), key=KEY, activation="silu", capacity=8)


NONE, ALL = np.inf, (np.ones(8, bool),) * 2
TOLD = (np.array([3.0, 1, 2, 9, *[NONE] * 4]), np.array([0.5, 0.1, 40, *[NONE] * 5]))


class Told(Prices):
    """Prices of the slots of IMAGES, as they are told."""

    told: tuple = TOLD

    def at(self, layer):
        return self.told[layer]


def going(*told, may=ALL):
    prices = Told(IMAGES, {}, ())
    object.__setattr__(prices, "told", told or TOLD)
    return Going(prices, may)


def test_a_unit_to_come_is_worth_what_is_typical_there():
    assert [typical_worth(going(), layer) for layer in (0, 1)] == [5.0, 1.0]
    assert typical_worth(going(np.full(8, NONE)), 0) is None


def test_units_that_have_just_come_tell_nothing():
    may = np.array([True, True, False, False, *[True] * 4])
    assert typical_worth(going(may=(may, may)), 0) == 4.0
    assert typical_worth(going(may=(np.zeros(8, bool),) * 2), 0) is None


@pytest.mark.parametrize("layer", [0, 1])
def test_work_is_a_multiplication_a_weight_in_perceptrons_and_the_activation(layer):
    network = MLP(5, 3, (4, 2), key=KEY, activation="silu", capacity=8)
    assert work(network, layer) == Widen(layer).cost(network, 1) - 1 + ACTIVATION


def test_work_in_convolutions_is_done_at_every_position():
    # 36 positions read 9 numbers; the 9 behind the pool read 9 for each of 3 channels
    assert work(IMAGES, 0) == 36 * (9 + ACTIVATION) + 9 * 9 * 3
    assert work(IMAGES, 1) == 9 * (9 * 4 + ACTIVATION) + 3


def test_places_come_by_what_they_are_worth_for_their_work():
    first, second, layer = Widen(0), Widen(1), Beside(1)
    even = work(IMAGES, 0) / work(IMAGES, 1)  # what a unit must be worth more in stage 0
    told = np.full(8, even * 1.01), np.full(8, 1.0)
    found = list(by_price((second, layer, first), going(*told), 0.0))
    assert found == [
        Expected((first,), 2 * even * 1.01), Expected((second,), 2.0), Expected((layer,), None)
    ]  # fmt: skip
    told = np.full(8, even * 0.99), np.full(8, 1.0)
    found = list(by_price((first, second), going(*told), 0.0))
    assert [e.actions for e in found] == [(second,), (first,)]


def test_where_too_little_is_expected_scores_decide():
    first, second = Widen(0), Widen(1)
    found = by_price((second, first), going(), 4.0)
    assert [e.actions for e in found] == [(first,), (second,)]
    assert list(by_price((first, second), going(), 9.0)) == [Expected((first, second), None)]
    unknown = going(np.full(8, NONE), np.full(8, 1.0))
    found = by_price((first, second), unknown, 0.0)
    assert [e.actions for e in found] == [(second,), (first,)]


def test_where_units_nearly_span_what_they_are_made_of_scores_decide():
    assert far_from_complete(IMAGES, 0)  # 4 of 9
    assert far_from_complete(IMAGES, 1)
    network = ConvNet((6, 6), 3, (5, 3), key=KEY, activation="silu", capacity=8)
    assert not far_from_complete(network, 0)
    told = replace(going(), left=replace(going().left, network=network))
    found = by_price((Widen(0), Widen(1)), told, 0.0)
    assert [e.actions for e in found] == [(Widen(1),), (Widen(0),)]


@pytest.fixture(scope="module")
def history():
    """Of a small run on images that expects units to be worth what those there are."""
    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    network = ConvNet((8, 8), 10, (3, 3), key=KEY, activation="silu")
    policy = Policy(
        depth=False, expect="price", alpha=0.01, additions_at_once=2, every=40, prune=0.0,
        swap=None, trial=40, max_units=12, prefer="grown",
    )  # fmt: skip
    _, history = senn.fit(
        network, (x[:256], y[:256].astype(np.int32)), policy=policy, proposer=Random(8),
        schedule=Schedule(max_steps=130, batch_size=64, sample_size=128, anneal_epochs=None),
    )  # fmt: skip
    return history


def test_a_run_grows_by_scores_first_and_then_where_units_are_worth_most(history):
    def expected(look):
        return "to lose a unit there" in look.reason

    looks = history.considerations
    first = [look for look in looks if look.step == looks[0].step]
    assert {look.place for look in first} == {"stage 0", "stage 1"}
    assert not any(map(expected, first))
    later = [look for look in looks if expected(look)]
    assert later
    for look in later:
        assert look.accepted == (look.worth > 0.01 * look.reach)
        # one place, expected to be worth the same, whatever its units score
        same = [other for other in looks if other.step == look.step]
        assert {(other.place, other.worth) for other in same} == {(look.place, look.worth)}


def test_what_is_expected_decides_and_not_the_score():
    from test_policy import proposal

    offer = replace(proposal(-0.5), expected=0.2)
    decision = Policy(tau=1.1, alpha=0.01).decide([[offer]], IMAGES)
    assert decision.accepted == [offer]
    assert "to lose a unit there costs 20.00%" in decision.reason
    assert not Policy(tau=1.1, alpha=0.3).decide([[offer]], IMAGES).accepted
    assert Policy(tau=100.0, alpha=0.01).decide([[offer]], IMAGES).accepted == [offer]


def test_prices_of_a_network_are_what_is_taken():
    network = MLP(5, 3, (4,), key=KEY, activation="silu", capacity=8)
    prices = Prices.of(network, {1: Factor(np.eye(9), np.eye(3))}, damping=0.0)
    weight = matrix_of(network, network.graph.maps[1])[:4]
    wanted = np.median(np.sum(weight**2, axis=1))
    assert typical_worth(everywhere(prices), 0) == pytest.approx(wanted)
