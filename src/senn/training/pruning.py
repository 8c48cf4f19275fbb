"""Removals within a run: which units may leave, and what it did."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from senn.actions import Drop, DropLayer
from senn.batches import Batch
from senn.evaluation import evaluate
from senn.growth import Seen
from senn.history import Removal
from senn.nn.spaces import births
from senn.nn.tapped import AbstractTapped
from senn.policy import SHRINK_AT_ONCE
from senn.prices import Factor, Prices, factors_of
from senn.pruning import Going
from senn.removal import empty_layers
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
        remove_empty(run, judged_on)
        run.now.best, run.now.stale = NONE_BEST, 0  # what was best before is too large


def factors_seen(network: AbstractTapped, seen: Seen) -> Factors:
    """The factors of both samples of a look."""
    return factors_of(network, [seen.fit.maps, seen.held_out.maps])


def remove(run: Run, going: Going, factors: Factors, judged_on: Batch) -> None:
    """Let units go, a hidden space at a time, and say what it did to the loss.

    A layer whose last unit goes stays for `remove_empty` to take out, so that all that was decided
    of the network can be done to it by the numbers that its layers had.
    """
    moments = {m: factor.A for m, factor in factors.items()}
    loss = evaluate(run.now.train.average, run.loss, judged_on).loss
    for drop, price, reason in going.drops:
        new = without(run, drop, moments)
        loss = _record(run, new, drop, (price, reason), loss, judged_on)
    run.tell_of(run.now.train.average)


def remove_empty(run: Run, judged_on: Batch) -> None:
    """Take out the layers that no unit is left of: nothing that is computed changes."""
    network = run.now.train.network
    if not (empty := empty_layers(network)):
        return
    loss = evaluate(run.now.train.average, run.loss, judged_on).loss
    for position in empty:
        drop = DropLayer(position, network.graph.hidden[position].name)
        why = 0.0, "its last unit has left"
        loss = _record(run, _without_layer(run, drop), drop, why, loss, judged_on)
    run.tell_of(run.now.train.average)


def _record(
    run: Run,
    new: TrainState,
    drop: Drop | DropLayer,
    why: tuple[float, str],  # what it was to cost, and the reason
    before: float,
    judged_on: Batch,
) -> float:
    """Go on with the new networks, and say what that did to the loss; what it is now."""
    removal = removed(run, new.average, drop, why, before, judged_on)
    run.now.train = new
    run.record("on_removal", removal)
    return removal.loss_after


def removed(
    run: Run,
    network: AbstractTapped,
    drop: Drop | DropLayer,
    why: tuple[float, str],
    before: float,
    judged_on: Batch,
) -> Removal:
    """What the ledger says of a removal that left this network."""
    slots = drop.slots if isinstance(drop, Drop) else ()
    return Removal(
        step=run.now.step,
        kind=drop.kind,
        position=drop.position,
        place=str(drop),
        units=len(slots),
        slots=slots,
        price=why[0],
        loss_before=before,
        loss_after=evaluate(network, run.loss, judged_on).loss,
        hidden_sizes=network.hidden_sizes,
        n_parameters=network.n_parameters,
        reason=why[1],
        seconds=run.seconds(),
    )


def without(run: Run, drop: Drop, moments: Mapping[int, np.ndarray]) -> TrainState:
    """The networks and the optimiser's state without some units."""
    old = run.now.train
    average, _ = drop.apply(old.average, None, moments)
    return _after(run, average, *drop.apply(old.network, old.optimizer, moments))


def _without_layer(run: Run, drop: DropLayer) -> TrainState:
    old = run.now.train
    average, _ = drop.apply(old.average, None)
    return _after(run, average, *drop.apply(old.network, old.optimizer))


def _after(run: Run, average: Any, network: Any, optimizer: Any) -> TrainState:
    optimizer = run.optimizer.grown(optimizer, network)
    return run.now.train._replace(network=network, optimizer=optimizer, average=average)
