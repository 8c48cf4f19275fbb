"""CIFAR-10 in each of the forms that it comes in, tiny ones made here."""

import io
import json
import re
import tarfile

import numpy as np
import pytest
from PIL import Image

from senn.datasets import DataError, load
from senn.datasets.cifar_files import BATCHES, SHAPE
from test_datasets import assert_one_sentence, offline  # noqa: F401  a fixture

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 10, *SHAPE), dtype=np.uint8)  # five batches, and one to test
LABELS = np.stack([RNG.permutation(10) for _ in range(6)]).astype(np.uint8)


def binary(n):
    rows = IMAGES[n].transpose(0, 3, 1, 2).reshape(10, -1)
    return np.concatenate([LABELS[n][:, None], rows], axis=1).tobytes()


def write_binary(folder):
    folder.mkdir()
    for n, part in enumerate(BATCHES):
        (folder / f"{part}.bin").write_bytes(binary(n))


def write_archive(folder, members=BATCHES):
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as tar:
        for n, part in enumerate(members):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{part}.bin")
            member.size = len(binary(n))
            tar.addfile(member, io.BytesIO(binary(n)))


def write_arrays(folder, **changes):
    arrays = {
        "x_train": IMAGES[:5].reshape(-1, *SHAPE), "y_train": LABELS[:5].reshape(-1, 1),
        "x_test": IMAGES[5], "y_test": LABELS[5].reshape(-1, 1),
    }  # fmt: skip
    np.savez(folder / "cifar10.npz", **{**arrays, **changes})


def write_package(folder):
    folder.mkdir()
    for n, part in enumerate(BATCHES):
        Image.fromarray(IMAGES[n].reshape(10, -1, 3)).save(folder / f"{part}.png")
    for name, labels in (("train", LABELS[:5]), ("test", LABELS[5])):
        (folder / f"{name}_lables.json").write_text(json.dumps(labels.reshape(-1).tolist()))


FORMS = {
    "binary": lambda place: write_binary(place / "cifar10"),
    "unpacked": lambda place: write_binary(place / "cifar-10-batches-bin"),
    "archive": write_archive,
    "arrays": write_arrays,
    "npm": lambda place: write_package(place / "package"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same(form, tmp_path, monkeypatch):
    FORMS[form](tmp_path)
    monkeypatch.setenv("SENN_DATA", str(tmp_path))
    data = load("CIFAR10")
    assert (data.name, data.images, data.image_shape) == ("cifar10", True, SHAPE)
    np.testing.assert_array_equal(data.x, np.float32(IMAGES[:5].reshape(50, -1)) / np.float32(255))
    np.testing.assert_array_equal(data.x_test.reshape(-1, *SHAPE) * 255, IMAGES[5])
    np.testing.assert_array_equal(data.y, LABELS[:5].reshape(-1))
    assert data.classes is not None
    assert data.classes[data.y_test].tolist()[LABELS[5].tolist().index(6)] == "frog"
    assert data.classes.tolist() == sorted(data.classes)
    assert str(tmp_path) in data.notes[0]


WRONG = {
    "nothing": (lambda place: place.touch(), "does not hold the files of cifar10: put cifar-10"),
    "pickles": (lambda place: (place / "data_batch_1").touch(), "as pickles, which could run any"),
    "a batch less": (lambda place: write_archive(place, BATCHES[:5]), "lacks 'test_batch.bin'"),
    "no archive": (
        lambda place: (place / "cifar-10-binary.tar.gz").write_bytes(b"x"), "Cannot read"
    ),
    "cut": (
        lambda place: [write_binary(place / "cifar10"),
                       (place / "cifar10" / "test_batch.bin").write_bytes(binary(5)[:-1])],
        "test_batch.bin in .* holds 30,729 bytes, no multiple of the 3,073",
    ),
    "other arrays": (lambda place: np.savez(place / "cifar10.npz", x=[1]), "holds no arrays"),
    "other images": (
        lambda place: write_arrays(place, x_test=IMAGES[5, :, 1:]), r"test set .* \(10, 31, 32, 3\)"
    ),
    "label 10": (lambda place: write_arrays(place, y_train=np.full(50, 10)), "training set"),
    "labels of text": (
        lambda place: [write_package(place / "cifar10"),
                       (place / "cifar10" / "test_lables.json").write_text('["a"]')],
        "labels in .* are not whole numbers",
    ),
    "no labels": (
        lambda place: [write_package(place / "cifar10"),
                       (place / "cifar10" / "test_lables.json").unlink()],
        "lacks 'test_lables.json'",
    ),
    "a narrow picture": (
        lambda place: [write_package(place / "cifar10"),
                       Image.new("RGB", (8, 2)).save(place / "cifar10" / "test_batch.png")],
        "has lines of 8 pixels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_sentence(case, tmp_path):
    make, message = WRONG[case]
    make(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        load("cifar10", data_dir=tmp_path)
    assert_one_sentence(str(caught.value))


def test_it_is_fetched_where_there_is_none(monkeypatch, offline):  # noqa: F811
    with pytest.raises(DataError, match=r"Name or service not known.*SENN_DATA") as caught:
        load("cifar10")
    assert_one_sentence(str(caught.value))
    labels = np.zeros(60_000, int)
    labels[:5], labels[50_000:50_005] = (6, 9, 9, 4, 1), (3, 8, 8, 0, 6)
    pixels = np.zeros((60_000, 3072), np.uint8)
    pixels[:, 1] = 255  # red, in the first row the second
    bunch = type("Bunch", (), {"data": pixels, "target": labels.astype(str)})()
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *_, **__: bunch)
    data = load("cifar10")
    assert np.flatnonzero(data.x_test[3]).tolist() == [3]
    assert data.feature_names[3] == "pixel_0_1_0"
    labels[0] = 5
    bunch.target = labels.astype(str)
    with pytest.raises(DataError, match=re.escape("its copy is not in the official order")):
        load("cifar10")
