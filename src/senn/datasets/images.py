"""Images in files of arrays."""

import math
import re
from collections.abc import Sequence

import numpy as np

from senn.datasets.features import Features, check_features, pixel_names
from senn.datasets.splitting import MIN_ROWS


def are_images(x: np.ndarray) -> bool:
    """Whether an array holds images: [N, height, width] or [N, height, width, channels]."""
    return x.ndim in (3, 4) and x.dtype.kind in "biuf"


def image_rows(x: np.ndarray) -> tuple[np.ndarray, bool]:
    """Images as rows of pixels [N, I], and whether these are in [0, 1], as bytes become."""
    rows = x.reshape(len(x), -1)
    if rows.dtype == np.uint8:
        return rows / np.float32(255), True
    return rows, rows.dtype.kind == "f" and bool(np.all((rows >= 0) & (rows <= 1)))


def image_features(x: np.ndarray) -> tuple[Features, bool]:
    """The pixels of images as features, and whether they are in [0, 1]."""
    rows, in_unit = image_rows(x)
    return check_features(rows, image_names(x.shape[1:]), min_rows=MIN_ROWS), in_unit


def image_names(shape: tuple[int, ...]) -> tuple[str, ...]:
    """The names of features that are the pixels of images (H, W) or (H, W, C)."""
    height, width, *channels = shape
    names = pixel_names(height, width)
    if not channels:
        return names
    return tuple(f"{name}_{channel}" for name in names for channel in range(channels[0]))


def shape_of_names(names: Sequence[str]) -> tuple[int, ...]:
    """The inverse of `image_names`; () of features that are no pixels of an image."""
    last = re.fullmatch(r"pixel_(\d{1,5})_(\d{1,5})(?:_(\d{1,5}))?", names[-1])
    shape = tuple(int(n) + 1 for n in last.groups() if n is not None) if last else ()
    return shape if math.prod(shape) == len(names) and image_names(shape) == (*names,) else ()
