"""Removals within a run: which units may leave, and what it did."""

from collections.abc import Mapping

import numpy as np

from senn.actions import Drop
from senn.batches import Batch
from senn.evaluation import evaluate
from senn.growth import Seen
from senn.history import Removal
from senn.nn.spaces import births
from senn.nn.tapped import AbstractTapped
from senn.policy import SHRINK_AT_ONCE
from senn.prices import Factor, Prices, factors_of
from senn.pruning import Going
from senn.training.looking import look
from senn.training.run import Run
from senn.training.state import Best, TrainState

NONE_BEST = Best(np.inf, None, 0)
Factors = Mapping[int, Factor]


def may_leave(run: Run, network: AbstractTapped, step: int) -> list[np.ndarray]:
    """Which slots of every hidden space hold units trained for long enough at that step."""
    latest = step - run.policy.trial
    return [(step >= 0) & (step <= latest) for step in steps_of_birth(run, network)]


def steps_of_birth(run: Run, network: AbstractTapped) -> list[np.ndarray]:
    """Of every hidden space, at which step the unit of each slot came; -1 where there is none."""
    steps = np.array([-1, 0, *(a.step for a in run.history.additions)])
    at = (births(network, space) for space in network.graph.hidden)
    return [steps[np.minimum(b, len(steps) - 2) + 1] for b in at]


def trained_at(run: Run) -> int:
    """The step from which on all units there are have been trained for long enough."""
    latest = max((int(s.max(initial=0)) for s in steps_of_birth(run, run.now.train.network)),
                 default=0)  # fmt: skip
    return latest + run.policy.trial


def leaving(run: Run, seen: Seen, at_once: float = SHRINK_AT_ONCE) -> tuple[Going, Factors]:
    """The units that leave whatever else is decided, and the factors of which their prices are."""
    network = run.now.train.average
    factors = factors_seen(network, seen)
    may, reach = may_leave(run, network, run.now.step), float(seen.fit.reach)
    return run.policy.leaving(Prices.of(network, factors), may, reach, at_once), factors


def over_budget(run: Run) -> bool:
    """Whether the network is larger than it may be, as one may be that a run starts with."""
    network = run.now.train.network
    return run.policy.over_budget(network, network.hidden_sizes)


def cut(run: Run) -> None:
    """Let all leave that is over a budget, at once, where there is no time to train in between."""
    with run.timed("growth"):
        seen, judged_on = look(run)
        going, factors = leaving(run, seen, at_once=1.0)
        remove(run, going, factors, judged_on)
        run.now.best, run.now.stale = NONE_BEST, 0  # what was best before is too large


def factors_seen(network: AbstractTapped, seen: Seen) -> Factors:
    """The factors of both samples of a look."""
    return factors_of(network, [seen.fit.maps, seen.held_out.maps])


def remove(run: Run, going: Going, factors: Factors, judged_on: Batch) -> None:
    """Let units go, a hidden space at a time, and say what it did to the loss."""
    moments = {m: factor.A for m, factor in factors.items()}
    before = evaluate(run.now.train.average, run.loss, judged_on).loss
    for drop, price, reason in going.drops:
        new = without(run, drop, moments)
        after = evaluate(new.average, run.loss, judged_on).loss
        removal = Removal(
            step=run.now.step,
            kind=drop.kind,
            position=drop.position,
            place=str(drop),
            units=len(drop.slots),
            slots=drop.slots,
            price=price,
            loss_before=before,
            loss_after=after,
            hidden_sizes=new.network.hidden_sizes,
            n_parameters=new.network.n_parameters,
            reason=reason,
            seconds=run.seconds(),
        )
        run.now.train, before = new, after
        run.record("on_removal", removal)
    run.tell_of(run.now.train.average)


def without(run: Run, drop: Drop, moments: Mapping[int, np.ndarray]) -> TrainState:
    """The networks and the optimiser's state without some units."""
    old = run.now.train
    average, _ = drop.apply(old.average, None, moments)
    network, optimizer = drop.apply(old.network, old.optimizer, moments)
    optimizer = run.optimizer.grown(optimizer, network)
    return old._replace(network=network, optimizer=optimizer, average=average)
