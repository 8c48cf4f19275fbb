"""`--devices` and `--processes`: what shares the rows of a run."""

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from senn.commands.arguments import whole
from senn.commands.errors import UNEXPECTED, UsageError

PR_SET_PDEATHSIG = 1  # of Linux
SIGNALS = (signal.SIGINT, signal.SIGTERM)
TOGETHER = ("processes", "process", "coordinator")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `senn train` that say what it runs on, beside those of every command."""
    add = parser.add_argument_group("devices").add_argument
    add("--devices", type=whole(1), metavar="N",
        help="devices that share the rows of every step (default: 1)")  # fmt: skip
    add("--processes", type=whole(1), metavar="N",
        help="processes that do, each with all devices that it has")  # fmt: skip
    add("--process", type=whole(0), metavar="I", help="which of them this is, from 0")
    add("--coordinator", metavar="HOST:PORT", help="where process 0 is, the same for all")


def check(arguments: argparse.Namespace) -> None:
    """Join other processes, and refuse more devices than there are, before any data are read."""
    several = any(getattr(arguments, name) is not None for name in TOGETHER)
    if arguments.network == "conv" and (several or (arguments.devices or 1) > 1):
        raise UsageError(
            "--network conv is for one device of one process: leave out "
            f"{'--processes' if several else f'--devices {arguments.devices}'}."
        )
    if several:
        _check_processes(arguments)
        _join(arguments)
    if arguments.devices is None:
        return
    from senn.devices import mesh_of

    try:
        mesh_of(arguments.devices)
    except ValueError as error:
        raise UsageError(f"--{error}") from error


def _check_processes(arguments: argparse.Namespace) -> None:
    missing = [f"--{name}" for name in TOGETHER if getattr(arguments, name) is None]
    n, i = arguments.processes, arguments.process
    if missing:
        raise UsageError(
            f"several processes need {', '.join(f'--{name}' for name in TOGETHER)}: add "
            f"{' and '.join(missing)}."
        )
    if i >= n:
        raise UsageError(f"--process {i} must be from 0 to {n - 1}, for there are {n} processes.")
    host, _, port = arguments.coordinator.rpartition(":")
    if not (host and port.isdigit()):
        raise UsageError(
            "--coordinator must be HOST:PORT, such as 10.0.0.1:4321; got "
            f"{arguments.coordinator!r}."
        )
    if arguments.devices is not None:
        raise UsageError("--devices is for one process: several take all that they have.")
    if arguments.n_estimators > 1:
        raise UsageError("--n-estimators is for one process: leave it out.")


def _join(arguments: argparse.Namespace) -> None:
    if arguments.processes == 1:
        return
    if arguments.process > 0 and hasattr(os, "fork"):
        _go_on_in_a_child(arguments)
    from senn.processes import JoiningError, join

    try:
        join(arguments.coordinator, arguments.processes, arguments.process)
    except JoiningError as error:
        raise UsageError(str(error)) from error


def _go_on_in_a_child(arguments: argparse.Namespace) -> None:
    """Return in a child alone: this process tells what becomes of it.

    Where process 0 has died JAX aborts all others, and leaves them no time for a word.
    """
    read, write = os.pipe()
    sys.stdout.flush()
    parent, child = os.getpid(), os.fork()
    if not child:
        os.dup2(write, 2)
        _end_with(parent)
        return
    os.close(write)
    for number in SIGNALS:
        signal.signal(number, lambda number, _: os.kill(child, number))
    with os.fdopen(read, errors="replace") as said:
        words = said.read()  # until its end; but for errors it is silent
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == -signal.SIGABRT:
        words, code = _told_of_the_end(arguments, "process 0 is gone"), UNEXPECTED
    sys.stderr.write(words)
    sys.stderr.flush()
    os._exit(code if code >= 0 else 128 - code)


def _end_with(parent: int) -> None:
    """Let Linux end this process when its parent is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(UNEXPECTED)


def _told_of_the_end(arguments: argparse.Namespace, reason: str) -> str:
    folder = arguments.out or arguments.resume or getattr(arguments, "folder", None)
    go_on = f"senn train --resume {folder} goes on" if folder else "start all of them anew"
    return (
        f"senn: another of the {arguments.processes} processes has ended, so this one does, too "
        f"({reason}): {go_on}, with as many or fewer.\n"
    )


def writes(arguments: argparse.Namespace) -> bool:
    """Whether this process is the one that writes and tells, as the first does."""
    return not arguments.process


def as_told(arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments of this process: all but the first are silent, and have no folder."""
    if writes(arguments):
        return arguments
    silent = {"out": None, "quiet": True, "json": False, "tensorboard": None}
    return argparse.Namespace(**{**vars(arguments), **silent, "folder": arguments.out})


@contextmanager
def together(arguments: argparse.Namespace) -> Iterator[None]:
    """End with a sentence when another process has ended."""
    if (arguments.processes or 1) == 1:
        yield
        return
    try:
        yield
    except Exception as error:
        from jax.errors import JaxRuntimeError

        from senn.processes import leave

        if not isinstance(error, JaxRuntimeError):
            raise
        sys.stderr.write(_told_of_the_end(arguments, str(error).splitlines()[0][:120]))
        leave(UNEXPECTED)
