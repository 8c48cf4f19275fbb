"""How dates are written, and which of their cycles tell something."""

import re
from collections.abc import Sequence
from itertools import product

import numpy as np

from senn.standalone import numpy_columns

_DAYS = (
    "%Y/%m/%d", "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y",
    "%m-%d-%Y", "%d-%m-%Y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y",
    "%B %d, %Y", "%b %d %Y", "%a, %d %b %Y", "%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%y",
)  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
STYLES = (*("".join(parts) for parts in product(_DAYS, _TIMES)), "%H:%M", "%H:%M:%S", "%I:%M %p")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?\s?(Z|[+-]\d{2}:?\d{2})?)?")
TRIED = 20  # words on which all styles are tried, before the rest of a column is read
YEAR, WEEK, DAY = 365.2425, 7.0, 1.0  # in days


def _outline(word: str) -> str:
    """What separates its numbers and names, of a word or of a style."""
    word = re.sub(r"%[abBp]", "A", re.sub(r"%[dfHIMmSyY]", "0", word.strip()))
    return re.sub(r"\s+", " ", re.sub(r"[^\W\d_]+", "A", re.sub(r"\d+", "0", word)))


_BY_OUTLINE: dict[str, list[str]] = {}
for _style in STYLES:
    _BY_OUTLINE.setdefault(_outline(_style), []).append(_style)


def style_of(words: Sequence[str]) -> tuple[str | None, str]:
    """The style in which all words but those for gaps are dates, and a doubt about it.

    None if they are not all dates of one style.
    """
    words = [word for word in words if word.lower() not in numpy_columns.NO_NUMBER]
    if not words or not any(c.isdigit() for c in words[0]) or len(words[0]) > 40:
        return None, ""
    if all(_ISO.fullmatch(word) and _fits(word, "iso") for word in words):
        return "iso", ""
    alike = _BY_OUTLINE.get(_outline(words[0]), [])  # to parse in all of them takes long
    first = [s for s in alike if all(_fits(word, s) for word in words[:TRIED])]
    found = [s for s in first if all(_fits(word, s) for word in words[TRIED:])]
    if not found:
        return None, ""
    doubt = ""
    if len(found) > 1 and {found[0][:2], found[1][:2]} == {"%m", "%d"}:
        doubt = "the month is taken to come first; every date could be read with the day first"
    return found[0], doubt


def _fits(word: str, style: str) -> bool:
    try:
        numpy_columns.day(word, style)
    except (ValueError, OverflowError):
        return False
    return True


def cycles_of(x: np.ndarray) -> list[float]:
    """The cycles, in days, that dates `x` [N], in days since 1970, run through in part at least.

    A year where they span half of one, a week where they fall on different days of it and not
    always on the same day of the month, a day where they have times.
    """
    span, cycles = x.max() - x.min(), []
    dates = np.floor(x).astype("datetime64[D]")
    if span > YEAR / 2:
        cycles.append(YEAR)
    of_month = (dates - dates.astype("datetime64[M]")).astype(int)
    if span >= WEEK and len(np.unique(of_month)) > 1 and len(np.unique(np.floor(x) % WEEK)) > 1:
        cycles.append(WEEK)
    if len(np.unique(x % DAY)) > 1:
        cycles.append(DAY)
    return cycles
