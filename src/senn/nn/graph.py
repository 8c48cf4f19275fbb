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

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from senn.arrays import path_of, to_device

if TYPE_CHECKING:
    from senn.nn.sites import AbstractMap, AbstractSite, UnitwiseSite

Tree = TypeVar("Tree")
Net = TypeVar("Net", bound="AbstractTapped")


FIRST_CAPACITY = 64  # below this a step costs about the same on a CPU core
CAPACITY_GROWTH = 1.5
SLOTS_AT_ONCE = 64  # matrix products of such widths round alike, so outputs keep their bits


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

    @property
    def ports(self) -> tuple[Port, ...]:
        """All of them."""
        return (*self.written, *self.read, *self.carried)


class Graph(NamedTuple):
    """What a network is made of; static, and hashable."""

    spaces: tuple[Space, ...]  # the inputs first, the outputs last
    maps: "tuple[AbstractMap, ...]"  # the output map last
    unitwise: "tuple[UnitwiseSite, ...]" = ()  # coefficients of activations

    @property
    def sites(self) -> "tuple[AbstractSite, ...]":
        """All linear maps, and then all others."""
        return (*self.maps, *self.unitwise)

    @property
    def inputs(self) -> tuple[Space, ...]:
        """The spaces that no map writes."""
        return tuple(space for space in self.spaces if not space.written)

    @property
    def hidden(self) -> tuple[Space, ...]:
        """The spaces that maps write and others read."""
        return tuple(space for space in self.spaces if space.written and space.read)

    @property
    def outputs(self) -> Space:
        """The space that is what the network computes."""
        return self.spaces[-1]

    def writers(self, space: Space) -> tuple[int, ...]:
        """The numbers of the linear maps that write a space, in the order of its ports."""
        return self._maps_at(space.written)

    def readers(self, space: Space) -> tuple[int, ...]:
        """The numbers of the linear maps that read a space, in the order of its ports."""
        return self._maps_at(space.read)

    def _maps_at(self, ports: Sequence[Port]) -> tuple[int, ...]:
        maps = {leaf: m for m, site in enumerate(self.maps) for leaf in site.leaves}
        return tuple(dict.fromkeys(maps[port.leaf] for port in ports))


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

    @property
    def in_size(self) -> int:
        """Number of inputs in use."""
        return sum(units(self, space) for space in self.graph.inputs)

    @property
    def in_slots(self) -> int:
        """Inputs, in use or dormant."""
        return sum(slots(self, space) for space in self.graph.inputs)

    @property
    def out_size(self) -> int:
        """Number of outputs in use."""
        return units(self, self.graph.outputs)

    @property
    def out_slots(self) -> int:
        """Outputs, in use or dormant."""
        return slots(self, self.graph.outputs)

    @property
    def active_outputs(self) -> Bool[Array, " O"]:
        """Which of the outputs are in use (works under `jit`)."""
        return alive(self, self.graph.outputs)

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Units in use, per hidden space."""
        return tuple(units(self, space) for space in self.graph.hidden)

    @property
    def capacities(self) -> tuple[int, ...]:
        """Slots, per hidden space."""
        return tuple(slots(self, space) for space in self.graph.hidden)

    @property
    def architecture(self) -> dict[str, Any] | None:
        """All that is to be known to make another like it, as JSON; None if that is not enough."""
        return None

    @property
    def insertions(self) -> range:
        """The linear maps before which layers can be inserted (`AbstractLayered`)."""
        return range(0)

    def readers(self, layer: int) -> tuple[int, ...]:
        """The linear maps that read hidden space `layer`, nearest first."""
        return self.graph.readers(self.graph.hidden[layer])

    def n_inputs(self, position: int) -> int:
        """Active inputs of linear map `position`, without the constant."""
        return int(np.count_nonzero(self.inputs_in_use(position)))

    def inputs_in_use(self, position: int) -> Bool[np.ndarray, " c"]:
        """Which of the slots that linear map `position` reads hold units."""
        reads = self.graph.maps[position].reads
        return np.concatenate([births(self, space) >= 0 for space in reads])

    def active_inputs(self, position: int) -> Bool[Array, " c"]:
        """`inputs_in_use` that works under `jit`."""
        reads = self.graph.maps[position].reads
        return jnp.concatenate([alive(self, space) for space in reads])

    def outputs_in_use(self, position: int) -> Bool[np.ndarray, " c"]:
        """Which of the slots that linear map `position` writes hold units."""
        leaves = self.graph.maps[position].leaves
        written = (s for s in self.graph.spaces if any(p.leaf in leaves for p in s.written))
        return births(self, next(written)) >= 0

    @property
    def n_parameters(self) -> int:
        """Active parameters: those of units in use alone."""
        return self.parameters_with(self.hidden_sizes)

    def parameters_with(self, hidden_sizes: Sequence[int]) -> int:
        """Active parameters if there were so many units in the hidden spaces."""
        used: dict[str, Any] = dict(_in_use(self, hidden_sizes))
        leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(self, eqx.is_inexact_array))
        return sum(math.prod(used.get(path_of(path), leaf.shape)) for path, leaf in leaves)


class AbstractLayered(AbstractTapped):
    """A network into which whole layers can be inserted, all of one activation."""

    activation: eqx.AbstractVar[Any]

    @property
    def insertions(self) -> range:
        """All linear maps."""
        return range(len(self.graph.maps))

    @abstractmethod
    def alongside(self, position: int) -> range:
        """The maps that read all that map `position` does: it, and those past residual layers."""

    @abstractmethod
    def with_layer(self: Net, position: int, slots: int, *, beside: bool) -> Net:
        """With a hidden layer of dormant slots before map `position`, the space of that number.

        It stands beside all that the map reads, or in its place; so in trees of the network's
        shape.
        """


def next_capacity(needed: int, current: int = 0, limit: int | None = None) -> int:
    """The slots to set aside for `needed` units: geometric, never above `limit`.

    A compilation takes seconds and a step at twice the width 1.8 times as long, hence the
    narrow factor. `limit` is a unit budget: slots beyond it could never be used.
    """
    capacity = max(current, FIRST_CAPACITY)
    while capacity < needed:
        capacity = int(np.ceil(capacity * CAPACITY_GROWTH / SLOTS_AT_ONCE)) * SLOTS_AT_ONCE
    return max(needed, capacity if limit is None else min(capacity, limit))


def first_units(n: int, capacity: int | None = None) -> Int[Array, " c"]:
    """When units were born of which n are there from the start, in so many slots."""
    return to_device(np.where(np.arange(capacity or n) < n, 0, -1), jnp.int32)


def alive(network: AbstractTapped, space: Space) -> Bool[Array, " c"]:
    """Which slots hold units (works under `jit`)."""
    return leaf_at(network, space.born) >= 0


def births(network: AbstractTapped, space: Space) -> Int[np.ndarray, " c"]:
    """When the unit of every slot was born, on the host: -1 where there is none."""
    return np.asarray(leaf_at(network, space.born))


def from_the_start(network: Net) -> Net:
    """As if all units in use had been there from the start."""
    for space in network.graph.spaces:
        in_use = np.flatnonzero(births(network, space) >= 0)
        network = write(network, space, in_use, {}, born=0)
    return network


def newest(network: AbstractTapped) -> int:
    """The number of the last addition of which units are left; 0 if there was none."""
    return max(int(births(network, space).max()) for space in network.graph.spaces)


def units(network: AbstractTapped, space: Space) -> int:
    """How many there are."""
    return int(np.count_nonzero(births(network, space) >= 0))


def slots(network: AbstractTapped, space: Space) -> int:
    """Units, and those that there is room for; also of trees that hold parameters alone."""
    port = space.ports[0]
    return leaf_at(network, port.leaf).shape[port.axis] // (port.outer * port.inner)


def cost(network: AbstractTapped, space: Space, count: int) -> int:
    """Active parameters that so many more units of a space bring with them."""
    used = _in_use(network)
    return sum(
        count * port.outer * port.inner * math.prod(np.delete(used[port.leaf], port.axis).tolist())
        for port in space.ports
    )


def _in_use(
    network: AbstractTapped, hidden_sizes: Sequence[int] | None = None
) -> dict[str, list[int]]:
    """The shapes of the leaves at ports, of what is in use, or would be with such sizes."""
    shapes: dict[str, list[int]] = {}
    given = dict(zip(network.graph.hidden, hidden_sizes or (), strict=False))
    for space in network.graph.spaces:
        count = given[space] if space in given else units(network, space)
        for port in space.ports:
            shape = shapes.setdefault(port.leaf, list(leaf_at(network, port.leaf).shape))
            shape[port.axis] = count * port.outer * port.inner
    return shapes


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
    """Slot i becomes what slot `source[i]` was, dormant where that is below 0."""
    source = np.asarray(source)
    kept = np.flatnonzero(source >= 0)

    def change(units: np.ndarray, at: tuple[slice, ...], blank: int) -> np.ndarray:
        axis = len(at)
        shape = (*units.shape[:axis], len(source), *units.shape[axis + 1 :])
        new = np.full(shape, blank, units.dtype)
        new[(*at, kept)] = units[(*at, source[kept])]
        return new

    return _edit(tree, _everywhere(space, change))


def resize(tree: Tree, space: Space, capacity: int) -> Tree:
    """So many slots: dormant ones behind those that are there, or fewer of them.

    A `ValueError` where units in use would be cut off.
    """

    def check(network: AbstractTapped) -> None:
        known = leaf_at(network, space.born)
        last = (
            0 if known is None else np.max(np.flatnonzero(np.asarray(known) >= 0), initial=-1) + 1
        )
        if last > capacity:
            raise ValueError(
                f"{capacity} slots are too few for {space.name}, where slot {last} is in use."
            )

    map_networks(check, tree)

    def change(units: np.ndarray, at: tuple[slice, ...], blank: int) -> np.ndarray:
        more = capacity - units.shape[len(at)]
        widths = [(0, 0)] * units.ndim
        widths[len(at)] = (0, max(more, 0))
        return np.pad(units[(*at, slice(capacity))], widths, constant_values=blank)

    return _edit(tree, _everywhere(space, change))


def write(
    tree: Tree, space: Space, slots: Any, unit: Mapping[Port, Any], born: int | None = None
) -> Tree:
    """Write into slots of a space, given for its ports, each as long as there are units.

    `born` is the number of the addition that brings them, if these are new units.
    """

    def change(port: Port) -> Callable:
        def put(units: np.ndarray, at: tuple[slice, ...]) -> np.ndarray:
            new = np.array(units)
            new[(*at, slots)] = _units(np.asarray(unit[port]), port)
            return new

        return put

    changes = {port: change(port) for port in unit}
    if born is not None:
        changes[Port(space.born, 0)] = partial(_fill, slots, blank=born)
    return _edit(tree, changes)


def erase(tree: Tree, space: Space, slots: Any) -> Tree:
    """Make slots dormant."""
    return _edit(tree, _everywhere(space, partial(_fill, slots)))


def _fill(slots: Any, units: np.ndarray, at: tuple[slice, ...], blank: int) -> np.ndarray:
    new = np.array(units)
    new[(*at, slots)] = blank
    return new


def _everywhere(space: Space, change: Callable) -> dict[Port, Callable]:
    """A change at all ports of a space, and of when its units were born."""
    at = {port: partial(change, blank=0) for port in space.ports}
    return {**at, Port(space.born, 0): partial(change, blank=-1)}


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
