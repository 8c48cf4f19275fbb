"""Which rows are for training and which for testing."""

import numpy as np

from senn.datasets.options import Options
from senn.datasets.targets import Targets
from senn.readers import DataError
from senn.words import counted, quoted, short

MIN_ROWS = 5  # training, validation and test each need some; with fewer no score means anything
Rows = tuple[np.ndarray | slice, np.ndarray | slice]


def split_rows(
    n_rows: int, fraction: float, seed: int, codes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split row numbers at random into those kept and the given fraction held out.

    With class codes [N] the split is stratified, and every class keeps at least one row (with
    scikit-learn's `train_test_split` a rare class may lose all of its rows, and a class of one
    row is an error). Raises a `DataError` if nothing would be left to hold out.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(n_rows)
    codes = np.zeros(n_rows, dtype=np.int32) if codes is None else np.asarray(codes)
    _, shuffled, counts = np.unique(codes[order], return_inverse=True, return_counts=True)
    by_class = np.argsort(shuffled, kind="stable")
    rank = np.empty(n_rows, dtype=np.int64)  # 0 for the first row of its class
    rank[by_class] = np.arange(n_rows) - np.repeat(np.cumsum(counts) - counts, counts)
    n_held_out = min(max(1, round(fraction * n_rows)), n_rows - len(counts))
    if n_held_out < 1:
        raise DataError(
            f"{counted(n_rows, 'row')} of {counted(len(counts), 'class')} cannot be split in two: "
            f"give more rows, or choose a target with fewer classes."
        )
    # Equal steps in [0, 1) within each class, from a random start: any cut takes equal shares.
    position = (rank + rng.random(len(counts))[shuffled]) / counts[shuffled]
    position[rank == 0] = -1.0
    last = np.argsort(position, kind="stable")
    held_out = np.zeros(n_rows, dtype=bool)
    held_out[last[n_rows - n_held_out :]] = True
    return order[~held_out], order[held_out]


def random_rows(targets: Targets, options: Options) -> Rows:
    """Rows for training and for testing at random, stratified for classes."""
    codes = targets.y if targets.task == "classification" else None
    return split_rows(len(targets.y), options.test_fraction, options.seed, codes)


def first_rows(n_train: int) -> Rows:
    """The first rows for training, and all others for testing."""
    return slice(0, n_train), slice(n_train, None)


def given_rows(targets: Targets, n_train: int) -> Rows:
    """The first `n_train` rows and the others, once every class is among the first."""
    train, test = first_rows(n_train)
    if n_train < MIN_ROWS - 1 or n_train == len(targets.y):
        raise DataError(
            f"it has {counted(n_train, 'row')} to train on and {len(targets.y) - n_train} to test "
            f"with, while a minimum of {MIN_ROWS - 1} and 1 is required: give more rows."
        )
    if targets.classes is not None:
        unseen = np.setdiff1d(targets.y[test], targets.y[train])
        if len(unseen):
            raise DataError(
                f"the test rows hold classes that {short(targets.name)} never has, "
                f"{quoted(targets.classes[unseen])}: add training rows of them, or drop those rows."
            )
    return train, test
