"""Files that sub-commands write."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from senn.commands.errors import UsageError


def check_new(path: Path, *, overwrite: bool) -> None:
    """Refuse, with a `UsageError`, to write where a folder or, unless `overwrite`, a file is."""
    if path.is_dir():
        raise UsageError(f"{str(path)!r} is a folder, where a file is wanted.")
    if path.exists() and not overwrite:
        raise UsageError(f"{str(path)!r} exists already: name another file, or say --overwrite.")


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """A stream whose text becomes the file once all of it is written, and never in part."""
    with unwritable_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            yield stream
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


@contextmanager
def unwritable_told(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write a file into a `UsageError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{str(path)!r} cannot be written ({reason}).") from error
