"""A layer type: what dormant slots rest on, to be checked for any layer."""

import equinox as eqx
import jax
import jax.numpy as jnp

import senn
from senn.nn import Hidden


def check_dormant_slots(layer: Hidden, x) -> None:
    """Raise an AssertionError unless slots that hold no unit are silent and stay so."""
    dormant = layer.born < 0

    def energy(layer):  # of the units in use, for nothing reads the other slots
        return jnp.sum(layer((x,))[:, ~dormant] ** 2)

    assert dormant.any(), "a layer needs slots to grow into"
    assert not layer((x,))[:, dormant].any(), "a dormant slot puts something out"
    gradient = eqx.filter_grad(energy)(layer)
    for array in jax.tree.leaves(gradient):  # slots are the last axis of a layer's own arrays
        assert not array[..., dormant].any(), "a step of training would wake a dormant slot"


network = senn.nn.MLP(3, 2, (4,), key=jax.random.key(0))
check_dormant_slots(network.hidden[0], jax.random.normal(jax.random.key(1), (5, 3)))
