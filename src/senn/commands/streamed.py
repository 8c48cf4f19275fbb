"""Tables that do not fit in memory: whether to stream them, and the pass that learns of them."""

import argparse
import os
import time
from pathlib import Path
from typing import Any

from senn.commands.completion import NAMED_DATA
from senn.commands.errors import UsageError
from senn.commands.summary import tell
from senn.words import short

# Numbers in a table from which on it is streamed. Coded, each becomes up to 17 inputs of 4 bytes,
# of which training holds two copies: some 1.1 GB for so many.
MOST_IN_MEMORY = 8_000_000
BYTES_A_NUMBER = 8  # of text, about
SECONDS_BETWEEN_LINES = 5.0
HOW = "in one pass for columns, classes and scales, and then in one for every epoch"


def add_options(add: Any) -> None:
    """The option, by the `add_argument` of a group."""
    add("--stream", action=argparse.BooleanOptionalAction,
        help="read .parquet or .csv again in every pass, in bounded memory (default: folders of "
        f"them, and files of more than {MOST_IN_MEMORY // 10**6} million numbers)")  # fmt: skip


def is_asked_for(arguments: argparse.Namespace) -> bool:
    """Whether the data are to be streamed; a `UsageError` for what does not go with that."""
    from senn.datasets.streamed_files import SUFFIXES, files_in

    path = Path(arguments.data).expanduser()
    named = arguments.data.lower() in NAMED_DATA.split()
    tables = [] if named else files_in(path)
    folder = bool(tables) and path.is_dir()
    if arguments.stream and not tables:
        raise UsageError(
            f"--stream is for files ending in {' or '.join(SUFFIXES)} and folders of them, and "
            f"{arguments.data!r} is none: leave it out."
        )
    if arguments.stream is False and folder:
        raise UsageError(f"{arguments.data!r} is a folder of tables: leave out --no-stream.")
    if arguments.stream is None:
        wanted = folder or (bool(tables) and _numbers(path) > MOST_IN_MEMORY)
    else:
        wanted = arguments.stream
    if wanted:
        _check(arguments)
    return wanted


def _numbers(path: Path) -> float:
    """About how many numbers a file holds."""
    if path.suffix.lower() == ".csv":
        return os.path.getsize(path) / BYTES_A_NUMBER
    try:
        from pyarrow.parquet import read_metadata

        claims = read_metadata(path)
        return claims.num_rows * claims.num_columns
    except Exception:  # of whatever kind: who reads the file will say what is wrong
        return 0


def _check(arguments: argparse.Namespace) -> None:
    wrong = {
        "--n-estimators": arguments.n_estimators > 1,
        "--network conv": arguments.network == "conv",
        "--image-size": arguments.image_size is not None,
    }
    for option, given in wrong.items():
        if given:
            raise UsageError(
                f"{option} is not for data that are streamed, as {arguments.data!r} would be: "
                "leave it out, or say --no-stream if it is one file."
            )


def load(arguments: argparse.Namespace, console: Any) -> Any:
    """The data set, after a pass over all of it; a `UsageError` where it cannot be had."""
    from senn.datasets import DataError
    from senn.datasets.options import check_options
    from senn.datasets.streamed import streamed_dataset
    from senn.learner import Learner

    path = Path(arguments.data).expanduser()
    heard = _Heard(None if arguments.quiet else console)
    heard.say(f"{_why(path)}: it is streamed, {HOW}.")
    try:
        options = check_options(
            arguments.target, arguments.task, None, arguments.test_fraction, arguments.seed,
            drop=tuple(arguments.drop), categorical=tuple(arguments.categorical),
            encoding=arguments.encoding,
        )  # fmt: skip
        return streamed_dataset(path, options, Learner.validation_fraction, heard)
    except DataError as error:
        raise UsageError(f"{arguments.data}: {error}") from error


def _why(path: Path) -> str:
    if path.is_dir():
        return f"{short(path.name)} is a folder of tables"
    millions = _numbers(path) / 10**6
    more = "more" if millions > MOST_IN_MEMORY / 10**6 else "though not more"
    return (
        f"{short(path.name)} holds about {millions:,.3g} million numbers, {more} than the "
        f"{MOST_IN_MEMORY // 10**6} million that are trained on in memory"
    )


class _Heard:
    """Says every few seconds how far the pass is."""

    def __init__(self, console: Any):
        self.console, self.due = console, time.monotonic() + SECONDS_BETWEEN_LINES

    def say(self, line: str) -> None:
        if self.console is not None:
            tell(self.console, line)

    def __call__(self, rows: int, of: int | None) -> None:
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + SECONDS_BETWEEN_LINES
        share = f" of {of:,} ({rows / of:.0%})" if of else ""
        self.say(f"Columns, classes and scales: {rows:,} rows{share}")
