"""Convolutional networks whose channels grow."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from senn.arrays import to_device, zeros
from senn.nn.activation import AbstractActivation, Activation, activation_called
from senn.nn.convolution import Blocks, Convolution, ConvSite, Patches
from senn.nn.graph import Graph
from senn.nn.network import lecun_normal
from senn.nn.sites import UnitwiseSite
from senn.nn.spaces import Port, Space, births, first_units, next_capacity
from senn.nn.tapped import AbstractLayered, Taps, alongside
from senn.plain import source_nodes

CHANNELS_AT_ONCE = 8  # each costs k² columns at what reads it, so that spare ones are dear


class Stage(eqx.Module):
    """A convolution, its activation, and when the channel of every slot was born.

    A `residual` stage stands beside what the convolution behind it reads, and reads the same
    patches: what it says of a patch is at the position of that convolution's output.
    """

    conv: Convolution
    activation: AbstractActivation
    born: Any  # integers [c], None where a tree holds the parameters alone
    residual: bool = eqx.field(default=False, static=True)

    def __call__(
        self, blocks: Blocks, patches: Patches, shifts: tuple[Any, Any]
    ) -> tuple[Float[Array, "N h w c"], Float[Array, "N h w c"]]:
        """What the activation gets, and what it makes of it."""
        z = self.conv(blocks, patches) + shifts[0]
        return z, self.activation(z) + shifts[1]


class ConvNet(AbstractLayered):
    """Stages of convolutions, and a linear map behind them; channels have slots to grow into.

    It takes images [N, H, W, C], the channels last. Layers can be inserted beside what any of its
    maps reads: y = W a + V σ(W_q a + b) at every position, a a patch.

    Args:
        image_shape: (H, W), or (H, W, C).
        out_size: number of outputs.
        channels: of every stage, one at least.
        key: random key, a concrete one; weights are LeCun normal, biases zero, θ standard normal.
        kernel: height and width of the convolutions. There are zeros around what they read.
        stride: of the convolutions, one for all or one for each.
        pool: the largest of so many by so many is what comes through behind a stage, one for all or
            one for each; 1 is without.
        head: what the linear map reads of the last stage: its channels' "average", instead of a
            pool, or all that is left of them ("flatten").
        activation: as of `MLP`.
        capacity: slots of a stage, at least its channels; by default room to grow.
        dtype: of the parameters; by default JAX's own.
    """

    stages: tuple[Stage, ...]
    readout: Convolution
    inputs: Any  # when they were born, integers
    outputs: Any
    activation: Activation = eqx.field(static=True)
    patches: tuple[Patches, ...] = eqx.field(static=True)  # of every convolution, the last included

    def __init__(  # noqa: D107
        self,
        image_shape: Sequence[int],
        out_size: int,
        channels: Sequence[int] = (8,),
        *,
        key: PRNGKeyArray,
        kernel: int = 3,
        stride: int | Sequence[int] = 1,
        pool: int | Sequence[int] = 2,
        head: Literal["average", "flatten"] = "average",
        activation: str | Activation = "rational",
        capacity: int | None = None,
        dtype=None,
    ):
        sigma, dtype = activation_called(activation), dtype or jnp.result_type(float)
        height, width, *colours = image_shape if len(image_shape) in (2, 3) else (0, 0)
        sizes = (*(colours or (1,)), *channels, out_size)
        if not channels or any(n < 1 for n in (height, width, kernel, *sizes)):
            raise ValueError(
                "A ConvNet needs image_shape (H, W) or (H, W, C), a stage of channels or more, and "
                f"all numbers at least 1; got {tuple(image_shape)}, {out_size} and "
                f"{tuple(channels)}."
            )
        n = len(channels)
        self.patches = _patches(
            (height, width), kernel, _each("stride", stride, n), _each("pool", pool, n), head
        )
        room = (max(c, capacity or _room(c)) for c in channels)
        slots = [sizes[0], *room, out_size]
        # On the host: drawing with JAX would compile for seconds before the first step.
        draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        *convs, self.readout = (
            _drawn(draw, patches, sizes[m : m + 2], slots[m : m + 2], dtype)
            for m, patches in enumerate(self.patches)
        )
        self.stages = tuple(
            Stage(conv, sigma.drawn(draw, c, room, dtype), first_units(c, room))
            for conv, c, room in zip(convs, channels, slots[1:], strict=False)
        )
        self.inputs, self.outputs = first_units(sizes[0]), first_units(out_size)
        self.activation = sigma

    def taps(self, x: Float[Array, "N H W C"], shifts: tuple[Any, ...] | None = None) -> Taps:
        """Convolutions read blocks of channels; θ's sites, what the activations get."""
        depth = len(self.stages)
        moved = shifts or (0.0,) * (2 * depth + 1)
        read, got, blocks = [], [], (x,)
        for m, stage in enumerate(self.stages):
            read.append(blocks)
            own = moved[m], moved[depth + 1 + m] if self.activation.learned else 0.0
            z, a = stage(blocks, self.patches[m], own)
            got.append(z)
            blocks = (*blocks, a) if stage.residual else (a,)
        outputs = self.readout(blocks, self.patches[-1]) + moved[depth]
        thetas = got if self.activation.learned else ()
        return Taps(outputs.reshape(len(x), -1), (*read, blocks, *thetas))

    def no_shifts(self, n: int) -> tuple[Float[Array, "n h w _"], ...]:
        """Zeros to differentiate by, for n examples."""
        zeros = tuple(
            jnp.zeros((n, *patches.out_shape, len(conv.bias)), conv.bias.dtype)
            for conv, patches in zip(self.convs, self.patches, strict=True)
        )
        return (*zeros, *(zeros[:-1] if self.activation.learned else ()))

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.patches[0].shape

    @property
    def convs(self) -> tuple[Convolution, ...]:
        """All linear maps, the output map last."""
        return (*(stage.conv for stage in self.stages), self.readout)

    @property
    def graph(self) -> Graph:
        """The spaces: the image's channels, those of every stage, the outputs."""
        return _graph(self.patches, self._residual, self.activation)

    @property
    def _residual(self) -> tuple[bool, ...]:
        return tuple(stage.residual for stage in self.stages)

    @property
    def architecture(self) -> dict[str, Any]:
        """How its arrays fit together, as JSON."""
        born = [births(self, space) for space in self.graph.hidden]
        return {
            "in_size": self.in_size,
            "out_size": self.out_size,
            "hidden_sizes": self.hidden_sizes,
            "residual": list(self._residual),
            "activation": self.activation.name,
            "born": [b[b >= 0].tolist() for b in born],
            "patches": [cut.numbers for cut in self.patches],
        }

    @property
    def slots_at_once(self) -> int:
        """Of new layers, too."""
        return CHANNELS_AT_ONCE

    def alongside(self, position: int) -> range:
        """The maps that read all that map `position` does: it, and those past residual stages."""
        return alongside(self._residual, position)

    def with_layer(self, position: int, slots: int, *, beside: bool) -> "ConvNet":
        """A residual stage."""
        if not beside:
            raise ValueError(
                "A convolution's patches cannot be replaced by as many channels that are the "
                'identity: take layers beside them, layer_kind="residual".'
            )
        convs, read = list(self.convs), self.convs[position].weights
        for m in self.alongside(position):
            weights, bias = convs[m].weights, convs[m].bias
            new = zeros((1, 1, slots, len(bias)), bias.dtype)
            seen, others = weights[: len(read)], weights[len(read) :]
            convs[m] = Convolution((*seen, new, *others), bias)
        dtype, learned = read[0].dtype, self.activation.learned
        weights = tuple(zeros((*w.shape[:-1], slots), dtype) for w in read)
        sigma = self.activation.of(zeros((learned, slots), dtype) if learned else None)
        born = None if self.inputs is None else first_units(0, slots)
        stages = self._with_convs(convs)
        stages.insert(
            position, Stage(Convolution(weights, zeros((slots,), dtype)), sigma, born, True)
        )
        cuts = [*self.patches]
        cuts.insert(position, cuts[position])
        return self._of(stages, convs[-1], cuts)

    @property
    def removable(self) -> tuple[int, ...]:
        """The residual stages: what reads them reads what they do, too."""
        return tuple(m for m, stage in enumerate(self.stages) if stage.residual)

    def without_layer(self, position: int) -> "ConvNet":
        """Without a residual stage."""
        if position not in self.removable:
            return super().without_layer(position)
        convs = list(self.convs)
        for m, nodes in enumerate(source_nodes(self._residual)):
            kept = zip(convs[m].weights, nodes, strict=True)
            convs[m] = Convolution(tuple(w for w, n in kept if n != position + 1), convs[m].bias)
        stages, cuts = self._with_convs(convs), [*self.patches]
        del stages[position], cuts[position]
        return self._of(stages, convs[-1], cuts)

    def _with_convs(self, convs: Sequence[Convolution]) -> list[Stage]:
        pairs = zip(convs, self.stages, strict=False)
        return [Stage(conv, s.activation, s.born, s.residual) for conv, s in pairs]

    def _of(
        self, stages: Sequence[Stage], readout: Convolution, patches: Sequence[Patches]
    ) -> "ConvNet":
        ends = self.inputs, self.outputs
        return assemble(stages, readout, ends, self.activation, patches)


