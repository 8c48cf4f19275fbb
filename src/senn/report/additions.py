"""Why each addition was made, and what it brought."""

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from senn.history import Addition
from senn.report.axis import short
from senn.report.changes import table, when_and_what
from senn.report.colour import birth_colour
from senn.report.markup import section, tag, tip
from senn.report.story import Story

COLUMNS = ("", "step", "time", "what", "units after", "Δη′", "loss before",
           "before the next", "why")  # fmt: skip
EXPLANATION = (
    "An addition leaves the outputs as they are, so it changes no loss by itself: what it brought "
    "shows in the training until the next one. Both losses are of the rows on which the additions "
    "were judged, drawn anew each time; the last row ends with the training loss of the last "
    "evaluation. Δη′ is the gain of the natural expansion score on held-out rows."
)


def additions(story: Story) -> Element:
    """The section of the additions: a table."""
    made = story.run.history.additions
    if not made:
        nothing = tag("p", "Nothing was added in this run.", class_="absent")
        return section("What was added, and why", EXPLANATION, nothing, id_="additions")
    falls = list(zip(made, _losses_after(story, made), strict=True))
    most = max((_fall(a, after) for a, after in falls), default=0.0)
    rows = [_row(story, n, a, after, most) for n, (a, after) in enumerate(falls, start=1)]
    shown = table(COLUMNS, rows)
    return section("What was added, and why", EXPLANATION, shown, id_="additions")


def _losses_after(story: Story, made: Sequence[Addition]) -> list[float | None]:
    """The loss just before the next addition; for the last one the training loss at the end."""
    end = [
        e.loss
        for e in story.run.history.evaluations
        if e.step > made[-1].step and math.isfinite(e.loss)
    ]
    return [*(a.loss_before for a in made[1:]), end[-1] if end else None]


def _row(story: Story, number: int, a: Addition, after: float | None, most: float) -> Element:
    swatch = tag("i", class_="swatch", style=f"background:{birth_colour(a, story.grown_until)}")
    cells = [
        tag("td", swatch, f" {number}", class_="number"),
        *when_and_what(a),
        tag("td", f"{a.score:.3g} ± {a.stderr:.1g}", class_="number"),
        tag("td", short(a.loss_before), class_="number"),
        tag("td", "" if after is None else short(after), _bar(a, after, most), class_="number"),
        tag("td", a.reason, class_="reason"),
    ]
    return tag("tr", *cells)


def _fall(a: Addition, after: float | None) -> float:
    """The share of the loss that went until the next addition."""
    return 0.0 if after is None or not a.loss_before > 0 else max(1 - after / a.loss_before, 0.0)


def _bar(a: Addition, after: float | None, most: float) -> Element | None:
    fall = _fall(a, after)
    if not fall > 0:
        return None
    said = tip(f"the loss fell by {fall:.1%} until the next addition")
    return tag("svg", said, tag("rect", width=60 * fall / most, height=4, rx=2, class_="fall"),
               viewBox="0 0 60 4", class_="bar")  # fmt: skip
