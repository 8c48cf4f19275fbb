"""The RUN of sub-commands that use a trained model."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from senn.commands.completion import FILES, completes
from senn.commands.errors import UsageError


def add_model(add: Callable[..., argparse.Action]) -> None:
    """Add RUN, which `load_model` reads, by the `add_argument` of a parser."""
    run = add("model", metavar="RUN", help="folder of senn train --out, or a model file")
    completes(run, FILES)


def load_model(name: str) -> Any:
    """The estimator in a run's folder, or in a model file; a `UsageError` if there is none."""
    from senn import load
    from senn.model_file import ModelFileError
    from senn.run_files import MODEL, is_run

    path = Path(name).expanduser()
    if path.is_dir():
        if not is_run(path):
            raise UsageError(
                f"{name!r} holds no run: name a folder of senn train --out, or a model file."
            )
        path = path / MODEL
    try:
        return load(path)
    except ModelFileError as error:
        raise UsageError(str(error)) from error
