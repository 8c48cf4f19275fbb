"""What a network gets once training has ended: the rows that were kept apart, and a temperature.

Rows kept apart say when to stop and which size to keep. After that they are rows like others, and
some steps on all of them lower the error on new ones (docs/design/tables.md). The temperature is
chosen before, while the network does not know them.
"""

from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np

from senn.arrays import to_device
from senn.batches import Batch
from senn.calibration import temperature
from senn.history import Ending, History
from senn.losses import AbstractLoss, SoftmaxCrossEntropy
from senn.nn.network import AbstractLayered
from senn.nn.stored import plain
from senn.policy import Policy
from senn.training import Schedule, fit

Network = TypeVar("Network", bound=AbstractLayered)

AS_IT_IS = Policy(width=False, depth=False, prefer="grown")


def may_refit(history: History, steps: int) -> bool:
    """Whether training ended by itself: whoever set it an end wants no steps beyond."""
    return steps > 0 and history.ended_by == Ending.ANNEALED


def refitted(
    network: Network, history: History, rows: Batch, steps: int, *, batch_size: int, **settings: Any
) -> Network:
    """The network after so many steps on these rows, at a rate that falls to zero.

    As it was if they were interrupted or did no good. `settings` are those of `senn.fit`, and the
    ledger is that of the training before.
    """
    schedule = Schedule(batch_size=batch_size, anneal_epochs=0, anneal_steps=steps)
    after, own = fit(network, rows, policy=AS_IT_IS, schedule=schedule, **settings)
    for name in ("training_seconds", "growth_seconds", "compile_seconds", "n_compilations"):
        setattr(history, name, getattr(history, name) + getattr(own, name))
    if own.ended_by == Ending.INTERRUPTED:  # whoever called goes by that
        history.ended_by, history.stop_reason = own.ended_by, own.stop_reason
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
