"""The command `senn`.

Exit codes: 0 done; 1 something unexpected, or the result cannot be saved; 2 wrong arguments or
data, told in one sentence before any training; 130 stopped by Ctrl-C or SIGTERM, with all that
was learned until then; 141 nobody reads the output any more.

JAX and scikit-learn take seconds to import, so they are imported where they are needed: help
and mistakes in arguments are answered at once.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from senn import __version__
from senn.commands import COMMANDS
from senn.commands.completion import PrintCompletion
from senn.commands.errors import DONE, UsageError
from senn.commands.explaining import explain

DESCRIPTION = "Train neural networks whose size nobody had to choose: they grow while they train."
EXAMPLES = """\
examples:
  senn train digits                                 watch a network grow on handwritten digits
  senn train houses.csv --target price --out run    a table; the model, the ledger and the
                                                    settings go into the folder `run`
  senn report run                                   what happened in it, in one HTML file
  senn predict run new.csv --out predicted.csv      the same columns, and a prediction a row
  senn export run model.onnx                        the model for other programs
  senn train --help                                 all options
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `argv` is without the program's name."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = build_parser().parse_args(_attach_values(words))
        return arguments.run(arguments)
    except SystemExit as error:  # argparse, after --help and --version
        return error.code if isinstance(error.code, int) else DONE
    except BaseException as error:
        return explain(error, "--debug" in words)


def build_parser() -> argparse.ArgumentParser:
    """The arguments of `senn`."""
    style: dict[str, Any] = {
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
    missing = "say what to do, such as senn train digits; senn --help tells more"
    parser = _Parser(
        prog="senn", description=DESCRIPTION, epilog=EXAMPLES, missing=missing, **style
    )
    parser.add_argument("--version", action="version", version=f"senn {__version__}")
    parser.add_argument("--print-completion", action=PrintCompletion)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for command in COMMANDS:
        command.add_parser(commands, style)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one sentence, and `missing` if an argument is."""

    def __init__(self, *args: Any, missing: str | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.missing = missing

    # A command's own parser complains of what it does not know: it can say what is near.
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument (\S+): ", r"\1 ", message)
        unknown = re.match(r"unrecognized arguments: (--\S+)", message)
        if unknown:
            near = difflib.get_close_matches(unknown[1], self._option_string_actions, n=1)
            message += f"; did you mean {near[0]}?" if near else ""
        if self.missing and message.startswith("the following arguments are required"):
            message = self.missing
        raise UsageError(message if message.endswith(("?", ".")) else f"{message}.")


def _attach_values(words: Sequence[str]) -> list[str]:
    """Join `--option -1,3` to `--option=-1,3`, which argparse would take for two options."""
    joined: list[str] = []
    for word in words:
        value = re.match(r"-(\d|\.|inf|nan)", word)
        if value and joined and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined
