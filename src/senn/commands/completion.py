"""Completion by the shell's Tab key, from a script that shtab writes.

The script is complete in itself, so that no key press has to wait for Python to start.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from senn.commands.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
NAMED_DATA = "digits moons mnist fashion-mnist cifar10"

# Values of `complete`, which shtab looks for on an argument.
FILES = "file"
FOLDERS = "directory"
DATA = {
    "bash": "_senn_data",
    "zsh": "_files",
    "fish": "(__fish_complete_path (commandline -ct))",
    "preamble": {"bash": f'_senn_data() {{\n  compgen -W "{NAMED_DATA}" -- "$1"\n'
                         '  compgen -f -- "$1"\n}\n'},
}  # fmt: skip


def completes(action: argparse.Action, how: Any) -> None:
    """Say what completes the value of an argument: `FILES`, `FOLDERS` or `DATA`."""
    action.complete = how  # pyright: ignore[reportAttributeAccessIssue]


class PrintCompletion(argparse.Action):
    """`--print-completion SHELL`: print the script and end, as `--help` does."""

    def __init__(self, option_strings: Sequence[str], dest: str):  # noqa: ARG002, D107
        super().__init__(
            option_strings,
            argparse.SUPPRESS,
            choices=SHELLS,
            metavar="SHELL",
            help=f"print what makes {', '.join(SHELLS[:-1])} or {SHELLS[-1]} complete senn's words",
        )

    def __call__(
        self, parser: argparse.ArgumentParser, _: Any, values: Any, __: Any = None
    ) -> None:
        """Print the script for the shell that was named."""
        try:
            import shtab
        except ImportError as error:
            raise UsageError(
                "--print-completion needs shtab: pip install 'senn[completion]'."
            ) from error
        print(shtab.complete(parser, values))
        parser.exit()
