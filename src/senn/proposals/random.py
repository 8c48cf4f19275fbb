"""Random units: the control that every search must beat."""

from jaxtyping import Array, Float, Int, PRNGKeyArray

from senn.proposals.base import AbstractProposer, Problem, Units, draw_units, select_best


class Random(AbstractProposer):
    """The best of `candidates` random draws; with one candidate, a plain random unit."""

    candidates: int = 1

    def search(self, problem: Problem, key: PRNGKeyArray) -> Units:
        """Candidates as drawn."""
        return draw_units(problem, self.candidates, key)

    def select(
        self,
        relative_scores: Float[Array, " P"],
        key: PRNGKeyArray,  # noqa: ARG002
    ) -> tuple[Int[Array, ""], Float[Array, " P"]]:
        """The best on the fitting sample."""
        return select_best(relative_scores)
