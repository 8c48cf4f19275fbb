"""Scales and splits of what training gets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from senn import preparation
from senn.preparation import scale_of, scaled, split


def table(seed, n):
    """Columns on very different scales, the last two constant."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)) * 10.0 ** rng.integers(-3, 7, 5) + 10.0 ** rng.integers(-3, 3, 5)
    x[:, 3], x[:, 4] = 0.1, 0.0
    return x


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_scales_are_those_of_scikit_learn(seed, n):
    x = table(seed, n)
    mean, scale = scale_of(x, np.ones(n))
    wanted = StandardScaler().fit(x)
    np.testing.assert_allclose(mean, wanted.mean_, rtol=1e-12)
    np.testing.assert_allclose(scale, wanted.scale_, rtol=1e-9)
    np.testing.assert_allclose(
        scaled((mean, scale), x, np.float64), wanted.transform(x), rtol=1e-8, atol=1e-8
    )


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
    monkeypatch.setattr(preparation, "ROWS_AT_ONCE", 7)
    for found, wanted in zip(scale_of(x, weight), whole, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)
    np.testing.assert_array_equal(scaled(whole, x, np.float32), seen)
    assert seen.dtype == np.float32


@pytest.mark.parametrize("classes", [None, np.repeat([0, 1, 2], [150, 45, 5])])
def test_rows_held_out_are_a_tenth_of_each_class(classes):
    train, held_out = split(0.1, classes, 200, seed=3)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), np.arange(200))
    assert len(held_out) == 20
    if classes is not None:
        found = np.bincount(classes[held_out], minlength=3)
        assert (np.abs(found - [15, 4.5, 0.5]) <= 1).all()
    again = split(0.1, classes, 200, seed=3)
    np.testing.assert_array_equal(again[0], train)
    assert (split(0.1, classes, 200, seed=4)[1] != held_out).any()


def test_few_rows_are_all_learned_from():
    train, held_out = split(0.1, None, 94, seed=0)
    assert (len(train), len(held_out)) == (94, 0)
