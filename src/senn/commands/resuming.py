"""What `senn train` needs to go on with a run, and to keep its folder to itself."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from senn.commands.completion import NAMED_DATA
from senn.commands.errors import UsageError

# What may be said anew of a run that is gone on with; all else it has kept.
ANEW = (
    "run", "resume", "json", "quiet", "debug", "no_cache", "data_dir", "checkpoint_seconds",
    "tensorboard", "devices", "processes", "process", "coordinator",
)  # fmt: skip
AS_TUPLES = ("hidden_sizes", "channels", "drop", "categorical", "image_size")  # lists in JSON


def resumed(arguments: argparse.Namespace, checkpoint: Any) -> argparse.Namespace:
    """The arguments of the run to be resumed, and what was said anew."""
    stored = checkpoint.header["about"].get("arguments")
    if stored is None:
        raise UsageError(f"--resume {checkpoint.path!r} was not written by senn train.")
    kept = {name: value for name, value in stored.items() if name in vars(arguments)}
    again = argparse.Namespace(**{**vars(arguments), **kept})
    again.out, again.overwrite = arguments.resume, True
    again.stream = bool(kept.get("stream"))  # as it was decided then; runs of before had none
    again.data_dir = arguments.data_dir or again.data_dir
    for name in AS_TUPLES:
        if getattr(again, name) is not None:
            setattr(again, name, tuple(getattr(again, name)))
    return again


def check_only_resumed(arguments: argparse.Namespace, usual: dict[str, Any]) -> None:
    """Refuse settings beside `--resume`, which `usual` has as they are if nobody says.

    A run goes on with its own.
    """
    for name, value in usual.items():
        if name not in ANEW and getattr(arguments, name) != value:
            said = "DATA" if name == "data" else f"--{name.replace('_', '-')}"
            raise UsageError(
                f"--resume goes on with the data and the settings of the run: leave out {said}."
            )


def kept(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments that a checkpoint keeps, files by names that hold in any folder."""
    left_out = {*ANEW, "out", "overwrite"} - {"data_dir"}
    kept = {name: value for name, value in vars(arguments).items() if name not in left_out}
    for name in ("data", "data_dir"):
        if kept[name] not in (None, *NAMED_DATA.split()):
            kept[name] = os.path.abspath(kept[name])
    return kept


def last_checkpoint(folder: str) -> Any:
    """The newest checkpoint that is whole; what is wrong with newer ones is told."""
    from senn import runs

    try:
        return runs.last_checkpoint(folder, warn)
    except runs.RunFolderError as error:
        raise UsageError(f"--resume {error}") from error


@contextmanager
def held(option: str, folder: str) -> Iterator[None]:
    """A run's folder, kept to this process."""
    from senn.runs import RunFolderError, writing

    with ExitStack() as stack:
        try:
            stack.enter_context(writing(folder))
        except RunFolderError as error:
            raise UsageError(f"{option} {error}") from error
        yield


def warn(sentence: str) -> None:
    """Say it on standard error, beside whatever is shown."""
    print(f"senn: {sentence}", file=sys.stderr, flush=True)
