"""Figure 3: layers inserted on half-moons, from a linear network on (section 4.2).

Layers are inserted as in the paper: as many units as inputs, rational, the identity at first.
τ is compared with scores relative to η of the whole network (section 3.4). Appendix C takes η of
one layer. That of the map which reads a new layer leaves θ out, which is where the identity can
go: relative to it the score would not fall at an insertion. Both are in the record.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.datasets import make_moons

from senn import Batch
from senn.evaluation import evaluate, outputs
from senn.losses import SoftmaxCrossEntropy
from senn.nn import MLP
from senn.optimizers import NaturalGradient
from senn.proposals import Langevin, Proposal
from senn.score import network_expansion_score
from senn.studies.growing import DAMPING, PAPER, RATE, Look, Recipe, passed
from senn.studies.options import Options
from senn.studies.saving import plain_logarithmic, rounded

SAMPLES, TEST_SAMPLES, NOISE = 200, 10_000, 0.1
LOOK_EVERY, LAYER_EVERY = 30, 90
MOST_LAYERS = 2
STEPS = 600
SIDE = 61  # points of the grid on which boundaries are drawn
GRID_X, GRID_Y = np.linspace(-1.7, 2.7, SIDE), np.linspace(-1.2, 1.7, SIDE)
LOSS = SoftmaxCrossEntropy()
ETA_DAMPING = 1e-4  # absolute, of the whole network's η


def recipe(options: Options) -> Recipe:
    """Appendix C; it gives no damping for the score's factors."""
    chains = Langevin(candidates=100, steps=50 if options.quick else 3000, step_size=0.3)
    return Recipe(
        loss=LOSS,
        optimizer=NaturalGradient(learning_rate=RATE, damping=DAMPING, max_steps=100, rtol=1e-3),
        policy=replace(
            PAPER,
            tau=2.0,
            alpha=0.0025,
            layer_cost=2.0,
            width=False,
            every=LOOK_EVERY,
            layer_every=LAYER_EVERY,
            max_units=2 * (MOST_LAYERS + 1),  # room for one more to be proposed, and no slots more
            damping=1e-4,
        ),
        proposer=chains,
        layer_proposer=chains,
        batch_size=SAMPLES,
    )


def stand_ins(options: Options) -> list[str]:  # noqa: ARG001
    """What is not as in the paper."""
    return ["scores relative to η of the whole network, as in section 3.4, not of one layer"]


def settings(options: Options) -> dict[str, Any]:
    """All settings of the experiment."""
    return {
        **recipe(options).settings(),
        "samples": SAMPLES,
        "noise": NOISE,
        "test_samples": TEST_SAMPLES,
        "steps": _steps(options),
        "most_layers": _most_layers(options),
        "damping_of_the_network_s_eta": ETA_DAMPING,
    }


def run(seed: int, options: Options) -> dict[str, Any]:
    """Train one network until a third layer would be inserted, or the steps are over."""
    run = _Run(seed, options)
    last_layer = 0
    for step in range(LOOK_EVERY, _steps(options) + 1, LOOK_EVERY):
        look = run.advance(step)
        rested = not last_layer or step - last_layer >= LAYER_EVERY
        if look.accepted is None or not run.passes_tau() or not rested:
            continue
        run.end_phase(step)
        if len(run.network.hidden) == _most_layers(options):
            break
        run.insert(step, look.accepted)
        last_layer = step
    else:
        run.end_phase(_steps(options))
    return run.result()


def moons(count: int, seed: int) -> Batch:
    """Two half-moons."""
    x, y = make_moons(count, noise=NOISE, random_state=seed)
    return Batch.of(x, np.asarray(y, np.int32))


