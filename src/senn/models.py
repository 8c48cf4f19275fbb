"""Networks as files: safetensors with a JSON header, readable without running any code.

The arrays of a network are stored under their names, active units only; the header says how
they fit together. Capacities are an implementation detail and are not stored.
"""

import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from senn import model_file
from senn.arrays import to_device
from senn.model_file import MODEL_FORMAT as MODEL_FORMAT
from senn.model_file import ModelFileError as ModelFileError
from senn.nn import MLP, Dense, Hidden
from senn.nn.activation import activation_called
from senn.nn.network import assemble, next_capacity
from senn.plain import PlainNetwork, source_nodes


def write_model(
    path: str | os.PathLike[str], network: MLP, extra: dict[str, Any], arrays: dict[str, Any]
) -> None:
    """Write a network, and `extra` (JSON) and `arrays` of its owner, in one file, atomically."""
    model_file.write_model(path, plain(network), extra, arrays)


def read_model(path: str | os.PathLike[str]) -> tuple[MLP, dict[str, Any], dict[str, np.ndarray]]:
    """The network, the header, and the owner's arrays; a `ModelFileError` if it is no model."""
    network, header, arrays = model_file.read_model(path)
    return network.network(), header, arrays


def plain(network: MLP) -> PlainNetwork:
    """What a network predicts with, as plain arrays."""
    # Copies: a forked process must never meet memory that JAX may use again.
    arrays = {name: np.array(array) for name, array in network_arrays(network).items()}
    return PlainNetwork(architecture(network), arrays, network)


def architecture(network: MLP) -> dict[str, Any]:
    """How the arrays of a network fit together, as JSON."""
    return {
        "in_size": network.in_size,
        "out_size": network.out_size,
        "hidden_sizes": network.hidden_sizes,
        "residual": [layer.residual for layer in network.hidden],
        "activation": network.activation.name,
    }


def network_arrays(network: MLP) -> dict[str, np.ndarray]:
    """The active parameters: map{m}.weight [I, O], map{m}.bias [O], and theta{l} [F, O]."""
    sizes = (*network.hidden_sizes, network.out_size)
    arrays = {}
    for m, (dense, n) in enumerate(zip(network.maps, sizes, strict=True)):
        rows = network.inputs_in_use(m)
        arrays[f"map{m}.weight"] = np.concatenate([np.asarray(w) for w in dense.weights])[rows, :n]
        arrays[f"map{m}.bias"] = np.asarray(dense.bias)[:n]
    for m, layer in enumerate(network.hidden):
        if layer.activation.theta is not None:
            arrays[f"theta{m}"] = np.asarray(layer.activation.theta)[:, : sizes[m]]
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
        hidden.append(Hidden(maps[m], sigma.of(theta), to_device(n, jnp.int32), residual))
    return assemble(hidden, maps[-1], sigma, header["in_size"], header["out_size"])


def _padded(array: np.ndarray, shape: tuple[int, ...]) -> jax.Array:
    return to_device(np.pad(array, [(0, c - n) for n, c in zip(array.shape, shape, strict=True)]))
