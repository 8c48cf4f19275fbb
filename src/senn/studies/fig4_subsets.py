"""Figure 4, right: the size that a network grows to against the amount of data (section 4.3).

Class-balanced subsets of MNIST, width only. A run is over when growth has been refused several
times in a row and the training loss has stopped falling, or after the most steps.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from senn import Batch
from senn.evaluation import evaluate
from senn.nn import MLP
from senn.proposals import AbstractProposer, Langevin, Projection, Random
from senn.studies.growing import PAPER, Recipe
from senn.studies.images import (
    ALPHA,
    ALPHA_UNIT,
    CLASSES,
    EPOCHS_PER_LOOK,
    FIRST_SIZE,
    LOSS,
    SIDE,
    SOLVER,
    first_network,
    image_recipe,
    load_images,
    steps_per_epoch,
    two_samples,
)
from senn.studies.options import Options
from senn.studies.saving import plain_logarithmic

SHARES = (0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 1.0)
MOST_STEPS = 24_000
STEPS_BETWEEN_LOOKS = 100  # at least: ten epochs of the smallest subset are ten steps
REFUSALS = 5  # looks in a row
TOLERANCE = 0.02  # relative fall of the loss from look to look that counts
SAMPLE_SIZE = 4096
SEARCH = (
    "the search Projection, fitted to one half of the examples and judged on the other, "
    "not Langevin dynamics"
)


def recipe(options: Options) -> Recipe:
    """Appendix C; in the default form a fast search and a fast solver stand in."""
    policy = replace(
        PAPER,
        tau=1.03,
        alpha=0.0025 * ALPHA_UNIT,
        depth=False,
        every=1,
        damping=1e-2,
        unit_scale=1.0,
    )
    search: AbstractProposer = Projection()
    if options.original:
        search = Langevin(candidates=100, steps=3000, step_size=0.3)
    if options.quick:
        search = Random(32)
    return image_recipe(options, policy, search, search)


def stand_ins(options: Options) -> list[str]:
    """What is not as in the paper."""
    cadence = f"looks at least {STEPS_BETWEEN_LOOKS} steps apart, and at most {MOST_STEPS} steps"
    return [ALPHA, cadence] if options.original else [SEARCH, SOLVER, ALPHA, cadence]


def settings(options: Options) -> dict[str, Any]:
    """All settings of the experiment."""
    return {
        **recipe(options).settings(),
        "pixels": [SIDE, SIDE],
        "shares": _shares(options),
        "epochs_per_look": EPOCHS_PER_LOOK,
        "least_steps_between_looks": STEPS_BETWEEN_LOOKS,
        "refusals": REFUSALS,
        "tolerance": TOLERANCE,
        "most_steps": _most_steps(options),
        "sample_size": SAMPLE_SIZE,
    }


def run(seed: int, options: Options) -> dict[str, Any]:
    """One network for every subset."""
    data = load_images(options)
    sizes = []
    for share in _shares(options):
        subset = balanced_subset(data.train, share, np.random.default_rng(seed))
        sizes.append({"share": share, **converge(subset, data.test, seed, options)})
    widths = ", ".join(f"{s['share']:.0%} {s['width']}" for s in sizes)
    return {"summary": f"widths {widths}", "sizes": sizes}


def balanced_subset(data: Batch, share: float, rng: np.random.Generator) -> Batch:
    """A random share of the rows, as many of one class as of another.

    The rarest class says how many there can be; all rows make up the whole.
    """
    if share == 1:
        return data
    labels = np.asarray(data.y)
    rarest = np.bincount(labels, minlength=CLASSES).min()
    each = min(round(share * len(labels) / CLASSES), rarest)
    rows = [rng.permutation(np.flatnonzero(labels == c))[:each] for c in range(CLASSES)]
    return data[np.sort(np.concatenate(rows))]


def converge(subset: Batch, test: Batch, seed: int, options: Options) -> dict[str, Any]:
    """Train and grow one network until neither goes on."""
    how, rng, key = recipe(options), np.random.default_rng(seed), jax.random.key(seed)
    network = first_network(seed)
    between = max(EPOCHS_PER_LOOK * steps_per_epoch(len(subset.x)), STEPS_BETWEEN_LOOKS)
    step, refusals, losses, growth = 0, 0, [np.inf], []
    while step < _most_steps(options) and not (refusals >= REFUSALS and _settled(losses)):
        network = how.train(network, subset, between, int(rng.integers(2**31)))
        step += between
        key, look_key = jax.random.split(key)
        network, added = grow(how, network, two_samples(subset, SAMPLE_SIZE, rng), look_key)
        refusals = 0 if added else refusals + 1
        losses.append(evaluate(network, LOSS, subset).loss)
        growth.append({"step": step, "width": network.hidden_sizes[0], "loss": losses[-1]})
    return {
        "rows": len(subset.x),
        "width": network.hidden_sizes[0],
        "steps": step,
        "growth_stopped": refusals >= REFUSALS,
        "loss_converged": _settled(losses),
        "train_loss": losses[-1],
        "test_accuracy": evaluate(network, LOSS, test).score,
        "growth": growth,
    }


def grow(how: Recipe, network: MLP, samples: tuple[Batch, Batch], key: Any) -> tuple[MLP, int]:
    """The network with all units that are accepted now, and how many these are."""
    for added in range(how.most_additions):
        key, look_key = jax.random.split(key)
        proposal = how.look(network, *samples, look_key).accepted
        if proposal is None:
            return network, added
        network = how.add(network, proposal)
    return network, how.most_additions


def claims(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean width and its standard error for every subset, and what the paper says of them."""
    shares = [size["share"] for size in seeds[0]["sizes"]]
    runs = [[seed["sizes"][i] for seed in seeds] for i in range(len(shares))]
    widths = np.array([[size["width"] for size in of] for of in runs], float)  # [shares, seeds]
    n = widths.shape[1]
    errors = widths.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(shares), np.nan)
    return {
        "shares": shares,
        "rows": [of[0]["rows"] for of in runs],
        "mean_width": widths.mean(axis=1),
        "standard_error": errors,
        "mean_test_accuracy": [np.mean([s["test_accuracy"] for s in of]) for of in runs],
        "growth_stopped": [sum(s["growth_stopped"] for s in of) for of in runs],
        "loss_converged": [sum(s["loss_converged"] for s in of) for of in runs],
        "the smallest subset needs no more than the 10 units to start with": bool(
            widths[0].mean() <= FIRST_SIZE + 1
        ),
        "more data never gives a smaller network on average": bool(
            (np.diff(widths.mean(axis=1)) >= 0).all()
        ),
    }


