"""What each column of a table holds, learned from the rows to train on."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from numbers import Number
from typing import Any, NamedTuple

import numpy as np

from senn.columns.dates import cycles_of, style_of
from senn.columns.encoder import Columns
from senn.columns.levels import category
from senn.columns.table import Table
from senn.readers import DataError, DataTypeError
from senn.standalone import numpy_columns
from senn.standalone.numpy_columns import MARKS, TRUTH, is_missing
from senn.words import columns_phrase, counted, short

MOSTLY = 0.9  # share of the words that are numbers, from which on the others count as gaps
MOST_ODD = 5  # different words that may count as gaps
Spec = dict[str, Any]


class Wishes(NamedTuple):
    """What a user said of the columns.

    `categorical` are positions of columns that hold categories besides those that look like it,
    or None if no column does; then text that says no numbers or dates is refused. `at_once` says
    that all rows are there: columns of a single value are left out, and so are words that are
    nearly all different.
    """

    categorical: frozenset[int] | None = frozenset()
    at_once: bool = True


def learn(table: Table, wishes: Wishes | None = None) -> Columns:
    """How the columns of a table become inputs.

    Raises a `DataError` that names the columns for complex numbers, infinity and objects, and
    for a table in which no column tells rows apart.
    """
    wishes = wishes or Wishes()
    cells = [_cells(values, name) for name, values in zip(table.names, table.columns, strict=True)]
    marks = decimal_marks(cells)
    specs = []
    for place, (name, values) in enumerate(zip(table.names, cells, strict=True)):
        named = wishes.categorical is not None and place in wishes.categorical
        as_category = named or (table.categorical[place] and wishes.categorical is not None)
        known = table.readings[place] if table.readings else {}
        spec = _spec(values, as_category, marks, wishes, known)
        specs.append({"name": name, **spec})
    if all(spec["kind"] in numpy_columns.LEFT_OUT for spec in specs):
        raise DataError(
            f"No column tells rows apart: {columns_phrase(table.names)} "
            "hold nothing, one value alone, or words that hardly ever come twice."
        )
    return Columns(tuple(specs))


def _cells(values: np.ndarray, name: str) -> np.ndarray:
    """The values of a column, once they are of a type that can be learned from."""
    if values.dtype.kind in "fiub":
        if values.dtype.kind == "f" and np.isinf(values).any():
            n = int(np.isinf(values).sum())
            raise DataError(
                f"The features have infinity in column {short(name)} ({n} of "
                f"{counted(len(values), 'row')}): drop those rows, or leave the cells empty."
            )
        return values
    if values.dtype.kind == "c":
        raise DataError(
            f"Complex data not supported (in column {short(name)}): give real and imaginary "
            "parts apart."
        )
    if values.dtype.kind == "O":
        _check_objects(values, name)
    return values


def _check_objects(values: np.ndarray, name: str) -> None:
    for row, value in enumerate(values.tolist(), 1):
        if isinstance(value, complex):
            raise DataError(
                f"Complex data not supported (in column {short(name)}): give real and imaginary "
                "parts apart."
            )
        if isinstance(value, str | bytes | Number | Decimal | timedelta) or _is_date(value):
            continue
        if not is_missing(value):
            raise DataTypeError(
                f"The features have objects in column {short(name)} (such as "
                f"{str(value)[:40]!r} in row {row}): leave the column out, or make numbers or text "
                "of it, for an argument must be neither object nor string but a number."
            )


def _is_date(value: Any) -> bool:
    return isinstance(value, date | np.datetime64) or hasattr(value, "to_timestamp")


def _spec(
    values: np.ndarray, as_category: bool, marks: Sequence[str], wishes: Wishes, known: Spec
) -> Spec:
    """What a column holds, without its name; `known` is what more rows have told of it."""
    if values.dtype.kind == "O":
        if not as_category and known.get("kind", "empty") not in ("empty", "constant"):
            return _as_known(values, known, wishes)
        present = [value for value in values.tolist() if not is_missing(value)]
        words = [value for value in present if isinstance(value, str | bytes)]
        if as_category or (words and wishes.categorical is None):
            return _words(values, as_category, marks, wishes)
        if words:
            return _words(values, False, marks, wishes)
        if present and all(map(_is_date, present)):
            return _dates(values, {}, wishes)
        if present and all(isinstance(value, bool | np.bool_) for value in present):
            return _measured("flag", values, {}, wishes)
    elif as_category:
        return category(values, wishes.at_once)
    elif values.dtype.kind == "M":
        return _dates(values, {}, wishes)
    kind = "flag" if values.dtype.kind == "b" else "number"
    return _measured(kind, values, {"mark": "."} if kind == "number" else {}, wishes)


def _as_known(values: np.ndarray, known: Spec, wishes: Wishes) -> Spec:
    """A column whose cells are to be read as they were among more rows."""
    kind = known["kind"]
    if kind in ("category", "text"):
        return category(values, wishes.at_once)
    how = {name: known[name] for name in ("mark", "odd", "format", "note") if name in known}
    return _dates(values, how, wishes) if kind == "date" else _measured(kind, values, how, wishes)


def _measured(kind: str, values: np.ndarray, spec: Spec, wishes: Wishes) -> Spec:
    """A column of numbers or flags, or of no value, or of one."""
    read = {"number": numpy_columns.numbers, "flag": numpy_columns.flags}.get(
        kind, numpy_columns.days
    )
    x, _ = read(spec, values)
    known = x[~np.isnan(x)]
    if not len(known):
        return {"kind": "empty"} if wishes.at_once else {**_gapless(kind, 0.0, spec), "gaps": True}
    if np.isinf(known).any():
        raise DataError("The features have infinity in words.")
    gaps = len(known) < len(x)
    if wishes.at_once and not gaps and known.min() == known.max():
        return {"kind": "constant"}
    return {**_gapless(kind, float(np.median(known)), spec), "gaps": gaps}


def _gapless(kind: str, fill: float, spec: Spec) -> Spec:
    return {"kind": kind, "fill": fill, **spec}


def _dates(values: np.ndarray, spec: Spec, wishes: Wishes) -> Spec:
    found = _measured("date", values, spec, wishes)
    if found["kind"] != "date":
        return found
    x, _ = numpy_columns.days(spec, values)
    return {**found, "cycles": cycles_of(x[~np.isnan(x)])}


# --- Text -----------------------------------------------------------------------------------


def decimal_marks(cells: Sequence[np.ndarray]) -> tuple[str, ...]:
    """Decimal marks, the likelier first: a comma where some column can be read in no other way."""
    for values in cells:
        if values.dtype.kind == "O":
            counts = _counted(values)
            if counts and odd_words(counts, ".") and not odd_words(counts, ","):
                return MARKS[::-1]
    return MARKS


def _counted(values: np.ndarray) -> Counter[str]:
    """How often each word occurs that is one; nothing if there are other cells than words."""
    return Counter(word for word in numpy_columns.texts(values) if word is not None)


def odd_words(counts: Counter[str], mark: str) -> list[str]:
    """The words that are no numbers."""
    return [word for word in counts if not _says_number(word, mark)]


def is_mostly_numbers(counts: Counter[str], others: Sequence[str]) -> bool:
    """Whether all words but a few `others` are numbers."""
    share = sum(counts[word] for word in others) / counts.total()
    numbers = len(counts) - len(others)
    return share <= 1 - MOSTLY and len(others) <= min(MOST_ODD, numbers / 4)


def _says_number(word: str, mark: str) -> bool:
    try:
        value = numpy_columns.number(word, mark)
    except ValueError:
        return False
    return bool(np.isfinite(value)) or word.lower() in numpy_columns.NO_NUMBER


def _words(values: np.ndarray, as_category: bool, marks: Sequence[str], wishes: Wishes) -> Spec:
    """A column of words: numbers, flags or dates if they say so, else categories."""
    counts = _counted(values)
    if not counts:
        return _measured("number", np.full(len(values), np.nan), {"mark": "."}, wishes)
    if not as_category:
        for read in (_flags, _numbers, _written_dates):
            spec = read(values, counts, marks, wishes)
            if spec is not None:
                return spec
    if wishes.categorical is None:
        word = next(iter(counts))
        raise DataError(
            f"The features have text (such as {word[:40]!r}): say "
            "categorical_features='from_dtype', or leave the column out."
        )
    return category(values, wishes.at_once)


def _flags(values: np.ndarray, counts: Counter[str], _: Any, wishes: Wishes) -> Spec | None:
    words = {word.lower() for word in counts} - set(numpy_columns.NO_NUMBER)
    if not words or not words <= set(TRUTH):
        return None
    return _measured("flag", values, {}, wishes)


def _numbers(
    values: np.ndarray, counts: Counter[str], marks: Sequence[str], wishes: Wishes
) -> Spec | None:
    odd = {mark: odd_words(counts, mark) for mark in marks}
    mark = min(marks, key=lambda mark: len(odd[mark]))
    others = odd[mark]
    spec: Spec = {"mark": mark}
    if others:
        if not is_mostly_numbers(counts, others):
            return None
        spec |= {"odd": True, "note": _told(values, others)}
    elif all(word.lower() in numpy_columns.NO_NUMBER for word in counts):
        return None  # "none" throughout is a category
    return _measured("number", values, spec, wishes)


def _told(values: np.ndarray, others: Sequence[str]) -> str:
    words = numpy_columns.texts(values)
    row = words.index(others[0]) + 1
    return f"{len(others)} words that are no numbers count as gaps, such as " + (
        f"{others[0][:40]!r} in row {row}"
    )


def _written_dates(values: np.ndarray, counts: Counter[str], _: Any, wishes: Wishes) -> Spec | None:
    style, doubt = style_of(list(counts))
    if style is None:
        return None
    spec: Spec = {"format": style}
    if doubt:
        spec["note"] = doubt
    return _dates(values, spec, wishes)
