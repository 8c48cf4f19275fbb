"""`senn train`: all checks, then training, then the report."""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from senn.callbacks import TensorBoard
from senn.callbacks.progress import Progress
from senn.commands import devices, images, streamed
from senn.commands.arguments import use_machine
from senn.commands.columns import ColumnsTold
from senn.commands.console import PatientConsole
from senn.commands.errors import DONE, INTERRUPTED, UNREAD, NotSavedError, UsageError
from senn.commands.resuming import (
    ANEW,
    check_only_resumed,
    held,
    kept,
    last_checkpoint,
    resumed,
    warn,
)
from senn.commands.summary import (
    COMPARED,
    SCORES,
    WORDS,
    introduction,
    predictions,
    report,
    summarise,
    targets,
    tell,
)
from senn.commands.train_options import FIRST_SIZES, OTHER_SIZES, add_options, usual
from senn.machine import made_to_stay
from senn.stopping import GracefulStop
from senn.words import short

EXAMPLES = """\
examples:
  senn train moons                           starts linear, inserts its hidden layers itself
  senn train digits --max-units 40 --seed 1
  senn train mnist --data-dir data/mnist --max-seconds 600
  senn train mnist --network conv --max-parameters 10000
  senn train photos --image-size 48          a folder of images, in a folder for each class
  senn train houses.csv --target price --out run
  senn train iris.parquet --json > result.json
  senn train sales.csv.gz --drop id,name --categorical zip
  senn train clicks --target bought          a folder of .parquet or .csv files, of any size
  senn train --resume run                    goes on with a run that was stopped or killed

Ctrl-C ends training: the network as it is is evaluated, reported, and saved with --out. Once
more leaves at once. With --out all is kept that a run of one network needs to go on later.
"""


def add_parser(commands: Any, style: dict[str, Any]) -> None:
    """Add the sub-command to those of `senn`."""
    parser = commands.add_parser(
        "train",
        help="train a network and let it grow",
        description="Train a network on DATA, let it grow, and report how good it is.",
        epilog=EXAMPLES,
        **style,
    )
    add_options(parser)
    parser.set_defaults(run=run)


# --- Training ------------------------------------------------------------------------------


def run(arguments: argparse.Namespace) -> int:
    """`senn train`: a new run, or one to go on with."""
    if arguments.resume is not None:
        return _resume(arguments)
    if arguments.data is None:
        raise UsageError(
            "say what to train on, such as senn train digits; senn train --help tells more."
        )
    own = devices.as_told(arguments)
    check_out(own, create=False)
    with devices.together(arguments):
        return _train(own)


def _train(arguments: argparse.Namespace, checkpoint: Any = None) -> int:
    """All checks, then training, then the report."""
    use_machine(arguments)
    arguments.stream = streamed.is_asked_for(arguments)
    conv = not arguments.stream and images.are_asked_for(arguments)
    devices.check(arguments)
    console = PatientConsole(stderr=arguments.json, highlight=False, markup=False, emoji=False)
    with made_to_stay():
        data = streamed.load(arguments, console) if arguments.stream else load_data(arguments)
        data = images.as_images(data) if conv else data
        estimator = _estimator(arguments, data, console)
    with nullcontext() if checkpoint else folder(arguments):
        if not arguments.quiet:
            for line in introduction(arguments, data, estimator, checkpoint):
                tell(console, line)
        writer = _writer(arguments, checkpoint)
        stop = GracefulStop(writer and writer.write)
        with stop.listening():  # what was learned is saved, whenever the signal comes
            unseen = [] if arguments.quiet else [ColumnsTold(estimator, console)]
            seconds = fitted(estimator, data, checkpoint, [*unseen, *filter(None, [writer]), stop])
            devices.disband(arguments)
            if not devices.writes(arguments):
                return DONE
            return save(arguments, data, estimator, seconds, console)


def save(
    arguments: argparse.Namespace, data: Any, estimator: Any, seconds: float,
    console: PatientConsole, before: dict[str, Any] | None = None,
) -> int:  # fmt: skip
    """Write the run, and report whether it can be written or not; the exit code.

    `before` is the summary of the run that this one made smaller, if it did.
    """
    from senn.runs import RunFolderError, remove_checkpoints, strict_json, write_run

    out, summary = arguments.out, summarise(arguments, data, estimator, seconds)
    if before is not None:
        summary["before"] = {key: before.get(key) for key in COMPARED}
    try:
        if out is not None:
            settings, test = _settings(arguments, estimator), predictions(estimator, data)
            write_run(out, estimator, settings, summary, test)
            if not summary["interrupted"]:
                remove_checkpoints(out)
    except (OSError, RunFolderError) as error:
        reason = getattr(error, "strerror", None) or error
        again = "run this once more."
        if before is None:
            again = f"senn train --resume {out} ends it once more from its last checkpoint."
        raise NotSavedError(
            f"the run cannot be saved in {out!r} ({reason}): mend that, and {again}"
        ) from error
    finally:
        report(console, summary, out)
        if arguments.json:
            print(strict_json(summary), flush=True)
    if console.unread:
        return UNREAD
    return INTERRUPTED if summary["interrupted"] else DONE


def _resume(arguments: argparse.Namespace) -> int:
    """`senn train --resume RUN`."""
    from senn import runs

    check_only_resumed(arguments, usual())
    writes = devices.writes(arguments)
    with held("--resume", arguments.resume) if writes else nullcontext():
        if runs.is_finished(arguments.resume):
            warn(f"the run in {arguments.resume!r} is finished: there is nothing to go on with.")
            if arguments.json:
                print(runs.strict_json(runs.read_run(arguments.resume).summary), flush=True)
            return DONE
        checkpoint = last_checkpoint(arguments.resume)
        own = devices.as_told(resumed(arguments, checkpoint))
        with devices.together(arguments):
            return _train(own, checkpoint)


