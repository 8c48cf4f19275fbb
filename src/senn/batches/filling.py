"""Batches filled up with rows of no weight, to numbers of rows of which there are few."""

import numpy as np

from senn import shapes
from senn.arrays import blank
from senn.batches.batch import Batch
from senn.batches.room import FEWEST_IN_SAMPLE, Room


def filled(batch: Batch, rows: int, room: Room | None = None) -> Batch:
    """The batch, with spare slots, up to so many rows by rows of no weight; on the host.

    Its own weigh more for it, so that weighted means over all rows stay the same.
    """
    block = with_blanks(batch, rows, room)
    block.weight[:] *= rows / len(batch.x)  # pyright: ignore[reportIndexIssue]
    return block


def with_blanks(batch: Batch, rows: int, room: Room | None) -> Batch:
    """A copy of the batch, with spare slots, and blank rows after its own."""
    x, y, weight = map(np.asarray, batch)
    columns = x.shape[1]
    if room is not None:
        room.check(x)
        columns, y = room.inputs, room.y(y)
    sizes = ((rows, columns), (rows, *y.shape[1:]), (rows,))
    parts = tuple(blank(s, p.dtype) for s, p in zip(sizes, (x, y, weight), strict=True))
    parts[0][: len(x), : x.shape[1]] = x
    parts[1][: len(x)], parts[2][: len(x)] = y, weight
    return Batch(*parts)  # pyright: ignore[reportArgumentType]


def as_sample(batch: Batch, room: Room | None) -> Batch:
    """A sample at a size of which there are few."""
    return filled(batch, sample_rows(len(batch.x), room), room)


def sample_rows(n: int, room: Room | None) -> int:
    """Of a sample of `n` rows, once it is filled up."""
    return shapes.rows(n, FEWEST_IN_SAMPLE if room is None else room.sample)
