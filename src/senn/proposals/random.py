"""Random units: the control that every search must beat."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from senn.proposals.base import AbstractMaximizer
from senn.proposals.problem import Units
from senn.proposals.spread import AnyProblem
from senn.proposals.units import draw_units


class Random(AbstractMaximizer):
    """The best of `candidates` random draws; with one candidate, a plain random unit."""

    at_positions: ClassVar[bool] = True

    candidates: int = 1

    def search(self, problem: AnyProblem, key: PRNGKeyArray) -> Units:
        """Candidates as drawn."""
        return draw_units(problem, self.candidates, key)
