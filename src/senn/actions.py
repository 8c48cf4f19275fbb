"""Actions: what new units read, what will read them, what they cost, how they come, and go."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np

from senn.expand import InsertKind, add_width, grow_capacity, insert_layer, insert_zeros
from senn.nn.activation import Activation
from senn.nn.graph import cost
from senn.nn.spaces import Space, next_capacity
from senn.nn.tapped import AbstractLayered, AbstractTapped
from senn.removal import take_out, without_layer


@dataclass(frozen=True)
class AbstractAction:
    """One way to grow at one place."""

    position: int
    name: str = field(default="", compare=False)  # of the place, if it has one of its own

    kind: ClassVar[str]  # in ledgers
    words: ClassVar[str]  # for the place of that position
    inserts: ClassVar[bool]  # a layer, which needs programs of its own
    square: ClassVar[bool] = False  # its units take the place of what they read, all at once

    def __str__(self) -> str:  # noqa: D105
        return self.name or self.words.format(self.position)

    @abstractmethod
    def sources(self, network: Any) -> tuple[int, ...]:
        """The linear maps that read what the units will read, one behind the other."""

    @abstractmethod
    def readers(self, network: Any) -> tuple[int, ...]:
        """The linear maps that will read the units; what they gain is summed."""

    def blocks(self, network: Any) -> tuple[int, ...]:
        """In which block of what each of them reads the units will stand."""
        return (0,) * len(self.readers(network))

    @abstractmethod
    def activation(self, network: Any) -> Activation:
        """Of the units."""

    @abstractmethod
    def cost(self, network: Any, units: int) -> int:
        """Active parameters that so many units add."""

    @abstractmethod
    def apply(
        self,
        network: Any,
        state: Any,
        weight: np.ndarray,
        bias: np.ndarray,
        theta: np.ndarray | None,
        limit: int | None = None,
        born: int | None = None,
    ) -> tuple[Any, Any]:
        """The network with units [I, K], and the network-shaped parts of `state` grown along.

        `limit` is a unit budget, beyond which no slots are set aside, and `born` the number of the
        addition.
        """


@dataclass(frozen=True)
class Widen(AbstractAction):
    """More units in hidden space `position`, in a perceptron in that hidden layer."""

    kind: ClassVar[str] = "width"
    words: ClassVar[str] = "hidden layer {}"
    inserts: ClassVar[bool] = False

    def sources(self, network: AbstractTapped) -> tuple[int, ...]:
        """Those that write the space."""
        return network.graph.writers(self._space(network))

    def readers(self, network: AbstractTapped) -> tuple[int, ...]:
        """Those of the space."""
        return network.readers(self.position)

    def blocks(self, network: AbstractTapped) -> tuple[int, ...]:
        """That of the space."""
        maps, space = network.graph.maps, self._space(network)
        return tuple(maps[m].reads.index(space) for m in self.readers(network))

    def activation(self, network: AbstractTapped) -> Activation:
        """That of the space."""
        return self._space(network).activation

    def cost(self, network: AbstractTapped, units: int) -> int:
        """What stands for them at all ports."""
        return cost(network, self._space(network), units)

    def _space(self, network: AbstractTapped) -> Space:
        return network.graph.hidden[self.position]

    def apply(self, network, state, weight, bias, theta, limit=None, born=None):
        """With more slots if those there do not last."""
        needed = network.hidden_sizes[self.position] + len(bias)
        there = network.capacities[self.position]
        if needed > there:
            capacity = self._space(network).capacity(needed, there, limit)
            grow = partial(grow_capacity, layer=self.position, capacity=capacity)
            network, state = grow(network), grow(state)
        return add_width(network, self.position, weight, bias, theta, born=born), state


@dataclass(frozen=True)
class AbstractInsertion(AbstractAction):
    """A new layer before linear map `position`."""

    kind: ClassVar[str] = "layer"
    words: ClassVar[str] = "new layer before map {}"
    inserts: ClassVar[bool] = True
    how: ClassVar[InsertKind]

    def sources(self, network: AbstractLayered) -> tuple[int, ...]:  # noqa: ARG002
        """The map."""
        return (self.position,)

    def readers(self, network: AbstractLayered) -> tuple[int, ...]:
        """All maps that read what the map does."""
        return tuple(network.alongside(self.position))

    def blocks(self, network: AbstractLayered) -> tuple[int, ...]:
        """One behind all that the map reads."""
        return (len(network.graph.maps[self.position].reads),) * len(self.readers(network))

    def activation(self, network: AbstractLayered) -> Activation:
        """That of the network."""
        return network.activation

    def cost(self, network: AbstractLayered, units: int) -> int:
        """Weights, biases and θ, and the weights of the readers."""
        own = (network.n_inputs(self.position) + 1 + network.activation.learned) * units
        if self.square:  # the units replace the inputs that they equal in number
            return own
        outputs = (np.count_nonzero(network.outputs_in_use(m)) for m in self.readers(network))
        return own + units * int(sum(outputs))

    def apply(self, network, state, weight, bias, theta, limit=None, born=None):
        """With room to grow; the optimiser's state knows nothing of it yet."""
        capacity = next_capacity(len(bias), limit=limit, at_once=network.slots_at_once)
        units = weight, bias, self.how, None if self.square else theta
        new = insert_layer(network, self.position, *units, capacity=capacity, born=born)
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


@dataclass(frozen=True)
class Drop:
    """Units leave hidden space `position`, and what reads them makes up for them."""

    position: int
    slots: tuple[int, ...]
    name: str = field(default="", compare=False)

    kind: ClassVar[str] = "removal"  # in ledgers

    def __str__(self) -> str:  # noqa: D105
        return self.name or Widen.words.format(self.position)

    def apply(
        self, network: Any, state: Any, moments: Mapping[int, np.ndarray] | None = None
    ) -> tuple[Any, Any]:
        """The network without them, and the network-shaped parts of `state` without their slots.

        `moments` has A of every map that reads them; None refits nothing.
        """
        return take_out(network, state, {self.position: self.slots}, moments)


@dataclass(frozen=True)
class DropLayer:
    """Hidden space `position`, of which no unit is left, is taken out."""

    position: int
    name: str = field(default="", compare=False)

    kind: ClassVar[str] = "layer removal"  # in ledgers

    def __str__(self) -> str:  # noqa: D105
        return self.name or Widen.words.format(self.position)

    def apply(self, network: Any, state: Any) -> tuple[Any, Any]:
        """The network and the network-shaped parts of `state` without it."""
        return without_layer(network, self.position), without_layer(state, self.position)