def draw(record: dict[str, Any]) -> Figure:
    """Final width against subset size: log against linear, and linear against log."""
    found = record["claims"]
    figure = Figure(figsize=(6.4, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        _draw_widths(axes, record["runs"], found)
    left.set(yscale="log", ylabel="final width")
    right.set(xscale="log")
    plain_logarithmic(left.yaxis)
    plain_logarithmic(right.xaxis)
    right.legend(fontsize=6)
    return figure


def _draw_widths(axes: Axes, seeds: Sequence[dict[str, Any]], found: dict[str, Any]) -> None:
    percent = 100 * np.array(found["shares"])
    errors = np.nan_to_num(np.array(found["standard_error"], float))
    for n, seed in enumerate(seeds):
        widths = [size["width"] for size in seed["sizes"]]
        axes.plot(percent, widths, ".", color="0.75", ms=4, label="a seed" if n == 0 else None)
    axes.errorbar(percent, found["mean_width"], errors, marker="o", ms=3, capsize=2,
                  color="tab:blue", label="mean ± standard error")  # fmt: skip
    axes.set_xlabel("subset of MNIST, %")


def _settled(losses: Sequence[float]) -> bool:
    return len(losses) > 1 and losses[-1] > (1 - TOLERANCE) * losses[-2]


def _shares(options: Options) -> tuple[float, ...]:
    return (0.1, 0.5) if options.quick else SHARES


def _most_steps(options: Options) -> int:
    return 200 if options.quick else MOST_STEPS
