"""From the cells of a table to the numbers that a network reads. NumPy and Python alone.

What was learned of a column is a dictionary that JSON can hold, with its `kind`:

number    a number; `mark` is the decimal mark where it is written as text
flag      true or false
date      days since 1970, and for each of `cycles`, in days, where in it the date stands
category  one of `levels`; for each of them, for a gap and for an unknown one, in this order,
          either the one column that is 1 (`slots`, -1 for none) or the `values` of all columns
constant, empty, text: left out

A gap becomes the column's `fill`; where training had any (`gaps`), one more column is 1 there.
"""

import re
from datetime import UTC, date, datetime, timedelta

import numpy as np

# Words for no value, in any column; and such as are none only where numbers or dates stand.
MISSING = (
    "", "?", "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "NaN", "nan", "-NaN", "-nan",
    "NULL", "null", "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN",
)  # fmt: skip
NO_NUMBER = ("none", "na", "n.a.", "-", "--", "---", ".", "..", "missing")
TRUTH = {"true": 1.0, "false": 0.0}
DAY = 86_400_000_000  # microseconds
LARGEST = float(np.finfo(np.float32).max)  # of what networks compute with
WANTED = {
    "number": f"a number of at most {LARGEST:.3g} in size",
    "flag": "true or false",
    "date": "a date",
}
LEFT_OUT = ("constant", "empty", "text")

_UNIT = r"(?:[$€£¥₹]|USD|EUR|GBP|CHF|JPY)?"
_NUMBER = (
    rf"(\()?([-+−]?)\s*{_UNIT}\s*([-+−]?)"
    r"((?:[1-9][0-9]{0,2}(?:([GROUP])[0-9]{3})(?:\5[0-9]{3})*)|[0-9]*)(?:MARK([0-9]*))?"
    rf"([eE][-+]?[0-9]{{1,5}})?\s*(?:{_UNIT}|%)(\))?"
)
_NUMBERS = {
    mark: re.compile(
        _NUMBER.replace("GROUP", f"{other}'’ \u00a0\u202f").replace("MARK", rf"\{mark}")
    )
    for mark, other in ((".", ","), (",", "."))
}
MARKS = tuple(_NUMBERS)


def encode(columns, table, first=1):
    """The inputs [N, I] of a network, in float64, for a table: an array [N] for each column.

    A `ValueError` names the column and the row, counted from `first`, of what cannot be read.
    """
    parts = [
        part
        for column, values in zip(columns, table, strict=True)
        for part in _parts(column, values, first)
    ]
    n = len(table[0])
    return np.concatenate([p.reshape(n, -1) for p in parts], axis=1) if parts else np.empty((n, 0))


def width(column):
    """How many inputs a column becomes."""
    kind = column["kind"]
    if kind in LEFT_OUT:
        return 0
    if kind == "category":
        return category_values(column).shape[1]
    return 1 + 2 * len(column.get("cycles", ())) + bool(column["gaps"])


def _parts(column, values, first):
    kind = column["kind"]
    if kind in LEFT_OUT:
        return []
    if kind == "category":
        return [category_values(column)[category_codes(column, values)]]
    read = {"number": numbers, "flag": flags, "date": days}[kind]
    x, wrong = read(column, values)
    if column.get("odd"):
        wrong = None
    huge = np.abs(x) > LARGEST
    if wrong is not None or huge.any():
        place = int(huge.argmax()) if wrong is None else wrong
        raise ValueError(
            f"row {first + place} has {str(values[place])[:40]!r} in column "
            f"{column['name'][:60]!r}, where the model needs {WANTED[kind]}: mend that value, "
            "or leave it empty."
        )
    gap = np.isnan(x)
    x = np.where(gap, column["fill"], x)
    turns = [2 * np.pi * ((x / cycle) % 1) for cycle in column.get("cycles", ())]
    waves = [wave(turn) for turn in turns for wave in (np.sin, np.cos)]
    return [x, *waves, *([gap.astype(float)] if column["gaps"] else [])]


# --- Categories -----------------------------------------------------------------------------


def category_values(column):
    """What each level, a gap and an unknown level become: [levels + 2, I]."""
    if "values" in column:
        return np.array(column["values"], float)
    slots = np.array(column["slots"])
    return (slots[:, None] == np.arange(slots.max() + 1)).astype(float)


def category_codes(column, values):
    """The row of `category_values` for every cell [N]."""
    codes = {level: code for code, level in enumerate(column["levels"])}
    gap, unknown, numeric = len(codes), len(codes) + 1, column["numeric"]
    words = texts(values, numeric)
    return np.array([gap if w is None else codes.get(w, unknown) for w in words], int)


def texts(values, numeric=False):
    """Cells as the words that levels are compared by, and None for gaps.

    With `numeric`, words that say a number are that number: 3, 3.0 and "3.0" are one level.
    """
    known, words = {}, []
    for value in values.tolist():
        if type(value) is not str:  # of others some are equal and not alike, as 1 and True
            words.append(_word(value, numeric))
            continue
        if value not in known:
            known[value] = _word(value, numeric)
        words.append(known[value])
    return words


