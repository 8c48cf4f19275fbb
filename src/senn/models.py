"""Networks as files: safetensors with a JSON header, readable without running any code.

The arrays of our own networks are stored under their names, active units only; the header says how
they fit together. Those of a network of another kind stand under their paths in it, and are read
into one like it. Capacities are an implementation detail and are not stored.
"""

import os
from typing import Any

import numpy as np

from senn import model_file
from senn.files import read_file, write_file
from senn.leaves import arrays_of, network_at, shape_of
from senn.model_file import MODEL_FORMAT as MODEL_FORMAT
from senn.model_file import WITHOUT_IMAGES, owned, owner_of
from senn.model_file import ModelFileError as ModelFileError
from senn.nn.edits import arrange, resize
from senn.nn.spaces import births, units
from senn.nn.stored import network_of
from senn.nn.stored import plain as plain
from senn.nn.tapped import AbstractTapped
from senn.readers import first_sentence


def write_model(
    path: str | os.PathLike[str],
    network: AbstractTapped,
    extra: dict[str, Any],
    arrays: dict[str, Any],
) -> None:
    """Write a network, and `extra` (JSON) and `arrays` of its owner, in one file, atomically."""
    if network.architecture is not None:
        model_file.write_model(path, plain(network), extra, arrays)
        return
    for space in network.graph.spaces:
        network = arrange(network, space, np.flatnonzero(births(network, space) >= 0))
    header = {**shape_of(network), **extra}
    write_file(path, WITHOUT_IMAGES, header, {**arrays_of(network), **owned(arrays)})


def read_model(
    path: str | os.PathLike[str], like: AbstractTapped | None = None
) -> tuple[AbstractTapped, dict[str, Any], dict[str, np.ndarray]]:
    """The network, the header, and the owner's arrays; a `ModelFileError` if it is no model.

    A network of another kind than our own is filled into one `like` it, of any sizes.
    """
    if like is None or like.architecture is not None:
        network, header, arrays = model_file.read_model(path)
        return network_of(network), header, arrays
    header, arrays = read_file(path, MODEL_FORMAT)
    try:
        network = network_at("", header, arrays, like)
    except (KeyError, ValueError, TypeError) as error:
        raise ModelFileError(
            f"{os.fspath(path)!r} does not hold a network like the one given: "
            f"{first_sentence(error)}."
        ) from error
    for space in network.graph.hidden:
        if not space.rigid:
            network = resize(network, space, space.capacity(units(network, space)))
    return network, header, owner_of(arrays)
