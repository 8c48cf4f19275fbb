"""How a table's rows are prepared for a network: rescaled, bounded, and coded by where they lie.

What is learned here are plain arrays, `senn.standalone.numpy_predict.Inputs`, which go with the
network into its files and exports. NumPy alone.

Robust scaling with a smooth bound, and few values of a network's inputs for many of a column:
Holzmüller, Grinsztajn and Steinwart, "Better by default" (2024), and Gorishniy, Rubachev and
Babenko, "On embeddings for numerical features in tabular deep learning" (2022).
docs/design/tables.md has what each part is worth here.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from senn.standalone.numpy_predict import Inputs as Inputs

Scale = tuple[np.ndarray, np.ndarray]  # mean and scale, one number each a column, float64

BOUND = 3.0  # standard deviations, which rescaled columns never leave
CODE_SCALE = 0.5  # standard deviation of a code, so that several of a column weigh like the column
ROWS_AT_ONCE = 2**14
PIXELS = 2**22  # that say what the scale of images is, of more every n-th image
ROWS_SORTED = 2**17  # for quantiles, of longer tables every n-th row
ROUNDING = 1e-10  # of values in float64 that were computed, relative to how far apart they are
ULPS = 64  # and in units in the last place
NORMAL_QUARTILES = 1.3489795003921634  # how far apart they are, in standard deviations


def of_scale(scale: Scale) -> Inputs:
    """Columns less a mean, divided by a scale, and nothing besides."""
    none = np.zeros(0)
    return Inputs(*scale, np.array(np.inf), np.zeros(0, np.int64), none, none, none, none)


def standardised(x: np.ndarray, weight: np.ndarray) -> Inputs:
    """The columns of x [N, I] at mean 0 and variance 1, by rows of these weights.

    Of images [N, H, W, C] the columns are the channels.
    """
    if x.ndim > 2:
        places = x[0, ..., 0].size
        every = -(-len(x) * places // PIXELS)
        weight = np.repeat(weight[::every], places)
        x = x[::every].reshape(-1, x.shape[-1])
    return of_scale(scale_of(x, weight))


def robust(x: np.ndarray, weight: np.ndarray, bins: int, most: int) -> Inputs:
    """Columns rescaled by their quartiles and bounded, with codes of up to `bins` intervals each.

    A column of two values keeps their distance as its unit, and is shifted to mean 0. Others are
    shifted to median 0, and divided by the deviation of a normal distribution with their
    quartiles; by half their range, if those are one. The intervals are between quantiles, of
    columns that have more than two values; they are fewer if there would be more than `most`
    inputs. For all of it a row of weight 2 counts as two rows.
    """
    mean, _ = scale_of(x, weight)
    low, high = x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)
    two = _two_values(x, low, high)
    many = np.flatnonzero(~two)
    bins = _affordable(bins, most - x.shape[1], len(many))
    shift, scale = mean, np.where(high > low, high - low, 1.0)
    column, edges = [np.zeros(0, np.int64)], []
    shares = np.array([0.25, 0.5, 0.75, *np.linspace(0, 1, bins + 1)])
    for i in many:
        (lower, shift[i], upper), ends = np.split(quantiles(x[:, i], weight, shares), [3])
        spread = (upper - lower) / NORMAL_QUARTILES
        scale[i] = spread if spread > 0 else (high[i] - low[i]) / 2
        edges.append(_apart(np.unique(ends), upper - lower))
        column.append(np.full(len(edges[-1]) - 1, i))
    left = np.concatenate([np.zeros(0), *(e[:-1] for e in edges)])
    width = np.concatenate([np.zeros(0), *(np.diff(e) for e in edges)])
    plain = Inputs(shift, scale, np.array(BOUND), np.concatenate(column), left, width,
                   np.zeros(len(left)), np.ones(len(left)))  # fmt: skip
    mean, deviation = _moments(lambda rows: _codes(plain, rows), len(left), x, weight)
    return plain._replace(code_mean=mean, code_scale=deviation / CODE_SCALE)


def most_inputs(x: np.ndarray, bins: int, most: int) -> int:
    """The inputs that `robust` would make of such columns at most, if there were enough rows."""
    two = _two_values(x, x.min(axis=0), x.max(axis=0))
    coded = x.shape[1] - int(two.sum())
    return x.shape[1] + coded * _affordable(bins, most - x.shape[1], coded)


def seen(inputs: Inputs | None, x: np.ndarray, dtype: Any) -> np.ndarray:
    """Rows [N, I + K] as a network reads them, in `dtype`; None leaves them as they are.

    Or images.
    """
    if inputs is None:
        return x.astype(dtype, copy=False)
    result = np.empty((*x.shape[:-1], width_of(inputs)), dtype)
    for rows in blocks(len(x)):
        result[rows] = inputs(x[rows])
    return result


def width_of(inputs: Inputs) -> int:
    """How many inputs a network has for them, I + K."""
    return len(inputs.mean) + len(inputs.column)


def names_of(inputs: Inputs | None, features: Sequence[str]) -> list[str]:
    """What each of a network's inputs is called: a column, or an interval of one."""
    if inputs is None:
        return list(features)
    ends = zip(inputs.column, inputs.left, inputs.left + inputs.width, strict=True)
    return [*features, *(f"{features[i]} {a:.4g} to {b:.4g}" for i, a, b in ends)]


