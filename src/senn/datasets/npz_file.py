"""Data sets from .npz files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from senn.columns.shape import check_shape
from senn.columns.table import table_of
from senn.datasets.dataset import Dataset, make_dataset
from senn.datasets.features import Features, check_features
from senn.datasets.images import are_images, image_features
from senn.datasets.options import Options
from senn.datasets.splitting import MIN_ROWS, given_rows, random_rows
from senn.datasets.table_file import features_of
from senn.datasets.targets import check_length, check_targets
from senn.readers import DataError, read_npz
from senn.words import quoted, short

# What arrays are called: by us, by Keras, by MedMNIST, and by others.
X_NAMES = ("X", "x", "X_train", "x_train", "train_images", "images", "Xtr", "data")
Y_NAMES = ("y", "Y", "y_train", "Y_train", "train_labels", "labels", "ytr", "target")
TEST_NAMES = {
    "train_images": "test_images",
    "train_labels": "test_labels",
    "Xtr": "Xte",
    "ytr": "yte",
}
MORE_NAMES = (("val_images", "val_labels"), ("X_val", "y_val"), ("x_val", "y_val"))


def npz_dataset(path: Path, options: Options) -> Dataset:
    """A .npz file: of rows [N, I], or of images [N, height, width] or with channels."""
    arrays = read_npz(path)
    y_names = Y_NAMES if options.target is None else (options.target,)
    x_key = _key(arrays, X_NAMES, "features")
    y_key = _key(arrays, y_names, "target")
    x, y = arrays[x_key], arrays[y_key]
    check_length(len(np.atleast_1d(y)), len(np.atleast_1d(x)), y_key, x_key)
    x, y, notes = _with_validation(arrays, x, y)
    n_train, test = len(np.atleast_1d(x)), _test_arrays(arrays, x, y, x_key, y_key)
    if test is not None:
        x, y = np.concatenate([x, test[0]]), np.concatenate([y, test[1]])
    features, in_unit = _features(x, options)
    features = features._replace(notes=features.notes + notes)
    targets = check_targets(y, task=options.task, name=y_key)
    rows = given_rows(targets, n_train) if test else random_rows(targets, options)
    shape = x.shape[1:] if are_images(x) else ()
    return make_dataset(path.name, features, targets, rows, images=in_unit, image_shape=shape)


def _features(x: np.ndarray, options: Options) -> tuple[Features, bool]:
    """The features, and whether they are pixels in [0, 1]."""
    if are_images(x):
        return image_features(x)
    if x.dtype.kind in "biufc" and not (x.dtype.kind == "f" and np.isnan(x).any()):
        return check_features(x, min_rows=MIN_ROWS), False
    check_shape(x.shape, MIN_ROWS)
    return features_of(table_of(x), options.categorical), False


def _with_validation(
    arrays: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The rows to train on, with those that a file has for validation: we split off our own."""
    for x_key, y_key in MORE_NAMES:
        if x_key in arrays and y_key in arrays:
            more_x, more_y = arrays[x_key], arrays[y_key]
            check_length(len(np.atleast_1d(more_y)), len(np.atleast_1d(more_x)), y_key, x_key)
            if more_x.shape[1:] == x.shape[1:] and more_y.shape[1:] == y.shape[1:]:
                note = f"The rows of {short(x_key)} are trained on as well; others are kept apart."
                return np.concatenate([x, more_x]), np.concatenate([y, more_y]), (note,)
    return x, y, ()


def _test_arrays(
    arrays: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray, x_key: str, y_key: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """The file's own test set, if it has one that fits its training set."""
    x_key = TEST_NAMES.get(x_key, "x_test" if "x_test" in arrays else "X_test")
    y_key = TEST_NAMES.get(y_key, f"{y_key.removesuffix('_train')}_test")
    if (x_key in arrays) != (y_key in arrays):
        given, lacking = (x_key, y_key) if x_key in arrays else (y_key, x_key)
        raise DataError(f"it has {short(given)} but no {short(lacking)}: give both or neither.")
    if x_key not in arrays:
        return None
    for key, test, train in ((x_key, arrays[x_key], x), (y_key, arrays[y_key], y)):
        if test.ndim == 0 or test.shape[1:] != train.shape[1:]:
            raise DataError(
                f"{short(key)} has shape {test.shape} but its training array {train.shape}: "
                f"only the number of rows may differ."
            )
        if {test.dtype.kind, train.dtype.kind} - set(
            "biuf"
        ) and test.dtype.kind != train.dtype.kind:
            raise DataError(
                f"{short(key)} holds {test.dtype} but its training array {train.dtype}: make both "
                "alike."
            )
    check_length(len(arrays[y_key]), len(arrays[x_key]), y_key, x_key)
    return arrays[x_key], arrays[y_key]


def _key(arrays: Mapping[str, np.ndarray], names: Sequence[str], what: str) -> str:
    found = [name for name in names if name in arrays]
    if not found:
        raise DataError(
            f"no array is called {' or '.join(map(repr, names[:4]))} for the {what}; "
            f"the arrays are {quoted(arrays) or 'none at all'}."
        )
    return found[0]
