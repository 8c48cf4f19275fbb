"""The spaces of a network and the sites between them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from senn.nn.sites import AbstractMap, AbstractSite, UnitwiseSite
from senn.nn.spaces import Port, Space, leaf_at, says_what_counts, units


class Graph(NamedTuple):
    """What a network is made of; static, and hashable."""

    spaces: tuple[Space, ...]  # the inputs first, the outputs last
    maps: tuple[AbstractMap, ...]  # the output map last
    unitwise: tuple[UnitwiseSite, ...] = ()  # coefficients of activations

    @property
    def sites(self) -> tuple[AbstractSite, ...]:
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

    def written_by(self, position: int) -> Space:
        """The space that a linear map writes."""
        leaves = self.maps[position].leaves
        return next(s for s in self.spaces if any(port.leaf in leaves for port in s.written))

    def _maps_at(self, ports: Sequence[Port]) -> tuple[int, ...]:
        maps = {leaf: m for m, site in enumerate(self.maps) for leaf in site.leaves}
        return tuple(dict.fromkeys(maps[port.leaf] for port in ports))


def cost(network: Any, space: Space, count: int) -> int:
    """Active parameters that so many more units of a space bring with them."""
    used = shapes_in_use(network)
    return sum(
        count * port.outer * port.inner * math.prod(np.delete(used[port.leaf], port.axis).tolist())
        for port in space.ports
        if not says_what_counts(network, port)
    )


def shapes_in_use(network: Any, hidden_sizes: Sequence[int] | None = None) -> dict[str, list[int]]:
    """The shapes of the leaves at ports, of what is in use, or would be with such sizes."""
    shapes: dict[str, list[int]] = {}
    given = dict(zip(network.graph.hidden, hidden_sizes or (), strict=False))
    for space in network.graph.spaces:
        count = given[space] if space in given else units(network, space)
        for port in space.ports:
            shape = shapes.setdefault(port.leaf, list(leaf_at(network, port.leaf).shape))
            shape[port.axis] = count * port.outer * port.inner
    return shapes
