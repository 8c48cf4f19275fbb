"""`senn reproduce`: the paper's figures, and comparisons with other ways to grow."""

import argparse
from typing import Any

from senn.commands.arguments import (
    add_debug_option,
    add_machine_options,
    choice,
    use_machine,
    whole,
)
from senn.commands.errors import UsageError
from senn.commands.train_options import OPTIMIZERS
from senn.studies import command

EXAMPLES = f"""\
examples:
  senn reproduce fig2 --out figures       a figure, and all its numbers as JSON
  senn reproduce fig3 --seeds 1 --quick   the smallest form of it, only to see it work
  senn reproduce ablation --tasks digits --resume

{command.EPILOG}
"""


def add_parser(commands: Any, style: dict[str, Any]) -> None:
    """Add the sub-command to those of `senn`."""
    parser = commands.add_parser(
        "reproduce",
        help="make a figure of the paper, or compare with other ways to grow",
        description="Run an experiment; write its figure and all its numbers.",
        epilog=EXAMPLES,
        missing=f"say which figure, one of {', '.join(command.EXPERIMENTS)}",
        **style,
    )
    command.add_arguments(parser, whole, choice(OPTIMIZERS))
    add_machine_options(parser)
    add_debug_option(parser.add_argument)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the figure."""
    try:
        command.check(arguments)
        use_machine(arguments)
        return command.run(arguments)
    except command.ReproduceError as error:
        raise UsageError(str(error)) from error
