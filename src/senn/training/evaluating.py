"""Evaluations: what they say goes into the ledger, and the best network is remembered."""

import numpy as np

from senn.evaluation import evaluate as score_on
from senn.expand import without_spare
from senn.history import Ending, Evaluation
from senn.nn.tapped import AbstractTapped
from senn.optimizers import StepInfo
from senn.training.run import Run
from senn.training.state import Best


def evaluate(run: Run) -> None:
    """Write an evaluation into the ledger, and remember the best network."""
    network, infos = run.now.train.average, run.now.infos
    seen = [np.concatenate([getattr(i, f) for i in infos]) for f in StepInfo._fields if infos]
    train_loss = float(np.mean(seen[0])) if seen else np.nan
    with run.timed("training"):
        score = run.validation and score_on(network, run.loss, run.validation)
    eta = float(seen[1][-1]) if seen and np.isfinite(seen[1][-1]) else None
    evaluation = Evaluation(
        step=run.now.step,
        epoch=run.source.epoch,
        seconds=run.seconds(),
        loss=train_loss,
        validation_loss=score.loss if score else None,
        validation_score=score.score if score else None,
        eta=eta,
        solver_steps=float(np.mean(seen[2])) if eta is not None else None,
        hidden_sizes=network.hidden_sizes,
        n_parameters=network.n_parameters,
    )
    run.now.infos = []
    compare(run, evaluation)
    run.record("on_evaluation", evaluation)


def compare(run: Run, evaluation: Evaluation) -> None:
    """Count evaluations without a better loss."""
    on_validation = evaluation.validation_loss is not None
    loss = evaluation.validation_loss if on_validation else evaluation.loss
    assert loss is not None
    best = run.now.best.loss
    first = not np.isfinite(best)
    better = first or loss < best - run.schedule.tolerance * abs(best)
    if first or loss < best:
        kept = run.now.train.average if on_validation else None
        run.now.best = Best(loss, kept, run.now.step)
    run.now.stale = 0 if better else run.now.stale + 1


def result(run: Run) -> tuple[AbstractTapped, int]:
    """The network of the best evaluation, or as it is without validation or after Ctrl-C."""
    best = run.now.best
    if best.network is None or run.history.ended_by == Ending.INTERRUPTED:
        return without_spare(run.now.train.average), run.now.step
    return without_spare(best.network), best.step
