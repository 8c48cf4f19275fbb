"""scikit-learn's own checks of an estimator, in float32 as users run it.

Two classes, so that two processes share them.
"""

import jax
import jaxtyping
import pytest
from sklearn.utils.estimator_checks import (
    check_sample_weight_equivalence_on_dense_data,
    check_sample_weight_equivalence_on_sparse_data,
    parametrize_with_checks,
)

from senn import SENNClassifier, SENNRegressor

# No room to grow, so that what is compiled is only the steps.
SMALL = {"hidden_sizes": (2,), "max_units": 2, "max_iter": 30}
DRAWS = (
    "KFAC draws from the output metric once a row, so a row repeated draws more than once; "
    "natural gradient by conjugate gradients draws nothing, and passes below"
)
REASONS = {f"check_sample_weight_equivalence_on_{kind}_data": DRAWS for kind in ("dense", "sparse")}


@pytest.fixture(autouse=True)
def _as_users_run_it(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with jax.enable_x64(False):
        yield


def checks_of(estimator):
    return parametrize_with_checks(
        [estimator], expected_failed_checks=lambda _: REASONS, xfail_strict=True
    )


class TestClassifier:
    @checks_of(SENNClassifier(**SMALL))
    def test_a_classifier(self, estimator, check):
        check(estimator)


class TestRegressor:
    @checks_of(SENNRegressor(**{**SMALL, "max_iter": 100}))  # its steps are short: `kl_clip`
    def test_a_regressor(self, estimator, check):
        check(estimator)


@pytest.mark.parametrize("make", [SENNClassifier, SENNRegressor])
@pytest.mark.parametrize(
    "check",
    [check_sample_weight_equivalence_on_dense_data, check_sample_weight_equivalence_on_sparse_data],
)
def test_weights_are_as_good_as_repeated_rows(make, check):
    """As scikit-learn checks its own networks: with an optimiser that draws nothing."""
    estimator = make(**SMALL, optimizer="natural_gradient")
    with jax.enable_x64(True):
        check(make.__name__, estimator)
