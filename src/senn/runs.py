"""A run's folder: the model, the ledger, and what was asked for and came out.

model.senn       the fitted estimator, for `senn.load`
history.jsonl    the ledger, for `History.from_json_lines`
predictions.npz  what was wanted of the test rows, and what was predicted
config.json      the settings and the summary; it is what makes a folder a run
"""

import io
import json
import math
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from senn.checkpoint import write_atomically
from senn.history import History

MODEL, LEDGER, CONFIG = "model.senn", "history.jsonl", "config.json"
PREDICTIONS = "predictions.npz"
FORMAT = "senn-run"
VERSION = 1


class RunFolderError(ValueError):
    """A folder that cannot be written as a run, or is none; the message is one sentence."""


@dataclass(frozen=True)
class Predictions:
    """What was wanted of the test rows, and what was predicted."""

    targets: np.ndarray  # [N] class codes, or numbers [N, O]
    predicted: np.ndarray  # likewise
    names: tuple[str, ...]  # of the classes, in the order of their codes, or of the O outputs

    @property
    def are_classes(self) -> bool:
        """Whether it is a classification."""
        return self.targets.ndim == 1


@dataclass(frozen=True)
class Run:
    """What a run's folder holds; `senn.load(run.model)` gives the estimator."""

    folder: Path
    settings: dict[str, Any]
    summary: dict[str, Any]
    history: History
    test: Predictions | None = None  # None if the run was saved without

    @property
    def model(self) -> Path:
        """The file of the fitted estimator."""
        return self.folder / MODEL


def is_run(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a run."""
    try:
        return _read_config(Path(folder)).get("format") == FORMAT
    except (OSError, ValueError):
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
    test: Predictions | None = None,
) -> None:
    """Write a fitted estimator, its ledger, the settings, the summary and the test rows.

    Every file is the old or the new one, never half; the one that makes it a run comes last.
    """
    path = Path(folder)
    create_folder(path)
    estimator.save(path / MODEL)
    write_atomically(path / LEDGER, _json_lines(estimator.history_))
    (path / PREDICTIONS).unlink(missing_ok=True)  # of an earlier run
    if test is not None:
        write_atomically(path / PREDICTIONS, _npz(test))
    config = {"format": FORMAT, "version": VERSION, "settings": settings, "summary": summary}
    write_atomically(path / CONFIG, (strict_json(config, indent=2) + "\n").encode())


def read_run(folder: str | os.PathLike[str]) -> Run:
    """What `write_run` wrote; a `RunFolderError` if the folder holds no run."""
    path = Path(folder)
    if not is_run(path):
        raise RunFolderError(f"{str(folder)!r} holds no run.")
    try:
        config = _read_config(path)
        if config["version"] > VERSION:
            raise RunFolderError(
                f"{str(folder)!r} has run format {config['version']}, newer than the {VERSION} "
                "that this senn reads; upgrade senn."
            )
        history = History.from_json_lines(path / LEDGER)
        return Run(path, config["settings"], config["summary"], history, _read_test(path))
    except RunFolderError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise RunFolderError(f"{str(folder)!r} is a damaged run ({error}).") from error


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


def _npz(test: Predictions) -> bytes:
    file = io.BytesIO()
    names = np.array(test.names, dtype=np.str_)  # objects would be pickled
    np.savez_compressed(file, targets=test.targets, predicted=test.predicted, names=names)
    return file.getvalue()


def _read_test(folder: Path) -> Predictions | None:
    if not (folder / PREDICTIONS).exists():
        return None
    content = io.BytesIO((folder / PREDICTIONS).read_bytes())
    with np.load(content, allow_pickle=False) as file:
        return Predictions(file["targets"], file["predicted"], tuple(file["names"].tolist()))


def _json_lines(history: History) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        aside = Path(folder) / LEDGER
        history.to_json_lines(aside)
        return aside.read_bytes()
