"""The paper's figures in their smallest form: real numbers, real images, and mistakes told."""

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest

from senn.cli import main
from senn.studies import command, fig2, fig4_subsets, growing, saving
from senn.studies.command import FIGURES, reproduce
from senn.studies.images import CLASSES, SIDE, load_images, shrink
from senn.studies.options import Options

MNIST = {"fig4-growth", "fig4-subsets"}
NAMES = "fig2, fig3, fig4-growth, fig4-subsets, ablation, automatic-size, oracle, shrink"


@pytest.fixture(scope="module")
def quick(tmp_path_factory, mnist_folder):
    """The record of a figure and its folder; every figure is made once."""
    folder = tmp_path_factory.mktemp("figures")
    made: dict[str, dict] = {}

    def make(name: str) -> tuple[dict, Path]:
        if name not in made:
            options = Options(out=folder, seeds=1, quick=True, data_dir=str(mnist_folder))
            made[name] = reproduce(name, options)
        return made[name], folder

    return make


@pytest.mark.parametrize("name", FIGURES)
def test_the_record_is_in_the_file_with_its_settings_and_machine(name, quick):
    record, folder = quick(name)
    assert json.loads((folder / f"{name}.json").read_text("utf-8")) == record
    optimizer = record["settings"]["optimizer"]
    assert (optimizer["learning_rate"], optimizer["damping"]) == (0.1, 0.1)
    assert optimizer["weight_decay"] == (1e-3 if name in MNIST else 0)
    assert record["machine"]["cores"] >= 1
    assert record["command"].startswith("senn")
    assert bool(record["stand_ins"]) == (name != "fig2")


@pytest.mark.parametrize("name", FIGURES)
def test_the_images_are_a_png_and_an_svg_of_more_than_one_colour(name, quick):
    _, folder = quick(name)
    pixels = matplotlib.image.imread(folder / f"{name}.png")
    assert pixels.shape[0] > 300
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10
    assert "<svg" in (folder / f"{name}.svg").read_text("utf-8")[:1000]


def test_fig2_units_make_their_own_place_uninteresting_and_keep_the_fit(quick):
    seed = quick("fig2")[0]["runs"][0]
    assert seed["units"] == 1 + len(seed["additions"]) > 1
    for addition in seed["additions"]:
        assert addition["ratio_there_before"] >= addition["ratio"] > 1
        assert addition["ratio_there_after"] < addition["ratio_there_before"] / 2
        assert addition["train_mse_after"] == addition["train_mse_before"]
    assert seed["train_mse"] < seed["additions"][0]["train_mse_before"]


def test_fig2_panels_hold_a_landscape_and_the_units(quick):
    for panel in quick("fig2")[0]["runs"][0]["panels"]:
        ratios = np.array(panel["ratios"])
        assert ratios.shape == (len(panel["scales"]), len(panel["locations"]))
        assert (ratios >= 0).all()
        proposal = panel["proposal"]
        assert proposal["accepted"] == (proposal["ratio"] > panel["least_ratio"])
    assert len(panel["unit_locations"]) == quick("fig2")[0]["runs"][0]["units"]


def turn(probability: np.ndarray) -> float:
    """How much the normal of the boundary turns, in radians."""
    down, right = np.gradient(probability)
    near = (probability > 0.4) & (probability < 0.6)
    angle = np.angle(right[near] + 1j * down[near])
    return float(np.ptp(np.unwrap(np.sort(angle))))


def test_fig3_starts_linear_and_a_layer_bends_the_boundary(quick):
    seed = quick("fig3")[0]["runs"][0]
    insertion, (linear, bent, *_) = seed["insertions"][0], seed["phases"]
    assert insertion["ratio_before"] > 1
    assert insertion["ratio_after"] < 0.75 * insertion["ratio_before"]  # mostly by half
    assert insertion["loss_after"] == pytest.approx(insertion["loss_before"], rel=1e-5)
    assert linear["start"]["layers"] == 0
    assert bent["start"]["step"] == insertion["step"]
    turns = [turn(np.array(phase["end"]["probability"])) for phase in (linear, bent)]
    assert turns[0] < 0.05  # a straight line
    assert turns[1] > 2 * turns[0]
    assert bent["end"]["test_accuracy"] > linear["end"]["test_accuracy"]


def test_fig4_growth_disturbs_nothing_and_counts_its_units(quick):
    record = quick("fig4-growth")[0]
    seed, curve = record["runs"][0], record["runs"][0]["curve"]
    assert sum(a["units"] for a in seed["additions"]) == curve["hidden_size"][-1] - 10 > 0
    assert curve["hidden_size"][-1] == sum(seed["hidden_sizes"])
    assert len(curve["step"]) == len(curve["seconds"]) == len(curve["test_accuracy"])
    for addition in seed["additions"]:
        assert addition["test_accuracy_after"] == addition["test_accuracy_before"]
        if addition["kind"] == "width":
            assert addition["largest_change_of_an_output"] == 0
    for watched in seed["watched"]:
        assert watched["after"] == [0, 10, 20, 30, 40, 50]
        assert watched["loss"][-1] < watched["loss"][0]
    assert seed["test_accuracy"] > 0.5


def test_fig4_subsets_reports_widths_and_whether_they_converged(quick):
    record = quick("fig4-subsets")[0]
    for size in record["runs"][0]["sizes"]:
        assert size["width"] == size["growth"][-1]["width"] >= 10
        assert size["steps"] == size["growth"][-1]["step"]
        assert 0.3 < size["test_accuracy"] < 1
    claims = record["claims"]
    assert claims["mean_width"] == [s["width"] for s in record["runs"][0]["sizes"]]
    assert claims["standard_error"] == [None, None]  # one seed has none


