"""How rows are prepared: scales, bounds and codes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from senn import rescaling
from senn.preparation import scaled
from senn.rescaling import (
    BOUND,
    CODE_SCALE,
    names_of,
    quantiles,
    robust,
    scale_of,
    seen,
    standardised,
    width_of,
)


def table(seed, n):
    """Columns on very different scales, the last two constant."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)) * 10.0 ** rng.integers(-3, 7, 5) + 10.0 ** rng.integers(-3, 3, 5)
    x[:, 3], x[:, 4] = 0.1, 0.0
    return x


def mixed(seed, n):
    """Columns of many kinds: continuous, heavy-tailed, mostly zero, few values, two, one."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-3, 5)
    columns = [
        rng.normal(size=n) * scale + 100 * scale, rng.standard_cauchy(n) * scale,
        np.where(rng.uniform(size=n) < 0.8, 0, rng.exponential(size=n)) * scale,
        rng.integers(0, 4, n), rng.integers(0, 2, n), 5 + 7 * rng.integers(0, 2, n),
        np.full(n, 0.1),
    ]  # fmt: skip
    return np.stack(columns, axis=1).astype(float)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_scales_are_those_of_scikit_learn(seed, n):
    x = table(seed, n)
    mean, scale = scale_of(x, np.ones(n))
    wanted = StandardScaler().fit(x)
    np.testing.assert_allclose(mean, wanted.mean_, rtol=1e-12)
    np.testing.assert_allclose(scale, wanted.scale_, rtol=1e-9)
    for found in (scaled((mean, scale), x, np.float64), standardised(x, np.ones(n))(x)):
        np.testing.assert_allclose(found, wanted.transform(x), rtol=1e-8, atol=1e-8)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_a_weight_of_three_is_three_rows(seed, n):
    x, weight = table(seed, n), np.random.default_rng(seed).integers(0, 4, n)
    weight[:2] = 1, 3
    for found, wanted in zip(
        scale_of(x, weight),
        scale_of(np.repeat(x, weight, axis=0), np.ones(weight.sum())),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_scales_do_not_depend_on_the_blocks_in_which_rows_are_read(monkeypatch):
    x = np.random.default_rng(0).normal(3, 2, size=(1000, 4)).astype(np.float32)
    weight = np.arange(1000) % 3 + 0.0
    whole = scale_of(x, weight)
    seen = scaled(whole, x, np.float32)
    monkeypatch.setattr(rescaling, "ROWS_AT_ONCE", 7)
    for found, wanted in zip(scale_of(x, weight), whole, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)
    np.testing.assert_array_equal(scaled(whole, x, np.float32), seen)
    assert seen.dtype == np.float32


# --- robust scales, bounds and codes -------------------------------------------------------


def slowly(x, weight, bins, most):
    """What `robust` prepares of x itself, value by value, of whole weights."""
    columns, codes = [], []
    repeated = np.repeat(x, weight, axis=0)
    bins = min(bins, (most - x.shape[1]) // max(sum(len(set(c)) > 2 for c in x.T), 1))
    for i in range(x.shape[1]):
        given, values = repeated[:, i], sorted(repeated[:, i])
        total = len(values)

        def quantile(share, values=values, total=total):
            return next(v for k, v in enumerate(values, 1) if k >= share * total * (1 - 1e-12))

        low, high = values[0], values[-1]
        if len(set(values)) <= 2:
            shift, unit = np.mean(given), high - low or 1.0
        else:
            shift, spread = quantile(0.5), (quantile(0.75) - quantile(0.25)) / 1.3489795003921634
            unit = spread if spread > 0 else (high - low) / 2
        z = [(v - shift) / unit for v in x[:, i]]
        columns.append([v / (1 + (v / 3) ** 2) ** 0.5 for v in z])
        if len(set(values)) <= 2 or bins < 2:
            continue
        edges = sorted({quantile(k / bins) for k in range(bins + 1)})
        for a, b in pairwise(edges):
            of_all = np.array([min(max((v - a) / (b - a), 0), 1) for v in given])
            own = np.array([min(max((v - a) / (b - a), 0), 1) for v in x[:, i]])
            deviation = of_all.std()
            codes.append(CODE_SCALE * (own - of_all.mean()) / (deviation or 1.0))
    return np.array([*columns, *codes]).T


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(3, 60),
    st.sampled_from([0, 2, 3, 8, 16]),
    st.sampled_from([5, 20, 50, 512]),
)
def test_rows_are_prepared_as_they_are_value_by_value(seed, n, bins, most):
    x, weight = mixed(seed, n), np.random.default_rng(seed).integers(1, 4, n)
    made = robust(x, weight, bins, most)
    wanted = slowly(x, weight, bins, most)
    assert width_of(made) == wanted.shape[1] == made(x).shape[1]
    np.testing.assert_allclose(made(x), wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(seen(made, x, np.float32), made(x).astype(np.float32))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 60))
def test_a_weight_of_three_is_three_rows_for_quantiles_too(seed, n):
    x, weight = mixed(seed, n), np.random.default_rng(seed).integers(1, 4, n)
    again = np.repeat(x, weight, axis=0)
    for found, wanted in zip(
        robust(x, weight, 8, 512), robust(again, np.ones(len(again)), 8, 512), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_preparation_does_not_depend_on_the_blocks_in_which_rows_are_read(monkeypatch):
    x, weight = mixed(0, 1000), np.arange(1000) % 3 + 1.0
    whole = robust(x, weight, 8, 512)
    before = seen(whole, x, np.float32)
    monkeypatch.setattr(rescaling, "ROWS_AT_ONCE", 7)
    for found, wanted in zip(robust(x, weight, 8, 512), whole, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(seen(whole, x, np.float32), before)


def test_nothing_leaves_the_bound_however_large():
    x = mixed(0, 100)
    made = robust(x, np.ones(100), 8, 512)
    with np.errstate(all="raise"):
        far = made(np.array([[1.0], [-1.0]]) * np.full(7, 3e38))
    np.testing.assert_allclose(far[0, :7], BOUND)
    np.testing.assert_allclose(far[1, :7], -BOUND)
    assert np.isfinite(far).all()


@pytest.mark.parametrize("columns", [30, 100, 255, 300, 600])
def test_codes_are_fewer_where_there_would_be_too_many_inputs(columns):
    x = np.random.default_rng(0).normal(size=(50, columns))
    made = robust(x, np.ones(50), 16, 512)
    assert width_of(made) <= max(512, columns)
    room = (512 - columns) // columns
    assert len(made.column) == columns * (min(16, room) if room > 1 else 0)


def test_a_long_column_is_judged_by_every_nth_row(monkeypatch):
    x = np.random.default_rng(0).normal(size=10_000)
    shares = np.linspace(0, 1, 9)
    monkeypatch.setattr(rescaling, "ROWS_SORTED", 3000)
    few = quantiles(x[::4], np.ones(2500), shares)
    np.testing.assert_array_equal(quantiles(x, np.ones(10_000), shares), few)


def test_inputs_are_named_by_their_intervals():
    x = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [4.0, 0.0]])
    names = names_of(robust(x, np.ones(4), 2, 512), ["size", "red"])
    assert names == ["size", "red", "size 0 to 1", "size 1 to 4"]
    assert names_of(None, ["size"]) == ["size"]


def test_rounding_makes_no_intervals():
    days = np.arange(17_000.0, 17_300)
    cosines = np.cos(2 * np.pi * ((days / 7) % 1))
    x = np.column_stack([cosines, 1.7e9 + days, 1e-9 * days, 1.7e9 + 1e-3 * days])
    inputs = robust(x, np.ones(300), 16, 99)
    intervals = [int((inputs.column == i).sum()) for i in range(4)]
    assert intervals == [3, 16, 16, 16]  # 4 different cosines
    again = np.column_stack([np.cos(2 * np.pi * (days / 7)), *x.T[1:]])  # the same, rounded
    assert np.abs(x - again).max() > 0
    np.testing.assert_allclose(inputs(again), inputs(x), atol=1e-8)
