"""Files of Parquet as tables, a bounded number of rows at a time, as they would be read whole."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from senn.columns.table import Table, table_of
from senn.readers import DataError, first_sentence
from senn.table_files import ADVICE, packages_wanted
from senn.words import quoted, short

ROWS_AT_ONCE = 2**14


class _File(NamedTuple):
    """A file, what a sentence about it is to begin with, and its columns while they are empty."""

    file: Any  # pyarrow's
    called: str
    empty: Table


class ParquetBlocks(NamedTuple):
    """Files with the same columns."""

    names: tuple[str, ...]
    files: tuple[_File, ...]
    floating: frozenset[str]  # columns in which whole numbers become others, all of them

    def blocks(self) -> Iterator[Table]:
        """The rows, file after file."""
        for file, called, _ in self.files:
            with _readable(called):
                for batch in file.iter_batches(ROWS_AT_ONCE, use_threads=False):
                    yield self._as_whole(table_of(_frame(file, batch)))

    def _as_whole(self, table: Table) -> Table:
        """Of some rows what pandas makes of them among all others."""
        columns = zip(table.names, table.columns, strict=True)
        return replace(
            table,
            columns=tuple(
                v.astype(float) if name in self.floating and v.dtype.kind in "iu" else v
                for name, v in columns
            ),
        )


def parquet_blocks(paths: Sequence[Path]) -> ParquetBlocks:
    """The files, once their columns are known; a `DataError` where they cannot be read.

    pandas makes floating-point numbers of a column of whole ones that has a gap anywhere. So gaps
    are looked for before anything is read.
    """
    files, floating = [], set()
    for path in paths:
        called = "this" if len(paths) == 1 else short(path.name)
        with _readable(called):
            file = _opened(path)
            files.append(
                _File(file, called, table_of(_frame(file, file.schema_arrow.empty_table())))
            )
            floating |= _with_gaps(file)
    first = files[0].empty.names
    for path, (_, _, empty) in zip(paths, files, strict=True):
        if empty.names != first:
            raise DataError(
                f"{short(path.name)} has columns {quoted(empty.names)}, and "
                f"{short(paths[0].name)} has {quoted(first)}: give files with the same columns."
            )
        columns = zip(empty.names, empty.columns, strict=True)
        floating |= {name for name, values in columns if values.dtype.kind == "f"}
    return ParquetBlocks(first, tuple(files), frozenset(floating))


def _opened(path: Path) -> Any:
    import pandas  # noqa: F401  which makes tables of what is read
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False)


@contextmanager
def _readable(called: str) -> Iterator[None]:
    """One sentence about a file for whatever pandas and pyarrow say, who raise many kinds."""
    try:
        yield
    except DataError:
        raise
    except ImportError as error:
        raise DataError(packages_wanted(error)) from error
    except Exception as error:
        raise DataError(
            f"{called} is no readable .parquet file ({first_sentence(error)}): "
            f"{ADVICE['.parquet']}."
        ) from error


def _frame(file: Any, rows: Any) -> Any:
    """A DataFrame of a batch, with the index that the file says."""
    import pyarrow

    table = rows if isinstance(rows, pyarrow.Table) else pyarrow.Table.from_batches([rows])
    return table.replace_schema_metadata(file.schema_arrow.metadata).to_pandas()


def _with_gaps(file: Any) -> set[str]:
    """The columns of whole numbers, or of categories of them, in which there is a gap."""
    import pyarrow.types as types

    def whole(kind: Any) -> bool:
        return types.is_integer(kind.value_type if types.is_dictionary(kind) else kind)

    wanted = {field.name for field in file.schema_arrow if whole(field.type)}
    return {name for name in wanted if _has_gaps(file, name)}


def _has_gaps(file: Any, name: str) -> bool:
    """Whether a column has a gap. Read: pyarrow aborts at damage in what a file says of that."""
    batches = file.iter_batches(2**16, columns=[name], use_threads=False)
    return any(batch.column(0).null_count for batch in batches)