def _word(value, numeric):
    if is_missing(value):
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        word = value.strip()
        if not numeric or not _is_float(word):
            return None if word in MISSING else word
        value = float(word)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _is_float(word):
    try:
        float(word)
    except ValueError:
        return False
    return True


def is_missing(value):
    """Whether there is no value: None, NaN, or pandas' own markers."""
    if isinstance(value, str | bytes | int):
        return False
    return value is None or type(value).__name__ in ("NAType", "NaTType") or _is_nan(value)


def _is_nan(value):
    try:
        return bool(value != value)
    except (TypeError, ValueError):
        return False


# --- Numbers, flags and dates ---------------------------------------------------------------
# Each gives values [N], NaN for gaps, and the first row that holds something else, or None.


def numbers(column, values):
    """Numbers, from numbers or from text."""
    if values.dtype.kind in "biuf":
        return values.astype(float), None
    if values.dtype.kind == "m":
        return _in_days(values), None
    return _each(values, lambda cell: number(cell, column.get("mark", ".")))


def flags(_, values):
    """1 for true, 0 for false, from booleans, numbers or text."""
    if values.dtype.kind in "biuf":
        return values.astype(float), None
    return _each(values, flag)


def days(column, values):
    """Days since 1970, from dates or from text."""
    if values.dtype.kind in "biuf":
        return values.astype(float), None
    if values.dtype.kind == "M":
        return _in_days(values - np.datetime64(0, "us")), None
    return _each(values, lambda cell: day(cell, column.get("format", "iso")))


def _in_days(spans):
    us = spans.astype("timedelta64[us]")
    return np.where(np.isnat(us), np.nan, us.astype(np.int64) / DAY)


def _each(values, read):
    """What `read` makes of every cell; it raises a `ValueError`, and a cell is read but once."""
    known, found = {}, []
    for cell in values.tolist():
        try:
            if cell not in known:
                known[cell] = np.nan if is_missing(cell) else read(cell)
            found.append(known[cell])
        except (ValueError, TypeError, OverflowError):  # of a list, which has no hash, too
            found.append(None)
    wrong = next((row for row, value in enumerate(found) if value is None), None)
    return np.array(found, float), wrong  # None becomes NaN


def number(cell, mark="."):
    """The number that a cell says, NaN if it says none; a `ValueError` for other words."""
    if isinstance(cell, timedelta):
        return cell / timedelta(days=1)
    if not isinstance(cell, str | bytes):
        return float(cell)
    word = (cell.decode() if isinstance(cell, bytes) else cell).strip()
    if word in MISSING or word.lower() in NO_NUMBER:
        return np.nan
    if mark == "." and _is_float(word) and "_" not in word:
        return float(word)
    if word.lower() in TRUTH:
        return TRUTH[word.lower()]
    match = _NUMBERS[mark].fullmatch(word) if len(word) < 400 else None
    if match is None or not (match[4] or match[6]) or bool(match[1]) != bool(match[8]):
        raise ValueError(word)
    whole = "".join(c for c in match[4] if c in "0123456789")
    value = float(f"{whole or 0}.{match[6] or 0}{match[7] or ''}")
    minus = sum(bool(sign) and sign in "-−" for sign in (match[2], match[3])) + bool(match[1])
    return -value if minus % 2 else value


def flag(cell):
    """1 or 0, or NaN; a `ValueError` for other words."""
    if not isinstance(cell, str | bytes):
        return float(cell)
    word = (cell.decode() if isinstance(cell, bytes) else cell).strip().lower()
    return TRUTH[word] if word in TRUTH else number(word)


def day(cell, style):
    """Days since 1970 of a date, or of the text of one in a style of `strptime`, or in "iso"."""
    if isinstance(cell, str | bytes):
        word = (cell.decode() if isinstance(cell, bytes) else cell).strip()
        if word in MISSING or word.lower() in NO_NUMBER:
            return np.nan
        cell = datetime.fromisoformat(word) if style == "iso" else datetime.strptime(word, style)
    elif isinstance(cell, np.datetime64):
        cell = cell.astype("datetime64[us]").item()
    elif isinstance(cell, int | float):
        return float(cell)
    elif hasattr(cell, "to_timestamp"):  # a period of pandas
        cell = cell.to_timestamp()
    if not isinstance(cell, datetime):
        if not isinstance(cell, date):
            raise ValueError(cell)
        cell = datetime(cell.year, cell.month, cell.day)
    if cell.tzinfo is not None:
        cell = cell.astimezone(UTC).replace(tzinfo=None)
    since = cell - datetime(1970, 1, 1)
    return since.days + (since.seconds * 1_000_000 + since.microseconds) / DAY
