"""The columns of any table, and what each holds."""

import math
from decimal import Decimal
from numbers import Complex, Integral, Real
from typing import Any, Literal, NamedTuple

import numpy as np

from senn.readers import DataError, first_sentence, is_number

Kind = Literal["numbers", "booleans", "text", "categories", "dates", "complex", "objects"]
_KINDS: dict[str, Kind] = {
    **dict.fromkeys("iuf", "numbers"),
    **dict.fromkeys("UST", "text"),
    **dict.fromkeys("Mm", "dates"),
    "b": "booleans",
    "c": "complex",
}


class Column(NamedTuple):
    """One column: its values in the simplest dtype that holds them, and what they are."""

    values: np.ndarray
    kind: Kind


def is_missing(value: object) -> bool:
    """Whether there is no value: NaN, None, or pandas' own markers."""
    if isinstance(value, float | np.floating | Decimal):
        return bool(value != value)
    # pandas' own markers, told by name so that pandas need not be there.
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _simplify(values: np.ndarray) -> np.ndarray:
    """An object array of booleans, numbers or strings as an array of that kind, else as it was.

    Missing values become NaN among numbers and booleans.
    """
    missing = [is_missing(value) for value in values]
    present = [value for value, gone in zip(values, missing, strict=True) if not gone]

    def every(*types: type) -> bool:
        return all(isinstance(value, types) for value in present)

    if present and not any(missing) and (every(str) or every(bool, np.bool_) or every(Integral)):
        simple = np.array(present)
        return values if simple.dtype == object else simple  # beyond 64 bits
    if every(Real, Decimal, np.bool_) or every(Complex):
        kind = float if every(Real, Decimal, np.bool_) else complex
        return np.array([_number(value, kind) for value in values])
    return values


def _number(value: Any, kind: type[float] | type[complex]) -> complex:
    """A value as a number: NaN if it is missing, infinity for an integer beyond all floats."""
    if is_missing(value):
        return math.nan
    try:
        return kind(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _column(values: Any) -> Column:
    """Tell what a one-dimensional array or pandas Series holds."""
    try:
        array = np.asarray(values)
    except Exception as error:  # pyarrow's, for bytes that are no text
        raise DataError(f"A column cannot be read ({first_sentence(error)}).") from error
    if array.dtype == object:
        array = _simplify(array)
    if str(getattr(values, "dtype", "")) == "category":
        return Column(array, "categories")
    kind = _KINDS.get(array.dtype.kind, "objects")
    if kind == "objects" and any(isinstance(value, str) for value in array):
        kind = "text"
    return Column(array, kind)


def example(column: Column) -> str:
    """A value that shows why the column is not one of numbers."""
    present = [value for value in column.values if not is_missing(value)]
    odd = (value for value in present if isinstance(value, str) and not is_number(value))
    return repr(str(next(odd, present[0] if present else None))[:40])


def columns_of(table: Any) -> list[Column]:
    """The columns of a two-dimensional array or DataFrame, or a vector as one column."""
    if table.ndim == 1:
        return [_column(table)]
    cells = table.iloc if is_pandas(table) else table
    return [_column(cells[:, index]) for index in range(table.shape[1])]


def is_pandas(values: Any) -> bool:
    """Whether this is a pandas DataFrame or Series (told without importing pandas)."""
    return hasattr(values, "iloc") and hasattr(values, "to_numpy")
