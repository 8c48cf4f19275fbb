"""The one pass in which all is learned of a table that does not fit in memory.

Kept of it are counts, the classes, and a bounded sample: the rows whose numbers are least, whatever
the order in which files are read. The first of them are those to validate with, the others those
from which columns and their scales are learned, as from all rows of a smaller table.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from senn.columns.table import Table
from senn.datasets.streamed_files import Rows, TableFiles, mixed
from senn.datasets.targets import MAX_INTEGER_CLASSES
from senn.readers import DataError
from senn.standalone.numpy_columns import LARGEST, is_missing
from senn.words import counted, short

VALIDATION_ROWS = 2**15  # at most
SAMPLE_ROWS = 2**17  # of which quantiles are taken in memory, too (`senn.rescaling.ROWS_SORTED`)
TEST_SAMPLE_ROWS = 2**16  # whose predictions a run keeps
MOST_CLASSES = 1000
SECOND = np.uint64(0x5851F42D4C957F2D)  # of a second number for every row


class Plan(NamedTuple):
    """What the pass is to do."""

    features: tuple[str, ...]
    target: str
    test_fraction: float
    seed: int


class Survey(NamedTuple):
    """What the pass found."""

    kept: np.ndarray  # [units] rows that are not for testing
    n_test: int
    untold: int  # rows without a target, which are left out
    distinct: list[Any] | None  # the different values of the target; None for more than classes
    table: Table  # the sample, those to validate with first; rows added for what it lacks last
    y: np.ndarray
    order: np.ndarray  # [N] of the sample: the second numbers of its rows
    units: np.ndarray  # [N] where they are
    test: tuple[Table, np.ndarray]
    checksum: int


class Sample:
    """The rows whose numbers are least, at most `size` of them."""

    def __init__(self, size: int):  # noqa: D107
        self.size, self.bound, self.n = size, None, 0
        self.parts: list[tuple[Table, np.ndarray, np.ndarray, int]] = []

    def offer(self, table: Table, y: np.ndarray, order: np.ndarray, unit: int) -> None:
        """Take of these rows those that may be among the least."""
        if self.bound is not None:
            chosen = order < self.bound
            table, y, order = table[chosen], y[chosen], order[chosen]
        if len(order):
            self.parts.append((table, y, order, unit))
            self.n += len(order)
        if self.n >= 2 * self.size:
            self._cut()

    def taken(self) -> tuple[Table, np.ndarray, np.ndarray, np.ndarray]:
        """The rows, their targets, numbers and units, the least numbers first."""
        self._cut()
        tables, y, orders, _ = zip(*self.parts, strict=True)
        order = np.concatenate(orders)
        units = np.concatenate([np.full(len(o), unit) for _, _, o, unit in self.parts])
        place = np.argsort(order, kind="stable")
        columns = tuple(
            np.concatenate([table.columns[i] for table in tables])[place]
            for i in range(tables[0].shape[1])
        )
        table = replace(tables[0], columns=columns, first=1)
        return table, np.concatenate(y)[place], order[place], units[place]

    def _cut(self) -> None:
        """Keep the least."""
        if self.n <= self.size:
            return
        all_of_them = np.concatenate([order for _, _, order, _ in self.parts])
        self.bound = np.partition(all_of_them, self.size)[self.size]
        kept = []
        for table, y, order, unit in self.parts:
            some = order < self.bound
            if some.any():
                kept.append((table[some], y[some], order[some], unit))
        self.parts, self.n = kept, sum(len(order) for _, _, order, _ in kept)


class _Added:
    """Rows that the sample may lack: one of each class, and one of a gap in each column."""

    def __init__(self):
        self.rows: dict[Any, tuple[Table, np.ndarray]] = {}

    def note(self, key: Any, rows: np.ndarray, table: Table, y: np.ndarray) -> None:
        if key not in self.rows and rows.any():
            one = slice(int(rows.argmax()), int(rows.argmax()) + 1)
            self.rows[key] = table[one], y[one]


def survey(files: TableFiles, plan: Plan, told: Callable[[int], None]) -> Survey:
    """Read all files once; `told` hears how many rows have been read."""
    sample, test, added = Sample(VALIDATION_ROWS + SAMPLE_ROWS), Sample(TEST_SAMPLE_ROWS), _Added()
    kept, n_test, untold, checksum, seen = np.zeros(len(files.units), int), 0, 0, 0, 0
    distinct: set[Any] | None = set()
    for place, unit in enumerate(files.units):
        for rows in files.blocks(unit, (*plan.features, plan.target), plan.seed):
            checksum = _checksum(rows.table, checksum)
            seen += len(rows.table)
            table, y, order, testing = divided(rows, plan)
            untold += len(rows.table) - len(y)
            _refuse_infinite(table, unit.file)
            distinct = _more(distinct, y)
            n_test += int(testing.sum())
            kept[place] += int((~testing).sum())
            test.offer(table[testing], y[testing], order[testing], place)
            table, y, order = table[~testing], y[~testing], order[~testing]
            sample.offer(table, y, order, place)
            for name, values in zip(table.names, table.columns, strict=True):
                if name not in added.rows:
                    added.note(name, _gaps(values), table, y)
            _note_classes(added, distinct, table, y)
            told(seen)
    if not kept.sum() or not n_test:
        raise DataError(
            f"it has {counted(int(kept.sum()), 'row')} to train on and {n_test} to test with, "
            "which have a target: give more rows."
        )
    return Survey(
        kept, n_test, untold, None if distinct is None else sorted(distinct),
        *_with_added(sample.taken(), added, distinct), test.taken()[:2], checksum,
    )  # fmt: skip


def divided(rows: Rows, plan: Plan) -> tuple[Table, np.ndarray, np.ndarray, np.ndarray]:
    """The features and the targets of the rows that have one, second numbers, and who is to test.

    The first number of a row says whether it is to test, the second its place among the others.
    """
    *features, y = rows.table.columns
    table = replace(
        rows.table, names=rows.table.names[:-1], columns=tuple(features),
        categorical=rows.table.categorical[:-1],
    )  # fmt: skip
    numbers, missing = rows.numbers, _gaps(y)
    if missing.any():
        table, y, numbers = table[~missing], y[~missing], numbers[~missing]
    shares = (numbers >> np.uint64(11)).astype(np.float64) * 2.0**-53  # in [0, 1)
    return table, y, mixed(numbers, SECOND), shares < plan.test_fraction


def _gaps(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind != "O":
        return np.zeros(len(values), bool)
    return np.array([is_missing(v) or (isinstance(v, str) and not v.strip()) for v in values], bool)


def _refuse_infinite(table: Table, file: str) -> None:
    """Refuse numbers that no network computes with."""
    for name, values in zip(table.names, table.columns, strict=True):
        if values.dtype.kind == "f" and len(values):
            largest = max(np.fmax.reduce(values), -np.fmin.reduce(values))
            if largest > LARGEST:  # not of gaps alone
                row = table.first + int(np.argmax(np.abs(np.nan_to_num(values, posinf=np.inf))))
                raise DataError(
                    f"column {short(name)} has {largest:g} in size near row {row} of "
                    f"{short(file)}, where numbers of at most {LARGEST:.3g} are wanted: mend or "
                    "drop that row."
                )


def _more(distinct: set[Any] | None, y: np.ndarray) -> set[Any] | None:
    """The different targets with these, None if they are more than classes can be."""
    if distinct is None or not len(y):
        return distinct
    more = distinct | set(y.tolist() if y.dtype.kind == "O" else np.unique(y).tolist())
    return more if len(more) <= MOST_CLASSES else None


def _note_classes(added: _Added, distinct: set[Any] | None, table: Table, y: np.ndarray) -> None:
    for value in distinct or ():
        if ("class", value) not in added.rows:
            added.note(("class", value), y == value, table, y)


def _with_added(
    taken: tuple[Table, np.ndarray, np.ndarray, np.ndarray],
    added: _Added,
    distinct: set[Any] | None,
) -> tuple[Table, np.ndarray, np.ndarray, np.ndarray]:
    """The sample, and after it a row of each class and of each column's gap that it lacks.

    Such a row is like others one to train on, but for one that would be to validate with.
    """
    table, y, order, units = taken
    present = set(np.unique(y).tolist()) if distinct is not None and len(y) else set()
    for key, (row, target) in added.rows.items():
        if isinstance(key, tuple):
            lacking = distinct is not None and key[1] not in present
        else:
            lacking = not _gaps(table.columns[table.names.index(key)]).any()
        if lacking:
            columns = zip(table.columns, row.columns, strict=True)
            table = replace(table, columns=tuple(np.concatenate(pair) for pair in columns))
            y = np.concatenate([y, target])
    return table, y, order, units


def _checksum(table: Table, start: int) -> int:
    """Of all numbers and words, in their order."""
    for values in table.columns:
        words = values.dtype.kind == "O"
        said = "\0".join(map(str, values)).encode() if words else np.ascontiguousarray(values).data
        start = zlib.crc32(said, start)
    return start


def is_classification(distinct: Sequence[Any] | None, *, whole: bool, words: bool) -> bool:
    """Whether a target of these different values is one of classes (`infer_task`)."""
    if words:
        return True
    return whole and distinct is not None and len(distinct) <= MAX_INTEGER_CLASSES
