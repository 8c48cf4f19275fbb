"""`senn reproduce`: its arguments, and running an experiment.

Nothing slow is imported before the arguments are known to be right.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from senn.studies.options import Options
from senn.words import joined

FIGURES = {
    "fig2": "units added in one-dimensional regression (section 4.1)",
    "fig3": "layers added on half-moons (section 4.2)",
    "fig4-growth": "growth and accuracy on MNIST (section 4.3, left)",
    "fig4-subsets": "final size against the amount of data (section 4.3, right)",
}
STUDIES = {
    "ablation": "units by the score against units made in other ways",
    "automatic-size": "the size that growth stops at against fixed sizes",
    "oracle": "the score of units against what they gain once trained",
    "shrink": "removal by price against other orders, and budgets from the start",
}
EXPERIMENTS = FIGURES | STUDIES
EPILOG = "figures:\n" + "\n".join(f"  {name:16}{what}" for name, what in EXPERIMENTS.items())


class ReproduceError(ValueError):
    """Something the user can mend; the message is one sentence."""


def add_arguments(
    parser: argparse.ArgumentParser,
    whole: Callable[[int], Callable[[str], int]],
    optimizer: Callable[[str], str],
) -> None:
    """The arguments of `senn reproduce`, with how to read whole numbers and optimisers."""
    add = parser.add_argument
    add("figure", metavar="FIGURE", help=", ".join(EXPERIMENTS))
    add("--out", metavar="DIR", default=str(Options.out),
        help="folder for FIGURE.png, .svg and .json (default: %(default)s)")  # fmt: skip
    add("--seeds", type=whole(1), metavar="N", default=Options.seeds,
        help="how many seeds (default: %(default)s)")  # fmt: skip
    add("--resume", action="store_true",
        help="keep the runs in DIR/FIGURE.json, and add those that are missing")  # fmt: skip
    add("--quick", action="store_true", help="the smallest form, in seconds; it proves nothing")
    add("--original", action="store_true",
        help="the paper's own settings where faster ones stand in; slow")  # fmt: skip
    add("--data-dir", metavar="DIR", help="where the files of mnist and fashion-mnist are")
    studies = joined(list(STUDIES))
    add("--optimizer", type=optimizer, metavar="NAME",
        help=f"of {studies} (default: {Options.optimizer})")  # fmt: skip
    add("--tasks", metavar="NAME,NAME", help=f"data sets of {studies} (default: all)")


def check(arguments: argparse.Namespace) -> None:
    """Refuse, with a `ReproduceError`, what can be refused before anything slow is imported."""
    name = arguments.figure
    if name not in EXPERIMENTS:
        raise ReproduceError(f"FIGURE must be one of {', '.join(EXPERIMENTS)}; got {name!r}.")
    for option in ("optimizer", "tasks"):
        if getattr(arguments, option) and name not in STUDIES:
            raise ReproduceError(
                f"--{option} is for {joined(list(STUDIES))} alone: leave it out for {name}."
            )
    if find_spec("matplotlib") is None:
        raise ReproduceError("figures need matplotlib: pip install 'senn[plot]'.")


def run(arguments: argparse.Namespace) -> int:
    """Make one figure, run after run; what is done so far is saved after each."""
    options = Options(
        Path(arguments.out).expanduser(),
        arguments.seeds,
        arguments.resume,
        arguments.quick,
        arguments.original,
        arguments.data_dir,
        arguments.optimizer or Options.optimizer,
        tuple(arguments.tasks.split(",")) if arguments.tasks else (),
    )

    from senn.datasets import DataError
    from senn.runs import RunFolderError, create_folder

    try:
        create_folder(options.out)
        reproduce(arguments.figure, options)
    except RunFolderError as error:
        raise ReproduceError(f"--out {error}") from error
    except DataError as error:
        raise ReproduceError(str(error)) from error
    except KeyboardInterrupt as error:
        kept = "interrupted; finished runs are kept, and --resume goes on from there."
        raise KeyboardInterrupt(kept) from error
    return 0


def reproduce(name: str, options: Options) -> dict[str, Any]:
    """The record of a figure, saved with its images after every run."""
    from senn.studies.saving import earlier_runs, machine, save

    figure = import_module(f"senn.studies.{name.replace('-', '_')}")
    todo = list(_parts(name, options))
    runs = earlier_runs(name, figure, options) if options.resume else []
    record = save(name, figure, options, runs) if runs else {}
    done = {(run.get("task"), run["seed"]) for run in runs}
    for task, seed, part in todo:
        if (task, seed) not in done:
            runs.append({"machine": machine(), **_timed(figure, seed, part)})
            record = save(name, figure, options, runs)
            print(f"{name}, seed {seed}: {_outcome(runs[-1])}", flush=True)
    print(f"saved in {options.out}")
    return record


def _parts(name: str, options: Options) -> Iterator[tuple[str | None, int, Options]]:
    """The runs to make: data set (None for the figures), seed, and the options of that run."""
    tasks: tuple[str | None, ...] = (None,)
    if name in STUDIES:
        from senn.studies.tasks import task_names

        tasks = task_names(options)
    for task in tasks:
        part = options if task is None else replace(options, tasks=(task,))
        yield from ((task, seed, part) for seed in range(options.seeds))


def _timed(figure: Any, seed: int, options: Options) -> dict[str, Any]:
    """One run, with the time that it took."""
    start, worked = time.monotonic(), time.process_time()
    found = figure.run(seed, options)
    spent = {
        "run_seconds": time.monotonic() - start,
        "processor_seconds": time.process_time() - worked,
    }
    return {"seed": seed, **spent, **found}


def _outcome(run: dict[str, Any]) -> str:
    return f"{run['summary']}; {run['run_seconds']:.0f} s"
