"""Words that messages about data share."""

import difflib
from collections.abc import Iterable

SUBJECTS = {"features": "The features have", "target": "The target has"}


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`, did you mean 'x'`, or nothing when nothing is close."""
    lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), lower, n=1)
    return f", did you mean {lower[found[0]]!r}" if found else ""
