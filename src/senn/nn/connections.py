"""Who reads whom in a network, and with which weights: for drawings."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from senn.nn.spaces import Space, births, leaf_at, units
from senn.nn.tapped import AbstractTapped


class Connection(NamedTuple):
    """The weights with which the units of one space read those of another; units in use alone.

    Where there are several for one unit, as of a convolution, the root of their squares' sum, with
    the sign of their sum.
    """

    source: Space
    target: Space
    weight: Float[np.ndarray, "I O"]


def connections(network: AbstractTapped) -> list[Connection]:
    """Those of every linear map, block by block, whose outputs another map reads as they are.

    An attention's queries are read by none.
    """
    graph = network.graph
    shown = {*graph.hidden, graph.outputs}
    found = []
    for number, site in enumerate(graph.maps):
        matrix, target = np.asarray(site.matrix(network)), graph.written_by(number)
        if target not in shown:
            continue
        for source in site.reads:
            rows = site.columns(network, source)[in_use(network, source)]
            weight = matrix[..., in_use(network, target)][rows]
            found.append(Connection(source, target, weight if rows.ndim == 1 else _as_one(weight)))
    return found


def _as_one(weights: Float[np.ndarray, "I n O"]) -> Float[np.ndarray, "I O"]:
    return np.copysign(np.linalg.norm(weights, axis=1), weights.sum(axis=1))


def n_inputs(network: AbstractTapped) -> int:
    """Units that no map writes: inputs, or channels of images."""
    return sum(units(network, space) for space in network.graph.inputs)


def in_use(network: AbstractTapped, space: Space) -> np.ndarray:
    """The slots that hold units."""
    return np.flatnonzero(births(network, space) >= 0)


def beside_its_inputs(network: AbstractTapped, space: Space) -> bool:
    """Whether a map that reads a space reads all that its units do, too."""
    maps = network.graph.maps
    read = {source for w in network.graph.writers(space) for source in maps[w].reads}
    return any(read < set(maps[r].reads) for r in network.graph.readers(space))


def coefficients(network: AbstractTapped, space: Space) -> np.ndarray | None:
    """θ [F, units in use] of a space; None of activations without."""
    carried = {port.leaf for port in space.carried if space.activation.learned}
    for site in network.graph.unitwise:
        if site.weight in carried:
            return np.asarray(leaf_at(network, site.weight))[:, in_use(network, space)]
    return None
