"""Automatic size: what SENN stops at by itself, against the whole curve of fixed sizes.

Everything is at its default, without a budget. The fixed sizes are trained as any network that
does not grow: the same optimiser, and the default schedule, which then anneals from the start.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from senn import History, Policy, Schedule
from senn.evaluation import evaluate
from senn.nn import MLP
from senn.studies.growing import NO_GROWTH
from senn.studies.intervals import over_seeds
from senn.studies.options import Options, no_stand_ins
from senn.studies.saving import plain_logarithmic
from senn.studies.tasks import QUICK_STEPS, Task, by_task, load_task
from senn.training.state import described

SIZES = (2, 4, 8, 16, 32, 64, 128, 256)
QUICK_SIZES = (2, 8)
KNEE = 0.95  # share of what size gains, from the smallest fixed size to the best


def policy_for(options: Options) -> Policy:
    """The default; one that stops sooner in the quick form."""
    return Policy(alpha=0.01) if options.quick else Policy()


def schedule_for(options: Options) -> Schedule:
    """The default; a fixed number of steps in the quick form."""
    return Schedule(max_steps=QUICK_STEPS) if options.quick else Schedule()


def sizes(options: Options) -> tuple[int, ...]:
    """Units of the fixed networks, in one hidden layer."""
    return QUICK_SIZES if options.quick else SIZES


stand_ins = no_stand_ins


def settings(options: Options) -> dict[str, Any]:
    """All settings."""
    return {
        "optimizer": options.optimizer,
        "policy": described(policy_for(options)),
        "schedule": described(schedule_for(options)),
        "sizes": sizes(options),
        "knee": KNEE,
    }


def run(seed: int, options: Options) -> dict[str, Any]:
    """SENN and every fixed size on one task."""
    task = load_task(seed, options)
    senn = train(task, task.first_sizes, policy_for(options), seed, options)
    return {
        "summary": f"{task.name}, {senn['hidden_sizes']} units, score {senn['test_score']:.4f}",
        "task": task.name,
        "task_settings": task.settings(),
        "senn": senn,
        "fixed": [train(task, (n,), NO_GROWTH, seed, options) for n in sizes(options)],
    }


def train(
    task: Task, first_sizes: tuple[int, ...], policy: Policy, seed: int, options: Options
) -> dict[str, Any]:
    """One call of `senn.fit`, measured."""
    network, history = task.fit(
        task.network(first_sizes, seed),
        policy,
        schedule=schedule_for(options),
        optimizer=options.optimizer,
        seed=seed,
    )
    return measure(task, network, history)


def measure(task: Task, network: MLP, history: History) -> dict[str, Any]:
    """Size, scores and time of a finished run."""
    return {
        "units": sum(network.hidden_sizes),
        "hidden_sizes": network.hidden_sizes,
        "n_parameters": network.n_parameters,
        "test_score": evaluate(network, task.loss, task.test).score,
        "validation_loss": evaluate(network, task.loss, task.validation).loss,
        "seconds": history.training_seconds + history.growth_seconds,
        "compile_seconds": history.compile_seconds,
        "steps": history.steps,
        "growth_ended": history.growth_ended,
        "stop_reason": history.stop_reason,
    }


def claims(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Where SENN stops on the curve of fixed sizes, for every task."""
    return {task: placed(of) for task, of in by_task(runs).items()}


def placed(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One task: the curve, its knee, its best by validation loss, and SENN beside them."""
    units = [run["units"] for run in seeds[0]["fixed"]]
    runs = zip(*(seed["fixed"] for seed in seeds), strict=True)
    curve = [over_seeds([run["test_score"] for run in of]) for of in runs]
    score = over_seeds([seed["senn"]["test_score"] for seed in seeds])
    size = over_seeds([seed["senn"]["units"] for seed in seeds])
    best = _best(seeds)
    bend = knee(units, [point["mean"] for point in curve])
    return {
        "score": seeds[0]["task_settings"]["score"],
        "fixed_units": units,
        "fixed_test_score": curve,
        "senn_units": size,
        "senn_test_score": score,
        "knee_units": bend,
        "units_over_knee": size["mean"] / bend,
        "best_units": units[best],
        "share_of_best_score": score["mean"] / curve[best]["mean"],
        "share_of_gain": share_of_gain(score["mean"], curve[0]["mean"], curve[best]["mean"]),
        "share_of_sweep_seconds": _seconds(s["senn"] for s in seeds)
        / _seconds(run for s in seeds for run in s["fixed"]),
    }


def knee(units: Sequence[int], scores: Sequence[float]) -> int:
    """The smallest size with `KNEE` of what size gains, from the smallest to the best score."""
    shares = [share_of_gain(score, scores[0], max(scores)) for score in scores]
    enough = [n for n, share in zip(units, shares, strict=True) if not share < KNEE]
    return min(enough)


def share_of_gain(score: float, smallest: float, best: float) -> float:
    """How far a score is on the way from the smallest size's to the best; NaN if no way at all."""
    return (score - smallest) / (best - smallest) if best != smallest else np.nan


def draw(record: dict[str, Any]) -> Figure:
    """A panel for each task: test score against units, and where SENN stops."""
    found = record["claims"]
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(2.9 * columns, 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (task, place) in zip(panels, found.items(), strict=False):
        _draw_place(axes, place)
        axes.set_title(
            f"{task}\n{place['senn_units']['mean']:.3g} units, "
            f"{place['share_of_sweep_seconds']:.0%} of the sweep's time"
        )
        axes.set(xlabel="hidden units", ylabel=f"test {place['score']}")
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    panels[0].legend(fontsize=6)
    return figure


def _draw_place(axes: Axes, place: dict[str, Any]) -> None:
    means = [point["mean"] for point in place["fixed_test_score"]]
    halves = [point["ci95"] or 0.0 for point in place["fixed_test_score"]]  # null: one seed
    axes.errorbar(place["fixed_units"], means, halves, marker="o", ms=3, capsize=2, color="0.4",
                  label="fixed sizes, mean and 95 % interval")  # fmt: skip
    axes.axvline(place["knee_units"], color="0.7", ls=":", label="knee")
    axes.plot(place["senn_units"]["each"], place["senn_test_score"]["each"], "*", ms=7,
              color="tab:blue", label="SENN, a seed each")  # fmt: skip
    axes.set_xscale("log")
    plain_logarithmic(axes.xaxis)


def _best(seeds: Sequence[dict[str, Any]]) -> int:
    """Number of the fixed size with the lowest mean validation loss; test rows choose nothing."""
    losses = [[run["validation_loss"] for run in seed["fixed"]] for seed in seeds]
    return int(np.argmin(np.mean(losses, axis=0)))


def _seconds(runs) -> float:
    return sum(run["seconds"] for run in runs)