def assemble(
    stages: Sequence[Stage],
    readout: Convolution,
    ends: tuple[Any, Any],
    activation: Activation,
    patches: Sequence[Patches],
) -> ConvNet:
    """A network of the given stages, as growing and loading make them.

    `ends` says when inputs and outputs were born.
    """
    network = object.__new__(ConvNet)
    parts = {
        "stages": tuple(stages), "readout": readout, "inputs": ends[0], "outputs": ends[1],
        "activation": activation, "patches": tuple(patches),
    }  # fmt: skip
    for name, value in parts.items():
        object.__setattr__(network, name, value)
    return network


def _each(name: str, given: int | Sequence[int], n: int) -> tuple[int, ...]:
    """One for each of n stages."""
    values = (given,) * n if isinstance(given, int) else tuple(given)
    if len(values) != n or any(value < 1 for value in values):
        raise ValueError(
            f"{name} must be a number above 0, or one for each of the {n} stages; got {given!r}."
        )
    return values


def _room(channels: int) -> int:
    return next_capacity(channels, at_once=CHANNELS_AT_ONCE)


def _patches(
    shape: tuple[int, int], kernel: int, strides: Sequence[int], pools: Sequence[int], head: str
) -> tuple[Patches, ...]:
    if head not in ("average", "flatten"):
        raise ValueError(f'head={head!r} is not known; choose "average" or "flatten".')
    found = []
    for stride, pool in zip(strides, (1, *pools[:-1]), strict=True):
        found.append(Patches(shape, (kernel, kernel), stride, pool=pool))
        shape = found[-1].out_shape
    pool = 1 if head == "average" else pools[-1]
    last = Patches(shape, (1, 1), same=False, pool=pool, average=head == "average")
    found.append(last._replace(kernel=last.pooled_shape))
    if any(0 in patches.pooled_shape for patches in found):
        raise ValueError(
            f"Nothing is left of images of {found[0].shape[0]} × {found[0].shape[1]} after strides "
            f"{tuple(strides)} and pools {tuple(pools)}; take smaller ones, or fewer stages."
        )
    return tuple(found)


