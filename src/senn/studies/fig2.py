"""Figure 2: units added in one-dimensional least squares (section 4.1).

A teacher with four hidden layers of 16 rational units, new for every seed, is learned from 50
samples by one hidden layer that starts with a single unit. A unit σ(wz + b) of one input bends at
the location −b/w, on the length scale 1/|w|.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from senn import Batch
from senn.curvature import moments
from senn.evaluation import evaluate, outputs
from senn.losses import SquaredError
from senn.nn import MLP
from senn.nn.activation import Rational
from senn.optimizers import NaturalGradient
from senn.proposals import Langevin, Proposal
from senn.proposals.base import AbstractMaximizer, Sample
from senn.proposals.problem import Problem, Units
from senn.proposals.projection import Fit
from senn.score import residual
from senn.studies.growing import DAMPING, PAPER, RATE, Look, Recipe, passed
from senn.studies.options import Options, no_stand_ins
from senn.studies.saving import rounded

SAMPLES, TEST_SAMPLES = 50, 1000
TEACHER = (16, 16, 16, 16)
CAPACITY = 16  # slots of the hidden layer: more than it needs
LOOK_EVERY = 30
LAST_LOOK, STEPS = 3000, 20000
SHOWN_UNIT = 4  # the figure shows its addition, and waits for the next
LOCATIONS = np.linspace(-3, 3, 61)
SCALES = np.geomspace(0.1, 10, 41)
CURVE = np.linspace(-3, 3, 241)  # where functions are drawn


class BestOfChains(AbstractMaximizer):
    """The best of the chains' last states, as in this one experiment of the paper."""

    candidates: int
    chains: Langevin

    def search(self, problem: Problem, key: PRNGKeyArray) -> Units:
        """The chains' last states."""
        return self.chains.search(problem, key)


class Task(NamedTuple):
    """What is to be learned, and what it is tested on."""

    teacher: MLP
    train: Batch
    test: Batch


def recipe(options: Options) -> Recipe:
    """Appendix C; it gives no damping for the score's factors, and no scale for new units."""
    chains = Langevin(candidates=100, steps=200 if options.quick else 3000, step_size=0.3)
    best = BestOfChains(chains.candidates, chains)
    return Recipe(
        loss=SquaredError(),
        optimizer=NaturalGradient(learning_rate=RATE, damping=DAMPING, max_steps=100, rtol=1e-3),
        policy=replace(
            PAPER,
            tau=2.0,
            alpha=0.0025,
            depth=False,
            every=LOOK_EVERY,
            unit_scale=1.0,
            damping=1e-4,
        ),
        proposer=best,
        layer_proposer=best,
        batch_size=SAMPLES,
    )


stand_ins = no_stand_ins


def settings(options: Options) -> dict[str, Any]:
    """All settings of the experiment."""
    last_look, steps = _length(options)
    return {
        **recipe(options).settings(),
        "samples": SAMPLES,
        "test_samples": TEST_SAMPLES,
        "teacher": TEACHER,
        "teacher_units": "θ / ‖θ‖, γ doubled, as in the authors' code",
        "first_hidden_size": 1,
        "last_look": last_look,
        "steps": steps,
    }


def run(seed: int, options: Options) -> dict[str, Any]:
    """Train and grow one network; panels are kept for the first seed alone, which is shown."""
    teacher_key, network_key, key = jax.random.split(jax.random.key(seed), 3)
    task, how = make_task(teacher_key), recipe(options)
    network = MLP(1, 1, (1,), key=network_key, capacity=CAPACITY)
    last_look, steps = _length(options)
    additions, panels = [], []
    for step in range(LOOK_EVERY, last_look + 1, LOOK_EVERY):
        network = how.train(network, task.train, LOOK_EVERY)
        key, look_key, after_key = jax.random.split(key, 3)
        look = how.look(network, task.train, task.train, look_key)
        if look.accepted is None:
            continue
        grown = how.add(network, look.accepted)
        additions.append(addition(how, task, step, network, grown, look.accepted))
        if seed == 0 and grown.hidden_sizes[0] in (SHOWN_UNIT, SHOWN_UNIT + 1):
            panels.append(panel(how, task, step, "before unit {}", network, look))
        if seed == 0 and grown.hidden_sizes[0] == SHOWN_UNIT:
            after = how.look(grown, task.train, task.train, after_key)
            panels.append(panel(how, task, step, "after unit {}", grown, after))
        network = grown
    network = how.train(network, task.train, steps - last_look)
    train, test = _mse(network, task.train), _mse(network, task.test)
    inside = _inside(task)
    between = _mse(network, task.test[inside])
    if seed == 0:
        last = how.look(network, task.train, task.train, key)
        panels.append(panel(how, task, steps, "at the end", network, last))
    units = network.hidden_sizes[0]
    return {
        "summary": f"{units} units, test error {test:.1e} ({between:.1e} between samples)",
        "units": units,
        "train_mse": train,
        "test_mse": test,
        "test_mse_between_samples": between,
        "test_points_beyond_samples": int((~inside).sum()),
        "test_variance": float(np.var(task.test.y)),
        "additions": additions,
        "samples": {"x": rounded(task.train.x[:, 0], 6), "y": rounded(task.train.y[:, 0], 6)},
        "curve": rounded(CURVE),
        "target": rounded(outputs(task.teacher, CURVE[:, None])[:, 0]),
        "panels": panels,
    }


