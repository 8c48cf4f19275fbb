"""Files that sub-commands write."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
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
    from senn.files import written_aside  # loads what files need

    with ExitStack() as stack:
        with unwritable_told(path):
            file = stack.enter_context(written_aside(path))
        stream = TextIOWrapper(file, "utf-8", newline="")
        try:
            yield stream
        finally:
            stream.detach()  # what is left of the text is written, and the file stays open


@contextmanager
def unwritable_told(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write a file into a `UsageError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{str(path)!r} cannot be written ({reason}).") from error
