"""`senn train`: all checks, then training, then the report."""

import argparse
import math
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from senn import __version__
from senn.callbacks import TensorBoard
from senn.callbacks.progress import Progress, sizes_in_words
from senn.commands.arguments import (
    add_debug_option,
    add_machine_options,
    choice,
    layer_sizes,
    number,
    use_machine,
    whole,
)
from senn.commands.completion import DATA, FOLDERS, completes
from senn.commands.console import PatientConsole
from senn.commands.errors import DONE, INTERRUPTED, UNREAD, UsageError

# Units per hidden layer to start with; every other table starts with OTHER_SIZES.
FIRST_SIZES: dict[str, tuple[int, ...]] = {
    "moons": (),
    "digits": (4,),
    "mnist": (10,),
    "fashion-mnist": (10,),
}
OTHER_SIZES = (10,)

# Names that the library knows, its default first; here to be checked before it is imported.
ACTIVATIONS = ("rational", "relu", "silu", "gelu", "tanh")
OPTIMIZERS = ("kfac", "natural_gradient", "warm_natural_gradient", "adam")
METRICS = ("fisher", "euclidean")
TASKS = ("classification", "regression")
SCORES = {"classification": "accuracy", "regression": "r2"}
WORDS = {"accuracy": "accuracy", "r2": "R²"}

EXAMPLES = """\
examples:
  senn train moons                           starts linear, inserts its hidden layers itself
  senn train digits --max-units 40 --seed 1
  senn train mnist --data-dir data/mnist --max-seconds 600
  senn train houses.csv --target price --out run
  senn train iris.parquet --json > result.json

Ctrl-C ends training: the network as it is is evaluated, reported, and saved with --out.
"""


def add_parser(commands: Any, style: dict[str, Any]) -> None:
    """Add the sub-command to those of `senn`."""
    parser = commands.add_parser(
        "train",
        help="train a network and let it grow",
        description="Train a network on DATA, let it grow, and report how good it is.",
        epilog=EXAMPLES,
        missing="say what to train on, such as senn train digits; senn train --help tells more",
        **style,
    )
    _add_options(parser)
    parser.set_defaults(run=run)


def _add_options(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument(
        "data",
        metavar="DATA",
        help="digits, moons, mnist, fashion-mnist, or a .csv, .parquet or .npz file",
    )
    completes(data, DATA)
    add = parser.add_argument_group("data").add_argument
    add("--target", metavar="COLUMN", help="what to learn (default: the last column)")
    add("--task", type=choice(TASKS), choices=TASKS, metavar="TASK",
        help="classification or regression (default: told from the target)")  # fmt: skip
    completes(add("--data-dir", metavar="DIR",
        help="where the files of mnist or fashion-mnist are"), FOLDERS)  # fmt: skip
    add("--test-fraction", type=number(0.0, 1.0), metavar="F", default=0.2,
        help="share of a table kept apart for the test score (default: 0.2)")  # fmt: skip
    add("--no-standardize", action="store_true",
        help="leave inputs as they are (default: tables are standardised, images not)")  # fmt: skip

    add = parser.add_argument_group("size").add_argument
    add("--hidden-sizes", type=layer_sizes, metavar="N,N",
        help="units per hidden layer to start with, such as 10,10, or none for a linear start "
        "(default: none for moons, 4 for digits, else 10)")  # fmt: skip
    add("--max-units", type=whole(0), metavar="U", help="most hidden units in all")
    add("--max-layers", type=whole(0), metavar="L", help="most hidden layers")
    add("--max-parameters", type=whole(1), metavar="P", help="most parameters")
    add("--no-width", action="store_true", help="add no units to layers")
    add("--no-depth", action="store_true", help="insert no layers")
    add("--tau", type=number(1.0), metavar="T",
        help="expansion threshold τ: what is added must raise the score τ-fold")  # fmt: skip
    add("--alpha", type=number(0.0), metavar="A",
        help="stopping criterion α: and gain this share of what is left to gain")  # fmt: skip

    add = parser.add_argument_group("training").add_argument
    add("--seed", type=whole(0, 2**32 - 1), metavar="S", default=0, help="(default: 0)")
    add("--max-seconds", type=number(0.0), metavar="T", help="most seconds of training")
    add("--max-iter", type=whole(1), metavar="N", help="most passes over the data")
    add("--batch-size", type=whole(1), metavar="B", help="examples per step (default: 512)")
    add("--activation", type=choice(ACTIVATIONS), choices=ACTIVATIONS, metavar="NAME",
        help=f"{', '.join(ACTIVATIONS)} (default: {ACTIVATIONS[0]})")  # fmt: skip
    add("--optimizer", type=choice(OPTIMIZERS), choices=OPTIMIZERS, metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)} (default: {OPTIMIZERS[0]})")  # fmt: skip
    add("--metric", type=choice(METRICS), choices=METRICS, metavar="NAME",
        help=f"output metric, {', '.join(METRICS)} (default: the optimiser's)")  # fmt: skip

    add_machine_options(parser)

    add = parser.add_argument_group("output").add_argument
    completes(add("--out", metavar="RUN",
        help="folder for the model, the ledger and the settings"), FOLDERS)  # fmt: skip
    completes(add("--tensorboard", metavar="DIR", nargs="?", const="",
        help="events for TensorBoard (default: RUN/tensorboard, else runs/DATA-TIME)"),
        FOLDERS)  # fmt: skip
    add("--overwrite", action="store_true", help="replace the run that --out holds")
    add("--json", action="store_true",
        help="one JSON object on standard output, everything else on standard error")  # fmt: skip
    add("--quiet", action="store_true", help="only the summary")
    add_debug_option(add)


