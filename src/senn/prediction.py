"""What a fitted estimator does with rows: NumPy alone, neither JAX nor scikit-learn."""

from typing import Any

import numpy as np

from senn.columns.encoder import Columns
from senn.columns.table import Table, dense_blocks
from senn.images import known_images
from senn.plain import PlainNetwork
from senn.readers import DataError
from senn.rescaling import Scale
from senn.standalone.numpy_predict import Inputs, log_sigmoid, log_softmax, sigmoid, softmax

LARGEST = float(np.finfo(np.float32).max)


class Predictor:
    """A network, and how rows are prepared for it."""

    _plain: PlainNetwork
    _inputs: Inputs | None
    n_features_in_: int
    _columns: Columns | None = None  # how a table becomes inputs; None in files of before
    _image_shape: tuple[int, ...] = ()  # (H, W) or (H, W, C) of images, if it reads such

    def _outputs(self, X: Any) -> np.ndarray:
        """The network's outputs [N, O] in float64, computed in the type of X.

        That is float32 where it holds X exactly, else float64. What a row gives does not depend
        on the rows beside it. Raises a `DataError` for outputs that overflow.
        """
        parts = [
            self._plain.outputs(self._rows_to_predict(rows), self._inputs)
            for rows in dense_blocks(X)
        ]
        y = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if np.isfinite(y).all():
            return y
        overflow = ~np.isfinite(y).all(axis=1)
        raise DataError(
            f"The outputs for {overflow.sum()} of {len(y)} rows overflow, the first of them "
            f"row {overflow.argmax()}: its features are too large, or the model is damaged."
        )

    def _rows_to_predict(self, X: Any) -> np.ndarray:
        """Rows [N, I] of float32 or float64, if X can be predicted at all."""
        if self._image_shape:
            return known_images(X, (*self._image_shape, 1)[:3])
        if isinstance(X, Table) and self._columns is not None:
            x = self._columns.encode(X)
            return x.astype(np.float32) if self._columns.single else x
        rows: Any = _numbers(X) if type(X) in (list, tuple) else X
        return rows if self._is_plain(rows) else self._checked(X, first=False)

    def _is_plain(self, X: Any) -> bool:
        """Whether X is an array about which every check would have nothing to say."""
        return (
            type(X) is np.ndarray
            and X.dtype in (np.float32, np.float64)
            and X.ndim == 2
            and X.shape[1] == self.n_features_in_
            and (self._columns is None or self._columns.are_plain)
            and len(X) > 0
            and "feature_names_in_" not in vars(self)  # of which arrays have none
            and bool(X.min() >= -LARGEST and X.max() <= LARGEST)  # neither is true of NaN
        )

    def _checked(
        self, X: Any, *, first: bool, min_rows: int = 1, at_once: bool = True,
        sample_weight: Any = None,
    ) -> np.ndarray:  # fmt: skip
        """X as an array, once its values, and the number and names of its columns, are right."""
        raise NotImplementedError


def _numbers(rows: Any) -> Any:
    """Rows of plain numbers as an array of float64; all else as it is."""
    try:
        array = np.asarray(rows)
    except ValueError:  # rows of different lengths
        return rows
    return array.astype(np.float64) if array.dtype.kind in "fiu" else rows


class ClassPredictor(Predictor):
    """Predictions of labels: of one a row, or of several that are 0 or 1 each."""

    classes_: np.ndarray
    _multi_label: bool = False  # whether rows have several labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [N, classes], columns in the order of `classes_`.

        Of several labels a row each has its own, and rows do not sum to 1.
        """
        y = self._outputs(X)
        return sigmoid(y) if self._multi_label else softmax(y)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities [N, classes]."""
        y = self._outputs(X)
        return log_sigmoid(y) if self._multi_label else log_softmax(y)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row [N]; of several labels a row, 0 or 1 [N, L]."""
        y = self._outputs(X)
        if self._multi_label:
            return (y > 0).astype(np.int64)
        return self.classes_[y.argmax(axis=1)]


class NumberPredictor(Predictor):
    """Predictions of numbers."""

    _target_scale: Scale | None
    _one_output: bool

    def predict(self, X: Any) -> np.ndarray:
        """Predictions [N], or [N, O] if `fit` got targets of that shape."""
        y = self._outputs(X)
        assert self._target_scale is not None
        mean, scale = self._target_scale
        values = y * scale + mean
        return values[:, 0] if self._one_output else values
