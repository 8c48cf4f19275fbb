"""Data sets from .csv and .parquet files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from senn.datasets.dataset import Dataset, make_dataset
from senn.datasets.features import check_features
from senn.datasets.options import Options
from senn.datasets.splitting import MIN_ROWS, random_rows
from senn.datasets.targets import check_targets
from senn.datasets.wording import did_you_mean
from senn.readers import DataError, read_table
from senn.words import counted, quoted


def table_dataset(path: Path, options: Options) -> Dataset:
    """A .csv or .parquet file."""
    frame, notes = read_table(path)
    return _from_frame(path.name, frame, options, notes)


def _from_frame(name: str, frame: Any, options: Options, notes: tuple[str, ...]) -> Dataset:
    names = [str(column) for column in frame.columns]
    if 0 in frame.shape:
        raise DataError(
            f"it has {counted(len(names), 'column')} and {counted(len(frame), 'row')}: "
            f"feature columns, a target column and rows of values are wanted."
        )
    index = _target_index(names, options.target)
    target_name = names.pop(index)
    table = frame.iloc[:, [column for column in range(frame.shape[1]) if column != index]]
    features = check_features(table, names, min_rows=MIN_ROWS)
    features = features._replace(notes=features.notes + notes)
    targets = check_targets(frame.iloc[:, index], task=options.task, name=target_name)
    return make_dataset(name, features, targets, random_rows(targets, options))


def _target_index(names: Sequence[str], target: str | None) -> int:
    if target is not None and target not in names:
        raise DataError(
            f"no column is called {target!r}{did_you_mean(target, names)}; the columns are "
            f"{quoted(names)}."
        )
    return len(names) - 1 if target is None else names.index(target)
