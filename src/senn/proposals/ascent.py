"""Vanilla gradient ascent on the score (appendix C, whole-dataset image classification)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from senn.proposals.base import AbstractMaximizer
from senn.proposals.problem import Units
from senn.proposals.spread import AnyProblem
from senn.proposals.units import draw_units, mask_units, objective


class GradientAscent(AbstractMaximizer):
    """Follow the gradient of Δη′ from random draws.

    Each proposal has a rate of its own. A step that would lower its objective is taken back
    and its rate cut by 3, again and again if need be, so that the objective never falls. The
    paper uses 10,000 candidates for units and 100 for layers.
    """

    at_positions: ClassVar[bool] = True

    candidates: int = 64
    steps: int = 300
    learning_rate: float = 0.3

    def search(self, problem: AnyProblem, key: PRNGKeyArray) -> Units:
        """Candidates after `steps` steps of ascent."""
        start = draw_units(problem, self.candidates, key)
        # Before the first step nothing has been evaluated: any value will be better.
        unknown = jnp.full(self.candidates, -jnp.inf, problem.dtype)
        still = jax.tree.map(jnp.zeros_like, start)
        rates = jnp.full_like(unknown, self.learning_rate)

        def step(carry, _):
            units, value, slope, rates = carry
            tried = jax.tree.map(lambda u, s: u + _per(rates, u) * s, units, slope)
            new_value, new_slope = _value_and_grad(problem, tried)
            better = new_value >= value  # False for NaN: taken back as well
            moved = jax.tree.map(
                lambda new, old: jnp.where(_per(better, new), new, old),
                (tried, new_value, new_slope),
                (units, value, slope),
            )
            return (*moved, jnp.where(better, rates, rates / 3)), None

        first = (start, unknown, still, rates)
        (units, *_), _ = jax.lax.scan(step, first, length=self.steps + 1)
        return units


def _value_and_grad(problem: AnyProblem, units: Units) -> tuple[Float[Array, " P"], Units]:
    def total(u):
        values = objective(problem, u)
        return jnp.sum(values), values

    (_, values), slope = jax.value_and_grad(total, has_aux=True)(units)
    return values, mask_units(problem, slope)


def _per(values: Shaped[Array, " P"], like: Array) -> Array:
    return values.reshape(-1, *(1,) * (like.ndim - 1))
