"""Tables that are streamed: how rows are divided, passes, resuming, and the command."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import senn.learning
import senn.training
from command import refused, run
from senn.batches import Passes, PassSource, passes
from senn.commands import streamed as command
from senn.commands import train
from senn.datasets.options import check_options
from senn.datasets.streamed import streamed_dataset
from senn.proposals import Random
from senn.readers import DataError
from senn.runs import MODEL, checkpoints, read_run

ROWS = 300  # a file


def columns(k: int, n: int = ROWS) -> dict:
    """Numbers, a flag, a category, a column of places, and classes that follow from them."""
    rng = np.random.default_rng(k)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    word = np.array(["ash", "birch", "oak"])[rng.integers(3, size=n)]
    y = np.where(x[:, 0] + (word == "oak") > 0, "yes", "no")
    place = np.arange(k * n, (k + 1) * n, dtype=np.float64)
    return {"a": x[:, 0], "b": x[:, 1], "flag": x[:, 2] > 0, "word": word, "place": place, "y": y}


def write(folder: Path, k: int, **changed) -> None:
    folder.mkdir(exist_ok=True)
    table = pa.table({**columns(k), **changed})
    pq.write_table(table, folder / f"{k}.parquet", row_group_size=70)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("streamed") / "tables"
    for k in range(3):
        write(path, k)
    return path


def opened(path: Path, fraction: float = 0.1, said=print, **given):
    options = check_options(
        given.pop("target", None), given.pop("task", None), None, 0.2, 0, **given
    )
    return streamed_dataset(path, options, fraction, said)


def places(table) -> np.ndarray:
    """The numbers of rows, by which they are told apart."""
    if isinstance(table, np.ndarray):
        return table[:, -1]
    return table.columns[table.names.index("place")]


def read(stream, number: int, start: int = 0) -> np.ndarray:
    return np.concatenate([places(x) for x, _ in stream.read(number, start)])


# --- Dividing rows, and passes ---------------------------------------------------------------


def test_every_row_is_to_train_to_validate_or_to_test(folder):
    data = opened(folder)
    stream = data.stream
    trained, tested = read(stream, 0), np.concatenate([places(x) for x, _ in stream.tested()])
    kept = places(data.x)[: stream.n_validation]
    assert sorted([*trained, *tested, *kept]) == list(range(3 * ROWS))
    assert len(trained) == stream.rows
    assert len(tested) == stream.found.n_test
    assert 0.15 < len(tested) / (3 * ROWS) < 0.25
    assert len(kept) == round(0.1 * (3 * ROWS - len(tested)))
    assert set(places(data.x)) == {*trained, *kept}


def test_a_row_stays_where_it_is_when_there_are_more_files(folder, tmp_path):
    for k in (0, 2, 4):
        write(tmp_path / "other", k)
    before, after = (
        {*np.concatenate([places(x) for x, _ in opened(path).stream.tested()])}
        for path in (folder, tmp_path / "other")
    )
    common = set(range(ROWS)) | set(range(2 * ROWS, 3 * ROWS))
    assert before & common == after & common


def test_passes_differ_and_each_has_all_rows_from_anywhere(folder):
    stream = opened(folder).stream
    first, second = read(stream, 0), read(stream, 1)
    assert sorted(first) == sorted(second)
    assert not np.array_equal(first, second)
    for start in (1, 69, 70, 333, stream.rows - 1):
        np.testing.assert_array_equal(read(stream, 1, start), second[start:])


def test_the_sample_is_bounded_and_the_same_in_any_order(folder, monkeypatch):
    from senn.datasets import streamed_survey

    monkeypatch.setattr(streamed_survey, "SAMPLE_ROWS", 60)
    monkeypatch.setattr(streamed_survey, "VALIDATION_ROWS", 40)
    monkeypatch.setattr("senn.datasets.streamed.VALIDATION_ROWS", 40)
    data = opened(folder)
    assert data.stream.n_validation == 40
    assert len(data.x) == 100
    assert (np.diff(data.stream.found.order.astype(float)) >= 0).all()
    assert len(read(data.stream, 0)) == data.stream.rows == sum(data.stream.found.kept) - 40


def test_rare_classes_and_gaps_reach_the_sample(folder, tmp_path, monkeypatch):
    from senn.datasets import streamed_survey

    monkeypatch.setattr(streamed_survey, "SAMPLE_ROWS", 20)
    monkeypatch.setattr(streamed_survey, "VALIDATION_ROWS", 10)
    y, a = columns(0)["y"].astype(object), columns(0)["a"].astype(object)
    y[100:120], a[200:220] = "rare", None
    write(tmp_path / "tables", 0, y=y, a=pa.array(a, pa.float32()))
    data = opened(tmp_path / "tables")
    assert data.classes is not None
    assert data.classes.tolist() == ["no", "rare", "yes"]
    assert set(data.y.tolist()) == {0, 1, 2}
    assert np.isnan(data.x.columns[0].astype(float)).any()


def test_text_files_are_read_alike(folder, tmp_path):
    for k in range(2):
        made = columns(k)
        pa_csv.write_csv(pa.table({**made, "y": made["place"]}), tmp_path / f"{k}.csv")
    data = opened(tmp_path, drop=("place", "word", "flag"))
    assert data.task == "regression"
    assert data.x.dtype == np.float32
    every = [y for _, y in data.stream.read(0, 0)]
    assert np.concatenate(every).shape == (data.stream.rows, 1)
    alone = opened(tmp_path / "0.csv", categorical=("flag",))
    assert alone.stream.categorical == (False, False, True, False, False)


def test_the_pass_says_how_far_it_is(folder):
    heard = []
    opened(folder, said=lambda rows, of: heard.append((rows, of)))
    assert heard[-1] == (3 * ROWS, 3 * ROWS)
    assert len(heard) > 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"a": np.full(ROWS, np.inf)}, r"'a' has inf .* of '0.parquet'"),
        ({"a": np.full(ROWS, "2020-01-31", "M8[ms]")}, "'a' holds dates or times"),
        ({"a": np.arange(ROWS).astype(str)}, "'a' holds numbers or dates as text"),
        ({"a": [[1]] * ROWS}, "'a' holds values of type list"),
        ({"y": np.arange(ROWS).astype(str)}, "'y' are among the test rows alone"),
        ({"y": [None] * ROWS}, "type null|0 rows"),
    ],
)
def test_what_one_pass_cannot_learn_is_refused(tmp_path, changed, message):
    write(tmp_path / "tables", 0, **changed)
    with pytest.raises(DataError, match=message):
        opened(tmp_path / "tables")


def test_files_with_other_columns_are_refused(folder, tmp_path):
    write(tmp_path / "tables", 0)
    pq.write_table(pa.table({"a": [1.0], "y": ["no"]}), tmp_path / "tables" / "1.parquet")
    with pytest.raises(DataError, match="same columns"):
        opened(tmp_path / "tables")


# --- Batches ----------------------------------------------------------------------------------


def source(n: int = 1000, size: int = 32) -> PassSource:
    def blocks(number, start):
        rows = np.random.default_rng(number).permutation(n).astype(float)
        for first in range(start, n, 77):
            x = rows[first : min(first + 77, n), None]
            yield x, x.astype(np.int32)[:, 0]

    sample = (np.arange(5.0)[:, None], np.arange(5, dtype=np.int32))
    return PassSource(Passes(n, blocks, lambda x: 2 * x, sample, "data"), size, seed=0)


def taken(chunk) -> np.ndarray:
    """The targets of the batches [n, B]."""
    return np.asarray(chunk.data.y)[chunk.rows[: chunk.n]][:, :32]


def test_batches_of_a_pass_are_its_rows_shuffled_within_windows(monkeypatch):
    monkeypatch.setattr(passes, "WINDOW_ROWS", 300)
    stream = source()
    assert stream.steps_per_epoch == 31
    rows = np.concatenate([taken(stream.chunk(10, 10)), taken(stream.chunk(21, 21))]).ravel()
    assert len(set(rows.tolist())) == 31 * 32
    order = np.random.default_rng(0).permutation(1000)
    assert set(rows[:288].tolist()) == set(order[:288].tolist())  # 9 steps are a window
    assert not np.array_equal(rows[:288], order[:288])
    assert stream.epoch == 1.0


def test_a_position_in_the_middle_of_a_pass_gives_the_same_batches(monkeypatch):
    monkeypatch.setattr(passes, "WINDOW_ROWS", 300)
    undisturbed = source()
    undisturbed.chunk(13, 13)
    position = undisturbed.position
    for steps in (30, 11, 30):  # into other passes
        again = source()
        again.position = position
        np.testing.assert_array_equal(
            taken(again.chunk(steps, steps)), taken(undisturbed.chunk(steps, steps))
        )
        position = undisturbed.position


def test_files_that_lost_rows_are_told_of():
    short = source()
    short.rows = 1200
    short.steps_per_epoch = 1200 // 32
    with pytest.raises(DataError, match="other rows"):
        short.chunk(37, 37)


# --- The command ------------------------------------------------------------------------------

WORDS = (
    "--max-iter", "4", "--batch-size", "48", "--hidden-sizes", "2", "--no-depth", "--optimizer",
    "adam", "--alpha", "1e-9", "--tau", "1.000001", "--bins", "2", "--drop", "place",
)  # fmt: skip


def cheap_fit(*args, **settings):
    """`senn.fit` with a search that is not thorough."""
    return senn.training.fit(*args, **{**settings, "proposer": Random(candidates=4)})


@pytest.fixture
def _cheap_search(monkeypatch):
    monkeypatch.setattr(senn.learning, "fit", cheap_fit)
    monkeypatch.setattr(passes, "WINDOW_ROWS", 256)


@pytest.mark.usefixtures("_cheap_search")
def test_a_folder_is_streamed_and_resumed_in_the_middle_of_a_pass(folder, tmp_path, monkeypatch):
    code, out, _ = run("train", folder, *WORDS, "--out", tmp_path / "whole")
    assert code == 0
    assert "is a folder of tables: it is streamed" in out
    assert "grew" in out
    summary = read_run(tmp_path / "whole").summary
    data, model = opened(folder, drop=("place",)), senn.load(tmp_path / "whole" / MODEL)
    assert data.classes is not None
    right = [model.predict(x) == data.classes[y] for x, y in data.stream.tested()]
    assert summary["test_score"] == np.concatenate(right).mean()

    def stop(self, evaluation):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train.Progress, "on_evaluation", stop)
        words = (*WORDS, "--checkpoint-seconds", "1e-9", "--out", tmp_path / "run")
        assert run("train", folder, *words)[0] == 130
    (newest, *_) = checkpoints(tmp_path / "run")
    assert int(newest.stem.split("-")[1]) % (data.stream.rows // 48) > 0
    code, out, _ = run("train", "--resume", tmp_path / "run", "--json")
    assert code == 0
    assert json.loads(out)["test_score"] == summary["test_score"]
    assert (tmp_path / "run" / MODEL).read_bytes() == (tmp_path / "whole" / MODEL).read_bytes()


def test_large_files_are_streamed_and_small_ones_are_not(folder, monkeypatch):
    from senn.cli import build_parser

    def wanted(*words):
        return command.is_asked_for(build_parser().parse_args(["train", *map(str, words)]))

    file = folder / "0.parquet"
    assert not wanted(file)
    assert wanted(file, "--stream")
    assert not wanted("digits")
    monkeypatch.setattr(command, "MOST_IN_MEMORY", 6 * ROWS - 1)
    assert wanted(file)
    assert not wanted(file, "--no-stream")


def test_what_does_not_go_with_streams_is_refused(folder):
    refused(("train", folder, "--n-estimators", 2), "--n-estimators is not for data")
    refused(("train", folder, "--no-stream"), "folder of tables: leave out --no-stream")
    refused(("train", "digits", "--stream"), "--stream is for files ending in")
    refused(("train", folder, "--target", "z", "--quiet"), "--target names 'z'")
