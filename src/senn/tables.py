"""What tables are trained with, unless someone says otherwise.

Tables are inputs that are prepared robustly (`standardize="robust"`). Chosen together on rows held
out from the training rows of thirteen tables; docs/design/tables.md has what each is worth.
"""

from typing import Any

from senn.policy import Policy

ROBUST = "robust"
BINS_OF_CLASSES, BINS_OF_NUMBERS = 8, 16  # intervals that a column is coded by
ROWS_AN_INPUT = 6  # at least, with codes: with fewer rows codes learn their noise
MOST_INPUTS = 512  # with codes: for more, K-FAC's factor of the inputs is no longer exact
SMOOTHING = 0.1  # of labels

# As long as anything is gained at all: codes let many units each gain a little. A layer asks for
# as much as by other policies' α.
POLICY = Policy(alpha=1e-4, confidence=0.0, patience=16, layer_cost=300.0)


def is_table(estimator: Any) -> bool:
    """Whether an estimator is asked to prepare its inputs robustly; a `ValueError` for nonsense."""
    known = estimator.standardize
    if known not in (True, False, ROBUST):
        raise ValueError(f'standardize must be "{ROBUST}", True or False; got {known!r}.')
    return known == ROBUST


def policy_of(estimator: Any) -> Policy:
    """The policy of an estimator, or what None stands for."""
    usual = POLICY if estimator.standardize == ROBUST else Policy()
    return usual if estimator.policy is None else estimator.policy
