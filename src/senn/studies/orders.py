"""Other orders in which units may leave than by their prices: what the price is compared with."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from senn import Policy
from senn.policy import SHRINK_AT_ONCE
from senn.prices import Prices
from senn.pruning import Going


@dataclass(frozen=True)
class AbstractRanked(Prices):
    """Units whose price is something else; who may leave, and how others make up for it, stays."""

    @abstractmethod
    def rank(self, layer: int) -> Float[np.ndarray, " c"]:
        """Of every slot: the lowest leaves first."""

    def at(self, layer: int) -> Float[np.ndarray, " c"]:
        """That where a unit may leave, else infinite."""
        return np.where(np.isfinite(super().at(layer)), self.rank(layer), np.inf)

    def of_inputs(self, layer: int, measure: Callable[..., np.ndarray]) -> np.ndarray:
        """The sum over the maps that read a space of a measure of (reader, columns) [c]."""
        graph = self.network.graph
        space, total = graph.hidden[layer], np.zeros(len(self.there[layer]))
        for m in graph.readers(space):
            total += measure(self.readers[m], graph.maps[m].columns(self.network, space))
        return total


@dataclass(frozen=True)
class Magnitude(AbstractRanked):
    """By the squared norm of the outgoing weights."""

    def rank(self, layer: int) -> Float[np.ndarray, " c"]:
        """‖w_u‖² over all maps that read the unit."""
        return self.of_inputs(layer, lambda reader, columns: _squares(reader.weight)[columns])


@dataclass(frozen=True)
class Contribution(AbstractRanked):
    """By the mean square of what a unit gives to all maps that read it, E[a_u²] ‖w_u‖².

    That is the price with S = I if no unit could make up for another.
    """

    def rank(self, layer: int) -> Float[np.ndarray, " c"]:
        """E[a_u²] ‖w_u‖² over all maps that read the unit."""
        return self.of_inputs(
            layer,
            lambda reader, columns: (_power(reader.inverse) * _squares(reader.weight))[columns],
        )


@dataclass(frozen=True)
class Chance(AbstractRanked):
    """At random."""

    seed: int = 0

    def rank(self, layer: int) -> Float[np.ndarray, " c"]:
        """A draw for every slot."""
        return np.random.default_rng((self.seed, layer)).random(len(self.there[layer]))


Order = Callable[[Prices], Prices]


def by_price(prices: Prices) -> Prices:
    """As `senn` does."""
    return prices


def ordered(kind: type[AbstractRanked], **settings: int) -> Order:
    """The order of such ranks."""
    return lambda prices: kind(prices.network, prices.readers, prices.there, **settings)


@dataclass(frozen=True)
class Shrinking(Policy):
    """Takes out what is over the budget in some order, and does nothing else."""

    by: Order = by_price

    def leaving(
        self,
        prices: Prices,
        may: Sequence[np.ndarray],
        reach: float,
        at_once: float = SHRINK_AT_ONCE,
    ) -> Going:
        """A share of the units, by that order."""
        return super().leaving(self.by(prices), may, reach, at_once)


def _squares(weight: Float[np.ndarray, "J O"]) -> Float[np.ndarray, " J"]:
    return np.sum(weight**2, axis=1)


def _power(inverse: Float[np.ndarray, "J J"]) -> Float[np.ndarray, " J"]:
    """E[a²] of the inputs that are left, from (A + εI)⁻¹ among them; 0 of the others."""
    left = np.flatnonzero(inverse.diagonal() > 0)
    power = np.zeros(len(inverse))
    power[left] = np.linalg.inv(inverse[np.ix_(left, left)]).diagonal()
    return power
