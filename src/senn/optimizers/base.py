"""What every optimiser of a growing network is: state in, state out."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from senn.batches import Batch, InputMoment
from senn.factors import InputFactor
from senn.losses import AbstractLoss, AbstractMetric
from senn.nn.tapped import AbstractTapped


class StepInfo(NamedTuple):
    """What one step saw. NaN or 0 where an optimiser does not compute a quantity."""

    loss: Float[Array, ""]  # before the step, on its batch
    eta: Float[Array, ""]  # natural expansion score of the whole network
    solver_steps: Int[Array, ""]
    solver_residual: Float[Array, ""]

    @classmethod
    def blank(cls, steps: int, dtype: Any) -> "StepInfo":
        """What several steps see [steps], before any of them was taken."""
        numbers, counts = jnp.zeros(steps, dtype), jnp.zeros(steps, jnp.int32)
        return cls(numbers, numbers, counts, numbers)


class AbstractOptimizer(eqx.Module):
    """A rule that moves a network's parameters down a loss.

    It must map zeros to zeros: a parameter whose gradient has always been zero stays as it is.
    Its state may hold trees shaped like the network's parameters; they grow along with it.
    """

    watches_inputs: ClassVar[bool] = False  # whether `observe` wants to be called
    metric: ClassVar[str] = "fisher"  # the output metric that suits it, if nobody says
    unit_scale: ClassVar[float] = 1.0  # that of new units, likewise (`Policy.unit_scale`)

    @abstractmethod
    def init(self, network: AbstractTapped) -> Any:
        """The state to begin with."""

    def observe(self, state: Any, moment: InputMoment) -> Any:  # noqa: ARG002
        """The state, told of the second moment of the network's inputs; by default unchanged.

        Called with that of all the data before the first step, and for a stream again whenever
        the rows seen have doubled.
        """
        return state

    def grown(self, state: Any, network: AbstractTapped) -> Any:  # noqa: ARG002
        """The state of a network that has grown, after its network-shaped parts have."""
        return state

    def reread(
        self,
        state: Any,  # noqa: ARG002
        network: AbstractTapped,
        stretch: np.ndarray,  # noqa: ARG002
        shift: np.ndarray,  # noqa: ARG002
    ) -> Any:
        """The state of a network that reads its inputs by another scale (`senn.nn.edits.reread`).

        By default a new one. `observe` is called before the next step.
        """
        return self.init(network)

    def input_factor(self, state: Any) -> InputFactor | None:  # noqa: ARG002
        """The second moment of the network's inputs, if the optimiser keeps it; for searches."""
        return None

    def output_factors(
        self,
        state: Any,  # noqa: ARG002
        *,
        stepped: bool | None = None,  # noqa: ARG002
    ) -> tuple[Float[Array, "_ _"], ...] | None:
        """S of every linear map in the metric of the steps, if the optimiser keeps it.

        The score then reads it, in place of computing its own. `stepped` says whether there has
        been a step since the network grew last; None leaves that to the state.
        """
        return None

    def as_arguments(self, loss: AbstractLoss, dtype: Any) -> "AbstractOptimizer":  # noqa: ARG002
        """The rule as compiled steps are given it: what is an array there may have any value.

        By default as it is; then every other number in it compiles a program of its own.
        """
        return self

    @abstractmethod
    def step(
        self,
        network: AbstractTapped,
        state: Any,
        loss: AbstractLoss,
        metric: AbstractMetric,
        batch: Batch,
        scale: Float[Array, ""],
    ) -> tuple[AbstractTapped, Any, StepInfo]:
        """One step on one batch; `scale` multiplies the learning rate."""
