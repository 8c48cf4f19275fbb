"""Batches of examples that are changed at random, as augmentation of images does it."""

import zlib

import numpy as np

from senn import devices
from senn.augmentation import Augment
from senn.batches.arrays import ArraySource
from senn.batches.batch import Batch
from senn.batches.chunk import Chunk
from senn.batches.filling import with_blanks


class AugmentedSource(ArraySource):
    """An `ArraySource` whose steps meet their examples changed; samples are as they are.

    The draws of a step follow from its number and from its rows, which a resumed run has again:
    there is no state of theirs. Examples are changed on the host, some steps ahead.
    """

    def __init__(self, data: Batch, batch_size: int, rng: np.random.Generator, augment: Augment):  # noqa: D107
        super().__init__(data, batch_size, rng)
        self._augment = augment

    def chunk(self, steps: int, at_most: int) -> Chunk:
        """The next batches, as of `ArraySource`, each of examples of its own."""
        first = self._steps
        rows, n = self._next_rows(steps, at_most)
        block = self._blank(steps)
        for s, own in enumerate(rows[:n, : self._batch_size]):
            self._fill(block, s, own, np.random.default_rng([first + s, zlib.crc32(own.tobytes())]))
        return Chunk.of(block, self._places(steps), n)

    def like_chunks(self, steps: int) -> Chunk | None:
        """Of the shapes of those that `chunk` returns; nothing is taken."""
        return None if devices.count() > 1 else Chunk(self._blank(steps), self._places(steps), 1)

    def _blank(self, steps: int) -> Batch:
        """Room for the examples of so many steps, and blank ones after them.

        The first example is there, to be put over: losses check no targets that are not.
        """
        return with_blanks(self._data[np.arange(1)], steps * self._slots, self.room)

    def _places(self, steps: int) -> np.ndarray:
        """Which rows of a block are those of each step, [steps, B]; the last for blank ones."""
        rows = np.full((steps, self._slots), steps * self._slots - 1, np.int32)
        own = np.arange(steps * self._batch_size, dtype=np.int32)
        rows[:, : self._batch_size] = own.reshape(steps, -1)
        return rows

    def _fill(self, block: Batch, s: int, rows: np.ndarray, rng: np.random.Generator) -> None:
        """Put the examples of step s into a block, weighing more for the blank ones."""
        x, y, weight = (np.asarray(part) for part in self._data[rows])
        changed = self._augment(x, rng)
        if changed.shape != x.shape:
            raise ValueError(
                f"augment made images of shape {changed.shape} of those of shape {x.shape}: it is "
                "to keep them as many and as large as they are."
            )
        there = slice(s * self._batch_size, (s + 1) * self._batch_size)
        room_x, room_y, room_weight = (np.asarray(part) for part in block)
        room_x[there, ..., : x.shape[-1]] = changed
        room_y[there] = y if self.room is None else self.room.y(y)
        room_weight[there] = weight * (self._slots / self._batch_size)
