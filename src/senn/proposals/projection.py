"""The fast search: θ eliminated exactly, many directions screened, the best few refined."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from senn.devices import split
from senn.factors import AbstractFactor, DenseFactor
from senn.linalg import diagonal, leading_eigenpairs, relative_ridge, whiteners
from senn.nn.activation import Activation
from senn.proposals.ascent import GradientAscent
from senn.proposals.base import AbstractMaximizer, Sample
from senn.proposals.problem import Problem, Units
from senn.proposals.spread import AnyProblem, SpreadProblem, best, climbed
from senn.proposals.units import combined, draw_units, features

FIT, CHECK = slice(0, None, 2), slice(1, None, 2)  # rows that only fill a sample up come last
THETA_RIDGE = 0.03  # of the correlations of a unit's three features
RATE_GAIN, RATE_LOSS = 1.5, 3.0
SOURCE_DAMPING = 0.1  # relative, of the second moment that preconditions the refinement


class Projection(AbstractMaximizer):
    """Find the unit whose activation explains most of the residual gradient.

    A rational unit is linear in θ, a = θᵀφ(z). For given incoming weights the best θ is
    therefore the top eigenvector of M θ = μ N θ with N = E[φφᵀ], M = E[φ g_rᵀ] S⁻¹ E[g_r φᵀ],
    and μ is its Δη′ (the ridge aside, which vanishes as the unit is scaled up). So only weights
    are searched for: `screened` directions, half of them random, half random mixtures of those
    along which the inputs are correlated with the residual gradient, are scored on at most
    `screening_rows` examples, and the best `candidates` are refined by `steps` steps of ascent
    on half the fitting sample, preconditioned by the inputs' second moment, each with a rate
    of its own that grows on success and is cut, the step taken back, on failure. Each ends
    where it did best on the other half, θ being the best on the first.

    It proposes single units, in turn. Square layers (identity insertion) need all their columns
    at once; for those it is `GradientAscent` with as many candidates and steps.
    """

    in_blocks: ClassVar[bool] = True
    at_positions: ClassVar[bool] = True

    candidates: int = 24
    screened: int = 512
    screening_rows: int = 2048
    steps: int = 5
    rate: float = 0.3  # first change of z relative to z, root mean square

    def search(self, problem: AnyProblem, key: PRNGKeyArray) -> Units:
        """The best directions, each where it did best on rows that it was not fitted on."""
        if problem.square:
            return GradientAscent(self.candidates, self.steps).search(problem, key)
        if isinstance(problem, SpreadProblem):
            drawn = draw_units(problem, self.screened // 4, key)
            return climbed(problem, best(problem, drawn, self.candidates), self.steps, self.rate)
        moment, linear = _linear(problem)
        drawn = draw_directions(problem, moment, linear, self.screened, key)
        scores = self._screen(problem, drawn)
        start = drawn[jax.lax.top_k(_finite(scores), self.candidates)[1]]
        w, theta = self.refine(problem, moment, start)
        if not problem.activation.learned:
            return Units(w[:, :-1, None], w[:, -1:], None)
        # of the root mean square that the reading map is used to
        return Units(w[:, :-1, None], w[:, -1:], problem.unit_rms * theta[..., None])

    def _screen(self, problem: Problem, w: Float[Array, "P J"]) -> Float[Array, " P"]:
        """What each direction explains of the fitting half."""

        def moments(sample: Sample):
            half = _rows(sample, FIT)
            return feature_moments(problem.activation, half, half.preactivations(w))

        return Fit.by(*problem.fit.mean(moments, 2 * self.screening_rows)).score

    def refine(
        self, problem: Problem, moment: AbstractFactor, start: Float[Array, "P J"]
    ) -> tuple[Float[Array, "P J"], Float[Array, "P F"]]:
        """Every candidate where it did best on the checking half of its ascent on the other."""
        activation, sample = problem.activation, problem.fit

        def look(w):
            def first(rows: Sample):
                z = rows.preactivations(w)
                return z, feature_moments(activation, _rows(rows, FIT), z[:, FIT])

            z, moments = sample.walk(first)
            fit = Fit.by(*moments)

            def second(rows: Sample, z):
                slope = fit.slope(activation, _rows(rows, FIT), z[:, FIT])
                return (), (slope, fit.gain(activation, _rows(rows, CHECK), z[:, CHECK]))

            _, (slope, gain) = sample.walk(second, z)
            step = moment.solve(SOURCE_DAMPING * moment.mean, split(slope.T, 1))
            length = moment.rms(step)
            step = step * (moment.rms(w.T) / jnp.where(length > 0, length, 1))
            return fit, gain, step.T

        def step(carry, _):
            w, value, direction, rate, best, best_theta, best_gain = carry
            tried = w + rate[:, None] * direction
            fit, gain, new_direction = look(tried)
            better = fit.explained > value  # False for NaN: taken back as well
            w = jnp.where(better[:, None], tried, w)
            direction = jnp.where(better[:, None], new_direction, direction)
            rate = jnp.where(better, rate * RATE_GAIN, rate / RATE_LOSS)
            kept = better & (gain > best_gain)
            best = jnp.where(kept[:, None], tried, best)
            best_theta = jnp.where(kept[:, None], fit.theta, best_theta)
            best_gain = jnp.where(kept, gain, best_gain)
            value = jnp.where(better, fit.explained, value)
            return (w, value, direction, rate, best, best_theta, best_gain), None

        unknown = jnp.full(start.shape[0], -jnp.inf, start.dtype)
        rate = jnp.full_like(unknown, self.rate / RATE_GAIN)  # the first "step" only looks
        theta = jnp.zeros((start.shape[0], max(activation.learned, 1)), start.dtype)
        still = jnp.zeros_like(start)
        first = (start, unknown, still, rate, start, theta, unknown)
        *_, best, best_theta, _ = jax.lax.scan(step, first, length=self.steps + 1)[0]
        return best, best_theta


class Fit(NamedTuple):
    """The most that units with given incoming weights and biases can explain of a sample.

    For rational units θ is the top eigenvector of the 3 × 3 problem, a = θᵀφ(z) having mean
    square 1; for others F = 1, the activation itself, scaled likewise. N is N + ridge · diag(N)
    there: where features nearly cancel, as z and z/(1+z²) do for small z, that keeps θ from
    growing large.
    """

    score: Float[Array, " P"]  # μ
    theta: Float[Array, "P F"]
    power: Float[Array, " P"]  # E[a²], without the ridge
    C: Float[Array, "P O"]  # E[a r]

    @classmethod
    def of(
        cls,
        activation: Activation,
        sample: Sample,
        w: Float[Array, "P J"],
        ridge: float = THETA_RIDGE,
    ) -> "Fit":
        """Fit the coefficients of every unit by itself."""
        return cls.by(*feature_moments(activation, sample, sample.preactivations(w)), ridge)

    @classmethod
    def by(
        cls, N: Float[Array, "P F F"], C: Float[Array, "P F O"], ridge: float = THETA_RIDGE
    ) -> "Fit":
        """The same by the `feature_moments`."""
        # Features of very different size, or nearly dependent: work with their correlations.
        size = jnp.sqrt(jnp.maximum(diagonal(N), jnp.finfo(N.dtype).tiny))
        ridge = max(ridge, 100 * float(jnp.finfo(N.dtype).eps))
        one = jnp.eye(N.shape[1], dtype=N.dtype)
        whitener = whiteners(N / (size[:, :, None] * size[:, None]) + ridge * one)
        white = whitener @ (C / size[:, :, None])
        score, vector = leading_eigenpairs(white @ white.mT)
        theta = jnp.einsum("pfg,pf->pg", whitener, vector) / size
        power = jnp.einsum("pf,pfg,pg->p", theta, N, theta)
        return cls(score, theta, power, jnp.einsum("pf,pfo->po", theta, C))

    @property
    def outgoing(self) -> Float[Array, "P O"]:
        """The whitened outgoing weights that fit best."""
        return self.C / jnp.where(self.power > 0, self.power, 1)[:, None]

    @property
    def explained(self) -> Float[Array, " P"]:
        """‖C‖² / E[a²], what the units explain of the sample."""
        return jnp.sum(self.C * self.outgoing, axis=1)

    def slope(
        self, activation: Activation, sample: Sample, z: Float[Array, "P N"]
    ) -> Float[Array, "P J"]:
        """∂ explained / ∂w, z being the units' preactivations on the sample.

        By the envelope theorem it is that at the best θ, held fixed (and μ differs by the ridge).
        """
        phi, dphi = jax.jvp(lambda z: features(activation, z), (z,), (jnp.ones_like(z),))
        a, da = combined(phi, self.theta), combined(dphi, self.theta)
        scale = self.explained / jnp.where(self.power > 0, self.power, 1)
        by_a = self.outgoing @ sample.r.T - a * sample.root_weight * scale[:, None]
        return (2 / z.shape[1]) * (da * by_a) @ sample.a

    def gain(
        self, activation: Activation, sample: Sample, z: Float[Array, "P N"]
    ) -> Float[Array, " P"]:
        """What the units, with the outgoing weights that fit best, explain of another sample."""
        a = combined(features(activation, z), self.theta) * sample.root_weight
        return jnp.sum(a @ sample.r * self.outgoing, axis=1) / z.shape[1]


def feature_moments(
    activation: Activation, sample: Sample, z: Float[Array, "P N"]
) -> tuple[Float[Array, "P F F"], Float[Array, "P F O"]]:
    """N = E[φφᵀ] and C = E[φ rᵀ] of units with these preactivations on the sample."""
    phi = features(activation, z) * sample.root_weight
    return phi @ phi.mT / z.shape[1], phi @ sample.r / z.shape[1]


def _linear(problem: Problem) -> tuple[AbstractFactor, Float[Array, "J O"]]:
    """A of what units would read, and A⁻¹E[a r], the linear functions that predict r."""

    def moments(sample: Sample):
        half = _rows(sample, FIT)
        A = half.a.T @ half.a / len(half.a) if problem.source is None else ()
        return A, half.a.T @ half.r / len(half.a)

    A, C = problem.fit.mean(moments)
    moment = problem.source or DenseFactor(A, relative_ridge(A, 1.0))
    return moment, moment.solve(SOURCE_DAMPING * moment.mean, C)


def draw_directions(
    problem: Problem,
    moment: AbstractFactor,
    linear: Float[Array, "J O"],
    count: int,
    key: PRNGKeyArray,
) -> Float[Array, "P J"]:
    """Directions on many length scales: half random, half mixtures of those in `linear`."""
    rows, columns = linear.shape
    draw = split(nearly_normal(key, (count, rows + columns + 2), linear.dtype), 0)
    random = draw[:, :rows] * jnp.append(problem.inputs, False)
    useful = draw[:, rows : rows + columns] @ linear.T
    w = jnp.where((jnp.arange(count) % 2 == 0)[:, None], random, useful)
    rms = moment.rms(w.at[:, -1].set(0).T)
    w = w / jnp.where(rms > 0, rms, 1)[:, None]
    scale, offset = jnp.exp(draw[:, -2]), draw[:, -1]  # of z, around 1
    constant = jnp.zeros((rows, 1), w.dtype).at[-1].set(1)
    mean = (w @ moment.product(constant))[:, 0]
    return (w * scale[:, None]).at[:, -1].set(scale * (offset - mean))


def nearly_normal(key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any) -> Float[Array, "..."]:
    """Random numbers of mean 0 and variance 1, sums of four bytes: directions need no more.

    `jax.random.normal` would be a fifth of what a search takes to compile.
    """
    bits = jax.random.bits(key, shape, jnp.uint32)
    total = sum((bits >> shift) & 0xFF for shift in (0, 8, 16, 24))
    return (jnp.asarray(total).astype(dtype) - 2 * 255) / (4 * (256**2 - 1) / 12) ** 0.5


def _rows(sample: Sample, rows: slice) -> Sample:
    return jax.tree.map(lambda v: v[rows], sample)


def _finite(scores: Float[Array, " P"]) -> Float[Array, " P"]:
    return jnp.nan_to_num(scores, nan=-jnp.inf)
