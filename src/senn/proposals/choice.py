"""Which candidates to take, one after another, and what each adds to those before it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from senn.blocks import joined
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
    curvature: Float[Array, "P P"] | None = None,
) -> Choice:
    """Choose by `select` (`AbstractProposer.select`), with a key for each turn.

    `a` of the samples is what the candidates output, whose second moment is taken for the
    curvature, if that is not given.
    """
    scale = fit.scale

    def turn(pool: _Pool, key):
        scores, V = pool.scores()
        index, judged, weights = select(scores / scale, key)
        usable = jnp.isfinite(scores[judged])
        scores, weights = jnp.where(usable, scores[judged], 0), jnp.where(usable, weights, 0)
        own = _Turn(index, pool.shares(index), judged, weights, V[judged])
        return pool.without(own), (own, mean_of(weights, scores), pool.rms[index])

    turns, fit_score, rms = jax.lax.scan(turn, _Pool.of(fit, ridge, curvature), keys)[1]
    gains = held_out.walk(lambda rows: (_gains(turns, rows), ()))[0]
    score, stderr = jax.vmap(held_out.mean_and_error, in_axes=1)(joined(gains))
    return Choice(turns.taken, fit_score, score, stderr, rms)


class _Turn(NamedTuple):
    """One choice: what it takes from each unit left, and how it is judged."""

    taken: Int[Array, ""]  # the number of the candidate
    shares: Float[Array, " P"]
    judged: Int[Array, " S"]
    weights: Float[Array, " S"]
    V: Float[Array, "S O"]  # whitened outgoing weights of the judged


def _gains(turns: _Turn, rows: Sample) -> Float[Array, "N count"]:
    """What each choice gains on rows that it was not made on."""

    def turn(a, own: _Turn):
        steps = apart(a[own.judged] * (own.V @ rows.r.T))  # [S, N]
        return a - own.shares[:, None] * a[own.taken], mean_of(own.weights[:, None], steps)

    return jax.lax.scan(turn, rows.a.T, turns)[1].T


class _Pool(NamedTuple):
    """Units to choose from: what they add to those chosen before.

    Each choice is a step of Gaussian elimination on A_p + εI: that makes the scores of units
    in turn add up to the Δη′ of all of them together (theorem 2 holds for the set).
    """

    A: Float[Array, "P P"]  # E[a aᵀ] + εI on the fitting sample
    C: Float[Array, "P O"]  # E[a rᵀ] there
    floor: Float[Array, " P"]  # below this diagonal of A a unit is one of those chosen
    rms: Float[Array, " P"]  # root mean square of a on the fitting sample

    @classmethod
    def of(
        cls, fit: Sample, ridge: Float[Array, ""], curvature: Float[Array, "P P"] | None = None
    ) -> "_Pool":
        """The pool before any choice."""
        A, C = fit.moments()
        A = A if curvature is None else curvature
        power = diagonal(A)
        damped = A + ridge * jnp.eye(A.shape[0], dtype=A.dtype)
        return cls(damped, C, DEPENDENT * (power + ridge), jnp.sqrt(power))

    def scores(self) -> tuple[Float[Array, " P"], Float[Array, "P O"]]:
        """Δη′ of each unit on the fitting sample, −∞ for the chosen, and its outgoing weights."""
        power = diagonal(self.A)
        left = power > self.floor
        V = jnp.where(left[:, None], self.C / jnp.where(left, power, 1)[:, None], 0)
        return jnp.where(left, jnp.sum(self.C * V, axis=1), -jnp.inf), V

    def shares(self, index: Int[Array, ""]) -> Float[Array, " P"]:
        """What the unit `index` explains of each, as a multiple of it."""
        power = self.A[index, index]
        return self.A[:, index] / jnp.where(power > 0, power, 1)

    def without(self, turn: _Turn) -> "_Pool":
        """The pool once a unit has been chosen."""
        A, C = (m - turn.shares[:, None] * m[turn.taken] for m in (self.A, self.C))
        return _Pool(A, C, self.floor, self.rms)


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
