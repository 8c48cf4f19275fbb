"""The command `senn`.

Exit codes: 0 done; 1 something unexpected; 2 wrong arguments or data, told in one sentence
before any training; 130 stopped by Ctrl-C, with all that was learned until then; 141 nobody
reads the output any more.

JAX and scikit-learn take seconds to import, so they are imported where they are needed: help
and mistakes in arguments are answered at once.
"""

import argparse
import difflib
import math
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from senn import __version__
from senn.experiments import command
from senn.machine import keep_compilations, use_threads
from senn.progress import Progress, sizes_in_words

DONE, UNEXPECTED, WRONG, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141

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

DESCRIPTION = "Train neural networks whose size nobody had to choose: they grow while they train."
EXAMPLES = """\
examples:
  senn train digits                                 watch a network grow on handwritten digits
  senn train houses.csv --target price --out run    a table; the model, the ledger and the
                                                    settings go into the folder `run`
  senn train --help                                 all options
"""
TRAIN_EXAMPLES = """\
examples:
  senn train moons                           starts linear, inserts its hidden layers itself
  senn train digits --max-units 40 --seed 1
  senn train mnist --data-dir data/mnist --max-seconds 600
  senn train houses.csv --target price --out run
  senn train iris.parquet --json > result.json

Ctrl-C ends training: the network as it is is evaluated, reported, and saved with --out.
"""


class UsageError(ValueError):
    """Something the user can mend; the message is one sentence."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `argv` is without the program's name."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words or os.environ.get("SENN_TRACEBACK", "0") not in ("", "0")
    try:
        arguments = build_parser().parse_args(_attach_values(words))
        return arguments.run(arguments)
    except SystemExit as error:  # argparse, after --help and --version
        return error.code if isinstance(error.code, int) else DONE
    except BaseException as error:
        return _explain(error, debug)


def build_parser() -> argparse.ArgumentParser:
    """The arguments of `senn`."""
    style: dict[str, Any] = {
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
    parser = _Parser(prog="senn", description=DESCRIPTION, epilog=EXAMPLES, **style)
    parser.add_argument("--version", action="version", version=f"senn {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    train = commands.add_parser(
        "train",
        help="train a network and let it grow",
        description="Train a network on DATA, let it grow, and report how good it is.",
        epilog=TRAIN_EXAMPLES,
        **style,
    )
    _add_train_options(train)
    train.set_defaults(run=_train)
    reproduce = commands.add_parser(
        "reproduce",
        help="make a figure of the paper, or compare with other ways to grow",
        description="Run an experiment; write its figure and all its numbers.",
        epilog=command.EPILOG,
        **style,
    )
    command.add_arguments(reproduce, _whole, _choice(OPTIMIZERS))
    _add_machine_options(reproduce)
    reproduce.set_defaults(run=_reproduce)
    return parser


# --- Arguments -----------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one sentence."""

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
        if message.startswith("the following arguments are required: COMMAND"):
            message = "say what to do, such as senn train digits; senn --help tells more"
        if message.startswith("the following arguments are required: DATA"):
            message = (
                "say what to train on, such as senn train digits; senn train --help tells more"
            )
        if message.startswith("the following arguments are required: FIGURE"):
            message = f"say which figure, one of {', '.join(command.EXPERIMENTS)}"
        raise UsageError(message if message.endswith(("?", ".")) else f"{message}.")


def _add_train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        metavar="DATA",
        help="digits, moons, mnist, fashion-mnist, or a .csv, .parquet or .npz file",
    )
    add = parser.add_argument_group("data").add_argument
    add("--target", metavar="COLUMN", help="what to learn (default: the last column)")
    add("--task", type=_choice(TASKS), metavar="TASK",
        help="classification or regression (default: told from the target)")  # fmt: skip
    add("--data-dir", metavar="DIR", help="where the files of mnist or fashion-mnist are")
    add("--test-fraction", type=_number(0.0, 1.0), metavar="F", default=0.2,
        help="share of a table kept apart for the test score (default: 0.2)")  # fmt: skip
    add("--no-standardize", action="store_true",
        help="leave inputs as they are (default: tables are standardised, images not)")  # fmt: skip

    add = parser.add_argument_group("size").add_argument
    add("--hidden-sizes", type=_sizes, metavar="N,N",
        help="units per hidden layer to start with, such as 10,10, or none for a linear start "
        "(default: none for moons, 4 for digits, else 10)")  # fmt: skip
    add("--max-units", type=_whole(0), metavar="U", help="most hidden units in all")
    add("--max-layers", type=_whole(0), metavar="L", help="most hidden layers")
    add("--max-parameters", type=_whole(1), metavar="P", help="most parameters")
    add("--no-width", action="store_true", help="add no units to layers")
    add("--no-depth", action="store_true", help="insert no layers")
    add("--tau", type=_number(1.0), metavar="T",
        help="expansion threshold τ: what is added must raise the score τ-fold")  # fmt: skip
    add("--alpha", type=_number(0.0), metavar="A",
        help="stopping criterion α: and gain this share of what is left to gain")  # fmt: skip

    add = parser.add_argument_group("training").add_argument
    add("--seed", type=_whole(0, 2**32 - 1), metavar="S", default=0, help="(default: 0)")
    add("--max-seconds", type=_number(0.0), metavar="T", help="most seconds of training")
    add("--max-iter", type=_whole(1), metavar="N", help="most passes over the data")
    add("--batch-size", type=_whole(1), metavar="B", help="examples per step (default: 512)")
    add("--activation", type=_choice(ACTIVATIONS), metavar="NAME",
        help=f"{', '.join(ACTIVATIONS)} (default: {ACTIVATIONS[0]})")  # fmt: skip
    add("--optimizer", type=_choice(OPTIMIZERS), metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)} (default: {OPTIMIZERS[0]})")  # fmt: skip
    add("--metric", type=_choice(METRICS), metavar="NAME",
        help=f"output metric, {', '.join(METRICS)} (default: the optimiser's)")  # fmt: skip

    _add_machine_options(parser)

    add = parser.add_argument_group("output").add_argument
    add("--out", metavar="RUN", help="folder for the model, the ledger and the settings")
    add("--overwrite", action="store_true", help="replace the run that --out holds")
    add("--json", action="store_true",
        help="one JSON object on standard output, everything else on standard error")  # fmt: skip
    add("--quiet", action="store_true", help="only the summary")


