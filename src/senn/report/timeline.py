"""Size, loss, score and decisions over one axis of time."""

import math
from collections.abc import Sequence
from itertools import pairwise
from xml.etree.ElementTree import Element

from senn.history import Consideration, Evaluation
from senn.lineage import sizes_over_time
from senn.report.axis import Axis, axis_for, bottom, grid, percent, short
from senn.report.colour import birth_colour
from senn.report.markup import Child, embedded, figure, section, svg, tag, tip
from senn.report.story import Story
from senn.words import counted, duration

WIDTH, LEFT, RIGHT = 1000.0, 64.0, 984.0
TOP, GAP = 44.0, 46.0
UNITS, LOSS, SCORE, DECISIONS = 130.0, 150.0, 110.0, 170.0  # heights of the panels
LEAST_SPACE = 60.0  # between two times
EXPLANATION = (
    "Every coloured line is an addition, in the colour of its units in all figures below, every "
    "dashed one a removal. In the last panel every decision: filled marks were added, hollow ones "
    "refused. Steps are spread by their square root, because most happens early."
)


def timeline(story: Story) -> Element:
    """The section of the growth timeline."""
    x = time_axis(story)
    panels: list[Element] = []
    at = TOP
    for draw, height in _panels(story):
        panels.append(tag("g", *draw(story, x, at, at + height)))
        at += height + GAP
    end = at - GAP
    # above the curves, where they can be pointed at, and below the decisions
    over = len(panels) - bool(story.run.history.considerations)
    panels[over:over] = addition_lines(story, x, TOP, end)
    drawing = svg(
        WIDTH, end + 42,
        *_seconds(story, x),
        *panels,
        *bottom(x, end, "step"),
        tag("line", y1=TOP, y2=end, class_="cursor"),
        label="Size, loss, score and decisions over the steps of training",
        class_="timeline",
    )  # fmt: skip
    data = tag("script", type="application/json", class_="moments")
    data.text = embedded(_moments(story, x))
    return section("How it grew", EXPLANATION, figure(drawing), data, id_="timeline")


def time_axis(story: Story) -> Axis:
    """Steps, from left to right, the early ones further apart."""
    return Axis(0, max(story.run.history.steps, 1), LEFT, RIGHT, power=0.5)


def addition_lines(story: Story, x: Axis, top: float, end: float) -> list[Element]:
    """A line for each addition, and a dashed one for each removal, which tell of them."""
    lines = []
    for number, a in enumerate(story.run.history.additions, start=1):
        colour = birth_colour(a, story.grown_until)
        said = tip(
            f"addition {number}, step {a.step:,}, {duration(a.seconds)}\n"
            f"{counted(a.units, 'unit')}, {a.place}\n{a.reason}"
        )
        at = x(a.step)
        line = {"x1": at, "x2": at, "y1": top, "y2": end}
        lines.append(
            tag(
                "g",
                said,
                tag("line", **line, class_="addition", stroke=colour),
                tag("line", **line, class_="target"),
            )
        )
    for number, r in enumerate(story.run.history.removals, start=1):
        said = tip(
            f"removal {number}, step {r.step:,}, {duration(r.seconds)}\n"
            f"{r.what}, {r.place}\n{r.reason}"
        )
        line = {"x1": x(r.step), "x2": x(r.step), "y1": top, "y2": end}
        seen = tag("line", **line, class_="removal")
        lines.append(tag("g", said, seen, tag("line", **line, class_="target")))
    return lines


def _panels(story: Story):
    evaluations = story.run.history.evaluations
    yield _sizes, UNITS
    yield _losses, LOSS
    if any(e.validation_score is not None for e in evaluations):
        yield _scores, SCORE
    if story.run.history.considerations:
        yield _decisions, DECISIONS


def _sizes(story: Story, x: Axis, top: float, end: float) -> list[Child]:
    """Units, the layers one above another."""
    history = story.run.history
    sizes = sizes_over_time(history, story.network.hidden_sizes)
    moments = [*sizes, max(history.steps, *sizes)]
    known = [*sizes.values(), list(sizes.values())[-1]]
    counts = [list(count) for count in zip(*known, strict=True)]
    y = Axis(0, 1.08 * max(*map(sum, known), 1), end, top)
    below, areas = [0] * len(moments), []
    for number, count in enumerate(counts):
        above = [b + c for b, c in zip(below, count, strict=True)]
        in_the_end = f"hidden layer {number}: {counted(count[-1], 'unit')} in the end"
        there = tip(in_the_end if count[-1] else "a layer that left")
        areas.append(
            tag(
                "path",
                there,
                d=_area(x, y, moments, below, above),
                class_=f"layer layer{number % 6}",
            )
        )
        below = above
    return [*heading("hidden units, by layer", top), *grid(x, y), *areas]


def _area(x: Axis, y: Axis, moments: Sequence[int], below: Sequence, above: Sequence) -> str:
    """A stepped band: each value holds until the next moment."""
    spans = list(pairwise(moments)) or [(moments[0], moments[0])]
    there = [(x(s), y(n)) for span, n in zip(spans, above, strict=False) for s in span]
    back = [(x(s), y(n)) for span, n in zip(spans, below, strict=False) for s in span]
    return f"M{_points([*there, *reversed(back)])}Z"


