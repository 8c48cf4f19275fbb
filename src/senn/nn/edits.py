"""What is done to the slots of a space: moved, added, written, made dormant."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np

from senn.arrays import path_of, to_device
from senn.nn.spaces import Port, Space, births, leaf_at
from senn.nn.tapped import AbstractTapped

Tree = TypeVar("Tree")


Net = TypeVar("Net", bound="AbstractTapped")


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
            new[(*at, slots)] = apart(np.asarray(unit[port]), port)
            return new

        return put

    changes = {port: change(port) for port in unit}
    if born is not None:
        changes[Port(space.born, 0)] = partial(_fill, slots, blank=born)
    return _edit(tree, changes)


def erase(tree: Tree, space: Space, slots: Any) -> Tree:
    """Make slots dormant."""
    return _edit(tree, _everywhere(space, partial(_fill, slots)))


def reread(tree: Tree, stretch: np.ndarray, shift: np.ndarray) -> Tree:
    """What computes of inputs z′ [N, I] what it computed of z = stretch · z′ + shift.

    Of networks in a tree, and of what moves their parameters, such as a velocity: the new
    parameters are linear in the old ones, so that it moves as they do.
    """

    def changed(network: AbstractTapped) -> AbstractTapped:
        for site in network.graph.maps:
            if not site.reads_inputs or site.bias is None:
                continue
            paths = [site.weights[0], site.bias]
            weight, bias = (np.array(leaf_at(network, at), np.float64) for at in paths)
            bias += shift @ weight[: len(shift)]
            weight[: len(shift)] *= stretch[:, None]
            new = [to_device(part, network.dtype) for part in (weight, bias)]
            network = eqx.tree_at(
                lambda n, at=paths: [leaf_at(n, path) for path in at], network, new
            )
        return network

    return map_networks(changed, tree)


def from_the_start(network: Net) -> Net:
    """As if all units in use had been there from the start."""
    for space in network.graph.spaces:
        in_use = np.flatnonzero(births(network, space) >= 0)
        network = write(network, space, in_use, {}, born=0)
    return network


def newest(network: AbstractTapped) -> int:
    """The number of the last addition of which units are left; 0 if there was none."""
    return max(int(births(network, space).max()) for space in network.graph.spaces)


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
            units = apart(np.asarray(new), port)
            new = _leaf(changes[port](units, (slice(None),) * (port.axis + 1)), port)
        return leaf if new is leaf else to_device(new)

    return map_networks(lambda network: jax.tree_util.tree_map_with_path(edited, network), tree)


def apart(array: np.ndarray, port: Port) -> np.ndarray:
    """A leaf with the port's axis as outer × units × inner."""
    shape, axis = array.shape, port.axis
    count = shape[axis] // (port.outer * port.inner)
    return array.reshape(*shape[:axis], port.outer, count, port.inner, *shape[axis + 1 :])


def _leaf(units: np.ndarray, port: Port) -> np.ndarray:
    shape, axis = units.shape, port.axis
    joined = shape[axis] * shape[axis + 1] * shape[axis + 2]
    return units.reshape(*shape[:axis], joined, *shape[axis + 3 :])
