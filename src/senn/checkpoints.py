"""Checkpoints: the whole state of a run as one file, from which it goes on bit for bit.

`senn.state` says what that is. Arrays are stored under their paths in the state, dormant slots
included; the header holds all else, and says how the arrays fit together.
"""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from senn import __version__
from senn.arrays import path_of, to_device
from senn.batches import Position
from senn.files import FileError, Format, read_file, write_file
from senn.history import History
from senn.models import architecture
from senn.nn import MLP, Dense, Hidden
from senn.nn.activation import activation_called
from senn.nn.network import assemble, source_nodes
from senn.optimizers import AbstractOptimizer, StepInfo
from senn.readers import first_sentence
from senn.state import MANY, Annealing, Best, RunState, TrainState, described

# Of `RunState`, plain numbers and words; what else it holds has a place of its own below.
PLAIN = (
    "step", "next_look", "growing", "last_layer", "refusals", "stale", "waits", "found",
    "observed", "seconds", "fingerprint", "settings", "annealing",
)  # fmt: skip


class CheckpointError(FileError):
    """A file that is no checkpoint from which a run can go on; the message is one sentence."""


FORMAT = Format("senn-checkpoint", "checkpoint", 3, CheckpointError)


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds, before it is known which optimiser it is for."""

    path: str
    header: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def state(self, optimizer: AbstractOptimizer) -> RunState:
        """The state to go on from; a `CheckpointError` if another optimiser's is stored."""
        wanted, given = self.header["settings"].get("optimizer"), described(optimizer)
        if wanted != given:
            raise CheckpointError(f"{self.path!r} is of a run with {wanted}, not with {given}.")
        try:
            return _state(self.header, self.arrays, optimizer)
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
        "network": _shape(state.train.network),
        "best": {
            "loss": best.loss if np.isfinite(best.loss) else None,
            "step": best.step,
            "network": None if best.network is None else _shape(best.network),
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
    write_file(path, FORMAT, header, _arrays(trees))


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """What `write_checkpoint` wrote; a `CheckpointError` if it is not whole."""
    return Checkpoint(os.fspath(path), *read_file(path, FORMAT))


# --- the state ----------------------------------------------------------------------------


def _state(
    header: dict[str, Any], arrays: dict[str, np.ndarray], optimizer: AbstractOptimizer
) -> RunState:
    header = {"found": MANY, **header}  # which the first checkpoints did not have
    if header["version"] < 2:
        arrays = {**_all_in_use(header), **arrays}
    if header["version"] < 3:
        arrays = _by_site(header, arrays)
    plain = {name: header[name] for name in PLAIN}
    plain["annealing"] = header["annealing"] and Annealing(*header["annealing"])
    network = _network("train.network", header["network"], arrays)
    return RunState(
        train=_filled("train", TrainState.of(network, optimizer), arrays),
        rng=_generator(header["generator"]),
        position=_position(header["position"], arrays),
        best=_best(header["best"], arrays),
        infos=_infos(arrays),
        history=History.from_rows(header["ledger"]),
        **plain,
    )


def _best(stored: dict[str, Any], arrays: dict[str, np.ndarray]) -> Best:
    loss = np.inf if stored["loss"] is None else stored["loss"]
    network = stored["network"] and _network("best", stored["network"], arrays)
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


def _shape(network: MLP) -> dict[str, Any]:
    return {**architecture(network), "capacities": network.capacities}


def _network(at: str, shape: dict[str, Any], arrays: dict[str, np.ndarray]) -> MLP:
    """The network whose arrays have names that begin with `at`."""

    def array(name: str) -> jax.Array:
        return _exactly(arrays[f"{at}.{name}"])

    def dense(name: str, blocks: int) -> Dense:
        weights = (array(f"{name}.weights.{b}") for b in range(blocks))
        return Dense(tuple(weights), array(f"{name}.bias"))

    sigma = activation_called(shape["activation"])
    blocks = [len(nodes) for nodes in source_nodes(shape["residual"])]
    hidden = [
        Hidden(
            dense(f"hidden.{m}.dense", blocks[m]),
            sigma.of(array(f"hidden.{m}.activation.theta") if sigma.learned else None),
            array(f"hidden.{m}.size"),
            beside,
        )
        for m, beside in enumerate(shape["residual"])
    ]
    ends = array("inputs"), array("outputs")
    return assemble(hidden, dense("readout", blocks[-1]), sigma, *ends)


def _all_in_use(header: dict[str, Any]) -> dict[str, np.ndarray]:
    """How many inputs and outputs are in use, of networks from before there were spare ones."""
    network = header["network"]
    shapes = {"train.network": network, "train.average": network, "best": header["best"]["network"]}
    return {
        f"{at}.{name}": np.array(shape[size], np.int32)
        for at, shape in shapes.items()
        if shape
        for name, size in (("inputs", "in_size"), ("outputs", "out_size"))
    }


def _by_site(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """K-FAC's blocks of θ as sites after all maps; they stood beside the factors of theirs."""
    maps = len(header["network"]["residual"]) + 1
    moved = {
        f"train.optimizer.factors.{m}.theta": f"train.optimizer.factors.{maps + m}.block"
        for m in range(maps)
    }
    return {moved.get(name, name): array for name, array in arrays.items()}


# --- arrays -------------------------------------------------------------------------------


def _arrays(tree: Any) -> dict[str, np.ndarray]:
    """All arrays of a tree under their paths; random keys as the numbers that they are."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        path_of(path): np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        for path, leaf in leaves
        if eqx.is_array_like(leaf)
    }


def _filled(at: str, tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The tree with the stored arrays in place of its own."""

    def stored(path: Any, leaf: Any) -> Any:
        if not eqx.is_array_like(leaf):
            return leaf
        array = arrays[".".join(part for part in (at, path_of(path)) if part)]
        if _is_key(leaf):
            return jax.random.wrap_key_data(to_device(array), impl=jax.random.key_impl(leaf))
        if array.shape != np.shape(leaf):
            raise ValueError(f"{path_of(path)} has shape {array.shape}, not {np.shape(leaf)}")
        return _exactly(array) if eqx.is_array(leaf) else array.item()

    return jax.tree_util.tree_map_with_path(stored, tree)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _exactly(array: np.ndarray) -> jax.Array:
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise ValueError(f"{array.dtype} needs JAX's 64-bit mode, jax_enable_x64")
    return to_device(array)


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("jax", "jaxlib", "optax", "numpy")}
    return {"senn": __version__, "python": platform.python_version(), **packages}
