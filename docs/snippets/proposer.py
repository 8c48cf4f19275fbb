"""A search: units that tell one example from another, along the line between the two."""

import jax
import jax.numpy as jnp

from senn.proposals import AbstractMaximizer, Problem, Units


class Differences(AbstractMaximizer):
    """Half-way between two examples drawn at random, z is 0; at the two it is −1 and 1."""

    candidates: int = 256

    def search(self, problem: Problem, key) -> Units:
        """Candidates, as drawn; the best by Δη′ on the fitting sample is selected."""
        rows_key, theta_key = jax.random.split(key)
        inputs = problem.fit.a[:, :-1]  # without the constant; dormant slots are zero
        rows = jax.random.randint(rows_key, (2, self.candidates), 0, inputs.shape[0])
        left, right = inputs[rows[0]], inputs[rows[1]]
        w = 2 * (right - left)
        w = w / jnp.maximum(jnp.sum((right - left) ** 2, axis=1, keepdims=True), 1e-6)
        bias = -jnp.sum(w * (left + right), axis=1) / 2
        theta = None
        if learned := problem.activation.learned:
            theta = jax.random.normal(theta_key, (self.candidates, learned, 1), w.dtype)
        return Units(w[:, :, None], bias[:, None], theta)
