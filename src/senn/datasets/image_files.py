"""Files of images as arrays of bytes. Nothing else of senn knows Pillow."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from senn.readers import DataError, first_sentence

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm",
)  # fmt: skip
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # of Pillow's; none runs a program
MOST_PIXELS = 2**25  # of one image, lest a small file ask for all the memory
ORIENTATION, LYING = 0x0112, 5  # the tag of cameras, and from which value on sides are swapped


class Sight(NamedTuple):
    """What the beginning of a file tells of its image."""

    shape: tuple[int, int]  # height and width
    grey: bool
    transparent: bool  # in parts, perhaps


def look(path: Path) -> Sight:
    """What an image is like; a `DataError` that names the file if it is none."""
    with _opened(path) as image:
        shape = image.size if _lies(image) else image.size[::-1]
        return Sight(shape, _is_grey(image), image.has_transparency_data)


def pixels(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """An image as bytes [H, W] or [H, W, 3], whichever `shape` says, stretched to that size.

    Where it is larger, every pixel is a mean of those that it stands for. What is transparent
    becomes white; of an animation the first picture counts. A `DataError` names a file that
    cannot be read.
    """
    from PIL import Image, ImageOps

    with _opened(path) as image:
        plain = _plain(ImageOps.exif_transpose(image), "L" if len(shape) == 2 else "RGB")
        height, width = shape[:2]
        if plain.size != (width, height):
            plain = plain.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(plain)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The image in a file; whatever Pillow raises within becomes a `DataError`."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            "Images in files are read by Pillow, which is not installed: pip install "
            "'senn[images]'."
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is odd in a file but does not spoil it
            with Image.open(path, formats=FORMATS) as image:
                if image.size[0] * image.size[1] > MOST_PIXELS:
                    raise ValueError(f"it has more than {MOST_PIXELS:,} pixels")
                yield image
    except Exception as error:  # Pillow raises many kinds
        reason = first_sentence(error)
        if type(error).__name__ == "UnidentifiedImageError":
            reason = "it is no image, or of an unknown kind"
        raise DataError(
            f"The image {str(path)!r} cannot be read ({reason}): mend it, or take it away."
        ) from error


def _lies(image: Any) -> bool:
    """Whether a camera says that it was held upright."""
    return image.getexif().get(ORIENTATION, 1) >= LYING


def _is_grey(image: Any) -> bool:
    return image.mode[0] in "1LIF"  # also of 16 bits, and with transparency


def _plain(image: Any, mode: str) -> Any:
    """An image of bytes, grey ("L") or in colour ("RGB"), on white."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if image.mode[0] == "I":  # 16 bits in most files, and in some 32 that are as good as empty
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("its pixels have more than 16 bits")
        image = Image.fromarray((values // 257).astype(np.uint8))
    if image.has_transparency_data:
        image, white = image.convert("RGBA"), Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        image = white
    return image.convert(mode)
