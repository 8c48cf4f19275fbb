"""Which addition every unit came with, told from the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass

from senn.history import Addition, History, Removal
from senn.nn.spaces import births
from senn.nn.tapped import AbstractTapped

START = -1  # what brought units that were there from the start


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
    slots: list[list[int | None]] = [[START] * n for n in starting_sizes(history, hidden_sizes)]
    wanted = None if hidden_sizes is None else list(hidden_sizes)
    taken: list[Addition] = []
    for change in changes(history):
        if list(map(len, _members(slots))) == wanted:
            break
        if isinstance(change, Removal) and change.whole:
            del slots[change.position]
        elif isinstance(change, Removal):
            _shrink(slots, change)
        else:
            _grow(slots, change, len(taken))
            taken.append(change)
    layers = _members(slots)
    if wanted not in (None, list(map(len, layers))):
        raise ValueError(f"This ledger never comes by hidden sizes {tuple(wanted or ())}.")
    return Lineage(tuple(taken), layers)


def sizes_over_time(
    history: History, otherwise: Sequence[int] | None = None
) -> dict[int, tuple[int, ...]]:
    """At every step with a change, and at 0, the units per layer from then on.

    The layers are those that there are in the end, and then those that have left. A layer has no
    units before it came and after it left.
    """
    start = starting_sizes(history, otherwise)
    layers, known = list(range(len(start))), len(start)
    found = [(0, dict(enumerate(start)))]
    for change in changes(history):
        if isinstance(change, Removal) and change.whole:
            del layers[change.position]
        elif change.inserts:
            layers.insert(change.position, known)
            known += 1
        found.append((change.step, dict(zip(layers, change.hidden_sizes, strict=True))))
    order = [*layers, *(n for n in range(known) if n not in layers)]
    return {step: tuple(there.get(n, 0) for n in order) for step, there in found}


def changes(history: History) -> list[Addition | Removal]:
    """All additions and removals, in order."""
    return [r for r in history.records if isinstance(r, Addition | Removal)]


def starting_sizes(history: History, otherwise: Sequence[int] | None = None) -> tuple[int, ...]:
    """Units per hidden layer before the first change; `otherwise` if the ledger is silent."""
    if made := changes(history):
        return sizes_before(made[0])
    if history.evaluations:
        return history.evaluations[0].hidden_sizes
    return tuple(otherwise or ())


def sizes_before(change: Addition | Removal) -> tuple[int, ...]:
    """Units per hidden layer just before an addition or a removal."""
    sizes = list(change.hidden_sizes)
    if isinstance(change, Removal) and change.whole:
        sizes.insert(change.position, 0)
    elif change.inserts:
        del sizes[change.position]
    else:
        sizes[change.position] += change.units if isinstance(change, Removal) else -change.units
    return tuple(sizes)


def _members(slots: Sequence[Sequence[int | None]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(n for n in layer if n is not None) for layer in slots)


def _grow(slots: list[list[int | None]], addition: Addition, number: int) -> None:
    """Into the first free slots, as units are written."""
    if addition.inserts:
        slots.insert(addition.position, [number] * addition.units)
        return
    layer = slots[addition.position]
    free = [slot for slot, n in enumerate(layer) if n is None][: addition.units]
    for slot in free:
        layer[slot] = number
    layer.extend([number] * (addition.units - len(free)))


def _shrink(slots: list[list[int | None]], removal: Removal) -> None:
    for slot in removal.slots:
        slots[removal.position][slot] = None
