"""An optimiser: gradient descent with steps of a set length."""

import equinox as eqx
import jax
import jax.numpy as jnp

from senn.curvature import loss_gradient
from senn.optimizers import AbstractOptimizer, StepInfo


class NormalizedDescent(AbstractOptimizer):
    """θ ← θ − rate · g / ‖g‖. A slot whose gradient is zero stays at zero, as it must."""

    rate: float = 0.05

    def init(self, network):
        """Nothing is remembered."""
        return ()

    def step(self, network, state, loss, metric, batch, scale):
        """One step on one batch."""
        value, gradient = loss_gradient(network, loss, batch)
        length = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))
        rate = scale * self.rate / jnp.maximum(length, 1e-12)
        updates = jax.tree.map(lambda g: -rate * g, gradient)
        unknown = jnp.full_like(value, jnp.nan)  # this optimiser solves no linear system
        info = StepInfo(value, unknown, jnp.array(0), jnp.zeros_like(value))
        return eqx.apply_updates(network, updates), state, info
