"""Trees of arrays, networks among them, as files hold them: every array under its path."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from senn.arrays import path_of, to_device
from senn.model_file import is_owned
from senn.nn.edits import erase, resize
from senn.nn.spaces import slots
from senn.nn.stored import blank_convnet, perceptron
from senn.nn.tapped import AbstractTapped
from senn.words import quoted


def arrays_of(tree: Any) -> dict[str, np.ndarray]:
    """All arrays of a tree under their paths; random keys as the numbers that they are."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        path_of(path): np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        for path, leaf in leaves
        if eqx.is_array_like(leaf)
    }


def filled(at: str, tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The tree with the stored arrays in place of its own."""

    def stored(path: Any, leaf: Any) -> Any:
        if not eqx.is_array_like(leaf):
            return leaf
        name = ".".join(part for part in (at, path_of(path)) if part)
        if name not in arrays:
            raise ValueError(f"it has no {path_of(path)}")
        array = arrays[name]
        if _is_key(leaf):
            return jax.random.wrap_key_data(to_device(array), impl=jax.random.key_impl(leaf))
        if array.shape != np.shape(leaf):
            raise ValueError(f"{path_of(path)} has shape {array.shape}, not {np.shape(leaf)}")
        return _exactly(array) if eqx.is_array(leaf) else array.item()

    return jax.tree_util.tree_map_with_path(stored, tree)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _exactly(array: np.ndarray) -> jax.Array:
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise ValueError(f"{array.dtype} needs JAX's 64-bit mode, jax_enable_x64")
    return to_device(array)


def shape_of(network: AbstractTapped) -> dict[str, Any]:
    """What is to be known beside its arrays, as JSON."""
    room = [slots(network, space) for space in network.graph.spaces]
    return {**(network.architecture or {}), "type": type(network).__name__, "slots": room}


def network_at(
    at: str,
    shape: dict[str, Any],
    arrays: dict[str, np.ndarray],
    like: AbstractTapped | None = None,
) -> AbstractTapped:
    """The network of `shape_of` whose arrays have names that begin with `at`.

    One of another kind than our own is filled into one `like` it, of any sizes; a `ValueError` if
    there is none, or if the arrays do not fit.
    """
    start = f"{at}." if at else ""
    if "patches" in shape:
        network = blank_convnet(shape, shape["slots"], arrays[f"{start}readout.bias"].dtype)
    elif "activation" in shape:
        network = perceptron(shape, shape["slots"], arrays[f"{start}readout.bias"].dtype)
    elif like is None:
        raise ValueError(f"it is of a {shape['type']}, so give a network of that type, as like=")
    else:
        network, wanted = like, len(like.graph.spaces)
        if wanted != len(shape["slots"]):
            raise ValueError(f"it has {len(shape['slots'])} spaces of units, not {wanted}")
        for space, room in zip(like.graph.spaces, shape["slots"], strict=True):
            network = resize(erase(network, space, slice(None)), space, room)
        own = {start + name for name in arrays_of(network)}
        more = [n for n in arrays if n.startswith(start) and n not in own and not is_owned(n)]
        if more:
            raise ValueError(f"it has {quoted(more)}, which that has not")
    return filled(at, network, arrays)
