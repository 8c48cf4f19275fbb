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
STUDIES = {
    "ablation": "units by the score against units made in other ways",
    "automatic-size": "the size that growth stops at against fixed sizes",
}
EXPERIMENTS = FIGURES | STUDIES
OPTIMIZERS = ("kfac", "natural_gradient", "warm_natural_gradient", "adam")
EPILOG = "figures:\n" + "\n".join(f"  {name:16}{what}" for name, what in EXPERIMENTS.items())


class ReproduceError(ValueError):
    """Something the user can mend; the message is one sentence."""


def add_arguments(parser: argparse.ArgumentParser, whole: Callable[[int], Any]) -> None:
    """The arguments of `senn reproduce`; `whole(least)` reads a whole number."""
    add = parser.add_argument
    add("figure", metavar="FIGURE", help=", ".join(EXPERIMENTS))
    add("--out", metavar="DIR", default=str(Options.out),
        help="folder for FIGURE.png, .svg and .json (default: %(default)s)")  # fmt: skip
    add("--seeds", type=whole(1), metavar="N", default=Options.seeds,
        help="how many seeds (default: %(default)s)")  # fmt: skip
    add("--quick", action="store_true", help="the smallest form, in seconds; it proves nothing")
    add("--original", action="store_true",
        help="the paper's own settings where faster ones stand in; slow")  # fmt: skip
    add("--data-dir", metavar="DIR", help="where the files of mnist and fashion-mnist are")
    studies = " and ".join(STUDIES)
    add("--optimizer", metavar="NAME",
        help=f"of {studies}: {', '.join(OPTIMIZERS)} (default: {OPTIMIZERS[0]})")  # fmt: skip
    add("--tasks", metavar="NAME,NAME", help=f"data sets of {studies} (default: all)")
    add("--debug", action="store_true", help="show the traceback of an unexpected error")


def run(arguments: argparse.Namespace) -> int:
    """Run one figure, seed after seed; what is done so far is saved after each."""
    name = arguments.figure
    _check(arguments)
    if find_spec("matplotlib") is None:
        raise ReproduceError("figures need matplotlib: pip install 'senn[plot]'.")
    options = Options(
        Path(arguments.out).expanduser(),
        arguments.seeds,
        arguments.quick,
        arguments.original,
        arguments.data_dir,
        arguments.optimizer or OPTIMIZERS[0],
        tuple(arguments.tasks.split(",")) if arguments.tasks else (),
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


def _check(arguments: argparse.Namespace) -> None:
    name, optimizer = arguments.figure, arguments.optimizer
    if name not in EXPERIMENTS:
        raise ReproduceError(f"FIGURE must be one of {', '.join(EXPERIMENTS)}; got {name!r}.")
    for option in ("optimizer", "tasks"):
        if getattr(arguments, option) and name not in STUDIES:
            raise ReproduceError(
                f"--{option} is for {' and '.join(STUDIES)} alone: leave it out for {name}."
            )
    if optimizer and optimizer not in OPTIMIZERS:
        raise ReproduceError(
            f"--optimizer must be one of {', '.join(OPTIMIZERS)}; got {optimizer!r}."
        )


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
