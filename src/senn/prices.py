"""What it costs to lose units, one after another, by the factors of the maps that read them.

The price of a unit is `senn.score.removal_price`, summed over those maps. Each unit that leaves is
a step of elimination: what the others cost after it is exact in the quadratic model, in which all
weights of its readers have been refitted. So of two copies either is free, and the other is not.
All of it is done on the host, in float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from senn.arrays import to_device
from senn.curvature import MapRows
from senn.nn.sites import AbstractMap
from senn.nn.spaces import births, lasting, leaf_at
from senn.nn.tapped import AbstractTapped
from senn.positions import PositionRows, curvature_along
from senn.processes import gathered

ROWS_AT_ONCE = 2**12  # which bounds the copies in float64
DAMPING = 1e-4  # relative, of A: copies must be free, and a rounding error cheap


class Factor(NamedTuple):
    """The Kronecker factors of one linear map, its inputs and outputs as they stand in the site."""

    A: Float[np.ndarray, "J J"]
    S: Float[np.ndarray, "O O"]
    steeper: tuple[Float[np.ndarray, " c"], ...] = ()  # of the slots of every space that is read


class Leaving(NamedTuple):
    """A unit, and what it costs to lose it after those before it."""

    layer: int  # number of its hidden space
    slot: int
    price: float  # in units of the loss


class _Reader(NamedTuple):
    inverse: Float[np.ndarray, "J J"]  # of A + εI among the inputs that are left, else 0
    weight: Float[np.ndarray, "J O"]
    S: Float[np.ndarray, "O O"]
    steeper: tuple[Float[np.ndarray, " c"], ...] = ()

    @classmethod
    def of(cls, weight: np.ndarray, factor: Factor, damping: float) -> "_Reader":
        A = factor.A
        used = np.flatnonzero(A.diagonal() > 0)
        inverse = np.zeros_like(A)
        if len(used):
            ridge = damping * A.diagonal()[used].mean() * np.eye(len(used))
            inverse[np.ix_(used, used)] = np.linalg.inv(A[np.ix_(used, used)] + ridge)
        return cls(inverse, weight, factor.S, factor.steeper)

    def prices(self) -> Float[np.ndarray, " J"]:
        spread = self.inverse.diagonal()
        length = np.sum((self.weight @ self.S) * self.weight, axis=1)
        return np.where(spread > 0, 0.5 * length / np.where(spread > 0, spread, 1), 0)

    def of_slots(self, columns: Int[np.ndarray, "c *n"]) -> Float[np.ndarray, " c"]:
        """Of slots that are so many of its inputs each, which leave together."""
        if columns.ndim == 1:
            return self.prices()[columns]
        W = self.weight[columns]
        return 0.5 * np.sum(self._left(columns) * (W @ self.S), axis=(1, 2))

    def changes(self, columns: Int[np.ndarray, "c n"]) -> Float[np.ndarray, "c J O"]:
        """What becomes of all weights when a slot leaves: its own go, the others make up for it."""
        return -np.einsum("jcn,cno->cjo", self.inverse[:, columns], self._left(columns))

    def _left(self, columns: Int[np.ndarray, "c n"]) -> Float[np.ndarray, "c n O"]:
        """[(A + εI)⁻¹]_uu⁻¹ w_u, 0 for inputs that are always 0."""
        spread = self.inverse[columns[:, :, None], columns[:, None]]  # [c, n, n]
        used = np.einsum("cnn->cn", spread) > 0
        spread = spread + np.eye(columns.shape[1]) * ~used[:, :, None]
        return np.linalg.solve(spread, self.weight[columns] * used[..., None])

    def without(self, row: int) -> "_Reader":
        """The others make up for what the input gave, and then explain each other less."""
        own = self.inverse[row, row]
        if not own > 0:
            return self
        share = self.inverse[:, row] / own
        inverse = self.inverse - np.outer(share, self.inverse[row])
        weight = self.weight - np.outer(share, self.weight[row])
        inverse[row] = inverse[:, row] = weight[row] = 0
        return self._replace(inverse=inverse, weight=weight)

    def writing_no_more(self, column: int) -> "_Reader":
        """What it gave to that output is asked for by nobody."""
        weight = self.weight.copy()
        weight[:, column] = 0
        return self._replace(weight=weight)


@dataclass(frozen=True)
class Prices:
    """Of all units of a network, after some have left."""

    network: AbstractTapped
    readers: Mapping[int, _Reader]  # by the number of the map
    there: tuple[Bool[np.ndarray, " _"], ...]  # of every hidden space, which slots hold units

    @classmethod
    def of(
        cls, network: AbstractTapped, factors: Mapping[int, Factor], damping: float = DAMPING
    ) -> "Prices":
        """By the factors of (at least) all maps that read hidden spaces."""
        graph = network.graph
        numbers = sorted({m for space in graph.hidden for m in graph.readers(space)})
        readers = {
            m: _Reader.of(matrix_of(network, graph.maps[m]), factors[m], damping) for m in numbers
        }
        return cls(network, readers, tuple(births(network, space) >= 0 for space in graph.hidden))

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Units that are left, per hidden space."""
        return tuple(int(np.count_nonzero(there)) for there in self.there)

    def at(self, layer: int) -> Float[np.ndarray, " c"]:
        """Of every slot of a hidden space; infinite where no unit is, or none that may leave."""
        graph, there = self.network.graph, self.there[layer]
        space = graph.hidden[layer]
        least = 1 if layer in self.network.removable else 2
        if space.rigid or np.count_nonzero(there) < least:
            return np.full(len(there), np.inf)
        total = np.zeros(len(there))
        for m in graph.readers(space):
            site, reader = graph.maps[m], self.readers[m]
            prices = reader.of_slots(site.columns(self.network, space))
            if reader.steeper:
                prices = prices * reader.steeper[site.reads.index(space)]
            total += prices
        return np.where(there & ~lasting(self.network, space), total, np.inf)

    def without(self, layer: int, slot: int) -> "Prices":
        """When that unit has left."""
        graph = self.network.graph
        space, readers = graph.hidden[layer], dict(self.readers)
        for m in graph.readers(space):
            for row in np.ravel(graph.maps[m].columns(self.network, space)[slot]).tolist():
                readers[m] = readers[m].without(row)
        for m in graph.writers(space):
            if m in readers:
                readers[m] = readers[m].writing_no_more(slot)
        there = list(self.there)
        there[layer] = there[layer] & (np.arange(len(there[layer])) != slot)
        return replace(self, readers=readers, there=tuple(there))

    def cheapest(self, may: Sequence[np.ndarray] | None = None) -> Leaving | None:
        """The unit that costs least, of those that `may` leave; None if there is none."""
        best: Leaving | None = None
        for layer in range(len(self.there)):
            prices = self.at(layer)
            if may is not None:
                prices = np.where(may[layer], prices, np.inf)
            slot = int(np.argmin(prices)) if len(prices) else 0
            if len(prices) and prices[slot] < (np.inf if best is None else best.price):
                best = Leaving(layer, slot, float(prices[slot]))
        return best


