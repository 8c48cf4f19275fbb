"""Figures with matplotlib, each drawn on the axes given, from a ledger or a model alone.

Every function takes `ax`, by default the current axes, and returns it.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sklearn.inspection import DecisionBoundaryDisplay

from senn.batches import Batch
from senn.curvature import moments
from senn.history import History, Removal
from senn.lineage import Lineage, changes, lineage_of, sizes_over_time
from senn.losses import AbstractLoss, AbstractMetric, make_loss, make_metric
from senn.nn.activation import Activation
from senn.nn.connections import connections, n_inputs
from senn.nn.spaces import Space, units
from senn.nn.tapped import AbstractTapped
from senn.policy import Policy
from senn.proposals.projection import Fit
from senn.proposals.sample import Sample
from senn.score import residual

try:
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize
except ImportError as error:
    raise ImportError("senn.plot needs matplotlib: pip install 'senn[plot]'.") from error

MOST_CONNECTIONS, LEAST_CONNECTION = 600, 0.05  # drawn, and the share of the strongest
AT_START = "0.6"
MARKERS = {False: ("unit", "o"), True: ("layer", "s")}  # by whether it is a layer


def growth(history: History, *, ax: Axes | None = None) -> Axes:
    """Hidden units over the steps of training, the layers stacked.

    An addition is a dotted line, a removal a dashed one.
    """
    ax = plt.gca() if ax is None else ax
    sizes = sizes_over_time(history)
    steps = [*sizes, max(history.steps, *sizes)]
    heights = np.cumsum([*sizes.values(), list(sizes.values())[-1]], axis=1).T
    for number, high in enumerate(heights):
        low = heights[number - 1] if number else np.zeros(len(steps))
        label = f"hidden layer {number}" if high[-1] > low[-1] else "a layer that left"
        ax.fill_between(steps, low, high, step="post", label=label, alpha=0.8)
    for change in changes(history):
        style = "--" if isinstance(change, Removal) else ":"
        ax.axvline(change.step, color="0.5", lw=0.6, ls=style)
    ax.set(xlabel="step", ylabel="hidden units", xlim=(0, max(history.steps, 1)), ylim=(0, None))
    if len(heights):
        ax.legend(loc="upper left", frameon=False)
    return ax


def decisions(history: History, *, policy: Policy | None = None, ax: Axes | None = None) -> Axes:
    """What every proposal would gain, as a share of what is left, and the threshold α.

    Filled marks were added, hollow ones refused; squares are layers. The score is at its cost
    and less its uncertainty. `policy`, by default `Policy()`, tells α; what gains nothing stands
    at the lower edge.
    """
    ax, policy = plt.gca() if ax is None else ax, policy or Policy()
    least = policy.alpha / 30
    for layer, accepted in product(MARKERS, (False, True)):
        sort = (layer, accepted)
        chosen = [c for c in history.considerations if (c.inserts, c.accepted) == sort]
        gains = [max(c.share, least) for c in chosen]
        name, marker = MARKERS[layer]
        edge, face = ("tab:green", "tab:green") if accepted else ("0.5", "none")
        label = f"{name} {'added' if accepted else 'refused'}"
        ax.scatter(
            [c.step for c in chosen], gains, s=22, marker=marker, facecolors=face,
            edgecolors=edge, label=label,
        )  # fmt: skip
    ax.axhline(policy.alpha, color="black", ls="--", lw=1, label=f"α = {policy.alpha:g}")
    ax.set(xlabel="step", ylabel="gain, of what is left", yscale="log", ylim=(least / 1.5, None))
    ax.legend(frameon=False, fontsize="small")
    return ax


def decision_boundary(
    estimator: Any, X: Any, y: Any = None, *, ax: Axes | None = None, **settings: Any
) -> Axes:
    """What an estimator says over the plane of its two features, and the rows X [N, 2] on it.

    Args:
        estimator: fitted on two features.
        X: [N, 2]; its extent is what is shown.
        y: labels or numbers [N] that colour the rows; None leaves them out.
        ax: where to draw.
        settings: passed on to `sklearn.inspection.DecisionBoundaryDisplay.from_estimator`.
    """
    ax = plt.gca() if ax is None else ax
    settings = {"alpha": 0.6, "response_method": "predict", "grid_resolution": 200} | settings
    DecisionBoundaryDisplay.from_estimator(estimator, X, ax=ax, **settings)
    if y is not None:
        x = np.asarray(X)
        _, codes = np.unique(np.asarray(y), return_inverse=True)
        ax.scatter(x[:, 0], x[:, 1], c=codes, s=12, edgecolors="white", linewidths=0.4)
    return ax


def score_landscape(
    network: AbstractTapped,
    data: Any,
    *,
    layer: int = 0,
    loss: str | AbstractLoss = "squared_error",
    metric: str | AbstractMetric = "fisher",
    damping: float = Policy.damping,
    locations: Any = None,
    scales: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Δη′/η_c of the best new unit at every location and length scale, as in the paper's figure 2.

    A unit of one input bends at its location, over its length scale; its θ is the best one.

    Args:
        network: with one input.
        data: (x [N, 1], y) or (x, y, weight).
        layer: the hidden layer that would get the unit; it must read the input.
        loss, metric: as in `fit`, and as in `Policy`.
        damping: relative damping of the Kronecker factors.
        locations, scales: of the units; by default the range of x, and that down to 1/100 of it.
        ax: where to draw.
    """
    if network.in_size != 1:
        raise ValueError(
            f"score_landscape shows units of one input; the network has {network.in_size}."
        )
    if not _reads_the_input_alone(network, layer):
        raise ValueError(f"layer={layer!r} is no hidden layer that reads the input alone.")
    ax, batch, loss = plt.gca() if ax is None else ax, Batch.of(*data), make_loss(loss)
    low, high = float(batch.x.min()), float(batch.x.max())
    locations = np.linspace(low, high, 120) if locations is None else np.asarray(locations)
    scales = (high - low) * np.geomspace(0.01, 1, 60) if scales is None else np.asarray(scales)
    source, reader = _moments(network, loss, make_metric(metric, loss), batch, layer)
    a, g, S = reader.dense
    fit = residual(a, g, S, damping)
    sample = Sample(source.dense[0], fit(a, g), source.root_weight)
    at, scale = (g.ravel() for g in np.meshgrid(locations, scales))
    w = jnp.asarray(np.stack([1 / scale, -at / scale], axis=1), sample.a.dtype)
    scores = _best_scores(network.graph.hidden[layer].activation, sample, w) / fit.score
    mesh = ax.pcolormesh(
        locations, scales, np.asarray(scores).reshape(len(scales), len(locations)), shading="auto"
    )
    ax.figure.colorbar(mesh, ax=ax, label=r"$\Delta\eta'/\eta_c$")
    ax.set(xlabel="location", ylabel="length scale", yscale="log")
    return ax


