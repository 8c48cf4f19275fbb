"""`--devices`: how many share the rows of a run."""

import argparse

from senn.commands.arguments import whole
from senn.commands.errors import UsageError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `senn train` that say what it runs on, beside those of every command."""
    add = parser.add_argument_group("devices").add_argument
    add("--devices", type=whole(1), metavar="N",
        help="devices that share the rows of every step (default: 1)")  # fmt: skip


def check(arguments: argparse.Namespace) -> None:
    """Refuse more devices than there are, before any data are read."""
    if arguments.devices is None:
        return
    from senn.devices import mesh_of

    try:
        mesh_of(arguments.devices)
    except ValueError as error:
        raise UsageError(f"--{error}") from error
