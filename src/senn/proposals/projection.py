"""The fast search: θ eliminated exactly, many directions screened, the best few refined."""

from functools import partial

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float, PRNGKeyArray

from senn.factors import AbstractFactor, DenseFactor
from senn.nn.activation import FIXED
from senn.nn.rational import rational_features
from senn.proposals.ascent import GradientAscent
from senn.proposals.base import (
    AbstractMaximizer,
    Problem,
    Sample,
    Units,
)

SCREENED_AT_ONCE = 128  # directions whose features are held in memory together
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
    where it did best on at most `screening_rows` examples of the other half.

    It proposes single units, in turn. Square layers (identity insertion) need all their columns
    at once; for those it is `GradientAscent` with as many candidates and steps.
    """

    candidates: int = 24
    screened: int = 512
    screening_rows: int = 2048
    steps: int = 5
    rate: float = 0.3  # first change of z relative to z, root mean square

    def search(self, problem: Problem, key: PRNGKeyArray) -> Units:
        """The best directions, each where it did best on rows that it was not fitted on."""
        if problem.square:
            return GradientAscent(self.candidates, self.steps).search(problem, key)
        half = max(problem.fit.a.shape[0] // 2, 1)
        fit, check = _rows(problem.fit, slice(half)), _rows(problem.fit, slice(-half, None))
        few, check = (_rows(s, slice(self.screening_rows)) for s in (fit, check))
        moment = problem.source or DenseFactor.of(few.a)
        drawn = draw_directions(problem, fit, moment, self.screened, key)
        scores = jax.lax.map(
            lambda w: best_theta(problem.activation, few, w, THETA_RIDGE)[0],
            drawn,
            batch_size=SCREENED_AT_ONCE,
        )
        start = drawn[jax.lax.top_k(_finite(scores), self.candidates)[1]]
        return _units(problem, self.refine(problem.activation, fit, check, moment, start))

    def refine(
        self,
        activation: str,
        fit: Sample,
        check: Sample,
        moment: AbstractFactor,
        start: Float[Array, "P J"],
    ) -> Float[Array, "P J"]:
        """Every candidate where it did best on `check` on its ascent on `fit`."""

        def look(w):
            # By the envelope theorem the slope of μ is that at the best θ, held fixed.
            theta = jax.vmap(lambda v: best_theta(activation, fit, v, THETA_RIDGE)[1])(w)
            (value, gain), slope = jax.vmap(
                jax.value_and_grad(partial(_score, activation, fit, check), has_aux=True)
            )(w, theta)
            step = moment.solve(SOURCE_DAMPING * moment.mean, slope.T)
            length = moment.rms(step)
            step = step * (moment.rms(w.T) / jnp.where(length > 0, length, 1))
            return value, gain, step.T

        def step(carry, _):
            w, value, direction, rate, best, best_gain = carry
            tried = w + rate[:, None] * direction
            new_value, gain, new_direction = look(tried)
            better = new_value > value  # False for NaN: taken back as well
            w = jnp.where(better[:, None], tried, w)
            direction = jnp.where(better[:, None], new_direction, direction)
            rate = jnp.where(better, rate * RATE_GAIN, rate / RATE_LOSS)
            kept = better & (gain > best_gain)
            best = jnp.where(kept[:, None], tried, best)
            best_gain = jnp.where(kept, gain, best_gain)
            return (w, jnp.where(better, new_value, value), direction, rate, best, best_gain), None

        unknown = jnp.full(start.shape[0], -jnp.inf, start.dtype)
        rate = jnp.full_like(unknown, self.rate / RATE_GAIN)  # the first "step" only looks
        first = (start, unknown, jnp.zeros_like(start), rate, start, unknown)
        return jax.lax.scan(step, first, length=self.steps + 1)[0][-2]


def best_theta(
    activation: str, sample: Sample, w: Float[Array, " J"], ridge: float = 0.0
) -> tuple[Float[Array, ""], Float[Array, " F"]]:
    """The most that a unit with incoming weights and bias w can explain, and its coefficients.

    For rational units the top eigenpair (μ, θ) of the 3 × 3 problem, a = θᵀφ(z) having mean
    square 1; for others F = 1, the activation itself, scaled likewise. With a `ridge` N is
    N + ridge · diag(N): where features nearly cancel, as z and z/(1+z²) do for small z, that
    keeps θ from growing large.
    """
    z = sample.preactivations(w[:, None])[:, 0]
    features = _features(activation, z)
    features = features * sample.root_weight
    n = z.shape[0]
    N, C = features @ features.T / n, features @ sample.r / n
    # Features of very different size, or nearly dependent: work with their correlations.
    size = jnp.sqrt(jnp.maximum(jnp.diagonal(N), jnp.finfo(N.dtype).tiny))
    ridge = max(ridge, 100 * float(jnp.finfo(N.dtype).eps))
    root = jnp.linalg.cholesky(
        N / (size[:, None] * size) + ridge * jnp.eye(*N.shape, dtype=N.dtype)
    )
    white = jsl.solve_triangular(root, C / size[:, None], lower=True)
    values, vectors = jnp.linalg.eigh(white @ white.T)
    return values[-1], jsl.solve_triangular(root.T, vectors[:, -1]) / size


def draw_directions(
    problem: Problem, sample: Sample, moment: AbstractFactor, count: int, key: PRNGKeyArray
) -> Float[Array, "P J"]:
    """Directions on many length scales: half random, half along the residual gradient."""
    # A⁻¹E[a r], the linear functions of the inputs that predict the residual gradient
    n = sample.a.shape[0]
    linear = moment.solve(SOURCE_DAMPING * moment.mean, sample.a.T @ sample.r / n)  # [J, O]
    rows, columns = linear.shape
    draw = jax.random.normal(key, (count, rows + columns + 2), linear.dtype)
    random = draw[:, :rows] * jnp.append(problem.inputs, False)
    useful = draw[:, rows : rows + columns] @ linear.T
    w = jnp.where((jnp.arange(count) % 2 == 0)[:, None], random, useful)
    rms = moment.rms(w.at[:, -1].set(0).T)
    w = w / jnp.where(rms > 0, rms, 1)[:, None]
    scale, offset = jnp.exp(draw[:, -2]), draw[:, -1]  # of z, around 1
    constant = jnp.zeros((rows, 1), w.dtype).at[-1].set(1)
    mean = (w @ moment.product(constant))[:, 0]
    return (w * scale[:, None]).at[:, -1].set(scale * (offset - mean))


def _score(
    activation: str, fit: Sample, check: Sample, w: Float[Array, " J"], theta: Float[Array, " F"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """What a unit explains of `fit`, and with the same outgoing weights of `check`."""

    def moments(sample: Sample):
        z = sample.preactivations(w[:, None])[:, 0]
        a = theta @ _features(activation, z) * sample.root_weight
        return a @ sample.r / a.shape[0], jnp.mean(a * a)

    (C, power), (C_check, _) = moments(fit), jax.lax.stop_gradient(moments(check))
    V = C / jnp.where(power > 0, power, 1)
    return jnp.sum(C * V), jnp.sum(C_check * V)


def _features(activation: str, z: Float[Array, " N"]) -> Float[Array, "F N"]:
    return rational_features(z) if activation == "rational" else FIXED[activation](z)[None]


def _units(problem: Problem, w: Float[Array, "P J"]) -> Units:
    """Single units with the root mean square that the reading map is used to."""
    theta = jax.vmap(lambda v: best_theta(problem.activation, problem.fit, v, THETA_RIDGE)[1])(
        w
    )  # [P, F]
    rational = problem.activation == "rational"
    return Units(
        w[:, :-1, None], w[:, -1:], problem.unit_rms * theta[..., None] if rational else None
    )


def _rows(sample: Sample, rows: slice) -> Sample:
    return jax.tree.map(lambda v: v[rows], sample)


def _finite(scores: Float[Array, " P"]) -> Float[Array, " P"]:
    return jnp.nan_to_num(scores, nan=-jnp.inf)
