"""The examples that units are searched, chosen and judged on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from senn.blocks import walk


class Sample(NamedTuple):
    """Examples on which new units are scored."""

    a: Float[Array, "N J"]  # what they would read, last the constant; J = I + 1
    r: Float[Array, "N O"]  # whitened residual gradients at the maps that would read them
    root_weight: Float[Array, " N"]  # square roots of the examples' weights

    # Rows of a and r carry those roots.

    @property
    def there(self) -> Bool[Array, " N"]:
        """Which rows have a weight; the others only fill a sample up."""
        return self.root_weight > 0

    @property
    def scale(self) -> Float[Array, ""]:
        """E‖r‖², the most that any units can explain; scores are optimised relative to it."""
        power = self.mean(lambda s: jnp.mean(jnp.sum(s.r**2, axis=1)))
        return jnp.where(power > 0, power, 1)

    def preactivations(self, w: Float[Array, "P J"]) -> Float[Array, "P N"]:
        """z of units with incoming weights and biases w, free of the examples' weights."""
        root = self.root_weight
        return (w @ self.a.T) / jnp.where(root > 0, root, 1)

    def walk(self, function: Callable, *beside: Any, at_most: int | None = None):
        """`blocks.walk` over the sample, and over trees of what belongs to its blocks.

        The function takes a block as a sample, and what is beside it; `at_most` limits the rows.
        """

        def at(block, _, *parts):
            return function(block, *parts)

        return walk(at, self, self.root_weight, beside=beside, at_most=at_most)

    def mean(self, function: "Callable[[Sample], Any]", at_most: int | None = None) -> Any:
        """The mean over all rows of what a function says of the mean over some."""
        return self.walk(lambda block: ((), function(block)), at_most=at_most)[1]

    def moments(self) -> tuple[Float[Array, "J J"], Float[Array, "J O"]]:
        """E[a aᵀ] and E[a rᵀ]."""
        return self.mean(lambda s: (s.a.T @ s.a / len(s.a), s.a.T @ s.r / len(s.a)))

    def mean_and_error(
        self, gains: Float[Array, " N"]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The mean of what rows gain, and its standard error by those that are there.

        Rows of no weight gain nothing, and the others weigh more for them.
        """
        N, n = gains.shape[0], jnp.maximum(jnp.sum(self.there), 1).astype(gains.dtype)
        mean = jnp.mean(gains)
        off = jnp.where(self.there, gains * (n / N) - mean, 0)
        return mean, jnp.sqrt(jnp.sum(off**2) / n / jnp.maximum(n - 1, 1))
