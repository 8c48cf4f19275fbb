"""Data as arrays: named data sets, table files, and checks that say in one sentence what is wrong.

Everything here ends in NumPy arrays; nothing here knows a network.
"""

import csv
import difflib
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from numbers import Complex, Integral, Real
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from senn.readers import DataError, first_sentence, is_number, read_idx, read_npz, read_table
from senn.words import counted, joined, quoted, short

Task = Literal["classification", "regression"]

MIN_ROWS = 5  # training, validation and test each need some; with fewer no score means anything
MAX_INTEGER_CLASSES = 20  # distinct whole numbers that are taken for classes, at most

_MAX_SEED = 2**32 - 1


class DataTypeError(DataError, TypeError):
    """Values of a type that no number can be read from."""


@dataclass(frozen=True)
class Dataset:
    """A training set and a test set; N rows, I features, O outputs.

    `y` holds class codes for a classification, whose labels are `classes[y]`, and float32
    targets [N, O] for a regression, whose `classes` is None. Every class has a training row.
    """

    name: str
    task: Task
    x: np.ndarray  # [N, I] float32
    y: np.ndarray  # [N] int32 class codes, or [N, O] float32 targets
    x_test: np.ndarray
    y_test: np.ndarray
    classes: np.ndarray | None  # labels; the index is the class code
    feature_names: tuple[str, ...]
    target_name: str
    images: bool = False  # pixels in [0, 1], which are not to be standardised
    notes: tuple[str, ...] = ()  # what the user should know: how the task was told, and the like


class Features(NamedTuple):
    """Checked features: `x` [N, I], the names of its columns, and notes for the user."""

    x: np.ndarray
    names: tuple[str, ...]
    notes: tuple[str, ...]


class Targets(NamedTuple):
    """Checked targets: class codes [N] with their labels `classes`, or floats [N, O] and None."""

    name: str
    y: np.ndarray
    task: Task
    classes: np.ndarray | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Options:
    """The arguments of `load` that its readers share."""

    target: str | None
    task: Task | None
    data_dir: Path | None
    test_fraction: float
    seed: int


# --- Words for messages --------------------------------------------------------------------


def _columns_phrase(names: Sequence[str], mask: np.ndarray | None = None) -> str:
    """`column 'a'` or `columns 'a' and 'b'`: all names, or those where the mask is true."""
    if mask is not None:
        names = [name for name, chosen in zip(names, mask, strict=True) if chosen]
    return f"column{'s' if len(names) > 1 else ''} {quoted(names)}"


def _close(name: str, choices: Iterable[str]) -> str:
    """`, did you mean 'x'`, or nothing when nothing is close."""
    lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), lower, n=1)
    return f", did you mean {lower[found[0]]!r}" if found else ""


# --- Checks of arrays in memory ----------------------------------------------------------

Kind = Literal["numbers", "booleans", "text", "categories", "dates", "complex", "objects"]
_KINDS: dict[str, Kind] = {
    **dict.fromkeys("iuf", "numbers"),
    **dict.fromkeys("UST", "text"),
    **dict.fromkeys("Mm", "dates"),
    "b": "booleans",
    "c": "complex",
}
_SUBJECTS = {"features": "The features have", "target": "The target has"}


class _Column(NamedTuple):
    """One column: its values in the simplest dtype that holds them, and what they are."""

    values: np.ndarray
    kind: Kind


def _is_missing(value: object) -> bool:
    if isinstance(value, float | np.floating | Decimal):
        return bool(value != value)
    # pandas' own markers, told by name so that pandas need not be there.
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _simplify(values: np.ndarray) -> np.ndarray:
    """An object array of booleans, numbers or strings as an array of that kind, else as it was.

    Missing values become NaN among numbers and booleans.
    """
    missing = [_is_missing(value) for value in values]
    present = [value for value, gone in zip(values, missing, strict=True) if not gone]

    def every(*types: type) -> bool:
        return all(isinstance(value, types) for value in present)

    if present and not any(missing) and (every(str) or every(bool, np.bool_) or every(Integral)):
        simple = np.array(present)
        return values if simple.dtype == object else simple  # beyond 64 bits
    if every(Real, Decimal, np.bool_) or every(Complex):
        kind = float if every(Real, Decimal, np.bool_) else complex
        return np.array([_number(value, kind) for value in values])
    return values


