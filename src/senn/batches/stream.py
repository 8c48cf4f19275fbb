"""Batches from an iterable, of which little is kept."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from senn import devices, shapes
from senn.batches.batch import Batch
from senn.batches.chunk import Chunk, Position
from senn.batches.filling import as_sample, most_looked_at, with_blanks
from senn.batches.moment import InputMoment, no_moment
from senn.batches.room import Room

FEWEST_IN_STREAM = 32  # rows of a batch there: one call may bring a single row


class StreamSource:
    """Mini-batches from any iterable of (x, y) or (x, y, weight), re-cut to one batch size.

    An iterable that can be iterated again is, until `max_epochs` passes are done; an iterator
    ends, and `go_on` takes up another. Growth is judged on the rows seen last, of which up to
    `memory` are kept; of all others nothing is. With a `seed` a batch of fewer rows than a step
    has room for gets some of those kept beside its own, at random.
    """

    room: Room | None = None
    _again: np.random.Generator | None = None  # none in pickles of before

    steps_per_epoch: int | None = None
    targets = None  # not known beforehand
    position: Position | None = None  # cannot be gone back to

    def __init__(  # noqa: D107
        self,
        batches: Iterable,
        batch_size: int,
        memory: int,
        max_epochs: float | None = None,
        *,
        watch_inputs: bool = False,
        rows_before: int = 0,
        seed: int | None = None,
    ):
        self.rows_before = rows_before  # that the network was trained on before this stream
        self._max_epochs = np.inf if max_epochs is None else max_epochs
        self._iterable, self._batch_size, self._memory = batches, batch_size, memory
        self._stream: Iterator | None = iter(batches)
        self._restarts = not isinstance(batches, Iterator)
        self._pending: deque[tuple[np.ndarray, ...]] = deque()
        self._recent: deque[tuple[np.ndarray, ...]] = deque()
        self._waiting: list[tuple[np.ndarray, ...]] = []
        self.rows, self._watched = 0, watch_inputs
        self._moment = InputMoment(np.zeros((0, 0)), 0)
        self._again = None if seed is None else np.random.default_rng(seed)
        self._epochs = 0
        self._read_any = False  # in this pass

    @property
    def epoch(self) -> float:
        """Passes over the iterable completed so far."""
        return float(self._epochs)

    def go_on(self, batches: Iterator) -> None:
        """Take up another iterator, where one has ended."""
        self._iterable, self._stream, self._restarts = batches, batches, False
        self._pending.clear()
        self._waiting, self._read_any = [], False

    def map_targets(self, function: Callable[[np.ndarray], np.ndarray]) -> None:
        """Let the targets of the rows that are kept mean what those to come will."""
        self._recent = deque((x, function(y), weight) for x, y, weight in self._recent)

    def map_inputs(self, function: Callable[[np.ndarray], np.ndarray], matrix: np.ndarray) -> None:
        """Give the inputs of the rows that are kept another scale: (x, 1) becomes matrix (x, 1)."""
        self._recent = deque((function(x), y, weight) for x, y, weight in self._recent)
        self._moment = self._moment.turned(matrix)

    def chunk(self, steps: int, at_most: int) -> Chunk | None:
        """The next batches, stacked; None at the end of an iterator."""
        while len(self._pending) < min(steps, at_most) and self._stream is not None:
            self._read()
        n = min(steps, at_most)
        ready = [self._pending.popleft() for _ in range(min(n, len(self._pending)))]
        ready = _equally_long(ready, self._pending)
        if not ready:
            return None
        beside = self._some_again(FEWEST_IN_STREAM - len(ready[0][0]))
        self._remember(ready)
        self.rows += sum(len(batch[0]) for batch in ready)
        if self._watched:
            self._watch(ready)
        if beside:
            ready = [_joined([batch, *beside]) for batch in ready]
        length = len(ready[0][0])
        slots = devices.alike(min(shapes.rows(length, FEWEST_IN_STREAM), self._batch_size))
        data = Batch.on_host(*(np.concatenate(part) for part in zip(*ready, strict=True)))
        block = with_blanks(data, slots * steps, self.room)
        block.weight[:] *= slots / length  # pyright: ignore[reportIndexIssue]
        rows = np.full((steps, slots), slots * steps - 1, np.int32)  # a blank row, if there is one
        own = np.arange(length * len(ready), dtype=np.int32).reshape(-1, length)
        rows[: len(ready), :length] = own
        return Chunk.of(block, rows, len(ready))

    def fingerprint(self, *others: Batch) -> None:
        """None: not known beforehand."""

    def input_moment(self) -> InputMoment:
        """Of all rows given out so far, if inputs are watched."""
        return self._moment

    def two_samples(self, size: int, rng: np.random.Generator) -> tuple[Batch, Batch]:
        """Two random samples of the rows seen last."""
        recent = [np.concatenate(part) for part in zip(*self._recent, strict=True)]
        size = max(1, min(len(recent[0]) // 2, most_looked_at(size, self.room)))
        rows = rng.permutation(len(recent[0]))[: 2 * size]
        fit, judge = (Batch.on_host(*(v[r] for v in recent)) for r in (rows[:size], rows[-size:]))
        return as_sample(fit, self.room), as_sample(judge, self.room)

    def sample_shapes(self, size: int) -> None:
        """None: not known beforehand."""

    def like_chunks(self, steps: int) -> None:
        """None: not known beforehand."""

    def _read(self) -> None:
        assert self._stream is not None
        try:
            self._waiting.append(_as_rows(next(self._stream)))
            self._read_any = True
        except StopIteration:
            if not (self._read_any or self._epochs):
                raise ValueError(
                    "The iterable of batches is empty; give it at least one."
                ) from None
            self._epochs += self._read_any
            again = self._restarts and self._epochs < self._max_epochs
            again = again and self._read_any  # some iterables give their items only once
            self._stream, self._read_any = iter(self._iterable) if again else None, False
            if self._stream is None and self._waiting:
                self._pending.append(_joined(self._waiting))
                self._waiting = []
            return
        if sum(len(part[0]) for part in self._waiting) >= self._batch_size:
            rows = _joined(self._waiting)
            whole = len(rows[0]) // self._batch_size * self._batch_size
            for start in range(0, whole, self._batch_size):
                self._pending.append(tuple(p[start : start + self._batch_size] for p in rows))
            self._waiting = [tuple(p[whole:] for p in rows)] if whole < len(rows[0]) else []

    def _some_again(self, n: int) -> list[tuple[np.ndarray, ...]]:
        """So many of the rows kept, each a batch, and no more than there are."""
        if self._again is None or not self._recent or n <= 0:
            return []
        n = min(n, self._batch_size, sum(len(batch[0]) for batch in self._recent))
        picked = [self._recent[i] for i in self._again.integers(len(self._recent), size=n)]
        rows = [self._again.integers(len(batch[0])) for batch in picked]
        return [
            tuple(part[row : row + 1] for part in batch)
            for batch, row in zip(picked, rows, strict=True)
        ]

    def _watch(self, batches: list[tuple[np.ndarray, ...]]) -> None:
        seen = Batch.on_host(*(np.concatenate(part) for part in zip(*batches, strict=True)))
        before = self._moment if self._moment.rows else no_moment(np.asarray(seen.x))
        self._moment = before.with_more(seen)

    def _remember(self, batches: list[tuple[np.ndarray, ...]]) -> None:
        self._recent.extend(batches)
        while sum(len(b[0]) for b in self._recent) - len(self._recent[0][0]) >= self._memory:
            self._recent.popleft()


def _as_rows(item) -> tuple[np.ndarray, ...]:
    x, y, *weight = item
    x, y = np.asarray(x), np.asarray(y)
    w = np.asarray(weight[0]) if weight else np.ones(x.shape[:1])
    if x.ndim < 2 or not x.shape[:1] == y.shape[:1] == w.shape != (0,):
        raise ValueError(
            f"Each batch must be (x [N, I] or [N, …, I], y [N, …]) with N > 0; "
            f"got shapes {x.shape} and {y.shape}."
        )
    return x, y, w


def _joined(parts: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    return tuple(np.concatenate(p) for p in zip(*parts, strict=True))


def _equally_long(ready: list, pending: deque) -> list:
    # The last batch of an iterator may be short; it goes into a chunk of its own.
    if len(ready) > 1 and len(ready[-1][0]) != len(ready[0][0]):
        pending.appendleft(ready.pop())
    return ready
