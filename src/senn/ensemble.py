"""Several networks as one: its outputs are the means of theirs. NumPy alone.

Their units stand side by side in the layers, and no unit of one reads a unit of another. So an
ensemble is a network like any other: files, exports and reports need not know of it.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from senn.plain import PlainNetwork, source_nodes


class Map(NamedTuple):
    """A linear map of one network: from each node that it reads, and the bias [O]."""

    blocks: dict[int, np.ndarray]  # [n, O] by node
    bias: np.ndarray


def joined(networks: Sequence[PlainNetwork]) -> PlainNetwork:
    """One network whose outputs are the means over `networks` of theirs, but for rounding.

    They have the same inputs, outputs and activation, and layers as they like. A layer of the
    whole stands beside what it reads where one of a member's does, or where a member has ended.
    """
    first = networks[0].architecture
    layers = list(zip_longest(*(net.hidden_sizes for net in networks), fillvalue=0))
    beside = zip_longest(*(net.architecture["residual"] for net in networks), fillvalue=True)
    residual = [any(layer) for layer in beside]
    shared = ([slice(0, first[end])] * len(networks) for end in ("in_size", "out_size"))
    inputs, outputs = shared
    places = [inputs, *map(_side_by_side, layers), outputs]  # of nodes, and in them of members
    maps = [_maps(net, len(layers), 1 / len(networks)) for net in networks]
    arrays: dict[str, np.ndarray] = {}
    for m, nodes in enumerate(source_nodes(residual)):
        whole = _joined_map(nodes, m + 1, places, maps)
        arrays[f"map{m}.weight"] = np.concatenate([whole.blocks[node] for node in nodes])
        arrays[f"map{m}.bias"] = whole.bias
    for m in range(len(layers)):
        theta = [net.arrays[f"theta{m}"] for net in networks if f"theta{m}" in net.arrays]
        if theta:
            arrays[f"theta{m}"] = np.concatenate(theta, axis=1)
    sizes = [sum(units) for units in layers]
    born = _births(networks, len(layers))
    return PlainNetwork(
        {**first, "hidden_sizes": sizes, "residual": residual, "born": born}, arrays
    )


def _side_by_side(sizes: Sequence[int]) -> list[slice]:
    ends = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _maps(network: PlainNetwork, depth: int, share: float) -> dict[int, Map]:
    """The maps of one network by the node of the whole that they make; the last by its share."""
    found, nodes = {}, (network.in_size, *network.hidden_sizes)
    for m, sources in enumerate(network.sources):
        weight, bias = network.arrays[f"map{m}.weight"], network.arrays[f"map{m}.bias"]
        last = m == len(network.hidden_sizes)
        parts = np.split(weight, np.cumsum([nodes[s] for s in sources])[:-1])
        scale = weight.dtype.type(share if last else 1)
        blocks = {s: scale * part for s, part in zip(sources, parts, strict=True)}
        found[depth + 1 if last else m + 1] = Map(blocks, scale * bias)
    return found


def _joined_map(
    nodes: Sequence[int],
    target: int,
    places: Sequence[Sequence[slice]],
    maps: Sequence[dict[int, Map]],
) -> Map:
    """The map of the whole that makes a node: members' blocks in their places, zeros around."""
    dtype = maps[0][len(places) - 1].bias.dtype
    n = places[target][-1].stop
    blocks = {node: np.zeros((places[node][-1].stop, n), dtype) for node in nodes}
    bias = np.zeros(n, dtype)
    for k, own in enumerate(maps):
        if target not in own:
            continue
        out = places[target][k]
        bias[out] += own[target].bias
        for node, block in own[target].blocks.items():
            blocks[node][places[node][k], out] += block
    return Map(blocks, bias)


def _births(networks: Sequence[PlainNetwork], depth: int) -> list[list[int]] | None:
    """Of every unit the addition, of its own network, that brought it."""
    born = [net.architecture["born"] for net in networks]
    if any(one is None for one in born):
        return None
    return [[n for one in born if m < len(one) for n in one[m]] for m in range(depth)]
