"""Does the score earn its place? The same growth with units made in other ways.

SENN grows first. Its ledger says when, where and how many units were added; every other arm then
adds as many at the same steps to a network that starts alike, sees the same batches in the same
order, and is trained by the same optimiser at the same rates to the same last step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from senn import History, Policy, Schedule
from senn.evaluation import evaluate
from senn.nn import MLP
from senn.proposals import AbstractProposer, Projection
from senn.studies.arms import Draw, GradMax, Split, Tiny
from senn.studies.intervals import against, over_seeds
from senn.studies.options import Options, no_stand_ins
from senn.studies.replay import NEVER, Planned, Replay, evenly, full_size, plan_of
from senn.studies.saving import rounded
from senn.studies.tasks import Task, by_task, load_task
from senn.training.state import described

SENN = "SENN"
MAX_LAYERS = 3  # hidden ones: a random place would else be a new layer most of the time
WATCHED = 50  # steps after an addition
QUICK_SCREENED, QUICK_LAYERS = 64, 2  # of uniform growth

# SENN's, within a budget for each task, and additions alone, so that others can follow. Evaluations
# are far more frequent than by default: those without a better loss would end growth far sooner.
POLICY = Policy(max_layers=MAX_LAYERS, plateau=NEVER, prune=0.0, swap=None, prefer="grown")
SCHEDULE = Schedule(evaluate_every=10)  # and of as many steps as each task says


@dataclass(frozen=True)
class Arm:
    """One way to arrive at SENN's final size.

    Args:
        name: for tables.
        proposer: how units are made.
        random_place: whether they go to a random place rather than SENN's.
        everywhere: whether each addition is shared out evenly among all layers that there may be.
        from_start: whether they are all there from the start, and nothing is added.
    """

    name: str
    proposer: AbstractProposer
    random_place: bool = False
    everywhere: bool = False
    from_start: bool = False


def arms(options: Options) -> tuple[Arm, ...]:
    """SENN's competitors."""
    return (
        Arm("random units", Draw()),
        Arm("random place", search(options), random_place=True),
        Arm("uniform growth", Draw(), everywhere=True),
        Arm("uniform growth, scored units", search(options), everywhere=True),
        Arm("GradMax", GradMax()),
        Arm("TINY", Tiny()),
        Arm("splitting", Split()),
        Arm("full size from the start", Draw(), from_start=True),
    )


def search(options: Options) -> Projection:
    """SENN's search: the default one, a short one in the quick form."""
    return Projection(screened=QUICK_SCREENED, steps=1) if options.quick else Projection()


stand_ins = no_stand_ins


def settings(options: Options) -> dict[str, Any]:
    """All settings; those of a data set stand in its runs."""
    return {
        "optimizer": options.optimizer,
        "policy": described(POLICY),
        "schedule": described(SCHEDULE),
        "search": _fields(search(options)),
        "arms": {arm.name: _fields(arm.proposer) for arm in arms(options)},
        "steps_watched_after_an_addition": WATCHED,
    }


def run(seed: int, options: Options) -> dict[str, Any]:
    """SENN on one task, and every arm by its plan."""
    task = load_task(seed, options)
    first = task.network(task.first_sizes, seed, task.max_units)
    policy = replace(POLICY, max_units=task.max_units)
    schedule = replace(SCHEDULE, max_steps=task.steps)
    train = partial(task.fit, schedule=schedule, optimizer=options.optimizer, seed=seed)
    trained, history = train(first, policy, search(options))
    plan, end = plan_of(history), history.growth_ended or task.steps
    found = {SENN: measure(task, trained, history, plan)}
    for arm in arms(options):
        start = full_size(first, plan, policy, jax.random.key(seed)) if arm.from_start else first
        layers = QUICK_LAYERS if options.quick else MAX_LAYERS
        steps = evenly(plan, task.first_sizes, layers) if arm.everywhere else plan
        places_seed = seed if arm.random_place else None
        rule = replayed(policy, () if arm.from_start else steps, end, places_seed)
        trained, history = train(start, rule, arm.proposer)
        found[arm.name] = measure(task, trained, history, plan)
    senn = found[SENN]
    return {
        "summary": f"{task.name}, {senn['hidden_sizes']} units, score {senn['test_score']:.4f}",
        "task": task.name,
        "task_settings": {
            **task.settings(),
            "max_units": task.max_units,
            "steps": task.steps,
        },
        "growth_ended": end,
        "plan": [
            {"step": p.step, "place": str(p.action), "units": p.units, "size": p.size} for p in plan
        ],
        "arms": found,
    }


def replayed(policy: Policy, plan: Sequence[Planned], end: int, places_seed: int | None) -> Replay:
    """The policy that follows a plan within another policy's settings."""
    own = {"patience", "plateau"}
    shared = {k: v for k, v in vars(policy).items() if k not in own}
    return Replay(**shared, plan=tuple(plan), end=end, places_seed=places_seed)


