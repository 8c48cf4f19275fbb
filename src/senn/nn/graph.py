"""What a network is made of: spaces of units, where they meet arrays, and what is done to them.

A *space* is an axis of units, such as a hidden layer. It meets arrays at *ports*: those that write
it (columns of the maps that compute it), those that read it (rows of the maps behind it, zero when
a unit is born), and those that are carried along (biases, coefficients of activations).

More room is zeros at all ports, a birth is numbers at those that write and those that are carried,
a death is zeros at all of them. This is so for a network as for any tree that holds its parameters
under another name, such as a running mean or an optimiser's moments, so that every function here
takes either. All of it is done on the host, by NumPy: nothing is compiled.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from senn.arrays import path_of, to_device

if TYPE_CHECKING:
    from senn.nn.sites import AbstractSite

Tree = TypeVar("Tree")


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
    in_use: str  # path of the number of slots that hold units
    written: tuple[Port, ...] = ()
    read: tuple[Port, ...] = ()
    carried: tuple[Port, ...] = ()
    rigid: str = ""  # why it may not grow, in words for the user

    @property
    def ports(self) -> tuple[Port, ...]:
        """All of them."""
        return (*self.written, *self.read, *self.carried)


class Graph(NamedTuple):
    """What a network is made of; static, and hashable."""

    spaces: tuple[Space, ...]  # the inputs first, the outputs last
    sites: "tuple[AbstractSite, ...]"  # the linear maps, the output map last, and then all others
    maps: int  # how many linear maps there are


class Taps(NamedTuple):
    """What a network computes on the way to its outputs."""

    outputs: Float[Array, "*n O"]
    reads: tuple[Any, ...]  # by every site


class AbstractTapped(eqx.Module):
    """A network that can grow: it says where its units live, and what its sites read."""

    @property
    @abstractmethod
    def graph(self) -> Graph:
        """Its spaces and sites, with paths that begin at the network."""

    @property
    @abstractmethod
    def in_slots(self) -> int:
        """Inputs, in use or dormant."""

    @property
    @abstractmethod
    def active_outputs(self) -> Bool[Array, " O"]:
        """Which of the outputs are in use (works under `jit`)."""

    @abstractmethod
    def taps(self, x: Float[Array, "*n I"], shifts: tuple[Any, ...] | None = None) -> Taps:
        """The outputs, and what every site reads on the way.

        `shifts` are added to the outputs of the sites: the derivative with respect to them is
        the loss gradient there.
        """

    @abstractmethod
    def no_shifts(self, n: int) -> tuple[Array, ...]:
        """Zeros to differentiate by, for n examples."""

    def __call__(self, x: Float[Array, "*n I"]) -> Float[Array, "*n O"]:
        """The network's outputs: logits or predictions."""
        return self.taps(x).outputs

    @property
    def dtype(self) -> Any:
        """The type of its parameters."""
        return next(leaf.dtype for leaf in jax.tree.leaves(self) if eqx.is_inexact_array(leaf))


def leaf_at(tree: Any, path: str) -> Any:
    """The part of a tree at a path such as "hidden.0.dense.bias"."""
    for name in path.split("."):
        tree = tree[int(name)] if name.isdecimal() else getattr(tree, name)
    return tree


def map_networks(function: Callable, tree: Tree) -> Tree:
    """Apply `function` to every network inside a tree, other leaves staying as they are."""

    def is_network(node: Any) -> bool:
        return isinstance(node, AbstractTapped)

    return jax.tree.map(lambda n: function(n) if is_network(n) else n, tree, is_leaf=is_network)


def arrange(tree: Tree, space: Space, source: Sequence[int] | np.ndarray) -> Tree:
    """Slot i becomes what slot `source[i]` was, dormant where that is below 0.

    How many are in use is left as it is (`with_count`).
    """
    source = np.asarray(source)
    kept = np.flatnonzero(source >= 0)

    def change(units: np.ndarray, at: tuple[slice, ...]) -> np.ndarray:
        axis = len(at)
        new = np.zeros((*units.shape[:axis], len(source), *units.shape[axis + 1 :]), units.dtype)
        new[(*at, kept)] = units[(*at, source[kept])]
        return new

    return _edit(tree, dict.fromkeys(space.ports, change))


def resize(tree: Tree, space: Space, capacity: int) -> Tree:
    """So many slots: dormant ones behind those that are there, or fewer of them.

    A `ValueError` where units in use would be cut off.
    """

    def check(network: AbstractTapped) -> None:
        units = leaf_at(network, space.in_use)
        if units is not None and int(units) > capacity:
            raise ValueError(
                f"{capacity} slots are too few for {space.name}, where {int(units)} are in use."
            )

    map_networks(check, tree)

    def change(units: np.ndarray, at: tuple[slice, ...]) -> np.ndarray:
        more = capacity - units.shape[len(at)]
        widths = [(0, 0)] * units.ndim
        widths[len(at)] = (0, max(more, 0))
        return np.pad(units[(*at, slice(capacity))], widths)

    return _edit(tree, dict.fromkeys(space.ports, change))


def write(tree: Tree, slots: Any, unit: Mapping[Port, Any]) -> Tree:
    """Write units into slots of a space, given for its ports, each as long as there are units."""

    def change(port: Port) -> Callable:
        def put(units: np.ndarray, at: tuple[slice, ...]) -> np.ndarray:
            new = np.array(units)
            new[(*at, slots)] = _units(np.asarray(unit[port]), port)
            return new

        return put

    return _edit(tree, {port: change(port) for port in unit})


def erase(tree: Tree, space: Space, slots: Any) -> Tree:
    """Make slots dormant; how many are in use is left as it is (`with_count`)."""

    def change(units: np.ndarray, at: tuple[slice, ...]) -> np.ndarray:
        new = np.array(units)
        new[(*at, slots)] = 0
        return new

    return _edit(tree, dict.fromkeys(space.ports, change))


def with_count(tree: Tree, space: Space, count: int) -> Tree:
    """The number of slots in use set to `count`; trees that hold parameters alone have none."""

    def edited(path: Any, leaf: Any) -> Any:
        return to_device(count, leaf.dtype) if path_of(path) == space.in_use else leaf

    return map_networks(lambda network: jax.tree_util.tree_map_with_path(edited, network), tree)


def _edit(tree: Tree, changes: Mapping[Port, Callable]) -> Tree:
    """Change the leaves at some ports of every network in a tree.

    A change takes the leaf with the port's axis as outer × units × inner, and the index of all
    axes before that of the units.
    """
    at_leaf: dict[str, list[Port]] = {}
    for port in changes:
        at_leaf.setdefault(port.leaf, []).append(port)

    def edited(path: Any, leaf: Any) -> Any:
        ports = at_leaf.get(path_of(path), ())
        new = leaf
        for port in ports:
            units = _units(np.asarray(new), port)
            new = _leaf(changes[port](units, (slice(None),) * (port.axis + 1)), port)
        return leaf if new is leaf else to_device(new)

    return map_networks(lambda network: jax.tree_util.tree_map_with_path(edited, network), tree)


def _units(array: np.ndarray, port: Port) -> np.ndarray:
    shape, axis = array.shape, port.axis
    count = shape[axis] // (port.outer * port.inner)
    return array.reshape(*shape[:axis], port.outer, count, port.inner, *shape[axis + 1 :])


def _leaf(units: np.ndarray, port: Port) -> np.ndarray:
    shape, axis = units.shape, port.axis
    joined = shape[axis] * shape[axis + 1] * shape[axis + 2]
    return units.reshape(*shape[:axis], joined, *shape[axis + 3 :])
