"""What every optimiser of a growing network is: state in, state out."""

from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, Float, Int

from senn.batches import Batch
from senn.losses import AbstractLoss, AbstractMetric
from senn.nn import MLP


class StepInfo(NamedTuple):
    """What one step saw. NaN or 0 where an optimiser does not compute a quantity."""

    loss: Float[Array, ""]  # before the step, on its batch
    eta: Float[Array, ""]  # natural expansion score of the whole network
    solver_steps: Int[Array, ""]
    solver_residual: Float[Array, ""]


class AbstractOptimizer(eqx.Module):
    """A rule that moves a network's parameters down a loss.

    It must map zeros to zeros: a parameter whose gradient has always been zero stays as it is.
    Its state may hold trees shaped like the network's parameters; they grow along with it.
    """

    @abstractmethod
    def init(self, network: MLP) -> Any:
        """The state to begin with."""

    @abstractmethod
    def step(
        self,
        network: MLP,
        state: Any,
        loss: AbstractLoss,
        metric: AbstractMetric,
        batch: Batch,
        scale: Float[Array, ""],
    ) -> tuple[MLP, Any, StepInfo]:
        """One step on one batch; `scale` multiplies the learning rate."""