@contextmanager
def folder(arguments: argparse.Namespace) -> Iterator[None]:
    """The folder for the run, made, and kept to this process."""
    check_out(arguments, create=True)
    with nullcontext() if arguments.out is None else held("--out", arguments.out):
        yield


def check_out(arguments: argparse.Namespace, *, create: bool) -> None:
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


def load_data(arguments: argparse.Namespace) -> Any:
    """The data that the arguments name; a `UsageError` where they cannot be had."""
    from senn import datasets

    try:
        return datasets.load(
            arguments.data,
            target=arguments.target,
            task=arguments.task,
            data_dir=arguments.data_dir,
            test_fraction=arguments.test_fraction,
            seed=arguments.seed,
            drop=arguments.drop,
            categorical=arguments.categorical,
            encoding=arguments.encoding,
            image_size=arguments.image_size and tuple(arguments.image_size),
        )
    except datasets.DataError as error:
        raise UsageError(str(error)) from error


def _estimator(arguments: argparse.Namespace, data: Any, console: "PatientConsole") -> Any:
    """The estimator that the arguments ask for, once they go together."""
    conv = arguments.network == "conv"
    sizes = arguments.hidden_sizes
    if sizes is None:
        sizes = FIRST_SIZES.get(data.name, OTHER_SIZES)
    if not conv:
        _check_budgets(arguments, sizes)

    from senn import Policy, learning, tables  # noqa: F401  what training needs is loaded now
    from senn.learner import ClassLearner, NumberLearner

    classes = data.task == "classification"
    given = ("activation", "optimizer", "metric", "batch_size", "max_iter", "max_units",
             "max_layers", "max_parameters", "max_seconds", "n_estimators", "bins",
             "devices", *(["label_smoothing"] if classes else []))  # fmt: skip
    thresholds = _given(arguments, ("tau", "alpha"))
    raw = data.images or arguments.no_standardize
    _check_kind(arguments, data, raw=raw or conv)
    own = images.settings(arguments) if conv else {
        "policy": Policy() if raw else tables.POLICY,
        "standardize": False if raw else tables.ROBUST,
    }  # fmt: skip
    own["policy"] = replace(
        own["policy"],
        width=not arguments.no_width,
        depth=own["policy"].depth and not arguments.no_depth,
        **thresholds,
    )
    score = WORDS[SCORES[data.task]]
    progress = Progress(console, score=score, max_seconds=arguments.max_seconds)
    make = ClassLearner if classes else NumberLearner
    return make(
        sizes,
        **own,
        random_state=arguments.seed,
        callbacks=(*(() if arguments.quiet else (progress,)), *_tensorboard(arguments, data)),
        **_given(arguments, given),
    )


def _check_kind(arguments: argparse.Namespace, data: Any, *, raw: bool) -> None:
    """Refuse options that are for data of another kind."""
    if arguments.bins is not None and raw:
        why = "--no-standardize leaves inputs" if arguments.no_standardize else "images are left"
        raise UsageError(
            f"--bins {arguments.bins} is for columns that are rescaled, and {why} as they are: "
            "leave it out."
        )
    if arguments.label_smoothing is not None and data.task == "regression":
        raise UsageError(
            f"--label-smoothing {arguments.label_smoothing:g} is for classes, and "
            f"{short(data.target_name)} is taken for numbers: leave it out, or say --task "
            "classification."
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


def fitted(estimator: Any, data: Any, checkpoint: Any, unseen: list[Any]) -> float:
    """Train, with callbacks that show nothing besides, and return the seconds that it took."""
    from senn import learning
    from senn.checkpoints import CheckpointError
    from senn.datasets import DataError
    from senn.settings import SettingError
    from senn.training import ResumeError

    start, shown, stream = time.monotonic(), estimator.callbacks, getattr(data, "stream", None)
    estimator.callbacks = (*shown, *unseen)
    rows = data.x, targets(data, data.y)
    try:
        if stream is not None:
            learning.fit_anew(estimator, *rows, None, checkpoint, stream)
        else:
            estimator.resume(checkpoint, *rows) if checkpoint else estimator.fit(*rows)
    except (CheckpointError, ResumeError) as error:
        raise UsageError(f"--resume: {error}") from error
    except SettingError as error:  # which is told once the shape of the data is known
        raise UsageError(str(error)) from error
    except DataError as error:  # of columns, which are learned from the rows to train on
        raise UsageError(f"{data.name}: {error}") from error
    finally:
        for callback in shown:
            callback.close()  # the terminal must be left clean, whatever happened
    estimator.name_columns(data.feature_names)
    return time.monotonic() - start + (checkpoint.header["seconds"] if checkpoint else 0.0)


def _writer(arguments: argparse.Namespace, checkpoint: Any) -> Any:
    """What keeps checkpoints of the run, if it has a folder and is of one network."""
    if arguments.out is None or arguments.n_estimators > 1:
        return None
    from senn.runs import RunWriter

    return RunWriter(
        arguments.out,
        arguments.checkpoint_seconds,
        about={"arguments": kept(arguments)},
        kept=() if checkpoint is None else (Path(checkpoint.path),),
        tell=warn,
    )


def _settings(arguments: argparse.Namespace, estimator: Any) -> dict[str, Any]:
    """What was asked for, as `config.json` keeps it."""
    from senn.tables import policy_of

    left_out = {*ANEW, "overwrite", "out", "threads"} - {"data_dir"}
    settings = {k: v for k, v in vars(arguments).items() if k not in left_out}
    return {
        **settings,
        "hidden_sizes": estimator.hidden_sizes,
        "standardize": estimator.standardize,
        "alpha": policy_of(estimator).alpha,
    }
