import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from senn import runs
from senn.history import Addition, Evaluation, History
from senn.nn import MLP
from senn.optimizers import Optax
from senn.runs import (
    CONFIG,
    LEDGER,
    MODEL,
    PREDICTIONS,
    Predictions,
    RunFolderError,
    RunWriter,
    check_folder,
    checkpoints,
    create_folder,
    is_finished,
    is_run,
    last_checkpoint,
    read_run,
    remove_checkpoints,
    strict_json,
    write_run,
    writing,
)
from senn.training.state import RunState, TrainState

NOBODY = 65534
SETTINGS = {"data": "digits", "hidden_sizes": (4,), "out": Path("x")}


class FakeEstimator:
    """All that a run asks of an estimator."""

    def __init__(self, content: str = "model"):
        evaluation = Evaluation(30, 1.0, 2.0, math.nan, None, None, None, None, (4, 2), 99)
        self.history_ = History(records=[evaluation], steps=30, stop_reason="30 steps done")
        self.content = content

    def save(self, path):
        Path(path).write_text(self.content)


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "deep" / "run"
    write_run(folder, FakeEstimator(), SETTINGS, {"test_score": 0.5, "train_score": math.inf})
    return folder


def test_a_run_holds_the_model_the_ledger_and_the_settings(run):
    assert {path.name for path in run.iterdir()} == {MODEL, LEDGER, CONFIG}
    assert is_run(run)
    read = read_run(run)
    assert read.model.read_text() == "model"
    assert read.settings == {"data": "digits", "hidden_sizes": [4], "out": "x"}
    assert read.summary == {"test_score": 0.5, "train_score": None}
    assert read.history.stop_reason == "30 steps done"
    assert read.history.evaluations[0].hidden_sizes == (4, 2)


def test_every_file_is_strict_json(run):
    def refuse(constant):
        raise AssertionError(constant)

    for line in [*(run / LEDGER).read_text().splitlines(), (run / CONFIG).read_text()]:
        json.loads(line, parse_constant=refuse)


def test_strict_json_takes_what_numpy_gives():
    value = {"a": np.float32(0.5), "b": np.arange(3), 3: (np.nan, -math.inf), "c": np.bool_(True)}
    assert json.loads(strict_json(value)) == {
        "a": 0.5, "b": [0, 1, 2], "3": [None, None], "c": True,
    }  # fmt: skip


def test_a_new_and_an_empty_folder_are_free(tmp_path):
    check_folder(tmp_path)
    check_folder(tmp_path / "new" / "deeper")
    assert list(tmp_path.iterdir()) == []  # checking makes nothing


def test_a_run_is_replaced_only_when_that_is_said(run):
    with pytest.raises(RunFolderError, match=r"holds a run already.*--overwrite"):
        check_folder(run)
    check_folder(run, overwrite=True)
    write_run(run, FakeEstimator("newer"), SETTINGS, {})
    assert read_run(run).model.read_text() == "newer"


@pytest.mark.parametrize(
    "test",
    [
        Predictions(np.array([0, 1, 1], np.int32), np.array([0, 0, 1], np.int32), ("a", "b <ü>")),
        Predictions(np.ones((3, 2), np.float32), np.zeros((3, 2), np.float32), ("x", "y")),
    ],
    ids=["classes", "numbers"],
)
def test_a_run_keeps_the_predictions_of_its_test_rows(run, test):
    assert read_run(run).test is None
    write_run(run, FakeEstimator(), SETTINGS, {}, test)
    found = read_run(run).test
    np.testing.assert_array_equal(found.targets, test.targets)
    np.testing.assert_array_equal(found.predicted, test.predicted)
    assert (found.names, found.are_classes) == (test.names, test.targets.ndim == 1)
    write_run(run, FakeEstimator(), SETTINGS, {})
    assert read_run(run).test is None  # those of the run that was replaced are gone


@pytest.mark.parametrize("config", [None, "not json", "[1, 2]", '{"format": "other"}'])
@pytest.mark.parametrize("overwrite", [False, True])
def test_other_folders_are_never_touched(tmp_path, config, overwrite):
    (tmp_path / "thesis.tex").write_text("years of work")
    if config is not None:
        (tmp_path / CONFIG).write_text(config)
    with pytest.raises(RunFolderError, match="not empty and holds no run"):
        check_folder(tmp_path, overwrite=overwrite)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="is a file"):
        check_folder(tmp_path / "file")
    with pytest.raises(RunFolderError, match="cannot be written"):
        create_folder(tmp_path / "file" / "run")


