"""Checkpoints: the whole state of a run as one file, from which it goes on bit for bit.

`senn.training.state` says what that is. Arrays are stored under their paths in the state, dormant
slots included; the header holds all else, and says how the arrays fit together.
"""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from senn import __version__
from senn.batches import Position
from senn.files import FileError, Format, read_file, write_file
from senn.history import History
from senn.leaves import arrays_of, filled, network_at, shape_of
from senn.lineage import lineage
from senn.nn.tapped import AbstractTapped
from senn.optimizers import AbstractOptimizer, StepInfo
from senn.readers import first_sentence
from senn.training.state import MANY, Annealing, Best, RunState, TrainState, described

# Of `RunState`, plain numbers and words; what else it holds has a place of its own below.
PLAIN = (
    "step", "next_look", "growing", "last_layer", "refusals", "stale", "waits", "found",
    "observed", "seconds", "fingerprint", "settings", "annealing", "settle_at",
)  # fmt: skip


class CheckpointError(FileError):
    """A file that is no checkpoint from which a run can go on; the message is one sentence."""


FORMAT = Format("senn-checkpoint", "checkpoint", 4, CheckpointError)


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds, before it is known which optimiser it is for."""

    path: str
    header: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def state(self, optimizer: AbstractOptimizer, like: AbstractTapped | None = None) -> RunState:
        """The state to go on from; a `CheckpointError` if another optimiser's is stored.

        A network of another kind than our own is filled into one `like` it, of any sizes.
        """
        wanted, given = self.header["settings"].get("optimizer"), described(optimizer)
        said = isinstance(wanted, dict) and isinstance(given, dict)
        if wanted != ({name: given.get(name) for name in wanted} if said else given):  # as of then
            raise CheckpointError(f"{self.path!r} is of a run with {wanted}, not with {given}.")
        try:
            return _state(self.header, self.arrays, optimizer, like)
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise CheckpointError(
                f"{self.path!r} is damaged: its arrays do not fit its header "
                f"({first_sentence(error)})."
            ) from error


def write_checkpoint(
    path: str | os.PathLike[str], state: RunState, about: dict[str, Any] | None = None
) -> None:
    """Write the state of a run, and `about` (JSON) for whoever will resume it, atomically."""
    best = state.best
    header = {
        "written_by": _versions(),
        "about": about or {},
        **{name: getattr(state, name) for name in PLAIN},
        "network": shape_of(state.train.network),
        "best": {
            "loss": best.loss if np.isfinite(best.loss) else None,
            "step": best.step,
            "network": None if best.network is None else shape_of(best.network),
        },
        "generator": state.rng.bit_generator.state,
        "position": None,
        "ledger": state.history.to_rows(),
    }
    trees: dict[str, Any] = {"train": state.train, "best": best.network}
    if state.infos:
        trees["infos"] = jax.tree.map(lambda *parts: np.concatenate(parts), *state.infos)
    if state.position is not None:
        header["position"] = {
            "steps": state.position.steps, "generator": state.position.generator
        }  # fmt: skip
        trees["order"] = state.position.order
    write_file(path, FORMAT, header, arrays_of(trees))


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """What `write_checkpoint` wrote; a `CheckpointError` if it is not whole."""
    return Checkpoint(os.fspath(path), *read_file(path, FORMAT))


# --- the state ----------------------------------------------------------------------------


def _state(
    header: dict[str, Any],
    arrays: dict[str, np.ndarray],
    optimizer: AbstractOptimizer,
    like: AbstractTapped | None,
) -> RunState:
    header = {"found": MANY, "settle_at": None, **header}  # not in the first checkpoints
    if header["version"] < 3:
        arrays = _by_site(header, arrays)
    if header["version"] < 4:
        arrays = _with_births(header, arrays)
    plain = {name: header[name] for name in PLAIN}
    plain["annealing"] = header["annealing"] and Annealing(*header["annealing"])
    network = network_at("train.network", header["network"], arrays, like)
    return RunState(
        train=filled("train", TrainState.of(network, optimizer), arrays),
        rng=_generator(header["generator"]),
        position=_position(header["position"], arrays),
        best=_best(header["best"], arrays, like),
        infos=_infos(arrays),
        history=History.from_rows(header["ledger"]),
        **plain,
    )


def _best(
    stored: dict[str, Any], arrays: dict[str, np.ndarray], like: AbstractTapped | None
) -> Best:
    loss = np.inf if stored["loss"] is None else stored["loss"]
    network = stored["network"] and network_at("best", stored["network"], arrays, like)
    return Best(loss, network, stored["step"])


def _position(stored: dict[str, Any] | None, arrays: dict[str, np.ndarray]) -> Position | None:
    if stored is None:
        return None
    return Position(stored["steps"], arrays["order"], stored["generator"])


def _generator(state: dict[str, Any]) -> np.random.Generator:
    rng = np.random.default_rng()
    rng.bit_generator.state = state
    return rng


def _infos(arrays: dict[str, np.ndarray]) -> list[StepInfo]:
    names = [f"infos.{name}" for name in StepInfo._fields]
    return [StepInfo._make(arrays[name] for name in names)] if names[0] in arrays else []


# --- networks -----------------------------------------------------------------------------


def _with_births(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The arrays of files that said how many slots were in use, and not since when."""
    history = History.from_rows(header["ledger"])
    best, network = header["best"]["network"], header["network"]
    for at, shape in {"train.network": network, "train.average": network, "best": best}.items():
        if shape:
            found = _births(at, shape, history, arrays)
            shape["slots"] = [len(born) for born in found.values()]
            arrays = {**arrays, **found}
    return arrays


def _births(
    at: str, shape: dict[str, Any], history: History, arrays: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    sizes = shape["hidden_sizes"]
    try:
        layers = lineage(history, sizes).layers
    except (ValueError, IndexError):  # it grew otherwise, too
        layers = [[-1] * n for n in sizes]
    first = "hidden.0.dense" if sizes else "readout"
    numbers = [[0] * shape["in_size"], *([n + 1 for n in layer] for layer in layers),
               [0] * shape["out_size"]]  # fmt: skip
    room = [len(arrays[f"{at}.{first}.weights.0"]),
            *(len(arrays[f"{at}.hidden.{m}.dense.bias"]) for m in range(len(sizes))),
            len(arrays[f"{at}.readout.bias"])]  # fmt: skip
    names = ["inputs", *(f"hidden.{m}.born" for m in range(len(sizes))), "outputs"]
    return {
        f"{at}.{name}": np.pad(born, (0, n - len(born)), constant_values=-1).astype(np.int32)
        for name, born, n in zip(names, numbers, room, strict=True)
    }


def _by_site(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """K-FAC's blocks of θ as sites after all maps; they stood beside the factors of theirs."""
    maps = len(header["network"]["residual"]) + 1
    moved = {
        f"train.optimizer.factors.{m}.theta": f"train.optimizer.factors.{maps + m}.block"
        for m in range(maps)
    }
    return {moved.get(name, name): array for name, array in arrays.items()}


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("jax", "jaxlib", "optax", "numpy")}
    return {"senn": __version__, "python": platform.python_version(), **packages}
