"""Ctrl-C and SIGTERM: the first asks training to stop in good order, the second ends it at once."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from senn.callbacks import Callback

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ASKED = "senn: stopping after the present steps; once more leaves at once.\n"


class LeftAtOnceError(BaseException):
    """The second Ctrl-C or SIGTERM; not an `Exception`, so that nobody takes it for a mishap."""


class GracefulStop(Callback):
    """Ends training at the first pause after a signal, as Ctrl-C does, with one last act before.

    Signals are heard within `with stop.listening():`, in the main thread alone. Those that the
    process was started to ignore stay ignored.
    """

    def __init__(self, last_act: Callable[[Any], Any] | None = None):  # noqa: D107
        self.last_act, self.asked = last_act, False

    def on_pause(self, state: Any) -> None:
        """End training if a signal has asked for it, of several processes the first."""
        from senn.processes import told  # loads JAX

        if told(self.asked):
            if self.last_act:
                self.last_act(state)
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals as wishes to stop."""
        before = {}
        if threading.current_thread() is threading.main_thread():
            heard = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
            before = {s: signal.signal(s, self._ask) for s in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise LeftAtOnceError
        self.asked = True
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, ASKED.encode())
