"""Tables of what changed a network: a row for each change."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from senn.history import Addition, Removal
from senn.report.markup import tag
from senn.words import duration


def table(columns: Sequence[str], rows: Sequence[Element]) -> Element:
    """A table that scrolls where it is too wide."""
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in columns)))
    return tag(
        "div", tag("table", head, tag("tbody", *rows), class_="additions"), class_="scroll table"
    )


def when_and_what(change: Addition | Removal) -> list[Element]:
    """The cells of step and time, of the units and their place, and of the sizes after it."""
    return [
        tag("td", f"{change.step:,}", class_="number"),
        tag("td", duration(change.seconds), class_="number"),
        tag("td", f"{change.what}, {change.place}", class_="what"),
        tag(
            "td",
            ", ".join(map(str, change.hidden_sizes)),
            title=f"{change.n_parameters:,} parameters",
        ),
    ]
