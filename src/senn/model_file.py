"""Model files: a network as plain arrays with what its owner adds, read without JAX."""

import os
from typing import Any

import numpy as np

from senn.files import FileError, Format, read_file, write_file
from senn.plain import OtherKindError, PlainNetwork, stored_network
from senn.readers import first_sentence


class ModelFileError(FileError):
    """A file that is no model of ours; the message is one sentence."""


MODEL_FORMAT = Format("senn-model", "model", 4, ModelFileError, checked_from=2)
WITHOUT_IMAGES = MODEL_FORMAT._replace(version=3)  # of all else: older senns read it


def write_model(
    path: str | os.PathLike[str],
    network: PlainNetwork,
    extra: dict[str, Any],
    arrays: dict[str, Any],
) -> None:
    """Write a network, and `extra` (JSON) and `arrays` of its owner, in one file, atomically."""
    header, tensors = {**network.architecture, **extra}, {**network.arrays, **owned(arrays)}
    write_file(path, MODEL_FORMAT if network.patches else WITHOUT_IMAGES, header, tensors)


def read_model(
    path: str | os.PathLike[str],
) -> tuple[PlainNetwork, dict[str, Any], dict[str, np.ndarray]]:
    """The network, the header, and the owner's arrays; a `ModelFileError` if it is no model."""
    header, tensors = read_file(path, MODEL_FORMAT)
    try:
        network = stored_network(header, tensors)
    except OtherKindError as error:
        raise ModelFileError(f"{os.fspath(path)!r} {error}.") from error
    except (KeyError, ValueError, TypeError) as error:
        raise ModelFileError(
            f"{os.fspath(path)!r} is damaged: its arrays do not fit its header "
            f"({first_sentence(error)})."
        ) from error
    return network, header, owner_of(tensors)


def owned(arrays: dict[str, Any]) -> dict[str, Any]:
    """The owner's arrays by their names in a file."""
    return {f"extra.{name}": array for name, array in arrays.items()}


def owner_of(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of a file that are its owner's."""
    return {k.removeprefix("extra."): v for k, v in tensors.items() if is_owned(k)}


def is_owned(name: str) -> bool:
    """Whether the array of that name is the owner's, and not the network's."""
    return name.startswith("extra.")
