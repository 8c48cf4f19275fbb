"""Data sets from .npy files."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from senn.columns.table import Table, table_of
from senn.datasets.dataset import Dataset, make_dataset
from senn.datasets.images import are_images, image_features
from senn.datasets.options import Options
from senn.datasets.splitting import random_rows
from senn.datasets.table_file import from_table
from senn.datasets.targets import check_length, check_targets
from senn.readers import DataError, read_npy


def npy_dataset(path: Path, options: Options) -> Dataset:
    """A .npy file: a table [N, I], of fields perhaps, or images, whose labels are another file."""
    array = read_npy(path)
    if are_images(array):
        return _images(path, array, options)
    return from_table(path.name, npy_table(array), options, ())


def npy_table(array: np.ndarray) -> Table:
    """An array [N, I], or [N] of fields, as a table."""
    if array.dtype.names is None:
        return table_of(array)
    fields = [array[name] for name in array.dtype.names]
    fields = [field.reshape(len(array), math.prod(field.shape[1:])) for field in fields]
    columns = [table_of(field).columns for field in fields]
    if any(len(column) != 1 for column in columns):
        raise DataError("it has a field of several values: give one value a field.")
    names = tuple(array.dtype.names)
    return Table(names, tuple(column[0] for column in columns), (False,) * len(names))


def _images(path: Path, array: np.ndarray, options: Options) -> Dataset:
    if options.target is None or not options.target.endswith(".npy"):
        raise DataError(
            f"it holds images of shape {array.shape[1:]} but no labels: say --target LABELS.npy, "
            "or save both with numpy.savez(path, X=..., y=...)."
        )
    labels = Path(options.target).expanduser()
    if not labels.is_file():
        raise DataError(f"there is no file {options.target!r}: check the path of the labels.")
    y = read_npy(labels)
    check_length(len(np.atleast_1d(y)), len(array), labels.name, path.name)
    features, in_unit = image_features(array)
    targets = check_targets(y, task=options.task, name=labels.stem)
    data = make_dataset(path.name, features, targets, random_rows(targets, options))
    return replace(data, images=in_unit, image_shape=array.shape[1:])