class _Run:
    """One seed: the network as it is, and what has been seen of it."""

    def __init__(self, seed: int, options: Options):
        self.seed, self.train = seed, moons(SAMPLES, seed)
        self.test = moons(TEST_SAMPLES, 1_000_000 + seed)
        self.how = recipe(options)
        network_key, self.key = jax.random.split(jax.random.key(seed))
        self.network = MLP(2, 2, (), key=network_key)
        self.curve: list[dict[str, Any]] = []
        self.insertions: list[dict[str, Any]] = []
        self.phases = [{"start": self.boundary(0)}]

    def advance(self, step: int) -> Look:
        """Train to `step`, and look."""
        self.network = self.how.train(self.network, self.train, LOOK_EVERY)
        return self.look(step)

    def look(self, step: int) -> Look:
        """Search before every map, and note the best score.

        It is divided by η of the whole network, θ included, and by that of the map that would read
        the layer alone.
        """
        look = self.how.look(self.network, self.train, self.train, self.next_key())
        eta, _ = network_expansion_score(
            self.network, LOSS, self.how.metric, self.train, damping=ETA_DAMPING
        )
        self.curve.append(
            {
                "step": step,
                "layers": len(self.network.hidden),
                "ratio": max(map(self.how.policy.worth, look.proposals)) / max(float(eta), 1e-30),
                "map_ratio": max(map(self.how.ratio, look.proposals)),
            }
        )
        return look

    def passes_tau(self) -> bool:
        """Whether the last look's best is worth a layer; beyond that, the policy decides."""
        return self.curve[-1]["ratio"] > self.how.policy.tau - 1

    def insert(self, step: int, proposal: Proposal) -> None:
        """Insert the layer, look again, and begin a phase."""
        before, seen_before = self.network, self.curve[-1]
        self.network = self.how.add(before, proposal)
        self.look(step)
        self.insertions.append(
            {
                "step": step,
                "position": proposal.action.position,
                "units": proposal.units,
                **{
                    f"{name}_{when}": seen[name]
                    for name in ("ratio", "map_ratio")
                    for when, seen in (("before", seen_before), ("after", self.curve[-1]))
                },
                "loss_before": evaluate(before, LOSS, self.train).loss,
                "loss_after": evaluate(self.network, LOSS, self.train).loss,
                "test_accuracy_before": evaluate(before, LOSS, self.test).score,
                "test_accuracy_after": evaluate(self.network, LOSS, self.test).score,
            }
        )
        self.phases.append({"start": self.boundary(step)})

    def end_phase(self, step: int) -> None:
        """Keep what the network can do at the end of a phase."""
        self.phases[-1]["end"] = self.boundary(step)

    def boundary(self, step: int) -> dict[str, Any]:
        """Accuracies, and for the first seed, which is shown, the probability of class 1."""
        return {
            "step": step,
            "layers": len(self.network.hidden),
            "train_accuracy": evaluate(self.network, LOSS, self.train).score,
            "test_accuracy": evaluate(self.network, LOSS, self.test).score,
            "loss": evaluate(self.network, LOSS, self.train).loss,
            "probability": self.probability() if self.seed == 0 else None,
        }

    def probability(self) -> list[list[float]]:
        """Of class 1, on the grid [y, x]."""
        points = np.stack(np.meshgrid(GRID_X, GRID_Y), axis=-1).reshape(-1, 2)
        margin = np.diff(outputs(self.network, points), axis=1)[:, 0]
        return rounded((0.5 + 0.5 * np.tanh(margin / 2)).reshape(SIDE, SIDE), 3)

    def next_key(self) -> PRNGKeyArray:
        """A fresh key."""
        self.key, key = jax.random.split(self.key)
        return key

    def result(self) -> dict[str, Any]:
        """All of it, as plain numbers."""
        last = self.phases[-1]["end"]
        return {
            "summary": f"layers at steps {[i['step'] for i in self.insertions]}, "
            f"test accuracy {last['test_accuracy']:.3f}",
            "insertions": self.insertions,
            "accuracy_per_phase": [phase["end"]["test_accuracy"] for phase in self.phases],
            "curve": self.curve,
            "grid": {"x": rounded(GRID_X), "y": rounded(GRID_Y)},
            "points": {"x": rounded(self.train.x), "y": rounded(self.train.y)},
            "phases": self.phases,
        }


