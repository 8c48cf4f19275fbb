"""Tables that do not fit in memory: a sample of them, and the way to read all rows again."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from senn.columns.learning import learn
from senn.columns.table import Table
from senn.datasets.dataset import Dataset
from senn.datasets.options import Options
from senn.datasets.streamed_files import TableFiles, open_tables, refuse_types, told_of
from senn.datasets.streamed_survey import (
    MOST_CLASSES,
    VALIDATION_ROWS,
    Plan,
    Survey,
    divided,
    is_classification,
    survey,
)
from senn.datasets.table_file import features_of
from senn.datasets.targets import check_targets
from senn.datasets.wording import did_you_mean
from senn.readers import DataError
from senn.words import columns_phrase, counted, quoted, short

FEWEST_TO_VALIDATE = 10  # as of tables in memory
Said = Callable[[int, int | None], None]  # rows read so far, and how many there are, if known


@dataclass(frozen=True)
class TableStream:
    """All rows of files, to be read again and again; features are such as the sample's."""

    files: TableFiles
    plan: Plan
    found: Survey
    n_validation: int  # the first rows of the sample
    classes: np.ndarray | None
    dtype: Any  # of the features; None for a table
    categorical: tuple[bool, ...]

    @property
    def rows(self) -> int:
        """Those to train on."""
        return int(self._counts().sum())

    @property
    def seed(self) -> int:
        """Of the order of the rows."""
        return self.plan.seed

    @property
    def fingerprint(self) -> str:
        """A hash of where which rows are, and of all numbers in them."""
        units = [(unit.file, unit.first) for unit in self.files.units]
        said = (units, self.found.kept.tolist(), self.found.checksum, *self.plan)
        return hashlib.sha256(repr(said).encode()).hexdigest()

    def read(self, number: int, start: int) -> Iterator[tuple[Any, np.ndarray]]:
        """The rows to train on of pass `number`, from one on: features and targets, in blocks.

        Units come in an order of the pass's own, and the rows of each as they are in their file.
        """
        order = np.random.default_rng([self.seed, number]).permutation(len(self.files.units))
        counts = self._counts().tolist()
        for place in order.tolist():
            if start >= counts[place]:
                start -= counts[place]
                continue
            for table, y, _ in self._blocks(place, to_test=False):
                skipped, start = min(start, len(y)), max(start - len(y), 0)
                if skipped < len(y):
                    yield self._features(table[skipped:]), self._targets(y[skipped:])

    def tested(self) -> Iterator[tuple[Any, np.ndarray]]:
        """All rows to test with."""
        for place in range(len(self.files.units)):
            for table, y, _ in self._blocks(place, to_test=True):
                yield self._features(table), self._targets(y)

    def _blocks(self, place: Any, *, to_test: bool) -> Iterator[tuple[Table, np.ndarray, Any]]:
        names, least = (*self.plan.features, self.plan.target), self._least()
        for rows in self.files.blocks(self.files.units[place], names, self.seed):
            table, y, order, testing = divided(rows, self.plan)
            chosen = testing if to_test else ~testing
            if not to_test and least is not None:
                chosen = chosen & (order > least)
            if chosen.any():
                yield table[chosen], y[chosen], order[chosen]

    def _least(self) -> np.uint64 | None:
        """The largest number of a row to validate with."""
        return self.found.order[self.n_validation - 1] if self.n_validation else None

    def _counts(self) -> np.ndarray:
        """Of each unit the rows to train on."""
        units = self.found.units[: self.n_validation]
        return self.found.kept - np.bincount(units, minlength=len(self.found.kept))

    def _features(self, table: Table) -> Any:
        if self.dtype is None:
            return Table(table.names, table.columns, self.categorical, first=table.first)
        return np.column_stack(table.columns).astype(self.dtype)

    def _targets(self, y: np.ndarray) -> np.ndarray:
        """Codes of classes [N], or numbers [N, 1]."""
        if self.classes is None:
            return y.astype(np.float64)[:, None]
        return np.searchsorted(self.classes, y.astype(self.classes.dtype)).astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class StreamedDataset(Dataset):
    """A data set whose rows are a sample: `x` those to validate with and others, `x_test` some."""

    stream: TableStream


