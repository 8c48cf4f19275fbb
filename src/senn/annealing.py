"""Annealed once more: from the best network, under several priors, of which kept rows choose.

How much must be held against noise differs from table to table. Where few of many inputs matter
a prior with tails halves the error, and where all say nearly the same it costs a tenth; the rows
that were kept apart tell (docs/design/tables.md). Growth is over by then, so each takes as long as
its steps.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from senn import tables
from senn.batches import Batch
from senn.history import Ending, Evaluation, History
from senn.nn.network import AbstractLayered
from senn.optimizers import KFAC, AbstractOptimizer, make_optimizer
from senn.policy import Policy
from senn.training import Schedule, fit

Network = TypeVar("Network", bound=AbstractLayered)

AS_IT_IS = Policy(width=False, depth=False, prefer="grown")


class Again(NamedTuple):
    """A network after so many steps more under a rule, and the ledger of those."""

    network: Any
    rule: AbstractOptimizer
    history: History

    @property
    def loss(self) -> float:
        """The least on the rows kept apart."""
        return min(e.validation_loss for e in self.history.evaluations)  # pyright: ignore[reportArgumentType]


def rules_for(
    optimizer: Any, priors: Sequence[dict[str, float]], dtype: Any
) -> tuple[AbstractOptimizer, list[KFAC]]:
    """The rule to begin with, and K-FAC under each of these priors, for which it has room.

    None if the optimiser is another, or if its prior was told.
    """
    rule = make_optimizer(optimizer)
    if not isinstance(rule, KFAC) or rule.prior is not None or rule.tails or rule.noise:
        return rule, []
    under = [rule.having(settings, dtype) for settings in priors]
    return (rule.having({"tails": 0.0, "noise": 0.0}, dtype) if under else rule), under


def annealed_again(
    network: Network,
    history: History,
    rows: Batch,
    held_out: Batch,
    rules: Sequence[AbstractOptimizer],
    **settings: Any,
) -> tuple[Network, AbstractOptimizer | None]:
    """The best network on the way that one of the rules took, and that rule.

    The ledger goes on with the evaluations of that way. The network is as it was, and the rule
    None, if none came to its end. `settings` are those of `annealed`.
    """
    tried: list[Again] = []
    for rule in rules:
        after, own = annealed(
            network, history, rows, tables.ANNEALED_AGAIN,
            validation=held_out, optimizer=rule, **settings,
        )  # fmt: skip
        if own.ended_by == Ending.INTERRUPTED:
            return network, None
        if own.ended_by == Ending.ANNEALED:
            tried.append(Again(after, rule, own))
    if not tried:
        return network, None
    best = min(tried, key=lambda again: again.loss)
    _go_on_with(history, best.history)
    return best.network, best.rule


def annealed(
    network: Network, history: History, rows: Batch, steps: int, *, batch_size: int, **settings: Any
) -> tuple[Network, History]:
    """The network after so many steps at a rate that falls to zero, and the ledger of those.

    The ledger of the training before counts what they took, and has an interruption for its own
    end: whoever called goes by that. `settings` are those of `senn.fit`.
    """
    schedule = Schedule(batch_size=batch_size, anneal_epochs=0, anneal_steps=steps)
    after, own = fit(network, rows, policy=AS_IT_IS, schedule=schedule, **settings)
    for name in ("training_seconds", "growth_seconds", "compile_seconds", "n_compilations"):
        setattr(history, name, getattr(history, name) + getattr(own, name))
    if own.ended_by == Ending.INTERRUPTED:
        history.ended_by, history.stop_reason = own.ended_by, own.stop_reason
    return after, own


def _go_on_with(history: History, own: History) -> None:
    """Let the ledger go on with the evaluations of another, which began where it ended."""
    last = history.evaluations[-1]
    for e in own.evaluations:
        history.records.append(_shifted(e, history.steps, last))
    history.returned_step = history.steps + own.returned_step
    history.steps += own.steps


def _shifted(evaluation: Evaluation, steps: int, last: Evaluation) -> Evaluation:
    """As it would be told by a run that had gone on."""
    return replace(
        evaluation,
        step=steps + evaluation.step,
        epoch=last.epoch + evaluation.epoch,
        seconds=last.seconds + evaluation.seconds,
    )