def scale_of(x: np.ndarray, weight: np.ndarray) -> Scale:
    """Weighted mean and standard deviation of the columns of x [N, I], in float64.

    As scikit-learn's `StandardScaler` has it: 1 for a column that is constant but for rounding.
    """
    return _moments(lambda rows: rows, x.shape[1], x, weight)


class Running(NamedTuple):
    """Moments of the columns of rows as they come, from which follows their scale."""

    rows: int
    weight: float  # of them all
    mean: np.ndarray  # [I]
    variance: np.ndarray  # [I]

    @classmethod
    def before(cls, inputs: Inputs, rows: int) -> "Running":
        """Of so many rows that had the scale of these inputs."""
        return cls(rows, float(rows), inputs.mean, inputs.scale**2)

    def with_more(self, x: np.ndarray, weight: np.ndarray) -> "Running":
        """Of these rows [N, I] too (Chan, Golub and LeVeque, 1979)."""
        mean, variance = _mean_and_variance(lambda rows: rows, x.shape[1], x, weight)
        total = self.weight + weight.sum(dtype=np.float64)
        new, away = 1 - self.weight / total, mean - self.mean
        return Running(
            self.rows + len(x),
            total,
            self.mean + new * away,
            (1 - new) * self.variance + new * variance + new * (1 - new) * away**2,
        )

    @property
    def constant(self) -> np.ndarray:
        """The columns [I] that had one value only, but for rounding."""
        return (self.weight > 0) & _constant(self.rows, self.mean, self.variance)

    @property
    def scale(self) -> Scale:
        """As `scale_of` has it."""
        return self.mean, np.where(self.constant, 1.0, np.sqrt(self.variance))


class Rereading(NamedTuple):
    """How inputs z of one scale follow from those of another, z′: z = stretch · z′ + shift."""

    stretch: np.ndarray  # [I]
    shift: np.ndarray  # [I]

    @classmethod
    def of(cls, old: Scale, new: Scale, unknown: np.ndarray) -> "Rereading":
        """From an old scale to a new one, which of columns `unknown` [I] has been so all along.

        Those had one value only, so that z was 0 by any scale: nothing was learned about it.
        """
        scale = np.where(unknown, new[1], old[1])
        return cls(new[1] / scale, (new[0] - old[0]) / scale)

    @property
    def changes(self) -> bool:
        """Whether any of them differ."""
        return bool((self.stretch != 1).any() or (self.shift != 0).any())

    def again(self, z: np.ndarray) -> np.ndarray:
        """Rows z [N, I] as z′."""
        return ((z - self.shift) / self.stretch).astype(z.dtype)

    @property
    def matrix(self) -> np.ndarray:
        """Of which (z′, 1) = matrix (z, 1)."""
        corner = np.diag(np.append(1 / self.stretch, 1.0))
        corner[:-1, -1] = -self.shift / self.stretch
        return corner


def quantiles(values: np.ndarray, weight: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The least values [Q] up to which that share of the weight [N] lies, in float64."""
    every = -(-len(values) // ROWS_SORTED)
    values, weight = values[::every], weight[::every]
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order], dtype=np.float64)
    wanted = np.searchsorted(total, shares * total[-1] * (1 - 1e-12))
    return values[order[wanted]].astype(np.float64)


def _two_values(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Whether each column [I] has two values at most."""
    two = np.ones(x.shape[1], bool)
    for rows in blocks(len(x)):
        two &= ((x[rows] == low) | (x[rows] == high)).all(axis=0)
    return two


def _apart(ends: np.ndarray, spread: float) -> np.ndarray:
    """Ends of intervals without those that only rounding tells from the one before.

    Sines of dates differ so; a code of such an interval would make 0 or 1 of rounding. Numbers far
    from zero, such as times, are as fine as doubles are there.
    """
    least = np.maximum(ULPS * np.spacing(np.abs(ends[1:])), ROUNDING * spread)
    return ends[np.append(True, np.diff(ends) > least)]


def _affordable(bins: int, room: int, coded: int) -> int:
    fitting = min(bins, room // coded) if coded and room > 0 else 0
    return fitting if fitting > 1 else 0  # one interval has nothing to add


def _codes(inputs: Inputs, rows: np.ndarray) -> np.ndarray:
    return inputs(rows)[:, len(inputs.mean) :]


def _moments(function: Any, columns: int, x: np.ndarray, weight: np.ndarray) -> Scale:
    """Weighted mean and standard deviation [C] of a function's columns, 1 for constant ones."""
    mean, variance = _mean_and_variance(function, columns, x, weight)
    return mean, np.where(_constant(len(x), mean, variance), 1.0, np.sqrt(variance))


def _mean_and_variance(function: Any, columns: int, x: np.ndarray, weight: np.ndarray) -> Scale:
    """Those of a function's columns [C], rows in blocks."""
    share = weight / weight.sum(dtype=np.float64)
    mean, variance = np.zeros(columns), np.zeros(columns)
    for rows in blocks(len(x)):
        mean += share[rows] @ function(x[rows]).astype(np.float64, copy=False)
    for rows in blocks(len(x)):
        variance += share[rows] @ (function(x[rows]) - mean) ** 2
    return mean, variance


def _constant(n: int, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    eps = np.finfo(np.float64).eps
    return variance <= n * eps * variance + (n * eps * mean) ** 2


def blocks(n: int) -> Iterator[slice]:
    """All rows, so many at a time that copies of them are small."""
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, n, ROWS_AT_ONCE))
