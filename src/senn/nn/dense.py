"""A linear map that reads one or more blocks of activations."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

FEW = 16  # inputs in use, of which products are formed apart where there are more slots


def product(
    a: Float[Array, "*n I"], weight: Float[Array, "I O"], few: Bool[Array, ""] | bool
) -> Float[Array, "*n O"]:
    """a W, or if `few` what the first `FEW` inputs have in it: the others are dormant.

    A table of few columns shares a program with those of up to 64 and pays for its own alone: a
    step takes a sixth less.
    """
    if not isinstance(few, Tracer):
        return a[..., :FEW] @ weight[:FEW] if few else a @ weight
    return jax.lax.cond(few, lambda a, w: a[..., :FEW] @ w[:FEW], jnp.matmul, a, weight)


class Dense(eqx.Module):
    """z = Σⱼ aⱼ Wⱼ + b, the sum taken block by block.

    A layer inserted beside old inputs adds a block. Because the products are summed in order,
    a new block of zeros leaves z the same bit for bit; one concatenated product would not.
    So that what reads z is compiled alike with and without that block, z is rounded to its own
    type, which XLA's CPU compiler does not fuse sums and products across.
    """

    weights: tuple[Float[Array, "_ O"], ...]
    bias: Float[Array, " O"]

    def __call__(
        self, inputs: tuple[Float[Array, "*n _"], ...], few: Any = False
    ) -> Float[Array, "*n O"]:
        """Map the blocks, [..., I_j] each, to [..., O].

        `few` says whether of the first block only `FEW` inputs are in use (works under `jit`).
        """
        z = product(inputs[0], self.weights[0], few) + self.bias
        for block, weight in zip(inputs[1:], self.weights[1:], strict=True):
            z = z + block @ weight
        own = jnp.finfo(z.dtype)
        return jax.lax.reduce_precision(z, own.nexp, own.nmant)

    @property
    def weight(self) -> Float[Array, "I O"]:
        """All blocks below one another."""
        return jnp.concatenate(self.weights)
