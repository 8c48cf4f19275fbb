"""A linear map that reads one or more blocks of activations."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Dense(eqx.Module):
    """z = Σⱼ aⱼ Wⱼ + b, the sum taken block by block.

    A layer inserted beside old inputs adds a block. Because the products are summed in order,
    a new block of zeros leaves z the same bit for bit; one concatenated product would not.
    So that what reads z is compiled alike with and without that block, z is rounded to its own
    type, which XLA's CPU compiler does not fuse sums and products across.
    """

    weights: tuple[Float[Array, "_ O"], ...]
    bias: Float[Array, " O"]

    def __call__(self, inputs: tuple[Float[Array, "*n _"], ...]) -> Float[Array, "*n O"]:
        """Map the blocks, [..., I_j] each, to [..., O]."""
        z = inputs[0] @ self.weights[0] + self.bias
        for block, weight in zip(inputs[1:], self.weights[1:], strict=True):
            z = z + block @ weight
        own = jnp.finfo(z.dtype)
        return jax.lax.reduce_precision(z, own.nexp, own.nmant)

    @property
    def weight(self) -> Float[Array, "I O"]:
        """All blocks below one another."""
        return jnp.concatenate(self.weights)
