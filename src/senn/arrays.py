"""From NumPy's arrays to JAX's."""

from typing import Any, TypeVar

import jax
import numpy as np

ALIGNMENT = 64  # bytes
Tree = TypeVar("Tree")


def to_device(values: Any, dtype: Any = None) -> jax.Array:
    """`jnp.asarray`, which compiles a program for every shape and type; this compiles nothing.

    The array may share its memory with `values`, which must not change any more.
    """
    array = np.asarray(values, dtype)
    return jax.device_put(array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False))


def zeros(shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """`jnp.zeros`, made on the host."""
    return to_device(np.zeros(shape, dtype))


def zeros_like(tree: Tree) -> Tree:
    """Zeros for every array of a tree, made on the host."""
    return jax.tree.map(lambda leaf: zeros(leaf.shape, leaf.dtype), tree)


def path_of(keys: Any) -> str:
    """The path of a leaf in words, as "hidden.0.dense.bias", from the keys that JAX gives it."""
    return jax.tree_util.keystr(keys, simple=True, separator=".")


def key_of(seed: int) -> jax.Array:
    """`jax.random.key` of a whole number below 2**64, made on the host, which compiles nothing."""
    return _key(np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32))


def split_key(key: jax.Array, count: int) -> list[jax.Array]:
    """So many keys that depend on one; as `jax.random.split`, on the host."""
    return [_key(words) for words in _words(key, count)]


def split_keys(key: jax.Array, count: int) -> jax.Array:
    """The keys of `split_key` as one array [count]."""
    return _key(_words(key, count))


def _words(key: jax.Array, count: int) -> np.ndarray:
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    return rng.integers(2**32, size=(count, 2), dtype=np.uint32)


def _key(words: np.ndarray) -> jax.Array:
    return jax.random.wrap_key_data(to_device(words), impl="threefry2x32")


def following(key: jax.Array) -> jax.Array:
    """The next of a sequence of keys, which are counted, as a program may do at no cost.

    Threefry's numbers for neighbouring keys have nothing to do with each other.
    """
    words = jax.random.key_data(key)
    return jax.random.wrap_key_data(words.at[0].add(1), impl=jax.random.key_impl(key))


def blank(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros that JAX takes over as they are: what does not begin at a multiple of 64 it copies."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.zeros(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size].view(dtype).reshape(shape)
