"""Words that messages about data share."""

import difflib
from collections.abc import Iterable, Sequence

import numpy as np

from senn.words import quoted

SUBJECTS = {"features": "The features have", "target": "The target has"}


def columns_phrase(names: Sequence[str], mask: np.ndarray | None = None) -> str:
    """`column 'a'` or `columns 'a' and 'b'`: all names, or those where the mask is true."""
    if mask is not None:
        names = [name for name, chosen in zip(names, mask, strict=True) if chosen]
    return f"column{'s' if len(names) > 1 else ''} {quoted(names)}"


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`, did you mean 'x'`, or nothing when nothing is close."""
    lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), lower, n=1)
    return f", did you mean {lower[found[0]]!r}" if found else ""
