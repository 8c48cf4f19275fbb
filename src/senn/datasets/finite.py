"""Columns as one table of finite numbers."""

from collections.abc import Sequence

import numpy as np

from senn.datasets.columns import Column, example, is_missing
from senn.datasets.wording import SUBJECTS
from senn.readers import DataError, DataTypeError
from senn.words import columns_phrase, counted, joined, short


def stack(columns: Sequence[Column], names: Sequence[str], what: str) -> np.ndarray:
    """Columns of numbers or booleans side by side; a `DataError` names the others."""
    odd: dict[str, list[int]] = {}
    for index, column in enumerate(columns):
        if column.kind not in ("numbers", "booleans"):
            odd.setdefault(column.kind, []).append(index)
    if "complex" in odd:
        found = columns_phrase([names[index] for index in odd["complex"]])
        raise DataError(
            f"Complex data not supported (in {found}): give real and imaginary parts apart."
        )
    if not odd:
        return np.column_stack([column.values for column in columns])
    phrases = [
        f"{kind} in {columns_phrase([names[index] for index in found])} "
        f"(such as {example(columns[found[0]])})"
        for kind, found in odd.items()
    ]
    advice = "turn them into numbers (one-hot encoding: pandas.get_dummies) or leave them out"
    if what == "features" and "objects" in odd:
        reason = "an argument must be neither object nor string but a number"
        raise DataTypeError(f"{SUBJECTS[what]} {joined(phrases)}: {advice}, for {reason}.")
    if what == "target":
        advice = "a regression needs numbers, so choose another target or a classification"
    raise DataError(f"{SUBJECTS[what]} {joined(phrases)}: {advice}.")


def finite(
    table: np.ndarray,
    names: Sequence[str],
    what: str,
    dtype: type[np.floating],
    *,
    gaps: bool = False,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The table [N, I] as `dtype`, once every value is finite and within its range, and notes.

    With `gaps` values may be NaN.
    """
    # Extremes alone show NaN, infinity and overflow: no temporary as large as the table.
    low, high = _extremes(table, gaps)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        refuse_gaps([table[:, index] for index in range(table.shape[1])], names, what, gaps=gaps)
    size = np.maximum(np.abs(low), np.abs(high))
    limit, eps = float(np.finfo(dtype).max), float(np.finfo(dtype).eps)
    if (size > limit).any():
        raise DataError(
            f"{SUBJECTS[what]} values up to {size.max():.3g} in "
            f"{columns_phrase(names, size > limit)}, beyond the {limit:.3g} of {dtype.__name__}: "
            f"rescale first."
        )
    notes = []
    constant = low == high
    if constant.any():
        notes.append(f"{SUBJECTS[what]} a single value in {columns_phrase(names, constant)}.")
    coarse = ~constant & _is_coarse(low, high, eps)
    if coarse.any():
        notes.append(
            f"{SUBJECTS[what]} values too close together for their size to be told apart well in "
            f"{dtype.__name__} in {columns_phrase(names, coarse)}: subtract the mean first."
        )
    return np.ascontiguousarray(table, dtype=dtype), tuple(notes)


def _gaps(values: np.ndarray) -> tuple[int, int]:
    """How many values are missing (or NaN), and how many are infinite."""
    if values.dtype.kind == "f":
        return int(np.isnan(values).sum()), int(np.isinf(values).sum())
    if values.dtype.kind in "mM":
        return int(np.isnat(values).sum()), 0
    if values.dtype.kind == "O":
        return sum(is_missing(value) for value in values), 0
    return 0, 0


def is_coarse(table: np.ndarray, dtype: type[np.floating]) -> np.ndarray:
    """Whether `dtype` tells the values of each column apart badly [I]."""
    low, high = _extremes(table, True)
    return (low < high) & _is_coarse(low, high, float(np.finfo(dtype).eps))


def _is_coarse(low: np.ndarray, high: np.ndarray, eps: float) -> np.ndarray:
    # Below 1000 steps from the lowest to the highest value, rounding shows.
    return high / 2 - low / 2 < 500 * eps * np.maximum(np.abs(low), np.abs(high))


def _extremes(table: np.ndarray, gaps: bool) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest value of every column; without NaN, if there may be gaps."""
    if not gaps or table.dtype.kind != "f":
        return table.min(axis=0).astype(np.float64), table.max(axis=0).astype(np.float64)
    low, high = (f.reduce(table, axis=0).astype(np.float64) for f in (np.fmin, np.fmax))
    empty = np.isnan(low)
    return np.where(empty, 0, low), np.where(empty, 0, high)


def refuse_gaps(
    columns: Sequence[np.ndarray], names: Sequence[str], what: str, *, gaps: bool = False
) -> None:
    """Raise a `DataError` that names the columns with infinite values, or missing ones."""
    found: dict[str, list[str]] = {"missing values (NaN)": [], "infinity": []}
    for name, values in zip(names, columns, strict=True):
        for word, count in zip(found, _gaps(values), strict=True):
            if count and not (gaps and word.startswith("missing")):
                found[word].append(f"{short(name)} ({count} of {counted(len(values), 'row')})")
    phrases = [
        f"{word} in column{'s' if where[1:] else ''} {joined(where)}"
        for word, where in found.items()
        if where
    ]
    if phrases:
        mend = "drop those rows" + (" or fill them in (impute)" if what == "features" else "")
        raise DataError(f"{SUBJECTS[what]} {joined(phrases)}: {mend} first.")
