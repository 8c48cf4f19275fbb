"""The size at the end: down the prices, judged on the validation rows, and the right one kept."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from senn.evaluation import outputs_and_losses
from senn.nn.graph import AbstractTapped
from senn.prices import Prices
from senn.pruning import Going, everywhere
from senn.training.looking import look
from senn.training.pruning import Factors, factors_seen, may_leave, remove
from senn.training.run import Run
from senn.training.state import Best

SHARE = 0.05  # of the units, between two sizes that are judged
STAGE = 0.25  # after which moments are computed anew
HOPELESS = 4.0  # standard errors above the best, from which on smaller ones are not tried
REASON = {
    "small": "not missed on the validation rows, by one standard error",
    "best": "better gone, on the validation rows",
}


@dataclass(frozen=True)
class Size:
    """A network on the way down, and what it takes to get there."""

    stages: tuple[tuple[Going, Factors], ...]
    losses: np.ndarray  # of every validation example [N]
    weight: np.ndarray

    @property
    def units(self) -> int:
        """How many there are."""
        return sum(self.stages[-1][0].hidden_sizes)

    def above(self, best: "Size") -> tuple[float, float]:
        """How much higher the mean loss is, and the standard error of that, by example."""
        return paired(self.losses - best.losses, self.weight)


def paired(difference: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """The weighted mean of differences [N], and its standard error."""
    total = weight.sum()
    mean = float((weight * difference).sum() / total)
    spread = float(np.sqrt(((weight * (difference - mean)) ** 2).sum()))
    return mean, spread / float(total)


def settle(run: Run) -> None:
    """Go down the prices, and keep the size that the policy prefers, for training to go on with."""
    slots = may_leave(run)
    if not any(map(np.any, slots)):
        return
    with run.timed("growth"):
        seen, judged_on = look(run)
        chosen = preferred(run, way_down(run, factors_seen(run.now.train.average, seen), slots))
        for going, factors in chosen.stages:
            if going.departures:
                remove(run, going, factors, judged_on)
                # What was best before is larger: it is not what was asked for.
                run.now.best, run.now.stale = Best(np.inf, None, 0), 0


def preferred(run: Run, sizes: list[Size]) -> Size:
    """The smallest within one standard error of the best, or the best."""
    best = min(sizes, key=lambda size: (float(np.average(size.losses, weights=size.weight)),
                                        size.units))  # fmt: skip
    if run.policy.prefer == "best":
        return best
    near = [size for size in sizes if _within(size, best, 1.0)]
    return min(near, key=lambda size: size.units)


def _within(size: Size, best: Size, errors: float) -> bool:
    mean, error = size.above(best)
    return mean <= errors * error


def way_down(run: Run, factors: Factors, may: list[np.ndarray]) -> list[Size]:
    """Sizes from that which has grown downwards, until the loss has risen beyond doubt."""
    network = run.now.train.average
    going = everywhere(Prices.of(network, factors), may)
    stages: tuple[tuple[Going, Factors], ...] = ()
    sizes = [_judged(run, network, ((going, factors),))]
    best = sizes[0]
    while (lower := _lower(going, REASON[run.policy.prefer])) is not None:
        smaller = _without(network, lower, factors)
        sizes.append(_judged(run, smaller, (*stages, (lower, factors))))
        best = min(best, sizes[-1], key=lambda size: float(np.average(size.losses,
                                                           weights=size.weight)))  # fmt: skip
        if not _within(sizes[-1], best, HOPELESS):
            break
        going = lower
        left, there = sum(lower.hidden_sizes), sum(network.hidden_sizes)
        if left <= (1 - STAGE) * there:  # far from where the moments are known
            stages = (*stages, (lower, factors))
            network, factors = smaller, factors_seen(smaller, look(run, smaller)[0])
            going = everywhere(Prices.of(network, factors), may)
    return sizes


def _lower(going: Going, reason: str) -> Going | None:
    """Some units fewer; None if no more may leave."""
    lower = going
    for _ in range(max(round(SHARE * sum(going.hidden_sizes)), 1)):
        unit = lower.cheapest()
        if unit is None:
            break
        lower = lower.losing(unit, reason)
    return None if lower is going else lower


def _without(network: AbstractTapped, going: Going, factors: Factors) -> Any:
    moments = {m: factor.A for m, factor in factors.items()}
    for drop, _, _ in going.drops:
        network, _ = drop.apply(network, None, moments)
    return network


def _judged(run: Run, network: AbstractTapped, stages: tuple[tuple[Going, Factors], ...]) -> Size:
    assert run.validation is not None
    _, losses = outputs_and_losses(network, run.loss, run.validation)
    return Size(stages, losses, np.asarray(run.validation.weight, np.float64))
