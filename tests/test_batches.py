"""Batches from arrays and from streams: every row, once, in batches of one size."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from senn.batches import ArraySource, Batch, Room, StreamSource, make_source
from senn.losses import SoftmaxCrossEntropy


def rows_of(n, start=0):
    """x [n, 2] and y [n], told apart by their row number."""
    i = np.arange(start, start + n)
    return np.stack([i, -i], axis=1).astype(float), i


def array_source(n, batch_size, seed=0):
    return ArraySource(Batch.of(*rows_of(n)), batch_size, np.random.default_rng(seed))


def taken(chunk):
    """The row numbers of the steps that count, [n, B], without what only fills batches up."""
    x, y, weight = (np.asarray(v)[chunk.rows[: chunk.n]] for v in chunk.data)
    np.testing.assert_array_equal(x, np.stack([y, -y], axis=-1))
    there = weight > 0
    length = there.sum(axis=1)
    assert (there == (np.arange(there.shape[1]) < length[:, None])).all()  # they come last
    assert not y[~there].any()
    np.testing.assert_allclose(weight.sum(axis=1), there.shape[1])
    return y[:, : max(length)]


def present(sample):
    """The row numbers of a sample, without what only fills it up."""
    x, y, weight = map(np.asarray, sample)
    there = weight > 0
    np.testing.assert_array_equal(x[:, 0], np.where(there, y, 0))
    assert (np.diff(there.astype(int)) <= 0).all()
    np.testing.assert_allclose(weight[there], len(y) / there.sum())
    return y[there]


# --- batches ----------------------------------------------------------------------------------


def test_batch_of_gives_floats_labels_and_weights():
    batch = Batch.of(np.array([[1, 2], [3, 4]]), np.array([0, 1]))
    assert batch.x.dtype == batch.weight.dtype == jnp.float64
    assert jnp.issubdtype(batch.y.dtype, jnp.integer)
    np.testing.assert_array_equal(batch.weight, 1)
    assert Batch.of(batch.x, np.array([0.5, 1], np.float32)).y.dtype == jnp.float64
    part = Batch.of(*rows_of(5), np.arange(5))[1:3]
    np.testing.assert_array_equal(part.y, [1, 2])
    np.testing.assert_array_equal(part.weight, [1, 2])


# --- arrays -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "batch_size", "steps", "size"),
    [(12, 4, 3, 4), (12, 5, 3, 4), (13, 5, 3, 4), (7, 100, 1, 7), (1, 1, 1, 1), (5, 1, 5, 1),
     (1025, 1024, 2, 512)],
)  # fmt: skip
def test_batches_are_even(n, batch_size, steps, size):
    source = array_source(n, batch_size)
    assert source.steps_per_epoch == steps
    chunk = source.chunk(3, 3)
    assert taken(chunk).shape == (3, size)
    assert size <= chunk.rows.shape[1] <= batch_size
    assert n - steps * size < steps


def test_every_epoch_has_every_row_once_in_a_new_order():
    source, steps = array_source(12, 4), []
    for at_most in itertools.cycle([5, 1, 2]):  # chunks that do not end with epochs
        chunk = source.chunk(5, at_most)
        assert chunk.rows.shape == (5, 4)
        assert chunk.n == at_most
        steps.extend(taken(chunk))
        if len(steps) >= 12:
            break
    assert source.epoch == len(steps) / 3
    epochs = [np.concatenate(steps[i : i + 3]) for i in range(0, 12, 3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(12))
    assert all(list(a) != list(b) for a, b in itertools.combinations(epochs, 2))


def test_no_row_is_left_out_for_ever():
    source = array_source(13, 5)  # one row waits each epoch
    assert len(np.unique(taken(source.chunk(3, 3)))) == 12
    assert len(np.unique(taken(source.chunk(30, 30)))) == 13


def test_the_seed_is_the_order():
    first, same, other = (taken(array_source(12, 4, seed).chunk(6, 6)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("n", "size", "fitted", "judged"),
    [(12, 4, 4, 8), (12, 100, 6, 6), (7, 5, 3, 3), (2, 1, 1, 1), (50, 2, 2, 8)],
)
def test_two_samples_share_no_row(n, size, fitted, judged):
    fit, held_out = array_source(n, 4).two_samples(size, np.random.default_rng(0))
    rows = present(fit).tolist(), present(held_out).tolist()
    assert tuple(map(len, rows)) == (fitted, judged)
    assert len({*rows[0], *rows[1]}) == fitted + judged


def test_wide_rows_are_judged_on_no_more_than_memory_likes(monkeypatch):
    width = array_source(50, 4)._data.x.shape[1]
    for numbers, judged in ((5 * width, 5), (1, 2)):  # never fewer than units are fitted to
        monkeypatch.setattr("senn.batches.arrays.JUDGED_NUMBERS", numbers)
        _, held_out = array_source(50, 4).two_samples(2, np.random.default_rng(0))
        assert len(present(held_out)) == judged


@pytest.mark.parametrize(
    ("n", "size"), [(1, 5), (12, 4), (5000, 100), (5000, 2048), (9000, 8192), (40_000, 3000)]
)
def test_samples_have_few_sizes_known_beforehand(n, size):
    source = array_source(n, 4)
    shapes = source.sample_shapes(size)
    samples = source.two_samples(size, np.random.default_rng(0))
    for sample, shape in zip(samples, shapes, strict=True):
        present(sample)
        assert len(sample.y) in (2048, 8192, 32_768)
        assert [(v.shape, v.dtype) for v in sample] == [(v.shape, v.dtype) for v in shape]


def test_two_samples_of_a_single_row():
    for sample in array_source(1, 4).two_samples(5, np.random.default_rng(0)):
        assert present(sample).tolist() == [0]


# --- streams ----------------------------------------------------------------------------------


def ragged(sizes):
    starts = np.cumsum([0, *sizes])
    return [rows_of(n, start) for n, start in zip(sizes, starts, strict=False)]


def drain(source, steps=3, at_most=3, limit=100):
    """The row numbers that the source gives, batch by batch, those that only fill up left out."""
    chunks = itertools.islice(iter(lambda: source.chunk(steps, at_most), None), limit)
    return [y for chunk in chunks for y in taken(chunk)]


RAGGED = [[4, 4, 4], [1, 2, 3, 4, 5], [10], [3], [4, 1], [1] * 9, [17, 1, 1, 20, 2]]


@pytest.mark.parametrize("sizes", RAGGED, ids=str)
@pytest.mark.parametrize(("steps", "at_most"), [(3, 3), (3, 2), (1, 1)])
def test_an_iterator_gives_every_row_once_in_order_and_ends(sizes, steps, at_most):
    source = StreamSource(iter(ragged(sizes)), 4, 8)
    batches = drain(source, steps, at_most)
    assert np.concatenate(batches).tolist() == list(range(sum(sizes)))
    whole, left = divmod(sum(sizes), 4)
    assert [len(batch) for batch in batches] == [4] * whole + [left] * (left > 0)
    assert source.epoch == 1
    assert source.chunk(steps, at_most) is None


@pytest.mark.parametrize("sizes", RAGGED, ids=str)
def test_an_iterable_starts_again_without_losing_rows(sizes):
    source = StreamSource(ragged(sizes), 4, 8)
    seen = np.concatenate(drain(source, limit=12))
    assert len(seen) == 12 * 3 * 4
    assert seen.tolist() == list(itertools.islice(itertools.cycle(range(sum(sizes))), len(seen)))
    assert source.epoch == pytest.approx(len(seen) / sum(sizes), abs=4 / sum(sizes) + 1)


@pytest.mark.parametrize(("epochs", "passes"), [(1, 1), (3, 3), (1.5, 2)])
def test_an_iterable_ends_after_its_epochs(epochs, passes):
    batches = drain(StreamSource(ragged([5, 1, 3]), 4, 8, epochs))
    assert np.concatenate(batches).tolist() == list(range(9)) * passes


@pytest.mark.parametrize(("n", "length"), [(1, 32), (31, 32), (33, 100), (65, 100), (100, 100)])
def test_a_short_batch_is_filled_up_and_means_the_same(n, length):
    weight = np.arange(1.0, n + 1)
    chunk = StreamSource(iter([(*rows_of(n), weight)]), 100, 8).chunk(1, 1)
    data = Batch(*(np.asarray(part)[chunk.rows[0]] for part in chunk.data))
    assert len(data.x) == len(data.y) == len(data.weight) == length
    np.testing.assert_allclose(data.weight[:n] * n / length, weight)
    np.testing.assert_array_equal(data.weight[n:], 0)
    mean = np.mean(np.asarray(data.weight)[:, None] * data.x, axis=0)
    np.testing.assert_allclose(mean, np.mean(weight[:, None] * rows_of(n)[0], axis=0))


def test_where_one_iterator_ended_another_goes_on():
    source = StreamSource(iter(ragged([5])), 4, 8)
    first = drain(source)
    source.go_on(iter([rows_of(6, 5)]))
    assert np.concatenate(first + drain(source)).tolist() == list(range(11))
    assert (source.rows, source.epoch) == (11, 2)
    source.map_targets(lambda y: y + 100)
    samples = source.two_samples(99, np.random.default_rng(0))
    kept = np.concatenate([s.y[s.weight > 0] for s in samples])
    assert len(kept) == len(set(kept)) == 10  # two halves of the batches that hold the last 8
    assert set(kept) <= set(range(100, 111))


def test_rows_beyond_those_asked_for_wait():
    source = StreamSource(ragged([4] * 5), 4, 8)
    chunk = source.chunk(3, 1)
    assert chunk.rows.shape == (3, 4)
    assert taken(chunk).tolist() == [[0, 1, 2, 3]]
    assert taken(source.chunk(3, 3))[0].tolist() == [4, 5, 6, 7]


def test_weights_stay_with_their_rows():
    batches = [(*rows_of(3), np.arange(3)), (*rows_of(3, 3), np.arange(3, 6))]
    data = StreamSource(iter(batches), 4, 8).chunk(1, 1).data
    np.testing.assert_array_equal(data.weight, data.y)
    assert data.y.tolist() == [0, 1, 2, 3]
    mixed = StreamSource(iter([rows_of(2), (*rows_of(2), np.full(2, 5))]), 4, 8).chunk(1, 1).data
    np.testing.assert_array_equal(mixed.weight, [1, 1, 5, 5])


@pytest.mark.parametrize("memory", [1, 8, 10, 1000])
def test_samples_come_from_the_rows_seen_last(memory):
    source = StreamSource(iter(ragged([7] * 10)), 4, memory)
    for _ in range(5):
        source.chunk(3, 3)
    samples = source.two_samples(1000, np.random.default_rng(0))
    kept = np.concatenate([present(s) for s in samples])
    assert len(np.unique(kept)) == len(kept)
    assert min(60, memory) / 2 <= len(kept) < memory + 4
    assert {len(s.y) for s in samples} == {2048}  # lest each size be compiled
    assert set(kept) <= set(range(60 - min(60, memory + 3), 60))
    small = source.two_samples(1, np.random.default_rng(0))
    assert [len(present(s)) for s in small] == [1, 1]


@pytest.mark.parametrize("empty", [[], iter([])], ids=["iterable", "iterator"])
def test_an_empty_stream_is_an_error(empty):
    with pytest.raises(ValueError, match="empty"):
        StreamSource(empty, 4, 8).chunk(1, 1)


class Once:
    """Iterable, but only one time round, as a wrapped file or socket is."""

    def __init__(self, batches):
        self.iterator = iter(batches)

    def __iter__(self):
        yield from self.iterator


@pytest.mark.parametrize("sizes", [[4, 4], [4, 3], [2]], ids=str)
def test_an_iterable_that_cannot_start_again_ends(sizes):
    batches = drain(StreamSource(Once(ragged(sizes)), 4, 8), 1, 1)
    assert np.concatenate(batches).tolist() == list(range(sum(sizes)))


x, y = rows_of(4)
BAD_BATCHES = {
    "x of one dimension": (x[:, 0], y),
    "too few targets": (x, y[:3]),
    "too few weights": (x, y, y[:3]),
    "no rows": (x[:0], y[:0]),
    "numbers": (1.0, 2),
}


@pytest.mark.parametrize("bad", BAD_BATCHES.values(), ids=BAD_BATCHES)
def test_bad_shapes(bad):
    with pytest.raises(ValueError, match=r"\[N, I\]"):
        StreamSource([(x, y), bad], 8, 8).chunk(1, 1)
    if np.ndim(bad[0]):
        with pytest.raises(ValueError, match=r"\[N, I\]"):
            make_source(bad, 4, 8, np.random.default_rng(0))


def test_make_source_tells_arrays_from_streams():
    rng = np.random.default_rng(0)
    arrays = [(x, y), (x, y, y), Batch.of(x, y)]
    assert all(type(make_source(data, 4, 8, rng)) is ArraySource for data in arrays)
    streams = [[(x, y)], iter([(x, y)]), ((x, y), (x, y))]
    assert all(type(make_source(data, 4, 8, rng)) is StreamSource for data in streams)
    assert make_source((x, y), 4, 8, rng).targets.dtype == y.dtype
    with pytest.raises(TypeError, match="got int"):
        make_source(5, 4, 8, rng)


# --- examples of several positions --------------------------------------------------------------


def images(n):
    draw = np.random.default_rng(5)
    return draw.normal(size=(n, 3, 2, 2)), draw.integers(0, 2, n), draw.uniform(0.5, 1.5, n)


def room_for_images(inputs=2):
    return Room(inputs, 2, SoftmaxCrossEntropy(), 2, 2, grid=(3, 2), numbers=100)


def test_images_keep_their_shape_and_spare_channels_are_zero():
    x, y, weight = images(10)
    source = ArraySource(Batch.on_host(x, y, weight), 5, np.random.default_rng(0))
    source.room = room_for_images(inputs=4)
    chunk = source.chunk(2, 2)
    rows = np.asarray(chunk.data.x)[chunk.rows[0][:5]]
    assert rows.shape == (5, 3, 2, 4)
    assert not rows[..., 2:].any()
    whole = np.asarray(chunk.data.x)[np.concatenate([r[:5] for r in chunk.rows])][..., :2]
    np.testing.assert_array_equal(np.sort(whole.ravel()), np.sort(x.ravel()))
    fit, judged = source.two_samples(100, np.random.default_rng(0))
    assert fit.x.shape == judged.x.shape == (32, 3, 2, 4)
    np.testing.assert_allclose(np.mean(fit.weight[5:]), 0)
    with pytest.raises(ValueError, match=r"The network needs x \[N, 3, 2, 2\]; got shape"):
        source.room.check(x[:, :2])


def test_a_stream_brings_images():
    x, y, _ = images(12)
    source = StreamSource([(x[:7], y[:7]), (x[7:], y[7:])], 4, 8, 1, watch_inputs=True)
    source.room = room_for_images()
    chunk = source.chunk(3, 3)
    assert chunk.data.x.shape[1:] == (3, 2, 2)
    a = np.concatenate([x, np.ones((12, 3, 2, 1))], axis=-1).reshape(-1, 3)
    np.testing.assert_allclose(source.input_moment().matrix, a.T @ a / len(a))
    assert source.input_moment().rows == 12
    assert source.two_samples(4, np.random.default_rng(0))[0].x.shape == (32, 3, 2, 2)


def test_few_rows_get_some_of_those_seen_last_beside_them():
    source = StreamSource(iter([rows_of(1)]), 100, 64, seed=0)
    for k in range(40):
        if k:
            source.go_on(iter([rows_of(1, k)]))
        chunk = source.chunk(1, 1)
        (rows,) = taken(chunk)
        assert rows[0] == k
        assert len(rows) == min(k + 1, 32)
        assert (rows[1:] < k).all()
    assert source.rows == 40  # each counts once
    source.go_on(iter([rows_of(50, 40)]))
    assert taken(source.chunk(1, 1)).shape == (1, 50)  # enough of its own
    plain = StreamSource(iter([rows_of(1)]), 100, 64)
    plain.chunk(1, 1)
    plain.go_on(iter([rows_of(1, 1)]))
    assert taken(plain.chunk(1, 1)).tolist() == [[1]]
