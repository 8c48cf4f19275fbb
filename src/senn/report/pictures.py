"""What the units that read an image look for: their incoming weights as pictures."""

from xml.etree.ElementTree import Element

import jax.numpy as jnp
import numpy as np

from senn.nn.connections import connections, in_use
from senn.nn.spaces import Space, leaf_at
from senn.nn.tapped import AbstractTapped
from senn.report.architecture import about, theta_of
from senn.report.colour import birth_colour
from senn.report.markup import section, svg, tag
from senn.report.png import data_uri
from senn.report.story import Story

ORANGE, BLUE = (224, 104, 20), (40, 110, 214)  # positive, negative
CURVE = np.linspace(-5, 5, 61)
EXPLANATION = (
    "The incoming weights of each unit that reads the image (of a convolution its kernel, the "
    "channels beside one another), orange where bright pixels raise it and blue where they lower "
    "it, on a scale of its own, in the order in which the units came. Below each is its activation "
    "σ(z) for z from −5 to 5."
)


def pictures(story: Story) -> Element | None:
    """The section of the incoming weights, if the inputs are images and there are units."""
    read = _filters(story.network) if story.has_channels else _weights(story)
    graph = story.network.graph
    cards = [
        (story.lineage.layers[layer][u], layer, u, picture)
        for target, pictures in read
        for layer in [graph.hidden.index(target)]
        for u, picture in enumerate(pictures)
    ]
    if not cards:
        return None
    cards.sort(key=lambda card: card[:3])
    drawn = (_card(story, layer, unit, weight) for _, layer, unit, weight in cards)
    return section(
        "What its units look for", EXPLANATION, tag("div", *drawn, class_="gallery"), id_="units"
    )


def _weights(story: Story) -> list[tuple[Space, list[np.ndarray]]]:
    """Of every space that reads the pixels, the incoming weights of its units."""
    shape, graph = story.image_shape, story.network.graph
    return [
        (target, [column.reshape(shape) for column in weight.T])
        for source, target, weight in connections(story.network)
        if shape is not None and graph.inputs == (source,) and target in graph.hidden
    ]


def _filters(network: AbstractTapped) -> list[tuple[Space, list[np.ndarray]]]:
    """Of every stage that reads the images, the kernels; those of channels beside one another."""
    graph, found = network.graph, []
    for m, site in enumerate(graph.maps):
        target = graph.written_by(m)
        if site.reads[0] not in graph.inputs or target not in graph.hidden:
            continue
        kernel = np.asarray(leaf_at(network, site.weights[0]))[:, :, : network.in_size]
        kernel = kernel[..., in_use(network, target)]
        # [k, l, C, O] to O pictures [k, C × l]
        found.append((target, [k.transpose(0, 2, 1).reshape(len(k), -1)
                               for k in np.moveaxis(kernel, 3, 0)]))  # fmt: skip
    return found


def _card(story: Story, layer: int, unit: int, weight: np.ndarray) -> Element:
    said = about(story, layer, unit)
    born = story.lineage.addition(layer, unit)
    when = "start" if born is None else f"step {born.step:,}"
    return tag(
        "div",
        tag("img", src=data_uri(coloured(weight)), alt=f"weights of unit {unit} of layer {layer}"),
        _curve(story, layer, unit),
        tag("span", when),
        class_="unit",
        style=f"--born:{birth_colour(born, story.grown_until)}",
        title=said,
    )


def coloured(weight: np.ndarray) -> np.ndarray:
    """Pixels [H, W, 4]: the sign as colour, the size as opacity, so any ground shows through."""
    most = np.abs(weight).max(initial=0.0) or 1.0
    pixels = np.empty((*weight.shape, 4), np.uint8)
    pixels[..., :3] = np.where((weight > 0)[..., None], ORANGE, BLUE)
    pixels[..., 3] = np.round(255 * (np.abs(weight) / most) ** 0.8)
    return pixels


def _curve(story: Story, layer: int, unit: int) -> Element:
    theta = theta_of(story, layer, unit)
    shaped = None if theta is None else jnp.asarray(theta)[:, None]
    sigma = story.network.graph.hidden[layer].activation
    a = np.asarray(sigma.of(shaped)(jnp.asarray(CURVE)[:, None]))
    most = np.abs(a).max() or 1.0
    points = "L".join(
        f"{30 + 6 * z:.1f},{15 - 13 * v / most:.1f}" for z, v in zip(CURVE, a[:, 0], strict=True)
    )
    return svg(
        60, 30,
        tag("line", x1=0, x2=60, y1=15, y2=15, class_="grid"),
        tag("line", x1=30, x2=30, y1=0, y2=30, class_="grid"),
        tag("path", d=f"M{points}", class_="curve"),
        label="activation",
    )  # fmt: skip
