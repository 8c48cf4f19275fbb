"""Which candidates to take, one after another, and what each adds to those before it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from senn.linalg import diagonal
from senn.proposals.sample import Sample

DEPENDENT = 1e-5  # share of its power that a unit must keep beside those chosen before


class Choice(NamedTuple):
    """Candidates chosen in turn; the score of each is what it adds to those before it."""

    chosen: Int[Array, " count"]  # numbers of candidates
    fit_score: Float[Array, " count"]  # Δη′ on the fitting sample
    score: Float[Array, " count"]  # on the held-out sample
    stderr: Float[Array, " count"]  # standard error of `score`
    rms: Float[Array, " count"]  # root mean square of the outputs on the fitting sample


def choose(
    select: Callable,
    fit: Sample,
    held_out: Sample,
    ridge: Float[Array, ""],
    keys: Key[Array, " count"],
) -> Choice:
    """Choose by `select` (`AbstractProposer.select`), with a key for each turn.

    `a` of the samples is what the candidates output.
    """
    scale = fit.scale

    def turn(pool: _Pool, key):
        scores, V = pool.scores()
        index, judged, weights = select(scores / scale, key)
        usable = jnp.isfinite(scores[judged])
        scores, weights = jnp.where(usable, scores[judged], 0), jnp.where(usable, weights, 0)
        steps = apart(pool.there[judged] * (V[judged] @ held_out.r.T))  # [S, N]
        gains = held_out.mean_and_error(mean_of(weights[:, None], steps))
        return pool.without(index), (index, mean_of(weights, scores), *gains, pool.rms[index])

    return Choice(*jax.lax.scan(turn, _Pool.of(fit, held_out, ridge), keys)[1])


class _Pool(NamedTuple):
    """Units to choose from: what they add to those chosen before.

    Each choice is a step of Gaussian elimination on A_p + εI: that makes the scores of units
    in turn add up to the Δη′ of all of them together (theorem 2 holds for the set).
    """

    A: Float[Array, "P P"]  # E[a aᵀ] + εI on the fitting sample
    C: Float[Array, "P O"]  # E[a rᵀ] there
    there: Float[Array, "P N"]  # a on the held-out sample
    floor: Float[Array, " P"]  # below this diagonal of A a unit is one of those chosen
    rms: Float[Array, " P"]  # root mean square of a on the fitting sample

    @classmethod
    def of(cls, fit: Sample, held_out: Sample, ridge: Float[Array, ""]) -> "_Pool":
        """The pool before any choice."""
        A, C = fit.moments()
        power, there = diagonal(A), held_out.a.T
        damped = A + ridge * jnp.eye(A.shape[0], dtype=A.dtype)
        return cls(damped, C, there, DEPENDENT * (power + ridge), jnp.sqrt(power))

    def scores(self) -> tuple[Float[Array, " P"], Float[Array, "P O"]]:
        """Δη′ of each unit on the fitting sample, −∞ for the chosen, and its outgoing weights."""
        power = diagonal(self.A)
        left = power > self.floor
        V = jnp.where(left[:, None], self.C / jnp.where(left, power, 1)[:, None], 0)
        return jnp.where(left, jnp.sum(self.C * V, axis=1), -jnp.inf), V

    def without(self, index: Int[Array, ""]) -> "_Pool":
        """The pool once the unit `index` has been chosen."""
        power = self.A[index, index]
        share = self.A[:, index] / jnp.where(power > 0, power, 1)
        A, C, there = (m - share[:, None] * m[index] for m in (self.A, self.C, self.there))
        return _Pool(A, C, there, self.floor, self.rms)


def apart(values: Array) -> Array:
    """The values themselves, computed before they are summed.

    jaxlib 0.10.2 fuses a sum over proposals with the products that it sums, and in float32 on a
    CPU the sum then is wrong (docs/reliability.md). It does not fuse across this rounding.
    """
    own = jnp.finfo(values.dtype)
    return jax.lax.reduce_precision(values, own.nexp, own.nmant)


def mean_of(weights: Array, values: Array) -> Array:
    """The weighted sum over candidates; one without weight may be NaN."""
    return jnp.sum(jnp.where(weights > 0, weights * values, 0), axis=0)
