"""Batches of examples: from arrays in memory, or from a stream.

Data stay on the host. What goes to compiled programs has few shapes, however many rows there
are: batches and samples are filled up with rows of no weight (`filled`).
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from senn import shapes
from senn.arrays import blank, to_device
from senn.losses import AbstractLoss

ROWS_AT_ONCE = 8192  # of a product over all the data
# Units are judged on up to so many times the rows that they are fitted to, if those hold no more
# than so many numbers: the standard error of a score is often larger than what a unit gains.
JUDGED, JUDGED_NUMBERS = 4, 2**25
FEWEST_IN_STREAM = 32  # rows of a batch there: one call may bring a single row
FEWEST_IN_SAMPLE, FEWEST_IN_BLOCKS = 2048, 8192  # the last if a search looks at rows in blocks


class Batch(NamedTuple):
    """Examples, their targets, and a weight each."""

    x: Float[Array, "*n I"]
    y: Shaped[Array, "..."]
    weight: Float[Array, "*n"]

    @classmethod
    def of(cls, x, y, weight=None) -> "Batch":
        """From any arrays; x becomes floating point, and a missing weight one."""
        return cls(*(to_device(part) for part in cls.on_host(x, y, weight)))

    @classmethod
    def on_host(cls, x, y, weight=None) -> "Batch":
        """The same, of NumPy arrays."""
        x = _floating(np.asarray(x))
        weight = np.ones(x.shape[:-1], x.dtype) if weight is None else np.asarray(weight, x.dtype)
        return cls(x, _floating(np.asarray(y), integers=True), weight)  # pyright: ignore[reportArgumentType]

    def __getitem__(self, rows) -> "Batch":  # pyright: ignore[reportIncompatibleMethodOverride]
        """Some of the examples."""
        return Batch(self.x[rows], self.y[rows], self.weight[rows])


class Room(NamedTuple):
    """What batches are made for: slots of the network's inputs and outputs, and its loss."""

    inputs: int
    outputs: int
    loss: AbstractLoss
    in_size: int  # in use
    out_size: int
    sample: int = FEWEST_IN_SAMPLE  # rows of a sample of growth, at least

    def x(self, x: np.ndarray) -> np.ndarray:
        """Inputs [N, I], zeros in the spare slots."""
        self.check(x)
        spare = self.inputs - x.shape[1]
        return np.pad(x, ((0, 0), (0, spare))) if spare else x

    def y(self, y: np.ndarray) -> np.ndarray:
        """Targets [N, ...] of all the slots; a `ValueError` for some that the loss cannot take."""
        self.loss.check(y, self.out_size)
        return self.loss.spread(y, self.out_size, self.outputs)

    def check(self, x: np.ndarray) -> None:
        """Raise a `ValueError` for other inputs than the network's: zeros would stand for them."""
        if x.shape[1] != self.in_size:
            raise ValueError(f"The network needs x [N, {self.in_size}]; got shape {x.shape}.")


def filled(batch: Batch, rows: int, room: Room | None = None) -> Batch:
    """The batch, with spare slots, up to so many rows by rows of no weight; on the host.

    Its own weigh more for it, so that weighted means over all rows stay the same.
    """
    block = _block(batch, rows, room)
    block.weight[:] *= rows / len(batch.x)  # pyright: ignore[reportIndexIssue]
    return block


def _block(batch: Batch, rows: int, room: Room | None) -> Batch:
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


