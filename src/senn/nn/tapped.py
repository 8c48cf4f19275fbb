"""What growth, scores and optimisers ask of a network."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from senn.arrays import path_of
from senn.nn.graph import Graph, shapes_in_use
from senn.nn.spaces import SLOTS_AT_ONCE, alive, births, slots, units

Net = TypeVar("Net", bound="AbstractTapped")


class Taps(NamedTuple):
    """What a network computes on the way to its outputs."""

    outputs: Float[Array, "*n O"]
    reads: tuple[Any, ...]  # by every site


class AbstractTapped(eqx.Module):
    """A network that can grow: it says where its units live, and what its sites read."""

    @property
    @abstractmethod
    def graph(self) -> Graph:
        """Its spaces and sites, with paths that begin at the network."""

    @abstractmethod
    def taps(self, x: Float[Array, "... I"], shifts: tuple[Any, ...] | None = None) -> Taps:
        """The outputs, and what every site reads on the way.

        `shifts` are added to the outputs of the sites: the derivative with respect to them is
        the loss gradient there.
        """

    @abstractmethod
    def no_shifts(self, n: int) -> tuple[Array, ...]:
        """Zeros to differentiate by, for n examples."""

    def __call__(self, x: Float[Array, "... I"]) -> Float[Array, "... O"]:
        """The network's outputs: logits or predictions."""
        return self.taps(x).outputs

    @property
    def dtype(self) -> Any:
        """The type of its parameters."""
        return next(leaf.dtype for leaf in jax.tree.leaves(self) if eqx.is_inexact_array(leaf))

    @property
    def grid(self) -> tuple[int, ...]:
        """The positions at which inputs are given: none of a table's rows, (H, W) of images."""
        return ()

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Of what an example is, the inputs in use last."""
        return (*self.grid, self.in_size)

    @property
    def has_positions(self) -> bool:
        """Whether some of its maps are applied at several positions of an example."""
        return any(site.positions > 1 for site in self.graph.maps)

    @property
    def in_size(self) -> int:
        """Number of inputs in use."""
        return sum(units(self, space) for space in self.graph.inputs)

    @property
    def in_slots(self) -> int:
        """Inputs, in use or dormant."""
        return sum(slots(self, space) for space in self.graph.inputs)

    @property
    def out_size(self) -> int:
        """Number of outputs in use."""
        return units(self, self.graph.outputs)

    @property
    def out_slots(self) -> int:
        """Outputs, in use or dormant."""
        return slots(self, self.graph.outputs)

    @property
    def active_outputs(self) -> Bool[Array, " O"]:
        """Which of the outputs are in use (works under `jit`)."""
        return alive(self, self.graph.outputs)

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Units in use, per hidden space."""
        return tuple(units(self, space) for space in self.graph.hidden)

    @property
    def capacities(self) -> tuple[int, ...]:
        """Slots, per hidden space."""
        return tuple(slots(self, space) for space in self.graph.hidden)

    @property
    def architecture(self) -> dict[str, Any] | None:
        """All that is to be known to make another like it, as JSON; None if that is not enough."""
        return None

    @property
    def insertions(self) -> range:
        """The linear maps before which layers can be inserted (`AbstractLayered`)."""
        return range(0)

    @property
    def removable(self) -> tuple[int, ...]:
        """The hidden spaces that can be taken out whole (`AbstractLayered.without_layer`).

        What reads them reads something else, too, so that it is left with an input.
        """
        return ()

    def readers(self, layer: int) -> tuple[int, ...]:
        """The linear maps that read hidden space `layer`, nearest first."""
        return self.graph.readers(self.graph.hidden[layer])

    def n_inputs(self, position: int) -> int:
        """Active inputs of linear map `position`, without the constant."""
        return int(np.count_nonzero(self.inputs_in_use(position)))

    def inputs_in_use(self, position: int) -> Bool[np.ndarray, " c"]:
        """Which of the numbers that linear map `position` reads are of units in use."""
        site = self.graph.maps[position]
        reads = enumerate(site.reads)
        return np.concatenate([site.of_row(births(self, space) >= 0, b) for b, space in reads])

    def active_inputs(self, position: int) -> Bool[Array, " c"]:
        """`inputs_in_use` that works under `jit`."""
        site = self.graph.maps[position]
        reads = enumerate(site.reads)
        return jnp.concatenate([site.of_row(alive(self, space), b) for b, space in reads])

    def outputs_in_use(self, position: int) -> Bool[np.ndarray, " c"]:
        """Which of the slots that linear map `position` writes hold units."""
        return births(self, self.graph.written_by(position)) >= 0

    @property
    def n_parameters(self) -> int:
        """Active parameters: those of units in use alone."""
        return self.parameters_with(self.hidden_sizes)

    def parameters_with(self, hidden_sizes: Sequence[int]) -> int:
        """Active parameters if there were so many units in the hidden spaces."""
        used: dict[str, Any] = dict(shapes_in_use(self, hidden_sizes))
        leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(self, eqx.is_inexact_array))
        return sum(math.prod(used.get(path_of(path), leaf.shape)) for path, leaf in leaves)


class AbstractLayered(AbstractTapped):
    """A network into which whole layers can be inserted, all of one activation."""

    activation: eqx.AbstractVar[Any]

    @property
    def insertions(self) -> range:
        """All linear maps."""
        return range(len(self.graph.maps))

    @property
    def slots_at_once(self) -> int:
        """Capacities of new layers are multiples of it."""
        return SLOTS_AT_ONCE

    @abstractmethod
    def alongside(self, position: int) -> range:
        """The maps that read all that map `position` does: it, and those past residual layers."""

    @abstractmethod
    def with_layer(self: Net, position: int, slots: int, *, beside: bool) -> Net:
        """With a hidden layer of dormant slots before map `position`, the space of that number.

        It stands beside all that the map reads, or in its place; so in trees of the network's
        shape.
        """

    def without_layer(self: Net, position: int) -> Net:
        """Without hidden space `position`, one of `removable`; so in trees of its shape.

        Outputs are what they are with all its slots dormant.
        """
        raise ValueError(
            f"{self.graph.hidden[position].name} cannot be taken out whole: {type(self).__name__} "
            "has no such layers; leave it a unit."
        )


def alongside(residual: Sequence[bool], position: int) -> range:
    """The maps that read all that map `position` does: it, and those past residual layers."""
    last = position
    while last < len(residual) and residual[last]:
        last += 1
    return range(position, last + 1)
