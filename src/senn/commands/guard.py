"""A process that stands by one that trains with others, to say what becomes of it.

JAX aborts a process that has lost another, or that the others do not come to, after a page of its
own on standard error, and leaves it no time for a word.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from senn.commands.errors import UNEXPECTED

SIGNALS = (signal.SIGINT, signal.SIGTERM)
OF_OTHERS = "distributed service"  # in JAX's words, where the reason is another process


def go_on_in_a_child(lost: Callable[[str], tuple[str, int]], go_on: Callable[[], str]) -> None:
    """Return in a child alone; this process passes signals on to it, and ends as it does.

    Args:
        lost: a sentence, and an exit code, for what JAX said of another process before it aborted.
        go_on: the way to go on, where the child was ended by a signal.
    """
    said, to_say = os.pipe()
    here, alive = os.pipe()  # which closes when this process ends, however it does
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        os.close(said)
        os.close(alive)
        os.setpgid(0, 0)  # so that Ctrl-C comes once, from here
        _speak_apart_from_jax(to_say)
        threading.Thread(target=_end_with, args=(here,), daemon=True).start()
        return
    os.close(to_say)
    os.close(here)
    os._exit(_stand_by(child, said, lost, go_on))


def _stand_by(
    child: int, said: int, lost: Callable[[str], tuple[str, int]], go_on: Callable[[], str]
) -> int:
    """Wait for the child, and say what it could not; the exit code."""

    def pass_on(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    with os.fdopen(said, errors="replace") as told:
        words = told.read()  # until its end
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == -signal.SIGABRT and OF_OTHERS in words:
        words, code = lost(words)
    elif code < 0:
        words += f"senn: this process was ended by {signal.Signals(-code).name}: {go_on()}.\n"
        code = 128 - code
    elif OF_OTHERS in words:
        words = ""  # it has said so itself
    sys.stderr.write(words)
    sys.stderr.flush()
    return code


def _speak_apart_from_jax(pipe: int) -> None:
    """Leave standard error to Python; what libraries write there by themselves goes to a pipe."""
    own = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    os.dup2(pipe, 2)
    os.close(pipe)
    sys.stderr = sys.__stderr__ = own


def _end_with(parent: int) -> None:
    """End this process when its parent has."""
    os.read(parent, 1)
    os._exit(UNEXPECTED)
