"""Tables in files, read a block at a time: what columns they have, and a number for every row."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from senn.columns.table import Table
from senn.readers import DataError, first_sentence
from senn.standalone.numpy_columns import MISSING
from senn.table_files import packages_wanted
from senn.text_files import dialect_of
from senn.words import columns_phrase, counted, quoted, short

SUFFIXES = (".parquet", ".csv")
ROWS_AT_ONCE = 2**15
GOLDEN, MIX = np.uint64(0x9E3779B97F4A7C15), (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


class Unit(NamedTuple):
    """What is read from its beginning on: a row group of Parquet, a file of text."""

    fragment: Any
    file: str  # its name within the folder
    first: int  # the number of its first row within its file
    rows: int | None  # None if only reading tells


class Rows(NamedTuple):
    """Some rows in the order of their file, and a random number for each [N] that stays its own.

    It follows from the name of the file and the row's place in it, whatever is read beside it.
    """

    table: Table
    numbers: np.ndarray


@dataclass(frozen=True)
class TableFiles:
    """Files with the same columns; `schema` is pyarrow's."""

    name: str
    schema: Any
    units: tuple[Unit, ...]
    bytes: int
    whole: frozenset[str] = frozenset()  # columns of text files that looked like whole numbers

    @property
    def rows(self) -> int | None:
        """In all, if it is known before they are read."""
        rows = [unit.rows for unit in self.units]
        return None if None in rows else sum(rows)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def blocks(self, unit: Unit, names: Sequence[str], seed: int) -> Iterator[Rows]:
        """The rows of a unit."""
        import pyarrow

        key, place = _key(unit.file, seed), unit.first
        with readable(unit.file):
            for batch in unit.fragment.to_batches(
                schema=self.schema, columns=list(names), batch_size=ROWS_AT_ONCE, use_threads=False,
                batch_readahead=1, fragment_readahead=1, memory_pool=pyarrow.system_memory_pool(),
            ):  # fmt: skip
                if not batch.num_rows:
                    continue
                numbers = mixed(np.arange(place, place + batch.num_rows, dtype=np.uint64), key)
                yield Rows(_table(batch, names, place + 1), numbers)
                place += batch.num_rows


def files_in(path: Path) -> list[Path]:
    """The tables of a folder, or the file itself; nothing for others."""
    if path.is_dir():
        found = [p for p in sorted(path.iterdir()) if not p.name.startswith((".", "_"))]
    else:
        found = [path]
    return [p for p in found if p.suffix.lower() in SUFFIXES and p.is_file()]


def open_tables(path: Path, encoding: str | None = None) -> TableFiles:
    """The files to read, once all have the same columns, of types that can be learned from."""
    try:
        import pyarrow.dataset
    except ImportError as error:
        raise DataError(packages_wanted(error)) from error
    files = files_in(path)
    kinds = {file.suffix.lower() for file in files}
    if len(kinds) != 1:
        raise DataError(f"it holds files of {quoted(sorted(kinds))}: keep those of one kind.")
    text = kinds == {".csv"}
    form = _csv_format(files[0], encoding) if text else pyarrow.dataset.ParquetFileFormat(
        default_fragment_scan_options=pyarrow.dataset.ParquetFragmentScanOptions(
            use_buffered_stream=True, pre_buffer=False
        )
    )  # fmt: skip
    schemas, units = [], []
    for file in files:
        name = file.name
        with readable(name):
            whole = pyarrow.dataset.dataset(str(file), format=form)
            schemas.append(whole.schema)
            for fragment in whole.get_fragments():
                units += [Unit(fragment, name, 0, None)] if text else _row_groups(fragment, name)
    schema, integers = _one_schema(files, schemas, text=text)
    size = sum(file.stat().st_size for file in files)
    return TableFiles(path.resolve().name, schema, tuple(units), size, integers)


def _row_groups(fragment: Any, name: str) -> list[Unit]:
    found, first = [], 0
    for group in fragment.split_by_row_group():
        rows = group.row_groups[0].num_rows
        found.append(Unit(group, name, first, rows))
        first += rows
    return [unit for unit in found if unit.rows]


