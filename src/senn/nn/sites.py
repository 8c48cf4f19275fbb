"""Sites: the linear maps inside a network, as its curvature sees them.

Whatever the shape of its weights, a map turns rows a [N, T, J] into rows [N, T, O], for N examples
at T positions each (1 of a dense map), and the gradient of a loss by its weights is Σ a gᵀ, a
matrix [J, O]. So whoever knows rows and matrices (K-FAC, the score) needs to know no layer.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from senn.nn.spaces import Space, alive, leaf_at

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class AbstractSite:
    """One linear map; its paths begin at the network."""

    @property
    @abstractmethod
    def leaves(self) -> tuple[str, ...]:
        """The paths of its parameters, as they stand below one another in its matrix."""

    @abstractmethod
    def rows(self, read: Any) -> Float[Array, "N T *J"]:
        """What it reads, as `AbstractTapped.taps` returns it."""

    def outs(self, at: Float[Array, "N O"]) -> Float[Array, "N T O"]:
        """A gradient at its outputs."""
        return at[:, None]

    @abstractmethod
    def matrix(self, tree: Any) -> Float[Array, "J O"]:
        """Its parameters, or whatever a tree of the network's shape holds in their place."""

    @abstractmethod
    def put(self, tree: Tree, matrix: Float[Array, "J O"]) -> Tree:
        """The tree with those numbers in their place."""

    @abstractmethod
    def shape(self, tree: Any) -> tuple[int, int]:
        """J and O."""

    @abstractmethod
    def precision(self, network: Any) -> Array | int:
        """Of the prior of its parameters that is the starting scheme, as broadcasts to [J, O]."""

    def _put(self, tree: Tree, parts: Sequence[Array]) -> Tree:
        return eqx.tree_at(lambda t: [leaf_at(t, leaf) for leaf in self.leaves], tree, list(parts))


@dataclass(frozen=True)
class AbstractMap(AbstractSite):
    """A linear map from spaces of units to another."""

    weights: tuple[str, ...]  # a block for each space that it reads
    bias: str | None
    reads: tuple[Space, ...]  # the space of each block
    reads_inputs: bool = False  # whether the first of them is all that the network gets, as rows

    @abstractmethod
    def cut(self, tree: Any, matrix: Any) -> list[Any]:
        """What stands in a matrix [J, K] for each of the leaves."""

    @abstractmethod
    def columns(self, tree: Any, space: Space) -> Int[np.ndarray, "c *n"]:
        """Which numbers of a row the slots of a space are: one each, or n."""

    def flat(self, leaf: str, array: Any) -> Any:  # noqa: ARG002
        """What the matrix has of one of the leaves; NumPy's stays so."""
        return array.reshape(-1, array.shape[-1])

    @property
    def positions(self) -> int:
        """T, the positions of an example at which it is applied."""
        return 1

    def of_row(self, slots: Any, block: int = 0) -> Any:  # noqa: ARG002
        """What is said of a block's slots [c], for every number that they are in a row."""
        return slots

    def laid(self, rows: Float[Array, "N T P"]) -> Float[Array, "N *t P"]:
        """The inverse of `outs`: rows of outputs as the network has them."""
        return rows[:, 0]

    def beside(self, read: Any) -> tuple[Any, ...]:  # noqa: ARG002
        """What else of the examples has a part in what it reads of units, as `spread` takes it."""
        return ()

    def spread(
        self,
        units: Float[Array, "N *t P"],
        block: int = 0,  # noqa: ARG002
        beside: tuple[Any, ...] = (),  # noqa: ARG002
    ) -> Float[Array, "N T P n"]:
        """What each of P units more in a block, given by what they output, adds to the rows."""
        return units[:, None, :, None]


@dataclass(frozen=True)
class DenseSite(AbstractMap):
    """Blocks of units times blocks of weights [I_j, O], and a bias [O] if there is one."""

    @property
    def leaves(self) -> tuple[str, ...]:
        """The blocks, then the bias."""
        return (*self.weights, *(() if self.bias is None else (self.bias,)))

    def rows(self, read: tuple[Float[Array, "N _"], ...]) -> Float[Array, "N 1 J"]:
        """The blocks beside one another, the constant last."""
        first = read[0]
        constant = () if self.bias is None else (jnp.ones((len(first), 1), first.dtype),)
        return jnp.concatenate([*read, *constant], axis=1)[:, None]

    def matrix(self, tree: Any) -> Float[Array, "J O"]:
        """The blocks below one another, the bias last."""
        return jnp.concatenate([jnp.atleast_2d(leaf_at(tree, leaf)) for leaf in self.leaves])

    def put(self, tree: Tree, matrix: Float[Array, "J O"]) -> Tree:
        """Cut into blocks and bias."""
        return self._put(tree, self.cut(tree, matrix))

    def cut(self, tree: Any, matrix: Any) -> list[Any]:
        """Its rows, block by block."""
        ends = np.cumsum([0, *self.widths(tree)]).tolist()
        blocks = [matrix[i:j] for i, j in pairwise(ends)]
        return blocks if self.bias is None else [*blocks, matrix[-1]]

    def columns(self, tree: Any, space: Space) -> Int[np.ndarray, " c"]:
        """As many as there are slots, behind those of the blocks before."""
        ends, n = np.cumsum([0, *self.widths(tree)]).tolist(), self.reads.index(space)
        return np.arange(ends[n], ends[n + 1])

    def widths(self, tree: Any) -> list[int]:
        """Rows of every block."""
        return [leaf_at(tree, leaf).shape[0] for leaf in self.weights]

    def shape(self, tree: Any) -> tuple[int, int]:
        """All blocks, and a row for the bias."""
        rows = sum(self.widths(tree)) + (self.bias is not None)
        return rows, leaf_at(tree, self.weights[0]).shape[1]

    def precision(self, network: Any) -> Int[Array, "J 1"]:
        """Of weights as many as the units in use that are read, of biases 1."""
        inputs = sum(jnp.sum(alive(network, space)) for space in self.reads)
        rows = jnp.arange(self.shape(network)[0])
        return jnp.where(rows < sum(self.widths(network)), inputs, 1)[:, None]


@dataclass(frozen=True)
class UnitwiseSite(AbstractSite):
    """Coefficients of every unit by itself, a = Σ_f θ_f φ_f(z): the rows are features."""

    weight: str  # [F, c]
    features: Any  # z [...] ↦ [F, ...]

    @property
    def leaves(self) -> tuple[str, ...]:
        """The coefficients."""
        return (self.weight,)

    def rows(self, read: Float[Array, "N *t c"]) -> Float[Array, "N T F c"]:
        """What the coefficients multiply."""
        return jnp.moveaxis(self.features(self.outs(read)), 0, 2)

    def outs(self, at: Float[Array, "N *t c"]) -> Float[Array, "N T c"]:
        """Position by position."""
        return at.reshape(at.shape[0], -1, at.shape[-1])

    def matrix(self, tree: Any) -> Float[Array, "F c"]:
        """As they are."""
        return leaf_at(tree, self.weight)

    def put(self, tree: Tree, matrix: Float[Array, "F c"]) -> Tree:
        """As they are."""
        return self._put(tree, [matrix])

    def of_new(self, theta: Any, shape: Sequence[int], axis: int, count: int) -> Any:  # noqa: ARG002
        """What new units have there, of a leaf of that shape along the axis of units."""
        return theta

    def shape(self, tree: Any) -> tuple[int, int]:
        """Features, and slots for units."""
        return leaf_at(tree, self.weight).shape

    def precision(self, network: Any) -> int:  # noqa: ARG002
        """1, as they are drawn."""
        return 1
