"""A network's outputs, loss and score on any number of examples, a bounded number at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from senn import devices
from senn.arrays import blank
from senn.batches import Batch
from senn.compilation import QUICK, program
from senn.losses import AbstractLoss, BinaryCrossEntropy, SoftmaxCrossEntropy, among_loss
from senn.nn.tapped import AbstractTapped

ROWS_AT_ONCE = 4096
BLOCK, IMAGES = 1024, 256  # rows at once, and examples of inputs at many positions


class Score(NamedTuple):
    """Mean loss, and accuracy (classes) or R² (numbers)."""

    loss: float
    score: float


def outputs(network: AbstractTapped, x) -> np.ndarray:
    """The network's outputs [N, O] for inputs [N, …, I], computed in blocks of fixed size."""
    dtype = network.dtype
    x = np.asarray(x, dtype)
    found = [_forward(network, devices.by_rows(block)) for block in blocks(network, x)]
    y = [np.asarray(block) for block in found] or [np.empty((0, network.out_slots), dtype)]
    return np.concatenate(y)[: len(x), : network.out_size]


def blocks(network: AbstractTapped, x: np.ndarray) -> Iterator[np.ndarray]:
    """All rows in blocks of one size, zeros in spare slots and beyond the last row."""
    slots = (*network.grid, network.in_slots)
    if x.shape[1:] not in (network.in_shape, slots):
        wanted = ", ".join(map(str, network.in_shape))
        raise ValueError(f"The network needs x [N, {wanted}]; got shape {x.shape}.")
    size = block_of(network)
    for start in range(0, len(x), size):
        block = blank((size, *slots), x.dtype)
        rows = x[start : start + size]
        block[: len(rows), ..., : x.shape[-1]] = rows
        yield block


def block_of(network: AbstractTapped) -> int:
    """Rows at once."""
    return devices.alike(IMAGES if network.grid else BLOCK)


def evaluate(network: AbstractTapped, loss: AbstractLoss, data: Batch) -> Score:
    """Weighted mean loss and score of a network on `data`."""
    _, targets, weight = map(np.asarray, data)
    if not weight.sum() > 0:
        raise ValueError("An evaluation needs at least one example of a weight above 0.")
    y, each = outputs_and_losses(network, loss, data)
    mean_loss = float(np.average(each, weights=weight))
    if isinstance(loss, SoftmaxCrossEntropy):
        return Score(mean_loss, float(np.average(y.argmax(1) == targets, weights=weight)))
    targets = targets.reshape(len(y), -1)[:, : network.out_size]  # without those of spare outputs
    if isinstance(loss, BinaryCrossEntropy):
        right = np.mean((y > 0) == (targets > 0.5), axis=1)
        return Score(mean_loss, float(np.average(right, weights=weight)))
    return Score(mean_loss, r_squared(targets, y, weight))


def outputs_and_losses(
    network: AbstractTapped, loss: AbstractLoss, data: Batch
) -> tuple[np.ndarray, np.ndarray]:
    """The network's outputs [N, O] on `data`, and the loss of every example [N]."""
    x, targets = np.asarray(data.x), np.asarray(data.y)
    spread = loss.spread(targets, network.out_size, network.out_slots)
    size = block_of(network)
    done = [
        _forward_and_loss(
            network, loss, *devices.by_rows((block, _padded(spread[start : start + size], size)))
        )
        for start, block in zip(
            range(0, len(x), size),
            blocks(network, x.astype(network.dtype, copy=False)),
            strict=True,
        )
    ]
    y = np.concatenate([np.asarray(y) for y, _ in done])[: len(x), : network.out_size]
    return y, np.concatenate([np.asarray(losses) for _, losses in done])[: len(x)]


def prepare(network: AbstractTapped, loss: AbstractLoss, like: Batch) -> None:
    """Compile in the background what evaluations run; of `like` the shapes of targets matter."""
    size = block_of(network)
    x = jax.ShapeDtypeStruct((size, *network.grid, network.in_slots), network.dtype)
    targets = jax.ShapeDtypeStruct((size, *like.y.shape[1:]), like.y.dtype)
    _forward_and_loss.prepare(network, loss, x, targets)


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    return np.pad(rows, [(0, size - len(rows))] + [(0, 0)] * (rows.ndim - 1))


def r_squared(targets: np.ndarray, predictions: np.ndarray, weight: np.ndarray) -> float:
    """Weighted R², the mean over outputs; 0 for an output that is constant."""
    error = np.average((targets - predictions) ** 2, axis=0, weights=weight)
    spread = np.average(
        (targets - np.average(targets, axis=0, weights=weight)) ** 2, axis=0, weights=weight
    )
    return float(np.mean(np.where(spread > 0, 1 - error / np.where(spread > 0, spread, 1), 0)))


@program(QUICK)
def _forward(network: AbstractTapped, x: Float[Array, "N ... I"]) -> Float[Array, "N O"]:
    return devices.same(network(x))


@program(QUICK)
def _forward_and_loss(
    network: AbstractTapped, loss: AbstractLoss, x: Float[Array, "N ... I"], targets: Array
) -> tuple[Float[Array, "N O"], Float[Array, " N"]]:
    y = network(x)
    return devices.same((y, among_loss(network.active_outputs, loss)(y, targets)))