def _number(value: Any, kind: type[float] | type[complex]) -> complex:
    """A value as a number: NaN if it is missing, infinity for an integer beyond all floats."""
    if _is_missing(value):
        return math.nan
    try:
        return kind(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _column(values: Any) -> _Column:
    """Tell what a one-dimensional array or pandas Series holds."""
    try:
        array = np.asarray(values)
    except Exception as error:  # pyarrow's, for bytes that are no text
        raise DataError(f"A column cannot be read ({first_sentence(error)}).") from error
    if array.dtype == object:
        array = _simplify(array)
    if str(getattr(values, "dtype", "")) == "category":
        return _Column(array, "categories")
    kind = _KINDS.get(array.dtype.kind, "objects")
    if kind == "objects" and any(isinstance(value, str) for value in array):
        kind = "text"
    return _Column(array, kind)


def _example(column: _Column) -> str:
    """A value that shows why the column is not one of numbers."""
    present = [value for value in column.values if not _is_missing(value)]
    odd = (value for value in present if isinstance(value, str) and not is_number(value))
    return repr(str(next(odd, present[0] if present else None))[:40])


def _columns(table: Any) -> list[_Column]:
    """The columns of a two-dimensional array or DataFrame, or a vector as one column."""
    if table.ndim == 1:
        return [_column(table)]
    cells = table.iloc if _is_pandas(table) else table
    return [_column(cells[:, index]) for index in range(table.shape[1])]


def _is_pandas(values: Any) -> bool:
    """Whether this is a pandas DataFrame or Series (told without importing pandas)."""
    return hasattr(values, "iloc") and hasattr(values, "to_numpy")


def _as_array(values: Any, name: str) -> np.ndarray:
    """An array-like as an array; columns of mixed kinds keep theirs, as objects."""
    if hasattr(values, "toarray"):
        raise DataError(f"{name} is a sparse matrix: make it dense with {name}.toarray().")
    try:
        array = np.asarray(values)
        # NumPy turns [[1, "a"]] into text throughout, which hides which column is to blame.
        if array.dtype.kind in "US" and not hasattr(values, "dtype"):
            array = np.asarray(values, dtype=object)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{name} is no array ({first_sentence(error)}): give rows of equal length."
        ) from error
    return array


def check_features(
    x: Any,
    feature_names: Sequence[str] | None = None,
    *,
    min_rows: int = 1,
    dtype: type[np.floating] = np.float32,
) -> Features:
    """Check that `x` can be learned from, and return it as an array [N, I] of `dtype`.

    `x` is anything like an array of rows, a DataFrame included; booleans become 0 and 1. The
    names are those given, else the DataFrame's, else column_0, column_1, ...; constant columns
    and columns whose variation `dtype` hardly resolves are noted.

    Raises a `DataError` that names the columns for text, dates, categories, objects, complex
    numbers, NaN, infinity and values beyond the range of `dtype`; and for wrong shapes, fewer
    than `min_rows` rows and zero features.
    """
    columns = getattr(x, "columns", None) if feature_names is None else feature_names
    x = x if _is_pandas(x) else _as_array(x, "X")
    _check_shape(x.shape, min_rows)
    names = _feature_names(columns, x.shape[1])
    numeric = isinstance(x, np.ndarray) and x.dtype.kind in "biuf"
    table = x if numeric else _stack(_columns(x), names, "features")
    array, notes = _finite(table, names, "features", dtype)
    return Features(array, names, notes)


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
    _check_length(len(columns[0].values), n_rows, name)
    _refuse_gaps([column.values for column in columns], names, "target")
    notes: tuple[str, ...] = ()
    if task is None:
        task, note = _infer(columns, name)
        notes = (note,)
    if task == "classification":
        codes, classes, more = _classes(columns, name, min_classes)
        return Targets(name, codes, task, classes, notes + more)
    numbers = _stack(columns, names, "target")
    values, more = _finite(numbers, names, "target", dtype)
    return Targets(name, values, task, None, notes + more)


