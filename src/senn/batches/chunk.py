"""What sources give to a call of several steps, and where one is in its data."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from senn import devices
from senn.batches.batch import Batch


class Chunk(NamedTuple):
    """Several steps' worth of batches: those of steps s < n are data[rows[s]].

    On several devices every one has its part of each: there is no `rows`, and they are data[s].
    """

    data: Batch
    rows: np.ndarray | None  # [steps, B]
    n: int

    @classmethod
    def of(cls, data: Batch, rows: np.ndarray, n: int) -> "Chunk":
        """Of rows [steps, B] of the data; for several devices they are picked on the host."""
        if devices.count() == 1:
            return cls(data, rows, n)
        return cls(devices.by_rows(data[rows], axis=1), None, n)

    @property
    def steps(self) -> int:
        """For which there is room."""
        return len(self.data.x if self.rows is None else self.rows)

    @property
    def numbers(self) -> int:
        """That a batch has of inputs."""
        if self.rows is None:
            return math.prod(self.data.x.shape[1:])
        return self.rows.shape[1] * math.prod(self.data.x.shape[1:])


class Position(NamedTuple):
    """Where an `ArraySource` is: with the same data, the same batches follow."""

    steps: int  # taken
    order: np.ndarray  # [batches, B] row numbers of those shuffled already and still to come
    generator: Mapping[str, Any]  # state of the one that shuffles
