"""Data sets of images in folders."""

import os
from collections.abc import Sequence
from itertools import starmap
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from senn.datasets.dataset import Dataset, make_dataset
from senn.datasets.image_files import Sight, look, pixels
from senn.datasets.image_folders import NO_IMAGES, images_by_class, images_to_predict
from senn.datasets.images import image_features
from senn.datasets.options import Options
from senn.datasets.splitting import given_rows, random_rows
from senn.datasets.targets import Targets
from senn.readers import DataError, check_memory
from senn.words import counted, quoted

SIDE = 64  # of what images are stretched to, unless all have one size that is no larger
NUMBERS = 3 * 4  # bytes that training has for every pixel of a colour, at least


def folder_dataset(folder: Path, options: Options) -> Dataset:
    """Images by class: FOLDER/class/image.png, or such folders in FOLDER/train and FOLDER/test."""
    if options.target is not None or options.task == "regression":
        given = "another task" if options.target is None else f"target={options.target!r}"
        raise DataError(f"images in folders are a classification: leave {given} out.")
    parts = images_by_class(folder)
    test = parts.get("test", parts.get("val", NO_IMAGES))
    train = parts["train"] + (parts.get("val", NO_IMAGES) if "test" in parts else NO_IMAGES)
    files, labels, others = train + test
    sights = [look(file) for file in files]
    shape = _shape_of(sights, options.image_size)
    features, _ = image_features(_read(files, shape))
    notes = (_told(sights, shape, others), *_told_of_parts(parts))
    classes, codes = np.unique(np.array(labels), return_inverse=True)
    targets = Targets("class", codes.astype(np.int32), "classification", classes, ())
    rows = given_rows(targets, len(train.files)) if test.files else random_rows(targets, options)
    features = features._replace(notes=(*features.notes, *notes))
    name = folder.resolve().name
    return make_dataset(name, features, targets, rows, images=True, image_shape=shape)


def read_images(
    folder: str | os.PathLike[str], image_shape: Sequence[int]
) -> tuple[np.ndarray, list[Path]]:
    """The images of a folder as bytes [N, H, W] or [N, H, W, 3], and their files, to predict with.

    `image_shape` is (H, W), grey, or (H, W, 3), in colour: `Dataset.image_shape` of the folder
    that was learned from, which was read in the same way. Of a folder that is divided into parts
    these are the images to test with. Divide by 255 if that is what the model learned from, as a
    `Dataset` has it.

    Raises a `DataError` that names the file which cannot be read.
    """
    shape = readable_shape(image_shape)
    files, _ = images_to_predict(Path(folder).expanduser())
    return _read(files, shape), files


def readable_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of an image as files have them; a `DataError` for others."""
    sides, colours = tuple(shape[:2]), tuple(shape[2:])
    if len(sides) != 2 or colours not in ((), (1,), (3,)) or not all(map(_is_side, sides)):
        raise DataError(
            f"Images in files are grey or of 3 colours, and image_shape={tuple(shape)} is neither."
        )
    return tuple(shape)


def checked_size(given: Any) -> tuple[int, int] | None:
    """Height and width, from both or from one number for both; a `DataError` for no such thing."""
    if given is None:
        return None
    both = given if isinstance(given, Sequence | np.ndarray) else (given, given)
    sides = tuple(both)
    if len(sides) != 2 or not all(map(_is_side, sides)):
        raise DataError(
            f"image_size={given!r} is neither a number of pixels nor a height and a width, such as "
            "64 or (48, 64)."
        )
    return int(sides[0]), int(sides[1])


def _is_side(n: Any) -> bool:
    return isinstance(n, Integral) and not isinstance(n, bool) and 0 < int(n) <= 2**14


def files_as_bytes(files: Sequence[Path], shape: tuple[int, ...]) -> np.ndarray:
    """Images [N, *shape]."""
    found = np.empty((len(files), *shape), np.uint8)
    for n, file in enumerate(files):
        found[n] = pixels(file, shape[:2] if shape[2:] == (1,) else shape).reshape(shape)
    return found


def _read(files: Sequence[Path], shape: tuple[int, ...]) -> np.ndarray:
    numbers = len(files) * int(np.prod(shape))
    check_memory(NUMBERS * numbers, "the images", "say a smaller image size")
    return files_as_bytes(files, shape)


def _shape_of(sights: Sequence[Sight], asked: tuple[int, int] | None) -> tuple[int, ...]:
    """The shape that all images get."""
    shapes = {sight.shape for sight in sights}
    usual = shapes.pop() if len(shapes) == 1 else (SIDE, SIDE)
    size = asked or (usual if max(usual) <= SIDE else (SIDE, SIDE))
    return size if all(sight.grey for sight in sights) else (*size, 3)


def _told(sights: Sequence[Sight], shape: tuple[int, ...], others: Sequence[Path]) -> str:
    """What was read, and what was made of it."""
    shapes = sorted({sight.shape for sight in sights}, key=lambda s: (s[0] * s[1], s))
    sizes = " to ".join(starmap("{} × {}".format, dict.fromkeys((shapes[0], shapes[-1]))))
    stretched = set(shapes) != {shape[:2]}
    to = f", stretched to {shape[0]} × {shape[1]}" if stretched else ""
    words = f"Read {counted(len(sights), 'image')} of {sizes} pixels{to}"
    words += ", in colour" if len(shape) == 3 else ", grey"
    if transparent := sum(sight.transparent for sight in sights):
        words += f"; what is transparent, in {transparent:,} of them, became white"
    if others:
        words += f"; left out, for it is no image: {quoted(file.name for file in others)}"
    return f"{words}."


def _told_of_parts(parts: dict[str, Any]) -> tuple[str, ...]:
    if "test" in parts and "val" in parts:
        return ("The images for validation are trained on as well; others are kept apart.",)
    return ()
