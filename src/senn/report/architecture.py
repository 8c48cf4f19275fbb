"""The network as it was returned: units in the colour of the time at which they came."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from senn.nn.connections import beside_its_inputs, coefficients, connections, n_inputs
from senn.nn.spaces import Space, units
from senn.nn.tapped import AbstractTapped
from senn.report.axis import short
from senn.report.colour import birth_colour, colour
from senn.report.markup import figure, section, svg, tag, tip
from senn.report.story import Story
from senn.words import counted, duration

WIDTH, TOP, BOTTOM, LEFT, RIGHT = 1000.0, 60.0, 74.0, 120.0, 120.0
MOST_ROWS, MOST_NODES = 18, 20  # units one above another; inputs or outputs drawn one by one
SPACING, RADIUS = 24.0, 8.0
MOST_EDGES, LEAST_EDGE = 500, 0.08  # strongest connections, and the share of the strongest
EXPLANATION = (
    "Each dot is a unit, in the colour of the time at which it came; grey ones were there from "
    "the start. Lines are the strongest connections: solid for positive weights, dashed for "
    "negative ones. Point at a unit to see its own."
)


class Node(NamedTuple):
    """One dot, or a block that stands for all inputs or outputs."""

    name: str
    x: float
    y: float


class Edge(NamedTuple):
    """A connection of two nodes, by their names."""

    source: str
    target: str
    weight: float


def architecture(story: Story) -> Element:
    """The section of the drawing of the network."""
    height = TOP + BOTTOM + SPACING * max(_rows(story), 4)
    columns = _columns(story, height)
    nodes = {node.name: node for column in columns for node in column}
    edges = [_edge(e, nodes) for e in strongest(_edges(story))]
    middle = (height - BOTTOM + TOP) / 2
    drawing = svg(
        WIDTH, height,
        tag("g", *edges),
        tag("g", *_inputs(story, columns[0], middle)),
        *(tag("g", *_layer(story, n, column)) for n, column in enumerate(columns[1:-1])),
        tag("g", *_outputs(story, columns[-1], middle)),
        *_legend(story, height - 26),
        label="The network's layers and their strongest connections", class_="architecture",
    )  # fmt: skip
    return section("What it became", EXPLANATION, figure(drawing), id_="architecture")


def strongest(edges: Sequence[Edge]) -> list[Edge]:
    """The edges worth drawing, the strongest last."""
    most = max((abs(e.weight) for e in edges), default=0.0)
    kept = [e for e in edges if abs(e.weight) > LEAST_EDGE * most]
    return sorted(kept, key=lambda e: abs(e.weight))[-MOST_EDGES:]


def _rows(story: Story) -> int:
    ends = (n_inputs(story.network), story.network.out_size)
    units = (min(n, MOST_ROWS) for n in story.network.hidden_sizes)
    return max([*units, *(n for n in ends if n <= MOST_NODES), 1])


def _columns(story: Story, height: float) -> list[list[Node]]:
    """The nodes of the inputs, of every hidden layer, and of the outputs."""
    network = story.network
    hidden = ((f"h{n}-", s) for n, s in enumerate(network.hidden_sizes))
    named = [("i", n_inputs(network)), *hidden, ("o", network.out_size)]
    middle = (height - BOTTOM + TOP) / 2
    x = np.linspace(LEFT, WIDTH - RIGHT, len(named))
    return [
        _column(prefix, n, float(at), middle, block=k in (0, len(named) - 1) and n > MOST_NODES)
        for k, ((prefix, n), at) in enumerate(zip(named, x, strict=True))
    ]


def _column(prefix: str, n: int, x: float, middle: float, *, block: bool) -> list[Node]:
    """Nodes one above another, in several ranks if there are many; one node for a block."""
    if block:
        return [Node(f"{prefix}0", x, middle)]
    limit = MOST_ROWS if prefix.startswith("h") else MOST_NODES
    ranks = max(-(-n // limit), 1)  # no map reads the inputs alone: no nodes
    rows = -(-n // ranks)
    return [
        Node(
            f"{prefix}{k}",
            x + SPACING * (k // rows - (ranks - 1) / 2),
            middle + SPACING * (k % rows - (rows - 1) / 2),
        )
        for k in range(n)
    ]


def _edges(story: Story) -> list[Edge]:
    """All connections; those with a block have the length of the unit's weights as theirs."""
    names = _names(story.network)
    return [
        edge
        for source, target, weight in connections(story.network)
        for edge in _block_edges(names[source], names[target], weight)
    ]


def _names(network: AbstractTapped) -> dict[Space, list[str]]:
    """The node of every unit; one alone where a block stands for all inputs, or all outputs."""
    graph, names, before = network.graph, {}, 0
    few = n_inputs(network) <= MOST_NODES
    for space in graph.inputs:
        numbers = range(before, before := before + units(network, space))
        names[space] = [f"i{n}" for n in numbers] if few else ["i0"]
    for layer, space in enumerate(graph.hidden):
        names[space] = [f"h{layer}-{n}" for n in range(units(network, space))]
    many = network.out_size > MOST_NODES
    names[graph.outputs] = ["o0"] if many else [f"o{n}" for n in range(network.out_size)]
    return names


def _block_edges(sources: list[str], targets: list[str], weight: np.ndarray) -> list[Edge]:
    if len(sources) < len(weight):
        weight = np.linalg.norm(weight, axis=0, keepdims=True)
    if len(targets) < weight.shape[1]:
        weight = np.linalg.norm(weight, axis=1, keepdims=True)
    scaled = weight / (np.abs(weight).max(initial=0.0) or 1.0)  # blocks are of different scales
    return [Edge(sources[i], targets[o], float(w)) for (i, o), w in np.ndenumerate(scaled)]