def _add_machine_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("machine").add_argument
    add("--threads", type=_whole(1), metavar="N", default=1,
        help="threads of the processor (default: 1, the fastest for small networks)")  # fmt: skip
    add("--no-cache", action="store_true",
        help="do not keep what is compiled for the next run (or see $SENN_CACHE_DIR)")  # fmt: skip
    add("--debug", action="store_true", help="show the traceback of an unexpected error")


def _whole(least: int, most: int = sys.maxsize) -> Callable[[str], int]:
    wanted = f"a whole number of at least {least}"
    if most < sys.maxsize:
        wanted = f"a whole number from {least} to {most}"

    def parse(text: str) -> int:
        if re.fullmatch(r"[+-]?[0-9]{1,18}", text) and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"must be {wanted}; got {text!r}")

    return parse


def _number(above: float, below: float = math.inf) -> Callable[[str], float]:
    wanted = f"a number above {above:g}"
    if math.isfinite(below):
        wanted += f" and below {below:g}"

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if above < value < below:
            return value
        raise argparse.ArgumentTypeError(f"must be {wanted}; got {text!r}")

    return parse


def _choice(names: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        name = text.lower().replace("-", "_")
        if name in names:
            return name
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(names)}; got {text!r}")

    return parse


def _sizes(text: str) -> tuple[int, ...]:
    if text.strip().lower() == "none":
        return ()
    try:
        return tuple(_whole(1)(part.strip()) for part in text.split(","))
    except argparse.ArgumentTypeError:
        wanted = "whole numbers of at least 1 such as 10,10, or none"
        raise argparse.ArgumentTypeError(f"must be {wanted}; got {text!r}") from None


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


# --- Training ------------------------------------------------------------------------------


def _train(arguments: argparse.Namespace) -> int:
    """`senn train`: all checks, then training, then the report."""
    _check_out(arguments, create=False)
    _use_machine(arguments)
    data = _load(arguments)
    console = _Console(stderr=arguments.json, highlight=False, markup=False, emoji=False)
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
            write_run(arguments.out, estimator, _settings(arguments, estimator), summary)
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


def _use_machine(arguments: argparse.Namespace) -> None:
    """Settings of JAX for this process, before anything computes."""
    use_threads(arguments.threads)
    if not arguments.no_cache:
        warnings.filterwarnings("ignore", message=".*persistent compilation cache.*")
        keep_compilations()


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


def _estimator(arguments: argparse.Namespace, data: Any, console: "_Console") -> Any:
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
        callbacks=() if arguments.quiet else (progress,),
        **_given(arguments, names),
    )


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


def _settings(arguments: argparse.Namespace, estimator: Any) -> dict[str, Any]:
    """What was asked for, as `config.json` keeps it."""
    left_out = {"run", "json", "quiet", "debug", "overwrite", "out", "threads", "no_cache"}
    settings = {k: v for k, v in vars(arguments).items() if k not in left_out}
    return {
        **settings,
        "hidden_sizes": estimator.hidden_sizes,
        "standardize": estimator.standardize,
    }


# --- Experiments ---------------------------------------------------------------------------


def _reproduce(arguments: argparse.Namespace) -> int:
    """`senn reproduce`."""
    try:
        command.check(arguments)
        _use_machine(arguments)
        return command.run(arguments)
    except command.ReproduceError as error:
        raise UsageError(str(error)) from error


# --- What the user reads -------------------------------------------------------------------


class _Console(Console):
    """A console that ends training, as Ctrl-C does, when nobody reads it any more."""

    unread = False

    def on_broken_pipe(self) -> None:
        """The reader has gone, as with `| head`: what was learned can still be saved."""
        self.quiet = self.unread = True
        _to_nowhere(self.file)
        raise _ReaderGone


class _ReaderGone(KeyboardInterrupt):
    pass


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


def _explain(error: BaseException, debug: bool) -> int:
    """Say what went wrong in one sentence on standard error; the exit code."""
    if isinstance(error, BrokenPipeError | _ReaderGone):
        _to_nowhere(sys.stdout)
        return UNREAD
    if isinstance(error, UsageError):
        code, sentence = WRONG, str(error)
    elif isinstance(error, KeyboardInterrupt):
        code, sentence = INTERRUPTED, "interrupted, with nothing to report or to save yet."
    elif debug:
        traceback.print_exception(error)
        return UNEXPECTED
    else:
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        how = "run it again with --debug, or with SENN_TRACEBACK=1, for the traceback"
        code, sentence = UNEXPECTED, f"something unexpected happened ({told}): {how}."
    print(f"senn: {sentence}", file=sys.stderr)
    return code


def _to_nowhere(stream: Any) -> None:
    """Let what is still to be written to a closed pipe vanish, so that Python's exit is quiet."""
    with suppress(OSError, ValueError):  # no file of the system's
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
