"""The size at the end: down the prices, judged on the validation rows, and the right one kept."""

from dataclasses import dataclass

import numpy as np

from senn.batches import Batch
from senn.evaluation import evaluate, outputs_and_losses
from senn.nn.tapped import AbstractTapped
from senn.prices import Prices
from senn.pruning import Going, everywhere
from senn.removal import without_empty
from senn.training.looking import look
from senn.training.pruning import Factors, factors_seen, may_leave, remove, remove_empty, removed
from senn.training.run import Run
from senn.training.state import Best

SHARE = 0.05  # of the units, between two sizes that are judged
STAGE = 0.25  # after which moments are computed anew
HOPELESS = 4.0  # standard errors above the best, from which on smaller ones are not tried
REASON = {
    "small": "not missed on the validation rows, by one standard error",
    "best": "better gone, on the validation rows",
}


Stage = tuple[Going, Factors]


@dataclass(frozen=True)
class Size:
    """A network on the way down, and what it takes to get there."""

    network: AbstractTapped
    stages: tuple[Stage, ...]
    losses: np.ndarray  # of every validation example [N]
    weight: np.ndarray

    @property
    def loss(self) -> float:
        """Their weighted mean."""
        return float(np.average(self.losses, weights=self.weight))

    @property
    def units(self) -> int:
        """How many there are."""
        return sum(self.network.hidden_sizes)

    def within(self, best: "Size", errors: float) -> bool:
        """Whether the loss is higher by no more than so many standard errors, by example."""
        mean, error = paired(self.losses - best.losses, self.weight)
        return mean <= errors * error


def paired(difference: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """The weighted mean of differences [N], and its standard error."""
    total = weight.sum()
    mean = float((weight * difference).sum() / total)
    spread = float(np.sqrt(((weight * (difference - mean)) ** 2).sum()))
    return mean, spread / float(total)


def settle(run: Run) -> None:
    """Go down the prices, and keep the size that the policy prefers, for training to go on with.

    What was best before, if that was earlier, goes down its own, so that it is returned if
    training does not come by a better one, and is no larger than what was asked for.
    """
    network, best = run.now.train.average, run.now.best
    with run.timed("growth"):
        seen, judged_on = look(run)
        sizes = way_down(run, network, factors_seen(network, seen), run.now.step)
        chosen = preferred(run, sizes)
        kept = Best(chosen.loss, chosen.network, run.now.step)
        if best.network is not None and best.loss < min(size.loss for size in sizes):
            factors = factors_seen(best.network, look(run, best.network)[0])
            before = preferred(run, way_down(run, best.network, factors, best.step))
            if before.loss < kept.loss:
                kept = Best(before.loss, before.network, best.step)
        run.now.best, run.now.stale = kept, 0
        for going, factors in chosen.stages:
            if going.departures:
                remove(run, going, factors, judged_on)
                remove_empty(run, judged_on)


def spare(run: Run) -> None:
    """Let those leave the network to be returned that cost too little now that it is trained.

    Training goes on making units that others can replace; nothing trains after this.
    """
    best = run.now.best
    network = best.network or run.now.train.average
    if not run.policy.prune or not network.graph.hidden:
        return
    with run.timed("growth"):
        seen, judged_on = look(run, network)
        factors = factors_seen(network, seen)
        prices = Prices.of(network, factors)
        going = run.policy.leaving(prices, everywhere(prices).may, float(seen.fit.reach))
        if best.network is None:
            remove(run, going, factors, judged_on)
            remove_empty(run, judged_on)
        elif going.departures:
            smaller = without_empty(_told(run, network, going, factors, judged_on))
            run.now.best = best._replace(network=smaller)


def _told(
    run: Run, network: AbstractTapped, going: Going, factors: Factors, judged_on: Batch
) -> AbstractTapped:
    """The network without units, and what the ledger says of that."""
    moments = {m: factor.A for m, factor in factors.items()}
    loss = evaluate(network, run.loss, judged_on).loss
    for drop, price, reason in going.drops:
        network, _ = drop.apply(network, None, moments)
        removal = removed(run, network, drop, (price, reason), loss, judged_on)
        run.record("on_removal", removal)
        loss = removal.loss_after
    return network


def preferred(run: Run, sizes: list[Size]) -> Size:
    """The smallest within one standard error of the best, or the best."""
    best = min(sizes, key=lambda size: (size.loss, size.units))
    if run.policy.prefer == "best":
        return best
    return min((s for s in sizes if s.within(best, 1.0)), key=lambda size: size.units)


def way_down(run: Run, network: AbstractTapped, factors: Factors, step: int) -> list[Size]:
    """Sizes from a network as it was at a step downwards, until the loss has risen beyond doubt."""
    going = everywhere(Prices.of(network, factors), may_leave(run, network, step))
    stages: tuple[Stage, ...] = ()
    sizes = [_judged(run, network, ((going, factors),))]
    while (lower := _lower(going, REASON[run.policy.prefer])) is not None:
        smaller = _without(network, lower, factors)
        sizes.append(_judged(run, smaller, (*stages, (lower, factors))))
        if not sizes[-1].within(min(sizes, key=lambda size: size.loss), HOPELESS):
            break
        going = lower
        if sizes[-1].units <= (1 - STAGE) * sum(network.hidden_sizes):  # moments are of long ago
            stages = (*stages, (lower, factors))
            network, factors = smaller, factors_seen(smaller, look(run, smaller)[0])
            going = everywhere(Prices.of(network, factors), may_leave(run, network, step))
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


def _without(network: AbstractTapped, going: Going, factors: Factors) -> AbstractTapped:
    moments = {m: factor.A for m, factor in factors.items()}
    for drop, _, _ in going.drops:
        network, _ = drop.apply(network, None, moments)
    return without_empty(network)


def _judged(run: Run, network: AbstractTapped, stages: tuple[Stage, ...]) -> Size:
    assert run.validation is not None
    _, losses = outputs_and_losses(network, run.loss, run.validation)
    return Size(network, stages, losses, np.asarray(run.validation.weight, np.float64))
