"""What a network is made of: spaces of units, where they meet arrays, and what is done to them.

A *space* is an axis of units, such as a hidden layer. It meets arrays at *ports*: those that write
it (columns of the maps that compute it), those that read it (rows of the maps behind it, zero when
a unit is born), and those that are carried along (biases, coefficients of activations).

More room is zeros at all ports, a birth is numbers at those that write and those that are carried,
a death is zeros at all of them. This is so for a network as for any tree that holds its parameters
under another name, such as a running mean or an optimiser's moments, so that every function here
takes either. All of it is done on the host, by NumPy: nothing is compiled.

A network says of every slot when its unit was born: -1 where there is none, 0 for units that were
there from the start, else the number of the addition that brought it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from senn.arrays import to_device

CAPACITY_GROWTH = 1.5

# Matrix products of such widths round alike, so outputs keep their bits; and below, a step costs
# about the same on a CPU core.
SLOTS_AT_ONCE = 64


class Port(NamedTuple):
    """Where a space meets an array: an axis of it, read as (outer, units, inner).

    A flatten of pixels has inner = H·W, a space of heads their dimension, and queries, keys and
    values in one array have outer = 3.
    """

    leaf: str  # its path in the network, as "readout.weights.0"
    axis: int
    outer: int = 1
    inner: int = 1


class Space(NamedTuple):
    """An axis of units; the slots that hold none are dormant: zero at every port."""

    name: str
    born: str  # path of an array [slots] of when their units were born
    written: tuple[Port, ...] = ()
    read: tuple[Port, ...] = ()
    carried: tuple[Port, ...] = ()
    activation: Any = None  # of its units, an `Activation`; None of inputs and outputs
    rigid: str = ""  # why it may not grow, in words for the user
    at_once: int = SLOTS_AT_ONCE  # capacities are multiples of it

    def capacity(self, needed: int, current: int = 0, limit: int | None = None) -> int:
        """The slots to set aside for `needed` units (`next_capacity`)."""
        return next_capacity(needed, current, limit, self.at_once)

    @property
    def ports(self) -> tuple[Port, ...]:
        """All of them."""
        return (*self.written, *self.read, *self.carried)


def next_capacity(
    needed: int, current: int = 0, limit: int | None = None, at_once: int = SLOTS_AT_ONCE
) -> int:
    """The slots to set aside for `needed` units: geometric, never above `limit`.

    A compilation takes seconds and a step at twice the width 1.8 times as long, hence the
    narrow factor. `limit` is a unit budget: slots beyond it could never be used.
    """
    capacity = max(current, at_once)
    while capacity < needed:
        capacity = int(np.ceil(capacity * CAPACITY_GROWTH / at_once)) * at_once
    return max(needed, capacity if limit is None else min(capacity, limit))


def first_units(n: int, capacity: int | None = None) -> Int[Array, " c"]:
    """When units were born of which n are there from the start, in so many slots."""
    return to_device(np.where(np.arange(capacity or n) < n, 0, -1), jnp.int32)


def leaf_at(tree: Any, path: str) -> Any:
    """The part of a tree at a path such as "hidden.0.dense.bias"."""
    while path:
        if isinstance(tree, Mapping):
            key, path = _key_on(tree, path)
            tree = tree[key]
        else:
            name, _, path = path.partition(".")
            tree = tree[int(name)] if name.isdecimal() else getattr(tree, name)
    return tree


def _key_on(tree: Mapping, path: str) -> tuple[Any, str]:
    """The key that a path goes on with, and the rest of it; keys may have dots in them."""
    on = [key for key in tree if f"{path}.".startswith(f"{key}.")]
    if not on:
        raise KeyError(path)
    key = max(on, key=lambda key: len(str(key)))
    return key, path[len(str(key)) + 1 :]


def alive(network: Any, space: Space) -> Bool[Array, " c"]:
    """Which slots hold units (works under `jit`)."""
    return leaf_at(network, space.born) >= 0


def births(network: Any, space: Space) -> Int[np.ndarray, " c"]:
    """When the unit of every slot was born, on the host: -1 where there is none."""
    return np.asarray(leaf_at(network, space.born))


def says_what_counts(network: Any, port: Port) -> bool:
    """Whether what stands at a port is no parameter, but which units count in a norm."""
    return leaf_at(network, port.leaf).dtype == bool


def lasting(network: Any, space: Space) -> Bool[np.ndarray, " c"]:
    """Which slots must be left as they are: those whose units count in the statistics of a norm.

    Without one of them all others would be normalised by other numbers.
    """
    counted = [
        np.asarray(leaf_at(network, p.leaf)) for p in space.carried if says_what_counts(network, p)
    ]
    return np.any([np.zeros(slots(network, space), bool), *counted], axis=0)


def units(network: Any, space: Space) -> int:
    """How many there are."""
    return int(np.count_nonzero(births(network, space) >= 0))


def slots(network: Any, space: Space) -> int:
    """Units, and those that there is room for; also of trees that hold parameters alone."""
    port = space.ports[0]
    return leaf_at(network, port.leaf).shape[port.axis] // (port.outer * port.inner)
