"""Elements of HTML and SVG; whatever text they hold is escaped when they are written."""

from typing import Any
from xml.etree.ElementTree import Element, tostring

from senn.runs import strict_json

Child = Element | str | None


def tag(name: str, *children: Child, **attributes: Any) -> Element:
    """An element. `class_="x"` is the attribute class, `stroke_width=1` is stroke-width.

    Attributes that are None, and children that are, are left out.
    """
    element = Element(name)
    for key, value in attributes.items():
        if value is not None:
            element.set(key.rstrip("_").replace("_", "-"), _written(value))
    for child in children:
        add(element, child)
    return element


def add(parent: Element, child: Child) -> None:
    """Append an element or text to `parent`."""
    if isinstance(child, Element):
        parent.append(child)
    elif child is not None and len(parent):
        parent[-1].tail = (parent[-1].tail or "") + child
    elif child is not None:
        parent.text = (parent.text or "") + child


def tip(text: str) -> Element:
    """What hovering over the parent says."""
    return tag("title", text)


def section(heading: str, explanation: str, *children: Child, id_: str) -> Element:
    """One card of the page."""
    return tag(
        "section",
        tag("h2", heading),
        tag("p", explanation, class_="explanation"),
        *children,
        id=id_,
        class_="card",
    )


def figure(svg: Element, caption: str | None = None) -> Element:
    """A drawing that scrolls sideways where the screen is narrow."""
    below = None if caption is None else tag("figcaption", caption)
    return tag("figure", tag("div", svg, class_="scroll"), below)


def svg(width: float, height: float, *children: Child, label: str, **attributes: Any) -> Element:
    """A drawing with its own coordinates, scaled to the width of the page."""
    return tag(
        "svg",
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        style=f"aspect-ratio:{width:g}/{height:g}",
        role="img",
        aria_label=label,
        **attributes,
    )


def html(element: Element) -> str:
    """The element as text."""
    return tostring(element, encoding="unicode", method="html")


def embedded(value: Any) -> str:
    """JSON that may stand inside a script element, whatever text it holds."""
    text = strict_json(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
