"""The whole page: a template, and the sections in their order."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from xml.etree.ElementTree import Element

from senn.files import write_atomically
from senn.nn.tapped import AbstractTapped
from senn.report.additions import additions
from senn.report.architecture import architecture
from senn.report.budget import budget
from senn.report.columns import columns
from senn.report.lanes import lanes
from senn.report.markup import html, tag
from senn.report.pictures import pictures
from senn.report.predictions import predictions
from senn.report.removals import removals
from senn.report.story import Story, read_story
from senn.report.timeline import timeline
from senn.runs import Run
from senn.words import counted, duration

SECTIONS: tuple[Callable[[Story], Element | None], ...] = (
    timeline, architecture, additions, removals, lanes, predictions, pictures, columns, budget,
)  # fmt: skip
# Of an ensemble: what it is now, for its networks grew one by one.
OF_SEVERAL: tuple[Callable[[Story], Element | None], ...] = (predictions, columns)


def write_report(run: Run, path: Path, like: AbstractTapped | None = None) -> None:
    """Write the report of a run to a file, whole or not at all."""
    write_atomically(path, render(run, like).encode("utf-8", "replace"))


def render(run: Run, like: AbstractTapped | None = None) -> str:
    """The report of a run: one HTML document that holds all it needs.

    The run of a network of another kind than our own needs one `like` it, of any sizes. Raises a
    `senn.models.ModelFileError` if the run's model cannot be read.
    """
    story = read_story(run, like)
    made = [build(story) for build in (SECTIONS if story.members == 1 else OF_SEVERAL)]
    body = [_headline(story), *(s for s in made if s is not None), _settings(story)]
    here = files("senn.report")
    return Template((here / "page.html").read_text("utf-8")).substitute(
        title=html(tag("title", f"{_name(story)}: how the network grew")),
        style=(here / "page.css").read_text("utf-8"),
        body="\n".join(map(html, body)),
        script=(here / "page.js").read_text("utf-8"),
        version=html(tag("span", f"senn {run.summary.get('version', '')}")),
    )


def _name(story: Story) -> str:
    return Path(str(story.run.settings.get("data", story.run.folder.name))).name


def _headline(story: Story) -> Element:
    """What it is about, and the figures that matter most."""
    summary = story.run.summary
    task = tag("p", f"{summary.get('task', '')}, seed {summary.get('seed', '–')}", class_="task")
    tiles = [
        tag("div", tag("b", value), tag("span", name), class_="tile")
        for name, value in _figures(story)
    ]
    ended = tag("p", tag("b", "Ended: "), story.run.history.end or "unknown")
    if story.members > 1:
        ended = tag(
            "p",
            f"{story.members} networks, each of which grew by itself, became one: its outputs are "
            "the means of theirs. Train one alone to see how it grows.",
        )
    return tag("header", tag("h1", _name(story)), task, tag("div", *tiles, class_="tiles"), ended)


def _figures(story: Story) -> list[tuple[str, str]]:
    score, history = story.run.summary.get("test_score"), story.run.history
    sizes = story.network.hidden_sizes
    layers = f"hidden units in {counted(len(sizes), 'layer')}"
    grown = [
        ("additions", f"{len(history.additions):,}"),
        ("removals", f"{len(history.removals):,}"),
        ("proposals judged", f"{len(history.considerations):,}"),
    ]
    return [
        (f"test {story.score_word}", "–" if score is None else f"{score:.4f}"),
        (layers, f"{sum(sizes):,}"),
        ("parameters", f"{story.network.n_parameters:,}"),
        *(grown if story.members == 1 else [("networks", f"{story.members:,}")]),
        ("in all", duration(story.run.summary.get("seconds") or history.seconds)),
    ]


def _settings(story: Story) -> Element:
    """What was asked for, folded away."""
    given = {k: v for k, v in story.run.settings.items() if v not in (None, False)}
    rows = [tag("tr", tag("th", k, scope="row"), tag("td", _plain(v))) for k, v in given.items()]
    return tag(
        "details",
        tag("summary", "What was asked for"),
        tag("div", tag("table", tag("tbody", *rows)), class_="scroll"),
        class_="card",
        id="settings",
    )


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
