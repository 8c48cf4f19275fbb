"""A layer type: what dormant slots rest on, to be checked for any layer."""

import equinox as eqx
import jax
import jax.numpy as jnp

import senn
from senn.nn import Hidden


def check_dormant_slots(layer: Hidden, x) -> None:
    """Raise an AssertionError unless slots beyond `layer.size` are silent and stay so."""
    dormant = slice(int(layer.size), None)

    def energy(layer):  # of the units in use, for nothing reads the other slots
        return jnp.sum(layer((x,))[:, : int(layer.size)] ** 2)

    assert layer.capacity > layer.size, "a layer needs slots to grow into"
    assert not layer((x,))[:, dormant].any(), "a dormant slot puts something out"
    gradient = eqx.filter_grad(energy)(layer)
    for array in jax.tree.leaves(gradient):  # slots are the last axis of a layer's own arrays
        assert not array[..., dormant].any(), "a step of training would wake a dormant slot"


network = senn.nn.MLP(3, 2, (4,), key=jax.random.key(0))
check_dormant_slots(network.hidden[0], jax.random.normal(jax.random.key(1), (5, 3)))
