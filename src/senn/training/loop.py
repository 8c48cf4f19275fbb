"""The training loop: steps, evaluations and growth, in turn."""

from typing import Any

from threadpoolctl import threadpool_limits

from senn.callbacks.base import Snapshot
from senn.compilation import listening
from senn.history import Ending, History
from senn.machine import trim_memory
from senn.processes import part
from senn.training.evaluating import evaluate, result
from senn.training.growing import consider, prepare
from senn.training.phases import asked_for, ended, notice_plateau, rest_in_time
from senn.training.run import Run
from senn.training.settling import spare
from senn.training.stretch import train_to

WORTH_TRIMMING = 0.5  # seconds of training, beside which it takes none


def run_through(run: Run) -> tuple[Any, History]:
    """Train until something ends it; the network to return, and the ledger."""
    end = run.schedule.last_step(run.source.steps_per_epoch)
    before = run.seconds()
    try:
        run.tell("on_start", end)
        # LAPACK's matrices are small here: threads of its own only wait for each other, and
        # where other programs keep the cores busy, steps take several times as long.
        with threadpool_limits(1, "blas"), listening(run.tell_of_compilation):
            with run.timed("growth"):
                prepare(run)
            while not run.history.stop_reason:
                advance(run, end)
                heed(run)
            if run.history.ended_by == Ending.ANNEALED and run.history.growth_ended is not None:
                spare(run)
    except KeyboardInterrupt:
        run.end(Ending.INTERRUPTED, "interrupted")
    except BaseException as error:
        part()
        run.end(Ending.FAILED, f"failed with {type(error).__name__}")
        raise
    finally:
        run.count()
        if run.seconds() - before > WORTH_TRIMMING:
            trim_memory()
        network, run.history.returned_step = result(run)
        run.tell("on_snapshot", Snapshot(run.history.returned_step, network))
        run.tell("on_stop", run.history)
    return network, run.history


def advance(run: Run, end: int | None) -> None:
    """To the next evaluation or consideration, whichever is first, and through it."""
    every = run.schedule.evaluation_steps(run.source.steps_per_epoch)
    latest = rest_in_time(run, end)
    stops = [
        _next_multiple(run.now.step, every),
        run.now.next_look if run.now.growing else None,
        run.now.annealing.last if run.now.annealing else latest,
        end,
    ]
    if not train_to(run, min(stop for stop in stops if stop is not None)):
        if run.now.infos:  # steps that no evaluation has seen
            evaluate(run)
        return
    ending = ended(run, end)
    if ending or run.now.step % every == 0:
        evaluate(run)
    ending = ending or asked_for(run)
    if ending:
        run.end(*ending)
    elif run.now.growing and run.now.step >= run.now.next_look:
        consider(run)
    notice_plateau(run)


def heed(run: Run) -> None:
    """End training if a callback asked for it at growth."""
    if not run.history.stop_reason and run.asked:
        if run.now.infos:  # steps that no evaluation has seen
            evaluate(run)
        run.end(Ending.CALLBACK, run.asked)


def _next_multiple(step: int, every: int) -> int:
    return (step // every + 1) * every
