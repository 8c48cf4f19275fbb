"""Which addition every unit came with, told from the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass

from senn.history import Addition, History
from senn.nn.spaces import births
from senn.nn.tapped import AbstractTapped


@dataclass(frozen=True)
class Lineage:
    """The units of a network, layer by layer, and the additions that brought them."""

    additions: tuple[Addition, ...]  # those that led to this network
    layers: tuple[tuple[int, ...], ...]  # of each unit the number of its addition; −1: the start

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Units per hidden layer."""
        return tuple(map(len, self.layers))

    def addition(self, layer: int, unit: int) -> Addition | None:
        """What brought a unit; None if it was there from the start."""
        number = self.layers[layer][unit]
        return None if number < 0 else self.additions[number]


def lineage_of(network: AbstractTapped, history: History) -> Lineage:
    """The lineage of a network that was trained with this ledger, as its units say it."""
    born = [b[b >= 0] for b in (births(network, space) for space in network.graph.hidden)]
    last = max((int(b.max()) for b in born if len(b)), default=0)
    if last > len(history.additions):
        raise ValueError(
            f"The network has units of addition {last}, and this ledger only "
            f"{len(history.additions)} additions."
        )
    layers = tuple(tuple((b - 1).tolist()) for b in born)
    return Lineage(tuple(history.additions[:last]), layers)


def lineage(history: History, hidden_sizes: Sequence[int] | None = None) -> Lineage:
    """The lineage of the network that had `hidden_sizes` in a run, or of the last one.

    A `ValueError` says so if the run never came by that size.
    """
    layers = [[-1] * n for n in starting_sizes(history, hidden_sizes)]
    wanted = None if hidden_sizes is None else list(hidden_sizes)
    taken: list[Addition] = []
    for addition in history.additions:
        if list(map(len, layers)) == wanted:
            break
        _grow(layers, addition, len(taken))
        taken.append(addition)
    if wanted not in (None, list(map(len, layers))):
        raise ValueError(f"This ledger never comes by hidden sizes {tuple(wanted or ())}.")
    return Lineage(tuple(taken), tuple(map(tuple, layers)))


def starting_sizes(history: History, otherwise: Sequence[int] | None = None) -> tuple[int, ...]:
    """Units per hidden layer before the first addition; `otherwise` if the ledger is silent."""
    if history.additions:
        return sizes_before(history.additions[0])
    if history.evaluations:
        return history.evaluations[0].hidden_sizes
    return tuple(otherwise or ())


def sizes_before(addition: Addition) -> tuple[int, ...]:
    """Units per hidden layer just before an addition."""
    sizes = list(addition.hidden_sizes)
    if addition.inserts:
        del sizes[addition.position]
    else:
        sizes[addition.position] -= addition.units
    return tuple(sizes)


def _grow(layers: list[list[int]], addition: Addition, number: int) -> None:
    units = [number] * addition.units
    if addition.inserts:
        layers.insert(addition.position, units)
    else:
        layers[addition.position].extend(units)
