"""Rows to predict, from a named data set or a file: as text, a bounded number at a time.

What is read here is carried through to the output as it is; only the columns that a model reads
become numbers.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from senn import datasets
from senn.readers import DataError, csv_start, read_npz, read_table
from senn.words import quoted

ROWS_AT_ONCE = 4096
TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Rows:
    """A table: the names of its columns as they were found, and its rows of as many cells."""

    names: tuple[str, ...]
    rows: Iterator[Sequence[str]]
    separator: str = ","

    def chunks(self) -> Iterator["Chunk"]:
        """The rows, `ROWS_AT_ONCE` at a time; a `DataError` for one of another length."""
        first = 1
        while cells := list(islice(self.rows, ROWS_AT_ONCE)):
            for number, row in enumerate(cells, first):
                if len(row) != len(self.names):
                    raise DataError(
                        f"row {number} has {len(row)} fields where there are {len(self.names)} "
                        "columns: mend or drop it first."
                    )
            yield Chunk(cells, first)
            first += len(cells)

    def positions(self, wanted: Sequence[str]) -> list[int]:
        """Where the wanted columns are; a `DataError` that names those that are missing.

        A name that occurs again counts as pandas, which reads tables for training, has it:
        `x`, `x.1`, `x.2`.
        """
        places = {name: place for place, name in enumerate(distinct(self.names))}
        missing = [name for name in wanted if name not in places]
        if missing:
            raise DataError(
                f"there is no column {quoted(missing)}, which the model needs; the columns are "
                f"{quoted(self.names)}."
            )
        return [places[name] for name in wanted]


@dataclass(frozen=True)
class Chunk:
    """Some rows of cells, and the number of the first, counted from 1 without the names."""

    cells: list[Sequence[str]]
    first: int

    def numbers(self, place: int, name: str) -> np.ndarray:
        """A column [N] as float64; a `DataError` says which row holds no finite number."""
        column = [row[place] for row in self.cells]
        try:
            values = np.array(column, float)
        except ValueError:
            values = np.array([_number(cell) for cell in column])
        limit = np.finfo(np.float32).max  # of what networks compute with
        wrong = ~(np.abs(values) <= limit)
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"row {self.first + row} has {_told(column[row])} in column {name!r}, where the "
                f"model needs a number below {limit:.3g} in size: drop the row or fill it in first."
            )
        return values


def open_rows(
    source: str, features: Sequence[str], data_dir: str | os.PathLike[str] | None = None
) -> Rows:
    """The rows of a .csv, .parquet or .npz file, or the test rows of a named data set.

    `features` are the names of the columns that a model reads. An array X of a .npz file has no
    names: it is taken to hold just these columns. A csv file whose first row has none of them
    but numbers has no names either: its columns are column_0, column_1, ...

    Raises a `DataError` of one sentence for what cannot be read.
    """
    if source.lower() in datasets.NAMES:
        return _named_rows(source, data_dir)
    path = Path(source).expanduser()
    readers = {".csv": _csv_rows, ".parquet": _parquet_rows, ".npz": _npz_rows}
    if path.suffix.lower() not in readers:
        raise DataError(
            f"these are no data: choose one of {', '.join(datasets.NAMES)}, or a file ending in "
            f"{', '.join(readers)}."
        )
    if not path.is_file():
        raise DataError("there is no such file: check the path.")
    return readers[path.suffix.lower()](path, features)


def distinct(names: Iterable[str]) -> list[str]:
    """Names of columns as pandas has them: no two alike, none empty."""
    found: dict[str, None] = {}
    for place, name in enumerate(names):
        own, again = name or f"Unnamed: {place}", 0
        unique = own
        while unique in found:
            again += 1
            unique = f"{own}.{again}"
        found[unique] = None
    return list(found)


def _number(cell: str) -> float:
    try:
        return TRUTH[cell.strip().lower()] if cell.strip().lower() in TRUTH else float(cell)
    except ValueError:
        return np.nan


def _told(cell: str) -> str:
    blank = cell.strip().lower() in ("", "nan", "na", "n/a", "null", "none")
    return "a missing value (NaN)" if blank else repr(cell[:40])


# --- Where rows come from ------------------------------------------------------------------


def _csv_rows(path: Path, features: Sequence[str]) -> Rows:
    separator, _ = csv_start(path)
    rows = _lines(path, separator)
    first = next(rows, None)
    if first is None:
        raise DataError("it is empty, where column names and rows of values are wanted.")
    if set(features) & set(distinct(first)) or not any(map(_is_number, first)):
        return Rows(tuple(first), rows, separator)
    names = tuple(f"column_{place}" for place in range(len(first)))
    return Rows(names, chain([first], rows), separator)


def _lines(path: Path, separator: str) -> Iterator[list[str]]:
    """The rows of a csv file that are not blank."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
            yield from (row for row in reader if row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"it is no csv file of UTF-8 text ({error}).") from error


def _is_number(cell: str) -> bool:
    return not np.isnan(_number(cell))


def _parquet_rows(path: Path, _: Sequence[str]) -> Rows:
    frame, _notes = read_table(path)

    def rows() -> Iterator[list[str]]:
        for start in range(0, len(frame), ROWS_AT_ONCE):
            text = frame.iloc[start : start + ROWS_AT_ONCE].to_csv(header=False, index=False)
            yield from csv.reader(io.StringIO(text))

    return Rows(tuple(map(str, frame.columns)), rows())


def _npz_rows(path: Path, features: Sequence[str]) -> Rows:
    arrays = read_npz(path)
    x = next((arrays[key] for key in ("X", "x", "X_test", "x_test") if key in arrays), None)
    y = arrays.get("y")
    if x is None or x.ndim != 2 or x.shape[1] != len(features):
        found = "there is none" if x is None else f"its shape is {x.shape}"
        raise DataError(
            f"an array X [rows, {len(features)}] of the model's features is wanted, but {found}."
        )
    if y is None or y.shape != (len(x),):
        return Rows(tuple(features), _array_rows(x))
    return Rows((*features, "y"), _array_rows(x, y))


def _named_rows(name: str, data_dir: str | os.PathLike[str] | None) -> Rows:
    data = datasets.load(name, data_dir=data_dir)
    assert data.classes is not None
    names = (*data.feature_names, data.target_name)
    return Rows(names, _array_rows(data.x_test, data.classes[data.y_test]))


def _array_rows(*arrays: np.ndarray) -> Iterator[list[str]]:
    """Rows of arrays side by side, in the shortest words that mean the same numbers."""
    columns = [array.reshape(len(array), -1) for array in arrays]
    for start in range(0, len(columns[0]), ROWS_AT_ONCE):
        words = [c[start : start + ROWS_AT_ONCE].astype(str).tolist() for c in columns]
        for parts in zip(*words, strict=True):
            yield [cell for part in parts for cell in part]
