"""Files as tables: text, spreadsheets, Parquet and Feather, by one rule for all commands."""

import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from senn.columns.table import Table, table_of
from senn.readers import DataError, check_memory, first_sentence, is_number
from senn.standalone.numpy_columns import MISSING, TRUTH, is_missing
from senn.text_files import TEXT_SUFFIXES, Dialect, dialect_of, fitted, rows_of
from senn.words import short

ROWS_AT_ONCE = 2**14
MOST_ROWS = 2**20  # of a sheet
NUMBER_OF_ROW = re.compile(rb'<(?:\w+:)?row\b[^>]*?\br="(\d+)"')
GAPS = frozenset(MISSING) - {"?"}
SEPARATOR = "\0"  # between cells kept as one text: no file of text holds it
ADVICE = {
    ".xlsx": "save it again, or as csv",
    ".parquet": "fetch the file again",
    ".feather": "fetch the file again",
}
TABLE_SUFFIXES = (*TEXT_SUFFIXES, ".zip", *ADVICE)


def suffix_of(path: Path) -> str:
    """The ending of a file's name that says its kind: `.csv`, `.csv.gz`."""
    name = path.name.lower()
    return next((s for s in TEXT_SUFFIXES if name.endswith(s)), path.suffix.lower())


def read_table(path: Path, encoding: str | None = None) -> tuple[Table, tuple[str, ...]]:
    """A file as a table, and notes on what was assumed about it.

    Raises a `DataError` for what cannot be read; `encoding` is of text, told from it if None.
    """
    suffix = suffix_of(path)
    try:
        if suffix in (*TEXT_SUFFIXES, ".zip"):
            return _read_text(path, dialect_of(path, encoding))
        # Optional, and so imported where they are needed.
        import pandas

        read = {".xlsx": _read_excel, ".parquet": _read_parquet, ".feather": _read_feather}
        frame, notes = read[suffix](pandas, path)
        table = table_of(frame)
        return (_without_counter(table, notes) if suffix == ".xlsx" else table), tuple(notes)
    except DataError:
        raise
    except ImportError as error:
        raise DataError(packages_wanted(error)) from error
    except Exception as error:  # pandas, pyarrow, openpyxl, gzip and zipfile raise many kinds
        advice = ADVICE.get(suffix, "give text with as many fields in every row as there are names")
        raise DataError(
            f"this is no readable {suffix} file ({first_sentence(error)}): {advice}."
        ) from error


# --- Of other programs ----------------------------------------------------------------------


def packages_wanted(error: ImportError) -> str:
    """What to do where pandas, pyarrow or openpyxl are missing, in a sentence."""
    return (
        f"reading tables needs pandas, pyarrow and openpyxl ({first_sentence(error)}): "
        "install them with pip install 'senn[tables]'."
    )


def _read_parquet(pandas: Any, path: Path) -> tuple[Any, list[str]]:
    """A DataFrame, once the footer has said that it fits."""
    import pyarrow.parquet

    claims = pyarrow.parquet.read_metadata(path)
    check_memory(8 * claims.num_rows * claims.num_columns)
    return pandas.read_parquet(path, engine="pyarrow"), []


def _read_feather(_: Any, path: Path) -> tuple[Any, list[str]]:
    """A DataFrame, a batch at a time, each once what was read before left room."""
    import pyarrow

    with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_file(source) as file:
        batches, size = [], 0
        for place in range(file.num_record_batches):
            batches.append(file.get_batch(place))
            batches[-1].validate(full=True)
            size += batches[-1].nbytes
            check_memory(size)
        return pyarrow.Table.from_batches(batches, file.schema).to_pandas(), []


def _read_excel(pandas: Any, path: Path) -> tuple[Any, list[str]]:
    """The first sheet as a DataFrame, without the rows and columns in which nothing stands."""
    with zipfile.ZipFile(path) as archive:
        check_memory(sum(member.file_size for member in archive.infolist()))
        _check_rows(archive)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl's, on what it leaves out and on itself
        with pandas.ExcelFile(path, engine="openpyxl") as book:
            sheets = book.sheet_names
            cells = book.parse(0, header=None, keep_default_na=False, na_values=[""])
    notes = []
    if len(sheets) > 1:
        notes = [f"Of the {len(sheets)} sheets the first is read, {short(sheets[0])}."]
    return _below_names(cells.dropna(how="all").dropna(how="all", axis=1), notes), notes


