"""Images as people have them, [N, H, W] or [N, H, W, C]: checked, and as arrays of four axes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from senn.readers import DataError

NETWORKS = ("mlp", "conv")  # that estimators may be told to train
LARGEST = 1e18  # of a pixel, whose square float32 still holds


def check_images(X: Any, min_rows: int = 1) -> np.ndarray:
    """X as an array [N, H, W, C] of bytes or floats; a `DataError` if it holds no images."""
    try:
        x = np.asarray(X)
    except ValueError as error:
        raise DataError(
            "X holds images of several sizes: resize them to one, and give an array [N, H, W] or "
            "[N, H, W, C]."
        ) from error
    if x.ndim not in (3, 4) or 0 in x.shape[1:]:
        raise DataError(
            'network="conv" reads images, X of shape [N, H, W] or [N, H, W, C], and this X has '
            f"shape {x.shape}: {_advice(x.shape)}."
        )
    if x.dtype.kind not in "biuf":
        raise DataError(f"Images must be numbers; X holds {x.dtype}.")
    if len(x) < min_rows:
        raise DataError(
            f"X holds {len(x)} images, while a minimum of {min_rows} is required: give more."
        )
    x = x if x.ndim == 4 else x[..., None]
    x = x if x.dtype in (np.uint8, np.float32, np.float64) else _as_floats(x)
    if x.dtype.kind == "f":
        _check_values(x)
    return x


def check_same(x: np.ndarray, shape: Sequence[int]) -> None:
    """A `DataError` unless images [N, H, W, C] are of the shape (H, W, C) of those learned from."""
    if x.shape[1:] != tuple(shape):
        raise DataError(
            f"X has images of {_words(x.shape[1:])}, but this model learned from "
            f"{_words(shape)}: resize them."
        )


def known_images(X: Any, shape: Sequence[int]) -> np.ndarray:
    """X [N, H, W, C], if such images can be predicted by a network that reads that shape."""
    x = check_images(X)
    check_same(x, shape)
    return x


def _as_floats(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32 if np.can_cast(x.dtype, np.float32) else np.float64)


def _check_values(x: np.ndarray) -> None:
    low, high = (float(end(x)) for end in (np.min, np.max))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError("X holds NaN or infinite pixels: fill the gaps first.")
    if max(-low, high) > LARGEST:
        raise DataError(
            f"X has pixels up to {max(-low, high):.3g}, of which the squares overflow: rescale "
            "them first."
        )


def _advice(shape: Sequence[int]) -> str:
    side = math.isqrt(shape[1]) if len(shape) == 2 else 0
    if side > 1 and side**2 == shape[1]:
        return f"give X.reshape(-1, {side}, {side}), if its rows are such images"
    return 'reshape it, or take network="mlp" for rows of a table'


def _words(shape: Sequence[int]) -> str:
    height, width, channels = shape
    return f"{height} × {width} pixels" + (f" of {channels} channels" if channels > 1 else "")
