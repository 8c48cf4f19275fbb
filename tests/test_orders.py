"""Other orders of removal rank units by what they say, and take out as many."""

import numpy as np
import pytest

from senn.policy import Policy
from senn.prices import Factor, Prices, matrix_of
from senn.pruning import everywhere
from senn.studies.orders import Chance, Contribution, Magnitude, Shrinking, by_price, ordered
from strategies import random_network

UNITS, CAPACITY = 6, 8
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(50, CAPACITY + 1)) @ RNG.normal(size=(CAPACITY + 1, CAPACITY + 1))
ROWS[:, UNITS:CAPACITY] = 0


@pytest.fixture(scope="module")
def prices():
    network = random_network((3, UNITS, 2), capacity=CAPACITY)
    return Prices.of(network, {1: Factor(ROWS.T @ ROWS / len(ROWS), np.eye(2))}, damping=1e-9)


def lengths(prices):
    return np.sum(matrix_of(prices.network, prices.network.graph.maps[1])[:UNITS] ** 2, axis=1)


def test_ranks_are_of_what_units_give(prices):
    power = np.mean(ROWS[:, :UNITS] ** 2, axis=0)
    found = [ordered(kind)(prices).at(0) for kind in (Magnitude, Contribution)]
    np.testing.assert_allclose(found[0][:UNITS], lengths(prices))
    np.testing.assert_allclose(found[1][:UNITS], power * lengths(prices), rtol=1e-5)
    assert np.isinf([of[UNITS:] for of in found]).all()


def test_chance_is_another_for_every_seed_and_stays_it(prices):
    one, again, other = (ordered(Chance, seed=seed)(prices) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.at(0), again.at(0))
    assert (one.at(0)[:UNITS] != other.at(0)[:UNITS]).all()
    unit = one.cheapest()
    assert unit is not None
    left = one.without(unit.layer, unit.slot).at(0)
    assert np.isinf(left[unit.slot])
    assert np.count_nonzero(left[:UNITS] == one.at(0)[:UNITS]) == UNITS - 1


@pytest.mark.parametrize("order", [by_price, ordered(Magnitude)], ids=["price", "magnitude"])
def test_a_policy_takes_out_by_the_order_what_is_over_its_budget(order, prices):
    rule = Shrinking(**{**vars(Policy()), "prune": 0.0, "max_units": 4, "by": order})
    going = rule.leaving(prices, everywhere(prices).may, 1.0, at_once=1.0)
    assert going.hidden_sizes == (4,)
    first = np.argmin(order(prices).at(0))
    assert going.departures[0].unit.slot == first
    if order is not by_price:
        assert first == np.argmin(lengths(prices))
