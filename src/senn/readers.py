"""Files as arrays and tables, or a sentence on why they can't be read.

Nothing in a file is ever run, and what a header claims is checked before memory is set aside.
"""

import csv
import gzip
import math
import os
import sys
import warnings
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

MOST_IDX_BYTES = 2**28  # MNIST's largest file has 47 million
MOST_IDX_DIMS = 8  # its images have 3


class DataError(ValueError):
    """Data that cannot be used; the message is one clear sentence for the user."""


def first_sentence(error: BaseException) -> str:
    """The first sentence of another library's error, short enough for one of ours."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = lines[0].removeprefix("Error tokenizing data. C error: ").split(". ")[0].rstrip(".")
    return text if len(text) <= 160 else text[:157] + "..."


def is_number(text: str) -> bool:
    """Whether the text says a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_memory(n_bytes: int) -> None:
    """Refuse what would take more than half of the machine's memory, in which copies go too."""
    half = _machine_memory() / 2
    if n_bytes > half:
        raise DataError(
            f"it would take {n_bytes / 2**30:.3g} GiB of memory, more than half of this machine's "
            f"({half / 2**30:.3g} GiB): give fewer rows or columns."
        )


def _machine_memory() -> float:
    if not hasattr(os, "sysconf"):  # Windows
        return math.inf
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