def _losses(story: Story, x: Axis, top: float, end: float) -> list[Child]:
    evaluations = story.run.history.evaluations
    lines = {
        "training": [(e.step, e.loss) for e in evaluations],
        "validation": [(e.step, e.validation_loss) for e in evaluations],
    }
    return _curves("loss", lines, x, top, end)


def _scores(story: Story, x: Axis, top: float, end: float) -> list[Child]:
    scores = [(e.step, e.validation_score) for e in story.run.history.evaluations]
    return _curves(f"validation {story.score_word}", {"validation": scores}, x, top, end)


def _curves(name: str, lines: dict, x: Axis, top: float, end: float) -> list[Child]:
    """Lines with a legend, if there are several."""
    finite = {k: [(s, v) for s, v in line if _finite(v)] for k, line in lines.items()}
    finite = {k: line for k, line in finite.items() if line}
    y = axis_for([v for line in finite.values() for _, v in line], end, top)
    legend = tuple(finite) if len(finite) > 1 else ()
    paths = [
        tag("path", d="M" + _points((x(s), y(v)) for s, v in line), class_=f"curve {k}")
        for k, line in finite.items()
    ]
    dots = [
        tag("circle", cx=x(s), cy=y(v), r=2, class_=f"dot {k}")
        for k, line in finite.items()
        for s, v in line
    ]
    return [*heading(name, top, legend), *grid(x, y), *paths, *dots]


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _decisions(story: Story, x: Axis, top: float, end: float) -> list[Child]:
    """The share of what is left that each proposal would gain, and the threshold α."""
    alpha, considerations = story.alpha, story.run.history.considerations
    shares = [c.share for c in considerations]
    y = Axis(alpha / 30, 1.5 * max(*shares, 3 * alpha), end, top, log=True)
    threshold = tag("line", x1=x.start, x2=x.end, y1=y(alpha), y2=y(alpha), class_="threshold")
    name = tag("text", f"α {percent(alpha)}", x=x.end, y=y(alpha) - 5, class_="tick right")
    marks = [decision_mark(c, x(c.step), y(s)) for c, s in
             zip(considerations, shares, strict=True)]  # fmt: skip
    what = "gain of a unit, as a share of what is left to gain"
    return [*heading(what, top, ("unit", "layer")), *grid(x, y, percent), threshold, name, *marks]


def decision_mark(c: Consideration, at: float, y: float, size: float = 4) -> Element:
    """A dot for units or a square for a layer, filled if it was added; it tells why."""
    verdict = "added" if c.accepted else "refused"
    said = tip(
        f"step {c.step:,}, {c.place}: {verdict}\n{c.reason}\n"
        f"Δη′ {c.score:.3g} ± {c.stderr:.2g} on held-out rows, {c.fit_score:.3g} where it was "
        f"fitted\n{percent(c.share)} of what is left, at its cost, less the "
        "uncertainty"
    )
    class_ = f"decision {verdict}"
    if c.inserts:
        return tag("rect", said, x=at - size, y=y - size, width=2 * size, height=2 * size,
                   class_=class_)  # fmt: skip
    return tag("circle", said, cx=at, cy=y, r=size, class_=class_)


def heading(name: str, top: float, legend: Sequence[str] = ()) -> list[Element]:
    """A panel's name, and what its marks mean."""
    parts = [tag("text", name, x=LEFT, y=top - 10, class_="panel")]
    at = RIGHT
    for label in reversed(legend):
        at -= 7.0 * len(label) + 22
        parts.append(_key(label, at, top - 14))
        parts.append(tag("text", label, x=at + 14, y=top - 10, class_="tick"))
    return parts


def _key(label: str, x: float, y: float) -> Element:
    if label == "layer":
        return tag("rect", x=x, y=y - 4, width=8, height=8, class_="decision refused")
    kind = "decision refused" if label == "unit" else f"dot {label}"
    return tag("circle", cx=x + 4, cy=y, r=4, class_=kind)


def _seconds(story: Story, x: Axis) -> list[Element]:
    """The time at steps that are far enough apart."""
    steps, seconds = story.clock
    marks, free = [], LEFT
    for step, second in zip(steps.tolist(), seconds.tolist(), strict=True):
        if step and x(step) >= free:
            said = duration(second)
            marks.append(tag("text", said, x=x(step), y=TOP - 26, class_="tick middle"))
            free = x(step) + LEAST_SPACE
    return [tag("text", "time", x=LEFT - 8, y=TOP - 26, class_="tick right"), *marks]


def _points(points) -> str:
    return "L".join(f"{a:.1f},{b:.1f}" for a, b in points)


def _moments(story: Story, x: Axis) -> list[list]:
    """Place and words of every evaluation, for the cursor."""
    return [
        [round(x(e.step), 1), _words(e, story.score_word)] for e in story.run.history.evaluations
    ]


def _words(e: Evaluation, score: str) -> str:
    lines = [f"step {e.step:,}, epoch {e.epoch:.3g}, {duration(e.seconds)}"]
    if math.isfinite(e.loss):
        lines.append(f"training loss {short(e.loss)}")
    if e.validation_loss is not None:
        lines.append(f"validation loss {short(e.validation_loss)}")
    if e.validation_score is not None:
        lines.append(f"validation {score} {e.validation_score:.4f}")
    sizes = ", ".join(map(str, e.hidden_sizes)) or "none"
    return "\n".join([*lines, f"hidden units {sizes}; {e.n_parameters:,} parameters"])