def _reads_the_input_alone(network: AbstractTapped, layer: int) -> bool:
    graph = network.graph
    if not 0 <= layer < len(graph.hidden):
        return False
    return all(graph.maps[m].reads == graph.inputs for m in graph.writers(graph.hidden[layer]))


def _moments(
    network: AbstractTapped, loss: AbstractLoss, metric: AbstractMetric, batch: Batch, layer: int
):
    """The moments of the map that makes a layer, and of the nearest that reads it: of it alone."""
    maps = eqx.filter_jit(moments)(network, loss, metric, batch, jax.random.key(0)).maps
    return maps[layer], maps[network.readers(layer)[0]]


@eqx.filter_jit
def _best_scores(
    activation: Activation, sample: Sample, w: Float[Array, "P 2"]
) -> Float[Array, " P"]:
    return Fit.of(activation, sample, w, ridge=0.0).score


def architecture(
    network: AbstractTapped, history: History | None = None, *, ax: Axes | None = None
) -> Axes:
    """The network's units and strongest connections; lines are dashed where weights are negative.

    With the `history` of its run, units have the colour of the step at which they came; grey
    ones were there from the start.
    """
    ax = plt.gca() if ax is None else ax
    sizes, places = (n_inputs(network), *network.hidden_sizes, network.out_size), _places(network)
    _draw_connections(ax, network, places)
    for place in places.values():
        ax.scatter(*place.T, s=30, color=AT_START, edgecolors="white", lw=0.5, zorder=2)
    for column, size in enumerate(sizes):
        ax.annotate(str(size), (column, 0.57), ha="center")
    hidden = network.graph.hidden
    if history is not None:
        _colour_units(ax, lineage_of(network, history), [places[space] for space in hidden])
    names = ["inputs", *(space.name.removesuffix(" layer") for space in hidden), "outputs"]
    ax.set(xticks=range(len(sizes)), xticklabels=names, yticks=[], ylim=(-0.55, 0.65))
    ax.set_frame_on(False)
    return ax


def _column(column: int, n: int) -> np.ndarray:
    """Places [n, 2] of one layer's units."""
    heights = np.zeros(1) if n == 1 else np.linspace(0.5, -0.5, n)
    return np.stack([np.full(n, float(column)), heights], axis=1)


def _places(network: AbstractTapped) -> dict[Space, np.ndarray]:
    """Places [n, 2] of the units of every space: all inputs, each hidden space, the outputs."""
    graph = network.graph
    ends = np.cumsum([units(network, space) for space in graph.inputs])[:-1]
    parts = np.split(_column(0, n_inputs(network)), ends)
    places = dict(zip(graph.inputs, parts, strict=False))  # none if no map reads inputs alone
    for column, space in enumerate((*graph.hidden, graph.outputs), 1):
        places[space] = _column(column, units(network, space))
    return places


def _draw_connections(
    ax: Axes, network: AbstractTapped, places: Mapping[Space, np.ndarray]
) -> None:
    lines, weights = [], []
    for source, target, block in connections(network):
        ends = np.broadcast_arrays(places[source][:, None], places[target][None])
        lines.append(np.stack(ends, axis=2).reshape(-1, 2, 2))
        weights.append(block.ravel() / (np.abs(block).max(initial=0.0) or 1.0))
    segments, weight = np.concatenate(lines), np.concatenate(weights)
    order = np.argsort(-np.abs(weight), kind="stable")[:MOST_CONNECTIONS]
    order = order[np.abs(weight[order]) > LEAST_CONNECTION]
    styles = np.where(weight[order] > 0, "solid", "dashed").tolist()
    strength = 0.6 * np.abs(weight[order])
    ax.add_collection(
        LineCollection(list(segments[order]), colors="0.3", alpha=strength, linestyles=styles,
                       linewidths=0.8, zorder=1)
    )  # fmt: skip


def _colour_units(ax: Axes, grown: Lineage, places: list[np.ndarray]) -> None:
    added = [
        (place, grown.additions[n].step)
        for layer, column in zip(grown.layers, places, strict=True)
        for n, place in zip(layer, column, strict=True)
        if n >= 0
    ]
    if added:
        where, steps = np.array([p for p, _ in added]), [s for _, s in added]
        dots = ax.scatter(
            *where.T, s=30, c=steps, edgecolors="white", lw=0.5, zorder=3, norm=Normalize(0)
        )
        ax.figure.colorbar(dots, ax=ax, label="step at which a unit came", shrink=0.7)
