"""Scores per place: one lane for every place where units could go."""

import math
from xml.etree.ElementTree import Element

from senn.history import Consideration
from senn.report.axis import bottom
from senn.report.markup import figure, section, svg, tag
from senn.report.story import Story
from senn.report.timeline import WIDTH, addition_lines, decision_mark, time_axis

LANE, TOP = 46.0, 20.0
LEAST, PER_DECADE = 2.5, 2.5  # radius at α or below, and what ten times as much adds
EXPLANATION = (
    "The larger a mark, the larger the share of what is left that a unit there would gain, on a "
    "logarithmic scale; the smallest gain no more than α asks. Filled marks were added. Layers are "
    "counted as they were at that moment: one that is inserted moves those after it up."
)


def lanes(story: Story) -> Element | None:
    """The section of the scores per place, if anything was considered."""
    considerations = story.run.history.considerations
    if not considerations:
        return None
    places = sorted({_key(c) for c in considerations})
    x, end = time_axis(story), TOP + LANE * len(places)
    rows = [tag("g", *_lane(story, key, x, TOP + LANE * (n + 0.6))) for n, key in enumerate(places)]
    drawing = svg(
        WIDTH, end + 42,
        *addition_lines(story, x, TOP, end), *rows, *bottom(x, end, "step"),
        label="Scores of the best proposals, by place and step",
    )  # fmt: skip
    return section("Where it looked", EXPLANATION, figure(drawing), id_="locations")


def _key(c: Consideration) -> tuple[bool, int]:
    return c.inserts, c.position


def _lane(story: Story, key: tuple[bool, int], x, y: float) -> list[Element]:
    here = [c for c in story.run.history.considerations if _key(c) == key]
    # the large ones first, so that they hide none
    marks = [
        decision_mark(c, x(c.step), y, _radius(story, c))
        for c in sorted(here, key=lambda c: c.share, reverse=True)
    ]
    line = tag("line", x1=x.start, x2=x.end, y1=y, y2=y, class_="grid")
    return [line, *marks, tag("text", here[0].place, x=x.start, y=y - 15, class_="tick lane")]


def _radius(story: Story, c: Consideration) -> float:
    times = c.share / story.alpha
    return LEAST + PER_DECADE * math.log10(max(times, 1.0))
