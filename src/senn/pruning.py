"""Which units are to leave: those that cost too little to lose, and those in the way of others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

import numpy as np

from senn.actions import Drop
from senn.nn.tapped import AbstractTapped
from senn.prices import Leaving, Prices
from senn.proposals import Proposal
from senn.words import counted


class Departure(NamedTuple):
    """A unit that is to leave, and why."""

    unit: Leaving
    reason: str


@dataclass(frozen=True)
class Going:
    """Units that are to leave, in turn, and the prices of those that stay."""

    left: Prices
    may: tuple[np.ndarray, ...]  # of every hidden space, which of its slots may be given up
    departures: tuple[Departure, ...] = ()

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Units that stay, per hidden space."""
        return self.left.hidden_sizes

    @property
    def n_parameters(self) -> int:
        """Active parameters once they have left."""
        return self.left.network.parameters_with(self.hidden_sizes)

    @property
    def drops(self) -> list[tuple[Drop, float, str]]:
        """What is to be done, a hidden space at a time, what that costs, and why it is."""
        hidden, drops = self.left.network.graph.hidden, []
        for layer in sorted({departure.unit.layer for departure in self.departures}):
            here = [d for d in self.departures if d.unit.layer == layer]
            slots = tuple(d.unit.slot for d in here)
            price = sum(d.unit.price for d in here)
            drops.append((Drop(layer, slots, hidden[layer].name), price, _why(here)))
        return drops

    def cheapest(self) -> Leaving | None:
        """The unit that costs least of those that stay and may be given up."""
        return self.left.cheapest(self.may)

    def losing(self, unit: Leaving, reason: str) -> "Going":
        """With one more that leaves."""
        departures = (*self.departures, Departure(unit, reason))
        return replace(self, left=self.left.without(unit.layer, unit.slot), departures=departures)

    def below(self, least: float, reason: str) -> "Going":
        """Without all that cost less than `least` once those before them have left."""
        going = self
        while (unit := going.cheapest()) is not None and unit.price < least:
            going = going.losing(unit, reason)
        return going


def among(proposal: Proposal, before: AbstractTapped, after: AbstractTapped) -> Proposal:
    """A proposal for one network as one for what it is without some units, which it may read."""
    parts = [
        after.inputs_in_use(m)[before.inputs_in_use(m)] for m in proposal.action.sources(before)
    ]
    return replace(proposal, weight=proposal.weight[np.concatenate(parts)])


def _why(departures: Sequence[Departure]) -> str:
    reasons = [departure.reason for departure in departures]
    return "; ".join(f"{counted(len(list(n)), 'unit')} {why}" for why, n in groupby(reasons))


def everywhere(prices: Prices, slots: Sequence[np.ndarray] | None = None) -> Going:
    """The start, with nothing that leaves; all units may, or those in some slots."""
    may = tuple(np.ones(len(there), bool) for there in prices.there)
    return Going(prices, may if slots is None else tuple(slots))