def _edge(edge: Edge, nodes: dict[str, Node]) -> Element:
    a, b = nodes[edge.source], nodes[edge.target]
    reach = 0.45 * (b.x - a.x)
    return tag(
        "path",
        d=f"M{a.x:.1f},{a.y:.1f}C{a.x + reach:.1f},{a.y:.1f} {b.x - reach:.1f},{b.y:.1f} "
        f"{b.x:.1f},{b.y:.1f}",
        class_="edge plus" if edge.weight > 0 else "edge minus",
        stroke_opacity=0.05 + 0.55 * abs(edge.weight) ** 1.5,
        data_a=edge.source,
        data_b=edge.target,
    )


def _layer(story: Story, layer: int, nodes: list[Node]) -> list[Element]:
    x = sum(n.x for n in nodes) / len(nodes)
    space = story.network.graph.hidden[layer]
    beside = "beside its inputs" if beside_its_inputs(story.network, space) else None
    words = [
        tag("text", space.name, x=x, y=16, class_="panel middle"),
        tag("text", counted(len(nodes), "unit"), x=x, y=31, class_="tick middle"),
        beside and tag("text", beside, x=x, y=45, class_="tick middle"),
    ]
    return [
        *(w for w in words if w is not None),
        *(_unit(story, layer, k, node) for k, node in enumerate(nodes)),
    ]


def _unit(story: Story, layer: int, unit: int, node: Node) -> Element:
    born = story.lineage.addition(layer, unit)
    return tag(
        "circle",
        tip(about(story, layer, unit)),
        cx=node.x, cy=node.y, r=RADIUS, fill=birth_colour(born, story.grown_until),
        class_="node unit", data_node=node.name,
    )  # fmt: skip


def about(story: Story, layer: int, unit: int) -> str:
    """Where a unit is, when and why it came, and its activation."""
    born = story.lineage.addition(layer, unit)
    name = story.network.graph.hidden[layer].name
    lines = [f"{name}, unit {unit}", _when(story, layer, unit)]
    if born is not None:
        lines.append(born.reason)
    return "\n".join([*lines, activation(story, layer, unit)])


def _when(story: Story, layer: int, unit: int) -> str:
    born = story.lineage.addition(layer, unit)
    if born is None:
        return "there from the start"
    number = story.lineage.layers[layer][unit] + 1
    others = f", one of {born.units}" if born.units > 1 else ""
    return (
        f"came at step {born.step:,}, after {duration(born.seconds)}, to {born.place}, "
        f"with addition {number}{others}"
    )


def theta_of(story: Story, layer: int, unit: int) -> np.ndarray | None:
    """θ [F] of a unit; None for activations without."""
    theta = coefficients(story.network, story.network.graph.hidden[layer])
    return None if theta is None else theta[:, unit]


def activation(story: Story, layer: int, unit: int) -> str:
    """A unit's activation as a formula, or its name."""
    sigma = story.network.graph.hidden[layer].activation
    return sigma.formula(theta_of(story, layer, unit)) or f"activation {sigma.name}"


def _inputs(story: Story, nodes: list[Node], middle: float) -> list[Element]:
    if not nodes:
        return []
    shape = story.image_shape
    size = f"{shape[0]} × {shape[1]} pixels" if shape else f"{n_inputs(story.network):,}"
    if story.has_channels:
        size = f"images of {size}"
    return _end("inputs", size, story.features, nodes, middle, "right")


def _outputs(story: Story, nodes: list[Node], middle: float) -> list[Element]:
    return _end("outputs", f"{len(story.outputs):,}", story.outputs, nodes, middle, "left")


def _end(
    name: str, size: str, labels: Sequence[str], nodes: list[Node], middle: float, side: str
) -> list[Element]:
    """Inputs or outputs: dots with their names, or a block with their number."""
    x = nodes[0].x
    parts = [
        tag("text", name, x=x, y=16, class_="panel middle"),
        tag("text", size, x=x, y=31, class_="tick middle"),
    ]
    if len(nodes) != len(labels):
        block = tag("rect", tip(f"{size} {name}"), x=x - 20, y=middle - 60, width=40, height=120,
                    rx=6, class_="node end", data_node=nodes[0].name)  # fmt: skip
        return [*parts, block]
    shift = -14 if side == "right" else 14
    for label, node in zip(labels, nodes, strict=True):
        parts.append(
            tag(
                "circle",
                tip(label),
                cx=node.x,
                cy=node.y,
                r=RADIUS - 2,
                class_="node end",
                data_node=node.name,
            )
        )
        shown = label if len(label) <= 14 else f"{label[:13]}…"
        parts.append(tag("text", shown, x=node.x + shift, y=node.y + 4, class_=f"tick {side}"))
    return parts


def _legend(story: Story, y: float) -> list[Element]:
    """The colours of time."""
    x, width = WIDTH / 2 - 130, 260
    stops = [tag("stop", offset=n / 8, stop_color=colour(n / 8)) for n in range(9)]
    return [
        tag("defs", tag("linearGradient", *stops, id="time")),
        tag("circle", cx=x - 96, cy=y + 5, r=RADIUS - 2, fill="var(--start)"),
        tag("text", "at the start", x=x - 84, y=y + 9, class_="tick"),
        tag("rect", x=x, y=y, width=width, height=10, rx=5, fill="url(#time)"),
        tag("text", "step 0", x=x, y=y + 24, class_="tick"),
        tag("text", f"step {short(story.grown_until)}, the last addition", x=x + width, y=y + 24,
            class_="tick right"),
    ]  # fmt: skip
