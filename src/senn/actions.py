"""Actions: what new units read, what will read them, what they cost, and how they come."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from senn.expand import InsertKind, add_width, grow_capacity, insert_layer, insert_zeros
from senn.nn import MLP
from senn.nn.network import next_capacity
from senn.words import place


@dataclass(frozen=True)
class AbstractAction:
    """One way to grow at one place: the new units read what linear map `position` reads."""

    position: int

    kind: ClassVar[str]  # in ledgers
    inserts: ClassVar[bool]  # a layer, which needs programs of its own
    square: ClassVar[bool] = False  # its units take the place of what they read, all at once

    def __str__(self) -> str:  # noqa: D105
        return place(self.kind, self.position)

    @abstractmethod
    def readers(self, network: MLP) -> tuple[int, ...]:
        """The linear maps that will read the units; what they gain is summed."""

    def cost(self, network: MLP, units: int) -> int:
        """Active parameters that so many units add."""
        own = (network.n_inputs(self.position) + 1 + network.activation.learned) * units
        if self.square:  # the units replace the inputs that they equal in number
            return own
        outputs = (*network.hidden_sizes, network.out_size)
        return own + units * sum(outputs[m] for m in self.readers(network))

    @abstractmethod
    def apply(
        self,
        network: MLP,
        state: Any,
        weight: np.ndarray,
        bias: np.ndarray,
        theta: np.ndarray | None,
        limit: int | None = None,
    ) -> tuple[MLP, Any]:
        """The network with units [I, K], and the network-shaped parts of `state` grown along.

        `limit` is a unit budget, beyond which no slots are set aside.
        """


@dataclass(frozen=True)
class Widen(AbstractAction):
    """More units in hidden layer `position`."""

    kind: ClassVar[str] = "width"
    inserts: ClassVar[bool] = False

    def readers(self, network: MLP) -> tuple[int, ...]:
        """Those of the layer."""
        return network.readers(self.position)

    def apply(self, network, state, weight, bias, theta, limit=None):
        """With more slots if those there do not last."""
        layer = network.hidden[self.position]
        needed = network.hidden_sizes[self.position] + len(bias)
        if needed > layer.capacity:
            capacity = next_capacity(needed, layer.capacity, limit)
            grow = partial(grow_capacity, layer=self.position, capacity=capacity)
            network, state = grow(network), grow(state)
        return add_width(network, self.position, weight, bias, theta), state


@dataclass(frozen=True)
class AbstractInsertion(AbstractAction):
    """A new layer before linear map `position`."""

    kind: ClassVar[str] = "layer"
    inserts: ClassVar[bool] = True
    how: ClassVar[InsertKind]

    def readers(self, network: MLP) -> tuple[int, ...]:
        """All maps that read what the map does."""
        return tuple(network.alongside(self.position))

    def apply(self, network, state, weight, bias, theta, limit=None):
        """With room to grow; the optimiser's state knows nothing of it yet."""
        capacity = next_capacity(len(bias), limit=limit)
        units = weight, bias, self.how, None if self.square else theta
        new = insert_layer(network, self.position, *units, capacity=capacity)
        return new, insert_zeros(state, new, self.position)


@dataclass(frozen=True)
class Beside(AbstractInsertion):
    """A layer beside what the map reads (ours): outputs keep every bit."""

    how: ClassVar[InsertKind] = "residual"


@dataclass(frozen=True)
class Between(AbstractInsertion):
    """A layer in place of what the map reads, whose units begin as the identity (section 3.1)."""

    how: ClassVar[InsertKind] = "identity"
    square: ClassVar[bool] = True
