"""Writing to a terminal, a file, or a pipe whose reader may go."""

import os
from contextlib import suppress
from typing import Any

from rich.console import Console


class ReaderGoneError(KeyboardInterrupt):
    """Nobody reads the output any more; like Ctrl-C it ends training early."""


class PatientConsole(Console):
    """A console that ends training, as Ctrl-C does, when nobody reads it any more."""

    unread = False

    def on_broken_pipe(self) -> None:
        """The reader has gone, as with `| head`: what was learned can still be saved."""
        self.quiet = self.unread = True
        to_nowhere(self.file)
        raise ReaderGoneError


def to_nowhere(stream: Any) -> None:
    """Let what is still to be written to a closed pipe vanish, so that Python's exit is quiet."""
    with suppress(OSError, ValueError):  # no file of the system's
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
