"""What every search has in common, and what it has to bring."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from senn.actions import AbstractAction
from senn.arrays import split_key, split_keys
from senn.blocks import joined
from senn.proposals.choice import Choice, apart, choose, mean_of
from senn.proposals.problem import Found, Problem, Units
from senn.proposals.sample import Sample
from senn.proposals.units import activations, gained, outgoing


def search_keys(key: PRNGKeyArray, count: int) -> tuple[PRNGKeyArray, Key[Array, " count"]]:
    """Keys for a search and for `count` selections, split on the host: programs need not."""
    first, second = split_key(key, 2)
    return first, split_keys(second, count)


class AbstractProposer(eqx.Module):
    """A search for new units."""

    candidates: eqx.AbstractVar[int]
    in_blocks: ClassVar[bool] = False  # whether rows that only fill a sample up cost it no time
    at_positions: ClassVar[bool] = False  # whether it takes a `SpreadProblem`, too, as of channels

    def at(
        self,
        network: Any,  # noqa: ARG002
        action: AbstractAction,  # noqa: ARG002
        readers: Sequence[Any],  # noqa: ARG002
    ) -> "AbstractProposer":
        """The search for units of one place, `readers` being what the maps that read them see.

        By default it is the same everywhere: a problem tells all that the score depends on.
        """
        return self

    @abstractmethod
    def search(self, problem: Any, key: PRNGKeyArray) -> Units:
        """Candidates, optimised on the fitting sample of a `Problem`."""

    @abstractmethod
    def select(
        self, relative_scores: Float[Array, " P"], key: PRNGKeyArray
    ) -> tuple[Int[Array, ""], Int[Array, " S"], Float[Array, " S"]]:
        """The chosen candidate, and those whose weighted mean is the judged score."""

    def propose(self, problem: Problem, key: PRNGKeyArray, count: int = 1) -> Found:
        """Search, select on the fitting sample, judge on the held-out one: one compiled call.

        With `count` > 1 as many units are selected in turn, each scored by what it explains
        beyond those before it; the scores of the first k add up to the Δη′ of all k.
        """
        return self.found(problem, *search_keys(key, count))

    @eqx.filter_jit
    def found(
        self, problem: Problem, search_key: PRNGKeyArray, keys: Key[Array, " count"]
    ) -> Found:
        """What `propose` returns: a key for the search, and one for each selection."""
        count = keys.shape[0]
        if problem.square and count > 1:
            raise ValueError(f"Square layers are proposed one at a time; got count={count}.")
        units = self.search(problem, search_key)
        if problem.units.shape[0] > 1:
            return self._judged(problem, units, keys[0])
        samples = read_by(problem, outputs(problem, units))
        choice = self.choose(*samples, problem.ridge, keys)
        return found_by(choice, units)

    def choose(
        self, fit: Sample, held_out: Sample, ridge: Float[Array, ""], keys: Key[Array, " count"]
    ) -> Choice:
        """One after another of the single units that these samples read, a key for each."""
        return choose(self.select, fit, held_out, ridge, keys)

    def _judged(self, problem: Problem, units: Units, key: PRNGKeyArray) -> Found:
        """The selected proposal of several units."""
        here = activations(problem, units, problem.fit)
        C, V = outgoing(problem, here)
        fit_scores = jnp.sum(C * V, axis=(1, 2))
        index, judged, weights = self.select(fit_scores / problem.fit.scale, key)
        there = activations(problem, jax.tree.map(lambda u: u[judged], units), problem.held_out)
        gains = mean_of(weights[:, None], apart(gained(problem.held_out, there, V[judged])))
        score, stderr = problem.held_out.mean_and_error(gains)
        rms = jnp.sqrt(jnp.mean(here[index] ** 2, axis=0))
        chosen = jax.tree.map(lambda u: u[index], units)
        found = Found(chosen, mean_of(weights, fit_scores[judged]), score, stderr, rms)
        return jax.tree.map(lambda v: v[None], found)


class AbstractMaximizer(AbstractProposer):
    """A search that ends with the candidate that scores highest on the fitting sample."""

    def select(
        self,
        relative_scores: Float[Array, " P"],
        key: PRNGKeyArray,  # noqa: ARG002
    ) -> tuple[Int[Array, ""], Int[Array, " S"], Float[Array, " S"]]:
        """The best on the fitting sample, judged by itself."""
        index = jnp.argmax(jnp.nan_to_num(relative_scores, nan=-jnp.inf))
        return index, index[None], jnp.ones(1, relative_scores.dtype)


def outputs(problem: Problem, units: Units) -> tuple[Float[Array, "N P"], Float[Array, "M P"]]:
    """What a map that reads the candidates sees of them on both samples."""

    def read(sample: Sample):
        return activations(problem, units, sample)[..., 0].T, ()

    here, there = (sample.walk(read)[0] for sample in (problem.fit, problem.held_out))
    return joined(here), joined(there)


def read_by(problem: Problem, seen: tuple[Any, Any]) -> tuple[Sample, Sample]:
    """Both samples as a map has them that sees `outputs`, or shapes of those."""
    samples = problem.fit, problem.held_out
    here, there = (of._replace(a=a) for of, a in zip(samples, seen, strict=True))
    return here, there


def found_by(choice: Choice, units: Units) -> Found:
    """The candidates that were chosen."""
    chosen, fit_score, score, stderr, rms = choice
    units = jax.tree.map(lambda u: u[chosen], units)
    return Found(units, fit_score, score, stderr, rms[:, None])
