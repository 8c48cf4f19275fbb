"""Rows to predict, from a named data set or a file: as text, a bounded number at a time.

What is read here is carried through to the output as it is; only the columns that a model reads
become numbers.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain, islice
from pathlib import Path

import numpy as np

from senn import datasets
from senn.columns.table import Table
from senn.datasets.images import are_images, image_rows
from senn.datasets.npy_file import npy_table
from senn.datasets.parquet_blocks import parquet_blocks
from senn.datasets.streamed_files import SUFFIXES, files_in
from senn.readers import DataError, read_npy, read_npz
from senn.standalone.numpy_columns import is_missing, texts
from senn.table_files import distinct, named_rows, read_table, suffix_of
from senn.text_files import TEXT_SUFFIXES, dialect_of, fitted, rows_of
from senn.words import quoted, short

ROWS_AT_ONCE = 4096
TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Rows:
    """A table: the names of its columns as they were found, and its rows of as many cells."""

    names: tuple[str, ...]
    rows: Iterator[list[str]]
    separator: str = ","

    def chunks(self) -> Iterator["Chunk"]:
        """The rows, `ROWS_AT_ONCE` at a time; a `DataError` for one of too many cells."""
        first = 1
        while cells := list(islice(self.rows, ROWS_AT_ONCE)):
            cells = [
                fitted(row, len(self.names), number) for number, row in enumerate(cells, first)
            ]
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

    cells: list[list[str]]
    first: int

    def table(self, places: Sequence[int], names: Sequence[str]) -> Table:
        """Some columns, as the text that they are, or as numbers where they are nothing else."""
        columns = tuple(self._column(place) for place in places)
        return Table(tuple(names), columns, (False,) * len(names), first=self.first)

    def _column(self, place: int) -> np.ndarray:
        column = [row[place] for row in self.cells]
        return np.array([*column, None], object)[:-1]

    def words(self, place: int) -> list[str | None]:
        """A column as the words in it, None for gaps."""
        return texts(self._column(place))

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
                f"row {self.first + row} has {_told(column[row])} in column {short(name)}, where "
                f"the model needs a number below {limit:.3g} in size: drop the row or fill it in "
                "first."
            )
        return values


def open_rows(
    source: str,
    features: Sequence[str],
    data_dir: str | os.PathLike[str] | None = None,
    encoding: str | None = None,
) -> Rows:
    """The rows of a file that `senn.datasets.load` reads, or the test rows of a named data set.

    `features` are the names of the columns that a model reads. An array X of a .npz file has no
    names: it is taken to hold just these columns. A csv file whose first row has none of them
    but numbers has no names either: its columns are column_0, column_1, ...

    Raises a `DataError` of one sentence for what cannot be read.
    """
    if source.lower() in datasets.NAMES:
        return _named_rows(source, data_dir)
    path = Path(source).expanduser()
    suffix = suffix_of(path)
    if suffix not in datasets.SUFFIXES:
        raise DataError(
            f"these are no data: choose one of {', '.join(datasets.NAMES)}, or a file ending in "
            f"{', '.join(datasets.SUFFIXES)}."
        )
    if not path.is_file():
        raise DataError("there is no such file: check the path.")
    readers = {".npz": _npz_rows, ".npy": _npy_rows, ".parquet": _parquet_rows}
    if suffix in (*TEXT_SUFFIXES, ".zip"):
        return _text_rows(path, features, encoding)
    return readers.get(suffix, _table_rows)(path, features, encoding)


def _number(cell: str) -> float:
    try:
        return TRUTH[cell.strip().lower()] if cell.strip().lower() in TRUTH else float(cell)
    except ValueError:
        return np.nan


def _told(cell: str) -> str:
    blank = cell.strip().lower() in ("", "nan", "na", "n/a", "null", "none")
    return "a missing value (NaN)" if blank else repr(cell[:40])


# --- Where rows come from ------------------------------------------------------------------


def _text_rows(path: Path, features: Sequence[str], encoding: str | None) -> Rows:
    dialect = dialect_of(path, encoding)
    rows = rows_of(path, dialect)
    first = next(rows, None)
    if first is None:
        raise DataError("it is empty, where column names and rows of values are wanted.")
    second = next(rows, None)
    rows = rows if second is None else chain([second], rows)
    separator = "," if dialect.separator == " " else dialect.separator
    if set(features) & set(distinct(first)) or not any(map(_is_number, first)):
        names = first if second is None else named_rows(first, second)
        return Rows(tuple(names), rows, separator)
    names = tuple(f"column_{place}" for place in range(len(first)))
    return Rows(names, chain([first], rows), separator)


def _is_number(cell: str) -> bool:
    return not np.isnan(_number(cell))


def _table_rows(path: Path, _: Sequence[str], encoding: str | None) -> Rows:
    table, _notes = read_table(path, encoding)
    return Rows(table.names, _cells(table))


def _parquet_rows(path: Path, _: Sequence[str], encoding: str | None) -> Rows:  # noqa: ARG001
    return _rows_of_blocks([path])


def _rows_of_blocks(paths: Sequence[Path]) -> Rows:
    found = parquet_blocks(paths)
    return Rows(found.names, chain.from_iterable(map(_cells, found.blocks())))


def open_folder_of_tables(
    folder: Path, features: Sequence[str], encoding: str | None = None
) -> Rows:
    """The rows of all files of a folder such as `senn train` streams, in the order of their names.

    Raises a `DataError` where there are none, or their columns differ.
    """
    paths = files_in(folder)
    kinds = {path.suffix.lower() for path in paths}
    if len(kinds) != 1:
        found = f"this is a folder of {quoted(sorted(kinds))}" if kinds else "this is a folder"
        raise DataError(
            f"{found}, where the model reads rows of a table: name a file, or a folder of "
            f"{' or '.join(SUFFIXES)} files of one kind."
        )
    if kinds == {".parquet"}:
        return _rows_of_blocks(paths)
    first = _text_rows(paths[0], features, encoding)
    others = (_more_rows(first, path, paths[0], features, encoding) for path in paths[1:])
    return replace(first, rows=chain(first.rows, chain.from_iterable(others)))


def _more_rows(
    first: Rows, path: Path, before: Path, features: Sequence[str], encoding: str | None
) -> Iterator[list[str]]:
    """The rows of another file of text, which has the columns of the first."""
    rows = _text_rows(path, features, encoding)
    if rows.names != first.names:
        raise DataError(
            f"{short(path.name)} has columns {quoted(rows.names)}, and {short(before.name)} has "
            f"{quoted(first.names)}: give files with the same columns."
        )
    return rows.rows


def _cells(table: Table) -> Iterator[list[str]]:
    """The rows of a table as text, empty where there is a gap."""
    for start in range(0, len(table), ROWS_AT_ONCE):
        part = table[start : start + ROWS_AT_ONCE]
        yield from (list(row) for row in zip(*map(_written, part.columns), strict=True))


def _written(values: np.ndarray) -> list[str]:
    if values.dtype.kind == "M":
        return ["" if word == "NaT" else word for word in np.datetime_as_string(values).tolist()]
    return ["" if is_missing(value) else _word(value) for value in values.tolist()]


def _word(value: object) -> str:
    """A cell as text; a duration as its days, the number that is learned from."""
    return repr(value / timedelta(days=1)) if isinstance(value, timedelta) else str(value)


def _npy_rows(path: Path, features: Sequence[str], _: str | None) -> Rows:
    array = read_npy(path)
    if are_images(array):
        rows = _wide_as(features, image_rows(array)[0])
        return Rows(tuple(features), _array_rows(rows))
    table = npy_table(array)
    return Rows(table.names, _cells(table))


def _npz_rows(path: Path, features: Sequence[str], _: str | None) -> Rows:
    arrays = read_npz(path)
    names = ("X", "x", "X_test", "x_test", "test_images", "images", "Xte")
    x = next((arrays[key] for key in names if key in arrays), None)
    y = arrays.get("y")
    x = _wide_as(features, image_rows(x)[0] if x is not None and are_images(x) else x)
    if y is None or y.shape != (len(x),):
        return Rows(tuple(features), _array_rows(x))
    return Rows((*features, "y"), _array_rows(x, y))


def _wide_as(features: Sequence[str], x: np.ndarray | None) -> np.ndarray:
    if x is None or x.ndim != 2 or x.shape[1] != len(features):
        found = "there is none" if x is None else f"its shape is {x.shape}"
        raise DataError(
            f"an array X [rows, {len(features)}] of the model's features is wanted, but {found}."
        )
    return x


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
