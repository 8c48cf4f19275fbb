"""Where the seconds went."""

from xml.etree.ElementTree import Element

from senn.report.markup import section, tag
from senn.report.story import Story
from senn.words import duration

EXPLANATION = (
    "Compilation is what JAX spends on programs for new shapes; it is counted apart from training "
    "and growth, and a second run finds most of it in its cache."
)


def budget(story: Story) -> Element:
    """The section of the time: one bar, and what its parts mean."""
    parts = [(name, what, s) for name, what, s in _parts(story) if s > 0]
    total = sum(s for *_, s in parts) or 1.0
    bar = [
        tag("span", class_=f"time {name}", style=f"flex-grow:{seconds / total:.4f}",
            title=f"{name}: {duration(seconds)}, {seconds / total:.0%}")
        for name, _, seconds in parts
    ]  # fmt: skip
    rows = [
        tag("li", tag("i", class_=f"swatch time {name}"), tag("b", name),
            f" {duration(seconds)}, {seconds / total:.0%}: {what}")
        for name, what, seconds in parts
    ]  # fmt: skip
    return section(
        f"Where {duration(total)} went",
        EXPLANATION,
        tag("div", *bar, class_="stacked"),
        tag("ul", *rows, class_="legend"),
        id_="budget",
    )


def _parts(story: Story) -> list[tuple[str, str, float]]:
    history = story.run.history
    rest = (story.run.summary.get("seconds") or 0.0) - history.seconds
    return [
        ("training", "steps and evaluations", history.training_seconds),
        ("growth", "searching for units, deciding, adding", history.growth_seconds),
        ("compilation", f"{history.n_compilations} programs", history.compile_seconds),
        ("rest", "preparing the data, and what is outside the loop", max(rest, 0.0)),
    ]
