"""`senn train --network conv`, and what comes after."""

import csv
import io
import json

import numpy as np
import onnxruntime
import pytest

import senn
from command import refused, run

WORDS = (
    "digits", "--network", "conv", "--channels", "4", "--activation", "silu",
    "--batch-size", "256", "--no-width",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "run"
    code, out, err = run("train", *WORDS, "--max-iter", "20", "--out", folder, "--json")
    assert code == 0
    return folder, json.loads(out), err


def test_images_are_trained_on(made):
    folder, summary, told = made
    assert summary["hidden_sizes"] == [4]
    assert summary["test_score"] > 0.5
    assert "images of 8 × 8 pixels, classification of 'digit' into 10 classes." in told
    assert "Pixels get the mean and the variance of each channel as their unit." in told
    assert "seed 0." in told
    assert senn.load(folder / "model.senn").network_.grid == (8, 8)


def test_the_test_images_are_predicted(made):
    folder, summary, _ = made
    code, out, err = run("predict", folder, "digits", "--target", "digit")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    right = np.mean([row["prediction"] == row["digit"] for row in rows])
    assert right == pytest.approx(summary["test_score"], abs=1e-9)
    assert f"accuracy {right:.4f}" in err


def test_a_report_shows_the_kernels(made):
    folder, *_ = made
    assert run("report", folder)[0] == 0
    page = (folder / "report.html").read_text()
    assert page.count("weights of unit") == 4
    assert "images of 8 × 8 pixels" in page


def test_a_run_is_exported(made, tmp_path):
    assert run("export", made[0], tmp_path / "m.onnx")[0] == 0
    (given,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").get_inputs()
    assert given.shape[1:] == [8, 8]


def test_a_run_is_made_smaller(made, tmp_path):
    small = tmp_path / "small"
    code, _, err = run("shrink", made[0], "--max-units", "3", "--max-seconds", "2", "--out", small)
    assert code == 0, err
    assert senn.load(small / "model.senn").hidden_sizes_ == (3,)


REFUSED = {
    "rows": (("moons", "--network", "conv"), "is for images, and moons has rows of 2 features"),
    "sizes": ((*WORDS, "--hidden-sizes", "4"), "say --channels in its place"),
    "channels": (("digits", "--channels", "4"), "--channels is for --network conv: say that too"),
    "no stage": ((*WORDS[:4], "none"), "--channels none leaves no stage"),
    "members": ((*WORDS, "--n-estimators", "2"), "--n-estimators is for --network mlp"),
    "bins": ((*WORDS, "--bins", "4"), "--bins 4 is for columns that are rescaled"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_with_images_is_refused(case):
    words, message = REFUSED[case]
    refused(("train", *words), message)
