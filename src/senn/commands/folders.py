"""Images in a folder, to predict: some at a time, with the names of their files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from senn.datasets.image_folder import files_as_bytes, readable_shape
from senn.datasets.image_folders import images_to_predict
from senn.datasets.images import shape_of_names
from senn.readers import DataError
from senn.rows import ROWS_AT_ONCE, Chunk, Rows

NUMBERS_AT_ONCE = 2**24  # of the pixels that are held


@dataclass(frozen=True)
class ImageChunk(Chunk):
    """Some files, and the images in them as a model reads them."""

    x: np.ndarray


@dataclass(frozen=True)
class ImageRows(Rows):
    """Files of images: a row has the file's name, and the class if its folder says one."""

    files: Sequence[Path] = ()
    shape: tuple[int, ...] = ()

    def chunks(self) -> Iterator[ImageChunk]:
        """The images, a bounded number at a time, with pixels in [0, 1]."""
        at_once = max(1, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // int(np.prod(self.shape))))
        cells = list(self.rows)
        for first in range(0, len(cells), at_once):
            some = slice(first, first + at_once)
            x = files_as_bytes(self.files[some], self.shape) / np.float32(255)
            yield ImageChunk(cells[some], first + 1, x)


def shape_read(estimator: Any) -> tuple[int, ...]:
    """The shape of the images that a model reads; none where it reads rows of a table."""
    return estimator._image_shape or shape_of_names(estimator.feature_names_)


def open_folder(folder: str, estimator: Any) -> ImageRows:
    """The images of a folder, read as those were that the model learned from."""
    shape = shape_read(estimator)
    if estimator._inputs is not None and (estimator._inputs.mean > 1).any():
        raise DataError(
            "the model learned from pixels beyond 1, such as bytes, and those of a folder are in "
            "[0, 1]: divide by 255 before fit, or predict what senn.datasets.read_images returns."
        )
    place = Path(folder).expanduser()
    files, labels = images_to_predict(place)
    names = [file.relative_to(place).as_posix() for file in files]
    cells = (names,) if labels is None else (names, labels)
    rows = map(list, zip(*cells, strict=True))
    return ImageRows(
        ("file", "class")[: len(cells)], rows, files=files, shape=readable_shape(shape)
    )
