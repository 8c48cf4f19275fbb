"""Batches of data that do not fit in memory, and are read again in every pass."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from senn import devices, shapes
from senn.batches.arrays import sample_sizes
from senn.batches.batch import Batch
from senn.batches.chunk import Chunk, Position
from senn.batches.filling import as_sample, with_blanks
from senn.batches.moment import ROWS_AT_ONCE, InputMoment, no_moment
from senn.batches.room import Room
from senn.readers import DataError

Block = tuple[np.ndarray, np.ndarray]  # x [N, I] and targets [N, ...]
WINDOW_ROWS, WINDOW_BYTES = 2**18, 2**26  # that are shuffled among each other, at most


class Passes(NamedTuple):
    """Rows that can be read as often as wanted, in another order in every pass.

    `read` gives the rows of a pass, in blocks, from one of them on. `prepare` makes of them what
    the network reads: it is done late, for codes take many times the memory.
    """

    rows: int
    read: Callable[[int, int], Iterator[Block]]  # of a pass, from a row on
    prepare: Callable[[np.ndarray], np.ndarray]
    sample: Block  # random rows, in memory
    fingerprint: str


class PassSource:
    """Mini-batches from `Passes`, shuffled within windows of bounded memory.

    Which rows are in a batch follows from the number of its step alone. So a step is all that a
    checkpoint keeps, and who goes on in the middle of a pass goes on with the same bits. Growth is
    judged on the sample, and so is the moment of the inputs. The few rows left over at the end of
    a pass wait for the next.
    """

    room: Room | None = None
    rows_before = 0

    def __init__(self, passes: Passes, batch_size: int, seed: int):  # noqa: D107
        self._passes, self._seed, self.rows = passes, seed, passes.rows
        self.targets = passes.sample[1]
        self._batch_size = min(batch_size, passes.rows)
        self._room = min(batch_size, shapes.rows(passes.rows))  # for rows of a batch, at least
        self.steps_per_epoch = passes.rows // self._batch_size
        row = passes.sample[0][:1]
        self._width = passes.prepare(row).shape[1]
        fitting = min(WINDOW_ROWS, WINDOW_BYTES // max(row.nbytes, 1))
        self._window_steps = max(1, fitting // self._batch_size)
        self._steps = 0
        self._at: tuple[int, int] | None = None  # the pass and the window that are loaded
        self._window: Block = (row[:0], self.targets[:0])
        self._order = np.empty(0, np.int64)
        self._blocks: Iterator[Block] = iter(())
        self._rest: list[Block] = []

    @property
    def epoch(self) -> float:
        """Passes over the data so far."""
        return self._steps / self.steps_per_epoch

    @property
    def position(self) -> Position:
        """Where in the data this is; to be set on a source of the same data and batch size."""
        return Position(self._steps, np.empty((0, self._batch_size), np.int32), {})

    @position.setter
    def position(self, position: Position) -> None:
        self._steps, self._at = position.steps, None

    def fingerprint(self, *others: Batch) -> str:  # noqa: ARG002  they are of the same data
        """A hash of the data."""
        return self._passes.fingerprint

    def input_moment(self) -> InputMoment:
        """That of the sample, for all rows."""
        x, y = self._passes.sample
        moment = no_moment(self._passes.prepare(x[:1]))
        for start in range(0, len(x), ROWS_AT_ONCE):
            moment = moment.with_more(
                self._batch(x[start:][:ROWS_AT_ONCE], y[start:][:ROWS_AT_ONCE])
            )
        return moment._replace(rows=self.rows) if moment.rows else moment

    def chunk(self, steps: int, at_most: int) -> Chunk:
        """The next batches, up to `at_most` of them, for a call of `steps` or fewer."""
        # How many devices there are is known now, not when this was made.
        n, size, slots = min(steps, at_most), self._batch_size, devices.alike(self._room)
        x, y = _joined([self._next() for _ in range(n)])
        block = with_blanks(self._batch(x, y), slots * steps, self.room)
        block.weight[:] *= slots / size  # pyright: ignore[reportIndexIssue]
        rows = np.full((steps, slots), slots * steps - 1, np.int32)  # blank, if one is looked at
        rows[:n, :size] = np.arange(n * size, dtype=np.int32).reshape(n, size)
        return Chunk.of(block, rows, n)

    def two_samples(self, size: int, rng: np.random.Generator) -> tuple[Batch, Batch]:
        """Random rows of the sample to fit to, and more others to judge on."""
        x, y = self._passes.sample
        fit, judged = sample_sizes(size, len(x), self._width, self.room)
        rows = rng.permutation(len(x))[: fit + judged]
        parts = [self._batch(x[part], y[part]) for part in (rows[:fit], rows[-judged:])]
        return as_sample(parts[0], self.room), as_sample(parts[1], self.room)

    def sample_shapes(self, size: int) -> None:
        """None: what is compiled is compiled when it is first needed."""

    def like_chunks(self, steps: int) -> None:
        """None, likewise."""

    def _batch(self, x: np.ndarray, y: np.ndarray) -> Batch:
        prepared = self._passes.prepare(x)
        return Batch.on_host(prepared, y, np.ones(len(y), prepared.dtype))

    def _next(self) -> Block:
        number, step = divmod(self._steps, self.steps_per_epoch)
        window, place = divmod(step, self._window_steps)
        if self._at != (number, window):
            self._load(number, window)
        rows = self._order[place * self._batch_size :][: self._batch_size]
        self._steps += 1
        return self._window[0][rows], self._window[1][rows]

    def _load(self, number: int, window: int) -> None:
        """Read a window: on from the one before it, if that is where the reader stands."""
        size = self._window_steps * self._batch_size
        if self._at != (number, window - 1):
            self._blocks, self._rest = self._passes.read(number, window * size), []
        wanted = min(size, self.rows - window * size)
        parts, n = self._rest, sum(len(y) for _, y in self._rest)
        self._window = self._window[0][:0], self._window[1][:0]  # to be freed before more is read
        while n < wanted:
            block = next(self._blocks, None)
            if block is None:
                raise DataError(
                    "The files have other rows than they had when training began: leave them as "
                    "they are, and start anew."
                )
            parts, n = [*parts, block], n + len(block[1])
        x, y = _joined(parts)
        self._window, self._rest = (
            (x[:wanted], y[:wanted]),
            [(x[wanted:].copy(), y[wanted:].copy())],
        )
        self._order = np.random.default_rng([self._seed, number, window]).permutation(wanted)
        self._at = number, window


def _joined(blocks: list[Block]) -> Block:
    x, y = zip(*blocks, strict=True)
    return np.concatenate(x), np.concatenate(y)