def make_task(key: PRNGKeyArray) -> Task:
    """A new teacher, and what it says of points from N(0, 1)."""
    teacher_key, train_key, test_key = jax.random.split(key, 3)
    teacher = normalised(MLP(1, 1, TEACHER, key=teacher_key, capacity=max(TEACHER)))

    def sample(key: PRNGKeyArray, count: int) -> Batch:
        x = jax.random.normal(key, (count, 1))
        return Batch.of(x, teacher(x))

    return Task(teacher, sample(train_key, SAMPLES), sample(test_key, TEST_SAMPLES))


def normalised(network: MLP) -> MLP:
    """The network with θ/‖θ‖ for every unit's θ, γ doubled, as the authors' code has its units.

    It is what their test errors are of; with θ as drawn the target varies more.
    """

    def of(theta: Float[Array, "3 c"]) -> Float[Array, "3 c"]:
        return theta * jnp.array([[1], [1], [2]]) / jnp.linalg.norm(theta, axis=0)

    def thetas(net: Any) -> list[Any]:
        return [layer.activation.theta for layer in net.hidden]

    return eqx.tree_at(thetas, network, replace_fn=of)


def addition(
    how: Recipe, task: Task, step: int, network: MLP, grown: MLP, proposal: Proposal
) -> dict[str, Any]:
    """What was added, where, and what it did to the score there and to the error."""
    location, scale = bend(proposal.weight[0], proposal.bias)  # [1] each
    before, after = (
        float(landscape(how, net, task.train, location, scale)[0, 0]) for net in (network, grown)
    )
    return {
        "step": step,
        "units": grown.hidden_sizes[0],
        "location": float(location[0]),
        "scale": float(scale[0]),
        "ratio": how.ratio(proposal),
        "ratio_there_before": before,
        "ratio_there_after": after,
        "train_mse_before": _mse(network, task.train),
        "train_mse_after": _mse(grown, task.train),
        "test_mse": _mse(grown, task.test),
    }


def panel(
    how: Recipe, task: Task, step: int, title: str, network: MLP, look: Look
) -> dict[str, Any]:
    """One column of the figure."""
    size = network.hidden_sizes[0]
    number = size if title.startswith("after") else size + 1
    best = look.accepted or max(look.proposals, key=how.ratio)
    location, scale = bend(best.weight[0], best.bias)
    dense = network.hidden[0].dense
    bends = bend(np.asarray(dense.weight)[0, :size], np.asarray(dense.bias)[:size])
    return {
        "title": f"{title.format(number)} (step {step})",
        "step": step,
        "fit": rounded(outputs(network, CURVE[:, None])[:, 0]),
        "unit_locations": rounded(bends[0]),
        "unit_scales": rounded(bends[1]),
        "proposal": {
            "location": float(location[0]),
            "scale": float(scale[0]),
            "ratio": how.ratio(best),
            "accepted": look.accepted is not None,
        },
        # The ratio above which a proposal passes τ, and, as α asks, explains enough of λ.
        "least_ratio": max(how.policy.tau - 1, how.policy.alpha * best.reach / best.eta),
        "locations": rounded(LOCATIONS),
        "scales": rounded(SCALES),
        "ratios": rounded(landscape(how, network, task.train, LOCATIONS, SCALES), 3),
    }


