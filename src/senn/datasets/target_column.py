"""The target of a table: which rows have one, and what is written there."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from senn.columns.dates import style_of
from senn.columns.learning import decimal_marks, is_mostly_numbers, odd_words
from senn.columns.table import Table
from senn.datasets.targets import Task
from senn.readers import DataError
from senn.standalone import numpy_columns
from senn.words import counted, short


def target_values(
    table: Table, place: int, task: Task | None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The target [M] of the rows that have one, which rows [N] these are, and notes.

    Numbers that are written as text are numbers, unless they are to be classes. A `DataError`
    names the value and the row where, among numbers, a word stands that is none.
    """
    values, name = table.columns[place], table.names[place]
    words: list[str | None] = numpy_columns.texts(values)
    if task != "classification":
        values = _numbers(values, words, name, decimal_marks(table.columns))
    gaps = np.array([word is None for word in words]) | _holds_none(values)
    if gaps.all():
        raise DataError(f"the target {short(name)} is empty: choose another with --target.")
    kept = values[~gaps]
    if kept.dtype == object and all(isinstance(value, str) for value in kept):
        kept = np.array([value.strip() for value in kept])
    if kept.dtype.kind == "f" and gaps.any() and np.isfinite(kept).all() and _are_whole(kept):
        kept = kept.astype(np.int64)  # whole numbers, but for the gaps
    return kept, ~gaps, _left_out(table.columns[place], gaps, name)


def _are_whole(values: np.ndarray) -> bool:
    return bool((values % 1 == 0).all() and np.abs(values).max() < 2**53)


def _holds_none(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        return np.isnan(values)
    return np.isnat(values) if values.dtype.kind == "M" else np.zeros(len(values), bool)


def _left_out(values: np.ndarray, gaps: np.ndarray, name: str) -> tuple[str, ...]:
    if not gaps.any():
        return ()
    row, n = int(gaps.argmax()), int(gaps.sum())
    stands = f" ({str(values[row])!r})" if isinstance(values[row], str) and values[row] else ""
    rows = f"{counted(n, 'row')} without a target {'is' if n == 1 else 'are'} left out"
    return (
        f"{rows}, {'the first of them ' if n > 1 else ''}row {row + 1}{stands}: fill in column "
        f"{short(name)} there if {'it' if n == 1 else 'they'} should count.",
    )


def _refuse_dates(name: str, counts: Counter[str]) -> None:
    if style_of(list(counts))[0] is not None:
        raise DataError(
            f"the target {short(name)} holds dates, such as {next(iter(counts))[:40]!r}, which are "
            "neither numbers nor classes: choose another with --target, or say "
            "--task classification."
        )


def _numbers(
    values: np.ndarray, words: Sequence[str | None], name: str, marks: Sequence[str]
) -> np.ndarray:
    """Text as numbers if it says nothing else, NaN for words for none; all else as it is."""
    counts = Counter(word for word in words if word is not None)
    if values.dtype != object or not any(isinstance(value, str) for value in values) or not counts:
        return values
    odd = {mark: odd_words(counts, mark) for mark in marks}
    mark = min(marks, key=lambda mark: len(odd[mark]))
    if odd[mark]:
        if is_mostly_numbers(counts, odd[mark]):
            first = odd[mark][0]
            n = sum(counts[word] for word in odd[mark])
            raise DataError(
                f"the target {short(name)} holds numbers, but {first[:40]!r} in row "
                f"{words.index(first) + 1} ({counted(n, 'such row')} of {len(words)}): mend or "
                "drop it, or say --task classification if all of them are classes."
            )
        _refuse_dates(name, counts)
        return values
    if all(word.lower() in numpy_columns.NO_NUMBER for word in counts):
        return values
    numbers, _ = numpy_columns.numbers({"mark": mark}, values)
    present = numbers[~np.isnan(numbers)]
    fractions = any(c in word for word in counts for c in ".,eE%")
    if len(present) == len(numbers) and not fractions and np.abs(present).max() < 2**53:
        return numbers.astype(np.int64)
    return numbers
