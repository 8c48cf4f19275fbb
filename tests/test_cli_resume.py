"""`senn train --resume`: runs that were stopped, and what is refused."""

import contextlib
import io
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

import senn
import senn.learning
import senn.training
from senn.cli import main
from senn.commands import train
from senn.proposals import Random
from senn.runs import CONFIG, LEDGER, MODEL, PREDICTIONS, checkpoints, read_run, writing

TIMES = {"seconds", "training_seconds", "growth_seconds", "compile_seconds", "n_compilations"}
WORDS = (
    "moons", "--max-iter", "9", "--hidden-sizes", "2", "--no-depth", "--optimizer", "adam",
    "--alpha", "1e-9", "--tau", "1.000001", "--seed", "5",
)  # fmt: skip


def cheap_fit(*args, **settings):
    """`senn.fit` with a search that is not thorough."""
    return senn.training.fit(*args, **{**settings, "proposer": Random(candidates=4)})


@pytest.fixture(scope="module", autouse=True)
def cheap_search():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(senn.learning, "fit", cheap_fit)
        yield


def run(*words) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `senn train`."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = main(["train", *map(str, words)])
    return code, out.getvalue(), err.getvalue()


def ledger(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / LEDGER).read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert run(*WORDS, "--out", folder)[0] == 0
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> tuple[Path, str]:
    """The same run, stopped by SIGTERM after its first growth, and what it said."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        on_addition = train.Progress.on_addition

        def stop(self, addition):
            on_addition(self, addition)
            os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr(train.Progress, "on_addition", stop)
        code, out, _ = run(*WORDS, "--out", folder)
    signal.signal(signal.SIGTERM, before)
    assert code == 130
    return folder, out


@pytest.fixture
def unfinished(stopped, tmp_path) -> Path:
    return Path(shutil.copytree(stopped[0], tmp_path / "run"))


def test_a_finished_run_has_no_checkpoints_and_is_not_gone_on_with(finished):
    assert {path.name for path in finished.iterdir()} == {MODEL, LEDGER, CONFIG, PREDICTIONS}
    before = {path: path.read_bytes() for path in finished.iterdir()}
    code, out, err = run("--resume", finished)
    assert (code, out) == (0, "")
    assert "is finished: there is nothing to go on with" in err
    code, out, _ = run("--resume", finished, "--json")
    assert code == 0
    assert json.loads(out) == read_run(finished).summary
    assert {path: path.read_bytes() for path in finished.iterdir()} == before


def test_a_stopped_run_is_saved_and_says_how_to_go_on(stopped):
    folder, out = stopped
    assert "stopped: interrupted" in out
    assert f"to go on: senn train --resume {folder}" in out
    assert senn.load(folder / MODEL).hidden_sizes_ > (2,)
    assert len(checkpoints(folder)) == 2


def test_a_resumed_run_ends_as_if_undisturbed(unfinished, finished):
    code, out, err = run("--resume", unfinished)
    assert (code, err) == (0, "")
    assert "Going on at step " in out
    assert (unfinished / MODEL).read_bytes() == (finished / MODEL).read_bytes()
    assert ledger(unfinished) == ledger(finished)
    one, other = (json.loads((f / CONFIG).read_text()) for f in (unfinished, finished))
    assert one["settings"] == other["settings"]
    assert {path.name for path in unfinished.iterdir()} == {MODEL, LEDGER, CONFIG, PREDICTIONS}


def test_a_damaged_checkpoint_is_told_of_and_the_one_before_is_used(unfinished, finished):
    newest, older = checkpoints(unfinished)
    newest.write_bytes(newest.read_bytes()[:-1])
    code, _, err = run("--resume", unfinished, "--quiet")
    assert code == 0
    assert err.count("\n") == 1
    assert f"Going on from {older.name}" in err
    assert (unfinished / MODEL).read_bytes() == (finished / MODEL).read_bytes()


def test_another_process_is_refused(unfinished):
    with writing(unfinished):
        for words in (("--resume", unfinished), (*WORDS, "--out", unfinished, "--overwrite")):
            code, out, err = run(*words)
            assert (code, out) == (2, "")
            assert "is being written by another process" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [(["moons"], "DATA"), (["--max-units", "9"], "--max-units"), (["--out", "x"], "--out"),
     (["--threads", "2"], "--threads")],
)  # fmt: skip
def test_a_run_goes_on_with_its_own_settings(unfinished, words, said):
    code, _, err = run("--resume", unfinished, *words)
    assert code == 2
    assert f"leave out {said}." in err


def test_other_folders_cannot_be_gone_on_with(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        code, out, err = run("--resume", folder)
        assert (code, out) == (2, "")
        assert err.startswith("senn: --resume ")
        assert err.count("\n") == 1


def test_a_table_that_has_changed_is_refused(tmp_path, monkeypatch):
    table = tmp_path / "table.csv"
    rows = [f"{i % 7},{i % 5},{(i % 7) * (i % 5)}" for i in range(60)]
    table.write_text("\n".join(["a,b,price", *rows]) + "\n")

    def stop(*_):
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(train.Progress, "on_steps", stop)
        words = ("table.csv", "--optimizer", "adam", "--task", "regression")
        assert run(*words, "--no-width", "--no-depth", "--max-iter", "20", "--out", "run")[0] == 130
    signal.signal(signal.SIGINT, before)
    content = table.read_text()
    table.write_text(content.replace("6,4,24", "6,4,25"))
    code, _, err = run("--resume", tmp_path / "run")
    assert code == 2
    assert "not those of the run to be resumed" in err
    table.write_text(content)  # found from any folder
    assert run("--resume", tmp_path / "run")[0] == 0


def test_what_cannot_be_saved_can_be_saved_later(unfinished, finished, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(senn.runs, "write_atomically", full)
        code, out, err = run("--resume", unfinished, "--quiet")
    assert code == 1
    assert "test accuracy" in out
    assert err.count("\n") == 1
    assert f"No space left on device): mend that, and senn train --resume {unfinished}" in err
    assert run("--resume", unfinished, "--quiet")[0] == 0
    assert (unfinished / MODEL).read_bytes() == (finished / MODEL).read_bytes()


def test_ctrl_c_while_the_run_is_saved_loses_nothing(unfinished, finished, monkeypatch):
    write = senn.runs.write_run

    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGINT)
        write(*args)

    monkeypatch.setattr(senn.runs, "write_run", interrupted)
    assert run("--resume", unfinished, "--quiet")[0] == 0
    assert (unfinished / MODEL).read_bytes() == (finished / MODEL).read_bytes()
    assert ledger(unfinished) == ledger(finished)
