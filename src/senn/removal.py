"""How to take away: units leave, and the maps that read them make up for it as far as they can."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from senn.arrays import to_device
from senn.compilation import QUICK, program
from senn.evaluation import blocks
from senn.nn.edits import erase, map_networks
from senn.nn.spaces import births, lasting, leaf_at
from senn.nn.tapped import AbstractTapped
from senn.prices import DAMPING, matrix_of
from senn.words import counted, quoted

Net = TypeVar("Net", bound=AbstractTapped)
Tree = TypeVar("Tree")
Gone = Mapping[int, Sequence[int] | np.ndarray]  # slots by the number of their hidden space


def remove_units(network: Net, layer: int, units: Any, x: Any = None, damping: float = 1e-6) -> Net:
    """Take units out of hidden space `layer`, in a perceptron out of that hidden layer.

    With `x` the maps that read them are refitted: what the units gave is predicted from the other
    inputs of each map, W_k ← W_k + (A_kk + εI)⁻¹ A_ku W_u, which changes its outputs on `x` least
    in mean square. Without, they are just gone.

    Args:
        network: the network; it is not changed.
        layer: index of the hidden space, from 0.
        units: which of its units, counted from 0 in the order of their slots.
        x: inputs [N, …, I] on which the outputs of the reading maps are to change least; None
            refits nothing.
        damping: ε relative to the mean diagonal of A.

    Their slots are dormant from then on. A layer beside what it reads leaves with its last unit;
    of all others, which are all that something reads, a unit must be left.
    """
    hidden = network.graph.hidden
    if not 0 <= layer < len(hidden):
        raise ValueError(
            f"layer={layer} does not exist; the network has {len(hidden)} hidden layers."
        )
    space = hidden[layer]
    slots = np.flatnonzero(births(network, space) >= 0)[_checked(network, layer, units)]
    if lasting(network, space)[slots].any():
        raise ValueError(
            f"{space.name} keeps the units that it had at first: a norm's statistics are over them."
        )
    if x is not None:
        network = _refitted(network, layer, slots, np.asarray(x, network.dtype), damping)
    return without_empty(erase(network, space, slots))


def _checked(network: AbstractTapped, layer: int, units: Any) -> np.ndarray:
    there, name = network.hidden_sizes[layer], network.graph.hidden[layer].name
    chosen = np.asarray(units)
    if network.graph.hidden[layer].rigid:
        raise ValueError(f"{name} cannot lose units: {network.graph.hidden[layer].rigid}.")
    if chosen.ndim != 1 or not (chosen.dtype.kind in "iu" or not chosen.size):
        raise ValueError(f"units must be the numbers of some units of {name}; got {units!r}.")
    wrong = [int(u) for u in chosen if not 0 <= u < there]
    if wrong or len(set(chosen.tolist())) < len(chosen):
        raise ValueError(
            f"units must be different numbers of the {counted(there, 'unit')} of {name}, from 0; "
            f"got {quoted(chosen.tolist())}."
        )
    if len(chosen) == there and layer not in network.removable:
        raise ValueError(
            f"{name} would be left without a unit, and is all that something reads; leave it one."
        )
    return chosen.astype(int)


def _refitted(network: Net, layer: int, slots: np.ndarray, x: np.ndarray, damping: float) -> Net:
    """With the weights of what else the readers read changed to make up for these slots."""
    if not len(x):
        raise ValueError("x holds no rows; give some, or None to refit nothing.")
    maps = network.graph.readers(network.graph.hidden[layer])
    moments: list[Any] = [0.0] * len(maps)
    for number, block in enumerate(blocks(network, x)):
        rows, n = _rows(network, block), len(x) - number * len(block)
        for i, m in enumerate(maps):
            a = np.asarray(rows[m], np.float64)[:n].reshape(-1, rows[m].shape[-1])
            moments[i] = moments[i] + a.T @ a
    return made_up(network, {layer: slots}, dict(zip(maps, moments, strict=True)), damping)


def take_out(
    network: Net,
    state: Any,
    gone: Gone,
    moments: Mapping[int, np.ndarray] | None = None,
    damping: float = DAMPING,
) -> tuple[Net, Any]:
    """The network without some units, and trees of its shape, such as an optimiser's, alike.

    What reads the units makes up for them by `moments`, A of every map that reads some of them;
    without, they are just gone. Of `state` their slots are erased, and all else stays as it is.
    """
    if moments is not None:
        network = made_up(network, gone, moments, damping)
    for layer, slots in gone.items():
        space = network.graph.hidden[layer]
        network, state = erase(network, space, slots), erase(state, space, slots)
    return network, state


def empty_layers(network: AbstractTapped) -> list[int]:
    """The hidden spaces that no unit is left of, the last first, so that numbers stay right."""
    return [n for n in reversed(network.removable) if not network.hidden_sizes[n]]


def without_empty(network: Net) -> Net:
    """The network without its layers that no unit is left of."""
    for position in empty_layers(network):
        network = without_layer(network, position)
    return network


def without_layer(tree: Tree, position: int) -> Tree:
    """Take a layer that has no unit out of a network, or out of any tree that holds some."""
    return map_networks(lambda network: network.without_layer(position), tree)


def made_up(
    network: Net, gone: Gone, moments: Mapping[int, np.ndarray], damping: float = DAMPING
) -> Net:
    """W_k + (A_kk + εI)⁻¹ A_ku W_u in place of W_k in every map that reads units u that will go."""
    graph = network.graph
    for m in sorted({m for layer in gone for m in graph.readers(graph.hidden[layer])}):
        site, A = graph.maps[m], moments[m]
        away = np.concatenate(
            [site.columns(network, graph.hidden[layer])[np.asarray(slots, int)].ravel()
             for layer, slots in gone.items() if m in graph.readers(graph.hidden[layer])]
        )  # fmt: skip
        used = np.ones(len(A), bool)  # the constant with them
        used[: len(network.inputs_in_use(m))] = network.inputs_in_use(m)
        kept = np.setdiff1d(np.flatnonzero(used & (A.diagonal() > 0)), away)
        if not len(kept):
            continue
        W = matrix_of(network, site)
        ridge = damping * np.mean(A.diagonal()[kept]) * np.eye(len(kept))
        W[kept] += np.linalg.solve(A[np.ix_(kept, kept)] + ridge, A[np.ix_(kept, away)] @ W[away])
        new = [to_device(part, network.dtype) for part in site.cut(network, W)]
        network = eqx.tree_at(
            lambda n, at=site.leaves: [leaf_at(n, leaf) for leaf in at], network, new
        )
    return network


@program(QUICK)
def _rows(network: AbstractTapped, x: Float[Array, "N ... I"]) -> tuple[Float[Array, "N T J"], ...]:
    """What every linear map reads."""
    reads = network.taps(x).reads
    return tuple(site.rows(read) for site, read in zip(network.graph.maps, reads, strict=False))
