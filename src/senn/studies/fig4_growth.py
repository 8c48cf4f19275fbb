"""Figure 4, left: growth and accuracy on MNIST, in width and depth (section 4.3).

Units are fitted to one sample of training images and judged on another, both fixed, as in the
paper; test images decide nothing.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from senn.evaluation import evaluate, outputs
from senn.nn import MLP
from senn.proposals import GradientAscent, Projection, Proposal, Random
from senn.studies.growing import PAPER, Recipe, passed
from senn.studies.images import (
    ALPHA,
    ALPHA_UNIT,
    EPOCHS_PER_LOOK,
    LAYER_COST,
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

LOOKS = 30
WATCHED_STEPS, WATCH_EVERY = 50, 10  # after an addition
# Units fitted to few images gain nothing on others: with 4096, growth stopped at 15 of them.
SAMPLE_SIZE, ORIGINAL_SAMPLE_SIZE = 20_000, 1024
LAYER_STARTS, LAYER_STEPS = 8, 30
SEARCH = (
    f"the search Projection for units and gradient ascent from {LAYER_STARTS} starts with "
    f"{LAYER_STEPS} steps for layers, fitted to and judged on {SAMPLE_SIZE:,} images each, not "
    f"gradient ascent from 10,000 and 100 starts with 300 steps on {ORIGINAL_SAMPLE_SIZE:,}"
)
WANTED_ACCURACY, WANTED_SIZES = 0.97, (50, 60)


def recipe(options: Options) -> Recipe:
    """Appendix C; in the default form a fast search and a fast solver stand in."""
    policy = replace(
        PAPER,
        tau=1.007,
        alpha=0.25 * ALPHA_UNIT,
        layer_cost=LAYER_COST,
        every=1,
        layer_every=1,
        damping=1e-2,
        unit_scale=1.0,
    )
    if options.original:
        units, layers = (GradientAscent(n, 300, 0.3) for n in (10_000, 100))
    else:
        units, layers = Projection(), GradientAscent(LAYER_STARTS, LAYER_STEPS)
    if options.quick:
        units = layers = Random(32)
    return image_recipe(options, policy, units, layers)


def stand_ins(options: Options) -> list[str]:
    """What is not as in the paper."""
    return [ALPHA] if options.original else [SEARCH, SOLVER, ALPHA]


def settings(options: Options) -> dict[str, Any]:
    """All settings of the experiment."""
    return {
        **recipe(options).settings(),
        "pixels": [SIDE, SIDE],
        "epochs_per_look": _epochs(options)[0],
        "looks": _epochs(options)[1],
        "most_layers_a_look": 1,
        "sample_size": _sample_size(options),
    }


def run(seed: int, options: Options) -> dict[str, Any]:
    """Train one network, looking every few epochs."""
    run = _Run(seed, options)
    epochs, looks = _epochs(options)
    for _ in range(looks):
        run.train_epochs(epochs)
        run.grow()
    run.train_epochs(epochs)
    return run.result()


class _Run:
    """One seed: the network as it is, and what has been seen of it."""

    def __init__(self, seed: int, options: Options):
        self.how = recipe(options)
        self.data = load_images(options)
        rng = np.random.default_rng(seed)
        self.fitted_on, self.judged_on = two_samples(self.data.train, _sample_size(options), rng)
        self.rng, self.key = rng, jax.random.key(seed)
        self.network = first_network(seed)
        self.start, self.step = time.monotonic(), 0
        self.curve: list[dict[str, Any]] = []
        self.additions: list[dict[str, Any]] = []
        self.watched: list[dict[str, Any]] = []
        self.ahead = 0  # steps of the present epoch already done
        self.note()

    def train(self, steps: int) -> None:
        order = int(self.rng.integers(2**31))
        self.network = self.how.train(self.network, self.data.train, steps, order)
        self.step += steps

    def train_epochs(self, count: int) -> None:
        """Whole epochs, the steps after an addition being part of the first."""
        for _ in range(count):
            self.train(steps_per_epoch(len(self.data.train.x)) - self.ahead)
            self.ahead = 0
            self.note()

    def grow(self) -> None:
        """Add all that is accepted now, a layer at most, and watch the loss after it."""
        before = len(self.additions)
        layers_allowed = True
        for _ in range(self.how.most_additions):
            self.key, key = jax.random.split(self.key)
            look = self.how.look(self.network, self.fitted_on, self.judged_on, key,
                                 layers_allowed=layers_allowed)  # fmt: skip
            if look.accepted is None:
                break
            self.add(look.accepted)
            layers_allowed = False  # once a look: searching for layers takes long
        if len(self.additions) > before:
            self.watch()

    def add(self, proposal: Proposal) -> None:
        old, self.network = self.network, self.how.add(self.network, proposal)
        before, after = self.scores(old), self.scores(self.network)
        change = outputs(self.network, self.data.test.x) - outputs(old, self.data.test.x)
        self.additions.append(
            {
                "step": self.step,
                "kind": proposal.action.kind,
                "position": proposal.action.position,
                "units": proposal.units,
                "hidden_sizes": list(self.network.hidden_sizes),
                "ratio": self.how.ratio(proposal),
                "share_of_limit": proposal.score / proposal.limit,
                "test_accuracy_before": before["test_accuracy"],
                "test_accuracy_after": after["test_accuracy"],
                "test_loss_before": before["test_loss"],
                "test_loss_after": after["test_loss"],
                "largest_change_of_an_output": float(np.abs(change).max()),
            }
        )
        self.note()

    def watch(self) -> None:
        """The loss on a fixed sample of training images, now and over the next steps."""
        seen = {"step": self.step, "after": [0], "loss": [self.sample_loss()]}
        for after in range(WATCH_EVERY, WATCHED_STEPS + 1, WATCH_EVERY):
            self.train(WATCH_EVERY)
            seen["after"].append(after)
            seen["loss"].append(self.sample_loss())
        self.watched.append(seen)
        self.ahead = WATCHED_STEPS % steps_per_epoch(len(self.data.train.x))

    def sample_loss(self) -> float:
        return evaluate(self.network, LOSS, self.judged_on).loss

    def scores(self, network: MLP) -> dict[str, float]:
        test = evaluate(network, LOSS, self.data.test)
        return {"test_accuracy": test.score, "test_loss": test.loss}

    def note(self) -> None:
        sizes = self.network.hidden_sizes
        self.curve.append(
            {
                "step": self.step,
                "seconds": round(time.monotonic() - self.start, 2),
                "hidden_size": sum(sizes),
                **self.scores(self.network),
            }
        )

    def result(self) -> dict[str, Any]:
        """All of it, as plain numbers."""
        last, sizes = self.curve[-1], self.network.hidden_sizes
        names = self.curve[0]
        return {
            "summary": f"hidden sizes {list(sizes)}, test accuracy {last['test_accuracy']:.4f}",
            "hidden_sizes": list(sizes),
            "parameters": self.network.n_parameters,
            "test_accuracy": last["test_accuracy"],
            "curve": {name: [at[name] for at in self.curve] for name in names},
            "additions": self.additions,
            "watched": self.watched,
        }


def claims(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the paper says, over the seeds."""
    additions = [a for seed in seeds for a in seed["additions"]]
    watched = [w for seed in seeds for w in seed["watched"]]
    units = [a for a in additions if a["kind"] == "width"]
    layers = [a for a in additions if a["kind"] == "layer"]
    halves = [_growth_in_halves(seed["curve"]) for seed in seeds]
    return {
        "test_accuracy": [seed["test_accuracy"] for seed in seeds],
        "hidden_size": [sum(seed["hidden_sizes"]) for seed in seeds],
        "the test accuracy is above 97 %": passed(
            [seed["test_accuracy"] > WANTED_ACCURACY for seed in seeds]
        ),
        "there are 50 to 60 hidden units": passed(
            [WANTED_SIZES[0] <= sum(seed["hidden_sizes"]) <= WANTED_SIZES[1] for seed in seeds]
        ),
        "units_added_in_each_half": halves,
        "growth tails off: fewer units in the second half": passed(
            [late < early for early, late in halves]
        ),
        "a unit changes no output": passed([a["largest_change_of_an_output"] == 0 for a in units]),
        "a unit leaves the test accuracy as it is": passed(_unchanged(units)),
        "an identity layer leaves the test accuracy as it is": passed(_unchanged(layers)),
        "the loss 50 steps later is not higher": passed(
            [w["loss"][-1] <= w["loss"][0] for w in watched]
        ),
        "the loss is never higher within 50 steps": passed(
            [max(w["loss"][1:]) <= w["loss"][0] for w in watched]
        ),
    }