def _csv_format(file: Path, encoding: str | None) -> Any:
    import pyarrow.csv
    import pyarrow.dataset

    dialect = dialect_of(file, encoding)
    if dialect.separator == " ":
        raise DataError(
            "its columns are separated by blanks, which cannot be read a block at a time: separate "
            "them by commas, or save it as .parquet."
        )
    return pyarrow.dataset.CsvFileFormat(
        parse_options=pyarrow.csv.ParseOptions(delimiter=dialect.separator),
        read_options=pyarrow.csv.ReadOptions(encoding=dialect.encoding, skip_rows=dialect.skipped),
        convert_options=pyarrow.csv.ConvertOptions(
            null_values=list(MISSING), strings_can_be_null=True
        ),
    )


def _one_schema(files: Sequence[Path], schemas: Sequence[Any], *, text: bool) -> Any:
    """The columns of all files, and which of them looked like whole numbers in text.

    In text a block says too little to tell whole numbers from others: all are read as others.
    """
    import pyarrow as pa

    for file, schema in zip(files, schemas, strict=True):
        if schema.names != schemas[0].names:
            raise DataError(
                f"{short(file.name)} has columns {quoted(schema.names)}, and "
                f"{short(files[0].name)} has {quoted(schemas[0].names)}: give files with the same "
                "columns."
            )
    if len(set(schemas[0].names)) < len(schemas[0].names):
        raise DataError("two of its columns have one name: rename one of them.")
    try:
        schema = pa.unify_schemas(list(schemas), promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(
            f"its files have columns of different types ({first_sentence(error)}): write them as "
            "one type."
        ) from error
    integers = frozenset()
    if text:
        integers = frozenset(f.name for f in schema if pa.types.is_integer(f.type))
        loose = [pa.types.is_integer(f.type) or pa.types.is_null(f.type) for f in schema]
        fields = [
            pa.field(f.name, pa.float64()) if change else f
            for f, change in zip(schema, loose, strict=True)
        ]
        schema = pa.schema(fields)
    return schema.remove_metadata(), integers


def refuse_types(schema: Any, names: Sequence[str]) -> None:
    """Refuse columns that one pass over blocks does not tell how to learn from."""
    import pyarrow as pa

    dates = [n for n in names if pa.types.is_temporal(schema.field(n).type)]
    if dates:
        raise DataError(
            f"{columns_phrase(dates)} hold{'s' * (len(dates) == 1)} dates or times, which are not "
            "learned from data that are streamed: make numbers of them, or say --drop."
        )
    others = [n for n in names if not is_known(schema.field(n).type)]
    if others:
        kind = schema.field(others[0]).type
        raise DataError(
            f"{columns_phrase(others)} hold{'s' * (len(others) == 1)} values of type {kind}, where "
            "numbers, booleans or text are wanted: say --drop."
        )


def is_known(kind: Any) -> bool:
    """Whether a column of this type is one of numbers, booleans or text."""
    import pyarrow.types as types

    number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return number or is_text(kind)


def is_text(kind: Any) -> bool:
    """Whether a column of this type holds words."""
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    return types.is_string(kind) or types.is_large_string(kind)


def _table(batch: Any, names: Sequence[str], first: int) -> Table:
    import pyarrow.types as types

    kinds = [batch.schema.field(name).type for name in names]
    columns = tuple(_values(batch.column(name)) for name in names)
    return Table(tuple(names), columns, tuple(map(types.is_dictionary, kinds)), first=first)


def _values(column: Any) -> np.ndarray:
    """A column as an array: NaN or None for gaps, one object for words that are alike."""
    if not is_text(column.type):
        return column.to_numpy(zero_copy_only=False)
    if not hasattr(column, "dictionary"):
        column = column.dictionary_encode()
    words = np.array([*column.dictionary.to_pylist(), None, None], object)
    codes = column.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
    return words[codes]


def _key(file: str, seed: int) -> np.uint64:
    digest = hashlib.sha256(f"{seed}/{file}".encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def mixed(values: np.ndarray, key: np.uint64) -> np.ndarray:
    """Whole numbers [N] as ones that look random (SplitMix64 of Steele, Lea and Flood, 2014)."""
    z = (values + np.uint64(1)) * GOLDEN + key
    z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX[0])
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX[1])
    return z ^ (z >> np.uint64(31))


@contextmanager
def readable(file: str) -> Iterator[None]:
    """One sentence about a file for whatever pyarrow says."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeError) as error:
        raise DataError(
            f"{short(file)} cannot be read ({first_sentence(error)}): mend or leave out that file."
        ) from error


def told_of(files: TableFiles) -> str:
    """How many files and bytes, in words."""
    n = len({unit.file for unit in files.units})
    return f"{counted(n, 'file')} of {files.bytes / 2**20:,.0f} MiB"