def _drawn(
    draw: np.random.Generator, patches: Patches, sizes: Sequence[int], slots: Sequence[int], dtype
) -> Convolution:
    inputs, outs = sizes
    weight = np.zeros((*patches.kernel, *slots))
    drawn = lecun_normal(draw, (math.prod(patches.kernel) * inputs, outs))
    weight[:, :, :inputs, :outs] = drawn.reshape(*patches.kernel, *sizes)
    return Convolution((to_device(weight, dtype),), to_device(np.zeros(slots[1]), dtype))


@lru_cache
def _graph(
    patches: tuple[Patches, ...], residual: tuple[bool, ...], activation: Activation
) -> Graph:
    sources, depth = source_nodes(residual), len(residual)
    paths = [*(f"stages.{m}.conv" for m in range(depth)), "readout"]
    blocks = [
        tuple(f"{path}.weights.{b}" for b in range(len(nodes)))
        for path, nodes in zip(paths, sources, strict=True)
    ]
    thetas = [f"stages.{m}.activation.theta" for m in range(depth) if activation.learned]

    def written(m: int) -> tuple[Port, ...]:
        return tuple(Port(block, 3) for block in blocks[m])

    def read(node: int) -> tuple[Port, ...]:
        readers = [m for m, nodes in enumerate(sources) if node in nodes]
        return tuple(Port(blocks[m][sources[m].index(node)], 2) for m in readers)

    hidden = (
        Space(
            f"stage {m}",
            f"stages.{m}.born",
            written(m),
            read(m + 1),
            (Port(f"{paths[m]}.bias", 0), *(Port(theta, 1) for theta in thetas[m : m + 1])),
            activation,
            at_once=CHANNELS_AT_ONCE,
        )
        for m in range(depth)
    )
    inputs = Space("inputs", "inputs", read=read(0))
    outputs = Space("outputs", "outputs", written(depth), carried=(Port("readout.bias", 0),))
    spaces = (inputs, *hidden, outputs)
    maps = tuple(
        ConvSite(blocks[m], f"{paths[m]}.bias", tuple(spaces[n] for n in nodes), patches=patches[m])
        for m, nodes in enumerate(sources)
    )
    return Graph(spaces, maps, tuple(UnitwiseSite(t, activation.features) for t in thetas))
