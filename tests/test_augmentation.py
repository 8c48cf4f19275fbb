"""Images changed at random: what may come of one, what sees them, and that runs are repeated."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import senn
from senn.augmentation import FlipsAndShifts, augmentation_of
from senn.batches import Batch, Room, make_source
from senn.losses import SoftmaxCrossEntropy
from senn.runs import RunWriter, last_checkpoint

RNG = np.random.default_rng(0)
X = RNG.normal(size=(23, 4, 5, 2))
Y = np.arange(23) % 3


def changes(image, flip, most):
    """All that may come of an image, by plain slices of one with its edge repeated."""
    height, width, _ = image.shape
    wide = np.pad(image, ((most, most), (most, most), (0, 0)), mode="edge")
    found = [
        wide[down : down + height, right : right + width]
        for down in range(2 * most + 1) for right in range(2 * most + 1)
    ]  # fmt: skip
    return [*found, *(one[:, ::-1] for one in found)] if flip else found


@pytest.mark.parametrize(("flip", "most"), [(True, 0), (False, 1), (True, 1), (False, 3)])
def test_images_are_mirrored_and_moved_by_whole_pixels(flip, most):
    every, seen = changes(X[0], flip, most), set()
    many = FlipsAndShifts(flip, most)(np.repeat(X[:1], 900, axis=0), np.random.default_rng(0))
    for one in many:
        at = [n for n, wanted in enumerate(every) if np.array_equal(one, wanted)]
        assert at
        seen.add(at[0])
    assert len(seen) == len(every)
    assert FlipsAndShifts()(X, RNG).tolist() == X.tolist()


def test_each_image_gets_a_draw_of_its_own():
    made = FlipsAndShifts(True, None)(X, np.random.default_rng(0))
    assert made.shape == X.shape
    assert all(any(np.array_equal(one, c) for c in changes(x, True, 1))
               for one, x in zip(made, X, strict=True))  # fmt: skip
    assert sum(np.array_equal(*pair) for pair in zip(made, X, strict=True)) < 6


WORDS = {
    "flip": FlipsAndShifts(True), "shift": FlipsAndShifts(False, None),
    "shift=2": FlipsAndShifts(False, 2), "flip, shift": FlipsAndShifts(True, None),
}  # fmt: skip


def test_words_say_which():
    assert augmentation_of(None) is None
    assert augmentation_of(np.flip) is np.flip
    assert augmentation_of(("shift=2", "flip")) == FlipsAndShifts(True, 2)
    for words, wanted in WORDS.items():
        assert augmentation_of(words) == wanted
    for wrong in ("", "turn", "shift=x", "shift=-1", 3, ()):
        with pytest.raises(ValueError, match='is not known: give "flip"'):
            augmentation_of(wrong)
    for twice in ("flip,flip", "shift,shift=2"):
        with pytest.raises(ValueError, match="says one thing twice"):
            augmentation_of(twice)


# --- Batches ----------------------------------------------------------------------------------


def sources(augment, batch_size=8):
    room = Room(2, 4, SoftmaxCrossEntropy(), 2, 3, grid=(4, 5), numbers=99)
    made = make_source((X, Y), batch_size, 99, np.random.default_rng(3), augment=augment)
    made.room = room
    return made


def rows_of(chunk):
    data = Batch(*map(np.asarray, chunk.data))
    return [Batch(*(part[chunk.rows[s]] for part in data)) for s in range(chunk.n)]


def test_a_source_gives_the_same_rows_changed():
    plain, same = sources(None).chunk(5, 4), sources(lambda x, _: x).chunk(5, 4)
    assert plain.rows.shape == same.rows.shape
    for one, other in zip(rows_of(plain), rows_of(same), strict=True):
        for part, its in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, its)
    changed = sources(FlipsAndShifts(True, 1)).chunk(5, 4)
    assert not np.array_equal(rows_of(changed)[0].x, rows_of(plain)[0].x)
    np.testing.assert_array_equal(rows_of(changed)[0].y, rows_of(plain)[0].y)


def test_a_step_draws_the_same_wherever_the_source_went_on():
    whole, cut = (sources(FlipsAndShifts(True, 1)) for _ in range(2))
    wanted = [rows_of(whole.chunk(6, 6)), rows_of(whole.chunk(6, 6))]
    first = [*rows_of(cut.chunk(6, 4)), *rows_of(cut.chunk(6, 2))]
    later = sources(FlipsAndShifts(True, 1))
    later.position = cut.position
    for found, steps in ((first, wanted[0]), (rows_of(later.chunk(6, 6)), wanted[1])):
        for one, other in zip(found, steps, strict=True):
            np.testing.assert_array_equal(one.x, other.x)
    assert not np.array_equal(wanted[0][0].x, wanted[1][0].x)


def test_samples_are_as_they_are():
    plain, changed = (
        s.two_samples(8, np.random.default_rng(1)) for s in (sources(None), sources(np.negative))
    )
    np.testing.assert_array_equal(plain[0].x, changed[0].x)
    np.testing.assert_array_equal(plain[1].x, changed[1].x)


def test_prepared_chunks_are_of_the_same_shapes():
    source = sources(FlipsAndShifts(True))
    like, chunk = source.like_chunks(5), source.chunk(5, 2)
    assert [p.shape for p in like.data] == [p.shape for p in chunk.data]
    assert [p.dtype for p in like.data] == [p.dtype for p in chunk.data]
    assert like.rows.shape == chunk.rows.shape


def test_what_cannot_be_changed_is_refused():
    with pytest.raises(ValueError, match="augment made images of shape"):
        sources(lambda x, _: x[:, 1:]).chunk(1, 1)
    with pytest.raises(ValueError, match=r"is for images x \[N, H, W, C\]; got shape \(23, 5\)"):
        make_source((X[:, 0, :, 0], Y), 8, 9, RNG, augment=FlipsAndShifts())
    with pytest.raises(ValueError, match="augment is for arrays"):
        make_source(iter([(X, Y)]), 8, 9, RNG, augment=FlipsAndShifts())
    with pytest.raises(ValueError, match="augment='flip' is for images, network=\"conv\""):
        senn.SENNClassifier(augment="flip").fit(X[:, 0, :, 0], Y)
    with pytest.raises(ValueError, match="augment='flip' is for images, network=\"conv\""):
        senn.SENNClassifier(augment="flip").partial_fit(X[:, 0, :, 0], Y)


# --- Runs -------------------------------------------------------------------------------------


def digits():
    images, labels = load_digits(return_X_y=True)
    return images.reshape(-1, 8, 8)[:256].astype(np.uint8), labels[:256]


def classifier(**more):
    return senn.SENNClassifier(
        network="conv", channels=(4,), activation="silu", batch_size=64, max_iter=6,
        policy=senn.Policy(depth=False, every=5, max_units=6), augment="flip,shift=1",
        proposer=senn.proposals.Random(candidates=8), random_state=0, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    return classifier().fit(*digits())


def test_a_run_is_repeated_and_another_differs(trained):
    again = classifier().fit(*digits())
    x = digits()[0]
    np.testing.assert_array_equal(again.predict_proba(x), trained.predict_proba(x))
    other = classifier().set_params(augment="shift=2").fit(*digits())
    assert not np.array_equal(other.predict_proba(x), trained.predict_proba(x))


def test_growth_compiles_nothing_anew(trained):
    assert trained.hidden_sizes_[0] > 4
    again = classifier().fit(*digits())
    assert again.history_.n_compilations == 0


def test_a_run_that_was_stopped_ends_as_it_would_have(trained, tmp_path):
    class Stop(senn.Callback):
        def on_pause(self, state):
            if state.step >= 7:
                raise KeyboardInterrupt

    writer = RunWriter(tmp_path, 0.0)
    stopped = classifier(callbacks=(writer, Stop())).fit(*digits())
    assert stopped.history_.ended_by == "interrupted"
    resumed = classifier().resume(last_checkpoint(tmp_path), *digits())
    x = digits()[0]
    np.testing.assert_array_equal(resumed.predict_proba(x), trained.predict_proba(x))
    assert resumed.history_.steps == trained.history_.steps


def test_a_file_keeps_the_words(trained, tmp_path):
    trained.save(tmp_path / "m")
    assert senn.load(tmp_path / "m").augment == "flip,shift=1"
