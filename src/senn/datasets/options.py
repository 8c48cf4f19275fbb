"""The arguments of `load`."""

from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from senn.datasets.targets import Task
from senn.readers import DataError

_MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class Options:
    """The arguments of `load` that its readers share."""

    target: str | None
    task: Task | None
    data_dir: Path | None
    test_fraction: float
    seed: int
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    encoding: str | None = None
    image_size: tuple[int, int] | None = None  # height and width


def check_options(
    target: str | None, task: str | None, data_dir: Path | None, test_fraction: float, seed: int,
    **columns: Any,
) -> Options:  # fmt: skip
    """The options, if they can be used; else a `DataError`."""
    if task not in (None, "classification", "regression"):
        raise DataError(f"task={task!r} is not known: choose 'classification' or 'regression'.")
    if not isinstance(test_fraction, Real) or not 0 < test_fraction < 1:
        raise DataError(f"test_fraction={test_fraction!r} is not between 0 and 1: try 0.2.")
    if not isinstance(seed, Integral) or not 0 <= seed <= _MAX_SEED:
        raise DataError(f"seed={seed!r} is not a whole number from 0 to {_MAX_SEED}.")
    return Options(target, task, data_dir, float(test_fraction), int(seed), **columns)