# --- IDX and npz ---------------------------------------------------------------------------------


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not, as an array of its own shape.

    Raises a `DataError` for a file that is not one, or is shorter or longer than it says.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MOST_IDX_BYTES + 1)
    except Exception as error:  # gzip raises OSError, EOFError, zlib.error
        raise DataError(
            f"Cannot read {str(path)!r} ({first_sentence(error)}): fetch the file again."
        ) from error
    n_dims = content[3] if content.startswith(b"\x00\x00\x08") and len(content) > 3 else 0
    start = 4 + 4 * n_dims
    if not 0 < n_dims <= MOST_IDX_DIMS or len(content) < start:
        raise DataError(
            f"{str(path)!r} is no IDX file of bytes, for it starts with "
            f"{content[:8].hex() or 'nothing'}, not with 000008 and a shape: fetch the file again."
        )
    shape = tuple(np.frombuffer(content, dtype=">u4", count=n_dims, offset=4).tolist())
    if len(content) - start != math.prod(shape):
        raise DataError(
            f"{str(path)!r} holds {len(content) - start} bytes of data but its header says shape "
            f"{shape}: fetch the file again."
        )
    return np.frombuffer(content, dtype=np.uint8)[start:].reshape(shape)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of the file that someone gives; a `DataError` that says how to save them."""
    try:
        return plain_arrays(path)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(
            f"{error}: save numbers or text with numpy.savez(path, X=..., y=...)."
        ) from error


def plain_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file; unpickling is never allowed, for it could run any code.

    Raises a `DataError` for arrays that memory cannot hold, a plain `ValueError` for another file.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip archive")
        # Opened here: NumPy leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as loaded:
            check_memory(sum(member.file_size for member in loaded.zip.infolist()))
            arrays = {key: loaded[key] for key in loaded}
        if odd := [key for key, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{odd[0]!r} in it is no array")
        if odd := [key for key, array in arrays.items() if not _is_unicode(array)]:
            raise ValueError(f"{odd[0]!r} in it holds what is no character")
        return arrays
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        reason = "it holds objects" if "pickle" in str(error) else first_sentence(error)
        raise ValueError(f"this is no npz file of plain arrays ({reason})") from error


def _is_unicode(array: np.ndarray) -> bool:
    """Whether text is text: NumPy takes any 32 bits for a character, and Python does not."""
    if array.dtype.kind != "U" or not array.nbytes:
        return True
    kind = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
    return int(np.frombuffer(array.tobytes(), kind).max()) <= sys.maxunicode


# --- Tables --------------------------------------------------------------------------------------


def read_table(path: Path) -> tuple[Any, tuple[str, ...]]:
    """A .csv or .parquet file as a DataFrame, and notes on what was assumed about the file."""
    suffix = path.suffix.lower()
    try:
        # Optional, and so imported where they are needed.
        import pandas

        return _read_csv(pandas, path) if suffix == ".csv" else (_read_parquet(pandas, path), ())
    except DataError:
        raise
    except ImportError as error:
        raise DataError(
            f"reading tables needs pandas and pyarrow ({first_sentence(error)}): "
            f"install them with pip install 'senn[tables]'."
        ) from error
    except Exception as error:  # pandas and pyarrow raise many kinds
        advice = "give UTF-8 text with as many fields in every row as there are column names"
        raise DataError(
            f"this is no readable {suffix} file ({first_sentence(error)})"
            f"{': ' + advice if suffix == '.csv' else ''}."
        ) from error


def _read_parquet(pandas: Any, path: Path) -> Any:
    """A DataFrame, once the footer has said that it fits."""
    import pyarrow.parquet

    claims = pyarrow.parquet.read_metadata(path)
    check_memory(8 * claims.num_rows * claims.num_columns)
    return pandas.read_parquet(path, engine="pyarrow")


def _read_csv(pandas: Any, path: Path) -> tuple[Any, tuple[str, ...]]:
    """A DataFrame, and notes on what was assumed about the file."""
    separator, first_row = csv_start(path)
    options = {"sep": separator, "index_col": False, "skipinitialspace": True, "low_memory": False}
    read = partial(pandas.read_csv, path, encoding="utf-8-sig", **options)
    # Rows may be shorter than the first one, and are filled up: a small file, a large table.
    check_memory(8 * read(nrows=0).shape[1] * _lines(path))
    with warnings.catch_warnings():
        # "Length of header does not match": pandas would drop the last columns.
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        frame = read()
        # pandas itself writes 0, 1, 2, ... above columns without names.
        counted = first_row == [str(index) for index in range(len(first_row))]
        headless = not counted and _is_data(first_row, frame)
        frame = read(header=None) if headless else frame
    notes: list[str] = []
    if separator != ",":
        notes.append(f"Columns are taken to be separated by {separator!r}.")
    if headless:
        frame.columns = [f"column_{index}" for index in range(frame.shape[1])]
        notes.append(
            "The first row looks like data, so the columns are called column_0, column_1, ...; "
            "add a row of names if that is wrong."
        )
    elif counted:
        notes.append("The first row, 0, 1, 2, ..., is taken for the names of the columns.")
    return _without_index(frame, notes), tuple(notes)


def csv_start(path: Path) -> tuple[str, list[str]]:
    """The separator and the fields of the first row that is not blank."""
    with path.open("rb") as file:
        if b"\0" in file.read(8192):
            raise DataError("it is binary, or UTF-16, where UTF-8 text is wanted: save it as csv.")
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        line = next((line for line in file if line.strip()), None)
        if line is None:
            raise DataError("it is empty, where column names and rows of values are wanted.")
        separator = max(",;\t", key=line.count)  # the comma if none occurs more often
        return separator, next(csv.reader([line], delimiter=separator, skipinitialspace=True))


def _is_data(first_row: Sequence[str], frame: Any) -> bool:
    """Whether the first row holds values: numbers, beside words that its column has again."""
    return any(map(is_number, first_row)) and all(
        is_number(field) or (frame.iloc[:, index] == field).any()
        for index, field in enumerate(first_row)
    )


def _without_index(frame: Any, notes: list[str]) -> Any:
    """Leave out the row numbers that pandas and R write as a first column without a name."""
    if frame.shape[1] < 2 or frame.shape[0] < 2 or str(frame.columns[0]) != "Unnamed: 0":
        return frame
    first, start = frame.iloc[:, 0], frame.iloc[0, 0]
    if start not in (0, 1) or not np.array_equal(first, np.arange(len(frame)) + start):
        return frame
    notes.append("The first column has no name and counts the rows, so it is left out.")
    return frame.iloc[:, 1:]


def _lines(path: Path) -> int:
    """How many lines a text has, at least."""
    with path.open("rb") as file:
        pieces = iter(partial(file.read, 2**20), b"")
        counts = [(piece.count(b"\n"), piece.count(b"\r")) for piece in pieces]
    return max(map(sum, zip(*counts, strict=True)), default=0) + 1
