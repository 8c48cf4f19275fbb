"""A run's folder: the model, the ledger, and what was asked for and came out.

model.senn       the fitted estimator, for `senn.load`
history.jsonl    the ledger, for `History.from_json_lines`
config.json      the settings and the summary; it is what makes a folder a run
"""

import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from senn.checkpoint import write_atomically
from senn.history import History
from senn.readers import first_sentence

MODEL, LEDGER, CONFIG = "model.senn", "history.jsonl", "config.json"
FORMAT = "senn-run"
VERSION = 1


class RunFolderError(ValueError):
    """A folder that cannot be written as a run, or is none; the message is one sentence."""


@dataclass(frozen=True)
class Run:
    """What a run's folder holds; `senn.load(run.model)` gives the estimator."""

    folder: Path
    settings: dict[str, Any]
    summary: dict[str, Any]
    history: History

    @property
    def model(self) -> Path:
        """The file of the fitted estimator."""
        return self.folder / MODEL


def is_run(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a run."""
    try:
        return _read_config(Path(folder)).get("format") == FORMAT
    except (OSError, ValueError, RecursionError):
        return False


def check_folder(folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Refuse, with a `RunFolderError`, a folder where a run must not be written.

    A new or an empty folder is free; one that holds a run is if `overwrite`; no other is.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{str(folder)!r} is a file, where a folder is wanted for the run.")
    if path.exists() and any(path.iterdir()):
        if not is_run(path):
            raise RunFolderError(
                f"{str(folder)!r} is not empty and holds no run: name a new or an empty folder."
            )
        if not overwrite:
            raise RunFolderError(
                f"{str(folder)!r} holds a run already: name another folder, or say --overwrite."
            )


def create_folder(folder: str | os.PathLike[str]) -> None:
    """Make the folder, so that it is known before training that a run can be written there."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise RunFolderError(f"{str(folder)!r} cannot be written ({reason}).") from error


def write_run(
    folder: str | os.PathLike[str],
    estimator: Any,
    settings: dict[str, Any],
    summary: dict[str, Any],
) -> None:
    """Write a fitted estimator, its ledger, the settings and the summary.

    Every file is the old or the new one, never half; the one that makes it a run comes last.
    """
    path = Path(folder)
    create_folder(path)
    estimator.save(path / MODEL)
    write_atomically(path / LEDGER, estimator.history_.json_lines().encode())
    config = {"format": FORMAT, "version": VERSION, "settings": settings, "summary": summary}
    write_atomically(path / CONFIG, (strict_json(config, indent=2) + "\n").encode())


def read_run(folder: str | os.PathLike[str]) -> Run:
    """What `write_run` wrote; a `RunFolderError` if the folder holds no run."""
    path = Path(folder)
    if not is_run(path):
        raise RunFolderError(f"{str(folder)!r} holds no run.")
    try:
        config = _read_config(path)
        settings, summary, version = (config[key] for key in ("settings", "summary", "version"))
        if [type(value) for value in (settings, summary, version)] != [dict, dict, int]:
            raise ValueError(f"its {CONFIG} holds other types than it should")
        if version > VERSION:
            raise RunFolderError(
                f"{str(folder)!r} has run format {version}, newer than the {VERSION} "
                "that this senn reads; upgrade senn."
            )
        history = History.from_json_lines(path / LEDGER)
        return Run(path, settings, summary, history)
    except RunFolderError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"{str(folder)!r} is a damaged run ({first_sentence(error)})."
        ) from error


def strict_json(value: Any, **options: Any) -> str:
    """JSON that every reader takes: what is not finite becomes null."""
    return json.dumps(_plain(value), allow_nan=False, ensure_ascii=False, **options)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _read_config(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    return config if isinstance(config, dict) else {}
