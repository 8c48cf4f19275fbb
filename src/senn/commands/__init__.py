"""The sub-commands of `senn`, one a module with `add_parser` and `run`."""

from senn.commands import export, predict, report, reproduce, shrink, train

COMMANDS = (train, shrink, report, predict, export, reproduce)  # in the order of `senn --help`
