"""Checks of targets, and which of them are classes."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from senn.columns.table import as_array
from senn.datasets.columns import Column, columns_of, is_pandas
from senn.datasets.finite import finite, refuse_gaps, stack
from senn.readers import DataError
from senn.words import counted, short

Task = Literal["classification", "regression"]
MAX_INTEGER_CLASSES = 20  # distinct whole numbers that are taken for classes, at most


class Targets(NamedTuple):
    """Checked targets: class codes [N] with their labels `classes`, or floats [N, O] and None."""

    name: str
    y: np.ndarray
    task: Task
    classes: np.ndarray | None
    notes: tuple[str, ...]


def check_targets(
    y: Any,
    n_rows: int | None = None,
    *,
    task: Task | None = None,
    name: str = "y",
    dtype: type[np.floating] = np.float32,
    min_classes: int = 2,
) -> Targets:
    """Check targets, told to be classes or numbers by `infer_task` unless `task` says so.

    `y` is [N], [N, 1] or, for a regression, [N, O]. A classification gives int32 codes [N] and
    the sorted labels; a regression floats [N, O] of `dtype`. `name` is for messages.

    Raises a `DataError` for a length other than `n_rows`, missing or infinite values, fewer
    than `min_classes` classes, fractional numbers as classes, and anything but numbers in a
    regression.
    """
    columns = _target_columns(y, name)
    names = (name,) if len(columns) == 1 else [f"{name}_{index}" for index in range(len(columns))]
    check_length(len(columns[0].values), n_rows, name)
    refuse_gaps([column.values for column in columns], names, "target")
    notes: tuple[str, ...] = ()
    if task is None:
        task, note = _infer(columns, name)
        notes = (note,)
    if task == "classification":
        codes, classes, more = _classes(columns, name, min_classes)
        return Targets(name, codes, task, classes, notes + more)
    numbers = stack(columns, names, "target")
    values, more = finite(numbers, names, "target", dtype)
    return Targets(name, values, task, None, notes + more)


def infer_task(y: Any, name: str = "y") -> tuple[Task, str]:
    """Tell the task from the target, and say why in a sentence.

    Text, booleans, categories, and whole numbers (of an integer type) with at most 20 distinct
    values, each on average at least twice or only two of them, are classes. Everything else is
    a regression: other whole numbers, floating-point numbers, and several columns.
    """
    return _infer(_target_columns(y, name), name)


def _target_columns(y: Any, name: str) -> list[Column]:
    """The columns of a target, one per output."""
    if y is None:
        raise DataError("Learning requires y to be passed, but the target y is None.")
    if not is_pandas(y):
        y = as_array(y, name)
    if np.ndim(y) not in (1, 2):
        raise DataError(
            f"Expected {name} with one value per row, or one row of outputs, got "
            f"{counted(np.ndim(y), 'dimension')} (shape={np.shape(y)})."
        )
    if 0 in y.shape:
        raise DataError(f"{name} is empty (shape={y.shape}): give one target per row.")
    return columns_of(y)


def check_length(length: int, n_rows: int | None, name: str, x_name: str = "X") -> None:
    """Refuse targets that are not as many as the rows."""
    if n_rows is not None and length != n_rows:
        raise DataError(
            f"{name} has {counted(length, 'value')} but {x_name} has {counted(n_rows, 'row')}: "
            f"give one target per row."
        )


def _infer(columns: Sequence[Column], name: str) -> tuple[Task, str]:
    values, kind = columns[0]
    task: Task = "regression"
    hint = ""
    if len(columns) > 1:
        why = f"has {len(columns)} columns"
    elif kind != "numbers":
        task = "classification" if kind in ("text", "booleans", "categories") else "regression"
        why = f"holds {kind}"
    else:
        distinct = np.unique(values)
        few = len(distinct) <= min(MAX_INTEGER_CLASSES, max(2, len(values) / 2))
        sort = "whole" if values.dtype.kind in "iu" else "floating-point"
        if few and sort == "whole":
            task = "classification"
        elif few and (distinct % 1 == 0).all():  # as 0.0 and 1.0 are
            hint = ' (say task="classification" if they are classes)'
        why = f"holds {sort} numbers with {len(distinct)} distinct values"
    return task, f"Taken as a {task}, because the target {short(name)} {why}{hint}."


def _classes(
    columns: Sequence[Column], name: str, min_classes: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Codes [N] int32, sorted labels, notes."""
    if len(columns) > 1:
        raise DataError(
            f"A classification needs one label per row, but the target {short(name)} has "
            f"{len(columns)} columns: give labels, not one column per class."
        )
    values, kind = columns[0]
    if kind == "numbers" and (values % 1 != 0).any():
        raise DataError(
            f"The target {short(name)} holds fractional numbers such as "
            f"{values[values % 1 != 0][0]:g} (Unknown label type: continuous): use a regression, "
            "or round them to classes."
        )
    try:
        classes, codes = np.unique(values, return_inverse=True)
    except TypeError as error:
        raise DataError(
            f"The target {short(name)} mixes values of different types "
            f"(Unknown label type: {kind}): make all labels text or all of them numbers."
        ) from error
    if len(classes) < min_classes:
        raise DataError(
            f"The target {short(name)} has only one class, {short(classes[0])}: "
            f"give rows of at least two classes."
        )
    n = len(classes)
    doubt = f"The target {short(name)} has {n} classes in {len(values)} rows: is it right?"
    many = len(classes) > max(2, len(values) / 2)
    return codes.astype(np.int32), classes, (doubt,) if many else ()


def coded(name: str, labels: np.ndarray, n_classes: int) -> Targets:
    """Targets that are class codes already."""
    return Targets(name, labels.astype(np.int32), "classification", np.arange(n_classes), ())
