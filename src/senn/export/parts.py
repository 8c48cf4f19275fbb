"""What a fitted estimator computes, as plain arrays: active units only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from senn.columns.encoder import Columns
from senn.estimators import SENNClassifier, SENNRegressor
from senn.nn.tapped import AbstractTapped
from senn.rescaling import Inputs
from senn.standalone.numpy_conv import Cut


@dataclass(frozen=True)
class Parts:
    """The steps from a row to a prediction.

    Nodes are what linear maps read: node 0 the prepared row, node l + 1 hidden layer l. Map m
    computes z = [nodes of sources[m], side by side] @ weights[m] + biases[m]; for all but the last
    map, the activation of z is the next node. Of images [N, H, W, C] it does so at every place, and
    the first of its nodes is cut into patches (`patches[m]`).
    """

    weights: tuple[np.ndarray, ...]  # [I, O] float32 each
    biases: tuple[np.ndarray, ...]  # [O]
    thetas: tuple[np.ndarray, ...]  # [F, O] for each hidden layer if it has any, else none
    sources: tuple[tuple[int, ...], ...]
    activation: str
    inputs: Inputs | None  # how rows are prepared for node 0
    target_scale: tuple[np.ndarray, np.ndarray] | None  # mean and scale [O] of a regression
    classes: np.ndarray | None  # the labels of a classification
    multi_label: bool  # a classification of several labels a row, each 0 or 1
    one_output: bool  # a regression whose predictions are [N], not [N, O]
    feature_names: tuple[str, ...]
    columns: Columns | None  # how a table becomes inputs, if that is known
    patches: tuple[Cut, ...] = ()  # of every map, if the inputs are images
    image_shape: tuple[int, ...] = ()  # and what those are: (H, W) or (H, W, C)

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Units per hidden layer."""
        return tuple(len(bias) for bias in self.biases[:-1])


def parts_of(estimator: Any) -> Parts:
    """The parts of a fitted `SENNClassifier` or `SENNRegressor`; a `TypeError` for all else."""
    if isinstance(estimator, AbstractTapped):
        raise TypeError(
            "Estimators alone are exported; what network.unwrap() gives of a wrapped module can be "
            f"by jax.export; got {type(estimator).__name__}."
        )
    if not isinstance(estimator, SENNClassifier | SENNRegressor):
        raise TypeError(
            "Only a SENNClassifier or a SENNRegressor can be exported, a pipeline by skl2onnx"
            f" after senn.export.register_skl2onnx(); got {type(estimator).__name__}."
        )
    check_is_fitted(estimator)
    network = estimator._plain
    maps = range(len(network.sources))
    stored = {name: np.asarray(array, np.float32) for name, array in network.arrays.items()}
    classifies = isinstance(estimator, SENNClassifier)
    return Parts(
        weights=tuple(stored[f"map{m}.weight"] for m in maps),
        biases=tuple(stored[f"map{m}.bias"] for m in maps),
        thetas=tuple(stored[f"theta{m}"] for m in maps[:-1] if f"theta{m}" in stored),
        sources=network.sources,
        activation=network.architecture["activation"],
        inputs=estimator._inputs,
        target_scale=None if classifies else estimator._target_scale,
        classes=_plain(estimator.classes_) if classifies else None,
        multi_label=classifies and estimator._multi_label,
        one_output=not classifies and estimator._one_output,
        feature_names=tuple(map(str, estimator.feature_names_)),
        columns=estimator._columns,
        patches=tuple(network.patches),
        image_shape=estimator._image_shape,
    )


def _plain(labels: np.ndarray) -> np.ndarray:
    """Labels as an array that needs no pickle: objects become text."""
    return labels.astype(str) if labels.dtype == object else labels
