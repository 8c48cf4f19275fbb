"""Trained models made smaller: units leave by their prices, and training makes up for them."""

from copy import copy
from dataclasses import replace
from typing import Any, TypeVar

from senn.learner import Learner
from senn.tables import policy_of

Own = TypeVar("Own", bound=Learner)


def shrink(
    estimator: Own,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    max_units: int | None = None,
    max_parameters: int | None = None,
) -> Own:
    """A copy of a fitted estimator that is no larger than this, trained on with its own rows.

    The cheapest units leave first (`senn.score.removal_price`), a tenth of all at a time with steps
    of training in between; then the learning rate is annealed. Scales, classes and the rows kept
    apart for validation stay those of the estimator, if its `random_state` is a number.

    Args:
        estimator: a fitted `SENNClassifier` or `SENNRegressor`, or one that `senn.load` read; it
            is not changed.
        X: the rows that it was fitted on [N, I], or others of the same columns.
        y: their labels or numbers, as for `fit`.
        sample_weight: their weights, likewise.
        max_units: hidden units in all.
        max_parameters: active parameters. At least one of the two must be given.

    An ensemble (`n_estimators`) is made smaller as the one network that it is.

    Every hidden layer keeps a unit, unless it is beside what it reads and may leave whole: so there
    is a smallest size, and a `ValueError` names it. A model
    that is small enough already comes back as it is. For a network alone `senn.fit` does the same
    by a `Policy` whose budget is below its size.
    """
    check_budgets(estimator, max_units, max_parameters)
    smaller = copy(estimator)
    smaller.max_units, smaller.max_parameters = max_units, max_parameters
    if fits(estimator, max_units, max_parameters):
        return smaller
    smaller.policy = replace(policy_of(estimator), width=False, depth=False, prefer="grown")
    smaller.warm_start, smaller.n_estimators = True, 1
    try:
        smaller.fit(X, y, sample_weight)  # pyright: ignore[reportAttributeAccessIssue]
    finally:
        for name in ("policy", "warm_start", "n_estimators"):
            setattr(smaller, name, getattr(estimator, name))
    return smaller


def fits(estimator: Any, max_units: int | None, max_parameters: int | None) -> bool:
    """Whether it is small enough as it is."""
    few = max_units is None or sum(estimator.hidden_sizes_) <= max_units
    return few and (max_parameters is None or estimator.n_parameters_ <= max_parameters)


def check_budgets(estimator: Any, max_units: int | None, max_parameters: int | None) -> None:
    """A `ValueError` where no model of these layers could be so small."""
    if max_units is None and max_parameters is None:
        raise ValueError("shrink needs max_units or max_parameters; got neither.")
    network = estimator.network_
    least = tuple(int(n not in network.removable) for n in range(len(network.hidden_sizes)))
    for name, most, smallest in (
        ("max_units", max_units, sum(least)),
        ("max_parameters", max_parameters, network.parameters_with(least)),
    ):
        if most is not None and most < smallest:
            raise ValueError(
                f"{name} must be at least {smallest:,}, for of each hidden layer a unit stays, "
                f"unless it is beside what it reads; "
                f"got {most!r}."
            )
