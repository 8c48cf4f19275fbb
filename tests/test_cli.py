import contextlib
import dataclasses
import inspect
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import senn
import senn.learning
import senn.persistence
from command import refused, run
from senn import cli, losses, settings
from senn.cli import main
from senn.commands import COMMANDS, train, train_options
from senn.learner import ClassLearner
from senn.nn.activation import ACTIVATIONS
from senn.optimizers.adapter import OPTIMIZERS
from senn.proposals import Random
from senn.runs import CONFIG, LEDGER, MODEL, PREDICTIONS, read_run
from senn.stopping import GracefulStop

RNG = np.random.default_rng(0)
KEYS = {
    "data", "task", "seed", "hidden_sizes", "n_parameters", "metric", "train_score",
    "validation_score", "test_score", "seconds", "training_seconds", "growth_seconds",
    "compile_seconds", "n_compilations", "n_additions", "n_removals", "steps", "stop_reason",
    "interrupted", "n_estimators", "columns", "version",
}  # fmt: skip


def strict(text: str) -> dict:
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def cheap_fit(*args, **settings):
    """`senn.fit` with a search that is not thorough."""
    return senn.training.fit(*args, **{**settings, "proposer": Random(candidates=4)})


@pytest.fixture(autouse=True)
def cheap_search(monkeypatch):
    monkeypatch.setattr(senn.learning, "fit", cheap_fit)


@pytest.fixture
def no_training(monkeypatch):
    def fit(*_, **__):
        raise AssertionError("training started")

    monkeypatch.setattr(senn.learning, "fit", fit)


def write_csv(path: Path, *columns: str, rows: int = 60, **changes) -> Path:
    """Numbers x0 and x1, a constant, labels and a price, or some of them; cells may be changed."""
    x = RNG.normal(size=(rows, 2))
    table = {
        "x0": x[:, 0], "x1": x[:, 1], "constant": np.ones(rows), "town": ["Rom", "Bonn"] * rows,
        "label": np.where(x[:, 0] > 0, "yes", "no"), "same": ["yes"] * rows,
        "price": x @ [3.0, 1.0] + 7,
    }  # fmt: skip
    cells = {name: [str(v) for v in table[name][:rows]] for name in columns}
    for name, value in changes.items():
        cells[name][3] = value
    lines = [",".join(row) for row in zip(*cells.values(), strict=True)]
    path.write_text("\n".join([",".join(columns), *lines]) + "\n")
    return path


# --- What comes out ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> tuple[str, str, Path]:
    """A run that grows, with all that it wrote."""
    folder = tmp_path_factory.mktemp("runs") / "grown"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(senn.learning, "fit", cheap_fit)
        code, out, err = run(
            "train", "moons", "--max-iter", "25", "--alpha", "1e-9", "--tau", "1.000001",
            "--no-depth", "--hidden-sizes", "2", "--optimizer", "natural-gradient", "--json",
            "--out", folder, "--tensorboard",
        )  # fmt: skip
    assert code == 0
    return out, err, folder


def test_json_is_one_object_on_standard_output(grown):
    out, _, _ = grown
    summary = strict(out)
    assert set(summary) == KEYS
    assert out.count("\n") == 1
    assert summary["metric"] == "accuracy"
    assert summary["task"] == "classification"
    assert summary["steps"] == 100
    assert 0.7 < summary["test_score"] <= 1
    assert summary["seconds"] > 0
    inputs = 2 + 2 * 8  # columns and codes
    assert summary["n_parameters"] == 2 + summary["hidden_sizes"][0] * (inputs + 1 + 3 + 2)
    assert summary["version"] == senn.__version__
    assert summary["interrupted"] is False


def test_growth_is_told_as_it_happens(grown):
    out, err, folder = grown
    lines = err.splitlines()
    assert lines[0] == (
        "moons: 2,000 training and 10,000 test rows, 2 features, classification of 'moon' into "
        "2 classes."
    )
    assert "Inputs are rescaled by their quartiles, and coded by their quantiles." in lines
    assert "Starting with hidden size 2; seed 0." in lines
    additions = read_run(folder).history.additions
    assert len(additions) == strict(out)["n_additions"]
    for addition in additions:
        assert any(f"step {addition.step}: grew" in line for line in lines)
    assert any("stop: 100 steps done" in line for line in lines)
    assert f"saved in: {folder}" in lines


