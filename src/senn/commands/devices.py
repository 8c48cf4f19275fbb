"""`--devices` and `--processes`: what shares the rows of a run."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from senn.commands.arguments import whole
from senn.commands.errors import UNEXPECTED, WRONG, UsageError
from senn.commands.explaining import explain
from senn.commands.guard import go_on_in_a_child

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
    if hasattr(os, "fork"):
        go_on_in_a_child(partial(_lost, arguments), partial(_go_on, arguments))
    from senn.processes import JoiningError, join

    try:
        join(arguments.coordinator, arguments.processes, arguments.process)
    except JoiningError as error:
        raise UsageError(str(error)) from error


def _lost(arguments: argparse.Namespace, words: str) -> tuple[str, int]:
    """A sentence for JAX's words, and an exit code."""
    from senn.processes import not_found

    if "RegisterTask" in words:  # of the others, at the beginning
        place = arguments.process, arguments.processes, arguments.coordinator
        return f"senn: {not_found(*place, 'they did not come')}\n", WRONG
    return _told_of_the_end(arguments, "it shows no sign of life"), UNEXPECTED


def _told_of_the_end(arguments: argparse.Namespace, reason: str) -> str:
    return (
        f"senn: another of the {arguments.processes} processes has ended, so this one does, too "
        f"({reason}): {_go_on(arguments)}, with as many or fewer.\n"
    )


def _go_on(arguments: argparse.Namespace) -> str:
    """The way to go on: from a checkpoint, but where this process knows that there is none."""
    folder = arguments.out or arguments.resume or getattr(arguments, "folder", None)
    none = folder is None or not any(Path(folder).glob("checkpoint-*.senn"))
    seen = folder is None or writes(arguments) or Path(folder).is_dir()
    return "start all of them anew" if none and seen else f"senn train --resume {folder} goes on"


def writes(arguments: argparse.Namespace) -> bool:
    """Whether this process is the one that writes and tells, as the first does."""
    return not arguments.process


def disband(arguments: argparse.Namespace) -> None:
    """Let the other processes end, once all have trained: what is left is the first's."""
    if (arguments.processes or 1) > 1:
        from senn.processes import disband

        disband()


def as_told(arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments of this process: all but the first are silent, and have no folder."""
    if writes(arguments):
        return arguments
    silent = {"out": None, "quiet": True, "json": False, "tensorboard": None}
    return argparse.Namespace(**{**vars(arguments), **silent, "folder": arguments.out})


@contextmanager
def together(arguments: argparse.Namespace) -> Iterator[None]:
    """End at once, with a sentence, where this process or another one cannot go on.

    On the usual way out a process waits for the others, who may wait for it, or be dead.
    """
    try:
        yield
    except BaseException as error:
        if (arguments.processes or 1) == 1 or "jax" not in sys.modules:
            raise
        from senn.processes import comes_of_others, have_joined, leave

        if not have_joined():
            raise
        if comes_of_others(error):
            sys.stderr.write(_told_of_the_end(arguments, str(error).splitlines()[0][:120]))
            leave(UNEXPECTED)
        leave(explain(error, arguments.debug))
