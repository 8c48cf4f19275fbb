"""Candidate units: drawn, run on a sample, fitted by the maps that would read them, and scored."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from senn.linalg import log_det, solve_stack
from senn.nn.activation import Activation
from senn.proposals.problem import Found, Problem, Units
from senn.proposals.sample import Sample
from senn.proposals.spread import AnyProblem, SpreadProblem

LOG_DET_PENALTY = 0.01  # of square layers (appendix C)


def draw_units(problem: AnyProblem, count: int, key: PRNGKeyArray) -> Units:
    """Random units by the scheme of the starting network: LeCun normal weights, θ ~ N(0, 1).

    Biases are N(0, 1) too, where the paper's are zero: with zero biases all units would bend
    at the same place, the mean of their inputs.
    """
    return to_units(problem, draw_coordinates(problem, count, key))


def draw_coordinates(problem: AnyProblem, count: int, key: PRNGKeyArray) -> Units:
    """Standard normal coordinates of units; `to_units` scales the weights by 1/√inputs."""
    rows, columns = problem.inputs.shape[0], problem.units.shape[0]
    n_theta = problem.activation.learned
    shape = (count, rows + 1 + n_theta, columns)
    # one draw for all of them: random numbers are slow to compile
    draw = jax.random.normal(key, shape, problem.dtype)
    weight, bias, theta = jnp.split(draw, [rows, rows + 1], axis=1)
    return mask_units(problem, Units(weight, bias[:, 0], theta if n_theta else None))


def to_units(problem: AnyProblem, coordinates: Units) -> Units:
    """Units from coordinates on the scale of the standard normal."""
    n = jnp.sum(problem.inputs)
    return coordinates._replace(
        weight=coordinates.weight / jnp.sqrt(n).astype(coordinates.bias.dtype)
    )


def mask_units(problem: AnyProblem, units: Units) -> Units:
    """Zero what belongs to dormant slots."""
    columns = problem.units
    return Units(
        units.weight * problem.inputs[:, None] * columns,
        units.bias * columns,
        None if units.theta is None else units.theta * columns,
    )


def activations(problem: Problem, units: Units, sample: Sample) -> Float[Array, "P N K"]:
    """What the units output on a sample, times the root of the examples' weights."""
    P, _, K = units.weight.shape
    # [P·K, J]: one matrix product for all proposals; each unit's examples lie side by side
    w = jnp.concatenate([units.weight, units.bias[:, None]], axis=1).swapaxes(1, 2)
    z = sample.preactivations(w.reshape(P * K, -1))
    one = jnp.ones((P, 1, K), z.dtype)
    theta = (one if units.theta is None else units.theta).swapaxes(1, 2).reshape(P * K, -1)
    a = combined(features(problem.activation, z), theta)
    a = (a * sample.root_weight).reshape(P, K, -1).swapaxes(1, 2)
    return a * problem.units


def features(activation: Activation, z: Float[Array, "P N"]) -> Float[Array, "P F N"]:
    """What activations of z are linear in."""
    return jnp.moveaxis(activation.features(z), 0, 1)


def combined(features: Float[Array, "P F N"], theta: Float[Array, "P F"]) -> Float[Array, "P N"]:
    """θᵀφ(z)."""
    return jnp.sum(theta[:, :, None] * features, axis=1)


def outgoing(
    problem: Problem, a: Float[Array, "P N K"]
) -> tuple[Float[Array, "P K O"], Float[Array, "P K O"]]:
    """C = E[a_p r] and V = (A_p + εI)⁻¹C, the whitened outgoing weights that fit r best."""
    n = a.shape[1]
    C = jnp.einsum("pnk,no->pko", a, problem.fit.r) / n
    A = jnp.einsum("pnk,pnl->pkl", a, a) / n
    if a.shape[2] == 1:
        return C, C / (A + problem.ridge)
    return C, solve_stack(A + problem.ridge * jnp.eye(a.shape[2], dtype=a.dtype), C)


def fit_score(problem: Problem, units: Units) -> Float[Array, " P"]:
    """Δη′ of every proposal on the fitting sample (theorem 2)."""
    C, V = outgoing(problem, activations(problem, units, problem.fit))
    return jnp.sum(C * V, axis=(1, 2))


def held_out_gains(problem: Problem, units: Units) -> Float[Array, "P N"]:
    """aᵀV r of every held-out example, V the outgoing weights fitted on the fitting sample.

    The mean is Tr[E[r a_pᵀ] (A_p + εI)⁻¹ E[a_p r]] with one expectation from each sample: an
    estimate of Δη′ that is not inflated by having fitted V, or the units, to noise. On the
    fitting sample itself it is Δη′.
    """
    _, V = outgoing(problem, activations(problem, units, problem.fit))
    return gained(problem.held_out, activations(problem, units, problem.held_out), V)


def gained(
    sample: Sample, a: Float[Array, "P N K"], V: Float[Array, "P K O"]
) -> Float[Array, "P N"]:
    """aᵀV r of every example."""
    return jnp.sum(sample.r * jnp.einsum("pnk,pko->pno", a, V), axis=2)


def objective(problem: AnyProblem, units: Units) -> Float[Array, " P"]:
    """Δη′ / E‖r‖² of every proposal, less 0.01 (ln |det W|)² for square layers (appendix C)."""
    if isinstance(problem, SpreadProblem):
        return problem.scores(units) / problem.scale
    score = fit_score(problem, units) / problem.fit.scale
    if not problem.square:
        return score
    spare = jnp.diag(1 - problem.units.astype(score.dtype))  # dormant slots count as identity
    return score - LOG_DET_PENALTY * log_det(units.weight + spare) ** 2


def rescale(problem: AnyProblem, found: Found, fraction: float) -> Found:
    """Units whose activations have `fraction` × the root mean square of the maps' inputs; NumPy.

    Δη′ does not depend on this scale (the ridge aside), but the first steps after the addition
    do. θ carries it where there is one, else weight and bias if σ is homogeneous; others stay as
    they are.
    """
    wanted, units = fraction * np.asarray(problem.unit_rms), found.units
    factor = np.divide(wanted, found.rms, out=np.ones_like(found.rms), where=found.rms > 0)
    if units.theta is not None:
        units = units._replace(theta=units.theta * factor[:, None])
    elif problem.activation.homogeneous:
        units = units._replace(weight=units.weight * factor[:, None], bias=units.bias * factor)
    return found._replace(units=units)
