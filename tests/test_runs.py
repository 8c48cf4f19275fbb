import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from senn.history import Evaluation, History
from senn.runs import (
    CONFIG,
    LEDGER,
    MODEL,
    RunFolderError,
    check_folder,
    create_folder,
    is_run,
    read_run,
    strict_json,
    write_run,
)

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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="cannot be written"):
        create_folder(tmp_path)


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
        (lambda run: (run / LEDGER).write_text("3"), r"damaged .*line 1 of the ledger"),
        (lambda run: (run / LEDGER).write_text("[" * 100_000), "damaged"),
        (lambda run: (run / LEDGER).unlink(), "damaged"),
        (lambda run: (run / LEDGER).write_text(""), "damaged"),
        (lambda run: (run / LEDGER).write_text('{"record": "summary"'), "damaged"),
    ],
)
def test_a_run_that_cannot_be_read(run, spoil, message):
    spoil(run)
    with pytest.raises(RunFolderError, match=message):
        read_run(run)
