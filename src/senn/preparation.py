"""From what users of scikit-learn give to what training takes: rows, weights, classes, scales."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from senn.datasets import DataError, check_features, check_targets, split_rows
from senn.labels import check_kind
from senn.prediction import LARGEST, Scale

MIN_ROWS = 2
ROWS_AT_ONCE = 2**14
MIN_VALIDATION_ROWS = 10  # a smaller split tells too little to stop by
LARGEST_RAW = 1e18  # of inputs that are not standardised; float32 holds the squares up to 1.8e19


class Rows(NamedTuple):
    """Rows to learn from: those of a weight above zero."""

    x: np.ndarray  # [N, I]
    weight: np.ndarray  # [N]
    kept: np.ndarray  # [N] their numbers in X
    n_given: int  # rows of X

    @classmethod
    def of(cls, x: np.ndarray, sample_weight: Any) -> "Rows":
        """Checked rows, once their weights have been checked too."""
        weight = check_weights(sample_weight, len(x))
        kept = np.flatnonzero(weight)
        if len(kept) < len(x):
            return cls(x[kept], weight[kept], kept, len(x))
        return cls(x, weight, kept, len(x))


def check_array(X: Any, min_rows: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """X as an array [N, I] of float32 if that holds its type exactly, else float64; and names."""
    small = getattr(X, "dtype", None)
    exact = isinstance(small, np.dtype) and np.can_cast(small, np.float32)
    dtype = np.float32 if exact else np.float64
    features = check_features(X, min_rows=min_rows, dtype=dtype, gaps=True)
    refuse_large(features.x, features.names)
    return features.x, features.names


def refuse_large(x: np.ndarray, names: Sequence[str]) -> None:
    """Refuse inputs [N, I], of columns of these names, that networks cannot be trained on."""
    if len(x) and np.fmax(-np.fmin.reduce(x, axis=None), np.fmax.reduce(x, axis=None)) > LARGEST:
        size: Any = np.fmax.reduce(np.abs(x), axis=0)
        raise DataError(
            f"X has values up to {np.nanmax(size):.3g} in column "
            f"{names[int(np.nanargmax(size))]!r}, "
            f"beyond the {LARGEST:.3g} of float32, in which networks are trained: rescale first."
        )


def refuse_huge(x: np.ndarray, names: Sequence[str]) -> None:
    """Refuse inputs [N, I] that are used as they are and whose squares come near to overflow."""
    size = np.abs(x).max(axis=0)
    if size.max() > LARGEST_RAW:
        raise DataError(
            f"The features have values up to {size.max():.3g} in column "
            f"{names[size.argmax()]!r}, of which the squares overflow: "
            "say standardize=True, or rescale first."
        )


def check_weights(sample_weight: Any, n: int) -> np.ndarray:
    """Weights [N], as they were given."""
    if sample_weight is None:
        return np.ones(n)
    weight = np.asarray(sample_weight, np.float64)
    if weight.shape != (n,) or not np.isfinite(weight).all() or (weight < 0).any():
        raise DataError(
            f"sample_weight must be {n} finite numbers of 0 or above, one a row; "
            f"got shape {weight.shape}."
        )
    if not weight.sum() > 0:
        raise DataError("sample_weight is zero for every row; leave some rows to learn from.")
    return weight


def check_labels(y: Any, rows: Rows, min_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The labels of the rows [N], and the different ones among them, sorted."""
    if getattr(y, "shape", ())[1:] == (1,):
        from sklearn.utils.validation import column_or_1d  # loads scikit-learn

        y = column_or_1d(y, warn=True)
    task = "classification"
    targets = check_targets(y, rows.n_given, task=task, min_classes=min_classes)
    if len(rows.kept) < rows.n_given:
        assert targets.classes is not None
        kept = targets.classes[targets.y][rows.kept]
        targets = check_targets(kept, task=task, min_classes=min_classes)
    assert targets.classes is not None
    check_kind(targets.classes)
    return targets.classes[targets.y], targets.classes


def class_weights(class_weight: Mapping | str | None, labels: np.ndarray) -> np.ndarray:
    """What each row weighs for its class [N], by a weight a class, or all classes "balanced"."""
    if class_weight is None:
        return np.ones(len(labels))
    if class_weight != "balanced" and not isinstance(class_weight, Mapping):
        raise ValueError(
            f'class_weight must be None, "balanced" or {{label: weight}}; got {class_weight!r}.'
        )
    from sklearn.utils.class_weight import compute_sample_weight  # loads scikit-learn

    return compute_sample_weight(class_weight, labels)


def merged_classes(*parts: Any) -> np.ndarray:
    """All labels of several arrays, sorted."""
    arrays = [np.asarray(part) for part in parts if part is not None]
    kinds = {_kind(array): array for array in arrays}
    if len(kinds) > 1:
        found = " and ".join(f"{kind} such as {array[0]!r}" for kind, array in kinds.items())
        raise DataError(f"Labels must stay of one kind, but there are {found}.")
    return np.unique(np.concatenate(arrays))


def _kind(labels: np.ndarray) -> str:
    kinds = {"b": "booleans", "S": "bytes", "M": "dates", **dict.fromkeys("iuf", "numbers")}
    return kinds.get(labels.dtype.kind, "text")


def split(fraction: float, classes: np.ndarray | None, n: int, seed: int):
    """Row numbers for training and for validation, stratified by classes where that can be."""
    rows = np.arange(n)
    held_out = round(fraction * n)
    if held_out < MIN_VALIDATION_ROWS:
        return rows, rows[:0]
    if classes is not None and held_out < len(np.unique(classes)):
        classes = None
    return split_rows(n, fraction, seed, classes)


def scale_of(x: np.ndarray, weight: np.ndarray) -> Scale:
    """Weighted mean and standard deviation of the columns of x [N, I], in float64.

    As scikit-learn's `StandardScaler` has it: 1 for a column that is constant but for rounding.
    """
    n, share = len(x), weight / weight.sum(dtype=np.float64)
    mean, variance = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for rows in _blocks(n):
        mean += share[rows] @ x[rows].astype(np.float64, copy=False)
    for rows in _blocks(n):
        variance += share[rows] @ (x[rows] - mean) ** 2
    eps = np.finfo(np.float64).eps
    constant = variance <= n * eps * variance + (n * eps * mean) ** 2
    return mean, np.where(constant, 1.0, np.sqrt(variance))


def scaled(scale: Scale | None, x: np.ndarray, dtype: Any) -> np.ndarray:
    """Inputs as the network sees them, in `dtype`; they are scaled in float64."""
    if scale is None:
        return x.astype(dtype, copy=False)
    result = np.empty(x.shape, dtype)
    for rows in _blocks(len(x)):
        result[rows] = (x[rows] - scale[0]) / scale[1]
    return result


def _blocks(n: int) -> Iterator[slice]:
    """All rows, so many at a time that copies of them are small."""
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, n, ROWS_AT_ONCE))
