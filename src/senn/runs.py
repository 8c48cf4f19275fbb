"""A run's folder: the model, the ledger, and what was asked for and came out.

model.senn               the fitted estimator, for `senn.load`
history.jsonl            the ledger, for `History.from_json_lines`
predictions.npz          what was wanted of the test rows, and what was predicted
config.json              the settings and the summary, written last
checkpoint-STEP.senn     the last two states, while the run is not finished

A folder with a checkpoint is a run to be resumed; one without, but with `config.json`, is
finished.
"""

import errno
import io
import json
import math
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from senn.callbacks import Callback
from senn.checkpoints import Checkpoint, CheckpointError, read_checkpoint, write_checkpoint
from senn.files import write_atomically
from senn.history import Addition, History, Removal
from senn.readers import first_sentence, plain_arrays
from senn.run_files import CONFIG, FORMAT, LEDGER, MODEL, PREDICTIONS, read_config
from senn.run_files import is_run as is_run
from senn.training.state import RunState

try:
    import fcntl
except ImportError:  # Windows: two writers of one run are not noticed there
    fcntl = None

CHECKPOINT = re.compile(r"checkpoint-(\d{9,})\.senn")
ASIDE = re.compile(
    r"\.(checkpoint-\d+\.senn|model\.senn|history\.jsonl|predictions\.npz|config\.json)\.\w+"
)
KEPT = 2  # checkpoints
CHECKPOINT_SECONDS = 30.0
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


