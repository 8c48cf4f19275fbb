"""`senn report`: a run as one HTML file."""

import argparse
from pathlib import Path
from typing import Any

from senn.commands.arguments import add_debug_option
from senn.commands.completion import FILES, FOLDERS, completes
from senn.commands.errors import DONE, UsageError

NAME = "report.html"
EXAMPLES = """\
examples:
  senn report run                      writes run/report.html
  senn report run --out growth.html
  senn report run | xargs xdg-open     and opens it in the browser
"""


def add_parser(commands: Any, style: dict[str, Any]) -> None:
    """Add the sub-command to those of `senn`."""
    parser = commands.add_parser(
        "report",
        help="show a run in one HTML file",
        description="Write what happened in RUN, a folder of `senn train --out`, into one HTML "
        "file for the browser; it needs no network.",
        epilog=EXAMPLES,
        missing="say which run, such as senn report run; senn report --help tells more",
        **style,
    )
    add = parser.add_argument
    completes(add("folder", metavar="RUN", help="folder of senn train --out"), FOLDERS)
    completes(add("--out", metavar="FILE", help=f"the file (default: RUN/{NAME})"), FILES)
    add_debug_option(add)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read the run, write the file, and say where it is."""
    from senn.models import ModelFileError
    from senn.report import write_report
    from senn.runs import RunFolderError, read_run

    path = Path(arguments.out or Path(arguments.folder) / NAME)
    if path.is_dir():
        raise UsageError(f"--out {str(path)!r} is a folder, where a file is wanted.")
    try:
        write_report(read_run(arguments.folder), path)
    except (RunFolderError, ModelFileError) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"--out {str(path)!r} cannot be written ({reason}).") from error
    print(path)
    return DONE
