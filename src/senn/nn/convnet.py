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

from senn.arrays import to_device
from senn.nn.activation import AbstractActivation, Activation, activation_called
from senn.nn.convolution import Convolution, ConvSite, Patches
from senn.nn.graph import Graph
from senn.nn.network import lecun_normal
from senn.nn.sites import UnitwiseSite
from senn.nn.spaces import Port, Space, first_units, next_capacity
from senn.nn.tapped import AbstractTapped, Taps

CHANNELS_AT_ONCE = 8  # each costs k² columns at what reads it, so that spare ones are dear


class Stage(eqx.Module):
    """A convolution, its activation, and when the channel of every slot was born."""

    conv: Convolution
    activation: AbstractActivation
    born: Any  # integers [c], None where a tree holds the parameters alone

    def __call__(
        self, a: Float[Array, "N H W C"], patches: Patches, shifts: tuple[Any, Any]
    ) -> tuple[Float[Array, "N h w c"], Float[Array, "N h w c"]]:
        """What the activation gets, and what it makes of it."""
        z = self.conv(a, patches) + shifts[0]
        return z, self.activation(z) + shifts[1]


class ConvNet(AbstractTapped):
    """Stages of convolutions, and a linear map behind them; channels have slots to grow into.

    It takes images [N, H, W, C], the channels last.

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
        """Convolutions read channels; θ's sites, what the activations get."""
        depth = len(self.stages)
        moved = shifts or (0.0,) * (2 * depth + 1)
        read, got, a = [], [], x
        for m, stage in enumerate(self.stages):
            read.append(a)
            own = moved[m], moved[depth + 1 + m] if self.activation.learned else 0.0
            z, a = stage(a, self.patches[m], own)
            got.append(z)
        outputs = self.readout(a, self.patches[-1]) + moved[depth]
        thetas = got if self.activation.learned else ()
        return Taps(outputs.reshape(len(x), -1), (*read, a, *thetas))

    def no_shifts(self, n: int) -> tuple[Float[Array, "n h w _"], ...]:
        """Zeros to differentiate by, for n examples."""
        convs = (*(stage.conv for stage in self.stages), self.readout)
        zeros = tuple(
            jnp.zeros((n, *patches.out_shape, len(conv.bias)), conv.bias.dtype)
            for conv, patches in zip(convs, self.patches, strict=True)
        )
        return (*zeros, *(zeros[:-1] if self.activation.learned else ()))

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.patches[0].shape

    @property
    def graph(self) -> Graph:
        """The spaces: the image's channels, those of every stage, the outputs."""
        return _graph(self.patches, self.activation)


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
    return Convolution(to_device(weight, dtype), to_device(np.zeros(slots[1]), dtype))


@lru_cache
def _graph(patches: tuple[Patches, ...], activation: Activation) -> Graph:
    depth = len(patches) - 1
    paths = [*(f"stages.{m}.conv" for m in range(depth)), "readout"]
    thetas = [f"stages.{m}.activation.theta" for m in range(depth) if activation.learned]
    hidden = (
        Space(
            f"stage {m}",
            f"stages.{m}.born",
            (Port(f"{paths[m]}.weight", 3),),
            (Port(f"{paths[m + 1]}.weight", 2),),
            (Port(f"{paths[m]}.bias", 0), *(Port(theta, 1) for theta in thetas[m : m + 1])),
            activation,
            at_once=CHANNELS_AT_ONCE,
        )
        for m in range(depth)
    )
    inputs = Space("inputs", "inputs", read=(Port(f"{paths[0]}.weight", 2),))
    written, carried = (Port("readout.weight", 3),), (Port("readout.bias", 0),)
    outputs = Space("outputs", "outputs", written, carried=carried)
    spaces = (inputs, *hidden, outputs)
    maps = tuple(
        ConvSite((f"{path}.weight",), f"{path}.bias", (space,), patches=cut)
        for path, space, cut in zip(paths, spaces, patches, strict=False)
    )
    return Graph(spaces, maps, tuple(UnitwiseSite(t, activation.features) for t in thetas))
