"""From NumPy's arrays to JAX's."""

from typing import Any

import jax
import numpy as np

ALIGNMENT = 64  # bytes


def to_device(values: Any, dtype: Any = None) -> jax.Array:
    """`jnp.asarray`, which compiles a program for every shape and type; this compiles nothing.

    The array may share its memory with `values`, which must not change any more.
    """
    array = np.asarray(values, dtype)
    return jax.device_put(array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False))


def key_of(seed: int) -> jax.Array:
    """`jax.random.key` of a whole number below 2**64, made on the host, which compiles nothing."""
    words = np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32)
    return jax.random.wrap_key_data(to_device(words), impl="threefry2x32")


def split_key(key: jax.Array, count: int) -> list[jax.Array]:
    """So many keys that depend on one; as `jax.random.split`, on the host."""
    words = np.asarray(jax.random.key_data(key)).tolist()
    draw = np.random.default_rng(words)
    return [key_of(int(seed)) for seed in draw.integers(2**63, size=count)]


def blank(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros that JAX takes over as they are: what does not begin at a multiple of 64 it copies."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.zeros(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size].view(dtype).reshape(shape)
