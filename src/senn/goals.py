"""What the networks of estimators learn: codes of classes, labels that are 0 or 1, numbers."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from senn import tables
from senn.datasets import DataError, check_targets
from senn.expand import add_outputs
from senn.losses import AbstractLoss, BinaryCrossEntropy, SoftmaxCrossEntropy
from senn.optimizers import make_optimizer
from senn.preparation import Rows, check_labels, class_weights, scaled
from senn.rescaling import scale_of


def training_dtype() -> Any:
    """JAX's floating type: float32, or float64 where its `jax_enable_x64` is on."""
    return jnp.result_type(float)


def are_several(y: Any) -> bool:
    """Whether y has several labels a row: an indicator matrix [N, L] of L > 1."""
    try:
        shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
    except ValueError:  # rows of different lengths
        return False
    return len(shape) == 2 and shape[1] > 1


def loss_of_classes(estimator: Any) -> AbstractLoss:
    """The loss of `fit` for what it said the labels are."""
    if estimator._multi_label:
        return BinaryCrossEntropy()
    return SoftmaxCrossEntropy(tables.smoothing_of(estimator))


def codes(estimator: Any, labels: np.ndarray) -> np.ndarray:
    """Labels [N] as positions in `classes_`."""
    return np.searchsorted(estimator.classes_, labels).astype(np.int32)


def one_label(
    estimator: Any, y: Any, rows: Rows, *, first: bool, min_classes: int
) -> tuple[np.ndarray, np.ndarray, Rows]:
    """The labels of rows [N], the different ones among them, and rows with their weights."""
    if not first and estimator._multi_label:
        raise DataError(
            f"y has one label a row, but this {type(estimator).__name__} learned "
            f"{len(estimator.classes_)} of 0 or 1 each: give an indicator matrix, or fit anew."
        )
    labels, found = check_labels(y, rows, min_classes)
    weight = rows.weight * class_weights(estimator.class_weight, labels)
    estimator._multi_label = False
    return labels, found, rows._replace(weight=weight)


def indicators(
    estimator: Any, y: Any, rows: Rows, *, first: bool, announced: Any = None
) -> np.ndarray:
    """Which labels rows have [N, L], each 0 or 1."""
    dense = y.toarray() if hasattr(y, "toarray") else y
    values = check_targets(dense, rows.n_given, task="regression", dtype=np.float64).y
    for name in ("class_weight", "label_smoothing"):
        if given := getattr(estimator, name):
            raise ValueError(
                f"{name}={given!r} is for one label a row; y has {values.shape[1]} columns of 0 or "
                "1: leave it out, and weigh rows by sample_weight."
            )
    odd = (values != 0) & (values != 1)
    if odd.any():
        row, column = np.argwhere(odd)[0]
        raise DataError(
            f"y has {values.shape[1]} columns, which is for several labels a row, each 0 or 1, "
            f"but row {row} has {values[row, column]:g} in column {column}: give an indicator "
            "matrix, or one label a row."
        )
    known = len(estimator.classes_) if not first else values.shape[1]
    if not first and not estimator._multi_label:
        raise DataError(
            f"y has {values.shape[1]} labels a row, but this {type(estimator).__name__} learned "
            "one a row: give one, or fit anew."
        )
    if values.shape[1] != known:
        raise DataError(f"y has {values.shape[1]} labels a row, but there were {known} before.")
    if announced is not None and not np.array_equal(np.unique(announced), np.arange(known)):
        raise DataError(
            f"classes={announced!r} are not those of y, whose {known} columns are labels 0 to "
            f"{known - 1}: leave classes out."
        )
    estimator.classes_, estimator._multi_label = np.arange(known), True
    return values[rows.kept].astype(training_dtype())


def add_classes(estimator: Any, classes: np.ndarray, rows: Rows) -> None:
    """An output for each of `classes` that has none, improbable on the rows at hand."""
    new = np.flatnonzero(~np.isin(classes, estimator.classes_)).tolist()
    estimator.classes_ = classes
    if not new:
        return
    y = estimator._plain.outputs(rows.x, estimator._inputs)
    least = np.logaddexp.reduce(y, axis=1).min()
    bias = float(least - np.log(max(estimator.n_samples_seen_, 1)))
    if estimator._online is None:
        estimator.network_ = add_outputs(estimator.network_, new, bias)
        return
    estimator._online.add_outputs(new, bias, make_optimizer(estimator.optimizer))
    estimator.network_ = estimator._online.network


def numbers(estimator: Any, y: Any, rows: Rows, *, first: bool) -> np.ndarray:
    """Standardised numbers [N, O]; the first rows that are seen set the scale."""
    checked = check_targets(y, rows.n_given, task="regression", dtype=np.float64)
    values = checked.y.reshape(rows.n_given, -1)[rows.kept]
    if first:
        estimator.target_scaler_ = scale_of(values, rows.weight)
        estimator._one_output = np.asarray(y).ndim == 1
    known = len(estimator._target_scale[0])
    if values.shape[1] != known:
        raise DataError(f"y has {values.shape[1]} outputs, but there were {known} before.")
    return scaled(estimator._target_scale, values, training_dtype())