def _unchanged(additions: Sequence[dict[str, Any]]) -> list[bool]:
    return [a["test_accuracy_after"] == a["test_accuracy_before"] for a in additions]


def _growth_in_halves(curve: dict[str, list[float]]) -> tuple[float, float]:
    sizes, steps = curve["hidden_size"], curve["step"]
    middle = sizes[int(np.searchsorted(steps, steps[-1] / 2))]
    return middle - sizes[0], sizes[-1] - middle


def draw(record: dict[str, Any]) -> Figure:
    """Size and test accuracy, over batches and over seconds, a line a seed."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.subplots(2, 2, sharey="row", sharex="col")
    columns = (("step", "batches seen"), ("seconds", "seconds"))
    for column, (name, label) in enumerate(columns):
        for seed in record["runs"]:
            x = seed["curve"][name]
            axes[0, column].plot(x, seed["curve"]["hidden_size"], label=f"seed {seed['seed']}")
            axes[1, column].plot(x, seed["curve"]["test_accuracy"])
        axes[1, column].axhline(WANTED_ACCURACY, color="0.7", ls=":", zorder=0)
        axes[1, column].set_xlabel(label)
    axes[0, 0].set_ylabel("hidden units in all")
    axes[0, 0].legend(fontsize=6)
    best = max(max(seed["curve"]["test_accuracy"]) for seed in record["runs"])
    axes[1, 0].set(ylabel="test accuracy", ylim=(0.88 if best > 0.9 else 0, 1.0))
    return figure


def _epochs(options: Options) -> tuple[int, int]:
    """Epochs from look to look, and looks."""
    return (2, 3) if options.quick else (EPOCHS_PER_LOOK, LOOKS)


def _sample_size(options: Options) -> int:
    return ORIGINAL_SAMPLE_SIZE if options.original else SAMPLE_SIZE
