"""The phases of a run, growth, settling and annealing, and by what each of them ends."""

from senn.history import Ending
from senn.training.pruning import cut, over_budget, trained_at
from senn.training.run import Run
from senn.training.settling import settle
from senn.training.state import Annealing


def end_growth(run: Run) -> None:
    """From now on nothing is added; evaluations without a better loss count anew."""
    if run.now.growing:
        run.now.growing, run.now.stale = False, 0
        run.history.growth_ended = run.now.step
        if run.validation is not None and run.policy.prefer != "grown":
            # What came last is trained before it is judged.
            run.now.settle_at = max(run.now.step, trained_at(run))


def half_time_over(run: Run) -> bool:
    """Whether what is left of `max_seconds` is for annealing."""
    limit = run.schedule.max_seconds
    return limit is not None and run.seconds() >= limit / 2


def rest_in_time(run: Run, end: int | None) -> int | None:
    """Settle the size once growth has ended or must, then begin to anneal; the next such step."""
    if run.now.annealing is not None:
        return None
    steps = run.schedule.annealing_steps(run.source.steps_per_epoch, end)
    anneals = run.schedule.anneal_epochs is not None
    latest = None if end is None or not anneals else end - steps
    pressed = anneals and (half_time_over(run) or (latest is not None and run.now.step >= latest))
    if pressed:
        end_growth(run)
    if run.now.growing:
        return latest
    if over_budget(run):
        cut(run)
    if run.now.settle_at is not None and run.now.step < run.now.settle_at and not pressed:
        return run.now.settle_at if latest is None else min(run.now.settle_at, latest)
    if run.now.settle_at is not None:
        run.now.settle_at = None
        settle(run)
    if anneals:
        last = run.now.step + steps if end is None else end
        run.now.annealing = Annealing(run.now.step, last, run.seconds())
    return None


def notice_plateau(run: Run) -> None:
    """End growth, and after it training, once the loss has stopped falling."""
    if run.now.growing:
        if run.now.stale >= run.policy.plateau:
            end_growth(run)
        return
    if run.now.annealing or run.history.stop_reason:  # annealing lowers it late
        return
    stale = run.now.stale
    if stale >= run.schedule.stop_after:
        run.end(Ending.PLATEAU, f"no better loss in {stale} evaluations after growth")


def asked_for(run: Run) -> tuple[Ending, str] | None:
    """That a callback wants training to end, and why."""
    return (Ending.CALLBACK, run.asked) if run.asked else None


def ended(run: Run, end: int | None) -> tuple[Ending, str] | None:
    """By what, and why, training ends at this step, if it does."""
    if run.asked:
        return asked_for(run)
    if end is not None and run.now.step >= end:
        return Ending.STEPS, f"{end} steps done"
    if run.now.annealing is not None and run.now.step >= run.now.annealing.last:
        return Ending.ANNEALED, "the learning rate has been annealed after growth ended"
    limit = run.schedule.max_seconds
    if limit is not None and run.seconds() >= limit:
        return Ending.SECONDS, f"{limit:g} seconds used"
    return None
