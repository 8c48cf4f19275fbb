"""The sub-commands of `senn`, one a module with `add_parser` and `run`."""

from senn.commands import export, predict, train

COMMANDS = (train, predict, export)  # in the order of `senn --help`
