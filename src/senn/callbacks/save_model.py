"""The network as a file, kept up to date while it trains."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from senn.callbacks.base import Callback, Snapshot
from senn.history import Addition, History, Removal
from senn.models import write_model


@dataclass(eq=False)
class SaveModel(Callback):
    """Writes the network to a file every so many seconds, at each growth, and at the end.

    The file is replaced at once: whatever happens, it is whole, the old or the new one. It holds
    the network alone, as `senn.models.read_model` reads it, with the step in its header.

    Args:
        path: the file; its folder is made.
        every: least seconds between two writes that are not about growth.
        at_growth: write after each addition and removal, too.
        clock: seconds that never run backwards.
    """

    path: str | os.PathLike[str]
    every: float = 60.0
    at_growth: bool = True
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    _written: float = field(default=0.0, init=False, repr=False)
    _grew: bool = field(default=False, init=False, repr=False)
    # not yet written; set while training alone
    _latest: Snapshot | None = field(default=None, init=False, repr=False)

    def on_start(self, max_steps: int | None) -> None:  # noqa: ARG002
        """Start the clock."""
        self._written, self._grew, self._latest = self.clock(), False, None

    def on_addition(self, addition: Addition) -> None:  # noqa: ARG002
        """The next snapshot is of a network that grew."""
        self._grew = True

    def on_removal(self, removal: Removal) -> None:  # noqa: ARG002
        """The next snapshot is of a network that shrank."""
        self._grew = True

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Write it if it is time."""
        self._latest = snapshot
        if (self._grew and self.at_growth) or self.clock() - self._written >= self.every:
            self._write()
        self._grew = False

    def on_stop(self, history: History) -> None:  # noqa: ARG002
        """Write the network that is returned."""
        self._write()

    def _write(self) -> None:
        if self._latest is None:
            return
        write_model(self.path, self._latest.network, {"step": self._latest.step}, {})
        self._written, self._latest = self.clock(), None
