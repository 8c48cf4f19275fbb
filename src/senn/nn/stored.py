"""Networks of our own as what files hold: arrays of the active parameters, and how they fit."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from senn.arrays import key_of, to_device, zeros
from senn.nn.activation import activation_called
from senn.nn.convnet import CHANNELS_AT_ONCE, ConvNet, Stage
from senn.nn.convnet import assemble as assemble_convnet
from senn.nn.convolution import Convolution, Patches
from senn.nn.dense import Dense
from senn.nn.edits import write
from senn.nn.network import MLP, Hidden, assemble
from senn.nn.spaces import Port, first_units, leaf_at, next_capacity
from senn.nn.tapped import AbstractTapped
from senn.plain import PlainNetwork, source_nodes
from senn.standalone.numpy_conv import cut_of


def plain(network: Any) -> PlainNetwork:
    """What a network predicts with, as plain arrays."""
    # Copies: a forked process must never meet memory that JAX may use again.
    arrays = {name: np.array(array) for name, array in network_arrays(network).items()}
    return PlainNetwork(network.architecture, arrays, network)


def network_of(stored: PlainNetwork) -> MLP | ConvNet:
    """The network that these arrays are of, or one with room to grow."""
    if stored.made_of is None:
        made = convnet_from if stored.patches else mlp_from
        stored.made_of = made(stored.architecture, stored.arrays)
    return stored.made_of


def network_arrays(network: AbstractTapped) -> dict[str, np.ndarray]:
    """The active parameters: map{m}.weight [I, O], map{m}.bias [O], and theta{l} [F, O].

    Of a convolution the rows are those of its matrix (`ConvSite`).
    """
    arrays, graph = {}, network.graph
    for m, site in enumerate(graph.maps):
        columns = network.outputs_in_use(m)
        blocks = (np.asarray(leaf_at(network, leaf)) for leaf in site.weights)
        weight = np.concatenate([block.reshape(-1, block.shape[-1]) for block in blocks])
        arrays[f"map{m}.weight"] = weight[np.ix_(network.inputs_in_use(m), columns)]
        assert site.bias is not None  # all maps of our own networks have one
        arrays[f"map{m}.bias"] = np.asarray(leaf_at(network, site.bias))[columns]
    for m, site in enumerate(graph.unitwise):
        theta = np.asarray(leaf_at(network, site.weight))
        arrays[f"theta{m}"] = theta[:, network.outputs_in_use(m)]
    return arrays


def mlp_from(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> MLP:
    """The network that `network_arrays` and `architecture` describe, with room to grow."""
    nodes = (header["in_size"], *header["hidden_sizes"])
    slots = (header["in_size"], *(next_capacity(n) for n in header["hidden_sizes"]))
    maps, sigma = [], activation_called(header["activation"])
    outputs = zip((*slots[1:], header["out_size"]), source_nodes(header["residual"]), strict=True)
    for m, (columns, sources) in enumerate(outputs):
        rows = np.split(arrays[f"map{m}.weight"], np.cumsum([nodes[s] for s in sources])[:-1])
        blocks = (_padded(r, (slots[s], columns)) for r, s in zip(rows, sources, strict=True))
        maps.append(Dense(tuple(blocks), _padded(arrays[f"map{m}.bias"], (columns,))))
    hidden = []
    for m, (n, residual) in enumerate(zip(nodes[1:], header["residual"], strict=True)):
        theta = arrays.get(f"theta{m}")
        theta = None if theta is None else _padded(theta, (len(theta), slots[m + 1]))
        born = header["born"][m] if header.get("born") else [0] * n
        units = np.pad(born, (0, slots[m + 1] - n), constant_values=-1)
        hidden.append(Hidden(maps[m], sigma.of(theta), to_device(units, jnp.int32), residual))
    ends = first_units(header["in_size"]), first_units(header["out_size"])
    return assemble(hidden, maps[-1], sigma, *ends)


def _padded(array: np.ndarray, shape: tuple[int, ...]) -> jax.Array:
    return to_device(np.pad(array, [(0, c - n) for n, c in zip(array.shape, shape, strict=True)]))


def convnet_from(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> ConvNet:
    """The same of a convolutional network."""
    sizes = [header["in_size"], *header["hidden_sizes"], header["out_size"]]
    hidden = (next_capacity(n, at_once=CHANNELS_AT_ONCE) for n in sizes[1:-1])
    network = blank_convnet(header, [sizes[0], *hidden, sizes[-1]], arrays["map0.bias"].dtype)
    known = header.get("born") or [[0] * n for n in sizes[1:-1]]
    for space, n, born in zip(
        network.graph.spaces, sizes, [[0] * sizes[0], *known, [0] * sizes[-1]], strict=True
    ):
        network = write(network, space, slice(n), {Port(space.born, 0): born})
    leaves: dict[str, Any] = {}
    for m, site in enumerate(network.graph.maps):
        matrix = np.zeros(site.shape(network), arrays[f"map{m}.bias"].dtype)
        used, columns = network.inputs_in_use(m), network.outputs_in_use(m)
        matrix[np.ix_(np.append(used, False), columns)] = arrays[f"map{m}.weight"]
        matrix[-1, columns] = arrays[f"map{m}.bias"]
        leaves |= zip(site.leaves, site.cut(network, matrix), strict=True)
    for m, site in enumerate(network.graph.unitwise):
        theta = np.zeros(site.shape(network), arrays[f"theta{m}"].dtype)
        theta[:, network.outputs_in_use(m)] = arrays[f"theta{m}"]
        leaves[site.weight] = theta
    values = [to_device(value) for value in leaves.values()]
    return eqx.tree_at(lambda n: [leaf_at(n, at) for at in leaves], network, values)


def blank_convnet(architecture: Mapping[str, Any], slots: Sequence[int], dtype: Any) -> ConvNet:
    """One of that architecture with so many slots in each of its spaces, all dormant and zero."""
    cuts, sigma = [], activation_called(architecture["activation"])
    convs: list[Convolution] = []
    for m, nodes in enumerate(source_nodes(architecture["residual"])):
        cuts.append(Patches(*cut_of(architecture["patches"][m])))
        kernels = [cuts[-1].kernel, *((1, 1) for _ in nodes[1:])]
        weights = (
            zeros((*k, slots[n], slots[m + 1]), dtype) for k, n in zip(kernels, nodes, strict=True)
        )
        convs.append(Convolution(tuple(weights), zeros((slots[m + 1],), dtype)))
    stages = [
        Stage(
            conv,
            sigma.of(zeros((sigma.learned, room), dtype) if sigma.learned else None),
            first_units(0, room),
            beside,
        )
        for conv, room, beside in zip(convs, slots[1:], architecture["residual"], strict=False)
    ]
    ends = first_units(0, slots[0]), first_units(0, slots[-1])
    return assemble_convnet(stages, convs[-1], ends, sigma, cuts)


def perceptron(architecture: Mapping[str, Any], slots: Sequence[int], dtype: Any) -> MLP:
    """One of that architecture with so many slots in each of its spaces, all dormant or zero."""
    inputs, *hidden, outputs = slots
    network = MLP(
        inputs, outputs, key=key_of(0), activation=architecture["activation"], dtype=dtype
    )
    for m, (room, beside) in enumerate(zip(hidden, architecture["residual"], strict=True)):
        network = network.with_layer(m, room, beside=beside)
    return network