def is_finished(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a run that ended by itself: there is nothing to go on with."""
    return is_run(folder) and not checkpoints(folder)


def check_folder(folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Refuse, with a `RunFolderError`, a folder where a run must not be written.

    A new or an empty folder is free; one that holds a run is if `overwrite`; no other is.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{str(folder)!r} is a file, where a folder is wanted for the run.")
    if path.exists() and not all(ASIDE.fullmatch(p.name) for p in path.iterdir()):
        unfinished = bool(checkpoints(path))
        if not unfinished and not is_run(path):
            raise RunFolderError(
                f"{str(folder)!r} is not empty and holds no run: name a new or an empty folder."
            )
        if unfinished and not overwrite:
            raise RunFolderError(
                f"{str(folder)!r} holds a run that is not finished: go on with --resume, name "
                "another folder, or say --overwrite."
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


@contextmanager
def writing(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a run's folder to this process; a `RunFolderError` if another writes it.

    The system lets go of it however the process ends. What a killed process left half written
    is removed.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise RunFolderError(
            f"{os.fspath(folder)!r} cannot be opened ({error.strerror})."
        ) from error
    try:
        _lock(handle, folder)
        for path in Path(folder).iterdir():
            if ASIDE.fullmatch(path.name):
                path.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: str | os.PathLike[str]) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise RunFolderError(
                f"{os.fspath(folder)!r} is being written by another process: wait until it ends, "
                "or name another folder."
            ) from error  # other errors: a file system without locks


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
    write_atomically(path / LEDGER, estimator.history_.json_lines().encode())
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
        config = read_config(path)
        settings, summary, version = (config[key] for key in ("settings", "summary", "version"))
        if [type(value) for value in (settings, summary, version)] != [dict, dict, int]:
            raise ValueError(f"its {CONFIG} holds other types than it should")
        if version > VERSION:
            raise RunFolderError(
                f"{str(folder)!r} has run format {version}, newer than the {VERSION} "
                "that this senn reads; upgrade senn."
            )
        history = History.from_json_lines(path / LEDGER)
        return Run(path, settings, summary, history, _read_test(path))
    except RunFolderError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"{str(folder)!r} is a damaged run ({first_sentence(error)})."
        ) from error


def checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """The checkpoints in a folder, the newest first."""
    found = [(CHECKPOINT.fullmatch(p.name), p) for p in Path(folder).glob("checkpoint-*.senn")]
    return [p for _, p in sorted(((int(m[1]), p) for m, p in found if m), reverse=True)]


def last_checkpoint(
    folder: str | os.PathLike[str], tell: Callable[[str], Any] = warnings.warn
) -> Checkpoint:
    """The newest checkpoint that is whole; what is wrong with newer ones is told.

    A `RunFolderError` if there is none.
    """
    said = []
    for path in checkpoints(folder):
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError as error:
            said.append(str(error))
            continue
        for sentence in said:
            tell(f"{sentence} Going on from {path.name}, the one before it.")
        return checkpoint
    why = f": {' '.join(said)}" if said else "."
    raise RunFolderError(f"{os.fspath(folder)!r} holds no checkpoint to go on from{why}")


def remove_checkpoints(folder: str | os.PathLike[str]) -> None:
    """Let a run be finished: there is nothing to go on from any more."""
    for path in reversed(checkpoints(folder)):  # the newest last
        path.unlink(missing_ok=True)


@dataclass(eq=False)
class RunWriter(Callback):
    """Writes the state of a run into its folder: at the start, every so often, at each growth.

    The last two checkpoints are kept; others in the folder are removed. A checkpoint that cannot
    be written is told of once, and training goes on.

    Args:
        folder: of the run; it must exist.
        seconds: least time between two checkpoints that are not about growth.
        about: JSON for whoever resumes the run, such as the arguments of a command.
        kept: checkpoints to keep while they are among the last two: that from which the run
            goes on, if it does.
        tell: what is done with a sentence about a checkpoint that cannot be written.
        clock: seconds that never run backwards.
    """

    folder: str | os.PathLike[str]
    seconds: float = CHECKPOINT_SECONDS
    about: dict[str, Any] = field(default_factory=dict, kw_only=True)
    kept: tuple[Path, ...] = field(default=(), kw_only=True)
    tell: Callable[[str], Any] = field(default=warnings.warn, kw_only=True)
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    _due: float = field(default=-math.inf, init=False, repr=False)
    _failed: bool = field(default=False, init=False, repr=False)

    def on_addition(self, addition: Addition) -> None:  # noqa: ARG002
        """The next pause is in time."""
        self._due = -math.inf

    def on_removal(self, removal: Removal) -> None:  # noqa: ARG002
        """Likewise."""
        self._due = -math.inf

    def on_pause(self, state: RunState) -> None:
        """Write the state if it is time."""
        if self.clock() >= self._due:
            self.write(state)

    def write(self, state: RunState) -> None:
        """Write the state now, and forget those before the last two."""
        path = Path(self.folder) / f"checkpoint-{state.step:09d}.senn"
        try:
            write_checkpoint(path, state, self.about)
            self._forget_all_but(path)
            self._failed = False
        except OSError as error:
            self._complain(error)
        self._due = self.clock() + self.seconds

    def _forget_all_but(self, newest: Path) -> None:
        self.kept = (*(path for path in self.kept if path != newest), newest)[-KEPT:]
        for path in checkpoints(self.folder):
            if path not in self.kept:
                path.unlink(missing_ok=True)

    def _complain(self, error: OSError) -> None:
        if not self._failed:
            self.tell(
                f"The checkpoint in {os.fspath(self.folder)!r} cannot be written "
                f"({error.strerror or error}): training goes on without."
            )
        self._failed = True


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


def _npz(test: Predictions) -> bytes:
    file = io.BytesIO()
    names = np.array(test.names, dtype=np.str_)  # objects would be pickled
    np.savez_compressed(file, targets=test.targets, predicted=test.predicted, names=names)
    return file.getvalue()


def _read_test(folder: Path) -> Predictions | None:
    if not (folder / PREDICTIONS).exists():
        return None
    arrays = plain_arrays(folder / PREDICTIONS)
    targets, predicted, names = (arrays[name] for name in ("targets", "predicted", "names"))
    if not (_fit(targets, names) and _fit(predicted, names) and targets.shape == predicted.shape):
        raise ValueError(f"the arrays in {PREDICTIONS} do not fit each other")
    return Predictions(targets, predicted, tuple(names.tolist()))


def _fit(values: np.ndarray, names: np.ndarray) -> bool:
    """Whether the values are codes of so many classes, or numbers for so many outputs."""
    if names.ndim != 1 or names.dtype.kind != "U":
        return False
    if values.ndim == 1:
        return values.dtype.kind in "iu" and bool(np.isin(values, np.arange(len(names))).all())
    return values.dtype.kind == "f" and values.shape[1:] == names.shape
