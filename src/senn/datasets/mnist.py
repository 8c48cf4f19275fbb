"""MNIST and Fashion-MNIST, from their four files or from OpenML."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from senn.datasets.dataset import Dataset, make_dataset
from senn.datasets.features import Features, pixel_names
from senn.datasets.openml import official_parts
from senn.datasets.options import Options
from senn.datasets.splitting import first_rows
from senn.datasets.targets import coded
from senn.readers import DataError, read_idx
from senn.words import quoted

_IDX_PARTS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_OPENML_NAMES = {"mnist": "mnist_784", "fashion-mnist": "Fashion-MNIST"}
# The first ten training labels tell the two sets apart: their files have the same names.
_FIRST_LABELS = {
    "mnist": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
    "fashion-mnist": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
}
SYSTEM_FOLDER = Path("/usr/share/datasets")  # Debian's dataset-fashion-mnist


def mnist_dataset(name: str, options: Options) -> Dataset:
    """MNIST or Fashion-MNIST; pixels in [0, 1], the official test set as the test set."""
    folder = _find_idx_folder(name, options.data_dir)
    origin = "OpenML" if folder is None else str(folder)
    parts = _fetch_idx(name) if folder is None else _read_idx_folder(folder)
    _check_idx_set(name, parts, origin)
    images, labels, test_images, test_labels = parts
    pixels = np.concatenate([images, test_images]).reshape(-1, 28 * 28)
    x = np.divide(pixels, np.float32(255), dtype=np.float32)
    features = Features(x, pixel_names(28, 28), (f"Read from {origin}.",))
    target_name = "digit" if name == "mnist" else "garment"
    targets = coded(target_name, np.concatenate([labels, test_labels]), 10)
    rows = first_rows(len(images))
    return make_dataset(name, features, targets, rows, images=True, image_shape=(28, 28))


def _find_idx_folder(name: str, data_dir: Path | None) -> Path | None:
    """Where the files are; a `DataError` if a folder was named and does not hold them."""
    if data_dir is not None:
        folder = _idx_folder_in(data_dir, name)
        if folder is None:
            problem = "does not hold" if data_dir.is_dir() else "is no folder with"
            raise DataError(
                f"{str(data_dir)!r} {problem} the files of {name}: give --data-dir a folder with "
                f"{_IDX_PARTS[0]}.gz and the other three, or one with a folder {name}/ of them."
            )
        return folder
    places = [Path(os.environ.get("SENN_DATA") or SYSTEM_FOLDER).expanduser(), SYSTEM_FOLDER]
    return next(filter(None, (_idx_folder_in(place, name) for place in places)), None)


def _idx_folder_in(place: Path, name: str) -> Path | None:
    """The folder of the data set within `place`, or `place` itself unless it is another's."""
    folders = [place / name] + [place] * (place.name not in set(_OPENML_NAMES) - {name})
    found = (folder for folder in folders if any(_idx_file(folder, part) for part in _IDX_PARTS))
    return next(found, None)


def _idx_file(folder: Path, part: str) -> Path | None:
    files = (folder / f"{part}.gz", folder / part)
    return next((file for file in files if file.is_file()), None)


def _read_idx_folder(folder: Path) -> list[np.ndarray]:
    files = {part: _idx_file(folder, part) for part in _IDX_PARTS}
    lacking = [f"{part}.gz" for part, file in files.items() if file is None]
    if lacking:
        raise DataError(f"{str(folder)!r} lacks {quoted(lacking)}: put all four files there.")
    return [read_idx(file) for file in files.values() if file is not None]


def _check_idx_set(name: str, parts: Sequence[np.ndarray], origin: str) -> None:
    """Refuse four arrays that are not training and test images with their labels."""
    for part, images, labels in (("training", *parts[:2]), ("test", *parts[2:])):
        fits = images.ndim == 3 and images.shape[1:] == (28, 28)
        if not fits or labels.shape != images.shape[:1] or not labels.size > 0 or labels.max() > 9:
            raise DataError(
                f"The {part} set of {name} from {origin} has images of shape {images.shape} and "
                f"labels of shape {labels.shape} up to {labels.max(initial=0)}, not (N, 28, 28), "
                f"(N,) and 9: fetch the files again."
            )
    first = tuple(parts[1][:10].tolist())
    for other, labels in _FIRST_LABELS.items():
        if other != name and first == labels:
            raise DataError(
                f"{origin!r} holds {other}, not {name}: say where {name} is with --data-dir."
            )


def _fetch_idx(name: str) -> list[np.ndarray]:
    """The four arrays from OpenML, through scikit-learn and its cache."""
    return official_parts(
        name, _OPENML_NAMES[name], lambda rows: rows.reshape(-1, 28, 28), {0: _FIRST_LABELS[name]},
        60_000,
        f"give the folder of {_IDX_PARTS[0]}.gz and the other three files with --data-dir or in "
        "the environment variable SENN_DATA",
    )  # fmt: skip
