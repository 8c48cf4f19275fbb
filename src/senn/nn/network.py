"""Multilayer perceptrons with spare slots for units yet to come."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from scipy.special import ndtr, ndtri

from senn.arrays import to_device, zeros
from senn.nn.activation import AbstractActivation, Activation, activation_called
from senn.nn.dense import Dense
from senn.nn.graph import Graph
from senn.nn.sites import DenseSite, UnitwiseSite
from senn.nn.spaces import Port, Space, births, first_units, next_capacity
from senn.nn.tapped import AbstractLayered, Taps, alongside
from senn.plain import source_nodes

CUT_NORMAL_STD = 0.87962566103423978  # of a standard normal cut off at ±2


class Hidden(eqx.Module):
    """One hidden layer: a linear map, its activation, and when the unit of every slot was born.

    Slots that hold no unit are *dormant*: their incoming weights, bias, θ and outgoing weights
    are all exactly zero, so they output zero and receive zero gradient.
    A `residual` layer stands beside its inputs: what follows reads both.
    """

    dense: Dense
    activation: AbstractActivation
    born: Any  # integers [c] (`senn.nn.graph`); None where a tree holds the parameters alone
    residual: bool = eqx.field(default=False, static=True)

    @property
    def capacity(self) -> int:
        """Slots, in use or dormant."""
        return self.dense.bias.shape[-1]

    def __call__(self, inputs: tuple[Float[Array, "*n _"], ...]) -> Float[Array, "*n c"]:
        """Map blocks of inputs to the activations of all slots."""
        return self.activation(self.dense(inputs))


class MLP(AbstractLayered):
    """A perceptron with zero or more hidden layers, each with dormant slots to grow into.

    Args:
        in_size: number of inputs.
        out_size: number of outputs.
        hidden_sizes: units per hidden layer; `()` is a linear model.
        key: random key, a concrete one; weights are LeCun normal, biases zero, θ standard normal
            (appendix C).
        activation: "rational", "relu", "silu", "gelu" or "tanh", or a class of your own.
        capacity: slots per hidden layer, at least its size; by default room to grow.
        dtype: of the parameters; by default JAX's own.

    Linear maps are numbered 0 … L for L hidden layers: map l < L makes hidden layer l, map L
    the output. *Nodes* are what maps read: node 0 is the input, node l + 1 hidden layer l.

    Inputs and outputs may have dormant slots too (`senn.expand.with_slots`). Such a network takes
    and returns as many as it has slots.
    """

    hidden: tuple[Hidden, ...]
    readout: Dense
    inputs: Any  # when they were born, integers like `Hidden.born`
    outputs: Any
    activation: Activation = eqx.field(static=True)

    def __init__(  # noqa: D107
        self,
        in_size: int,
        out_size: int,
        hidden_sizes: Sequence[int] = (),
        *,
        key: PRNGKeyArray,
        activation: str | Activation = "rational",
        capacity: int | None = None,
        dtype=None,
    ):
        sigma = activation_called(activation)
        sizes = (in_size, *hidden_sizes, out_size)
        if any(size < 1 for size in sizes):
            raise ValueError(f"Every size must be at least 1; got {sizes} for inputs … outputs.")
        dtype = dtype or jnp.result_type(float)
        slots = [in_size, *(max(n, capacity or next_capacity(n)) for n in hidden_sizes), out_size]
        # On the host: drawing with JAX would compile for seconds before the first step.
        draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        dense = [
            _init_dense(draw, sizes[i : i + 2], slots[i : i + 2], dtype)
            for i in range(len(sizes) - 1)
        ]
        self.hidden = tuple(
            Hidden(d, sigma.drawn(draw, n, c, dtype), first_units(n, c))
            for d, n, c in zip(dense[:-1], hidden_sizes, slots[1:], strict=False)
        )
        self.readout = dense[-1]
        self.inputs, self.outputs = first_units(in_size), first_units(out_size)
        self.activation = sigma

    def taps(self, x: Float[Array, "*n I"], shifts: tuple[Any, ...] | None = None) -> Taps:
        """What linear maps read is a tuple of blocks; what θ's site reads, the pre-activations."""
        depth = len(self.hidden)
        moved = shifts or (0.0,) * (2 * depth + 1)
        z_shifts, a_shifts = moved[: depth + 1], moved[depth + 1 :] or (0.0,) * depth
        blocks, read, got = (x,), [], []
        for layer, z_shift, a_shift in zip(self.hidden, z_shifts[:-1], a_shifts, strict=True):
            read.append(blocks)
            got.append(layer.dense(blocks) + z_shift)
            a = layer.activation(got[-1]) + a_shift
            blocks = (*blocks, a) if layer.residual else (a,)
        outputs = self.readout(blocks) + z_shifts[-1]
        return Taps(outputs, (*read, blocks, *(got if self.activation.learned else ())))

    def no_shifts(self, n: int) -> tuple[Float[Array, "n _"], ...]:
        """Zeros to differentiate by, for n examples."""
        zeros = tuple(jnp.zeros((n, m.bias.shape[-1]), m.bias.dtype) for m in self.maps)
        return (*zeros, *(zeros[:-1] if self.activation.learned else ()))

    @property
    def graph(self) -> Graph:
        """The spaces: node for node, then the outputs."""
        return _graph(tuple(layer.residual for layer in self.hidden), self.activation)

    @property
    def architecture(self) -> dict[str, Any]:
        """How its arrays fit together, as JSON."""
        return {
            "in_size": self.in_size,
            "out_size": self.out_size,
            "hidden_sizes": self.hidden_sizes,
            "residual": [layer.residual for layer in self.hidden],
            "activation": self.activation.name,
            "born": [born[born >= 0].tolist() for born in self._births()],
        }

    def _births(self) -> list[np.ndarray]:
        return [births(self, space) for space in self.graph.hidden]

    @property
    def maps(self) -> tuple[Dense, ...]:
        """All linear maps, the output map last."""
        return (*(layer.dense for layer in self.hidden), self.readout)

    @property
    def n_maps(self) -> int:
        """Number of linear maps, one more than hidden layers."""
        return len(self.hidden) + 1

    @property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """The nodes that each linear map reads, in the order of its blocks."""
        return source_nodes([layer.residual for layer in self.hidden])

    def alongside(self, position: int) -> range:
        """The maps that read all that map `position` does: it, and those past residual layers."""
        return alongside([layer.residual for layer in self.hidden], position)

    def with_layer(self, position: int, slots: int, *, beside: bool) -> "MLP":
        """A residual layer, or one in place of what the map reads."""
        maps, read = list(self.maps), self.maps[position].weights
        for m in self.alongside(position):
            weights, bias = maps[m].weights, maps[m].bias
            seen, others = weights[: len(read)], weights[len(read) :]
            new = zeros((slots, len(bias)), bias.dtype)
            maps[m] = Dense((*(seen if beside else ()), new, *others), bias)
        dtype, learned = read[0].dtype, self.activation.learned
        dense = Dense(tuple(zeros((len(w), slots), dtype) for w in read), zeros((slots,), dtype))
        sigma = self.activation.of(zeros((learned, slots), dtype) if learned else None)
        none = None if self.inputs is None else first_units(0, slots)
        hidden = [
            Hidden(dense, h.activation, h.born, h.residual)
            for dense, h in zip(maps, self.hidden, strict=False)
        ]
        hidden.insert(position, Hidden(dense, sigma, none, beside))
        return assemble(hidden, maps[-1], self.activation, self.inputs, self.outputs)

    @property
    def removable(self) -> tuple[int, ...]:
        """The residual layers: what reads them reads what they do, too."""
        return tuple(m for m, layer in enumerate(self.hidden) if layer.residual)

    def without_layer(self, position: int) -> "MLP":
        """Without a residual layer."""
        if position not in self.removable:
            raise ValueError(
                f"hidden layer {position} cannot be taken out whole, for what reads it reads "
                f"nothing else; of this network can {list(self.removable) or 'none'}."
            )
        node, maps = position + 1, list(self.maps)
        for m, nodes in enumerate(self.sources):
            kept = zip(maps[m].weights, nodes, strict=True)
            maps[m] = Dense(tuple(block for block, n in kept if n != node), maps[m].bias)
        hidden = [
            Hidden(dense, h.activation, h.born, h.residual)
            for dense, h in zip(maps, self.hidden, strict=False)
        ]
        del hidden[position]
        return assemble(hidden, maps[-1], self.activation, self.inputs, self.outputs)


