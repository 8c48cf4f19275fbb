"""Models as files: safetensors with a JSON header, readable without running any code.

The arrays of a network are stored under their names, active units only; the header says how
they fit together. Capacities are an implementation detail and are not stored.
"""

import os
import reprlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from senn.arrays import to_device
from senn.files import FileError, Format, read_file, write_file
from senn.nn import MLP, Dense, Hidden
from senn.nn.activation import Fixed, Rational, check_activation
from senn.nn.network import assemble, next_capacity, source_nodes
from senn.readers import first_sentence


class ModelFileError(FileError):
    """A file that is no model of ours; the message is one sentence."""


MODEL_FORMAT = Format("senn-model", "model", 2, ModelFileError, checked_from=2)


def write_model(
    path: str | os.PathLike[str], network: MLP, extra: dict[str, Any], arrays: dict[str, Any]
) -> None:
    """Write a network, and `extra` (JSON) and `arrays` of its owner, in one file, atomically."""
    owned = {f"extra.{name}": array for name, array in arrays.items()}
    header = {**architecture(network), **extra}
    write_file(path, MODEL_FORMAT, header, {**network_arrays(network), **owned})


def read_model(path: str | os.PathLike[str]) -> tuple[MLP, dict[str, Any], dict[str, np.ndarray]]:
    """The network, the header, and the owner's arrays; a `ModelFileError` if it is no model."""
    header, tensors = read_file(path, MODEL_FORMAT)
    try:
        network = network_from(header, tensors)
    except (KeyError, ValueError, TypeError) as error:
        raise ModelFileError(
            f"{os.fspath(path)!r} is damaged: its arrays do not fit its header "
            f"({first_sentence(error)})."
        ) from error
    owned = {k.removeprefix("extra."): v for k, v in tensors.items() if k.startswith("extra.")}
    return network, header, owned


def architecture(network: MLP) -> dict[str, Any]:
    """How the arrays of a network fit together, as JSON."""
    return {
        "in_size": network.in_size,
        "out_size": network.out_size,
        "hidden_sizes": network.hidden_sizes,
        "residual": [layer.residual for layer in network.hidden],
        "activation": network.activation,
    }


def network_arrays(network: MLP) -> dict[str, np.ndarray]:
    """The active parameters: map{m}.weight [I, O], map{m}.bias [O], and theta{l} [3, O]."""
    sizes = (*network.hidden_sizes, network.out_size)
    arrays = {}
    for m, (dense, n) in enumerate(zip(network.maps, sizes, strict=True)):
        rows = np.asarray(network.active_inputs(m))
        arrays[f"map{m}.weight"] = np.asarray(dense.weight)[rows, :n]
        arrays[f"map{m}.bias"] = np.asarray(dense.bias)[:n]
    if network.activation == "rational":
        for m, layer in enumerate(network.hidden):
            arrays[f"theta{m}"] = np.asarray(layer.activation.theta)[:, : sizes[m]]  # pyright: ignore[reportAttributeAccessIssue]
    return arrays


def network_from(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> MLP:
    """The network that `network_arrays` and the header describe, with room to grow."""
    check_activation(header["activation"])
    _check_sizes(header)
    nodes = (header["in_size"], *header["hidden_sizes"])
    slots = (header["in_size"], *(next_capacity(n) for n in header["hidden_sizes"]))
    sizes = (*header["hidden_sizes"], header["out_size"])
    maps = []
    outputs = zip((*slots[1:], header["out_size"]), source_nodes(header["residual"]), strict=True)
    for m, (columns, sources) in enumerate(outputs):
        weight = _shaped(arrays, f"map{m}.weight", (sum(nodes[s] for s in sources), sizes[m]))
        bias = _shaped(arrays, f"map{m}.bias", (sizes[m],))
        rows = np.split(weight, np.cumsum([nodes[s] for s in sources])[:-1])
        blocks = (_padded(r, (slots[s], columns)) for r, s in zip(rows, sources, strict=True))
        maps.append(Dense(tuple(blocks), _padded(bias, (columns,))))
    hidden = []
    for m, (n, residual) in enumerate(zip(nodes[1:], header["residual"], strict=True)):
        if header["activation"] == "rational":
            sigma = Rational(theta=_padded(_shaped(arrays, f"theta{m}", (3, n)), (3, slots[m + 1])))
        else:
            sigma = Fixed(header["activation"])
        hidden.append(Hidden(maps[m], sigma, to_device(n, jnp.int32), residual))
    return assemble(hidden, maps[-1], header["activation"], header["in_size"], header["out_size"])


def _check_sizes(header: dict[str, Any]) -> None:
    sizes = [header["in_size"], *header["hidden_sizes"], header["out_size"]]
    if not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(f"sizes {reprlib.repr(sizes)} are not all whole numbers above 0")
    if not all(type(beside) is bool for beside in header["residual"]):
        raise ValueError(f"residual {reprlib.repr(header['residual'])} is not true or false each")


def _shaped(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    array = arrays[name]
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, not {shape}")
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ValueError(f"{name} holds other values than finite floating-point numbers")
    return array


def _padded(array: np.ndarray, shape: tuple[int, ...]) -> jax.Array:
    return to_device(np.pad(array, [(0, c - n) for n, c in zip(array.shape, shape, strict=True)]))
