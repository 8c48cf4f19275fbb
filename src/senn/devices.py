"""The devices that share a run: the one module that knows what a mesh is.

On several devices a run is what it is on one. Rows are shared out among them, everything else is
the same everywhere, and means over rows are means over all devices, so that growth decides alike.
Which devices these are is JAX's own context (`jax.set_mesh`), which `using` sets; what is here does
nothing where none is set. XLA splits what is computed of rows (`jax.jit`'s automatic partitioning),
but for loops over blocks of them, which `over_rows` splits (`jax.shard_map`).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

Tree = TypeVar("Tree")
Number = Int[Array, ""] | int

AXIS = "senn_rows"
WORTH_SPLITTING = 2**13  # numbers of a matrix, below which devices would wait for each other longer


def mesh_of(count: Any) -> Mesh | None:
    """The first so many devices, to share the rows of a run; None for the one that JAX chooses.

    Of several processes (`jax.distributed`) they are those of all.
    """
    if count is None:
        return None if jax.process_count() == 1 else mesh_of(jax.device_count())
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"devices must be a whole number of at least 1; got {count!r}.")
    known = jax.devices()
    if count > len(known):
        there = f"{len(known)} device{'s' * (len(known) > 1)} ({known[0].platform})"
        raise ValueError(
            f"devices={count} is more than the {there} that JAX finds: ask for at most "
            f"{len(known)}, or let a CPU pass for {count} by setting the environment variable "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={count} before Python starts."
        )
    return None if count == 1 else Mesh(np.array(known[:count]), (AXIS,))


@contextmanager
def using(mesh: Any) -> Iterator[None]:
    """Share what is computed inside among the devices of a mesh, whatever its axes are."""
    if not isinstance(mesh, Mesh | None):
        raise TypeError(
            f"mesh must be a mesh of devices, such as senn.devices.mesh_of(2); got {mesh!r}."
        )
    if mesh is None:
        context = nullcontext()
    elif mesh.size == 1:
        only = mesh.devices.flat[0]
        context = nullcontext() if only == jax.devices()[0] else jax.default_device(only)
    else:
        context = jax.set_mesh(Mesh(mesh.devices.ravel(), (AXIS,), axis_types=(AxisType.Auto,)))
    with context:
        yield


def in_use() -> Any:
    """The mesh in use, as far as programs know it, or None."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh if mesh.axis_names == (AXIS,) and mesh.are_all_axes_auto else None


def count() -> int:
    """How many devices share the rows."""
    mesh = in_use()
    return 1 if mesh is None else mesh.size


def alike(n: int, size: int = 1) -> int:
    """n rows, and as many more as it takes for every device to have as many blocks of `size`."""
    return n if count() == 1 else -(-n // (size * count())) * size * count()


# --- where arrays lie ------------------------------------------------------------------------


def by_rows(tree: Tree, axis: int = 0) -> Tree:
    """Arrays of the host with their rows, an axis, shared out; on one device as they are."""
    if in_use() is None:
        return tree
    sharding = _sharding(*[None] * axis, AXIS)
    return jax.tree.map(lambda leaf: _placed(leaf, sharding), tree)


def dealt(tree: Tree, size: int) -> Tree:
    """The same, in blocks of `size` that are dealt out like cards: the last may be empty."""
    n, mesh = size * count(), in_use()
    if mesh is None:
        return tree

    def in_turn(leaf: Any) -> np.ndarray:
        rows = np.asarray(leaf)
        rest = rows.shape[1:]
        return rows.reshape(-1, mesh.size, size, *rest).swapaxes(0, 1).reshape(-1, *rest)

    fits = all(len(leaf) % n == 0 for leaf in jax.tree.leaves(tree))
    return by_rows(jax.tree.map(in_turn, tree) if fits else tree)


def everywhere(leaf: Any) -> Any:
    """An array for a program: as it lies on the devices in use, or the same on all of them."""
    if in_use() is None or isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    sharding = _sharding()
    if isinstance(leaf, jax.Array) and leaf.sharding.device_set == sharding.device_set:
        return leaf
    return _placed(leaf, sharding)


def home(tree: Tree) -> Tree:
    """The arrays of a tree where they would be without a mesh."""
    if in_use() is None:
        return tree
    return jax.tree.map(lambda leaf: _at_home(leaf) if isinstance(leaf, jax.Array) else leaf, tree)


def _sharding(*axes: str | None) -> NamedSharding:
    return NamedSharding(jax.sharding.get_mesh(), PartitionSpec(*axes))


def _placed(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if _is_key(leaf):
        words = _placed(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf)
    host = host.astype(jax.dtypes.canonicalize_dtype(host.dtype), copy=False)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _at_home(leaf: jax.Array) -> jax.Array:
    if _is_key(leaf):
        words = _at_home(jax.random.key_data(leaf))
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    return jax.device_put(np.asarray(leaf))


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


# --- inside programs -------------------------------------------------------------------------


def same(tree: Tree) -> Tree:
    """What a program returns, or goes on with, and is to be whole on every device."""
    if in_use() is None:
        return tree
    return jax.tree.map(
        lambda leaf: (
            jax.lax.with_sharding_constraint(leaf, PartitionSpec())
            if isinstance(leaf, jax.Array)
            else leaf
        ),
        tree,
    )


def split(matrix: Array, axis: int) -> Array:
    """A matrix of which every device has some rows or columns, for what is computed of each.

    As it is where devices would not have as many each, or too few to be worth it.
    """
    mesh = in_use()
    if mesh is None or matrix.shape[axis] % mesh.size or math.prod(matrix.shape) < WORTH_SPLITTING:
        return matrix
    return jax.lax.with_sharding_constraint(matrix, PartitionSpec(*[None] * axis, AXIS))


def over_rows(function: Callable, rows: Any) -> tuple[Any, Any]:
    """What a function finds of the rows that every device has, and the mean over all of them.

    Args:
        function: takes rows, the number of the device and of all devices, and returns what belongs
            to the rows, and what is averaged.
        rows: a tree of arrays, shared out by their first axis.
    """
    mesh = in_use()
    if mesh is None:
        return function(rows, 0, 1)

    def of_device(rows: Any) -> tuple[Any, Any]:
        own, mean = function(rows, jax.lax.axis_index(AXIS), mesh.size)
        return own, jax.tree.map(lambda v: jax.lax.pmean(v, AXIS), mean)

    shared, whole = PartitionSpec(AXIS), PartitionSpec()
    return jax.shard_map(of_device, in_specs=(shared,), out_specs=(shared, whole), check_vma=False)(
        rows
    )
