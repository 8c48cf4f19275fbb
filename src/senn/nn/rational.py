"""The paper's activation (section 3.1), one set of coefficients per unit."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

IDENTITY = (1.0, 0.0, 0.0)  # θ for which σ is the identity


@jax.custom_jvp
def _bumps(z: Float[Array, "*s"]) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
    even = 1 / (1 + z * z)
    return even, z * even


@_bumps.defjvp
def _bumps_jvp(primals, tangents):
    # Written in the values themselves: the textbook quotient rule is inf/inf for large z.
    (z,), (dz,) = primals, tangents
    even, odd = _bumps(z)
    return (even, odd), (-2 * even * odd * dz, (even - 2 * odd * odd) * dz)


def rational_features(z: Float[Array, "*s"]) -> Float[Array, "3 *s"]:
    """φ(z) = [z, 1/(1+z²), z/(1+z²)], in which σ is linear: σ(z) = θᵀφ(z).

    Values and derivatives are finite for every finite z.
    """
    return jnp.stack([z, *_bumps(z)])


def rational(z: Float[Array, "*n c"], theta: Float[Array, "3 c"]) -> Float[Array, "*n c"]:
    """σ(z) = αz + (β + γz)/(1 + z²) with θ = (α, β, γ), as printed in section 3.1.

    θ = (1, 0, 0) is the identity; θ = 0 is zero everywhere, which keeps a spare slot silent.
    """
    even, odd = _bumps(z)
    alpha, beta, gamma = theta
    return alpha * z + beta * even + gamma * odd
