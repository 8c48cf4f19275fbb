"""Examples with their targets and weights."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from senn.arrays import to_device


class Batch(NamedTuple):
    """Examples, their targets, and a weight each."""

    x: Float[Array, "N ... I"]
    y: Shaped[Array, "..."]
    weight: Float[Array, " N"]

    @classmethod
    def of(cls, x, y, weight=None) -> "Batch":
        """From any arrays; x becomes floating point, and a missing weight one."""
        return cls(*(to_device(part) for part in cls.on_host(x, y, weight)))

    @classmethod
    def on_host(cls, x, y, weight=None) -> "Batch":
        """The same, of NumPy arrays."""
        x = _floating(np.asarray(x))
        weight = np.ones(x.shape[:1], x.dtype) if weight is None else np.asarray(weight, x.dtype)
        return cls(x, _floating(np.asarray(y), integers=True), weight)  # pyright: ignore[reportArgumentType]

    def __getitem__(self, rows) -> "Batch":  # pyright: ignore[reportIncompatibleMethodOverride]
        """Some of the examples."""
        return Batch(self.x[rows], self.y[rows], self.weight[rows])


def _floating(array: np.ndarray, *, integers: bool = False) -> np.ndarray:
    # JAX's own floating type unless the caller chose a narrower one; labels stay integers
    if integers and jnp.issubdtype(array.dtype, jnp.integer):
        return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
    if array.dtype == np.float32 and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        return array
    return array.astype(jnp.result_type(float), copy=False)