def _check_rows(archive: zipfile.ZipFile) -> None:
    """Refuse rows beyond a sheet's: openpyxl makes all that are missing up to one of them."""
    for name in archive.namelist():
        if not name.startswith("xl/worksheets/") or name.endswith("/"):
            continue
        with archive.open(name) as sheet:
            before = b""
            while part := sheet.read(2**20):
                for digits in NUMBER_OF_ROW.findall(before + part):
                    if len(digits) > 7 or int(digits) > MOST_ROWS:
                        raise DataError(
                            f"it claims a row {digits[:20].decode()}, and sheets have "
                            f"{MOST_ROWS:,} at most: save it again, or as csv."
                        )
                before = part[-200:]  # in which an element may begin


def _below_names(cells: Any, notes: list[str]) -> Any:
    """A sheet's cells as a DataFrame; the names stand in the first row that is half as full as any.

    So titles may stand above them.
    """
    if not len(cells):
        return cells
    filled = cells.notna().sum(axis=1)
    place = int((filled >= filled.max() / 2).argmax())
    if cells.index[place]:
        notes.append(f"The names of the columns are taken from row {cells.index[place] + 1}.")
    names = ["" if is_missing(name) else str(name) for name in cells.iloc[place]]
    frame = cells.iloc[place + 1 :].infer_objects()
    frame.columns = distinct(names)
    return frame


def _without_counter(table: Table, notes: list[str]) -> Table:
    """Leave out the numbers of the rows that pandas writes as a first column without a name."""
    names, _ = _without_index(list(table.names), list(table.columns), notes)
    return table.select(range(len(table.names) - len(names), len(table.names)))


# --- Text -----------------------------------------------------------------------------------


def _read_text(path: Path, dialect: Dialect) -> tuple[Table, tuple[str, ...]]:
    notes = list(dialect.notes)
    rows = rows_of(path, dialect)
    first = next(rows, None)
    if first is None:
        raise DataError("it is empty, where column names and rows of values are wanted.")
    names, columns = header_and_columns(first, rows, notes)
    names, columns = _without_index(*_without_blank(names, columns), notes)
    _refuse_nothing(columns)
    return Table(tuple(names), tuple(columns), (False,) * len(names)), tuple(notes)


def header_and_columns(
    first: list[str], rows: Iterator[list[str]], notes: list[str]
) -> tuple[list[str], list[np.ndarray]]:
    """The names of the columns, and what they hold."""
    second = next(rows, None)
    if second is None:
        return distinct(first), [np.empty(0, object) for _ in first]
    named = named_rows(first, second)
    columns = _columns(named, chain([second], rows))
    if len(named) > len(first) and len(set(columns[0].tolist())) < len(columns[0]):
        raise DataError(
            f"row 1 has {len(second)} fields where there are {len(first)} columns: mend the row of "
            "names."
        )
    if len(named) > len(first):
        notes.append("The first column has no name, and is taken for the names of the rows.")
    counted = first == [str(index) for index in range(len(first))]
    if not counted and _is_data(first, columns):
        notes.append(
            "The first row looks like data, so the columns are called column_0, column_1, ...; "
            "add a row of names if that is wrong."
        )
        tops = [_typed([cell]) for cell in first]
        columns = [
            _joined(top, column, cell)
            for top, column, cell in zip(tops, columns, first, strict=True)
        ]
        return [f"column_{index}" for index in range(len(columns))], columns
    if counted:  # as pandas itself writes above columns without names
        notes.append("The first row, 0, 1, 2, ..., is taken for the names of the columns.")
    return distinct(named), columns


def named_rows(first: list[str], second: list[str]) -> list[str]:
    """The names in the first row; R writes none above the names of rows, which get an empty one."""
    if len(second) == len(first) + 1 and second[-1].strip():
        return ["", *first]
    return first


def distinct(names: Iterable[str]) -> list[str]:
    """Names of columns as pandas has them: no two alike, none empty."""
    found: dict[str, None] = {}
    for place, name in enumerate(names):
        own, again = name.strip() or f"Unnamed: {place}", 0
        unique = own
        while unique in found:
            again += 1
            unique = f"{own}.{again}"
        found[unique] = None
    return list(found)