# --- Training ------------------------------------------------------------------------------


def run(arguments: argparse.Namespace) -> int:
    """`senn train`: all checks, then training, then the report."""
    _check_out(arguments, create=False)
    use_machine(arguments)
    data = _load(arguments)
    console = PatientConsole(stderr=arguments.json, highlight=False, markup=False, emoji=False)
    estimator = _estimator(arguments, data, console)
    _check_out(arguments, create=True)
    if not arguments.quiet:
        for line in _introduction(arguments, data, estimator):
            _print(console, line)

    from senn.runs import strict_json, write_run

    seconds = _fit(estimator, data)
    summary = _summary(arguments, data, estimator, seconds)
    try:
        if arguments.out is not None:
            settings, test = _settings(arguments, estimator), _predictions(estimator, data)
            write_run(arguments.out, estimator, settings, summary, test)
    finally:  # even if the disk is full
        _report(console, summary, arguments.out)
        if arguments.json:
            print(strict_json(summary), flush=True)
    if console.unread:
        return UNREAD
    return INTERRUPTED if summary["interrupted"] else DONE


def _check_out(arguments: argparse.Namespace, *, create: bool) -> None:
    """Refuse a folder for the run; make it, once all else has been checked."""
    if arguments.out is None:
        return
    from senn.runs import RunFolderError, check_folder, create_folder

    try:
        check_folder(arguments.out, overwrite=arguments.overwrite)
        if create:
            create_folder(arguments.out)
    except (RunFolderError, OSError) as error:
        raise UsageError(f"--out {error}") from error


def _load(arguments: argparse.Namespace) -> Any:
    from senn import datasets

    try:
        return datasets.load(
            arguments.data,
            target=arguments.target,
            task=arguments.task,
            data_dir=arguments.data_dir,
            test_fraction=arguments.test_fraction,
            seed=arguments.seed,
        )
    except datasets.DataError as error:
        raise UsageError(str(error)) from error


