"""A module's linear maps as sites, and the numbers that units are scaled or shifted by.

The equations of the module's program are numbered; a site knows the number of its own, and how
what stands there becomes rows [N, T, J] and [N, T, O].
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from senn.nn.sites import DenseSite, UnitwiseSite
from senn.nn.spaces import Space, alive, leaf_at
from senn.nn.wrapping.tails import Tail
from senn.nn.wrapping.tracing import Equation

Tree = TypeVar("Tree")


class Heard(NamedTuple):
    """What a map reads, and what has a part in it beside the units that it reads."""

    numbers: Any
    beside: tuple[Any, ...]


@dataclass(frozen=True)
class LinearSite(DenseSite):
    """A product with a weight, whatever its axes: its inputs are those that are summed over."""

    at: int = 0  # number of the equation
    operand: int = 0  # which of its two inputs is read
    weight_rows: tuple[int, ...] = ()  # axes of the weight that are summed over
    weight_columns: tuple[int, ...] = ()
    unit_axis: int = 0  # that of the columns along which units are
    read_dims: tuple[int, ...] = ()  # of what is read, those summed over, as in the weight
    unit_dims: tuple[int, ...] = ()  # of the output, those of units, as in the weight
    n_positions: int = 1
    outer: int = 1  # the inputs are so many times the slots of what is read,
    inner: int = 1  # each so many numbers
    masked: bool = False  # whether what dormant slots say is not listened to
    tail: Tail | None = field(default=None, repr=False)  # from the map that writes what is read
    beside_at: tuple[tuple[int, int] | None, ...] = ()  # where the tail's `beside` are computed

    @property
    def positions(self) -> int:
        """T, the positions of an example at which it is applied."""
        return self.n_positions

    def rows(self, read: Any) -> Float[Array, "N T J"]:
        """What is summed over, position by position, the constant last."""
        return self._with_constant(_at_positions(_numbers(read), self.read_dims))

    def _with_constant(self, rows: Float[Array, "N T I"]) -> Float[Array, "N T J"]:
        if self.bias is None:
            return rows
        return jnp.concatenate([rows, jnp.ones((*rows.shape[:2], 1), rows.dtype)], axis=2)

    def computed(self, equation: Equation, read: Array, weight: Array) -> Array:
        """What it outputs, of one example."""
        (found,) = equation(*((read, weight) if self.operand == 0 else (weight, read)))
        return found

    def outs(self, at: Float[Array, "N ..."]) -> Float[Array, "N T O"]:
        """Position by position."""
        return _at_positions(at, self.unit_dims)

    def laid(self, rows: Float[Array, "N T P"]) -> Float[Array, "N T P"]:
        """As they are: `Tail` lays them out."""
        return rows

    def beside(self, read: Any) -> tuple[Any, ...]:
        """What else of the example has a part in what is read, such as whom positions attend to."""
        return read.beside if isinstance(read, Heard) else ()

    def spread(
        self,
        units: Float[Array, "N T P"],
        block: int = 0,  # noqa: ARG002
        beside: tuple[Any, ...] = (),
    ) -> Float[Array, "N t P n"]:
        """What becomes of units on their way here, some at a time, as the module has it."""
        assert self.tail is not None
        found, slots = self.tail(units, beside), self.tail.slots
        each = jax.vmap(self.rows, in_axes=1, out_axes=1)(found)  # [N, chunks, t, J]
        at = self.numbers_of(slots).reshape(slots, -1)
        numbers = jnp.moveaxis(each[..., at], 1, 2)  # [N, t, chunks, c, n]
        joined = numbers.reshape(*numbers.shape[:2], -1, at.shape[1])
        return joined[:, :, : units.shape[-1]]

    def matrix(self, tree: Any) -> Float[Array, "J O"]:
        """Inputs below one another, the bias last."""
        return jnp.concatenate([self.flat(leaf, leaf_at(tree, leaf)) for leaf in self.leaves])

    def flat(self, leaf: str, array: Any) -> Any:
        """What the matrix has of one of the leaves; NumPy's stays so."""
        if leaf == self.bias:
            return array.reshape(1, -1)
        turned = array.transpose(*self.weight_rows, *self.weight_columns)
        return turned.reshape(math.prod(turned.shape[: len(self.weight_rows)]), -1)

    def cut(self, tree: Any, matrix: Any) -> list[Any]:
        """The weight and the bias, of as many units as there are columns."""
        weight = leaf_at(tree, self.weights[0])
        sizes = list(weight.shape)
        K = matrix.shape[1]
        if math.prod(sizes[k] for k in self.weight_columns) != K:
            for k in self.weight_columns:
                sizes[k] = K if k == self.unit_axis else 1
        order = (*self.weight_rows, *self.weight_columns)
        inputs = math.prod(sizes[k] for k in self.weight_rows)
        turned = matrix[:inputs].reshape([sizes[k] for k in order])
        found = [turned.transpose(np.argsort(order).tolist())]
        if self.bias is not None:
            shape = [n if n == 1 else -1 for n in leaf_at(tree, self.bias).shape]
            several = sum(n == -1 for n in shape) != 1
            found.append(matrix[-1].reshape(leaf_at(tree, self.bias).shape if several else shape))
        return found

    def widths(self, tree: Any) -> list[int]:
        """All inputs."""
        weight = leaf_at(tree, self.weights[0])
        return [math.prod(weight.shape[k] for k in self.weight_rows)]

    def shape(self, tree: Any) -> tuple[int, int]:
        """Inputs with the constant, and outputs."""
        weight, (inputs,) = leaf_at(tree, self.weights[0]), self.widths(tree)
        outputs = math.prod(weight.shape[k] for k in self.weight_columns)
        return inputs + (self.bias is not None), outputs

    def columns(self, tree: Any, space: Space) -> Int[np.ndarray, "c *n"]:  # noqa: ARG002
        """One number for every slot, or several."""
        (inputs,) = self.widths(tree)
        return self.numbers_of(inputs // (self.outer * self.inner))

    def numbers_of(self, slots: int) -> Int[np.ndarray, "c *n"]:
        """Which numbers of a row so many slots are."""
        numbers = np.arange(self.outer * slots * self.inner)
        at = numbers.reshape(self.outer, slots, self.inner).swapaxes(0, 1).reshape(slots, -1)
        return at[:, 0] if at.shape[1] == 1 else at

    def of_row(self, slots: Any, block: int = 0) -> Any:  # noqa: ARG002
        """What is said of slots, for every number that they are in a row."""
        of = jnp if isinstance(slots, jax.Array) else np
        return of.tile(of.repeat(slots, self.inner), self.outer)

    def precision(self, network: Any) -> Int[Array, "J 1"]:
        """Of weights as many as the numbers in use that are read, of biases 1."""
        (space,) = self.reads
        inputs = jnp.sum(alive(network, space)) * (self.outer * self.inner)
        rows = jnp.arange(self.shape(network)[0])
        return jnp.where(rows < sum(self.widths(network)), inputs, 1)[:, None]

    def heard(self, network: Any, read: Array) -> Array:
        """What is read, of one example, without what dormant slots say."""
        if not self.masked:
            return read
        there = self.of_row(alive(network, self.reads[0])).astype(read.dtype)
        inputs = there.reshape([read.shape[d] for d in self.read_dims])
        turned = inputs.transpose([self.read_dims.index(d) for d in sorted(self.read_dims)])
        sizes = [n if d in self.read_dims else 1 for d, n in enumerate(read.shape)]
        return read * turned.reshape(sizes)


@dataclass(frozen=True)
class PatchSite(LinearSite):
    """A convolution: its rows are patches."""

    dims: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())  # batch, channels, places; in and out
    weight_dims: tuple[int, ...] = ()  # of what is convolved with: outputs, channels, places
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    dilation: tuple[int, ...] = ()

    def rows(self, read: Any) -> Float[Array, "N T J"]:
        """Patches, in the order of the weight's axes, the constant last."""
        patches = self._patches(_numbers(read))
        N, channels = patches.shape[0], patches.shape[-2]
        patches = patches.reshape(N, -1, channels, *self.kernel)
        turned = patches.transpose(0, 1, *(d + 2 for d in self.read_dims))
        return self._with_constant(turned.reshape(*turned.shape[:2], -1))

    def _patches(self, read: Float[Array, "N ..."]) -> Float[Array, "N b *o C k"]:
        a = jnp.transpose(read, (0, *(d + 1 for d in self.dims[0])))  # [N, b, C, *places]
        return jnp.moveaxis(jnp.stack([*self._shifted(a)], axis=-1), 2, -2)

    def computed(self, equation: Equation, read: Array, weight: Array) -> Array:  # noqa: ARG002
        """The convolution of one example, as a product of patches.

        XLA's convolutions take several times as long where they stand in a loop on a CPU.
        """
        patches = self._patches(read[None])[0]  # [b, *o, C, k]
        out, into, *places = self.weight_dims
        turned = weight.transpose(into, *places, out).reshape(-1, weight.shape[out])
        found = patches.reshape(*patches.shape[:-2], -1) @ turned  # [b, *o, O]
        batch, channels, *positions = self.dims[1]
        return jnp.moveaxis(found, range(found.ndim), (batch, *positions, channels))

    def _shifted(self, a: Float[Array, "N b C *s"]) -> Iterator[Float[Array, "N b C *o"]]:
        """What each place of the kernel meets, at all positions."""
        a = jnp.pad(a, ((0, 0), (0, 0), (0, 0), *self.padding))
        sizes = a.shape[3:]
        over = zip(sizes, self.kernel, self.strides, self.dilation, strict=True)
        out = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in over]
        for place in np.ndindex(*self.kernel):
            at = zip(place, out, self.strides, self.dilation, strict=True)
            cuts = (slice(i * d, i * d + (n - 1) * s + 1, s) for i, n, s, d in at)
            yield a[(slice(None),) * 3 + tuple(cuts)]

    def outs(self, at: Float[Array, "N ..."]) -> Float[Array, "N T O"]:
        """Position by position."""
        batch, channels, *places = self.dims[1]
        turned = jnp.transpose(at, (0, batch + 1, *(d + 1 for d in places), channels + 1))
        return turned.reshape(at.shape[0], -1, turned.shape[-1])

    def heard(self, network: Any, read: Array) -> Array:
        """What is read, of one example, without what dormant channels say."""
        if not self.masked:
            return read
        (space,), places = self.reads, math.prod(self.kernel)
        there = alive(network, space).astype(read.dtype)
        there = jnp.tile(jnp.repeat(there, self.inner // places), self.outer)
        shape = [1] * read.ndim
        shape[self.dims[0][1]] = -1
        return read * there.reshape(shape)


@dataclass(frozen=True)
class ScaleSite(UnitwiseSite):
    """Numbers that units are multiplied by, one each."""

    at: int = 0
    operand: int = 0
    unit_dims: tuple[int, ...] = ()
    newborn: float = 1.0  # that of a new unit

    def rows(self, read: Float[Array, "N ..."]) -> Float[Array, "N T 1 c"]:
        """What is multiplied."""
        return _at_positions(read, self.unit_dims)[:, :, None]

    def outs(self, at: Float[Array, "N ..."]) -> Float[Array, "N T c"]:
        """Position by position."""
        return _at_positions(at, self.unit_dims)

    def matrix(self, tree: Any) -> Float[Array, "1 c"]:
        """One row."""
        return leaf_at(tree, self.weight).reshape(1, -1)

    def put(self, tree: Tree, matrix: Float[Array, "1 c"]) -> Tree:
        """In the shape that it has."""
        return self._put(tree, [matrix.reshape(leaf_at(tree, self.weight).shape)])

    def shape(self, tree: Any) -> tuple[int, int]:
        """One, and slots for units."""
        return 1, leaf_at(tree, self.weight).size

    def of_new(self, theta: Any, shape: Sequence[int], axis: int, count: int) -> Any:  # noqa: ARG002
        """1 to be scaled by, 0 to be shifted by."""
        return np.full([count if d == axis else n for d, n in enumerate(shape)], self.newborn)

    def precision(self, network: Any) -> int:  # noqa: ARG002
        """None: that of the start is 1, or whatever the module begins with."""
        return 0


@dataclass(frozen=True)
class ShiftSite(ScaleSite):
    """Numbers that are added to units, one each."""

    newborn: float = 0.0

    def rows(self, read: Float[Array, "N ..."]) -> Float[Array, "N T 1 c"]:
        """Ones."""
        return jnp.ones_like(super().rows(read))


def _numbers(read: Any) -> Any:
    return read.numbers if isinstance(read, Heard) else read


def _at_positions(array: Float[Array, "N ..."], dims: tuple[int, ...]) -> Float[Array, "N T C"]:
    """Some dimensions of every example, counted without N, behind all others."""
    last = [d + 1 for d in dims]
    others = [d for d in range(1, array.ndim) if d not in last]
    turned = jnp.transpose(array, (0, *others, *last))
    T = math.prod(array.shape[d] for d in others)
    return turned.reshape(array.shape[0], T, -1)
