"""What a data set holds."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from senn.datasets.features import Features
from senn.datasets.splitting import Rows
from senn.datasets.targets import Targets, Task


@dataclass(frozen=True)
class Dataset:
    """A training set and a test set; N rows, I features, O outputs.

    Features that are all numbers, without gaps, are an array; others a `senn.columns.Table`, which
    the estimators take as they take DataFrames.

    `y` holds class codes for a classification, whose labels are `classes[y]`, and float32
    targets [N, O] for a regression, whose `classes` is None. Every class has a training row.
    """

    name: str
    task: Task
    x: Any  # [N, I] float32, float64 where a column needs it, or a table
    y: np.ndarray  # [N] int32 class codes, or [N, O] float32 targets
    x_test: Any
    y_test: np.ndarray
    classes: np.ndarray | None  # labels; the index is the class code
    feature_names: tuple[str, ...]
    target_name: str
    images: bool = False  # pixels in [0, 1], which are not to be standardised
    image_shape: tuple[int, ...] = ()  # (H, W) or (H, W, C) of what the features are pixels of
    notes: tuple[str, ...] = ()  # what the user should know: how the task was told, and the like


def make_dataset(
    name: str, features: Features, targets: Targets, rows: Rows, images: bool = False,
    image_shape: tuple[int, ...] = (),
) -> Dataset:  # fmt: skip
    """A data set of the given rows for training and for testing."""
    train, test = rows
    return Dataset(
        name=name,
        task=targets.task,
        x=features.x[train],
        y=targets.y[train],
        x_test=features.x[test],
        y_test=targets.y[test],
        classes=targets.classes,
        feature_names=features.names,
        target_name=targets.name,
        images=images,
        image_shape=image_shape,
        notes=targets.notes + features.notes,
    )
