"""What units to come will be worth once they are trained, told by those that are there.

At birth a channel gains next to nothing, whatever its filter, and what it will gain does not show
in that: trained ones cost many times as much to lose. The more there are in a space, the less
each of them is worth, so that what they cost says where another is needed.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from senn.actions import AbstractAction
from senn.nn.tapped import AbstractTapped
from senn.pruning import Going

ACTIVATION = 30  # multiplications for one activation, there and back: an estimate


class Expected(NamedTuple):
    """Where to search, all at once, and what a unit there will be worth, if that is known."""

    actions: tuple[AbstractAction, ...]
    worth: float | None  # on the scale of Δη


def typical_worth(going: Going, layer: int) -> float | None:
    """Twice the median price in a hidden space, as Δη is, of the units that had their trial.

    None if there are none: those that have just come have not had the time to be worth much.
    """
    found = going.left.at(layer)
    found = found[np.isfinite(found) & going.may[layer]]
    return 2 * float(np.median(found)) if len(found) else None


def work(network: AbstractTapped, layer: int) -> int:
    """Multiplications that one more unit of a hidden space takes of an example, about.

    What is done with every activation takes time, too, where there are many positions.
    """
    graph = network.graph
    space = graph.hidden[layer]
    incoming = sum(
        graph.maps[m].positions * (network.n_inputs(m) + ACTIVATION) for m in graph.writers(space)
    )
    outgoing = 0
    for m in graph.readers(space):
        each = graph.maps[m].columns(network, space)[:1].size
        outputs = int(np.count_nonzero(network.outputs_in_use(m)))
        outgoing += graph.maps[m].positions * each * outputs
    return incoming + outgoing


def far_from_complete(network: AbstractTapped, layer: int) -> bool:
    """Whether units span half of what they are made of at most.

    Of a nearly complete basis each is needed, and yet one more would say little that is new.
    """
    writers = network.graph.writers(network.graph.hidden[layer])
    return 2 * network.hidden_sizes[layer] <= max(map(network.n_inputs, writers), default=0)


def by_price(actions: Sequence[AbstractAction], going: Going, least: float) -> Iterator[Expected]:
    """The places whose units are worth more than `least` one by one, the most for its work first.

    All others come last and at once, to be judged by their scores: so do all places of a network
    that was hardly trained, in which no unit is worth anything yet, and those of bases that are
    nearly complete.
    """
    network = going.left.network
    spaces = [a for a in actions if not a.inserts and far_from_complete(network, a.position)]
    known = {a: typical_worth(going, a.position) for a in spaces}
    able = {action: worth for action, worth in known.items() if worth and worth > least}
    for action in sorted(able, key=lambda a: able[a] / work(network, a.position), reverse=True):
        yield Expected((action,), able[action])
    if others := tuple(action for action in actions if action not in able):
        yield Expected(others, None)