def _columns(names: Sequence[str], rows: Iterator[list[str]]) -> list[np.ndarray]:
    """All rows as columns of the simplest types; the text of each is kept as one till the end."""
    width, n, size = len(names), 0, 0
    texts: list[list[str]] = [[] for _ in names]
    while cells := list(islice(rows, ROWS_AT_ONCE)):
        cells = [fitted(row, width, number) for number, row in enumerate(cells, n + 1)]
        n += len(cells)
        for text, column in zip(texts, zip(*cells, strict=True), strict=True):
            text.append(SEPARATOR.join(column))
            size += len(text[-1])
        check_memory(8 * n * width + size)
    return [_typed([cell for part in text for cell in part.split(SEPARATOR)]) for text in texts]


def _typed(cells: list[str]) -> np.ndarray:
    """Cells as whole numbers, numbers with NaN for gaps, booleans, or text as it is."""
    sample = next((cell for cell in cells if cell.strip() not in GAPS), "")
    if is_number(sample) or not sample:
        for kind in (np.int64, np.float64):
            try:
                found = np.array(cells).astype(kind) if kind is np.int64 else _floats(cells)
            except (ValueError, OverflowError):
                continue
            if not any("_" in cell for cell in cells):
                return found
    if sample.strip().lower() in TRUTH:
        words = {cell.strip().lower() for cell in cells}
        if words <= set(TRUTH):
            return np.array([TRUTH[cell.strip().lower()] for cell in cells], bool)
    words = {}  # one object for cells that are alike
    return np.array([*(words.setdefault(cell, cell) for cell in cells), None], object)[:-1]


def _floats(cells: list[str]) -> np.ndarray:
    try:
        return np.array(cells, float)
    except ValueError:
        # A question mark stays as it is, so that it can be named if it stands in a target.
        return np.array(["nan" if cell.strip() in GAPS else cell for cell in cells], float)


def _joined(top: np.ndarray, column: np.ndarray, cell: str) -> np.ndarray:
    """A column with one more value above it."""
    if column.dtype == object:
        return np.array([cell, *column, None], object)[:-1]
    return np.concatenate([top, column])


def _is_data(first: Sequence[str], columns: Sequence[np.ndarray]) -> bool:
    """Whether the first row holds values: numbers, beside words that its column has again."""
    return (
        len(first) == len(columns)
        and any(map(is_number, first))
        and all(
            is_number(field) or (column.astype(str) == field).any()
            for field, column in zip(first, columns, strict=True)
        )
    )


def _without_blank(
    names: list[str], columns: list[np.ndarray]
) -> tuple[list[str], list[np.ndarray]]:
    """Leave out the columns without name and values that separators at the ends of lines make."""
    n = len(names)
    while n and names[n - 1].startswith("Unnamed: ") and is_empty(columns[n - 1]):
        n -= 1
    return names[:n], columns[:n]


def is_empty(values: np.ndarray) -> bool:
    """Whether a column holds nothing but gaps."""
    if values.dtype.kind == "f":
        return bool(np.isnan(values).all())
    if values.dtype.kind == "O":
        return all(v is None or (isinstance(v, str) and v.strip() in MISSING) for v in values)
    return not len(values)


def _without_index(
    names: list[str], columns: list[np.ndarray], notes: list[str]
) -> tuple[list[str], list[np.ndarray]]:
    """Leave out row numbers or names that pandas and R write as a first column without a name."""
    if len(names) < 2 or len(columns[0]) < 2 or names[0] != "Unnamed: 0":
        return names, columns
    if any("names of the rows" in note for note in notes):
        return names[1:], columns[1:]
    start = columns[0][0]
    if start not in (0, 1) or not np.array_equal(columns[0], np.arange(len(columns[0])) + start):
        return names, columns
    notes.append("The first column has no name and counts the rows, so it is left out.")
    return names[1:], columns[1:]


def _refuse_nothing(columns: Sequence[np.ndarray]) -> None:
    if not columns:
        raise DataError("it is empty, where column names and rows of values are wanted.")