def test_the_folder_holds_model_ledger_and_settings(grown):
    out, _, folder = grown
    assert {path.name for path in folder.iterdir()} == {
        MODEL, LEDGER, CONFIG, PREDICTIONS, "tensorboard",
    }  # fmt: skip
    assert len(list((folder / "tensorboard").glob("events.out.tfevents.*"))) == 1
    found = read_run(folder)
    assert found.summary == strict(out)
    assert found.settings["data"] == "moons"
    assert found.settings["hidden_sizes"] == [2]
    assert found.settings["optimizer"] == "natural_gradient"
    assert found.settings["standardize"] == "robust"
    model = senn.load(found.model)
    data = senn.datasets.load("moons")
    assert model.score(data.x_test, data.y_test) == pytest.approx(found.summary["test_score"])
    test = found.test
    assert np.mean(test.targets == test.predicted) == pytest.approx(found.summary["test_score"])
    assert (test.names, test.are_classes) == (("0", "1"), True)
    assert model.feature_names_ == ["x0", "x1"]
    assert model.hidden_sizes_ == tuple(found.summary["hidden_sizes"])


def test_an_existing_run_is_replaced_only_when_that_is_said(grown, no_training):
    _, _, folder = grown
    code, out, err = run("train", "moons", "--out", folder)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"senn: --out .* holds a run already: .*--overwrite\.\n", err)
    code, _, err = run("train", "moons", "--out", folder, "--overwrite")
    assert code == 1
    assert "training started" in err


def test_a_regression_from_a_table(tmp_path):
    path = write_csv(tmp_path / "houses.csv", "price", "x0", "constant", "x1")
    code, out, err = run(
        "train", path, "--target", "price", "--max-iter", "3", "--max-units", "12", "--seed", "5",
        "--test-fraction", "0.25", "--max-seconds", "100", "--optimizer", "adam",
    )  # fmt: skip
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == (
        "houses.csv: 45 training and 15 test rows, 3 features, regression of 'price'."
    )
    assert any("Taken as a regression, because the target 'price'" in line for line in lines)
    assert any("a single value in column 'constant'" in line for line in lines)
    assert "Starting with hidden size 10, max units 12, max seconds 100; seed 5." in lines
    said = dict(line.split(": ", 1) for line in lines[-8:])
    assert list(said) == ["hidden sizes", "parameters", "train R²", "test R²", "seconds",
                          "additions", "steps", "stopped"]  # fmt: skip
    assert said["hidden sizes"] == "10"
    assert said["stopped"] == "3 steps done"


def test_images_are_not_standardised(no_training):
    code, out, _ = run("train", "digits", "--max-units", "40")
    assert code == 1
    assert "Pixels stay in [0, 1]." in out
    assert "Starting with hidden size 4, max units 40; seed 0." in out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["moons"], "Starting with no hidden layer; seed 0."),
        (["moons", "--hidden-sizes", "3, 2"], "Starting with hidden sizes 3, 2; seed 0."),
        (["digits", "--hidden-sizes", "none"], "Starting with no hidden layer; seed 0."),
        (["moons", "--no-standardize"], "Inputs are left as they are."),
    ],
)
@pytest.mark.usefixtures("no_training")
def test_where_training_starts(words, line):
    assert line in run("train", *words)[1].splitlines()


@pytest.mark.usefixtures("no_training")
def test_defaults_are_the_libraries(monkeypatch):
    """The names and defaults that `train` repeats, so as to check them without importing JAX."""
    assert tuple(ACTIVATIONS) == train_options.ACTIVATIONS
    assert set(train_options.OPTIMIZERS) == set(OPTIMIZERS)
    assert set(train_options.METRICS) == set(losses.METRICS)
    defaults = inspect.signature(senn.SENNClassifier.__init__).parameters
    assert defaults["optimizer"].default == train_options.OPTIMIZERS[0]
    activation, size = (defaults[name].default for name in ("activation", "batch_size"))
    assert settings.activation(activation) == train_options.ACTIVATIONS[0]
    assert settings.activation(activation, images=True) == "silu"
    assert (settings.batch_size(size), settings.batch_size(size, images=True)) == (512, 128)
    assert defaults["metric"].default is None
    assert set(train_options.FIRST_SIZES) <= set(senn.datasets.NAMES)


