"""Data sets from .npz files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from senn.datasets.dataset import Dataset, make_dataset
from senn.datasets.features import check_features
from senn.datasets.options import Options
from senn.datasets.splitting import MIN_ROWS, Rows, first_rows, random_rows
from senn.datasets.targets import Targets, check_length, check_targets
from senn.readers import DataError, read_npz
from senn.words import counted, quoted


def npz_dataset(path: Path, options: Options) -> Dataset:
    """A .npz file."""
    arrays = read_npz(path)
    y_names = ("y", "y_train") if options.target is None else (options.target,)
    x_key = _key(arrays, ("X", "x", "X_train", "x_train"), "features")
    y_key = _key(arrays, y_names, "target")
    x, y = arrays[x_key], arrays[y_key]
    check_length(len(np.atleast_1d(y)), len(np.atleast_1d(x)), y_key, x_key)
    test = _test_arrays(arrays, x, y, y_key)
    if test is not None:
        x, y = np.concatenate([x, test[0]]), np.concatenate([y, test[1]])
    features = check_features(x, min_rows=MIN_ROWS)
    targets = check_targets(y, task=options.task, name=y_key)
    n_train = len(arrays[x_key])
    rows = _given_rows(targets, n_train) if test else random_rows(targets, options)
    return make_dataset(path.name, features, targets, rows)


def _test_arrays(
    arrays: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray, y_key: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """The file's own test set, if it has one that fits its training set."""
    x_key = "x_test" if "x_test" in arrays else "X_test"
    y_key = f"{y_key.removesuffix('_train')}_test"
    if (x_key in arrays) != (y_key in arrays):
        given, lacking = (x_key, y_key) if x_key in arrays else (y_key, x_key)
        raise DataError(f"it has {given!r} but no {lacking!r}: give both or neither.")
    if x_key not in arrays:
        return None
    for key, test, train in ((x_key, arrays[x_key], x), (y_key, arrays[y_key], y)):
        if test.ndim == 0 or test.shape[1:] != train.shape[1:]:
            raise DataError(
                f"{key!r} has shape {test.shape} but its training array {train.shape}: "
                f"only the number of rows may differ."
            )
        if {test.dtype.kind, train.dtype.kind} - set(
            "biuf"
        ) and test.dtype.kind != train.dtype.kind:
            raise DataError(
                f"{key!r} holds {test.dtype} but its training array {train.dtype}: make both alike."
            )
    check_length(len(arrays[y_key]), len(arrays[x_key]), y_key, x_key)
    return arrays[x_key], arrays[y_key]


def _given_rows(targets: Targets, n_train: int) -> Rows:
    """The first `n_train` rows and the others, once every class is among the first."""
    train, test = first_rows(n_train)
    if n_train < MIN_ROWS - 1 or n_train == len(targets.y):
        raise DataError(
            f"it has {counted(n_train, 'row')} to train on and {len(targets.y) - n_train} to test "
            f"with, while a minimum of {MIN_ROWS - 1} and 1 is required: give more rows."
        )
    if targets.classes is not None:
        unseen = np.setdiff1d(targets.y[test], targets.y[train])
        if len(unseen):
            raise DataError(
                f"the test rows hold classes that {targets.name!r} never has, "
                f"{quoted(targets.classes[unseen])}: add training rows of them, or drop those rows."
            )
    return train, test


def _key(arrays: Mapping[str, np.ndarray], names: Sequence[str], what: str) -> str:
    found = [name for name in names if name in arrays]
    if not found:
        raise DataError(
            f"no array is called {' or '.join(map(repr, names))} for the {what}; the arrays are "
            f"{quoted(arrays) or 'none at all'}."
        )
    return found[0]
