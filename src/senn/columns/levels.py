"""Categories: which levels get an input of their own."""

from collections import Counter
from typing import Any

import numpy as np

from senn.standalone import numpy_columns

MOST_LEVELS = 64  # that get an input of their own: the most frequent ones
FEWEST_ROWS = 2  # of a level with an input of its own
MANY_LEVELS, OFTEN = 10, 0.5  # beyond so many, so much of the rows must have a level that recurs


def category(values: np.ndarray, at_once: bool) -> dict[str, Any]:
    """A column of categories, one-hot.

    The most frequent levels get an input each; the others, and such as training did not have,
    share one. So does scikit-learn's `OneHotEncoder(min_frequency=2, max_categories=...,
    handle_unknown="infrequent_if_exist")`. Two levels are 0 and 1 in a single input, and what is
    neither is ½.
    """
    numeric = values.dtype.kind in "iuf"
    words = numpy_columns.texts(values, numeric)
    counts = Counter(word for word in words if word is not None)
    n_gaps = len(words) - counts.total()
    if at_once and len(counts) + bool(n_gaps) <= 1:
        return {"kind": "constant" if counts else "empty"}
    fewest = FEWEST_ROWS if at_once else 1
    often = [word for word, count in counts.most_common() if count >= fewest]
    covered = sum(counts[word] for word in often) / max(counts.total(), 1)
    if at_once and len(counts) > MANY_LEVELS and covered < OFTEN:
        return {"kind": "text"}
    levels = sorted(counts, key=lambda word: (-counts[word], word))
    spec = {"kind": "category", "levels": levels, "numeric": numeric}
    own = [counts[word] >= fewest for word in levels[:MOST_LEVELS]]
    own += [False] * (len(levels) - len(own))
    if len(levels) + bool(n_gaps) == 2 and (len(levels) == 1 or all(own)):
        gap = 1.0 if n_gaps else 0.5
        return {**spec, "values": [*[[float(code)] for code in range(len(levels))], [gap], [0.5]]}
    slots = (np.cumsum(own) - 1).tolist()
    last = slots[-1] if levels else -1
    other = last + 1 if not all(own) or not at_once else -1
    slots = [slot if is_own else other for slot, is_own in zip(slots, own, strict=True)]
    last = max([last, other])
    gap = last + 1 if n_gaps >= fewest or not levels else other
    return {**spec, "slots": [*slots, gap, other]}