def bend(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Location −b/w [K] and length scale 1/|w| [K] of units that read one input."""
    return -bias / weight, 1 / np.abs(weight)


def landscape(
    how: Recipe, network: MLP, data: Batch, locations: np.ndarray, scales: np.ndarray
) -> np.ndarray:
    """Δη′/η_c [S, L] of the best unit at every location and length scale, θ being free."""
    sample, eta = _unexplained(how, network, data)
    at, scale = (g.ravel() for g in np.meshgrid(locations, scales))
    w = jnp.asarray(np.stack([1 / scale, -at / scale], axis=1), sample.a.dtype)
    # θ is free, so the unit can be large, and ε_A plays no part.
    return np.asarray(_best_scores(sample, w) / eta).reshape(len(scales), len(locations))


def _unexplained(how: Recipe, network: MLP, data: Batch) -> tuple[Sample, Float[Array, ""]]:
    """What the units leave of the gradient at the output map, and η_c there."""
    source, reader = moments(network, how.loss, how.metric, data, jax.random.key(0)).maps
    a, g, S = reader.dense
    fit = residual(a, g, S, how.policy.damping)
    return Sample(source.dense[0], fit(a, g), source.root_weight), fit.score


@jax.jit
def _best_scores(sample: Sample, w: Float[Array, "P 2"]) -> Float[Array, " P"]:
    return Fit.of(Rational, sample, w, ridge=0.0).score


def _inside(task: Task) -> np.ndarray:
    """Which test points [N] lie between training samples; the others ask for extrapolation."""
    x, seen = np.asarray(task.test.x)[:, 0], np.asarray(task.train.x)
    return (x >= seen.min()) & (x <= seen.max())


def _mse(network: MLP, data: Batch) -> float:
    return 2 * evaluate(network, SquaredError(), data).loss


def _length(options: Options) -> tuple[int, int]:
    """The last step at which growth is considered, and the last of all."""
    return (150, 300) if options.quick else (LAST_LOOK, STEPS)


def claims(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is to be shown, over the seeds; the authors' own code is what to compare with."""
    additions = [a for seed in seeds for a in seed["additions"]]
    tests = [seed["test_mse"] for seed in seeds]
    units = [seed["units"] for seed in seeds]
    return {
        "the score at the accepted location falls by more than half": passed(
            [a["ratio_there_after"] < a["ratio_there_before"] / 2 for a in additions]
        ),
        "an addition leaves the fit as it is": passed(
            [a["train_mse_after"] == a["train_mse_before"] for a in additions]
        ),
        "units": {"least": min(units), "most": max(units), "authors": [8, 11]},
        "test_mse": {
            "each": tests,
            "median": float(np.median(tests)),
            "authors": [1.5e-4, 6e-4],
            "between_samples": [seed["test_mse_between_samples"] for seed in seeds],
        },
    }


def draw(record: dict[str, Any]) -> Figure:
    """Above, target, samples, fit and unit locations; below, the landscape."""
    seed = record["runs"][0]
    panels = seed["panels"]
    figure = Figure(figsize=(2.4 * max(len(panels), 2), 4.2), layout="constrained")
    axes = figure.subplots(2, len(panels), squeeze=False, sharex=True, sharey="row")
    mesh: Any = None
    for column, shown in enumerate(panels):
        _draw_fit(axes[0, column], seed, shown)
        mesh = _draw_landscape(axes[1, column], shown)
    axes[0, 0].set_ylabel("y")
    axes[0, 0].legend(loc="best", fontsize=6)
    axes[1, 0].set_ylabel("length scale")
    bar = figure.colorbar(mesh, ax=list(axes[1]), pad=0.01)
    bar.set_label(r"$\Delta\eta'/\eta_c$ (white: the least that is added)")
    return figure


def _draw_fit(axes: Axes, seed: dict[str, Any], shown: dict[str, Any]) -> None:
    for location in shown["unit_locations"]:
        axes.axvline(location, color="0.8", lw=0.8, zorder=0)
    axes.plot(seed["curve"], seed["target"], "--", color="tab:red", label="target")
    axes.plot(seed["curve"], shown["fit"], color="black", label="fit")
    axes.plot(
        seed["samples"]["x"], seed["samples"]["y"], ".", color="tab:blue", ms=4, label="samples"
    )
    low, high = min(seed["target"]), max(seed["target"])
    margin = 0.15 * (high - low)
    axes.set(title=shown["title"], xlim=(-3, 3), ylim=(low - margin, high + margin))


def _draw_landscape(axes: Axes, shown: dict[str, Any]) -> Any:
    x, y, ratios = shown["locations"], shown["scales"], np.array(shown["ratios"])
    norm = LogNorm(1e-2, 1e2, clip=True)
    mesh = axes.pcolormesh(x, y, ratios, norm=norm, cmap="viridis", shading="auto", rasterized=True)
    axes.contour(x, y, ratios, levels=[shown["least_ratio"]], colors="white", linewidths=0.8)
    proposal = shown["proposal"]
    colour = "red" if proposal["accepted"] else "black"
    axes.plot(proposal["location"], proposal["scale"], "o", color=colour, mec="white", ms=6)
    axes.set(xlabel="location", yscale="log", ylim=(min(y), max(y)))
    return mesh