def matrix_of(tree: Any, site: AbstractMap) -> Float[np.ndarray, "J O"]:
    """The parameters of a map on the host, in float64, the bias last."""
    parts = ((leaf, np.asarray(leaf_at(tree, leaf), np.float64)) for leaf in site.leaves)
    return np.concatenate([site.flat(leaf, part) for leaf, part in parts])


def factors_of(
    network: AbstractTapped, samples: Sequence[Sequence[MapRows | PositionRows]]
) -> dict[int, Factor]:
    """The factors of the maps that read hidden spaces, of what a look has seen.

    `samples` has the rows of every map on each sample; they count by their numbers. What a look
    spread out for its searches is cut off.
    """
    graph = network.graph
    numbers = sorted({m for space in graph.hidden for m in graph.readers(space)})
    return {m: _factor(network, graph.maps[m], [of[m] for of in samples]) for m in numbers}


def _factor(
    network: AbstractTapped, site: AbstractMap, samples: Sequence[MapRows | PositionRows]
) -> Factor:
    J, outs = site.shape(network)
    first, *_ = samples
    if isinstance(first, PositionRows):
        sizes = [len(sample.root_weight) for sample in samples]
        A = np.average([np.asarray(s.A, np.float64) for s in samples], axis=0, weights=sizes)  # pyright: ignore[reportAttributeAccessIssue]
        factor = Factor(A, np.asarray(first.S, np.float64))
        return factor._replace(steeper=_steeper(network, site, factor, first))
    blocks = J - (site.bias is not None)
    total, n = np.zeros((J, J)), 0
    for sample in samples:
        assert isinstance(sample, MapRows)
        a = gathered(sample.a).reshape(-1, sample.a.shape[-1])
        columns = [*range(blocks), *([a.shape[1] - 1] if site.bias is not None else [])]
        for start in range(0, len(a), ROWS_AT_ONCE):  # squares of large inputs need float64
            rows = a[start : start + ROWS_AT_ONCE, columns].astype(np.float64)
            total += rows.T @ rows
        n += len(a)
    return Factor(total / n, np.asarray(samples[0].S, np.float64)[:outs, :outs])


def _steeper(
    network: AbstractTapped, site: AbstractMap, factor: Factor, sample: PositionRows
) -> tuple[Float[np.ndarray, " c"], ...]:
    """How many times the factored curvature that is which is measured where a unit leaves.

    A ⊗ S has positions for independent; where it says too much, its word stands.
    """
    reader, found = _Reader.of(matrix_of(network, site), factor, DAMPING), []
    for space in site.reads:
        columns = site.columns(network, space)
        changes = reader.changes(columns.reshape(len(columns), -1))
        factored = np.sum((factor.A @ changes) * (changes @ factor.S), axis=(1, 2))
        steps = to_device(changes, network.dtype)
        measured = np.asarray(curvature_along(site, sample, steps), np.float64)
        ratio = np.divide(measured, factored, out=np.ones_like(factored), where=factored > 0)
        found.append(np.maximum(ratio, 1))
    return tuple(found)
