"""Convolutions: how they cut rows out of channels, and what they are as sites.

Arrays have their channels last, [N, H, W, C]. A convolution is one linear map that is applied at T
positions: its rows are patches, k·l·C numbers and the constant. One that is as large as what it
reads has one position: such is the map behind a flatten, and one of 1 × 1 behind an average.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from senn.nn.sites import AbstractMap
from senn.nn.spaces import Space, alive, leaf_at
from senn.standalone.numpy_conv import Cut

Tree = TypeVar("Tree")
Channels = Float[Array, "N H W C"]
Blocks = tuple[Float[Array, "N _ _ _"], ...]


class Patches(Cut):
    """How the rows of a convolution are cut out of what it reads, channel by channel.

    Its fields are those of `senn.standalone.numpy_conv.Cut`, which predictions are made by: `shape`
    of what is read, (height, width); `kernel`; `stride`; `same`, zeros around it, or none; `pool`,
    the largest of so many by so many comes first; or `average`, the mean over all.
    """

    __slots__ = ()

    def pooled(self, a: Channels) -> Float[Array, "N h w C"]:
        """What patches are cut out of."""
        if self.average:
            return jnp.mean(a, axis=(1, 2), keepdims=True)
        p, (h, w) = self.pool, self.pooled_shape
        if p == 1:
            return a
        # Strided slices of both axes say the same, and take longer in the loop of training steps.
        windows = a[:, : p * h, : p * w].reshape(len(a), h, p, w, p, -1)
        rows = reduce(jnp.maximum, (windows[:, :, i] for i in range(p)))
        return reduce(jnp.maximum, (rows[:, :, :, j] for j in range(p)))

    def shifted(self, a: Channels) -> Iterator[Float[Array, "N h w C"]]:
        """What each place in the kernel meets, at all positions."""
        (h, w), s = self.out_shape, self.stride
        padded = jnp.pad(self.pooled(a), ((0, 0), *self.padding, (0, 0)))
        for i, j in np.ndindex(*self.kernel):
            yield padded[:, i : i + s * (h - 1) + 1 : s, j : j + s * (w - 1) + 1 : s]


POINT = Patches((1, 1), (1, 1))


class Convolution(eqx.Module):
    """z = Σ patch · weight + bias at every position, and what stands beside it.

    The first block of weights is of what patches are cut out of. The others are of channels that
    are at the positions of the outputs already: each has one number there. As of `Dense`, the sum
    is taken block by block, and a new block of zeros leaves z the same bit for bit.
    """

    weights: tuple[Float[Array, "_ _ _ O"], ...]
    bias: Float[Array, " O"]

    def __call__(self, blocks: Blocks, patches: Patches) -> Float[Array, "N h w O"]:
        """Of channels that are cut like that, and of those beside them."""
        z = self._of_patches(blocks[0], patches)
        for block, weight in zip(blocks[1:], self.weights[1:], strict=True):
            z = z + block @ weight[0, 0]
        own = jnp.finfo(z.dtype)
        return jax.lax.reduce_precision(z, own.nexp, own.nmant)

    def _of_patches(self, a: Channels, patches: Patches) -> Float[Array, "N h w O"]:
        # As a product of patches: XLA's convolutions take seven times as long on a CPU where
        # they stand in a loop, as those of training steps do.
        weight = self.weights[0].reshape(-1, self.weights[0].shape[-1])
        if patches.out_shape == (1, 1) and patches.pooled_shape == patches.kernel:
            rows = patches.pooled(a).reshape(len(a), 1, 1, -1)
        else:
            rows = jnp.concatenate([*patches.shifted(a)], axis=-1)
        return self.bias + rows @ weight


@dataclass(frozen=True)
class ConvSite(AbstractMap):
    """A convolution: its rows are patches, place by place in the kernel, all channels of each.

    Behind them stand the channels of other spaces, at the position of the output.
    """

    patches: Patches = POINT

    @property
    def leaves(self) -> tuple[str, ...]:
        """The blocks of weights, and the bias."""
        return (*self.weights, *(() if self.bias is None else (self.bias,)))

    @property
    def positions(self) -> int:
        """Places of the output."""
        return math.prod(self.patches.out_shape)

    def rows(self, read: Blocks) -> Float[Array, "N T J"]:
        """Patches and what stands beside them, the constant last."""
        parts = [*self.patches.shifted(read[0]), *read[1:]]
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

    def spread(
        self,
        units: Float[Array, "N H W P"],
        block: int = 0,
        beside: tuple[Any, ...] = (),  # noqa: ARG002
    ) -> Float[Array, "N T P n"]:
        """Every channel's patches by themselves: one number a place in the kernel."""
        if block:
            return self.outs(units)[..., None]
        parts = [self.outs(part) for part in self.patches.shifted(units)]
        return jnp.stack(parts, axis=-1)

    def matrix(self, tree: Any) -> Float[Array, "J O"]:
        """As rows have it, the bias last."""
        parts = (leaf_at(tree, leaf) for leaf in self.leaves)
        return jnp.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])

    def put(self, tree: Tree, matrix: Float[Array, "J O"]) -> Tree:
        """Cut into weights and bias."""
        return self._put(tree, self.cut(tree, matrix))

    def cut(self, tree: Any, matrix: Any) -> list[Any]:
        """The blocks of weights, and the bias if there is one."""
        shapes = [leaf_at(tree, leaf).shape[:-1] for leaf in self.weights]
        ends = np.cumsum([0, *map(math.prod, shapes)]).tolist()
        blocks = [
            matrix[start:end].reshape(*shape, matrix.shape[1])
            for (start, end), shape in zip(pairwise(ends), shapes, strict=True)
        ]
        return blocks if self.bias is None else [*blocks, matrix[-1]]

    def columns(self, tree: Any, space: Space) -> Int[np.ndarray, "c n"]:
        """One number for each place in the kernel, or one alone beside it."""
        block = self.reads.index(space)
        shapes = [leaf_at(tree, leaf).shape[:-1] for leaf in self.weights[: block + 1]]
        start = sum(map(math.prod, shapes[:-1]))
        return start + np.arange(math.prod(shapes[-1])).reshape(-1, shapes[-1][-1]).T

    def of_row(self, slots: Any, block: int = 0) -> Any:
        """Channels, once for each place in the kernel."""
        if block:
            return slots
        tile = jnp.tile if isinstance(slots, jax.Array) else np.tile
        return tile(slots, math.prod(self.patches.kernel))

    def shape(self, tree: Any) -> tuple[int, int]:
        """All of a patch and what stands beside it, and a row for the bias."""
        shapes = [leaf_at(tree, leaf).shape for leaf in self.weights]
        return sum(math.prod(s[:-1]) for s in shapes) + (self.bias is not None), shapes[0][-1]

    def precision(self, network: Any) -> Int[Array, "J 1"]:
        """Of weights as many as the numbers in use of a row, of biases 1."""
        used = (self.of_row(alive(network, s), block) for block, s in enumerate(self.reads))
        inputs = sum(jnp.sum(slots) for slots in used)
        J, _ = self.shape(network)
        weights = J - (self.bias is not None)
        return jnp.where(jnp.arange(J) < weights, inputs, 1)[:, None]