def test_options_reach_the_estimator(monkeypatch):
    seen = {}

    def fit(self, x, y):
        seen.update({f.name: getattr(self, f.name) for f in dataclasses.fields(self)})
        assert [type(c) for c in seen.pop("callbacks")] == [GracefulStop]
        raise KeyboardInterrupt

    monkeypatch.setattr(ClassLearner, "fit", fit)
    code, _, err = run(
        "train", "digits", "--seed", "3", "--max-units", "50", "--max-layers", "2",
        "--max-parameters", "999", "--max-seconds", "1.5", "--hidden-sizes", "5", "--activation",
        "ReLU", "--optimizer", "adam", "--metric", "euclidean", "--tau", "1.5", "--alpha", "1e-2",
        "--no-width", "--no-depth", "--batch-size", "32", "--max-iter", "7", "--quiet",
        "--n-estimators", "3", "--label-smoothing", "0",
    )  # fmt: skip
    assert (code, err) == (130, "senn: interrupted, with nothing to report or to save yet.\n")
    policy = senn.Policy(tau=1.5, alpha=1e-2, width=False, depth=False)
    expected = {
        "random_state": 3, "max_units": 50, "max_layers": 2, "max_parameters": 999,
        "max_seconds": 1.5, "hidden_sizes": (5,), "activation": "relu", "optimizer": "adam",
        "metric": "euclidean", "policy": policy, "batch_size": 32, "max_iter": 7,
        "standardize": False, "n_estimators": 3, "label_smoothing": 0.0,
    }  # fmt: skip
    assert {name: seen[name] for name in expected} == expected


def test_several_networks_become_one_run(tmp_path):
    table = write_csv(tmp_path / "t.csv", "x0", "x1", "town", "price", rows=200)
    words = ["train", table, "--n-estimators", "2", "--bins", "3", "--max-iter", "2",
             "--no-width", "--no-depth", "--hidden-sizes", "2", "--optimizer", "adam"]  # fmt: skip
    code, out, err = run(*words, "--json", "--out", tmp_path / "run")
    assert code == 0
    summary = strict(out)
    assert summary["hidden_sizes"] == [4]
    assert summary["n_estimators"] == 2
    assert summary["validation_score"] is None  # what one keeps apart the other learns from
    assert "\n2 networks, each starting with hidden size 2" in err
    assert err.count("categories, one") <= 1  # told once
    model = senn.load(tmp_path / "run" / MODEL)
    assert len(model.inputs_.column) == 6
    assert run("report", tmp_path / "run")[0] == 0
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "2 networks, each of which grew by itself, became one" in page
    assert 'id="columns"' in page
    assert 'id="predictions"' in page
    assert 'id="timeline"' not in page
    refused([*words, "--label-smoothing", "0.1"], "is for classes, and 'price' is taken for num")
    code, out, _ = run("shrink", tmp_path / "run", "--max-units", "3", "--json")
    assert code == 0
    assert strict(out)["hidden_sizes"] == [3]


# --- Being stopped -------------------------------------------------------------------------


def test_ctrl_c_during_training_keeps_what_was_learned(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train.Progress, "on_steps", interrupt)
    code, out, err = run("train", "moons", "--optimizer", "adam", "--json", "--out", tmp_path)
    assert code == 130
    assert strict(out)["interrupted"] is True
    assert strict(out)["validation_score"] is not None
    assert "stop: interrupted" in err
    assert read_run(tmp_path).history.stop_reason == "interrupted"