def infer_task(y: Any, name: str = "y") -> tuple[Task, str]:
    """Tell the task from the target, and say why in a sentence.

    Text, booleans, categories, and whole numbers (of an integer type) with at most 20 distinct
    values, each on average at least twice or only two of them, are classes. Everything else is
    a regression: other whole numbers, floating-point numbers, and several columns.
    """
    return _infer(_target_columns(y, name), name)


def _check_shape(shape: tuple[int, ...], min_rows: int) -> None:
    if len(shape) != 2:
        advice = "X.reshape(-1, 1) if it is one feature, X.reshape(1, -1) if it is one row"
        raise DataError(
            f"Expected X with 2 dimensions, rows and features, got {len(shape)} (shape={shape}): "
            f"Reshape your data with {advice if len(shape) < 2 else 'X.reshape(len(X), -1)'}."
        )
    if shape[1] == 0:
        raise DataError(
            f"Found 0 feature(s) (shape={shape}) while a minimum of 1 is required: "
            f"give at least one column besides the target."
        )
    if shape[0] < min_rows:
        raise DataError(
            f"Found {counted(shape[0], 'row')} (n_samples={shape[0]}) while a minimum of "
            f"{min_rows} is required: give more rows."
        )


def _feature_names(names: Iterable[object] | None, n_features: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"column_{index}" for index in range(n_features))
    found = tuple(str(name) for name in names)
    if len(found) != n_features:
        raise DataError(
            f"There are {counted(len(found), 'feature name')} for {counted(n_features, 'column')} "
            f"of X: give one name per column."
        )
    return found


def _stack(columns: Sequence[_Column], names: Sequence[str], what: str) -> np.ndarray:
    """Columns of numbers or booleans side by side; a `DataError` names the others."""
    odd: dict[str, list[int]] = {}
    for index, column in enumerate(columns):
        if column.kind not in ("numbers", "booleans"):
            odd.setdefault(column.kind, []).append(index)
    if "complex" in odd:
        found = _columns_phrase([names[index] for index in odd["complex"]])
        raise DataError(
            f"Complex data not supported (in {found}): give real and imaginary parts apart."
        )
    if not odd:
        return np.column_stack([column.values for column in columns])
    phrases = [
        f"{kind} in {_columns_phrase([names[index] for index in found])} "
        f"(such as {_example(columns[found[0]])})"
        for kind, found in odd.items()
    ]
    advice = "turn them into numbers (one-hot encoding: pandas.get_dummies) or leave them out"
    if what == "features" and "objects" in odd:
        reason = "an argument must be neither object nor string but a number"
        raise DataTypeError(f"{_SUBJECTS[what]} {joined(phrases)}: {advice}, for {reason}.")
    if what == "target":
        advice = "a regression needs numbers, so choose another target or a classification"
    raise DataError(f"{_SUBJECTS[what]} {joined(phrases)}: {advice}.")


