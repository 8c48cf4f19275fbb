"""A network's outputs, loss and score on any number of examples, a bounded number at a time."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from senn.batches import Batch
from senn.expand import add_outputs
from senn.losses import AbstractLoss, BinaryCrossEntropy, SoftmaxCrossEntropy
from senn.nn import MLP

ROWS_AT_ONCE = 4096
FEWEST_ROWS = 16  # that are predicted at once, so that one or two compile nothing of their own
OUTPUTS_AT_ONCE = 16  # a multiple of what a processor adds up side by side


class Score(NamedTuple):
    """Mean loss, and accuracy (classes) or R² (numbers)."""

    loss: float
    score: float


def outputs(network: MLP, x) -> np.ndarray:
    """The network's outputs [N, O] for inputs [N, I], computed in pieces of fixed size."""
    dtype = network.readout.bias.dtype
    x = np.asarray(x, dtype)
    rows = min(ROWS_AT_ONCE, len(x))
    pieces = [np.empty((0, network.out_size), dtype)]
    for start in range(0, len(x), rows or 1):
        piece = x[start : start + rows]
        padded = np.pad(piece, ((0, rows - len(piece)), (0, 0)))
        pieces.append(np.asarray(_forward(network, jnp.asarray(padded)))[: len(piece)])
    return np.concatenate(pieces)


def predict(network: MLP, x: np.ndarray) -> np.ndarray:
    """The network's outputs [N, O] in float64, computed in the type of `x`, float32 or float64.

    Rows are filled up to a power of two and outputs to a multiple of 16. So little is compiled for
    all the numbers of rows that there are, and with outputs beside them that were not there
    before, outputs stay the same bit for bit.
    """
    with jax.enable_x64(x.dtype == np.float64):
        dtype = jnp.dtype(x.dtype)
        network = jax.tree.map(
            lambda p: jnp.asarray(p, dtype) if eqx.is_inexact_array(p) else p, network
        )
        n, beyond = network.out_size, -network.out_size % OUTPUTS_AT_ONCE
        if beyond:
            network = add_outputs(network, range(n, n + beyond))
        rows = max(2 ** int(np.ceil(np.log2(max(len(x), 1)))), FEWEST_ROWS)
        filled = x if rows > ROWS_AT_ONCE else np.pad(x, ((0, rows - len(x)), (0, 0)))
        return outputs(network, filled)[: len(x), :n].astype(np.float64)


def evaluate(network: MLP, loss: AbstractLoss, data: Batch) -> Score:
    """Weighted mean loss and score of a network on `data`."""
    y = outputs(network, data.x)
    weight, targets = np.asarray(data.weight), np.asarray(data.y)
    if not weight.sum() > 0:
        raise ValueError("An evaluation needs at least one example of a weight above 0.")
    each = np.asarray(_losses(loss, jnp.asarray(y), data.y))
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