@lru_cache
def _graph(residual: tuple[bool, ...], activation: Activation) -> Graph:
    sources, depth = source_nodes(residual), len(residual)
    paths = [*(f"hidden.{m}.dense" for m in range(depth)), "readout"]
    blocks = [
        tuple(f"{paths[m]}.weights.{b}" for b in range(len(sources[m]))) for m in range(depth + 1)
    ]
    thetas = [f"hidden.{m}.activation.theta" for m in range(depth) if activation.learned]

    def written(m: int) -> tuple[Port, ...]:
        return tuple(Port(block, 1) for block in blocks[m])

    def read(node: int) -> tuple[Port, ...]:
        readers = [m for m, nodes in enumerate(sources) if node in nodes]
        return tuple(Port(blocks[m][sources[m].index(node)], 0) for m in readers)

    def carried(m: int) -> tuple[Port, ...]:
        return (Port(f"{paths[m]}.bias", 0), *(Port(theta, 1) for theta in thetas[m : m + 1]))

    hidden = (
        Space(
            f"hidden layer {m}",
            f"hidden.{m}.born",
            written(m),
            read(m + 1),
            carried(m),
            activation,
        )
        for m in range(depth)
    )
    inputs = Space("inputs", "inputs", read=read(0))
    outputs = Space("outputs", "outputs", written(depth), carried=carried(depth))
    spaces = (inputs, *hidden, outputs)
    maps = (
        DenseSite(blocks[m], f"{paths[m]}.bias", tuple(spaces[n] for n in nodes), 0 in nodes)
        for m, nodes in enumerate(sources)
    )
    units = (UnitwiseSite(theta, activation.features) for theta in thetas)
    return Graph(spaces, tuple(maps), tuple(units))


