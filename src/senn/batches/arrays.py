"""Batches from arrays in memory."""

import hashlib
import math

import jax
import numpy as np

from senn import devices, shapes
from senn.arrays import to_device
from senn.batches.batch import Batch
from senn.batches.chunk import Chunk, Position
from senn.batches.filling import as_sample, most_looked_at, sample_rows, with_blanks
from senn.batches.moment import InputMoment, no_moment
from senn.batches.room import FEWEST_IN_SAMPLE, Room

# Units are judged on up to so many times the rows that they are fitted to, if those hold no more
# than so many numbers: the standard error of a score is often larger than what a unit gains.
JUDGED, JUDGED_NUMBERS = 4, 2**25


class ArraySource:
    """Mini-batches from arrays, reshuffled every epoch; the few rows left over wait for the next.

    The batch size is lowered to the even split that leaves the fewest rows over. `room` says for
    what slots batches are made; None makes none.
    """

    room: Room | None = None

    def __init__(self, data: Batch, batch_size: int, rng: np.random.Generator):  # noqa: D107
        data = Batch(*map(np.asarray, data))  # pyright: ignore[reportArgumentType]
        n = data.x.shape[0]
        self.targets, self.rows, self.rows_before = data.y, n, 0
        self._data, self._rng, self._n = data, rng, n
        self.steps_per_epoch = -(-n // batch_size)
        self._batch_size = n // self.steps_per_epoch
        self._slots = devices.alike(min(batch_size, shapes.rows(n)))  # rows of a batch, filled up
        self._steps = 0
        self._order = np.empty((0, self._batch_size), np.int32)
        self._block: Batch | None = None  # all rows on the device, and a blank one after them;
        # of several devices, each of which gets its part of a batch, on the host

    def input_moment(self) -> InputMoment:
        """Of all the data."""
        return no_moment(np.asarray(self._data.x)).with_more(self._data)

    @property
    def epoch(self) -> float:
        """Passes over the data so far."""
        return self._steps / self.steps_per_epoch

    @property
    def position(self) -> Position:
        """Where in the data this is; to be set on a source of the same data and batch size."""
        return Position(self._steps, self._order, self._rng.bit_generator.state)

    @position.setter
    def position(self, position: Position) -> None:
        self._steps, self._order = position.steps, position.order
        self._rng.bit_generator.state = position.generator

    def fingerprint(self, *others: Batch) -> str:
        """A hash of this data and of others: of every number, in its place."""
        digest = hashlib.sha256()
        for part in (part for batch in (self._data, *others) for part in batch):
            array = np.ascontiguousarray(part)
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(array.data)
        return digest.hexdigest()

    def chunk(self, steps: int, at_most: int) -> Chunk:
        """The next batches, up to `at_most` of them, for a call of `steps` or fewer."""
        rows, n = self._next_rows(steps, at_most)
        return Chunk.of(self._on_device(), rows, n)

    def _next_rows(self, steps: int, at_most: int) -> tuple[np.ndarray, int]:
        """The rows [steps, B] of the next batches, and how many of them are taken."""
        while len(self._order) < steps:
            order = self._rng.permutation(self._n)[: self.steps_per_epoch * self._batch_size]
            order = order.astype(np.int32).reshape(-1, self._batch_size)
            self._order = np.concatenate([self._order, order])
        n = min(steps, at_most)
        rows = np.full((steps, self._slots), self._n, np.int32)
        rows[:, : self._batch_size] = self._order[:steps]
        self._order = self._order[n:]
        self._steps += n
        return rows, n

    def like_chunks(self, steps: int) -> Chunk | None:
        """Of the shapes of those that `chunk` returns, None for several devices; none is taken."""
        if devices.count() > 1:
            return None
        return Chunk(self._on_device(), np.full((steps, self._slots), self._n, np.int32), 1)

    def _on_device(self) -> Batch:
        """All rows, weighing more for the blank ones in their batches."""
        if self._block is None:
            *grid, columns = self._data.x.shape[1:]
            numbers = math.prod(grid) * (columns if self.room is None else self.room.inputs)
            block = with_blanks(self._data, shapes.table_rows(self._n + 1, numbers), self.room)
            block.weight[:] *= self._slots / self._batch_size  # pyright: ignore[reportIndexIssue]
            self._block = Batch(*map(to_device, block)) if devices.count() == 1 else block
            own = block.x[: self._n, ..., :columns]  # in place of a second copy
            self._data = self._data._replace(x=own)  # pyright: ignore[reportArgumentType]
        return self._block

    def two_samples(self, size: int, rng: np.random.Generator) -> tuple[Batch, Batch]:
        """Random rows to fit to, half of the data if it is small, and more others to judge on."""
        fit, judged = self._sample_sizes(size)
        rows = rng.permutation(self._n)[: fit + judged]
        samples = self._data[rows[:fit]], self._data[rows[-judged:]]
        return as_sample(samples[0], self.room), as_sample(samples[1], self.room)

    def sample_shapes(self, size: int) -> tuple[Batch, Batch]:
        """The shapes of what `two_samples` will return."""
        x, y, weight = (np.asarray(part)[:1] for part in self._data)
        if self.room is not None:
            x, y = self.room.x(x), self.room.y(y)

        def of(n: int) -> Batch:
            rows = sample_rows(n, self.room)
            parts = (jax.ShapeDtypeStruct((rows, *p.shape[1:]), p.dtype) for p in (x, y, weight))
            return Batch(*parts)  # pyright: ignore[reportArgumentType]

        fit, judged = self._sample_sizes(size)
        return of(fit), of(judged)

    def _sample_sizes(self, size: int) -> tuple[int, int]:
        """Rows to fit to, and to judge on."""
        return sample_sizes(size, self._n, math.prod(self._data.x.shape[1:]), self.room)


def sample_sizes(size: int, n: int, numbers: int, room: Room | None) -> tuple[int, int]:
    """Of `n` rows of so many numbers those to fit to, `size` if there are as many, and to judge on.

    No row is both, unless there is one alone.
    """
    most = most_looked_at(n, room)
    size = min(size, most)
    if size >= n // 2:
        half = max(1, n // 2)
        return half, half
    fitting = min(shapes.at_most(JUDGED_NUMBERS // numbers, FEWEST_IN_SAMPLE), most)
    return size, min(n - size, max(size, min(JUDGED * size, fitting)))
