"""Tables written as text: how they are written is told from the file, the same for all readers.

Neither pandas nor JAX is needed.
"""

import codecs
import csv
import gzip
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from senn.readers import DataError, first_sentence
from senn.words import counted, short

SEPARATORS = ",;\t| "  # a blank, of which several count as one, if nothing else separates
TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
FALLBACKS = ("cp1252", "latin-1")  # for bytes that are no UTF-8
END = "\1"  # a line of our own after the last of a file
TRIED_LINES = 100  # of which the separator is told
FEWEST_BELOW = 3  # cells of the rows under a title; R has one name above two cells
LONGEST_FIELD = 2**17  # characters; the csv module's own limit


class Dialect(NamedTuple):
    """How a table is written."""

    encoding: str
    separator: str
    skipped: int  # lines before the first row
    notes: tuple[str, ...] = ()


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a text file, unpacked if it is gzipped or the one table in a zip archive."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        with gzip.open(path) as file:
            yield file  # pyright: ignore[reportReturnType]
    elif suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(the_table(archive)) as file:
            yield file  # pyright: ignore[reportReturnType]
    else:
        with path.open("rb") as file:
            yield file


def the_table(archive: zipfile.ZipFile) -> str:
    """The name of the only table of text in an archive; a `DataError` if there is not just one."""
    names = [
        name
        for name in archive.namelist()
        if name.lower().endswith((".csv", ".tsv", ".txt")) and not name.startswith("__MACOSX")
    ]
    if len(names) != 1:
        found = f"{len(names)} of them" if names else "none"
        raise DataError(f"it holds {found} where one .csv, .tsv or .txt file is wanted.")
    return names[0]


def dialect_of(path: Path, encoding: str | None = None) -> Dialect:
    """How the table in a file is written, and notes on what was assumed.

    Raises a `DataError` for an empty file, a binary one, and one that is not of `encoding`.
    """
    notes: list[str] = []
    with opened(path) as file:
        start = file.read(8192)
    encoding = _encoding(path, start, encoding, notes)
    lines, skipped, separator = _first_lines(path, encoding)
    if not lines:
        raise DataError("it is empty, where column names and rows of values are wanted.")
    if separator is None:
        separator = _separator(lines)
        if separator != ",":
            notes.append(f"Columns are taken to be separated by {separator!r}.")
    titles = _titles(lines, separator)
    if titles:
        above = f"{counted(titles, 'line')} above the names of the columns"
        notes.append(
            f"{above} {'is' if titles == 1 else 'are'} left out, from {short(lines[0].strip())} on."
        )
        skipped += titles
    return Dialect(encoding, separator, skipped, tuple(notes))


