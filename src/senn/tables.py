"""What tables are trained with, unless someone says otherwise.

Tables are inputs that are prepared robustly (`standardize="robust"`). Chosen together on rows held
out from the training rows of thirteen tables; docs/design/tables.md has what each is worth.
"""

from numbers import Integral
from typing import Any

from senn import imaging
from senn.policy import Policy

ROBUST = "robust"
BINS_OF_CLASSES, BINS_OF_NUMBERS = 8, 16  # intervals that a column is coded by
ROWS_AN_INPUT = 6  # at least, with codes: with fewer rows codes learn their noise
MOST_INPUTS = 512  # with codes: for more, K-FAC's factor of the inputs is no longer exact
# Inputs that programs have room for at least: steps on half as many are little faster, and would be
# a program of their own to wait for (docs/design/programs.md).
ROOM = 128
SMOOTHING = 0.1  # of labels
# From the best network on, classes are annealed once more under each of these; kept rows choose.
PRIORS = ({"prior": 0.4, "tails": 1.0, "noise": 0.02}, {"prior": 0.1, "tails": 0.0, "noise": 0.02})
ANNEALED_AGAIN = 200  # steps
# Before that few rows need so few steps: annealed for longer they are overfitted, and it is from
# the best network that it begins. Beyond 20,000 rows the longer annealing is the better one.
FIRST_ANNEALED, FEW_ROWS = 30, 20_000
REFIT_OF_CLASSES, REFIT_OF_NUMBERS = 20, 60  # steps on all rows at the end; labels are overfitted

# As long as anything is gained at all: codes let many units each gain a little. A layer asks for
# as much as by other policies' α.
POLICY = Policy(alpha=1e-4, confidence=0.0, patience=16, layer_cost=300.0)


def priors_of(estimator: Any, classes: bool) -> tuple[dict[str, float], ...]:
    """Under which its networks are annealed once more; a budget of time leaves none for that."""
    return PRIORS if classes and is_table(estimator) and estimator.max_seconds is None else ()


def is_table(estimator: Any) -> bool:
    """Whether an estimator is asked to prepare its inputs robustly; a `ValueError` for nonsense."""
    if imaging.of_images(estimator):
        return False
    known = estimator.standardize
    if known not in (True, False, ROBUST):
        raise ValueError(f'standardize must be "{ROBUST}", True or False; got {known!r}.')
    return known == ROBUST


def smoothing_of(estimator: Any) -> float:
    """The share of each label that a classifier spreads over all classes."""
    given = estimator.label_smoothing
    if given is None:
        return SMOOTHING if is_table(estimator) else 0.0
    if not 0 <= given < 1:
        raise ValueError(f"label_smoothing must be in [0, 1); got {given!r}.")
    return float(given)


def refit_steps_of(estimator: Any, classes: bool) -> int:
    """Steps on all rows at the end."""
    given, table = estimator.refit_steps, is_table(estimator)
    if given is None:
        usual = REFIT_OF_CLASSES if classes else REFIT_OF_NUMBERS
        return usual if table else 0
    if not isinstance(given, Integral) or given < 0:
        raise ValueError(f"refit_steps must be a whole number of at least 0; got {given!r}.")
    return int(given)


def policy_of(estimator: Any) -> Policy:
    """The policy of an estimator, or what None stands for; nonsense beside it is `fit`'s to say."""
    if imaging.of_images(estimator):
        usual = imaging.POLICY
    else:
        usual = POLICY if estimator.standardize == ROBUST else Policy()
    return usual if estimator.policy is None else estimator.policy
