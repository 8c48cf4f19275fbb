"""Probabilities of smoothed labels are given back by one temperature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from senn.calibration import SPREAD, temperature


def drawn(seed, n, t, K=4):
    """Logits, and classes drawn with the probabilities of the logits over t."""
    rng = np.random.default_rng(seed)
    y = 2 * rng.normal(size=(n, K))
    p = np.exp(log_softmax(y / t, axis=1))
    return y, np.array([rng.choice(K, p=row) for row in p])


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.floats(0.3, 1.5), st.floats(0.0, 0.3))
def test_it_is_the_best_there_is(seed, n, t, smoothing):
    y, codes = drawn(seed, n, t)
    weight = np.random.default_rng(seed).uniform(0, 2, n)

    def loss(log_t):
        each = -log_softmax(y / np.exp(log_t), axis=1)[np.arange(n), codes]
        return weight @ each + (log_t - 3 * np.log(1 - smoothing)) ** 2 / (2 * SPREAD**2)

    best = minimize_scalar(loss, bounds=(-2, 1), method="bounded", options={"xatol": 1e-9}).x
    assert np.log(temperature(y, codes, weight, smoothing)) == pytest.approx(best, abs=0.011)


@pytest.mark.parametrize("t", [0.5, 1.0, 2.0])
def test_many_rows_find_the_temperature(t):
    y, codes = drawn(0, 20_000, t)
    assert temperature(y, codes, np.ones(20_000), 0.1) == pytest.approx(t, rel=0.05)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_without_rows_it_is_what_is_usual(smoothing):
    found = temperature(np.zeros((0, 3)), np.zeros(0, int), np.zeros(0), smoothing)
    assert found == pytest.approx((1 - smoothing) ** 3)
