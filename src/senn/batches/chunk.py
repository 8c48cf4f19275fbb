"""What sources give to a call of several steps, and where one is in its data."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from senn.batches.batch import Batch


class Chunk(NamedTuple):
    """Several steps' worth of batches: the rows of step s are data[rows[s]], for s < n."""

    data: Batch
    rows: np.ndarray  # [steps, B]
    n: int


class Position(NamedTuple):
    """Where an `ArraySource` is: with the same data, the same batches follow."""

    steps: int  # taken
    order: np.ndarray  # [batches, B] row numbers of those shuffled already and still to come
    generator: Mapping[str, Any]  # state of the one that shuffles
