"""Trained models made smaller: from Python, by a policy's budget, and by the command."""

import json
from pathlib import Path

import numpy as np
import pytest

import senn
from command import refused
from senn.cli import main
from senn.policy import Policy
from senn.runs import read_run
from senn.training import Schedule
from strategies import random_network

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 3))
LABELS = np.where(X[:, 0] * X[:, 1] > 0, "in", "out")
NUMBERS = np.sin(2 * X[:, 0]) + X[:, 1] ** 2
QUICK = {"random_state": 0, "max_iter": 30, "policy": Policy(width=False, depth=False)}


@pytest.fixture(scope="module")
def fitted():
    return {
        "labels": (senn.SENNClassifier((12,), **QUICK).fit(X, LABELS), LABELS),
        "numbers": (senn.SENNRegressor((8, 6), **QUICK).fit(X, NUMBERS), NUMBERS),
    }


@pytest.mark.parametrize("name", ["labels", "numbers"])
@pytest.mark.parametrize("loaded", [False, True], ids=["fitted", "loaded"])
def test_a_model_is_made_smaller_and_stays_what_it_was(name, loaded, fitted, tmp_path):
    model, y = fitted[name]
    if loaded:
        model.save(tmp_path / "model.senn")
        model = senn.load(tmp_path / "model.senn")
    before, sizes = model.predict(X), model.hidden_sizes_
    smaller = senn.shrink(model, X, y, max_units=5)
    assert sum(smaller.hidden_sizes_) <= 5 < sum(sizes)
    assert len(smaller.hidden_sizes_) == len(sizes)
    assert smaller.n_parameters_ < model.n_parameters_
    np.testing.assert_array_equal(model.predict(X), before)
    assert model.hidden_sizes_ == sizes
    assert type(smaller) is type(model)
    assert (smaller.max_units, smaller.warm_start) == (5, False)
    assert smaller.policy == model.policy
    if not loaded:
        np.testing.assert_array_equal(smaller.validation_rows_, model.validation_rows_)
    history = smaller.history_
    assert sum(r.units for r in history.removals) == sum(sizes) - sum(smaller.hidden_sizes_)
    assert not history.additions
    assert smaller.score(X, y) > (0.7 if name == "labels" else 0.3)


def test_parameters_are_a_budget_too_and_files_are_smaller(fitted, tmp_path):
    model, y = fitted["labels"]
    smaller = senn.shrink(model, X, y, max_parameters=60)
    assert smaller.n_parameters_ <= 60
    for write, name in ((senn.export.to_onnx, "m.onnx"), (senn.export.to_numpy, "m.npz")):
        sizes = []
        for number, made in enumerate((model, smaller)):
            path = tmp_path / str(number) / name
            path.parent.mkdir(exist_ok=True)
            write(made, path)
            sizes.append(path.stat().st_size)
        assert sizes[1] < sizes[0]


def test_what_is_small_enough_is_not_trained(fitted):
    model, y = fitted["labels"]
    same = senn.shrink(model, X, y, max_units=12)
    assert same is not model
    assert same.history_ is model.history_


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ({}, "shrink needs max_units or max_parameters; got neither"),
        ({"max_units": 1}, "max_units must be at least 2, for of each hidden layer a unit stays"),
        ({"max_parameters": 5}, "max_parameters must be at least"),
    ],
)
def test_mistakes(budgets, said, fitted):
    model, y = fitted["numbers"]
    with pytest.raises(ValueError, match=said):
        senn.shrink(model, X, y, **budgets)


@pytest.mark.parametrize("steps", [4, 60])
@pytest.mark.parametrize("validation", [False, True])
def test_a_network_over_its_budget_shrinks_in_time(steps, validation):
    """Some at a time if there are steps for that, else all at once; no larger one is returned."""
    network = random_network((3, 12, 2), capacity=16)
    codes = (LABELS == "in").astype(int)
    data, held_out = (X[:160], codes[:160]), (X[160:], codes[160:])
    small, history = senn.fit(
        network, data, validation=held_out if validation else None,
        policy=Policy(width=False, depth=False, max_units=9, every=4),
        schedule=Schedule(max_steps=steps, batch_size=80, steps_per_call=4, anneal_steps=8),
    )  # fmt: skip
    assert sum(small.hidden_sizes) <= 9
    assert len(history.removals) == (1 if steps == 4 else 3)
    assert all("over the budget" in r.reason for r in history.removals)


# --- the command ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shrink")
    rows = np.column_stack([X, (LABELS == "in").astype(int)])
    header = ",".join(("a", "b", "c", "where"))
    np.savetxt(folder / "rows.csv", rows, delimiter=",", header=header, comments="")
    words = ["train", str(folder / "rows.csv"), "--target", "where", "--task", "classification",
             "--hidden-sizes", "9", "--no-width", "--no-depth", "--max-iter", "20", "--quiet",
             "--out", str(folder / "run")]  # fmt: skip
    assert main(words) == 0
    return folder / "run"


def test_the_command_writes_a_smaller_run(trained, tmp_path, capsys):
    out = tmp_path / "small"
    assert main(["shrink", str(trained), "--max-units", "4", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    run, before = read_run(out), read_run(trained)
    assert sum(told["hidden_sizes"]) <= 4
    assert told["before"]["hidden_sizes"] == before.summary["hidden_sizes"]
    assert told["before"]["test_score"] == before.summary["test_score"]
    assert run.summary == told
    assert run.settings["data"] == before.settings["data"]
    assert run.settings["shrunk_from"] == str(trained)
    assert run.history.removals
    assert senn.load(run.model).hidden_sizes_ == tuple(told["hidden_sizes"])
    assert run.test is not None
    assert before.test is not None
    np.testing.assert_array_equal(run.test.targets, before.test.targets)
    assert main(["report", str(out)]) == 0
    assert "What left, and why" in (out / "report.html").read_text("utf-8")


def test_without_a_folder_nothing_is_saved_and_the_loss_is_told(trained, capsys):
    before = sorted(p.name for p in trained.iterdir())
    assert main(["shrink", str(trained), "--max-units", "4", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert ", before 9\n" in said
    assert "test accuracy: " in said
    assert "saved" not in said
    assert sorted(p.name for p in trained.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say how small: --max-units U, --max-parameters P, or both."),
        (["--max-units", "0"], "--max-units must be a whole number of at least 1; got '0'."),
        (["--max-units", "900"], "it is small enough already."),
        (["--max-parameters", "2"], "--max-parameters must be at least "),
        (["--max-units", "4", "--data", "OTHER"], "have 2 features, .* on 3: name its own by --d"),
        (["--max-units", "4", "--data", "gone.csv"], "gone.csv"),
        (["--max-units", "4", "--out", "RUN"], "holds a run already"),
    ],
)
def test_mistakes_in_the_command(words, said, trained):
    other = trained.parent / "other.csv"
    other.write_text("a,b,where\n" + "1,2,0\n3,4,1\n" * 20)
    named = {"RUN": str(trained), "OTHER": str(other)}
    words = [named.get(word, word) for word in words]
    refused(["shrink", str(trained), *words], said)


def test_what_is_no_finished_run_is_refused(trained, tmp_path):
    refused(["shrink", str(tmp_path), "--max-units", "2"], "holds no run")
    (trained / "checkpoint-000000007.senn").touch()
    try:
        refused(["shrink", str(trained), "--max-units", "4"], "is not finished: senn train --res")
    finally:
        (trained / "checkpoint-000000007.senn").unlink()