def claims(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is to be shown, over the seeds."""
    insertions = [i for seed in seeds for i in seed["insertions"]]
    falls = [(i["ratio_before"], _lowest(seed, i["step"])) for seed in seeds
             for i in seed["insertions"]]  # fmt: skip
    return {
        "the score falls by more than half at the very step of an insertion": passed(
            [i["ratio_after"] < i["ratio_before"] / 2 for i in insertions]
        ),
        # The new layer is the identity: the map that reads it can express no more than before.
        "so does the score relative to η of the map that reads the layer": passed(
            [i["map_ratio_after"] < i["map_ratio_before"] / 2 for i in insertions]
        ),
        f"the score falls by more than half in the {LAYER_EVERY} steps after an insertion": passed(
            [after < before / 2 for before, after in falls]
        ),
        "an insertion leaves the test accuracy as it is": passed(
            [i["test_accuracy_after"] == i["test_accuracy_before"] for i in insertions]
        ),
        "insertion_steps": [[i["step"] for i in seed["insertions"]] for seed in seeds],
        "test_accuracy_per_phase": [seed["accuracy_per_phase"] for seed in seeds],
    }


def _lowest(seed: dict[str, Any], step: int) -> float:
    """The lowest score from an insertion until the next is allowed."""
    return min(at["ratio"] for at in seed["curve"] if step <= at["step"] <= step + LAYER_EVERY)


def draw(record: dict[str, Any]) -> Figure:
    """Above, boundaries at the start and end of each phase; below, the score over steps."""
    seed, tau = record["runs"][0], record["settings"]["policy"]["tau"]
    shown = [(when, phase[when]) for phase in seed["phases"] for when in ("start", "end")]
    figure = Figure(figsize=(8.4, 3.9), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1.5], squeeze=False)[:, 0]
    row = above.subplots(1, len(shown), squeeze=False)[0]
    for axes, (when, boundary) in zip(row, shown, strict=True):
        _draw_boundary(axes, seed, when, boundary)
    _draw_curves(below.subplots(), record["runs"], tau)
    return figure


def _draw_boundary(axes: Axes, seed: dict[str, Any], when: str, boundary: dict[str, Any]) -> None:
    x, y, p = seed["grid"]["x"], seed["grid"]["y"], np.array(boundary["probability"])
    axes.imshow(
        p, extent=(x[0], x[-1], y[0], y[-1]), origin="lower", aspect="auto",
        vmin=0, vmax=1, cmap="RdBu", alpha=0.7, interpolation="bilinear",
    )  # fmt: skip
    axes.contour(x, y, p, levels=[0.5], colors="black", linewidths=1)
    points, labels = np.array(seed["points"]["x"]), np.array(seed["points"]["y"])
    for label, colour in ((0, "tab:red"), (1, "tab:blue")):
        axes.plot(*points[labels == label].T, ".", color=colour, ms=1.5, rasterized=True)
    layers = boundary["layers"]
    hidden = f"{layers} hidden layer{'' if layers == 1 else 's'}"
    axes.set(title=f"{hidden}, {when}\nstep {boundary['step']}, test "
             f"{boundary['test_accuracy']:.1%}", xticks=[], yticks=[])  # fmt: skip


def _draw_curves(axes: Axes, seeds: Sequence[dict[str, Any]], tau: float) -> None:
    for n, seed in enumerate(seeds):
        curve = seed["curve"]
        axes.plot(
            [at["step"] for at in curve],
            [at["ratio"] for at in curve],
            color="black" if n == 0 else "0.75",
            zorder=2 if n == 0 else 1,
            label="the seed above" if n == 0 else "other seeds" if n == 1 else None,
        )
    for n, insertion in enumerate(seeds[0]["insertions"]):
        label = "its insertions" if n == 0 else None
        axes.axvline(insertion["step"], color="black", lw=0.8, ls=":", zorder=0, label=label)
    axes.axhline(tau - 1, color="tab:orange", ls="--", label="a layer is inserted above")
    axes.set(yscale="log", xlabel="steps", ylabel=r"$\Delta\eta'/\eta$ of the best layer")
    plain_logarithmic(axes.yaxis)
    axes.legend(fontsize=7)


def _steps(options: Options) -> int:
    return 150 if options.quick else STEPS


def _most_layers(options: Options) -> int:
    return 1 if options.quick else MOST_LAYERS
