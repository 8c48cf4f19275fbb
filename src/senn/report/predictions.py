"""How good the predictions of the test rows are: a confusion matrix, or residuals."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np

from senn.report.axis import Axis, bottom, grid, short
from senn.report.markup import figure, section, svg, tag, tip
from senn.report.story import Story
from senn.runs import Predictions
from senn.words import counted

MOST_CLASSES, MOST_PAIRS = 30, 20
MOST_POINTS, MOST_OUTPUTS, BINS = 1500, 4, 30
HEADING = "Where it is right, and where wrong"
ABSENT = (
    "This run was saved without the predictions of its test rows, as runs before this version "
    "were, and runs without any test rows. Train again with --out to have them."
)


def predictions(story: Story) -> Element:
    """The section of the confusion matrix or of the residuals."""
    test = story.run.test
    if test is None:
        return section(HEADING, "", tag("p", ABSENT, class_="absent"), id_="predictions")
    return _confusion(test) if test.are_classes else _residuals(test)


def _confusion(test: Predictions) -> Element:
    n = len(test.names)
    counts = np.zeros((n, n), int)
    np.add.at(counts, (test.targets, test.predicted), 1)
    rows = f"The {len(test.targets):,} test rows, which took no part in training. "
    if n > MOST_CLASSES:
        said = f"{rows}With {n} classes, the pairs that are confused most."
        return section(HEADING, said, _pairs(counts, test.names), id_="predictions")
    said = rows + "Each row of the table is a class, and shows what its examples were taken for."
    return section(HEADING, said, _matrix(counts, test.names), id_="predictions")


def _matrix(counts: np.ndarray, names: Sequence[str]) -> Element:
    totals, taken, right = (v.tolist() for v in (counts.sum(1), counts.sum(0), counts.diagonal()))
    head = tag("tr", tag("th", "class"), *(tag("th", n, scope="col") for n in names),
               tag("th", "recall", scope="col"))  # fmt: skip
    body = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            *(_cell(counts, names, t, p) for p in range(len(names))),
            _rate(right[t], totals[t]),
        )
        for t, name in enumerate(names)
    ]
    precision = [_rate(right[p], taken[p]) for p in range(len(names))]
    last = tag("tr", tag("th", "precision", scope="row"), *precision, tag("td", class_="rate"))
    table = tag("table", tag("thead", head), tag("tbody", *body, last), class_="confusion")
    return tag("div", table, class_="scroll")


def _cell(counts: np.ndarray, names: Sequence[str], target: int, predicted: int) -> Element:
    count, total = int(counts[target, predicted]), max(int(counts[target].sum()), 1)
    right = target == predicted
    # few mistakes must show, so their colour is the root of their share
    strength = count / total if right else min((count / total) ** 0.5 * 1.6, 1.0)
    what = "were recognised" if right else f"were taken for {names[predicted]!r}"
    return tag(
        "td",
        f"{count:,}" if count else "",
        class_="right" if right else "wrong",
        style=f"--strength:{strength:.3f}",
        title=f"{count:,} of {total:,} rows of {names[target]!r} {what} ({count / total:.1%})",
    )


def _rate(part: int, whole: int) -> Element:
    return tag("td", f"{part / whole:.1%}" if whole else "–", class_="rate")


def _pairs(counts: np.ndarray, names: Sequence[str]) -> Element:
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = [divmod(int(at), len(names)) for at in order]
    rows = [
        tag("tr", tag("td", names[t]), tag("td", names[p]),
            tag("td", f"{wrong[t, p]:,}", class_="number"),
            tag("td", f"{wrong[t, p] / counts[t].sum():.1%}", class_="number"))
        for t, p in pairs if wrong[t, p]
    ]  # fmt: skip
    columns = ("class", "taken for", "rows", "of its class")
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in columns)))
    return tag("div", tag("table", head, tag("tbody", *rows)), class_="scroll table")


def _residuals(test: Predictions) -> Element:
    said = (
        f"The {len(test.targets):,} test rows, which took no part in training. On the line a "
        "prediction is what was wanted; the histogram is of predicted less wanted."
    )
    shown = range(min(test.targets.shape[1], MOST_OUTPUTS))
    figures = [_output(test, o) for o in shown]
    return section(HEADING, said, *figures, id_="predictions")


def _output(test: Predictions, output: int) -> Element:
    wanted, predicted = (np.asarray(v[:, output], float) for v in (test.targets, test.predicted))
    points = np.linspace(0, len(wanted) - 1, min(len(wanted), MOST_POINTS)).astype(int)
    drawing = svg(
        1000, 400,
        tag("g", *_scatter(wanted[points], predicted[points])),
        tag("g", *_histogram(predicted - wanted)),
        label=f"Predicted and wanted values of {test.names[output]}",
    )  # fmt: skip
    error = np.sqrt(np.mean((predicted - wanted) ** 2))
    caption = f"{test.names[output]}: root mean square of the residuals {error:.4g}"
    if len(points) < len(wanted):
        caption += f"; {len(points):,} of the points are drawn"
    return figure(drawing, f"{caption}.")


def _scatter(wanted: np.ndarray, predicted: np.ndarray) -> list[Element]:
    reach = [float(f(v)) for v in (wanted, predicted) for f in (np.min, np.max)]
    low, high = min(reach), max(reach)
    room = 0.04 * (high - low) or 1.0
    x, y = (Axis(low - room, high + room, *ends) for ends in ((64, 560), (352, 34)))
    line = tag("line", x1=x(low), y1=y(low), x2=x(high), y2=y(high), class_="threshold")
    dots = [
        tag("circle", tip(f"wanted {short(w)}\npredicted {short(p)}"), cx=x(w), cy=y(p), r=3,
            class_="point")
        for w, p in zip(wanted.tolist(), predicted.tolist(), strict=True)
    ]  # fmt: skip
    name = tag("text", "predicted", x=64, y=20, class_="panel")
    return [name, *grid(x, y), line, *dots, *bottom(x, 352, "wanted")]


def _histogram(residuals: np.ndarray) -> list[Element]:
    counts, edges = np.histogram(residuals, BINS)
    x = Axis(float(edges[0]), float(edges[-1]), 650, 984)
    y = Axis(0.0, 1.08 * max(int(counts.max()), 1), 352, 34)
    bars = [
        tag("rect", tip(f"{counted(int(n), 'row')} from {short(a)} to {short(b)}"),
            x=x(a) + 0.5, y=y(n), width=max(x(b) - x(a) - 1, 0.5), height=352 - y(n),
            class_="bin")
        for n, a, b in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]  # fmt: skip
    name = tag("text", "rows", x=650, y=20, class_="panel")
    return [name, *grid(x, y), *bars, *bottom(x, 352, "predicted less wanted")]
