"""How learners train on rows that do not fit in memory.

What is learned from all rows of a smaller table, the columns, their scales and where to grow, is
learned from a random sample of these, and the steps see them all.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from senn import goals
from senn.batches import Passes, PassSource
from senn.preparation import scaled
from senn.rescaling import seen
from senn.training import Schedule

EVALUATED_EVERY = 200  # steps at most: a pass may take an hour
ANNEALED_STEPS = 3000  # at most


def source_of(
    estimator: Any, stream: Any, x: np.ndarray, targets: np.ndarray, batch_size: int
) -> PassSource:
    """Batches of all rows to train on; x [N, I] and targets are those of the sample among them."""
    dtype = goals.training_dtype()

    def read(number: int, start: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for features, y in stream.read(number, start):
            rows = estimator._checked(features, first=False)
            if y.dtype.kind == "f":
                y = scaled(estimator._target_scale, y, dtype)
            yield rows.astype(x.dtype, copy=False), y

    def prepare(rows: np.ndarray) -> np.ndarray:
        return seen(estimator._inputs, rows, dtype)

    passes = Passes(stream.rows, read, prepare, (x, targets), stream.fingerprint)
    return PassSource(passes, batch_size, stream.seed)


def parts(stream: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the sample of `n` rows, those to train on and those to validate with."""
    return np.arange(stream.n_validation, n), np.arange(stream.n_validation)


def paced(schedule: Schedule, steps_per_epoch: int) -> Schedule:
    """The schedule, with evaluations and annealing that do not take whole passes over many rows."""
    every = schedule.evaluate_every or min(max(steps_per_epoch, 10), EVALUATED_EVERY)
    epochs = schedule.anneal_epochs
    if epochs is not None:
        epochs = min(epochs, ANNEALED_STEPS / steps_per_epoch)
    return replace(schedule, evaluate_every=every, anneal_epochs=epochs)
