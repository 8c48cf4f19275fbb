"""`senn shrink`: a trained run made smaller, and trained on with its own data."""

import argparse
import time
from pathlib import Path
from typing import Any

from senn.callbacks.progress import Progress
from senn.commands.arguments import (
    add_debug_option,
    add_machine_options,
    number,
    use_machine,
    whole,
)
from senn.commands.completion import DATA, FOLDERS, completes
from senn.commands.console import PatientConsole
from senn.commands.errors import UsageError
from senn.commands.images import as_images
from senn.commands.models import load_model
from senn.commands.summary import SCORES, WORDS, targets, tell
from senn.commands.train import check_out, folder, load_data, save
from senn.commands.train_options import usual
from senn.machine import made_to_stay
from senn.stopping import GracefulStop
from senn.words import counted

EXAMPLES = """\
examples:
  senn shrink run --max-units 50 --out small
  senn shrink run --max-parameters 2000 --out small
  senn shrink run --max-units 20                 what it would cost; nothing is saved

The units that cost least leave first, some at a time, and training makes up for them. Without
--out nothing is saved: you are told what it would cost.
"""


def add_parser(commands: Any, style: dict[str, Any]) -> None:
    """Add the sub-command to those of `senn`."""
    parser = commands.add_parser(
        "shrink",
        help="make a trained network smaller",
        description="Make the network of RUN smaller, train on, and report what was lost.",
        epilog=EXAMPLES,
        missing="say which run, such as senn shrink run --max-units 50 --out small; "
        "senn shrink --help tells more",
        **style,
    )
    completes(parser.add_argument("model", metavar="RUN", help="folder of senn train --out"),
              FOLDERS)  # fmt: skip
    add = parser.add_argument_group("size").add_argument
    add("--max-units", type=whole(1), metavar="U", help="most hidden units in all")
    add("--max-parameters", type=whole(1), metavar="P", help="most parameters")
    add = parser.add_argument_group("training").add_argument
    add("--max-seconds", type=number(0.0), metavar="T", help="most seconds of training")
    completes(add("--data", metavar="DATA", help="the run's data, if they are elsewhere now"),
              DATA)  # fmt: skip
    completes(add("--data-dir", metavar="DIR",
        help="where the files of mnist, fashion-mnist or cifar10 are now"), FOLDERS)  # fmt: skip
    add_machine_options(parser)
    add = parser.add_argument_group("output").add_argument
    completes(add("--out", metavar="RUN2", help="folder for the smaller run"), FOLDERS)
    add("--overwrite", action="store_true", help="replace the run that --out holds")
    add("--json", action="store_true",
        help="one JSON object on standard output, everything else on standard error")  # fmt: skip
    add("--quiet", action="store_true", help="only the summary")
    add_debug_option(add)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """All checks, then removal and training, then the report."""
    if arguments.max_units is None and arguments.max_parameters is None:
        raise UsageError("say how small: --max-units U, --max-parameters P, or both.")
    check_out(arguments, create=False)
    trained = _trained(arguments.model)
    again = _as_trained(arguments, trained.settings)
    if again.stream and arguments.data is None:
        raise UsageError(
            f"{arguments.model!r} was trained on data that were streamed, and senn shrink reads "
            "data into memory: name a file of some of them by --data."
        )
    use_machine(arguments)
    console = PatientConsole(stderr=arguments.json, highlight=False, markup=False, emoji=False)
    with made_to_stay():
        data, estimator = load_data(again), load_model(arguments.model)
        data = as_images(data) if estimator._image_shape else data
        _check(arguments, estimator, data)
    with folder(again):
        if not arguments.quiet:
            tell(console, _introduction(arguments, estimator, data))
        stop = GracefulStop(None)
        with stop.listening():
            start = time.monotonic()
            smaller = _smaller(arguments, estimator, data, console, stop)
            spent = time.monotonic() - start
            return save(again, data, smaller, spent, console, before=trained.summary)


def _trained(name: str) -> Any:
    """The run, if it is a finished one."""
    from senn.runs import RunFolderError, checkpoints, read_run

    try:
        found = read_run(Path(name).expanduser())
    except RunFolderError as error:
        raise UsageError(str(error)) from error
    if checkpoints(found.folder):
        raise UsageError(f"{name!r} is not finished: senn train --resume {name} comes first.")
    return found


def _as_trained(arguments: argparse.Namespace, settings: dict[str, Any]) -> argparse.Namespace:
    """The arguments of the run, with what was said anew."""
    known = usual()
    stored = {name: value for name, value in settings.items() if name in known}
    said = {name: value for name, value in vars(arguments).items() if name in known}
    told = {name: value for name, value in said.items() if name not in ("data", "data_dir")}
    again = argparse.Namespace(**{**known, **stored, **told, "shrunk_from": arguments.model})
    again.data = arguments.data or again.data
    again.data_dir = arguments.data_dir or again.data_dir
    return again


def _check(arguments: argparse.Namespace, estimator: Any, data: Any) -> None:
    from senn.shrinking import check_budgets, fits

    budgets = arguments.max_units, arguments.max_parameters
    if not estimator._image_shape and data.x.shape[1] != estimator.n_features_in_:
        raise UsageError(
            f"the data have {counted(data.x.shape[1], 'feature')}, and the run was trained on "
            f"{estimator.n_features_in_:,}: name its own by --data."
        )
    try:
        check_budgets(estimator, *budgets)
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('_', '-')}") from error
    if fits(estimator, *budgets):
        units = counted(sum(estimator.hidden_sizes_), "hidden unit")
        raise UsageError(
            f"{arguments.model!r} has {units} and {estimator.n_parameters_:,} parameters: "
            "it is small enough already."
        )


def _introduction(arguments: argparse.Namespace, estimator: Any, data: Any) -> str:
    budgets = [
        f"at most {most:,} {what}"
        for most, what in (
            (arguments.max_units, "hidden units"),
            (arguments.max_parameters, "parameters"),
        )
        if most is not None
    ]
    units = counted(sum(estimator.hidden_sizes_), "hidden unit")
    size = f"{units} and {estimator.n_parameters_:,} parameters"
    return f"{arguments.model}: {size}, to be {' and '.join(budgets)}; {data.name}."


def _smaller(
    arguments: argparse.Namespace, estimator: Any, data: Any, console: Any, stop: GracefulStop
) -> Any:
    from senn.shrinking import shrink

    score = WORDS[SCORES[data.task]]
    progress = Progress(console, score=score, max_seconds=arguments.max_seconds)
    shown = () if arguments.quiet else (progress,)
    estimator.callbacks, estimator.max_iter = (*shown, stop), None
    estimator.max_seconds = arguments.max_seconds
    try:
        smaller = shrink(
            estimator, data.x, targets(data, data.y),
            max_units=arguments.max_units, max_parameters=arguments.max_parameters,
        )  # fmt: skip
    finally:
        progress.close()  # the terminal must be left clean, whatever happened
    smaller.name_columns(data.feature_names)
    return smaller