def measure(task: Task, network: MLP, history: History, plan: Sequence[Planned]) -> dict[str, Any]:
    """The measures of one run, and its curve.

    The losses after additions are read at the planned steps in every arm.
    """
    test, last = evaluate(network, task.loss, task.test), history.evaluations[-1]
    after = [loss_after(history, planned.step) for planned in plan]
    return {
        "test_score": test.score,
        "test_loss": test.loss,
        "anytime_loss": anytime_loss(history),
        "loss_after_first_addition": after[0] if after else np.nan,
        "loss_after_additions": float(np.mean(after)) if after else np.nan,
        "seconds": history.training_seconds + history.growth_seconds,
        "compile_seconds": history.compile_seconds,
        "hidden_sizes": last.hidden_sizes,
        "n_parameters": last.n_parameters,
        "steps": history.steps,
        "growth_ended": history.growth_ended,
        "additions": [(a.step, a.kind, a.position, a.units) for a in history.additions],
        "stop_reason": history.stop_reason,
        "curve": {
            "step": [e.step for e in history.evaluations],
            "loss": rounded([e.loss for e in history.evaluations], 5),
            "validation_loss": rounded([e.validation_loss for e in history.evaluations], 5),
        },
    }


def anytime_loss(history: History) -> float:
    """Mean validation loss over the steps: the area under its curve by the trapezium rule."""
    step, loss = _curve(history)
    return float(np.trapezoid(loss, step) / (step[-1] - step[0]))


def loss_after(history: History, step: int, steps: int = WATCHED) -> float:
    """Mean validation loss of the evaluations in so many steps after one; NaN without any."""
    at, loss = _curve(history)
    watched = (at > step) & (at <= step + steps)
    return float(np.mean(loss[watched])) if watched.any() else np.nan


def claims(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Every measure of every arm on every task over the seeds, and a paired test against SENN."""
    return {
        task: {name: compared([run["arms"] for run in of], name) for name in MEASURES}
        for task, of in by_task(runs).items()
    }


def compared(seeds: Sequence[dict[str, Any]], measure: str) -> dict[str, Any]:
    """One measure by arm: over the seeds, and against SENN."""
    values = {arm: [seed[arm][measure] for seed in seeds] for arm in seeds[0]}
    found = {arm: over_seeds(v) for arm, v in values.items()}
    for arm in found.keys() - {SENN}:
        found[arm]["against"] = against(values[arm], values[SENN])
    return found


# What is compared: its title in the figure, and whether more of it is better.
MEASURES = {
    "test_score": ("test score", True),
    "anytime_loss": ("anytime validation loss", False),
    "loss_after_first_addition": (f"loss, {WATCHED} steps after the first addition", False),
    "loss_after_additions": (f"loss, {WATCHED} steps after additions", False),
    "seconds": ("seconds", False),
}
DRAWN = ("test_score", "anytime_loss", "loss_after_additions", "seconds")


def draw(record: dict[str, Any]) -> Figure:
    """A row for each task, a column for each measure: the arms' differences from SENN."""
    found = record["claims"]
    figure = Figure(figsize=(9, 0.7 + 1.35 * len(found)), layout="constrained")
    grid = figure.subplots(len(found), len(DRAWN), squeeze=False, sharey=True)
    for row, (task, measures) in zip(grid, found.items(), strict=True):
        for axes, measure in zip(row, DRAWN, strict=True):
            _draw_differences(axes, measures[measure], more_is_better=MEASURES[measure][1])
        row[0].set_ylabel(task)
    for axes, measure in zip(grid[0], DRAWN, strict=True):
        axes.set_title(f"{MEASURES[measure][0]}\n{axes.get_title()}")
    for axes in grid[-1]:
        axes.set_xlabel("difference from SENN")
    figure.suptitle("95 % intervals over seeds; blue: better than SENN, red: worse", fontsize=8)
    return figure


def _draw_differences(axes: Axes, found: dict[str, Any], *, more_is_better: bool) -> None:
    """Points with intervals, coloured where these exclude no difference at all."""
    others = [arm for arm in found if arm != SENN]
    for y, arm in enumerate(others):
        off, half = (_number(found[arm]["against"][key]) for key in ("difference", "ci95"))
        color = "tab:blue" if (off > 0) == more_is_better else "tab:red"
        if not abs(off) > half > 0:
            color = "0.5"
        axes.errorbar(off, y, xerr=half, fmt="o", ms=3, capsize=2, color=color)
    axes.axvline(0, color="0.6", lw=0.8)
    axes.set_yticks(range(len(others)), others)
    axes.set_ylim(len(others) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=4)
    axes.set_title(f"SENN {_number(found[SENN]['mean']):.4g}", fontsize=7)


def _number(value: float | None) -> float:
    return 0.0 if value is None else value  # NaN in the record


def _curve(history: History) -> tuple[np.ndarray, np.ndarray]:
    """Steps and validation losses of the evaluations."""
    pairs = [(e.step, e.validation_loss) for e in history.evaluations]
    step, loss = np.array(pairs, float).T
    return step, loss


def _fields(proposer: AbstractProposer) -> dict[str, Any]:
    fields = {k: v for k, v in vars(proposer).items() if isinstance(v, int | float)}
    return {"name": type(proposer).__name__, **fields}
