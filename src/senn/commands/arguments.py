"""What the sub-commands' arguments share: how words become values, and options for the machine."""

import argparse
import csv
import math
import re
import sys
from collections.abc import Callable, Sequence

from senn.machine import give_memory_back, keep_no_compilations, use_threads


def whole(least: int, most: int = sys.maxsize) -> Callable[[str], int]:
    """A reader of whole numbers in a range."""
    wanted = f"a whole number of at least {least}"
    if most < sys.maxsize:
        wanted = f"a whole number from {least} to {most}"

    def parse(text: str) -> int:
        if re.fullmatch(r"[+-]?[0-9]{1,18}", text) and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"must be {wanted}; got {text!r}")

    return parse


def number(
    above: float, below: float = math.inf, *, or_equal: bool = False
) -> Callable[[str], float]:
    """A reader of numbers strictly between two bounds; with `or_equal` the first may be one."""
    wanted = f"a number of at least {above:g}" if or_equal else f"a number above {above:g}"
    if math.isfinite(below):
        wanted += f" and below {below:g}"

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if above < value < below or (or_equal and value == above):
            return value
        raise argparse.ArgumentTypeError(f"must be {wanted}; got {text!r}")

    return parse


def choice(names: Sequence[str]) -> Callable[[str], str]:
    """A reader of one of some names, in any case, with hyphens or underscores."""

    def parse(text: str) -> str:
        name = text.lower().replace("-", "_")
        if name in names:
            return name
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(names)}; got {text!r}")

    return parse


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas; one with a comma in it stands in double quotes."""
    found = next(csv.reader([text], skipinitialspace=True), [])
    if not any(found):
        raise argparse.ArgumentTypeError("must be names of columns such as id,name; got none")
    return tuple(name.strip() for name in found if name.strip())


def layer_sizes(text: str) -> tuple[int, ...]:
    """Units per hidden layer, such as `10,10`, or `none`."""
    if text.strip().lower() == "none":
        return ()
    try:
        return tuple(whole(1)(part.strip()) for part in text.split(","))
    except argparse.ArgumentTypeError:
        wanted = "whole numbers of at least 1 such as 10,10, or none"
        raise argparse.ArgumentTypeError(f"must be {wanted}; got {text!r}") from None


def image_size(text: str) -> tuple[int, int]:
    """Height and width in pixels, such as `48,64`, or one number for both."""
    sides = text.replace("x", ",").split(",")
    try:
        height, width = map(whole(1, 2**14), sides * 2 if len(sides) == 1 else sides)
    except (argparse.ArgumentTypeError, ValueError):
        wanted = "a number of pixels such as 64, or a height and a width such as 48,64"
        raise argparse.ArgumentTypeError(f"must be {wanted}; got {text!r}") from None
    return height, width


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `use_machine` reads."""
    add = parser.add_argument_group("machine").add_argument
    add("--threads", type=whole(1), metavar="N", default=1,
        help="threads of the processor (default: 1, the fastest for small networks)")  # fmt: skip
    add("--no-cache", action="store_true",
        help="do not keep what is compiled for the next run (or see $SENN_CACHE_DIR)")  # fmt: skip


def add_debug_option(add: Callable[..., argparse.Action]) -> None:
    """Add `--debug`, which `senn.cli.main` reads, by the `add_argument` of a parser or a group."""
    add("--debug", action="store_true", help="show the traceback of an unexpected error")


def use_machine(arguments: argparse.Namespace) -> None:
    """Settings of this process, before anything computes."""
    use_threads(arguments.threads)
    give_memory_back()
    if arguments.no_cache:
        keep_no_compilations()