def _finite(
    table: np.ndarray, names: Sequence[str], what: str, dtype: type[np.floating]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The table [N, I] as `dtype`, once every value is finite and within its range, and notes."""
    # Extremes alone show NaN, infinity and overflow: no temporary as large as the table.
    low, high = table.min(axis=0).astype(np.float64), table.max(axis=0).astype(np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        _refuse_gaps([table[:, index] for index in range(table.shape[1])], names, what)
    size = np.maximum(np.abs(low), np.abs(high))
    limit, eps = float(np.finfo(dtype).max), float(np.finfo(dtype).eps)
    if (size > limit).any():
        raise DataError(
            f"{_SUBJECTS[what]} values up to {size.max():.3g} in "
            f"{_columns_phrase(names, size > limit)}, beyond the {limit:.3g} of {dtype.__name__}: "
            f"rescale first."
        )
    notes = []
    constant = low == high
    if constant.any():
        notes.append(f"{_SUBJECTS[what]} a single value in {_columns_phrase(names, constant)}.")
    # Below 1000 steps of `dtype` from the lowest to the highest value, rounding shows.
    coarse = ~constant & (high / 2 - low / 2 < 500 * eps * size)
    if coarse.any():
        notes.append(
            f"{_SUBJECTS[what]} values too close together for their size to be told apart well in "
            f"{dtype.__name__} in {_columns_phrase(names, coarse)}: subtract the mean first."
        )
    return np.ascontiguousarray(table, dtype=dtype), tuple(notes)


def _gaps(values: np.ndarray) -> tuple[int, int]:
    """How many values are missing (or NaN), and how many are infinite."""
    if values.dtype.kind == "f":
        return int(np.isnan(values).sum()), int(np.isinf(values).sum())
    if values.dtype.kind in "mM":
        return int(np.isnat(values).sum()), 0
    if values.dtype.kind == "O":
        return sum(_is_missing(value) for value in values), 0
    return 0, 0


def _refuse_gaps(columns: Sequence[np.ndarray], names: Sequence[str], what: str) -> None:
    """Raise a `DataError` that names the columns with missing or infinite values."""
    found: dict[str, list[str]] = {"missing values (NaN)": [], "infinity": []}
    for name, values in zip(names, columns, strict=True):
        for word, count in zip(found, _gaps(values), strict=True):
            if count:
                found[word].append(f"{short(name)} ({count} of {counted(len(values), 'row')})")
    phrases = [
        f"{word} in column{'s' if where[1:] else ''} {joined(where)}"
        for word, where in found.items()
        if where
    ]
    if phrases:
        mend = "drop those rows" + (" or fill them in (impute)" if what == "features" else "")
        raise DataError(f"{_SUBJECTS[what]} {joined(phrases)}: {mend} first.")


def _target_columns(y: Any, name: str) -> list[_Column]:
    """The columns of a target, one per output."""
    if y is None:
        raise DataError("Learning requires y to be passed, but the target y is None.")
    if not _is_pandas(y):
        y = _as_array(y, name)
    if np.ndim(y) not in (1, 2):
        raise DataError(
            f"Expected {name} with one value per row, or one row of outputs, got "
            f"{counted(np.ndim(y), 'dimension')} (shape={np.shape(y)})."
        )
    if 0 in y.shape:
        raise DataError(f"{name} is empty (shape={y.shape}): give one target per row.")
    return _columns(y)


def _check_length(length: int, n_rows: int | None, name: str, x_name: str = "X") -> None:
    if n_rows is not None and length != n_rows:
        raise DataError(
            f"{name} has {counted(length, 'value')} but {x_name} has {counted(n_rows, 'row')}: "
            f"give one target per row."
        )


def _infer(columns: Sequence[_Column], name: str) -> tuple[Task, str]:
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
    return task, f"Taken as a {task}, because the target {name!r} {why}{hint}."


def _classes(
    columns: Sequence[_Column], name: str, min_classes: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Codes [N] int32, sorted labels, notes."""
    if len(columns) > 1:
        raise DataError(
            f"A classification needs one label per row, but the target {name!r} has "
            f"{len(columns)} columns: give labels, not one column per class."
        )
    values, kind = columns[0]
    if kind == "numbers" and (values % 1 != 0).any():
        raise DataError(
            f"The target {name!r} holds fractional numbers such as {values[values % 1 != 0][0]:g} "
            f"(Unknown label type: continuous): use a regression, or round them to classes."
        )
    try:
        classes, codes = np.unique(values, return_inverse=True)
    except TypeError as error:
        raise DataError(
            f"The target {name!r} mixes values of different types "
            f"(Unknown label type: {kind}): make all labels text or all of them numbers."
        ) from error
    if len(classes) < min_classes:
        raise DataError(
            f"The target {name!r} has only one class, {str(classes[0])!r}: "
            f"give rows of at least two classes."
        )
    doubt = f"The target {name!r} has {len(classes)} classes in {len(values)} rows: is it right?"
    many = len(classes) > max(2, len(values) / 2)
    return codes.astype(np.int32), classes, (doubt,) if many else ()


# --- Data sets known by name -------------------------------------------------------------


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


Rows = tuple[np.ndarray | slice, np.ndarray | slice]


def _dataset(
    name: str, features: Features, targets: Targets, rows: Rows, images: bool = False
) -> Dataset:
    """A data set of the given rows for training and for testing."""
    train, test = rows
    return Dataset(
        name=name,
        task=targets.task,
        x=features.x[train],
        y=targets.y[train],
        x_test=features.x[test],
        y_test=targets.y[test],
        classes=targets.classes,
        feature_names=features.names,
        target_name=targets.name,
        images=images,
        notes=targets.notes + features.notes,
    )


def _random_rows(targets: Targets, options: _Options) -> Rows:
    codes = targets.y if targets.task == "classification" else None
    return split_rows(len(targets.y), options.test_fraction, options.seed, codes)


def _first_rows(n_train: int) -> Rows:
    return slice(0, n_train), slice(n_train, None)


def _coded(name: str, labels: np.ndarray, n_classes: int) -> Targets:
    """Targets that are class codes already."""
    return Targets(name, labels.astype(np.int32), "classification", np.arange(n_classes), ())


def _pixel_names(height: int, width: int) -> tuple[str, ...]:
    return tuple(f"pixel_{row}_{column}" for row in range(height) for column in range(width))


def _digits(name: str, options: _Options) -> Dataset:
    """scikit-learn's 1,797 images of 8 × 8 pixels, split at random."""
    pixels, labels = _digits_arrays()
    features = Features((pixels / 16).astype(np.float32), _pixel_names(8, 8), ())
    targets = _coded("digit", labels, 10)
    return _dataset(name, features, targets, _random_rows(targets, options), images=True)


def _digits_arrays() -> tuple[np.ndarray, np.ndarray]:
    """Pixels [1797, 64] and labels, from scikit-learn's file; importing it takes a second."""
    spec = find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            table = np.loadtxt(path, delimiter=",")
            return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    return digits.data, digits.target


def _half_moons(n: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, 2] and classes of two half circles that reach into each other.

    They are those of scikit-learn's `make_moons`, which takes a second to import.
    """
    rng, outer = np.random.RandomState(seed), n // 2
    at, to = np.linspace(0, np.pi, outer), np.linspace(0, np.pi, n - outer)
    above = np.column_stack([np.cos(at), np.sin(at)])
    below = np.column_stack([1 - np.cos(to), 0.5 - np.sin(to)])
    order = np.arange(n)
    rng.shuffle(order)
    x = np.concatenate([above, below])[order]
    return x + rng.normal(scale=noise, size=x.shape), (order >= outer).astype(np.int64)


def _moons(name: str, options: _Options) -> Dataset:
    """Two half-moons with noise 0.3; 10,000 test points make the test accuracy precise."""
    seeds = np.random.SeedSequence(options.seed).generate_state(2)
    parts = [_half_moons(n, 0.3, int(seed)) for n, seed in zip((2_000, 10_000), seeds, strict=True)]
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    features = Features(x.astype(np.float32), ("x0", "x1"), ())
    return _dataset(name, features, _coded("moon", y, 2), _first_rows(2_000))


_IDX_PARTS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_OPENML_NAMES = {"mnist": "mnist_784", "fashion-mnist": "Fashion-MNIST"}
# The first ten training labels tell the two sets apart: their files have the same names.
_FIRST_LABELS = {
    "mnist": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
    "fashion-mnist": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
}
_SYSTEM_FOLDER = Path("/usr/share/datasets")  # Debian's dataset-fashion-mnist


def _mnist(name: str, options: _Options) -> Dataset:
    """MNIST or Fashion-MNIST; pixels in [0, 1], the official test set as the test set."""
    folder = _find_idx_folder(name, options.data_dir)
    origin = "OpenML" if folder is None else str(folder)
    parts = _fetch_idx(name) if folder is None else _read_idx_folder(folder)
    _check_idx_set(name, parts, origin)
    images, labels, test_images, test_labels = parts
    pixels = np.concatenate([images, test_images]).reshape(-1, 28 * 28)
    x = np.divide(pixels, np.float32(255), dtype=np.float32)
    features = Features(x, _pixel_names(28, 28), (f"Read from {origin}.",))
    target_name = "digit" if name == "mnist" else "garment"
    targets = _coded(target_name, np.concatenate([labels, test_labels]), 10)
    return _dataset(name, features, targets, _first_rows(len(images)), images=True)


def _find_idx_folder(name: str, data_dir: Path | None) -> Path | None:
    """Where the files are; a `DataError` if a folder was named and does not hold them."""
    if data_dir is not None:
        folder = _idx_folder_in(data_dir, name)
        if folder is None:
            problem = "does not hold" if data_dir.is_dir() else "is no folder with"
            raise DataError(
                f"{str(data_dir)!r} {problem} the files of {name}: give --data-dir a folder with "
                f"{_IDX_PARTS[0]}.gz and the other three, or one with a folder {name}/ of them."
            )
        return folder
    places = [Path(os.environ.get("SENN_DATA") or _SYSTEM_FOLDER).expanduser(), _SYSTEM_FOLDER]
    return next(filter(None, (_idx_folder_in(place, name) for place in places)), None)


def _idx_folder_in(place: Path, name: str) -> Path | None:
    """The folder of the data set within `place`, or `place` itself unless it is another's."""
    folders = [place / name] + [place] * (place.name not in set(_OPENML_NAMES) - {name})
    found = (folder for folder in folders if any(_idx_file(folder, part) for part in _IDX_PARTS))
    return next(found, None)


def _idx_file(folder: Path, part: str) -> Path | None:
    files = (folder / f"{part}.gz", folder / part)
    return next((file for file in files if file.is_file()), None)


def _read_idx_folder(folder: Path) -> list[np.ndarray]:
    files = {part: _idx_file(folder, part) for part in _IDX_PARTS}
    lacking = [f"{part}.gz" for part, file in files.items() if file is None]
    if lacking:
        raise DataError(f"{str(folder)!r} lacks {quoted(lacking)}: put all four files there.")
    return [read_idx(file) for file in files.values() if file is not None]


def _check_idx_set(name: str, parts: Sequence[np.ndarray], origin: str) -> None:
    """Refuse four arrays that are not training and test images with their labels."""
    for part, images, labels in (("training", *parts[:2]), ("test", *parts[2:])):
        fits = images.ndim == 3 and images.shape[1:] == (28, 28)
        if not fits or labels.shape != images.shape[:1] or not labels.size > 0 or labels.max() > 9:
            raise DataError(
                f"The {part} set of {name} from {origin} has images of shape {images.shape} and "
                f"labels of shape {labels.shape} up to {labels.max(initial=0)}, not (N, 28, 28), "
                f"(N,) and 9: fetch the files again."
            )
    first = tuple(parts[1][:10].tolist())
    for other, labels in _FIRST_LABELS.items():
        if other != name and first == labels:
            raise DataError(
                f"{origin!r} holds {other}, not {name}: say where {name} is with --data-dir."
            )


def _fetch_idx(name: str) -> list[np.ndarray]:
    """The four arrays from OpenML, through scikit-learn and its cache."""
    from sklearn.datasets import fetch_openml  # a second; tables do without

    parser = "pandas" if find_spec("pandas") else "liac-arff"  # which takes minutes
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one for every retry
            openml_name = _OPENML_NAMES[name]
            bunch: Any = fetch_openml(openml_name, version=1, as_frame=False, parser=parser)
        images = np.asarray(bunch.data).astype(np.uint8).reshape(-1, 28, 28)
        labels = np.asarray(bunch.target).astype(np.uint8)
        if tuple(labels[:10].tolist()) != _FIRST_LABELS[name]:
            raise ValueError("its copy is not in the official order")
    except Exception as error:
        raise DataError(
            f"{name} is not on this machine and cannot be had from OpenML "
            f"({first_sentence(error)}): give the folder of {_IDX_PARTS[0]}.gz and the other "
            f"three files with --data-dir or in the environment variable SENN_DATA."
        ) from error
    train, test = _first_rows(60_000)
    return [images[train], labels[train], images[test], labels[test]]


# --- Files -------------------------------------------------------------------------------


def _table(path: Path, options: _Options) -> Dataset:
    """A .csv or .parquet file."""
    frame, notes = read_table(path)
    return _from_frame(path.name, frame, options, notes)


def _from_frame(name: str, frame: Any, options: _Options, notes: tuple[str, ...]) -> Dataset:
    names = [str(column) for column in frame.columns]
    if 0 in frame.shape:
        raise DataError(
            f"it has {counted(len(names), 'column')} and {counted(len(frame), 'row')}: "
            f"feature columns, a target column and rows of values are wanted."
        )
    index = _target_index(names, options.target)
    target_name = names.pop(index)
    table = frame.iloc[:, [column for column in range(frame.shape[1]) if column != index]]
    features = check_features(table, names, min_rows=MIN_ROWS)
    features = features._replace(notes=features.notes + notes)
    targets = check_targets(frame.iloc[:, index], task=options.task, name=target_name)
    return _dataset(name, features, targets, _random_rows(targets, options))


def _target_index(names: Sequence[str], target: str | None) -> int:
    if target is not None and target not in names:
        raise DataError(
            f"no column is called {target!r}{_close(target, names)}; the columns are "
            f"{quoted(names)}."
        )
    return len(names) - 1 if target is None else names.index(target)


def _npz(path: Path, options: _Options) -> Dataset:
    arrays = read_npz(path)
    y_names = ("y", "y_train") if options.target is None else (options.target,)
    x_key = _key(arrays, ("X", "x", "X_train", "x_train"), "features")
    y_key = _key(arrays, y_names, "target")
    x, y = arrays[x_key], arrays[y_key]
    _check_length(len(np.atleast_1d(y)), len(np.atleast_1d(x)), y_key, x_key)
    test = _test_arrays(arrays, x, y, y_key)
    if test is not None:
        x, y = np.concatenate([x, test[0]]), np.concatenate([y, test[1]])
    features = check_features(x, min_rows=MIN_ROWS)
    targets = check_targets(y, task=options.task, name=y_key)
    n_train = len(arrays[x_key])
    rows = _given_rows(targets, n_train) if test else _random_rows(targets, options)
    return _dataset(path.name, features, targets, rows)


def _test_arrays(
    arrays: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray, y_key: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """The file's own test set, if it has one that fits its training set."""
    x_key = "x_test" if "x_test" in arrays else "X_test"
    y_key = f"{y_key.removesuffix('_train')}_test"
    if (x_key in arrays) != (y_key in arrays):
        given, lacking = (x_key, y_key) if x_key in arrays else (y_key, x_key)
        raise DataError(f"it has {given!r} but no {lacking!r}: give both or neither.")
    if x_key not in arrays:
        return None
    for key, test, train in ((x_key, arrays[x_key], x), (y_key, arrays[y_key], y)):
        if test.ndim == 0 or test.shape[1:] != train.shape[1:]:
            raise DataError(
                f"{key!r} has shape {test.shape} but its training array {train.shape}: "
                f"only the number of rows may differ."
            )
        if {test.dtype.kind, train.dtype.kind} - set(
            "biuf"
        ) and test.dtype.kind != train.dtype.kind:
            raise DataError(
                f"{key!r} holds {test.dtype} but its training array {train.dtype}: make both alike."
            )
    _check_length(len(arrays[y_key]), len(arrays[x_key]), y_key, x_key)
    return arrays[x_key], arrays[y_key]


def _given_rows(targets: Targets, n_train: int) -> Rows:
    """The first `n_train` rows and the others, once every class is among the first."""
    train, test = _first_rows(n_train)
    if n_train < MIN_ROWS - 1 or n_train == len(targets.y):
        raise DataError(
            f"it has {counted(n_train, 'row')} to train on and {len(targets.y) - n_train} to test "
            f"with, while a minimum of {MIN_ROWS - 1} and 1 is required: give more rows."
        )
    if targets.classes is not None:
        unseen = np.setdiff1d(targets.y[test], targets.y[train])
        if len(unseen):
            raise DataError(
                f"the test rows hold classes that {targets.name!r} never has, "
                f"{quoted(targets.classes[unseen])}: add training rows of them, or drop those rows."
            )
    return train, test


def _key(arrays: Mapping[str, np.ndarray], names: Sequence[str], what: str) -> str:
    found = [name for name in names if name in arrays]
    if not found:
        raise DataError(
            f"no array is called {' or '.join(map(repr, names))} for the {what}; the arrays are "
            f"{quoted(arrays) or 'none at all'}."
        )
    return found[0]


# --- The entry -----------------------------------------------------------------------------

_NAMED = {"digits": _digits, "moons": _moons, "mnist": _mnist, "fashion-mnist": _mnist}
_FILES = {".csv": _table, ".parquet": _table, ".npz": _npz}
NAMES = tuple(_NAMED)
SUFFIXES = tuple(_FILES)
_CHOICES = f"choose one of {', '.join(NAMES)}, or a file ending in {' or '.join(SUFFIXES)}"


def load(
    source: str | os.PathLike[str],
    *,
    target: str | None = None,
    task: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Load a data set by name, or from a .csv, .parquet or .npz file.

    `digits`, `moons`, `mnist` and `fashion-mnist` are known by name. The files of the last two
    are looked for in `data_dir`, else in $SENN_DATA and where Debian puts them, else fetched from
    OpenML; their test set is the official one.

    In a table the column called `target`, else the last, is the target, and all others are
    features. A .npz file holds `X` and `y` (or the array called `target`), and may hold
    `X_test` and `y_test`. Else `test_fraction` of the rows is split off at random, stratified
    for classes, so that the same seed gives the same split. `task` overrules `infer_task`.

    Raises a `DataError` whose message is one sentence for everything that cannot be used.
    """
    folder = None if data_dir is None else Path(data_dir).expanduser()
    options = _check_options(target, task, folder, test_fraction, seed)
    name = os.fspath(source)
    if name.lower() in _NAMED:
        if target is not None or task == "regression":
            given = "another task" if target is None else f"target={target!r}"
            raise DataError(f"{name} is a classification with its own target: leave {given} out.")
        return _NAMED[name.lower()](name.lower(), options)
    path = Path(name).expanduser()
    _check_file(name, path)
    try:
        return _FILES[path.suffix.lower()](path, options)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{name}: it cannot be read ({first_sentence(error)}).") from error


def _check_options(
    target: str | None, task: str | None, data_dir: Path | None, test_fraction: float, seed: int
) -> _Options:
    if task not in (None, "classification", "regression"):
        raise DataError(f"task={task!r} is not known: choose 'classification' or 'regression'.")
    if not isinstance(test_fraction, Real) or not 0 < test_fraction < 1:
        raise DataError(f"test_fraction={test_fraction!r} is not between 0 and 1: try 0.2.")
    if not isinstance(seed, Integral) or not 0 <= seed <= _MAX_SEED:
        raise DataError(f"seed={seed!r} is not a whole number from 0 to {_MAX_SEED}.")
    return _Options(target, task, data_dir, float(test_fraction), int(seed))


def _check_file(name: str, path: Path) -> None:
    """Refuse what is not a file of a known kind; `name` is what the user wrote."""
    if name and os.path.isdir(path):
        raise DataError(f"{name!r} is a folder, where data are wanted: {_CHOICES}.")
    suffix = path.suffix.lower()
    if suffix in _FILES:
        if not os.path.exists(path):
            folder = path.parent
            files = [file.name for file in folder.iterdir()] if os.path.isdir(folder) else []
            raise DataError(f"There is no file {name!r}{_close(path.name, files)}: check the path.")
        return
    if name and (os.path.exists(path) or suffix):
        raise DataError(
            f"{name!r} is a file of an unknown kind ({suffix or 'no ending'}): {_CHOICES}."
        )
    raise DataError(f"There are no data called {name!r}{_close(name, NAMES)}: {_CHOICES}.")
