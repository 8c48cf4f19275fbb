"""Checks of features."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from senn.columns.shape import check_shape
from senn.columns.table import as_array
from senn.datasets.columns import columns_of, is_pandas
from senn.datasets.finite import finite, stack
from senn.readers import DataError
from senn.words import counted


class Features(NamedTuple):
    """Checked features: `x` [N, I], the names of its columns, and notes for the user."""

    x: Any
    names: tuple[str, ...]
    notes: tuple[str, ...]


def check_features(
    x: Any,
    feature_names: Sequence[str] | None = None,
    *,
    min_rows: int = 1,
    dtype: type[np.floating] = np.float32,
    gaps: bool = False,
) -> Features:
    """Check that `x` can be learned from, and return it as an array [N, I] of `dtype`.

    `x` is anything like an array of rows, a DataFrame included; booleans become 0 and 1. The
    names are those given, else the DataFrame's, else column_0, column_1, ...; constant columns
    and columns whose variation `dtype` hardly resolves are noted. `gaps` says that NaN may be.

    Raises a `DataError` that names the columns for text, dates, categories, objects, complex
    numbers, gaps, infinity and values beyond the range of `dtype`; and for wrong shapes, fewer
    than `min_rows` rows and zero features.
    """
    columns = getattr(x, "columns", None) if feature_names is None else feature_names
    x = x if is_pandas(x) else as_array(x, "X")
    check_shape(x.shape, min_rows)
    names = _feature_names(columns, x.shape[1])
    numeric = isinstance(x, np.ndarray) and x.dtype.kind in "biuf"
    table = x if numeric else stack(columns_of(x), names, "features")
    array, notes = finite(table, names, "features", dtype, gaps=gaps)
    return Features(array, names, notes)


def _feature_names(names: Iterable[object] | None, n_features: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"column_{index}" for index in range(n_features))
    found = tuple(str(name) for name in names)
    if len(found) != n_features:
        raise DataError(
            f"There are {counted(len(found), 'feature name')} for {counted(n_features, 'column')} "
            f"of X: give one name per column."
        )
    return found


def pixel_names(height: int, width: int) -> tuple[str, ...]:
    """The names of features that are the pixels of an image, row by row."""
    return tuple(f"pixel_{row}_{column}" for row in range(height) for column in range(width))
