"""An activation of one's own, whose units have two coefficients each."""

import jax.numpy as jnp
import numpy as np

from senn.nn import AbstractActivation, register


@register
class Wave(AbstractActivation):
    """σ(z) = θ₁z + θ₂ sin z."""

    theta: jnp.ndarray  # [2, units]

    name = "wave"
    learned = 2
    identity = (1.0, 0.0)

    @classmethod
    def features(cls, z):
        """What σ is linear in."""
        return jnp.stack([z, jnp.sin(z)])

    @staticmethod
    def numpy(z, theta):
        """For predictions."""
        return theta[0] * z + theta[1] * np.sin(z)

    @staticmethod
    def onnx(graph, z, theta):
        """For `senn.export.to_onnx`."""
        straight, curved = (graph.constant(f"theta_{f}_{z}", theta[f]) for f in range(2))
        wave = graph.node("Mul", graph.node("Sin", z), curved)
        return graph.node("Add", graph.node("Mul", z, straight), wave)