def _estimator(arguments: argparse.Namespace, data: Any, console: "PatientConsole") -> Any:
    """The estimator that the arguments ask for, once they go together."""
    sizes = arguments.hidden_sizes
    if sizes is None:
        sizes = FIRST_SIZES.get(data.name, OTHER_SIZES)
    _check_budgets(arguments, sizes)

    from senn import Policy, SENNClassifier, SENNRegressor

    names = ("activation", "optimizer", "metric", "batch_size", "max_iter", "max_units",
             "max_layers", "max_parameters", "max_seconds")  # fmt: skip
    thresholds = _given(arguments, ("tau", "alpha"))
    policy = Policy(width=not arguments.no_width, depth=not arguments.no_depth, **thresholds)
    score = WORDS[SCORES[data.task]]
    progress = Progress(console, score=score, max_seconds=arguments.max_seconds)
    make = SENNClassifier if data.task == "classification" else SENNRegressor
    return make(
        sizes,
        policy=policy,
        standardize=not (data.images or arguments.no_standardize),
        random_state=arguments.seed,
        callbacks=(*(() if arguments.quiet else (progress,)), *_tensorboard(arguments, data)),
        **_given(arguments, names),
    )


def _tensorboard(arguments: argparse.Namespace, data: Any) -> list[TensorBoard]:
    """What writes events for TensorBoard, if that is asked for."""
    if arguments.tensorboard is None:
        return []
    folder = f"runs/{Path(data.name).stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    if arguments.out is not None:
        folder = os.path.join(arguments.out, "tensorboard")
    try:
        return [TensorBoard(arguments.tensorboard or folder)]
    except ImportError as error:
        raise UsageError(f"--tensorboard: {error}") from error