class InputMoment(NamedTuple):
    """E[w · (x, 1)(x, 1)ᵀ], the second moment of the inputs and the constant, over `rows` rows.

    Rows that are not finite, or whose squares are not, are left out.
    """

    matrix: np.ndarray  # [I + 1, I + 1]
    rows: int

    def with_more(self, batch: Batch) -> "InputMoment":
        """Of these rows and those of a batch, accumulated in pieces."""
        x, weight = np.asarray(batch.x), np.asarray(batch.weight)
        total, rows = self.matrix * self.rows, self.rows
        for start in range(0, len(x), ROWS_AT_ONCE):
            piece = slice(start, start + ROWS_AT_ONCE)
            root = np.sqrt(weight[piece, None])
            a = np.concatenate([x[piece] * root, root], axis=1)
            with np.errstate(over="ignore", invalid="ignore"):
                product = a.T @ a
                if not np.isfinite(product).all():
                    a = a[np.isfinite(a * a * len(a)).all(axis=1)]
                    product = a.T @ a
            total, rows = total + product, rows + len(a)
        return InputMoment(total / max(rows, 1), rows)


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
        self._slots = min(batch_size, shapes.rows(n))  # rows of a batch, filled up
        self._steps = 0
        self._order = np.empty((0, self._batch_size), np.int32)
        self._block: Batch | None = None  # all rows on the device, and a blank one after them

    def input_moment(self) -> InputMoment:
        """Of all the data."""
        return _nothing(np.asarray(self._data.x)).with_more(self._data)

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
        while len(self._order) < steps:
            order = self._rng.permutation(self._n)[: self.steps_per_epoch * self._batch_size]
            order = order.astype(np.int32).reshape(-1, self._batch_size)
            self._order = np.concatenate([self._order, order])
        n = min(steps, at_most)
        rows = np.full((steps, self._slots), self._n, np.int32)
        rows[:, : self._batch_size] = self._order[:steps]
        self._order = self._order[n:]
        self._steps += n
        return Chunk(self._on_device(), rows, n)

    def like_chunks(self, steps: int) -> Chunk:
        """Of the shapes of those that `chunk` returns; nothing is taken."""
        return Chunk(self._on_device(), np.full((steps, self._slots), self._n, np.int32), 1)

    def _on_device(self) -> Batch:
        """All rows, weighing more for the blank ones in their batches."""
        if self._block is None:
            columns = self._data.x.shape[1] if self.room is None else self.room.inputs
            block = _block(self._data, shapes.table_rows(self._n + 1, columns), self.room)
            block.weight[:] *= self._slots / self._batch_size  # pyright: ignore[reportIndexIssue]
            self._block = Batch(*map(to_device, block))
            own = block.x[: self._n, : self._data.x.shape[1]]  # in place of a second copy
            self._data = self._data._replace(x=own)  # pyright: ignore[reportArgumentType]
        return self._block

    def two_samples(self, size: int, rng: np.random.Generator) -> tuple[Batch, Batch]:
        """Random rows to fit to, half of the data if it is small, and more others to judge on."""
        fit, judged = self._sample_sizes(size)
        rows = rng.permutation(self._n)[: fit + judged]
        samples = self._data[rows[:fit]], self._data[rows[-judged:]]
        return _sample(samples[0], self.room), _sample(samples[1], self.room)

    def sample_shapes(self, size: int) -> tuple[Batch, Batch]:
        """The shapes of what `two_samples` will return."""
        x, y, weight = (np.asarray(part)[:1] for part in self._data)
        if self.room is not None:
            x, y = self.room.x(x), self.room.y(y)

        def of(n: int) -> Batch:
            rows = _sample_rows(n, self.room)
            parts = (jax.ShapeDtypeStruct((rows, *p.shape[1:]), p.dtype) for p in (x, y, weight))
            return Batch(*parts)  # pyright: ignore[reportArgumentType]

        fit, judged = self._sample_sizes(size)
        return of(fit), of(judged)

    def _sample_sizes(self, size: int) -> tuple[int, int]:
        """Rows to fit to, and to judge on."""
        if size >= self._n // 2:
            half = max(1, self._n // 2)
            return half, half
        room = shapes.at_most(JUDGED_NUMBERS // self._data.x.shape[1], FEWEST_IN_SAMPLE)
        return size, min(self._n - size, max(size, min(JUDGED * size, room)))


class StreamSource:
    """Mini-batches from any iterable of (x, y) or (x, y, weight), re-cut to one batch size.

    An iterable that can be iterated again is, until `max_epochs` passes are done; an iterator
    ends, and `go_on` takes up another. Growth is judged on the rows seen last, of which up to
    `memory` are kept; of all others nothing is.
    """

    room: Room | None = None

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

    def chunk(self, steps: int, at_most: int) -> Chunk | None:
        """The next batches, stacked; None at the end of an iterator."""
        while len(self._pending) < min(steps, at_most) and self._stream is not None:
            self._read()
        n = min(steps, at_most)
        ready = [self._pending.popleft() for _ in range(min(n, len(self._pending)))]
        ready = _equally_long(ready, self._pending)
        if not ready:
            return None
        self._remember(ready)
        self.rows += sum(len(batch[0]) for batch in ready)
        if self._watched:
            self._watch(ready)
        length = len(ready[0][0])
        slots = min(shapes.rows(length, FEWEST_IN_STREAM), self._batch_size)
        data = Batch.on_host(*(np.concatenate(part) for part in zip(*ready, strict=True)))
        block = _block(data, slots * steps, self.room)
        block.weight[:] *= slots / length  # pyright: ignore[reportIndexIssue]
        rows = np.full((steps, slots), slots * steps - 1, np.int32)  # a blank row, if there is one
        own = np.arange(length * len(ready), dtype=np.int32).reshape(-1, length)
        rows[: len(ready), :length] = own
        return Chunk(block, rows, len(ready))

    def fingerprint(self, *others: Batch) -> None:
        """None: not known beforehand."""

    def input_moment(self) -> InputMoment:
        """Of all rows given out so far, if inputs are watched."""
        return self._moment

    def two_samples(self, size: int, rng: np.random.Generator) -> tuple[Batch, Batch]:
        """Two random samples of the rows seen last."""
        recent = [np.concatenate(part) for part in zip(*self._recent, strict=True)]
        size = max(1, min(len(recent[0]) // 2, size))
        rows = rng.permutation(len(recent[0]))[: 2 * size]
        fit, judge = (Batch.on_host(*(v[r] for v in recent)) for r in (rows[:size], rows[-size:]))
        return _sample(fit, self.room), _sample(judge, self.room)

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

    def _watch(self, batches: list[tuple[np.ndarray, ...]]) -> None:
        seen = Batch.on_host(*(np.concatenate(part) for part in zip(*batches, strict=True)))
        before = self._moment if self._moment.rows else _nothing(np.asarray(seen.x))
        self._moment = before.with_more(seen)

    def _remember(self, batches: list[tuple[np.ndarray, ...]]) -> None:
        self._recent.extend(batches)
        while sum(len(b[0]) for b in self._recent) - len(self._recent[0][0]) >= self._memory:
            self._recent.popleft()


def make_source(
    data: Any,
    batch_size: int,
    memory: int,
    rng: np.random.Generator,
    max_epochs: float | None = None,
    *,
    watch_inputs: bool = False,
) -> "ArraySource | StreamSource":
    """A source from (x, y), (x, y, weight), a `Batch`, or an iterable of such; or the given one."""
    if isinstance(data, StreamSource):
        return data
    data = tuple(data) if isinstance(data, Batch) else data  # whose [0] is its first example
    if isinstance(data, tuple) and len(data) in (2, 3) and hasattr(data[0], "shape"):
        return ArraySource(checked(Batch.on_host(*data)), batch_size, rng)
    if isinstance(data, Iterable):
        return StreamSource(data, batch_size, memory, max_epochs, watch_inputs=watch_inputs)
    raise TypeError(
        f"data must be (x, y) or (x, y, weight) arrays, or an iterable of such batches; "
        f"got {type(data).__name__}."
    )


def checked(batch: Batch) -> Batch:
    """The batch, if there is anything in it and its parts are as long as each other."""
    if batch.x.ndim != 2 or not len(batch.x) == len(batch.y) == len(batch.weight) > 0:
        raise ValueError(
            f"x must be [N, I] with N > 0, and y and weight as long; got shapes "
            f"{batch.x.shape}, {batch.y.shape} and {batch.weight.shape}."
        )
    return batch


def _nothing(x: Float[np.ndarray, "N I"]) -> InputMoment:
    return InputMoment(np.zeros((x.shape[1] + 1,) * 2, x.dtype), 0)


def _as_rows(item) -> tuple[np.ndarray, ...]:
    x, y, *weight = item
    x, y = np.asarray(x), np.asarray(y)
    w = np.asarray(weight[0]) if weight else np.ones(x.shape[:1])
    if x.ndim != 2 or not x.shape[:1] == y.shape[:1] == w.shape != (0,):
        raise ValueError(
            f"Each batch must be (x [N, I], y [N, …]) with N > 0; "
            f"got shapes {x.shape} and {y.shape}."
        )
    return x, y, w


def _joined(parts: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    return tuple(np.concatenate(p) for p in zip(*parts, strict=True))


def _sample(batch: Batch, room: Room | None) -> Batch:
    """A sample at a size of which there are few."""
    return filled(batch, _sample_rows(len(batch.x), room), room)


def _sample_rows(n: int, room: Room | None) -> int:
    return shapes.rows(n, FEWEST_IN_SAMPLE if room is None else room.sample)


def _equally_long(ready: list, pending: deque) -> list:
    # The last batch of an iterator may be short; it goes into a chunk of its own.
    if len(ready) > 1 and len(ready[-1][0]) != len(ready[0][0]):
        pending.appendleft(ready.pop())
    return ready


def _floating(array: np.ndarray, *, integers: bool = False) -> np.ndarray:
    # JAX's own floating type unless the caller chose a narrower one; labels stay integers
    if integers and jnp.issubdtype(array.dtype, jnp.integer):
        return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
    if array.dtype == np.float32 and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        return array
    return array.astype(jnp.result_type(float), copy=False)
