"""The activations a hidden layer may have."""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from senn.nn.rational import rational

# Each maps 0 to 0: a unit whose incoming weights are zero is then silent.
FIXED: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "tanh": jnp.tanh,
}
ACTIVATIONS = ("rational", *FIXED)


class AbstractActivation(eqx.Module):
    """An elementwise function, with or without parameters of its own for every unit."""

    @abstractmethod
    def __call__(self, z: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
        """Apply the activation to pre-activations."""


class Rational(AbstractActivation):
    """σ(z) = αz + (β + γz)/(1 + z²), θ = (α, β, γ) per unit (section 3.1)."""

    theta: Float[Array, "3 c"]

    def __call__(self, z: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
        """Apply the activation to pre-activations."""
        return rational(z, self.theta)


class Fixed(AbstractActivation):
    """One of `FIXED`: ReLU, SiLU, GELU or tanh, without parameters."""

    name: str = eqx.field(static=True)

    def __call__(self, z: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
        """Apply the activation to pre-activations."""
        return FIXED[self.name](z)


def check_activation(name: str) -> None:
    """Raise a `ValueError` unless `name` is one of `ACTIVATIONS`."""
    if name not in ACTIVATIONS:
        raise ValueError(
            f"activation={name!r} is not known; choose one of {', '.join(ACTIVATIONS)}."
        )


def apply_activation(
    name: str, z: Float[Array, "*n c"], theta: Float[Array, "3 c"] | None
) -> Float[Array, "*n c"]:
    """Apply the activation called `name`; `theta` belongs to "rational" alone."""
    return FIXED[name](z) if theta is None else rational(z, theta)
