"""Means over seeds, their confidence intervals, and paired tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.95


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """The values, their mean, and the half-width of its confidence interval by Student's t."""
    return {"each": list(values), "mean": float(np.mean(values)), "ci95": half_width(values)}


def against(values: Sequence[float], reference: Sequence[float]) -> dict[str, Any]:
    """The mean difference from a reference over the same seeds, its interval, and a paired t-test.

    NaN where there are fewer than two seeds, and p also where all differences are the same.
    """
    if len(values) != len(reference):
        raise ValueError(
            f"Pairs need as many values as references, seed by seed; "
            f"got {len(values)} and {len(reference)}."
        )
    off = np.subtract(values, reference)
    testable = len(off) > 1 and np.ptp(off) > 0
    test: Any = stats.ttest_rel(values, reference) if testable else None
    p = float(test.pvalue) if testable else np.nan
    return {"difference": float(np.mean(off)), "ci95": half_width(off), "p": p}


def half_width(values: Sequence[float] | np.ndarray) -> float:
    """Of the confidence interval of the mean: t · s/√n."""
    n = len(values)
    if n < 2:
        return np.nan
    return float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * standard_error(values))


def standard_error(values: Sequence[float] | np.ndarray) -> float:
    """Of the mean, s/√n; NaN of one value."""
    n = len(values)
    return float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else np.nan
