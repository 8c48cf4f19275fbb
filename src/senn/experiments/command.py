"""`senn reproduce`: its arguments, and running a figure.

Nothing slow is imported before the arguments are known to be right.
"""

import argparse
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from senn.experiments.options import Options

FIGURES = {
    "fig2": "units added in one-dimensional regression (section 4.1)",
    "fig3": "layers added on half-moons (section 4.2)",
    "fig4-growth": "growth and accuracy on MNIST (section 4.3, left)",
    "fig4-subsets": "final size against the amount of data (section 4.3, right)",
}
EPILOG = "figures:\n" + "\n".join(f"  {name:14}{what}" for name, what in FIGURES.items())


class ReproduceError(ValueError):
    """Something the user can mend; the message is one sentence."""


def add_arguments(parser: argparse.ArgumentParser, whole: Callable[[int], Any]) -> None:
    """The arguments of `senn reproduce`; `whole(least)` reads a whole number."""
    add = parser.add_argument
    add("figure", metavar="FIGURE", help=", ".join(FIGURES))
    add("--out", metavar="DIR", default=str(Options.out),
        help="folder for FIGURE.png, .svg and .json (default: %(default)s)")  # fmt: skip
    add("--seeds", type=whole(1), metavar="N", default=Options.seeds,
        help="how many seeds (default: %(default)s)")  # fmt: skip
    add("--quick", action="store_true", help="the smallest form, in seconds; it proves nothing")
    add("--original", action="store_true",
        help="the paper's own settings where faster ones stand in; slow")  # fmt: skip
    add("--data-dir", metavar="DIR", help="where the files of mnist are")
    add("--debug", action="store_true", help="show the traceback of an unexpected error")


def run(arguments: argparse.Namespace) -> int:
    """Run one figure, seed after seed; what is done so far is saved after each."""
    name = arguments.figure
    if name not in FIGURES:
        raise ReproduceError(f"FIGURE must be one of {', '.join(FIGURES)}; got {name!r}.")
    if find_spec("matplotlib") is None:
        raise ReproduceError("figures need matplotlib: pip install 'senn[plot]'.")
    options = Options(
        Path(arguments.out).expanduser(),
        arguments.seeds,
        arguments.quick,
        arguments.original,
        arguments.data_dir,
    )

    from senn.datasets import DataError
    from senn.runs import RunFolderError, create_folder

    try:
        create_folder(options.out)
        reproduce(name, options)
    except RunFolderError as error:
        raise ReproduceError(f"--out {error}") from error
    except DataError as error:
        raise ReproduceError(str(error)) from error
    return 0


def reproduce(name: str, options: Options) -> dict[str, Any]:
    """The record of a figure, saved with its images after every seed."""
    from senn.experiments.saving import make_record, save

    figure = import_module(f"senn.experiments.{name.replace('-', '_')}")
    seeds: list[dict[str, Any]] = []
    record: dict[str, Any] = {}
    for seed in range(options.seeds):
        start, worked = time.monotonic(), time.process_time()
        found = figure.run(seed, options)
        seconds = time.monotonic() - start
        spent = {"run_seconds": seconds, "processor_seconds": time.process_time() - worked}
        seeds.append({"seed": seed, **spent, **found})
        record = make_record(name, figure, options, seeds)
        save(record, figure.draw, options.out)
        print(f"{name}, seed {seed}: {found['summary']}; {seconds:.0f} s", flush=True)
    print(f"saved in {options.out}")
    return record
