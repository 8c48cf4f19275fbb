"""What left the network, why, and what that did."""

from xml.etree.ElementTree import Element

from senn.history import Removal
from senn.report.axis import short
from senn.report.changes import table, when_and_what
from senn.report.markup import section, tag
from senn.report.story import Story

COLUMNS = ("", "step", "time", "what", "units after", "price", "loss before", "after", "why")
EXPLANATION = (
    "Units leave that cost little to lose, and what reads them makes up for them at once. The "
    "price is the rise of the loss that the quadratic model foretold; the losses are of the rows "
    "on which additions are judged, just before and just after."
)


def removals(story: Story) -> Element | None:
    """The section of the removals, a table, if anything left."""
    made = story.run.history.removals
    if not made:
        return None
    rows = [_row(number, removal) for number, removal in enumerate(made, start=1)]
    return section("What left, and why", EXPLANATION, table(COLUMNS, rows), id_="removals")


def _row(number: int, r: Removal) -> Element:
    cells = [
        tag("td", f"{number}", class_="number"),
        *when_and_what(r),
        tag("td", f"{r.price:.3g}", class_="number"),
        tag("td", short(r.loss_before), class_="number"),
        tag("td", short(r.loss_after), class_="number"),
        tag("td", r.reason, class_="reason"),
    ]
    return tag("tr", *cells)