def rows_of(path: Path, dialect: Dialect) -> Iterator[list[str]]:
    """The rows of a table as the cells that are there, lines of blanks left out.

    Raises a `DataError` for what is no text of its encoding.
    """
    try:
        with opened(path) as file:
            text = io.TextIOWrapper(file, dialect.encoding, newline="")
            for _ in range(dialect.skipped):
                text.readline()
            # A quote that is never closed swallows what is added.
            lines = chain(_text_alone(text), ["\n", END])
            row: list[str] = []
            for row in csv.reader(lines, delimiter=dialect.separator, skipinitialspace=True):
                if row != [END] and (len(row) > 1 or (row and row[0].strip())):
                    yield row
            if row != [END]:
                raise DataError(
                    f"a quote is never closed; what follows {row[-1][:40]!r} became one field: "
                    "close it, or double the quotes within fields."
                )
    except UnicodeError as error:
        raise DataError(
            f"it is no text of encoding {dialect.encoding} ({first_sentence(error)}): say "
            "--encoding."
        ) from error
    except csv.Error as error:
        raise DataError(f"it is no table of text ({first_sentence(error)}).") from error
    except (OSError, EOFError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise DataError(f"it cannot be read ({first_sentence(error)}).") from error


def _text_alone(lines: Iterable[str]) -> Iterator[str]:
    """The lines; a `DataError` for one with a NUL, which no text has."""
    for line in lines:
        if "\0" in line:
            raise DataError("it is binary after its first lines, where text is wanted.")
        yield line


def fitted(row: list[str], width: int, number: int) -> list[str]:
    """A row of just `width` cells: empty ones are added or cut off at its end.

    A `DataError` names a row, by its number, that has more cells than that with something in them.
    """
    if len(row) == width:
        return row
    if any(cell.strip() for cell in row[width:]):
        raise DataError(
            f"row {number} has {len(row)} fields where there {_columns(width)}: mend or drop "
            "it first."
        )
    return (row + [""] * (width - len(row)))[:width]


def _columns(width: int) -> str:
    return "is 1 column" if width == 1 else f"are {width} columns"


# --- Encoding and separator -----------------------------------------------------------------


def _encoding(path: Path, start: bytes, said: str | None, notes: list[str]) -> str:
    if said is not None:
        try:
            codecs.lookup(said)
        except LookupError as error:
            raise DataError(
                f"there is no encoding {said!r}: say utf-8, cp1252, latin-1 or utf-16."
            ) from error
        return "utf-8-sig" if said.lower().replace("_", "-") in ("utf-8", "utf8") else said
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        notes.append("Taken for UTF-16 text, for it begins as such.")
        return "utf-16"
    if b"\0" in start:
        raise DataError("it is binary, or UTF-16 without its mark, where text is wanted.")
    known = ("utf-8-sig", *FALLBACKS)
    encoding = next((name for name in known if _decodes(path, name)), FALLBACKS[-1])
    if encoding != "utf-8-sig":
        name = {"cp1252": "Windows-1252", "latin-1": "Latin-1"}[encoding]
        notes.append(f"It is no UTF-8, so it is taken for {name} text; if not, say --encoding.")
    return encoding


def _decodes(path: Path, encoding: str) -> bool:
    with opened(path) as file:
        text = io.TextIOWrapper(file, encoding, newline="")
        try:
            while text.read(2**20):
                pass
        except UnicodeError:
            return False
        return True


def _first_lines(path: Path, encoding: str) -> tuple[list[str], int, str | None]:
    """The first lines that are not blank, how many were left out before, and Excel's `sep=`."""
    try:
        with opened(path) as file:
            text = io.TextIOWrapper(file, encoding, newline="")
            lines = list(islice(iter(lambda: text.readline(LONGEST_FIELD), ""), TRIED_LINES))
    except UnicodeError as error:
        raise DataError(
            f"it is binary, or no text of encoding {encoding} ({first_sentence(error)}): "
            "say another with --encoding."
        ) from error
    first = next((place for place, line in enumerate(lines) if line.strip()), len(lines))
    said = lines[first].strip().strip('"') if first < len(lines) else ""
    if said.lower().startswith("sep=") and len(said) == 5:
        return lines[first + 1 :], first + 1, said[4]
    return lines[first:], first, None


def _separator(lines: Sequence[str]) -> str:
    """What separates the columns: what cuts most rows into as many cells as the first."""

    def fit(separator: str) -> tuple[float, int]:
        try:
            reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
            rows = [row for row in reader if row and (len(row) > 1 or row[0].strip())]
            rows = rows[_above(rows) :]
        except csv.Error:
            return 0.0, 0
        first = _width(rows[0]) if rows else 0
        if first < 2:
            return 0.0, 0
        # R writes no name above row names. And gaps at the end make rows narrower.
        alike = [
            row
            for row in rows[1:]
            if first in (len(row), _width(row), len(row) - 1, _width(row) - 1)
        ]
        # A quoted cell of several lines may be cut off at the end, so not all need be alike.
        return (1 + len(alike)) / len(rows), first

    found = {separator: fit(separator) for separator in SEPARATORS}
    best = max(SEPARATORS, key=lambda separator: found[separator])
    if best == " " and found[best][0] < 1:  # words, rather than columns
        return ","
    return best if found[best][1] else ","


def _titles(lines: Sequence[str], separator: str) -> int:
    """How many lines stand above the names of the columns."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    rows, ends = [], [0]
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                rows.append(row)
                ends.append(reader.line_num)
    except csv.Error:
        return 0
    return ends[_above(rows)]


def _above(rows: Sequence[Sequence[str]]) -> int:
    """How many rows of one cell come first, where most of all have three and more."""
    wide = [len(row) >= FEWEST_BELOW for row in rows]
    if sum(wide) <= len(rows) / 2 or len(rows[0]) > 1:
        return 0
    return next(place for place, row in enumerate(rows) if len(row) > 1)


def _width(row: Sequence[str]) -> int:
    """Cells up to the last one that is not empty."""
    width = len(row)
    while width and not row[width - 1].strip():
        width -= 1
    return width
