"""A network's outputs, loss and score on any number of examples, a bounded number at a time."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from senn.batches import Batch
from senn.losses import AbstractLoss, BinaryCrossEntropy, SoftmaxCrossEntropy
from senn.nn import MLP

ROWS_AT_ONCE = 4096


class Score(NamedTuple):
    """Mean loss, and accuracy (classes) or R² (numbers)."""

    loss: float
    score: float


def outputs(network: MLP, x) -> np.ndarray:
    """The network's outputs [N, O] for inputs [N, I], computed in pieces of fixed size."""
    dtype = network.readout.bias.dtype
    if not len(x):
        return np.empty((0, network.out_size), dtype)
    return _in_pieces(partial(_forward, network), np.asarray(x, dtype))


def _in_pieces(function: Callable[..., Array], *arrays: np.ndarray) -> np.ndarray:
    """A function of rows, on so many at once that few lengths are compiled."""
    n = len(arrays[0])
    rows = min(ROWS_AT_ONCE, n)

    def piece(array: np.ndarray, start: int) -> Array:
        part = array[start : start + rows]
        return jnp.asarray(np.pad(part, [(0, rows - len(part))] + [(0, 0)] * (part.ndim - 1)))

    done = [
        np.asarray(function(*(piece(array, start) for array in arrays)))
        for start in range(0, n, rows)
    ]
    return np.concatenate(done)[:n]


def evaluate(network: MLP, loss: AbstractLoss, data: Batch) -> Score:
    """Weighted mean loss and score of a network on `data`."""
    y = outputs(network, data.x)
    weight, targets = np.asarray(data.weight), np.asarray(data.y)
    if not weight.sum() > 0:
        raise ValueError("An evaluation needs at least one example of a weight above 0.")
    each = _in_pieces(partial(_losses, loss), y, targets)
    mean_loss = float(np.average(each, weights=weight))
    if isinstance(loss, SoftmaxCrossEntropy):
        return Score(mean_loss, float(np.average(y.argmax(1) == targets, weights=weight)))
    targets = targets.reshape(y.shape)
    if isinstance(loss, BinaryCrossEntropy):
        right = np.mean((y > 0) == (targets > 0.5), axis=1)
        return Score(mean_loss, float(np.average(right, weights=weight)))
    return Score(mean_loss, r_squared(targets, y, weight))


def r_squared(targets: np.ndarray, predictions: np.ndarray, weight: np.ndarray) -> float:
    """Weighted R², the mean over outputs; 0 for an output that is constant."""
    error = np.average((targets - predictions) ** 2, axis=0, weights=weight)
    spread = np.average(
        (targets - np.average(targets, axis=0, weights=weight)) ** 2, axis=0, weights=weight
    )
    return float(np.mean(np.where(spread > 0, 1 - error / np.where(spread > 0, spread, 1), 0)))


@eqx.filter_jit
def _forward(network: MLP, x: Float[Array, "N I"]) -> Float[Array, "N O"]:
    return network(x)


@jax.jit
def _losses(loss: AbstractLoss, y: Float[Array, "N O"], targets: Array) -> Float[Array, " N"]:
    return loss(y, targets)
