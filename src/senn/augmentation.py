"""Images that training meets changed at random, so that it meets none twice. Needs NumPy alone.

Only what steps are taken on is changed: growth is judged, and sizes and stops are chosen, by
images as they are, which are what the network is for.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]
SHARE = 8  # of height and of width, an eighth is what images are shifted by at most
WANTED = '"flip", "shift", "shift=2" (pixels), several of them as "flip,shift", or a function'


@dataclass(frozen=True)
class FlipsAndShifts:
    """Mirrors images left to right, each with probability ½, and moves them by whole pixels.

    At the edge that a shift leaves empty, its last pixels come again.

    Args:
        flip: whether images are mirrored.
        shift: pixels at most, up, down, left and right alike; None is an eighth of the height and
            of the width.
    """

    flip: bool = False
    shift: int | None = 0

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Images [N, H, W, C] changed, each by a draw of its own."""
        n, height, width, channels = x.shape
        rows = self._moved(height, n, rng)
        columns = self._moved(width, n, rng)
        if self.flip:
            mirrored = rng.random(n) < 0.5
            columns = np.where(mirrored[:, None], width - 1 - columns, columns)
        places = (np.arange(n)[:, None, None] * height + rows[:, :, None]) * width
        return np.take(x.reshape(-1, channels), places + columns[:, None, :], axis=0)

    def _moved(self, side: int, n: int, rng: np.random.Generator) -> np.ndarray:
        """Where the pixels [n, side] of a row or a column come from."""
        most = max(1, side // SHARE) if self.shift is None else self.shift
        by = rng.integers(-most, most + 1, n)
        return np.clip(np.arange(side) - by[:, None], 0, side - 1)


def augmentation_of(given: Any) -> Augment | None:
    """What `augment=` says: words, or a function of images [N, H, W, C] and a generator.

    A `ValueError` says what is wanted in place of anything else.
    """
    if given is None:
        return None
    if callable(given):
        return cast(Augment, given)
    parts = given.split(",") if isinstance(given, str) else given
    words = [str(part).strip() for part in parts] if isinstance(parts, Iterable) else [""]
    found = [re.fullmatch(r"(flip)|shift(?:=(\d{1,4}))?", word) for word in words]
    if not found or not all(found):
        raise ValueError(f"augment={given!r} is not known: give {WANTED}.")
    shifts = [match[2] for match in found if match and not match[1]]
    flips = len(found) - len(shifts)
    if max(flips, len(shifts)) > 1:
        raise ValueError(f"augment={given!r} says one thing twice: give {WANTED}.")
    most = None if shifts == [None] else int([*shifts, 0][0])
    return FlipsAndShifts(bool(flips), most)
