"""What was done with every column of the table."""

from typing import Any
from xml.etree.ElementTree import Element

from senn.report.changes import table
from senn.report.markup import section, tag
from senn.report.story import Story
from senn.words import counted

COLUMNS = ("column", "kind", "inputs", "how")
EXPLANATION = (
    "What each column holds was told from the rows to train on, and is kept in the model: "
    "predictions and exports treat new rows alike. {left_out} left out."
)
AS_THEY_ARE = "numbers"  # what is said of columns with which nothing was done


def columns(story: Story) -> Element | None:
    """The section of the columns, a table, if they were more than numbers as they are."""
    told = story.run.summary.get("columns") or []
    if all(column.get("treatment") == AS_THEY_ARE for column in told):
        return None
    gone = sum(not column.get("inputs") for column in told)
    left_out = "None was" if not gone else f"{gone:,} {'was' if gone == 1 else 'were'}"
    total = sum(column.get("inputs") or 0 for column in told)
    return section(
        f"What {counted(len(told), 'column')} became: {counted(total, 'input')}",
        EXPLANATION.format(left_out=left_out),
        table(COLUMNS, [_row(column) for column in told]),
        id_="columns",
    )


def _row(column: dict[str, Any]) -> Element:
    return tag(
        "tr",
        tag("td", str(column.get("name", "")), class_="what"),
        tag("td", str(column.get("kind", ""))),
        tag("td", f"{column.get('inputs') or 0:,}", class_="number"),
        tag("td", str(column.get("treatment", "")), class_="reason"),
    )