def streamed_dataset(
    path: Path, options: Options, validation_fraction: float, said: Said
) -> StreamedDataset:
    """One pass over the files; `said` hears how far it is.

    Raises a `DataError` for what cannot be learned in such a way.
    """
    files = open_tables(path, options.encoding)
    target, features = _columns(files, options)
    plan = Plan(features, target, options.test_fraction, options.seed)
    found = survey(files, plan, lambda rows: said(rows, files.rows))
    targets = _targets(files, found, target, options)
    features_found = features_of(found.table, options.categorical)
    x = features_found.x
    _refuse_text(found.table, x)
    wanted = round(validation_fraction * int(found.kept.sum()))
    n = 0 if wanted < FEWEST_TO_VALIDATE else min(wanted, VALIDATION_ROWS, len(found.order) // 2)
    array = isinstance(x, np.ndarray)
    stream = TableStream(
        files, plan, found, n, targets.classes, x.dtype if array else None,
        () if array else x.categorical,
    )  # fmt: skip
    untold = counted(found.untold, "row")
    left_out = (f"{untold} without a target are left out.",) if found.untold else ()
    how = (
        f"Streamed from {told_of(files)}: columns and scales are told from "
        f"{len(found.table) - n:,} random rows, and {n:,} others are kept to validate with.",
    )
    test, y_test = found.test
    return StreamedDataset(
        name=files.name,
        task=targets.task,
        x=x,
        y=targets.y,
        x_test=stream._features(test),
        y_test=stream._targets(y_test) if targets.classes is not None else _single(y_test),
        classes=targets.classes,
        feature_names=features_found.names,
        target_name=target,
        notes=(*how, *targets.notes, *left_out, *features_found.notes),
        stream=stream,
    )


def _single(y: np.ndarray) -> np.ndarray:
    return y.astype(np.float32)[:, None]


def _columns(files: TableFiles, options: Options) -> tuple[str, tuple[str, ...]]:
    """The target and the features, once their types can be learned from."""
    names = files.schema.names
    target = names[-1] if options.target is None else options.target
    for wanted, what in (((target,), "--target"), (options.drop, "--drop"),
                         (options.categorical, "--categorical")):  # fmt: skip
        for name in wanted:
            if name not in names:
                raise DataError(
                    f"{what} names {short(name)}, but no column is called so"
                    f"{did_you_mean(name, names)}; the columns are {quoted(names)}."
                )
    if target in options.drop:
        raise DataError(f"{short(target)} is the target, so it cannot be dropped: choose another.")
    features = tuple(n for n in names if n != target and n not in options.drop)
    if not features:
        raise DataError("no column is left besides the target: drop fewer.")
    refuse_types(files.schema, (*features, target))
    return target, features


def _targets(files: TableFiles, found: Survey, name: str, options: Options) -> Any:
    """The sample's targets, checked, with the classes of all rows."""
    import pyarrow.types as types

    kind = files.schema.field(name).type
    words = not (types.is_integer(kind) or types.is_floating(kind))
    whole, task = types.is_integer(kind) or name in files.whole, options.task
    notes = ()
    if task is None:
        classes = is_classification(found.distinct, whole=whole, words=words)
        task = "classification" if classes else "regression"
        n = f"more than {MOST_CLASSES:,}" if found.distinct is None else f"{len(found.distinct):,}"
        notes = (f"Taken as a {task}, because the target {short(name)} has {n} different values.",)
    if task == "classification" and found.distinct is None:
        raise DataError(
            f"the target {short(name)} has more than {MOST_CLASSES:,} different values, too many "
            "for classes: choose another with --target, or say --task regression."
        )
    y = found.y
    if task == "classification" and y.dtype.kind == "f" and (y % 1 == 0).all():
        y = y.astype(np.int64)  # whole numbers, as text and gaps have them
    if y.dtype.kind == "O":
        y = np.array(y.tolist())
    checked = check_targets(y, task=task, name=name)
    if checked.classes is not None and len(checked.classes) < len(found.distinct or ()):
        lost = sorted(set(map(str, found.distinct or ())) - set(map(str, checked.classes.tolist())))
        raise DataError(
            f"classes {quoted(lost)} of the target {short(name)} are among the test rows alone: "
            "choose another --seed, or drop their rows."
        )
    return checked._replace(notes=(*notes, *checked.notes))


def _refuse_text(table: Table, x: Any) -> None:
    """Refuse numbers and dates in words: what stands in other rows is not known."""
    if isinstance(x, np.ndarray):
        return
    kinds = {spec["name"]: spec["kind"] for spec in learn(x).specs}
    odd = [
        name
        for name, values in zip(table.names, table.columns, strict=True)
        if kinds[name] in ("number", "date") and values.dtype.kind == "O"
    ]
    if odd:
        raise DataError(
            f"{columns_phrase(odd)} hold{'s' * (len(odd) == 1)} numbers or dates as text, which "
            "are not learned from data that are streamed: write numbers, say --categorical, or "
            "--drop."
        )
