"""Sampling units by the Metropolis-adjusted Langevin algorithm (appendix C)."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from senn.proposals.base import AbstractProposer
from senn.proposals.problem import Units
from senn.proposals.spread import AnyProblem
from senn.proposals.units import draw_coordinates, mask_units, objective, to_units

ADAPT_EVERY = 10  # steps between changes of the step size (appendix C)
ADAPT_FACTOR = 3.0


class Chains(NamedTuple):
    """P Markov chains: where they are, and the log-density and its slope there."""

    position: Units
    log_density: Float[Array, " P"]
    slope: Units


def mala_start(log_density: Callable[[Units], Float[Array, " P"]], position: Units) -> Chains:
    """Chains at `position`; `log_density` takes all of them at once."""

    def total(q):
        values = log_density(q)
        return jnp.sum(values), values

    (_, values), slope = jax.value_and_grad(total, has_aux=True)(position)
    return Chains(position, values, slope)


def mala_step(
    log_density: Callable[[Units], Float[Array, " P"]],
    chains: Chains,
    step_size: Float[Array, ""] | float,
    key: PRNGKeyArray,
    mask: Callable[[Units], Units] = lambda q: q,
) -> tuple[Chains, Bool[Array, " P"]]:
    """One step of every chain: q′ = q + ε∇ln π(q) + √(2ε) ξ, accepted by Metropolis–Hastings.

    The textbook algorithm; ε as in BlackJAX. `mask` zeroes coordinates that must not move.
    """
    noise_key, accept_key = jax.random.split(key)
    noise = mask(_noise(noise_key, chains.position))
    there = jax.tree.map(
        lambda q, s, xi: q + step_size * s + jnp.sqrt(2 * step_size) * xi,
        chains.position,
        chains.slope,
        noise,
    )
    tried = mala_start(log_density, there)
    tried = tried._replace(slope=mask(tried.slope))
    log_ratio = (
        tried.log_density
        - chains.log_density
        + _log_move(tried, chains, step_size)
        - _log_move(chains, tried, step_size)
    )
    accepted = jnp.log(jax.random.uniform(accept_key, log_ratio.shape, log_ratio.dtype)) < log_ratio
    return _where(accepted, tried, chains), accepted


class Langevin(AbstractProposer):
    """Draw units from exp(score / T) × N(0, 1), and choose among the chains by softmax(score / T).

    The score is Δη′ / E‖r‖², the share of the residual gradient that the units explain. The
    judged score is the expectation under that softmax, as in the paper. The prior is on the
    coordinates of the starting scheme (weights × √inputs, biases, θ). The step size is shared
    by the chains of one search and moved by a factor of 3 every 10 steps when their acceptance
    rate leaves [0.4, 0.8]. The paper's T = 10 is in units that it does not give; relative to a
    score that is at most 1 it would leave the prior untouched.
    """

    at_positions: ClassVar[bool] = True

    candidates: int = 100
    steps: int = 3000
    step_size: float = 0.3
    temperature: float = 0.01
    acceptance: float = 0.6

    def search(self, problem: AnyProblem, key: PRNGKeyArray) -> Units:
        """The chains' last states."""

        def log_density(q: Units):
            prior = sum(_sum(leaf**2) for leaf in jax.tree.leaves(q))
            return objective(problem, to_units(problem, q)) / self.temperature - 0.5 * prior

        def mask(q: Units) -> Units:
            return mask_units(problem, q)

        def block(carry, keys):
            chains, step_size = carry

            def one(chains, step_key):
                return mala_step(log_density, chains, step_size, step_key, mask)

            chains, accepted = jax.lax.scan(one, chains, keys)
            return (chains, adapt(step_size, jnp.mean(accepted), self.acceptance)), None

        start_key, key = jax.random.split(key)
        start = mala_start(log_density, draw_coordinates(problem, self.candidates, start_key))
        start = start._replace(slope=mask(start.slope))
        step_size = jnp.asarray(self.step_size, problem.dtype)
        keys = jax.random.split(key, (-(-self.steps // ADAPT_EVERY), ADAPT_EVERY))
        (chains, _), _ = jax.lax.scan(block, (start, step_size), keys)
        return to_units(problem, chains.position)

    def select(
        self, relative_scores: Float[Array, " P"], key: PRNGKeyArray
    ) -> tuple[Int[Array, ""], Int[Array, " S"], Float[Array, " S"]]:
        """A draw from softmax(score / T); the judged score is the expectation under it."""
        logits = jnp.nan_to_num(relative_scores, nan=-jnp.inf) / self.temperature
        return jax.random.categorical(key, logits), jnp.arange(len(logits)), jax.nn.softmax(logits)


def adapt(
    step_size: Float[Array, ""], rate: Float[Array, ""], target: float, tolerance: float = 0.2
) -> Float[Array, ""]:
    """The step size, × or ÷ 3 if the acceptance rate is more than `tolerance` off the target."""
    factor = jnp.where(rate > target + tolerance, ADAPT_FACTOR, 1.0)
    factor = jnp.where(rate < target - tolerance, 1 / ADAPT_FACTOR, factor)
    return (step_size * factor).astype(step_size.dtype)


def _noise(key: PRNGKeyArray, like: Units) -> Units:
    # one draw for all leaves: random numbers are slow to compile
    leaves, structure = jax.tree.flatten(like)
    flat = [leaf.reshape(leaf.shape[0], -1) for leaf in leaves]
    sizes = np.cumsum([f.shape[1] for f in flat])
    draw = jax.random.normal(key, (flat[0].shape[0], sizes[-1]), flat[0].dtype)
    parts = jnp.split(draw, sizes[:-1], axis=1)
    return structure.unflatten(p.reshape(q.shape) for p, q in zip(parts, leaves, strict=True))


def _log_move(start: Chains, end: Chains, step_size) -> Float[Array, " P"]:
    """Log-density, up to a constant, of moving from `start` to `end`."""
    off = jax.tree.map(
        lambda q, p, s: q - p - step_size * s, end.position, start.position, start.slope
    )
    return -sum(_sum(d**2) for d in jax.tree.leaves(off)) / (4 * step_size)


def _where(choose: Bool[Array, " P"], new, old):
    return jax.tree.map(
        lambda n, o: jnp.where(choose.reshape(-1, *(1,) * (n.ndim - 1)), n, o), new, old
    )


def _sum(leaf: Float[Array, "P ..."]) -> Float[Array, " P"]:
    return jnp.sum(leaf.reshape(leaf.shape[0], -1), axis=1)
