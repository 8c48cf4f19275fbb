"""What the units that read an image look for: their incoming weights as pictures."""

from xml.etree.ElementTree import Element

import jax.numpy as jnp
import numpy as np

from senn.nn.connections import connections
from senn.report.architecture import about, theta_of
from senn.report.colour import birth_colour
from senn.report.markup import section, svg, tag
from senn.report.png import data_uri
from senn.report.story import Story

ORANGE, BLUE = (224, 104, 20), (40, 110, 214)  # positive, negative
CURVE = np.linspace(-5, 5, 61)
EXPLANATION = (
    "The incoming weights of each unit that reads the image, orange where bright pixels raise it "
    "and blue where they lower it, on a scale of its own, in the order in which the units came. "
    "Below each is its activation σ(z) for z from −5 to 5."
)


def pictures(story: Story) -> Element | None:
    """The section of the incoming weights, if the inputs are images and there are units."""
    shape, cards = story.image_shape, []
    if shape is None:
        return None
    graph = story.network.graph
    for source, target, weight in connections(story.network):
        if graph.inputs == (source,) and target in graph.hidden:
            layer = graph.hidden.index(target)
            cards += [
                (story.lineage.layers[layer][u], layer, u, weight[:, u].reshape(shape))
                for u in range(weight.shape[1])
            ]
    if not cards:
        return None
    cards.sort(key=lambda card: card[:3])
    drawn = (_card(story, layer, unit, weight) for _, layer, unit, weight in cards)
    return section(
        "What its units look for", EXPLANATION, tag("div", *drawn, class_="gallery"), id_="units"
    )


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