def assemble(
    hidden: Sequence[Hidden],
    readout: Dense,
    activation: Activation,
    inputs: Int[Array, " i"] | None,
    outputs: Int[Array, " o"] | None,
) -> MLP:
    """A network of the given layers, as growing and loading make them."""
    network = object.__new__(MLP)
    parts = {
        "hidden": tuple(hidden), "readout": readout, "inputs": inputs, "outputs": outputs,
        "activation": activation,
    }  # fmt: skip
    for name, value in parts.items():
        object.__setattr__(network, name, value)
    return network


def rebuild(network: MLP, maps: Sequence[Dense], activations: Sequence[AbstractActivation]) -> MLP:
    """The network, or a tree of that shape, with other linear maps and activations."""
    hidden = [
        Hidden(dense, sigma, layer.born, layer.residual)
        for dense, sigma, layer in zip(maps, activations, network.hidden, strict=False)
    ]
    return assemble(hidden, maps[-1], network.activation, network.inputs, network.outputs)


def _init_dense(
    draw: np.random.Generator, sizes: Sequence[int], slots: Sequence[int], dtype
) -> Dense:
    weight = np.zeros(tuple(slots))
    weight[: sizes[0], : sizes[1]] = lecun_normal(draw, sizes)
    return Dense((to_device(weight, dtype),), to_device(np.zeros(slots[1]), dtype))


def lecun_normal(draw: np.random.Generator, sizes: Sequence[int]) -> np.ndarray:
    """Weights [I, O] of variance 1/I, normal but cut off at two standard deviations."""
    uniform = draw.uniform(ndtr(-2), ndtr(2), size=tuple(sizes))
    return ndtri(uniform) / (CUT_NORMAL_STD * np.sqrt(sizes[0]))
