"""Our files: safetensors with a JSON header and a checksum, read without running any code.

`docs/formats.md` describes them. Writing is atomic: a file is the old or the new one, never half.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from senn.readers import first_sentence

HEADER = "senn"  # the one entry of the metadata: safetensors writes several in any order
CHECKSUM = "sha256"  # the name of an array


class FileError(ValueError):
    """A file that is not what it should be; the message is one sentence."""


class Format(NamedTuple):
    """A kind of file."""

    name: str  # as its header says
    what: str  # as messages say
    version: int  # that is written, and the newest that can be read
    error: type[FileError]
    checked_from: int = 1  # the first version with a checksum


def write_file(
    path: str | os.PathLike[str], kind: Format, header: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Write a header (JSON) and arrays, atomically."""
    text = json.dumps({"format": kind.name, "version": kind.version, **header})
    tensors = {name: _storable(name, array) for name, array in arrays.items()}
    tensors[CHECKSUM] = _checksum(text, tensors)
    write_atomically(Path(path), save(tensors, {HEADER: text}))


def read_file(
    path: str | os.PathLike[str], kind: Format
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays that `write_file` wrote; the kind's error if that is not it."""
    path = Path(path)
    if not path.is_file():
        raise kind.error(f"There is no {kind.what} file at {str(path)!r}.")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(HEADER, "null")
            header = json.loads(text)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError, RecursionError) as error:
        raise kind.error(
            f"{str(path)!r} is no senn {kind.what} ({first_sentence(error)})."
        ) from error
    if not isinstance(header, dict) or header.get("format") != kind.name:
        raise kind.error(f"{str(path)!r} is no senn {kind.what}: its header does not say so.")
    version = header.get("version")
    if type(version) is not int or not 1 <= version <= kind.version:
        raise kind.error(
            f"{str(path)!r} has {kind.what} format {str(version)[:20]}, and this senn reads "
            f"up to {kind.version}; upgrade senn."
        )
    said = tensors.pop(CHECKSUM, None)
    if said is None and version < kind.checked_from:
        return header, tensors
    if said is None or said.tobytes() != _checksum(text, tensors).tobytes():
        raise kind.error(f"{str(path)!r} is damaged: its checksum is not that of its content.")
    return header, tensors


def write_atomically(path: Path, content: bytes) -> None:
    """Make this the content of a file; it is the old or the new one, never half."""
    with written_aside(path) as file:
        file.write(content)


@contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content becomes the file once it is all there, flushed to the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _storable(name: str, array: Any) -> np.ndarray:
    # safetensors corrupts arrays that are not contiguous, in silence
    array = np.asarray(array, order="C")
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} has type {array.dtype}, which files cannot hold; use float32 or float64."
        )
    return array


def _checksum(header: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """SHA-256 of the header, then of every array in the order of their names."""
    digest = hashlib.sha256(header.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return np.frombuffer(digest.digest(), np.uint8)
