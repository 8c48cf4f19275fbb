"""Perceptrons as what files hold: arrays of the active parameters, and how they fit together."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from senn.arrays import key_of, to_device
from senn.nn.activation import activation_called
from senn.nn.dense import Dense
from senn.nn.network import MLP, Hidden, assemble
from senn.nn.spaces import first_units, next_capacity
from senn.plain import PlainNetwork, source_nodes


def plain(network: Any) -> PlainNetwork:
    """What a network predicts with, as plain arrays."""
    # Copies: a forked process must never meet memory that JAX may use again.
    arrays = {name: np.array(array) for name, array in network_arrays(network).items()}
    return PlainNetwork(network.architecture, arrays, network)


def network_of(stored: PlainNetwork) -> MLP:
    """The network that these arrays are of, or one with room to grow."""
    if stored.made_of is None:
        stored.made_of = mlp_from(stored.architecture, stored.arrays)
    return stored.made_of


def network_arrays(network: MLP) -> dict[str, np.ndarray]:
    """The active parameters: map{m}.weight [I, O], map{m}.bias [O], and theta{l} [F, O]."""
    arrays = {}
    for m, dense in enumerate(network.maps):
        rows, columns = network.inputs_in_use(m), network.outputs_in_use(m)
        weight = np.concatenate([np.asarray(w) for w in dense.weights])
        arrays[f"map{m}.weight"] = weight[np.ix_(rows, columns)]
        arrays[f"map{m}.bias"] = np.asarray(dense.bias)[columns]
    for m, layer in enumerate(network.hidden):
        if layer.activation.theta is not None:
            theta = np.asarray(layer.activation.theta)
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


def perceptron(architecture: Mapping[str, Any], slots: Sequence[int], dtype: Any) -> MLP:
    """One of that architecture with so many slots in each of its spaces, all dormant or zero."""
    inputs, *hidden, outputs = slots
    network = MLP(
        inputs, outputs, key=key_of(0), activation=architecture["activation"], dtype=dtype
    )
    for m, (room, beside) in enumerate(zip(hidden, architecture["residual"], strict=True)):
        network = network.with_layer(m, room, beside=beside)
    return network