def test_subsets_are_balanced_and_seeded(mnist_folder):
    data = load_images(Options(quick=True, data_dir=str(mnist_folder))).train
    draws = [
        fig4_subsets.balanced_subset(data, 0.1, np.random.default_rng(seed)) for seed in (0, 0, 1)
    ]
    assert (np.bincount(np.asarray(draws[0].y), minlength=CLASSES) == len(data.x) // 100).all()
    assert np.array_equal(draws[0].x, draws[1].x)
    assert not np.array_equal(draws[0].x, draws[2].x)


def test_shrinking_keeps_what_is_flat():
    flat = np.full((2, 28 * 28), 0.25, np.float32)
    assert np.allclose(shrink(flat), 0.25)
    assert shrink(flat).shape == (2, SIDE * SIDE)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], f"say which figure, one of {NAMES}."),
        (["fig5"], f"FIGURE must be one of {NAMES}; got 'fig5'."),
        (["fig2", "--seeds", "0"], "--seeds must be a whole number of at least 1; got '0'."),
        (["fig2", "--sed", "3"], "unrecognized arguments: --sed 3; did you mean --seeds?"),
    ],
)
def test_mistakes_are_told_in_one_sentence(words, sentence, capsys):
    assert main(["reproduce", *words]) == 2
    assert capsys.readouterr().err == f"senn: {sentence}\n"


def test_a_folder_that_cannot_be_written_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["reproduce", "fig2", "--no-cache", "--out", str(tmp_path / "file")]) == 2
    assert re.fullmatch(
        r"senn: --out '.*file' cannot be written \(.*\)\.\n", capsys.readouterr().err
    )


def test_lacking_images_are_told(tmp_path, capsys):
    folder = str(tmp_path)
    words = ["fig4-growth", "--no-cache", "--out", folder, "--data-dir", folder]
    assert main(["reproduce", *words]) == 2
    assert "does not hold the files of mnist" in capsys.readouterr().err


def test_a_missing_matplotlib_is_told_before_anything_is_run(monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    assert main(["reproduce", "fig2"]) == 2
    assert "pip install 'senn[plot]'" in capsys.readouterr().err


def test_a_record_is_resumed_without_making_its_runs_again(quick, monkeypatch, tmp_path):
    record, folder = quick("fig2")
    shutil.copy(folder / "fig2.json", tmp_path)
    known = {"seed", "machine"}
    found = {k: v for k, v in record["runs"][0].items() if k not in known and "seconds" not in k}
    made = []

    def run(seed, _):
        made.append(seed)
        return found

    monkeypatch.setattr(fig2, "run", run)
    again = reproduce("fig2", Options(out=tmp_path, seeds=2, resume=True, quick=True))
    assert made == [1]
    assert len(again["runs"]) == 2
    assert again["runs"][0] == record["runs"][0]
    assert again["settings"] == record["settings"]


def test_a_record_of_another_machine_is_resumed_and_every_run_says_where_it_was_made(
    quick, monkeypatch, tmp_path
):
    record, _ = quick("fig2")
    there = record["machine"] | {"processor": "another"}
    runs = [{k: v for k, v in run.items() if k != "machine"} for run in record["runs"]]
    (tmp_path / "fig2.json").write_text(json.dumps(record | {"machine": there, "runs": runs}))
    known = {"seed", "machine", "run_seconds", "processor_seconds"}
    found = {k: v for k, v in runs[0].items() if k not in known}
    monkeypatch.setattr(fig2, "run", lambda *_: found)
    again = reproduce("fig2", Options(out=tmp_path, seeds=2, resume=True, quick=True))
    assert [run["machine"] for run in again["runs"]] == [there, record["machine"]]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text[:100], "holds a damaged fig2.json"),
        (lambda text: text.replace('"steps": 300', '"steps": 301'), "of other settings"),
    ],
)
def test_a_record_that_cannot_be_resumed_is_told(change, problem, quick, tmp_path, capsys):
    _, folder = quick("fig2")
    text = (folder / "fig2.json").read_text("utf-8")
    (tmp_path / "fig2.json").write_text(change(text), "utf-8")
    assert (
        main(["reproduce", "fig2", "--quick", "--resume", "--no-cache", "--out", str(tmp_path)])
        == 2
    )
    assert problem in capsys.readouterr().err


def test_the_command_line_is_part_of_the_record(quick, monkeypatch):
    record, _ = quick("fig2")
    monkeypatch.setattr(sys, "argv", ["senn", "reproduce", "fig2", "--out", "a b"])
    again = saving.make_record("fig2", fig2, Options(quick=True), record["runs"])
    assert again["command"] == "senn reproduce fig2 --out 'a b'"
    assert again["claims"] == record["claims"]


@pytest.mark.parametrize("name", ["fig3", "ablation"])
def test_ctrl_c_keeps_no_run_that_was_cut_short(name, tmp_path, monkeypatch, capsys):
    interrupted = SimpleNamespace(ended_by="interrupted", steps=3)
    monkeypatch.setattr(growing, "fit", lambda network, *_, **__: (network, interrupted))
    words = ["reproduce", name, "--quick", "--no-cache", "--out", str(tmp_path)]
    assert main(words) == 130
    assert "--resume goes on" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