def _given(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    values = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _check_budgets(arguments: argparse.Namespace, sizes: Sequence[int]) -> None:
    for option, budget, start, what in (
        ("--max-units", arguments.max_units, sum(sizes), "hidden units"),
        ("--max-layers", arguments.max_layers, len(sizes), "hidden layers"),
    ):
        if budget is not None and budget < start:
            raise UsageError(
                f"{option} {budget} is less than the {start} {what} to start with: raise it, or "
                f"start smaller with --hidden-sizes."
            )


def _fit(estimator: Any, data: Any) -> float:
    """Train, and return the seconds that it took; Ctrl-C ends it early."""
    start = time.monotonic()
    try:
        estimator.fit(data.x, _targets(data, data.y))
    finally:
        for callback in estimator.callbacks:
            callback.close()  # the terminal must be left clean, whatever happened
    estimator.feature_names_ = list(data.feature_names)
    return time.monotonic() - start


def _targets(data: Any, y: Any) -> Any:
    """Labels [N], numbers [N], or [N, O] if there is more than one output."""
    if data.classes is not None:
        return data.classes[y]
    return y[:, 0] if y.shape[1] == 1 else y


def _predictions(estimator: Any, data: Any) -> Any:
    """What was wanted of the test rows and what is predicted, or None if there are none."""
    import numpy as np

    from senn.runs import Predictions

    if not len(data.x_test):
        return None
    predicted = estimator.predict(data.x_test)
    if data.classes is not None:  # which are sorted
        codes = np.searchsorted(data.classes, predicted).astype(np.int32)
        return Predictions(data.y_test, codes, tuple(map(str, data.classes.tolist())))
    predicted = predicted.reshape(data.y_test.shape).astype(np.float32)
    return Predictions(data.y_test, predicted, _output_names(data))


def _output_names(data: Any) -> tuple[str, ...]:
    n = data.y_test.shape[1]
    return (data.target_name,) if n == 1 else tuple(f"{data.target_name} {i}" for i in range(n))


def _settings(arguments: argparse.Namespace, estimator: Any) -> dict[str, Any]:
    """What was asked for, as `config.json` keeps it."""
    left_out = {"run", "json", "quiet", "debug", "overwrite", "out", "threads", "no_cache",
                "tensorboard"}  # fmt: skip
    settings = {k: v for k, v in vars(arguments).items() if k not in left_out}
    return {
        **settings,
        "hidden_sizes": estimator.hidden_sizes,
        "standardize": estimator.standardize,
    }


# --- What the user reads -------------------------------------------------------------------


def _introduction(arguments: argparse.Namespace, data: Any, estimator: Any) -> list[str]:
    """What was loaded, and where training starts."""
    rows = f"{len(data.x):,} training and {len(data.x_test):,} test rows"
    target = f"{data.task} of {data.target_name!r}"
    if data.classes is not None:
        target += f" into {len(data.classes)} classes"
    inputs = "Inputs are left as they are."
    if estimator.standardize:
        inputs = "Inputs are standardised to mean 0 and variance 1."
    elif data.images:
        inputs = "Pixels stay in [0, 1]."
    budgets = [
        f"{name.replace('_', ' ')} {getattr(arguments, name):,.10g}"
        for name in ("max_units", "max_layers", "max_parameters", "max_seconds")
        if getattr(arguments, name) is not None
    ]
    start = f"Starting with {sizes_in_words(tuple(estimator.hidden_sizes))}"
    return [
        f"{data.name}: {rows}, {data.x.shape[1]} features, {target}.",
        *data.notes,
        inputs,
        f"{', '.join([start, *budgets])}; seed {arguments.seed}.",
    ]


def _summary(
    arguments: argparse.Namespace, data: Any, estimator: Any, seconds: float
) -> dict[str, Any]:
    """All of the result that is worth a line, or a key in JSON."""
    import numpy as np

    history = estimator.history_
    held_out = np.zeros(len(data.x), bool)
    held_out[estimator.validation_rows_] = True
    scores = {
        "train_score": _score(estimator, data, data.x[~held_out], data.y[~held_out]),
        "validation_score": _score(estimator, data, data.x[held_out], data.y[held_out]),
        "test_score": _score(estimator, data, data.x_test, data.y_test),
    }
    return {
        "data": arguments.data,
        "task": data.task,
        "seed": arguments.seed,
        "hidden_sizes": list(estimator.hidden_sizes_),
        "n_parameters": estimator.n_parameters_,
        "metric": SCORES[data.task],
        **scores,
        "seconds": seconds,
        "training_seconds": history.training_seconds,
        "growth_seconds": history.growth_seconds,
        "compile_seconds": history.compile_seconds,
        "n_compilations": history.n_compilations,
        "n_additions": len(history.additions),
        "steps": history.steps,
        "stop_reason": history.stop_reason,
        "interrupted": history.stop_reason == "interrupted",
        "version": __version__,
    }


def _score(estimator: Any, data: Any, x: Any, y: Any) -> float | None:
    """Accuracy or R², or None where it means nothing: for no rows, or R² of one row."""
    if len(x) < (1 if data.classes is not None else 2):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # R² of a constant
        score = float(estimator.score(x, _targets(data, y)))
    return score if math.isfinite(score) else None


def _report(console: Console, summary: dict[str, Any], out: str | None) -> None:
    """The summary: a table on a terminal, plain lines elsewhere."""
    rows = _report_rows(summary, out)
    if not console.is_terminal:
        for name, value in rows:
            _print(console, f"{name}: {value}")
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in rows:
        table.add_row(name, value, style="bold" if name.startswith("test") else None)
    console.print()
    console.print(table)


def _report_rows(summary: dict[str, Any], out: str | None) -> list[tuple[str, str]]:
    word = WORDS[summary["metric"]]
    scores = [
        (f"{part} {word}", f"{summary[f'{part}_score']:.4f}")
        for part in ("train", "validation", "test")
        if summary[f"{part}_score"] is not None
    ]
    parts = ", ".join(
        f"{name} {summary[f'{key}_seconds']:.1f}"
        for name, key in (
            ("training", "training"),
            ("growth", "growth"),
            ("compilation", "compile"),
        )
    )
    return [
        ("hidden sizes", ", ".join(map(str, summary["hidden_sizes"])) or "none (linear)"),
        ("parameters", f"{summary['n_parameters']:,}"),
        *scores,
        ("seconds", f"{summary['seconds']:.1f} ({parts})"),
        ("additions", str(summary["n_additions"])),
        ("steps", f"{summary['steps']:,}"),
        ("stopped", summary["stop_reason"]),
        *([("saved in", out)] if out is not None else []),
    ]


def _print(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True)
