"""CIFAR-10, from one of its files or from OpenML."""

import os
from pathlib import Path

import numpy as np

from senn.datasets.cifar_files import ARCHIVE, BATCHES, RECORD, SHAPE, WHERE, Parts, read_cifar10
from senn.datasets.dataset import Dataset, make_dataset
from senn.datasets.features import Features
from senn.datasets.images import image_names
from senn.datasets.openml import official_parts
from senn.datasets.options import Options
from senn.datasets.splitting import first_rows
from senn.datasets.targets import Targets
from senn.readers import DataError

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
FOLDERS = ("cifar10", ".", "cifar-10-batches-bin", "package")  # of a place, where parts may be
PICKLES = ("cifar-10-python.tar.gz", "cifar-10-batches-py", BATCHES[0])
OPENML_NAME, FIRST_LABELS = "CIFAR_10", {0: (6, 9, 9, 4, 1), 50_000: (3, 8, 8, 0, 6)}


def cifar10_dataset(name: str, options: Options) -> Dataset:
    """CIFAR-10; pixels in [0, 1], the official test set as the test set."""
    place = _find(options.data_dir)
    origin = "OpenML" if place is None else str(place)
    parts = _fetch() if place is None else read_cifar10(place)
    _check(parts, origin)
    images, labels, test_images, test_labels = parts
    pixels = np.concatenate([images, test_images]).reshape(-1, RECORD - 1)
    x = np.divide(pixels, np.float32(255), dtype=np.float32)
    features = Features(x, image_names(SHAPE), (f"Read from {origin}.",))
    codes = np.concatenate([labels, test_labels]).astype(np.int32)
    targets = Targets("class", codes, "classification", np.array(CLASSES), ())
    rows = first_rows(len(images))
    return make_dataset(name, features, targets, rows, images=True, image_shape=SHAPE)


def _find(data_dir: Path | None) -> Path | None:
    """What holds it; a `DataError` if a folder was named that does not."""
    if data_dir is None:
        place = os.environ.get("SENN_DATA")
        return _within(Path(place).expanduser()) if place else None
    found = _within(data_dir)
    if found is None:
        problem = "does not hold" if data_dir.is_dir() else "is no folder with"
        raise DataError(
            f"{str(data_dir)!r} {problem} the files of cifar10: put {WHERE} there, or name "
            "another folder with --data-dir."
        )
    return found


def _within(place: Path) -> Path | None:
    """The file of all of it, or the folder of its parts, in a place."""
    folders = [place / folder for folder in FOLDERS]
    for folder in folders:
        for file in (folder / ARCHIVE, folder / "cifar10.npz"):
            if file.is_file():
                return file
        if any((folder / f"{part}{end}").is_file() for part in BATCHES for end in (".bin", ".png")):
            return folder
    pickles = [folder / name for folder in folders for name in PICKLES]
    for found in filter(Path.exists, pickles):
        raise DataError(
            f"{str(found)!r} holds CIFAR-10 as pickles, which could run any code and are not read: "
            f"put {WHERE} there."
        )
    return None


def _fetch() -> Parts:
    """All of it from OpenML, whose pixels stand colour by colour."""
    return official_parts(
        "cifar10", OPENML_NAME, lambda rows: rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1),
        FIRST_LABELS, 50_000,
        f"put {WHERE} into a folder, and name that with --data-dir or in the environment variable "
        "SENN_DATA",
    )  # fmt: skip


def _check(parts: Parts, origin: str) -> None:
    """Refuse four arrays that are not training and test images with their labels."""
    for part, images, labels in (("training", *parts[:2]), ("test", *parts[2:])):
        fits = images.shape[1:] == SHAPE and labels.shape == images.shape[:1] and labels.size > 0
        if not fits or images.dtype != np.uint8 or not set(labels.tolist()) <= set(range(10)):
            raise DataError(
                f"The {part} set of cifar10 from {origin} has {images.dtype} images of shape "
                f"{images.shape} and labels of shape {labels.shape}, not bytes (N, 32, 32, 3) and "
                "(N,) of 0 to 9: fetch it again."
            )
