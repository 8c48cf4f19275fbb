"""Norms over units that know which of them count, so that what they normalise can grow.

A unit more in the statistics of a norm would change what all others become, and slots that hold no
unit would, too. Here both are over the units that were there when the norm was made. Units that
come later are normalised by them, and do not count in them: that is exact, bit for bit.
"""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class AbstractCounting(eqx.Module):
    """A norm whose statistics are over the units that count.

    Args:
        size: units, all of which count.
        eps: what is added to the mean square that is divided by.
        use_weight, use_bias: whether there is a scale γ, and a shift β.
    """

    weight: Float[Array, " c"] | None
    bias: Float[Array, " c"] | None
    counted: Bool[Array, " c"]
    eps: float = eqx.field(static=True)

    def __init__(  # noqa: D107
        self, size: int, eps: float = 1e-5, *, use_weight: bool = True, use_bias: bool = True
    ):
        self.weight = jnp.ones(size) if use_weight else None
        self.bias = jnp.zeros(size) if use_bias else None
        self.counted = jnp.ones(size, bool)
        self.eps = eps

    def __call__(self, z: Float[Array, " c"], *, key: Any = None) -> Float[Array, " c"]:  # noqa: ARG002
        """Of one vector; `key` is for `equinox.nn.Sequential`, and not used."""
        z = self._normed(z, *counted_moments(z, self.counted))
        z = z if self.weight is None else z * self.weight
        return z if self.bias is None else z + self.bias

    @abstractmethod
    def _normed(
        self, z: Float[Array, " c"], mean: Float[Array, ""], variance: Float[Array, ""]
    ) -> Float[Array, " c"]:
        """By the statistics of what counts, before scale and shift."""


class LayerNorm(AbstractCounting):
    """(z − m)/√(v + ε) · γ + β, the mean m and the variance v over the units that count.

    As long as none has come, it is `equinox.nn.LayerNorm` of a vector, up to rounding.
    """

    def _normed(
        self, z: Float[Array, " c"], mean: Float[Array, ""], variance: Float[Array, ""]
    ) -> Float[Array, " c"]:
        return (z - mean) * jax.lax.rsqrt(variance + self.eps)


class RMSNorm(AbstractCounting):
    """z/√(q + ε) · γ + β, q the mean square over the units that count.

    As long as none has come, it is `equinox.nn.RMSNorm` of a vector, up to rounding.
    """

    def _normed(
        self, z: Float[Array, " c"], mean: Float[Array, ""], variance: Float[Array, ""]
    ) -> Float[Array, " c"]:
        return z * jax.lax.rsqrt(variance + mean**2 + self.eps)


@jax.jit
def counted_moments(
    z: Float[Array, " c"], counted: Bool[Array, " c"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The mean and the variance of what counts.

    `senn.wrap` knows it by its name: what it gives depends on no unit that comes later.
    """
    n = jnp.sum(counted)
    mean = jnp.sum(jnp.where(counted, z, 0)) / n
    return mean, jnp.sum(jnp.where(counted, (z - mean) ** 2, 0)) / n
