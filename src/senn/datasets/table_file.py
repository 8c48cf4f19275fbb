"""Data sets from files of tables."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from senn.columns.learning import learn
from senn.columns.shape import check_shape
from senn.columns.table import Table
from senn.datasets.dataset import Dataset, make_dataset
from senn.datasets.features import Features, check_features
from senn.datasets.finite import is_coarse
from senn.datasets.options import Options
from senn.datasets.splitting import MIN_ROWS, random_rows
from senn.datasets.target_column import target_values
from senn.datasets.targets import check_targets
from senn.datasets.wording import did_you_mean
from senn.readers import DataError
from senn.table_files import is_empty, read_table
from senn.words import columns_phrase, counted, quoted, short


def table_dataset(path: Path, options: Options) -> Dataset:
    """A file of text, a spreadsheet, or a Parquet or Feather file."""
    table, notes = read_table(path, options.encoding)
    return from_table(path.name, table, options, notes)


def from_table(name: str, table: Table, options: Options, notes: tuple[str, ...]) -> Dataset:
    """A data set of a table, one of whose columns is the target."""
    if 0 in table.shape or table.shape[1] < 2:
        raise DataError(
            f"it has {counted(table.shape[1], 'column')} and {counted(len(table), 'row')}: "
            f"feature columns, a target column and rows of values are wanted."
        )
    place = _target_place(table, options.target)
    target = table.names[place]
    dropped = _places(table.names, options.drop, "drop")
    if place in dropped:
        raise DataError(f"{short(target)} is the target, so it cannot be dropped: choose another.")
    values, kept, more = target_values(table, place, options.task)
    others = [p for p in range(table.shape[1]) if p != place and p not in dropped]
    if not others:
        raise DataError("no column is left besides the target: drop fewer.")
    features = features_of(table.select(others), options.categorical, kept)
    if options.target is None and place < table.shape[1] - 1:
        more = (f"The target is {short(target)}, for all columns after it are empty.", *more)
    features = features._replace(notes=features.notes + notes + more)
    targets = check_targets(values, task=options.task, name=target)
    return make_dataset(name, features, targets, random_rows(targets, options))


def features_of(table: Table, categorical: Sequence[str] = (), kept: Any = slice(None)) -> Features:
    """The features of the rows kept: an array where all are numbers without gaps, else the table.

    How the words of a column are read is told from all rows, so that those to test on, and the
    same file when it is predicted, are read as the others.
    """
    check_shape(table.shape, MIN_ROWS)
    chosen = _places(table.names, categorical, "categorical")
    flags = tuple(flag or place in chosen for place, flag in enumerate(table.categorical))
    if not any(flags) and all(_is_whole(values) for values in table.columns):
        array = np.column_stack(table[kept].columns)
        features = check_features(array, table.names)
        coarse = is_coarse(array, np.float32)
        if coarse.any():
            features = check_features(array, table.names, dtype=np.float64)
            note = f"Float64 is used, for {columns_phrase(table.names, coarse)} need it."
            features = features._replace(
                notes=(
                    *features.notes,
                    note.replace(" need", " needs") if coarse.sum() == 1 else note,
                )
            )
        return features
    table = replace(table, categorical=flags)
    table = replace(table, readings=learn(table).specs)[kept]
    check_shape(table.shape, MIN_ROWS)
    return Features(table, table.names, ())


def _is_whole(values: np.ndarray) -> bool:
    return values.dtype.kind in "biu" or (values.dtype.kind == "f" and not np.isnan(values).any())


def _target_place(table: Table, target: str | None) -> int:
    """Where the target is: the column of that name, or the last one in which something stands."""
    if target is None:
        filled = [place for place, values in enumerate(table.columns) if not is_empty(values)]
        return filled[-1] if filled else table.shape[1] - 1
    if target not in table.names:
        raise DataError(
            f"no column is called {short(target)}{did_you_mean(target, table.names)}; the columns "
            f"are {quoted(table.names)}."
        )
    return table.names.index(target)


def _places(names: Sequence[str], wanted: Sequence[str], what: str) -> set[int]:
    """Where the columns of some names are."""
    for name in wanted:
        if name not in names:
            raise DataError(
                f"--{what} names {short(name)}, but no column is called so"
                f"{did_you_mean(name, names)}; the columns are {quoted(names)}."
            )
    return {names.index(name) for name in wanted}