@pytest.fixture
def not_root(tmp_path):
    """Nobody in particular, for root may write everywhere; such a user's folder."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory() as folder:  # the way to tmp_path is root's alone
        try:
            os.chown(folder, NOBODY, -1)
            os.seteuid(NOBODY)
        except OSError:
            pytest.skip("root may write everywhere, and in this namespace there is nobody else")
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


def test_a_folder_that_may_not_be_written(not_root):
    create_folder(not_root / "run")
    not_root.chmod(0o500)
    with pytest.raises(RunFolderError, match="cannot be written"):
        create_folder(not_root)


NO_TEXT = np.array([65, 2**31], np.uint32).view("U1")


def save_predictions(run, targets, predicted, names=("a", "b")):
    np.savez(run / PREDICTIONS, targets=targets, predicted=predicted, names=names)


def spoil_config(run, **changes):
    config = json.loads((run / CONFIG).read_text())
    (run / CONFIG).write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / CONFIG).unlink(), "holds no run"),
        (lambda run: spoil_config(run, version=99), "run format 99, newer than"),
        (lambda run: spoil_config(run, version="one"), "damaged"),
        (lambda run: spoil_config(run, settings=[]), "damaged .* holds other types"),
        (lambda run: (run / CONFIG).write_text("[" * 100_000), "holds no run"),
        (lambda run: (run / LEDGER).write_text("3\n"), r"damaged .*line 1 of the ledger"),
        (lambda run: (run / LEDGER).write_text("[" * 100_000 + "\n"), "damaged"),
        (lambda run: (run / LEDGER).unlink(), "damaged"),
        (lambda run: (run / LEDGER).write_text(""), "damaged"),
        (lambda run: (run / LEDGER).write_text('{"record": "summary"'), "damaged"),
        (lambda run: (run / PREDICTIONS).write_bytes(b""), "damaged"),
        (lambda run: (run / PREDICTIONS).write_bytes(b"PK\x03\x04"), "damaged"),
        (lambda run: np.savez(run / PREDICTIONS, targets=np.ones(3)), "damaged"),
        (lambda run: save_predictions(run, np.zeros(3, int), np.zeros(2, int)), "do not fit"),
        (lambda run: save_predictions(run, np.zeros(3, int), np.full(3, 2)), "do not fit"),
        (lambda run: save_predictions(run, np.zeros(3), np.zeros(3)), "do not fit"),
        (lambda run: save_predictions(run, np.zeros((3, 1)), np.zeros((3, 1))), "do not fit"),
        (lambda run: save_predictions(run, *np.zeros((2, 3), int), NO_TEXT), "no character"),
    ],
)
def test_a_run_that_cannot_be_read(run, spoil, message):
    spoil(run)
    with pytest.raises(RunFolderError, match=message):
        read_run(run)


# --- checkpoints --------------------------------------------------------------------------

STILL = Optax(optax.sgd(0.0))


@pytest.fixture(scope="module")
def state() -> RunState:
    network = MLP(1, 1, (), key=jax.random.key(0))
    return RunState(TrainState.of(network, STILL), np.random.default_rng(0), 1, True)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def writer(folder, **settings) -> tuple[RunWriter, Clock, list[str]]:
    clock, said = Clock(), []
    return RunWriter(folder, 10.0, clock=clock, tell=said.append, **settings), clock, said


def names(folder) -> list[str]:
    return [path.name for path in checkpoints(folder)]


def at(state: RunState, step: int) -> RunState:
    state.step = step
    return state


def test_checkpoints_are_written_in_time_and_at_growth_and_the_last_two_kept(state, tmp_path):
    keeper, clock, _ = writer(tmp_path, about={"a": 1})
    for step, now in enumerate([0.0, 9.9, 10.0, 19.9, 20.0]):
        clock.now = now
        keeper.on_pause(at(state, step))
    assert names(tmp_path) == ["checkpoint-000000004.senn", "checkpoint-000000002.senn"]
    keeper.on_addition(
        Addition(4, "width", 0, "hidden layer 0", 1, 1.0, 0.1, 0.5, 0.5, (2,), 9, "why", 1.0)
    )
    keeper.on_pause(at(state, 5))
    keeper.on_pause(at(state, 6))
    assert names(tmp_path) == ["checkpoint-000000005.senn", "checkpoint-000000004.senn"]
    keeper.write(at(state, 5))  # the same step once more does not push out the one before
    assert names(tmp_path) == ["checkpoint-000000005.senn", "checkpoint-000000004.senn"]
    assert last_checkpoint(tmp_path).header["step"] == 5
    assert last_checkpoint(tmp_path).header["about"] == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 2


def test_steps_are_in_order_however_many_digits_they_have(state, tmp_path):
    keeper, _, _ = writer(tmp_path)
    for step in (999_999_999, 1_000_000_000):
        keeper.write(at(state, step))
    assert last_checkpoint(tmp_path).header["step"] == 1_000_000_000


def test_checkpoints_of_an_earlier_run_go_when_the_first_new_one_is_there(state, tmp_path):
    for step in (70, 80):
        writer(tmp_path, kept=tuple(checkpoints(tmp_path)))[0].write(at(state, step))
    writer(tmp_path)[0].write(at(state, 0))
    assert names(tmp_path) == ["checkpoint-000000000.senn"]


SPOILED = {
    "cut": lambda content: content[:-100],
    "flipped": lambda content: content[:-100] + bytes([content[-100] ^ 4]) + content[-99:],
    "empty": lambda _: b"",
    "newer": lambda content: content.replace(b'version\\": 4', b'version\\": 9'),
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_damaged_checkpoint_is_told_of_and_the_one_before_is_used(state, tmp_path, spoil):
    for step in (1, 2):
        writer(tmp_path, kept=tuple(checkpoints(tmp_path)))[0].write(at(state, step))
    newest, older = checkpoints(tmp_path)
    whole = newest.read_bytes()
    newest.write_bytes(SPOILED[spoil](whole))
    assert newest.read_bytes() != whole
    said = []
    checkpoint = last_checkpoint(tmp_path, said.append)
    assert checkpoint.header["step"] == 1
    (sentence,) = said
    assert newest.name in sentence
    assert sentence.endswith(f"Going on from {older.name}, the one before it.")
    # The run that goes on replaces what is damaged.
    writer(tmp_path, kept=(Path(checkpoint.path),))[0].write(at(state, 2))
    assert newest.read_bytes() == whole
    newest.write_bytes(b"")
    older.write_bytes(b"")
    with pytest.raises(RunFolderError, match=r"no checkpoint to go on from.*000002.*000001"):
        last_checkpoint(tmp_path, said.append)


def test_a_folder_without_checkpoints(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunFolderError, match="holds no checkpoint to go on from"):
            last_checkpoint(folder)


def test_what_cannot_be_written_is_told_of_once_and_training_goes_on(state, tmp_path, monkeypatch):
    keeper, clock, said = writer(tmp_path)
    keeper.on_pause(at(state, 1))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_checkpoint", full)
        for clock.now in (10.0, 20.0, 30.0):
            keeper.on_pause(at(state, 2))
    assert len(said) == 1
    assert "No space left on device" in said[0]
    clock.now = 40.0
    keeper.on_pause(at(state, 3))
    assert names(tmp_path) == ["checkpoint-000000003.senn", "checkpoint-000000001.senn"]


def test_a_run_with_a_checkpoint_is_not_finished(state, run):
    assert is_finished(run)
    writer(run)[0].write(at(state, 1))
    assert is_run(run)
    assert not is_finished(run)
    remove_checkpoints(run)
    assert is_finished(run)
    assert {path.name for path in run.iterdir()} == {MODEL, LEDGER, CONFIG}


def test_an_unfinished_run_is_replaced_only_when_that_is_said(state, tmp_path):
    writer(tmp_path)[0].write(at(state, 1))
    with pytest.raises(RunFolderError, match=r"not finished: go on with --resume.*--overwrite"):
        check_folder(tmp_path)
    check_folder(tmp_path, overwrite=True)
    assert not is_finished(tmp_path)


# --- one writer ---------------------------------------------------------------------------

HOLD = "import sys, senn.runs\nwith senn.runs.writing(sys.argv[1]):\n print(1, flush=True); input()"


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout
        first.stdout.readline()
        with pytest.raises(RunFolderError, match="is being written by another process"):  # noqa: SIM117
            with writing(tmp_path):
                pass
        first.kill()  # which leaves no lock behind
    with writing(tmp_path), pytest.raises(RunFolderError, match="another process"):
        writing(tmp_path).__enter__()
    with writing(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_half_written_is_removed_and_nothing_else(tmp_path):
    aside = [".checkpoint-000000001.senn.x1y2", ".model.senn.ab_c", ".config.json.q"]
    others = [".bashrc", "thesis.tex", "checkpoint-1.senn", ".checkpoint-x.senn.abc"]
    for name in (*aside, *others):
        (tmp_path / name).write_text("")
    with writing(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == set(others)


def test_a_folder_with_nothing_but_what_is_half_written_is_free(tmp_path):
    (tmp_path / ".checkpoint-000000000.senn.x1y2").write_text("")
    check_folder(tmp_path)
