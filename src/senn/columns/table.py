"""Any table as columns: arrays, lists, DataFrames of pandas and polars, pyarrow's tables."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import time
from typing import Any

import numpy as np

from senn.columns.shape import check_shape
from senn.readers import DataError, check_memory, first_sentence

NUMBERS_AT_ONCE = 2**22  # of a sparse matrix that are made dense to be predicted


@dataclass(frozen=True)
class Table:
    """Columns of one length, each an array [N]: of numbers, booleans, dates, or of any objects."""

    names: tuple[str, ...]
    columns: tuple[np.ndarray, ...]
    categorical: tuple[bool, ...]  # whether a column's own type says that it is one of categories
    named: bool = True  # whether the names are the table's own
    first: int = 1  # the number of the first row, for messages
    # How the cells of each column were read where more rows were there, such as those to test on.
    readings: tuple[dict[str, Any], ...] = ()

    def __len__(self) -> int:  # noqa: D105
        return len(self.columns[0]) if self.columns else 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, as an array has it."""
        return len(self), len(self.columns)

    def __getitem__(self, kept: Any) -> "Table":
        """Some rows."""
        return replace(self, columns=tuple(column[kept] for column in self.columns))

    def select(self, places: Sequence[int]) -> "Table":
        """Some columns."""
        parts = {name: getattr(self, name) for name in ("names", "columns", "categorical")}
        if self.readings:
            parts["readings"] = self.readings
        return replace(self, **{k: tuple(part[i] for i in places) for k, part in parts.items()})


def is_table(X: Any) -> bool:
    """Whether X has columns of types of their own, and names: a DataFrame or a table of pyarrow."""
    return isinstance(X, Table) or hasattr(X, "columns")


def table_of(X: Any) -> Table:
    """The columns of X [N, I]; a `DataError` for what has no rows of equal length."""
    if isinstance(X, Table):
        return X
    if hasattr(X, "column_names") and hasattr(X, "to_pylist"):  # pyarrow's columns have no names
        return _made(X.column_names, [_arrow(X.column(i)) for i in range(X.num_columns)])
    if hasattr(X, "iloc"):
        return _made(X.columns, [_pandas(X.iloc[:, i]) for i in range(X.shape[1])])
    if hasattr(X, "columns") and hasattr(X, "get_columns"):
        return _made(X.columns, [_polars(series) for series in X.get_columns()])
    array = as_rows(X)
    names = tuple(f"column_{index}" for index in range(array.shape[1]))
    columns = tuple(_plain(column) for column in array.T)
    return Table(names, columns, (False,) * array.shape[1], named=False)


def _made(names: Iterable[object], found: Sequence[tuple[np.ndarray, bool]]) -> Table:
    columns = tuple(values for values, _ in found)
    return Table(tuple(map(str, names)), columns, tuple(category for _, category in found))


def as_rows(X: Any) -> np.ndarray:
    """An array [N, I]; columns of mixed kinds keep theirs, as objects, sparse ones become dense."""
    if hasattr(X, "toarray"):
        check_memory(
            8 * math.prod(X.shape),
            f"X is sparse, and networks learn from dense rows, which with shape {X.shape}",
            "give fewer columns, or some rows at a time to partial_fit",
        )
        return X.toarray()
    array = as_array(X, "X")
    check_shape(array.shape)
    return array


def dense_blocks(X: Any) -> Iterator[Any]:
    """A sparse X as dense rows, so many at a time that they take little memory; else X itself."""
    if not hasattr(X, "toarray") or len(X.shape) != 2 or 0 in X.shape:
        yield X
        return
    rows, X = max(1, NUMBERS_AT_ONCE // X.shape[1]), X.tocsr()
    for start in range(0, X.shape[0], rows):
        yield X[start : start + rows].toarray()


def as_array(values: Any, name: str) -> np.ndarray:
    """An array-like as an array; columns of mixed kinds keep theirs, as objects."""
    if hasattr(values, "toarray"):
        raise DataError(f"{name} is a sparse matrix: make it dense with {name}.toarray().")
    try:
        array = np.asarray(values)
        # NumPy turns [[1, "a"]] into text throughout, which hides which column is to blame.
        if array.dtype.kind in "US" and not hasattr(values, "dtype"):
            array = np.asarray(values, dtype=object)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{name} is no array ({first_sentence(error)}): give rows of equal length."
        ) from error
    return array


# --- A column of each library: its values, and whether it is one of categories -----------------


def _pandas(series: Any) -> tuple[np.ndarray, bool]:
    kind = series.dtype
    try:
        held = kind.categories.dtype if str(kind) == "category" else kind
        if str(held).startswith("interval"):  # such as pandas.cut gives
            words = [None if gap else str(v) for v, gap in zip(series, series.isna(), strict=True)]
            return np.array([*words, None], object)[:-1], True
        if str(kind) == "category":
            return _plain(np.asarray(series.astype(kind.categories.dtype.name), object)), True
        if getattr(kind, "tz", None) is not None:
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        elif str(kind).startswith("period"):
            series = series.dt.to_timestamp()
        elif not isinstance(kind, np.dtype) and getattr(kind, "kind", "O") in "iuf":  # Int64
            return series.to_numpy(float, na_value=math.nan), False
        return _plain(np.asarray(series)), False
    except Exception as error:  # pyarrow's, for bytes that are no text
        raise DataError(f"A column cannot be read ({first_sentence(error)}).") from error


def _polars(series: Any) -> tuple[np.ndarray, bool]:
    category = str(series.dtype).startswith(("Categorical", "Enum"))
    if category or str(series.dtype) in ("String", "Time", "Object"):
        return _plain(np.array([*series.to_list(), None], object)[:-1]), category
    return _plain(series.to_numpy()), False


def _arrow(column: Any) -> tuple[np.ndarray, bool]:
    category = str(column.type).startswith("dictionary")
    if category or not str(column.type).startswith(("int", "uint", "float", "double", "halffloat")):
        # An array of one more, so that lists in it do not become dimensions.
        return _plain(np.array([*column.to_pylist(), None], object)[:-1]), category
    return _plain(column.to_numpy()), False


def _plain(values: np.ndarray) -> np.ndarray:
    """Text and dates of few types: objects for text, times too, microseconds for dates."""
    if values.dtype.kind in "UST":
        return values.astype(object)
    if values.dtype.kind == "M":
        return values.astype("datetime64[us]")
    if values.dtype == object and values.ndim == 1 and len(values):
        return simplest(_times_as_text(values))
    return values


def _times_as_text(values: np.ndarray) -> np.ndarray:
    """Times of a day as people write them."""
    if not any(isinstance(value, time) for value in values.tolist()):
        return values
    written = [v.strftime("%H:%M:%S") if isinstance(v, time) else v for v in values.tolist()]
    return np.array([*written, None], object)[:-1]


def simplest(values: np.ndarray) -> np.ndarray:
    """Objects that are all numbers, or all booleans, as an array of those; else as they were."""
    types = {type(value) for value in values.tolist()}
    if types <= {int, float, bool} and types & {int, float}:
        try:
            return values.astype(float if types != {int} else None)
        except OverflowError:  # 10**400
            return values
    return values.astype(bool) if types == {bool} else values
