"""`senn train --network conv`, and what comes after."""

import csv
import io
import json

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import senn
from command import refused, run
from senn.datasets import read_images

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


# --- Folders ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Digits as scikit-learn has them, in a folder for each, of images of two sizes."""
    place = tmp_path_factory.mktemp("folder") / "numerals"
    images, labels = load_digits(return_X_y=True)
    for n, (image, label) in enumerate(zip(images[:300], labels[:300], strict=True)):
        part = place / ("test" if n >= 240 else "train") / f"no {label}"
        part.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((image.reshape(8, 8) * 15).astype(np.uint8))
        picture.resize((16, 16) if n % 9 == 0 else (8, 8)).save(part / f"{n}.png")
    return place


@pytest.fixture(scope="module")
def of_folder(folder):
    run_folder = folder.parent / "run"
    words = (
        "--image-size",
        "8",
        "--augment",
        "shift=1",
        *WORDS[3:],
        "--max-iter",
        "20",
        "--out",
        run_folder,
        "--json",
    )
    code, out, err = run("train", folder, *words)
    assert code == 0, err
    return run_folder, json.loads(out), err


def test_a_folder_of_images_is_trained_on(of_folder):
    run_folder, summary, told = of_folder
    assert "numerals: 240 training and 60 test rows, images of 8 × 8 pixels, classif" in told
    assert "Read 300 images of 8 × 8 to 16 × 16 pixels, stretched to 8 × 8, grey." in told
    assert "For every step images are changed at random: shift=1." in told
    assert summary["hidden_sizes"] == [4]
    settings = json.loads((run_folder / "config.json").read_text())["settings"]
    assert (settings["network"], settings["image_size"]) == ("conv", [8, 8])


def test_images_of_a_folder_are_predicted(folder, of_folder):
    run_folder, summary, _ = of_folder
    code, out, err = run("predict", run_folder, folder, "--target", "class")
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(out)))
    right = np.mean([row["prediction"] == row["class"] for row in rows])
    assert right == pytest.approx(summary["test_score"], abs=1e-9)
    assert f"accuracy {right:.4f} on 60 rows" in err
    assert list(rows[0])[:4] == ["file", "class", "prediction", "probability_no 0"]
    assert (folder / rows[0]["file"]).is_file() or (folder / "test" / rows[0]["file"]).is_file()
    # From Python the same, and of a folder without classes too.
    model = senn.load(run_folder / "model.senn")
    x, _ = read_images(folder, model._image_shape)
    assert model.predict(x / np.float32(255)).tolist() == [row["prediction"] for row in rows]
    code, out, _ = run("predict", run_folder, folder / "test" / "no 3")
    assert code == 0
    alone = list(csv.DictReader(io.StringIO(out)))
    assert list(alone[0])[:2] == ["file", "prediction"]
    wanted = {row["file"].split("/")[-1]: row["prediction"] for row in rows}
    assert all(wanted[row["file"]] == row["prediction"] for row in alone)


def test_images_that_cannot_be_predicted(folder, of_folder, made, tmp_path):
    refused(("predict", of_folder[0], tmp_path), "holds no images")
    (tmp_path / "a.png").write_bytes(b"x")
    code, _, err = run("predict", of_folder[0], tmp_path)  # the names of columns are written
    assert code == 2
    assert "a.png' cannot be read (it is no image, or of an unknown kind)" in err
    refused(("predict", made[0], tmp_path, "--target", "class"), "no column 'class'")
    of_bytes = senn.load(of_folder[0] / "model.senn")
    of_bytes._inputs = of_bytes._inputs._replace(mean=of_bytes._inputs.mean + 80)
    of_bytes.save(tmp_path / "m.senn")
    refused(("predict", tmp_path / "m.senn", folder), "the model learned from pixels beyond 1")


REFUSED = {
    "size": (("digits", "--image-size", "8"), "is for a folder of images, and 'digits' is none"),
    "no size": (("x", "--image-size", "8,9,7"), "must be a number of pixels such as 64, or"),
    "changes": (("digits", "--augment", "flip"), "--augment is for --network conv: say that too"),
    "no changes": (("digits", "--augment", "turn"), "must be flip, shift, shift=2"),
    "rows": (("moons", "--network", "conv"), "is for images, and moons has rows of 2 features"),
    "sizes": ((*WORDS, "--hidden-sizes", "4"), "say --channels in its place"),
    "channels": (("digits", "--channels", "4"), "--channels is for --network conv: say that too"),
    "no stage": ((*WORDS[:4], "none"), "--channels none leaves no stage"),
    "members": ((*WORDS, "--n-estimators", "2"), "--n-estimators is for --network mlp"),
    "devices": ((".", "--devices", "2"), "--network conv is for one device of one process"),
    "budget": (
        (*WORDS, "--quiet", "--max-units", "3"),
        "start with 4 units .* more than the budgets allow",
    ),
    "many stages": ((*WORDS[:4], "2,2,2,2,2", "--quiet"), "Nothing is left of images of 8 × 8"),
    "bins": ((*WORDS, "--bins", "4"), "--bins 4 is for columns that are rescaled"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_with_images_is_refused(case):
    words, message = REFUSED[case]
    refused(("train", *words), message)