def test_a_closed_pipe_ends_training_quietly_and_keeps_what_was_learned(tmp_path, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            code = main(["train", "moons", "--optimizer", "adam", "--out", str(tmp_path / "a")])
        monkeypatch.undo()
    assert (code, said.getvalue()) == (141, "")


def test_the_installed_command_and_ctrl_c(tmp_path):
    command = Path(sys.executable).parent / "senn"
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in the background; children inherit
        signal.signal(signal.SIGINT, signal.default_int_handler)
    words = [command, "train", "digits", "--no-width", "--no-depth", "--hidden-sizes", "60"]
    process = subprocess.Popen(
        [*map(str, words), "--optimizer", "natural_gradient", "--out", str(tmp_path / "run")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if ": eval: " in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err == "senn: stopping after the present steps; once more leaves at once.\n"
    assert "stopped: interrupted" in out
    assert senn.load(tmp_path / "run" / MODEL).hidden_sizes_ == (60,)


# --- Help ----------------------------------------------------------------------------------


def test_the_version():
    assert run("--version") == (0, f"senn {senn.__version__}\n", "")


COMMAND_NAMES = [command.__name__.rsplit(".", 1)[1] for command in COMMANDS]


@pytest.mark.parametrize("words", [[], *([name] for name in COMMAND_NAMES)])
def test_help_has_examples(words):
    code, out, err = run(*words, "--help")
    assert (code, err) == (0, "")
    examples = re.findall(r"^  senn (.*?)(?:   .*)?$", out, re.MULTILINE)
    assert len(examples) >= 3
    for example in examples:
        said = re.split(" > | \\| ", example)[0].split()
        assert said[: len(words)] == words
        if "--help" not in said:
            cli.build_parser().parse_args(said)


# --- Completion ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bash_completion(tmp_path_factory) -> Path:
    code, out, err = run("--print-completion", "bash")
    assert (code, err) == (0, "")
    script = tmp_path_factory.mktemp("completion") / "senn.bash"
    script.write_text(out)
    return script


def completed(script: Path, *words: str) -> set[str]:
    """What bash offers for the last of the words."""
    line = shlex.join(words)
    said = f"""
        source {shlex.quote(str(script))}
        COMP_WORDS=({line}) COMP_CWORD={len(words) - 1} COMP_LINE={shlex.quote(line)}
        COMP_POINT=${{#COMP_LINE}}
        $(complete -p senn | sed -E 's/.* -F ([^ ]+).*/\\1/') senn {shlex.quote(words[-1])} ''
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", said],
        capture_output=True,
        text=True,
        check=True,
        cwd=script.parent,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["senn", ""], set(COMMAND_NAMES)),
        (["senn", "tr"], {"train"}),
        (["senn", "train", "dig"], {"digits"}),
        (["senn", "train", "--max-u"], {"--max-units"}),
        (["senn", "train", "--optimizer", "ka"], set()),
        (["senn", "train", "--optimizer", "kf"], {"kfac"}),
        (["senn", "export", "sen"], {"senn.bash"}),
    ],
)
def test_bash_completes(bash_completion, words, offered):
    found = completed(bash_completion, *words)
    assert found == offered if offered != set(COMMAND_NAMES) else found >= offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_in_every_shell(shell, tmp_path):
    code, out, _ = run("--print-completion", shell)
    assert code == 0
    assert all(name in out for name in COMMAND_NAMES)
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=out, text=True, check=True)


def test_completion_without_shtab_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    refused(["--print-completion", "bash"], r"pip install 'senn\[completion\]'")


# --- Mistakes ------------------------------------------------------------------------------

BAD_OPTIONS = [
    ([], "say what to do"),
    (["train"], "say what to train on"),
    (["trian", "digits"], "'trian'.*'?train'?"),
    (["train", "digits", "--max-unit", "3"], "--max-unit 3; did you mean --max-units"),
    (["train", "digits", "moons"], "unrecognized arguments: moons"),
    *(
        (["train", "digits", option, value], rf"^senn: {option} must be .*; got '{value}'\.")
        for option, values in {
            "--seed": ("-1", "1.5", "x", "99999999999"),
            "--max-units": ("-3", "many", "1e2", "nan"),
            "--max-layers": ("-1", "two"),
            "--max-parameters": ("-1", "0", "1k"),
            "--max-seconds": ("-5", "0", "soon", "nan", "-1e3", "inf", "-inf"),
            "--hidden-sizes": ("-1,3", "0", "3;4", "3,", "all"),
            "--activation": ("magic",),
            "--optimizer": ("magic",),
            "--metric": ("accuracy",),
            "--task": ("clustering",),
            "--tau": ("1", "-2", "x"),
            "--alpha": ("0", "-1e-3", "x"),
            "--batch-size": ("0", "-8", "big"),
            "--max-iter": ("0", "-1", "x"),
            "--bins": ("-1", "few"),
            "--n-estimators": ("0", "many"),
            "--label-smoothing": ("1", "-0.1", "x"),
            "--test-fraction": ("0", "1", "-0.5", "x"),
        }.items()
        for value in values
    ),
    (["train", "digits", "--seed"], "--seed expected one argument"),
    (["train", "digits", "--max-units", "3"], "--max-units 3 is less than the 4 hidden units"),
    (["train", "moons", "--hidden-sizes", "2,2", "--max-layers", "1"], "--max-layers 1 is less"),
    (["train", "digits", "--bins", "4"], "--bins 4 .* images are left as they are"),
    (["train", "moons", "--bins", "4", "--no-standardize"], "--no-standardize leaves inputs"),
]


@pytest.mark.parametrize(("words", "message"), BAD_OPTIONS)
@pytest.mark.usefixtures("no_training")
def test_bad_options(words, message):
    refused(words, message)


def empty_table(path: Path) -> list:
    return [write_csv(path / "t.csv", "x0", "label", rows=0)]


def npz(path: Path, **arrays) -> list:
    np.savez(path / "t.npz", **arrays)
    return [path / "t.npz"]


def binary(path: Path) -> list:
    (path / "t.csv").write_bytes(bytes(range(256)) * 9)
    return [path / "t.csv"]


def csv(*columns: str, **changes):
    return lambda path: [write_csv(path / "t.csv", *columns, **changes)]


def touched(path: Path) -> list:
    (path / "thesis.tex").write_text("years of work")
    return ["moons", "--out", path]


BAD_DATA = {
    "missing file": (lambda path: [path / "none.csv"], "There is no file '.*none.csv'"),
    "unknown name": (lambda _: ["digitz"], "no data called 'digitz', did you mean 'digits'"),
    "folder": (lambda path: [path], "is a folder"),
    "unknown kind": (lambda _: ["table.ods"], "unknown kind"),
    "unreadable csv": (binary, "binary"),
    "nothing in it": (lambda path: (path / "t.csv").touch() or [path / "t.csv"], "it is empty"),
    "no rows": (empty_table, "0 rows"),
    "one row": (csv("x0", "label", rows=1), "1 row"),
    "one class": (csv("x0", "same"), "only one class, 'yes'"),
    "infinity in X": (csv("x0", "x1", "label", x1="inf"), "infinity in column 'x1'"),
    "nothing to drop": (
        lambda path: [*csv("x0", "price")(path), "--drop", "x1"], "--drop names 'x1', but no column"
    ),
    "nothing left": (lambda path: [*csv("x0", "price")(path), "--drop", "x0"], "no column is left"),
    "target dropped": (
        lambda path: [*csv("x0", "price")(path), "--drop", "price"], "'price' is the target, so it"
    ),
    "no such category": (
        lambda path: [*csv("x0", "price")(path), "--categorical", "x"], "--categorical names 'x'"
    ),
    "no such encoding": (
        lambda path: [*csv("x0", "price")(path), "--encoding", "klingon"], "no encoding 'klingon'"
    ),
    "another encoding": (
        lambda path: [*csv("x0", "price")(path), "--encoding", "utf-16"], "say another with --enc"
    ),
    "infinity in y": (csv("x0", "price", price="inf"), "target has infinity in column 'price'"),
    "no features": (csv("label"), "1 column and"),
    "unknown target": (
        lambda path: [*csv("x0", "price")(path), "--target", "prize"],
        "no column is called 'prize', did you mean 'price'",
    ),
    "text as numbers": (
        lambda path: [*csv("x0", "label")(path), "--task", "regression"], "text in column 'label'"
    ),
    "target of a named set": (lambda _: ["moons", "--target", "x"], "its own target"),
    "no npz": (lambda path: (path / "t.npz").write_text("x") and [path / "t.npz"], "no npz file"),
    "y longer than X": (
        lambda path: npz(path, X=np.ones((9, 2)), y=np.arange(10)), "10 values but X has 9 rows"
    ),
    "no mnist there": (
        lambda path: ["mnist", "--data-dir", path], "does not hold the files of mnist"
    ),
    "folder that is no run": (touched, "--out .*is not empty and holds no run"),
    "file as folder": (
        lambda path: ["moons", "--out", csv("x0")(path)[0]], "--out .* is a file"
    ),
    "folder below a file": (
        lambda path: ["moons", "--out", csv("x0")(path)[0] / "run"], "--out .* cannot be written"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_DATA)
@pytest.mark.usefixtures("no_training")
def test_bad_data(case, tmp_path):
    make, message = BAD_DATA[case]
    refused(["train", *make(tmp_path)], message)


@pytest.mark.usefixtures("no_training")
def test_tensorboard_is_asked_for_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    words = ["train", "moons", "--tensorboard", "board"]
    refused(words, r"--tensorboard: .*pip install 'senn\[tensorboard\]'")


def test_a_regression_keeps_its_predictions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "houses.csv", "x0", "x1", "price")
    words = ("--max-iter", "2", "--optimizer", "adam", "--no-width", "--no-depth", "--quiet")
    code, _, _ = run("train", "houses.csv", "--out", "run", "--tensorboard", *words)
    assert code == 0
    found = read_run("run")
    assert found.test.targets.shape == found.test.predicted.shape == (12, 1)
    assert (found.test.names, found.test.are_classes) == (("price",), False)
    error = found.test.predicted - found.test.targets
    r2 = 1 - np.mean(error**2) / np.var(found.test.targets)
    assert r2 == pytest.approx(found.summary["test_score"], abs=1e-4)
    assert list((tmp_path / "run" / "tensorboard").iterdir())


@pytest.mark.usefixtures("no_training")
def test_unexpected_errors_are_one_sentence_with_a_way_to_more(monkeypatch):
    code, out, err = run("train", "moons", "--quiet")
    assert (code, out) == (1, "")
    assert err.startswith("senn: something unexpected happened (AssertionError: training started)")
    assert "SENN_TRACEBACK=1" in err
    assert err.count("\n") == 1
    code, _, err = run("train", "moons", "--debug", "--quiet")
    assert code == 1
    assert "Traceback" in err
    monkeypatch.setenv("SENN_TRACEBACK", "1")
    assert "Traceback" in run("train", "moons", "--quiet")[2]


def test_what_cannot_be_saved_is_reported_all_the_same(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(senn.runs, "write_atomically", full)
    monkeypatch.setattr(senn.persistence, "write_model", full)
    words = ("train", "moons", "--optimizer", "adam", "--max-iter", "1", "--quiet", "--json")
    code, out, err = run(*words, "--out", tmp_path / "run")
    assert code == 1
    assert strict(out)["steps"] == 4
    assert "No space left on device" in err


def test_a_table_of_numbers_is_learned_without_scikit_learn(tmp_path):
    """Which takes a second to import."""
    rows = [",".join(f"{v:.3f}" for v in row) for row in RNG.normal(size=(40, 3))]
    (tmp_path / "table.csv").write_text("a,b,c\n" + "\n".join(rows) + "\n", "utf-8")
    words = ["train", str(tmp_path / "table.csv"), "--quiet", "--out", str(tmp_path / "run"),
             "--max-iter", "1", "--no-width", "--no-depth", "--hidden-sizes", "none"]  # fmt: skip
    program = (
        f"import sys; from senn.cli import main; code = main({words}); "
        "assert not {'sklearn', 'scipy.stats'} & set(sys.modules), code"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
    assert read_run(tmp_path / "run").test is not None
