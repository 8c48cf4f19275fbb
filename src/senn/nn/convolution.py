"""Convolutions: how they cut rows out of channels, and what they are as sites.

Arrays have their channels last, [N, H, W, C]. A convolution is one linear map that is applied at T
positions: its rows are patches, k·l·C numbers and the constant. One that is as large as what it
reads has one position: such is the map behind a flatten, and one of 1 × 1 behind an average.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from senn.nn.sites import AbstractMap
from senn.nn.spaces import Space, alive, leaf_at

Tree = TypeVar("Tree")
Channels = Float[Array, "N H W C"]
LAYOUT = ("NHWC", "HWIO", "NHWC")


class Patches(NamedTuple):
    """How the rows of a convolution are cut out of what it reads, channel by channel."""

    shape: tuple[int, int]  # height and width of what is read
    kernel: tuple[int, int]
    stride: int = 1
    same: bool = True  # zeros around it, as many outputs as the stride leaves; else none
    pool: int = 1  # the largest of so many by so many comes first; what is left over is not read
    average: bool = False  # instead, the mean over all

    @property
    def pooled_shape(self) -> tuple[int, int]:
        """Height and width after pooling."""
        if self.average:
            return 1, 1
        return self.shape[0] // self.pool, self.shape[1] // self.pool

    @property
    def out_shape(self) -> tuple[int, int]:
        """Height and width of the outputs."""
        (h, w), (down, across), s = self.pooled_shape, self.kernel, self.stride
        if self.same:
            return -(-h // s), -(-w // s)
        return (h - down) // s + 1, (w - across) // s + 1

    @property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Zeros around it, as XLA's "SAME" has them."""
        (top, bottom), (left, right) = map(self._around, (0, 1))
        return (top, bottom), (left, right)

    def _around(self, axis: int) -> tuple[int, int]:
        n, k, outs = (pair[axis] for pair in (self.pooled_shape, self.kernel, self.out_shape))
        total = max((outs - 1) * self.stride + k - n, 0) if self.same else 0
        return total // 2, total - total // 2

    def pooled(self, a: Channels) -> Float[Array, "N h w C"]:
        """What patches are cut out of."""
        if self.average:
            return jnp.mean(a, axis=(1, 2), keepdims=True)
        p, (h, w) = self.pool, self.pooled_shape
        shifted = (a[:, i : p * h : p, j : p * w : p] for i in range(p) for j in range(p))
        return a if p == 1 else reduce(jnp.maximum, shifted)

    def shifted(self, a: Channels) -> Iterator[Float[Array, "N h w C"]]:
        """What each place in the kernel meets, at all positions."""
        (h, w), s = self.out_shape, self.stride
        padded = jnp.pad(self.pooled(a), ((0, 0), *self.padding, (0, 0)))
        for i, j in np.ndindex(*self.kernel):
            yield padded[:, i : i + s * (h - 1) + 1 : s, j : j + s * (w - 1) + 1 : s]


POINT = Patches((1, 1), (1, 1))


class Convolution(eqx.Module):
    """z = Σ patch · weight + bias at every position."""

    weight: Float[Array, "k l I O"]
    bias: Float[Array, " O"]

    def __call__(self, a: Channels, patches: Patches) -> Float[Array, "N h w O"]:
        """Of channels that are cut like that."""
        pooled, weight = patches.pooled(a), self.weight
        if patches.out_shape == (1, 1) and patches.pooled_shape == patches.kernel:
            z = pooled.reshape(len(a), -1) @ weight.reshape(-1, weight.shape[-1])
            return (z + self.bias)[:, None, None]
        stride = (patches.stride, patches.stride)
        return self.bias + jax.lax.conv_general_dilated(
            pooled, weight, stride, patches.padding, dimension_numbers=LAYOUT
        )


@dataclass(frozen=True)
class ConvSite(AbstractMap):
    """A convolution: its rows are patches, place by place in the kernel, all channels of each."""

    patches: Patches = POINT

    @property
    def leaves(self) -> tuple[str, ...]:
        """The weights [k, l, I, O] and the bias."""
        return (*self.weights, *(() if self.bias is None else (self.bias,)))

    @property
    def positions(self) -> int:
        """Places of the output."""
        return math.prod(self.patches.out_shape)

    def rows(self, read: Channels) -> Float[Array, "N T J"]:
        """Patches, the constant last."""
        parts = [*self.patches.shifted(read)]
        first = parts[0]
        if self.bias is not None:
            parts.append(jnp.ones((*first.shape[:-1], 1), first.dtype))
        return self.outs(jnp.concatenate(parts, axis=-1))

    def outs(self, at: Float[Array, "N h w O"]) -> Float[Array, "N T O"]:
        """Position by position."""
        return at.reshape(at.shape[0], -1, at.shape[-1])

    def laid(self, rows: Float[Array, "N T P"]) -> Float[Array, "N h w P"]:
        """In the shape of the output."""
        return rows.reshape(rows.shape[0], *self.patches.out_shape, rows.shape[-1])

    def spread(self, units: Float[Array, "N H W P"]) -> Float[Array, "N T P n"]:
        """Every channel's patches by themselves: one number a place in the kernel."""
        parts = [self.outs(part) for part in self.patches.shifted(units)]
        return jnp.stack(parts, axis=-1)

    def matrix(self, tree: Any) -> Float[Array, "J O"]:
        """As rows have it, the bias last."""
        weight = leaf_at(tree, self.weights[0])
        flat = weight.reshape(-1, weight.shape[-1])
        if self.bias is None:
            return flat
        return jnp.concatenate([flat, leaf_at(tree, self.bias)[None]])

    def put(self, tree: Tree, matrix: Float[Array, "J O"]) -> Tree:
        """Cut into weights and bias."""
        return self._put(tree, self.cut(tree, matrix))

    def cut(self, tree: Any, matrix: Any) -> list[Any]:
        """The weights, and the bias if there is one."""
        *patch, _ = leaf_at(tree, self.weights[0]).shape
        weight = matrix[: math.prod(patch)].reshape(*patch, matrix.shape[1])
        return [weight] if self.bias is None else [weight, matrix[-1]]

    def columns(self, tree: Any, space: Space) -> Int[np.ndarray, "c n"]:  # noqa: ARG002
        """One number for each place in the kernel."""
        *patch, _ = leaf_at(tree, self.weights[0]).shape
        return np.arange(math.prod(patch)).reshape(-1, patch[-1]).T

    def of_row(self, slots: Any) -> Any:
        """Channels, once for each place in the kernel."""
        tile = jnp.tile if isinstance(slots, jax.Array) else np.tile
        return tile(slots, math.prod(self.patches.kernel))

    def shape(self, tree: Any) -> tuple[int, int]:
        """All of a patch, and a row for the bias."""
        *patch, outs = leaf_at(tree, self.weights[0]).shape
        return math.prod(patch) + (self.bias is not None), outs

    def precision(self, network: Any) -> Int[Array, "J 1"]:
        """Of weights as many as the numbers in use of a patch, of biases 1."""
        (space,) = self.reads
        inputs = jnp.sum(alive(network, space)) * math.prod(self.patches.kernel)
        J, _ = self.shape(network)
        weights = J - (self.bias is not None)
        return jnp.where(jnp.arange(J) < weights, inputs, 1)[:, None]
