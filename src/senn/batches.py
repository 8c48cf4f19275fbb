"""One batch of examples, the unit that every computation takes."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped


class Batch(NamedTuple):
    """Examples, their targets, and a weight each."""

    x: Float[Array, "*n I"]
    y: Shaped[Array, "..."]
    weight: Float[Array, "*n"]

    @classmethod
    def of(cls, x, y, weight=None) -> "Batch":
        """From any arrays; x becomes floating point, and a missing weight one."""
        x = jnp.asarray(x)
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))
        weight = jnp.ones(x.shape[:-1], x.dtype) if weight is None else jnp.asarray(weight, x.dtype)
        return cls(x, jnp.asarray(y), weight)
