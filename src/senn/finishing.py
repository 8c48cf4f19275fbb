"""What a network gets once training has ended: a prior, the rows kept apart, and a temperature.

Rows kept apart say when to stop, which size to keep, and under which prior the network is annealed
once more (`senn.annealing`). After that they are rows like others, and some steps on all of them
lower the error on new ones (docs/design/tables.md). The temperature is chosen before, while the
network does not know them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import numpy as np

from senn.annealing import annealed, annealed_again
from senn.arrays import to_device
from senn.batches import Batch
from senn.calibration import temperature
from senn.history import Ending, History
from senn.losses import AbstractLoss, SoftmaxCrossEntropy
from senn.nn.network import AbstractLayered
from senn.nn.stored import plain
from senn.optimizers import AbstractOptimizer

Rows = Callable[[], Batch]
Network = TypeVar("Network", bound=AbstractLayered)


class Finish(NamedTuple):
    """What a network gets once training has ended."""

    rules: Sequence[AbstractOptimizer] = ()  # under which it is annealed once more
    refit_steps: int = 0  # on all rows


def finished(
    network: Network,
    history: History,
    rows: tuple[Rows, Batch, Rows],
    plan: Finish,
    *,
    loss: AbstractLoss,
    optimizer: Any,
    **settings: Any,
) -> Network:
    """What the estimator keeps: annealed again, on all rows in the end, and at its temperature.

    `rows` are those of training, those kept apart, and all of them. Only training that ended by
    itself goes on, and only if rows were kept apart: whoever set it an end wants no steps beyond.
    """
    train, held_out, everything = rows
    rule, settings = optimizer, {**settings, "loss": loss}
    if history.ended_by != Ending.ANNEALED or not len(held_out.y):
        plan = Finish()
    if plan.rules:
        network, chosen = annealed_again(
            network, history, train(), held_out, plan.rules, **settings
        )
        rule = optimizer if chosen is None else chosen
    t = temperature_of(network, loss, held_out) if history.steps else 1.0
    if plan.refit_steps and history.ended_by == Ending.ANNEALED:  # not interrupted since
        network = refitted(
            network, history, everything(), plan.refit_steps, optimizer=rule, **settings
        )
    return cooled(network, t)


def refitted(
    network: Network, history: History, rows: Batch, steps: int, **settings: Any
) -> Network:
    """The network after so many steps on these rows, at a rate that falls to zero.

    As it was if they were interrupted or did no good. `settings` are those of `annealed`.
    """
    after, own = annealed(network, history, rows, steps, **settings)
    if own.ended_by != Ending.ANNEALED:
        return network
    history.refit_steps = steps
    return after


def temperature_of(network: AbstractLayered, loss: AbstractLoss, held_out: Batch) -> float:
    """By what logits are divided to be those of labels as they are, not as they were smoothed."""
    if not isinstance(loss, SoftmaxCrossEntropy) or not loss.smoothing:
        return 1.0
    x, codes, weight = map(np.asarray, held_out)
    return temperature(plain(network).outputs(x), codes, weight, loss.smoothing)


def cooled(network: Any, t: float) -> Any:
    """The network with its outputs divided by a temperature."""
    if t == 1:
        return network
    sharper = jax.tree.map(lambda a: to_device(np.asarray(a) / t, a.dtype), network.readout)
    return eqx.tree_at(lambda net: net.readout, network, sharper)
