"""Batches filled up with rows of no weight, to numbers of rows of which there are few."""

import numpy as np

from senn import devices, shapes
from senn.arrays import blank
from senn.batches.batch import Batch
from senn.batches.room import FEWEST_IN_SAMPLE, Room
from senn.blocks import ROWS

# Of maps that are applied at several positions, a look holds so many numbers, of so many examples,
# and goes over some of them at once.
LOOKED_NUMBERS, LOOKED_EXAMPLES, EXAMPLES_AT_ONCE = 2**26, 2048, 32


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
    columns = x.shape[-1]
    if room is not None:
        room.check(x)
        columns, y = room.inputs, room.y(y)
    sizes = ((rows, *x.shape[1:-1], columns), (rows, *y.shape[1:]), (rows,))
    parts = tuple(blank(s, p.dtype) for s, p in zip(sizes, (x, y, weight), strict=True))
    parts[0][: len(x), ..., : x.shape[-1]] = x
    parts[1][: len(x)], parts[2][: len(x)] = y, weight
    return Batch(*parts)  # pyright: ignore[reportArgumentType]


def as_sample(batch: Batch, room: Room | None) -> Batch:
    """A sample at a size of which there are few."""
    return filled(batch, sample_rows(len(batch.x), room), room)


def sample_rows(n: int, room: Room | None) -> int:
    """Of a sample of `n` rows, once it is filled up."""
    if room is not None and room.numbers:
        return devices.alike(-(-n // EXAMPLES_AT_ONCE) * EXAMPLES_AT_ONCE, EXAMPLES_AT_ONCE)
    return devices.alike(shapes.rows(n, FEWEST_IN_SAMPLE if room is None else room.sample), ROWS)


def most_looked_at(n: int, room: Room | None) -> int:
    """The examples of a look, n of them if there are not too many numbers to each."""
    if room is None or not room.numbers:
        return n
    return max(1, min(n, LOOKED_EXAMPLES, LOOKED_NUMBERS // room.numbers))
