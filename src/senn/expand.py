"""How to add: growing a network without changing what it computes (section 3.1).

Units and layers, and outputs for classes that were not there before.

Growth is done on the host with NumPy, so that writing a unit into a spare slot compiles
nothing. Trees that hold the network's parameters under another name (an optimiser's moments)
grow along by `insert_zeros` and `grow_capacity`; adding a unit within capacity leaves them as
they are, since dormant slots are zero there too.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeVar

import equinox as eqx
import numpy as np

from senn.arrays import to_device, zeros_like
from senn.nn.edits import arrange, map_networks, newest, resize, write
from senn.nn.spaces import Space, births, leaf_at, next_capacity, slots
from senn.nn.tapped import AbstractLayered, AbstractTapped

SINGULAR_VALUE_FLOOR = 1e-3  # of the mean singular value (appendix C)

InsertKind = Literal["identity", "residual"]
Tree = TypeVar("Tree")
Net = TypeVar("Net", bound=AbstractTapped)
Layered = TypeVar("Layered", bound=AbstractLayered)


def add_width(
    network: Net, layer: int, weight, bias, activation=None, *, born: int | None = None
) -> Net:
    """Add K units to hidden space `layer`, their outgoing weights zero.

    Args:
        network: the network; it is not changed.
        layer: index of the hidden space, in a perceptron of the hidden layer, from 0.
        weight: [I, K] incoming weights, I the active inputs of the maps that write the space, one
            behind the other (of a perceptron `network.n_inputs(layer)`).
        bias: [K].
        activation: θ [3, K] for rational units, None for others.
        born: the number of this addition; None is one more than of the last.

    While slots last no array changes its shape and the outputs stay the same bit for bit.
    After that every array of the layer is padded to a larger capacity; what is added is exactly
    zero, but products of another shape may sum in another order. Measured on a CPU, outputs
    keep their bits at nearly all of the default capacities and are within 1e-6 at the others.
    """
    hidden = network.graph.hidden
    if not 0 <= layer < len(hidden):
        raise ValueError(
            f"layer={layer} does not exist; the network has {len(hidden)} hidden layers."
        )
    if hidden[layer].rigid:
        raise ValueError(f"{hidden[layer].name} cannot grow: {hidden[layer].rigid}.")
    units = _check_units(network, hidden[layer], weight, bias, activation)
    needed = network.hidden_sizes[layer] + len(units.bias)
    if needed > network.capacities[layer]:
        capacity = hidden[layer].capacity(needed, network.capacities[layer])
        network = grow_capacity(network, layer, capacity)
    return _write_units(network, hidden[layer], units, born)


def insert_layer(
    network: Layered,
    position: int,
    weight,
    bias,
    kind: InsertKind = "residual",
    activation=None,
    *,
    capacity: int | None = None,
    born: int | None = None,
) -> Layered:
    """Insert a hidden layer of Q units before linear map `position`.

    Args:
        network: the network; it is not changed.
        position: the linear map that will read the layer; 0 reads the network's inputs, the
            last is the output map.
        weight: [I, Q], I the active inputs of that map (`network.n_inputs(position)`).
        bias: [Q].
        kind: "residual" (ours): the units join the map's old inputs, with zero outgoing
            weights; any Q and any activation, exact bit for bit. "identity" (section 3.1): the
            units, rational with σ the identity, replace the old inputs, and the map W becomes
            W W_q⁻¹; Q = I, exact up to rounding × cond(W_q). Singular values of `weight` below
            0.001 of their mean are raised to that (appendix C).
        activation: θ [3, Q] of residual rational units; not used by "identity".
        capacity: slots of the new layer; by default room to grow.
        born: the number of this addition; None is one more than of the last.
    """
    if position not in network.insertions:
        raise ValueError(
            f"position={position} does not exist; a network with {len(network.graph.hidden)} "
            f"hidden layers has positions 0 to {len(network.insertions) - 1}."
        )
    if kind not in ("identity", "residual"):
        raise ValueError(f'kind={kind!r} is not known; choose "identity" or "residual".')
    if kind == "identity":
        _check_identity(network, position, weight)
        weight = raise_singular_values(np.asarray(weight, network.dtype))
        same = np.array(network.activation.identity, weight.dtype)
        activation = np.tile(same[:, None], weight.shape[1])
    Q = np.shape(bias)[-1] if np.ndim(bias) else 0
    room = max(Q, capacity or next_capacity(Q))
    new = network.with_layer(position, room, beside=kind == "residual")
    space = new.graph.hidden[position]
    units = _check_units(new, space, weight, bias, activation)
    if kind == "identity":
        new = _fold(network, new, position, units)
    return _write_units(new, space, units, born)


def add_outputs(
    tree: Tree, positions: Sequence[int], bias: float = 0.0, out_slots: int | None = None
) -> Tree:
    """Give a network more outputs, or make room for them in any tree that holds some.

    Args:
        tree: a network, or an optimiser's state from before; it is not changed.
        positions: the number that each new output will have among all, from 0, increasing; the
            old ones keep their order around them.
        bias: what a new output is, for every input: its weights are zero. Of a tree other than a
            network it must be 0.
        out_slots: outputs, in use or dormant, that there will be; by default as many as there are
            if that is enough for all in use, which only a network knows, else one for each.

    The parameters of the old outputs stay as they are. A product of another shape may sum in
    another order: compared by `senn.plain.PlainNetwork`, whose shapes stay the same, so do the
    bits of what they compute.
    """

    def widen(network: AbstractTapped) -> AbstractTapped:
        space = network.graph.outputs
        known, K = leaf_at(network, space.born) is not None, len(positions)
        n = network.out_size if known else network.out_slots  # beyond those in use all is zero
        total, room = n + K, network.out_slots
        if sorted({*positions} & {*range(total)}) != list(positions) or not positions:
            raise ValueError(
                f"positions must be different numbers in order, below the {total} outputs that "
                f"there will be; got {list(positions)}."
            )
        new_slots = out_slots or (room if known and total <= room else total)
        source = np.full(total, -1)
        source[np.setdiff1d(np.arange(total), positions)] = np.arange(n)
        new = resize(arrange(network, space, source), space, new_slots)
        values = {space.carried[0]: np.full(K, bias)} if bias else {}
        return write(
            new, space, list(positions), values, born=newest(network) + 1 if known else None
        )

    return map_networks(widen, tree)


def insert_zeros(tree: Tree, network: AbstractLayered, position: int) -> Tree:
    """Make room in the network-shaped parts of `tree` for the layer inserted at `position`.

    `tree` is an optimiser's state from before the insertion, `network` the network after it.
    The new layer's entries are zero. After an identity insertion, so are those of the maps that
    were multiplied by W_q⁻¹, for their coordinates are new.
    """
    space = network.graph.hidden[position]
    beside = len(network.graph.maps[position + 1].reads) > 1

    def place(old: AbstractLayered) -> AbstractLayered:
        new = old.with_layer(position, slots(network, space), beside=beside)
        if beside:
            return new
        folded = [new.graph.maps[m + 1] for m in old.alongside(position)]
        leaves = [leaf for site in folded for leaf in site.leaves]
        return eqx.tree_at(lambda n: [leaf_at(n, at) for at in leaves], new, replace_fn=zeros_like)

    return map_networks(place, tree)


def grow_capacity(tree: Tree, layer: int, capacity: int) -> Tree:
    """Pad hidden layer `layer` with dormant slots, in a network or in any tree that holds some."""

    def grow(network: AbstractTapped) -> AbstractTapped:
        there = network.capacities[layer]
        if capacity < there:
            raise ValueError(
                f"capacity={capacity} is below the {there} slots that layer {layer} has; "
                "capacities only grow."
            )
        return resize(network, network.graph.hidden[layer], capacity)

    return map_networks(grow, tree)


def with_slots(tree: Tree, in_slots: int, out_slots: int) -> Tree:
    """So many inputs and outputs, in use or dormant, in a network or in any tree that holds some.

    None that is in use may be cut off. What is left is what it was. Inputs in several spaces stay
    as they are.
    """

    def resized(network: AbstractTapped) -> AbstractTapped:
        inputs, outputs = network.graph.inputs, network.graph.outputs
        if network.in_slots != in_slots and len(inputs) == 1:
            network = resize(network, inputs[0], in_slots)
        return network if network.out_slots == out_slots else resize(network, outputs, out_slots)

    return map_networks(resized, tree)


def without_spare(network: Net) -> Net:
    """The network with just the inputs and outputs that are in use."""
    return with_slots(network, network.in_size, network.out_size)


def raise_singular_values(weight: np.ndarray, floor: float = SINGULAR_VALUE_FLOOR) -> np.ndarray:
    """`weight` with its singular values raised to at least `floor` × their mean (appendix C)."""
    u, s, vt = np.linalg.svd(weight.astype(np.float64))
    if s.min() >= floor * s.mean():
        return weight
    return ((u * np.maximum(s, floor * s.mean())) @ vt).astype(weight.dtype)


# --- checks -------------------------------------------------------------------------------


class _Units(NamedTuple):
    weight: np.ndarray  # [I, K]
    bias: np.ndarray  # [K]
    theta: np.ndarray | None  # [F, K]


def _check_units(network: AbstractTapped, space: Space, weight, bias, theta) -> _Units:
    dtype = network.dtype
    weight, bias = np.asarray(weight, dtype), np.asarray(bias, dtype)
    K = bias.shape[-1] if bias.ndim == 1 else 0
    wanted = (sum(network.n_inputs(m) for m in network.graph.writers(space)), K)
    if K == 0 or weight.shape != wanted:
        raise ValueError(
            f"New units need weight [I, K] and bias [K] with I = {wanted[0]} active inputs here; "
            f"got shapes {weight.shape} and {bias.shape}."
        )
    if not all(np.isfinite(p).all() for p in (weight, bias, 0.0 if theta is None else theta)):
        raise ValueError("New units need finite parameters: NaN × 0 would reach the outputs.")
    name, learned = space.activation.name, space.activation.learned
    if not learned:
        if theta is not None:
            raise ValueError(f"{name} units have no parameters; pass activation=None.")
        return _Units(weight, bias, None)
    if theta is None or np.shape(theta) != (learned, K):
        raise ValueError(
            f"{name.capitalize()} units need activation θ of shape ({learned}, {K}); "
            f"got {None if theta is None else np.shape(theta)}."
        )
    return _Units(weight, bias, np.asarray(theta, dtype))


def _check_identity(network: AbstractLayered, position: int, weight) -> None:
    if network.activation.identity is None:
        raise ValueError(
            'kind="identity" needs units that can be the identity, such as rational ones; '
            f'this network has {network.activation.name}. Use kind="residual".'
        )
    n = network.n_inputs(position)
    if np.shape(weight) != (n, n):
        raise ValueError(
            f'kind="identity" needs as many units as active inputs, weight ({n}, {n}); '
            f"got {np.shape(weight)}."
        )
    if not np.isfinite(weight).all() or not np.any(weight):
        raise ValueError('kind="identity" needs a finite weight that is not all zero.')


# --- surgery ------------------------------------------------------------------------------


def _write_units(network: Net, space: Space, units: _Units, number: int | None) -> Net:
    """Units in the first dormant slots of a space that has as many."""
    free = np.flatnonzero(births(network, space) < 0)[: len(units.bias)]
    leaves = _incoming(network, space, units)
    ports = (port for port in (*space.written, *space.carried) if port.leaf in leaves)
    numbers = {port: leaves[port.leaf] for port in ports}
    number = newest(network) + 1 if number is None else number
    return write(network, space, free, numbers, born=number)


def _incoming(network: AbstractTapped, space: Space, units: _Units) -> dict[str, np.ndarray]:
    """The numbers of units by leaf: the first map that has a bias gets theirs."""
    maps = network.graph.writers(space)
    parts = np.split(units.weight, np.cumsum([network.n_inputs(m) for m in maps])[:-1])
    leaves: dict[str, np.ndarray] = {}
    bias = units.bias
    for m, part in zip(maps, parts, strict=True):
        site, in_use = network.graph.maps[m], network.inputs_in_use(m)
        matrix = np.zeros((site.shape(network)[0], len(bias)), part.dtype)
        matrix[: len(in_use)][in_use] = part
        if site.bias is not None:
            matrix[-1], bias = bias, np.zeros_like(bias)
        leaves |= zip(site.leaves, site.cut(network, matrix), strict=True)
    unitwise = {site.weight: site for site in network.graph.unitwise}
    for port in space.carried:
        if port.leaf in unitwise:
            shape = np.shape(leaf_at(network, port.leaf))
            new = unitwise[port.leaf].of_new(units.theta, shape, port.axis, len(units.bias))
            leaves[port.leaf] = new
    return leaves


def _fold(network: Layered, new: Layered, position: int, units: _Units) -> Layered:
    """Let what read a in `network` read W_q a + b_q in `new`.

    W becomes W_q⁻¹ W (rows are inputs), and b loses its b_q part.
    """
    weight, bias, _ = units
    inverse, dtype = np.linalg.inv(weight.astype(np.float64)), weight.dtype
    space, in_use = new.graph.hidden[position], network.inputs_in_use(position)
    for m, port in zip(network.alongside(position), space.read, strict=True):
        seen = network.graph.maps[m].weights[: len(network.graph.maps[position].weights)]
        old = np.concatenate([np.asarray(leaf_at(network, leaf)) for leaf in seen])
        at = new.graph.maps[m + 1].bias
        assert at is not None  # all maps of layers have one
        rows = inverse @ old[in_use].astype(np.float64)
        shifted = np.asarray(leaf_at(new, at), np.float64) - bias.astype(np.float64) @ rows
        new = write(new, space, slice(len(bias)), {port: rows.astype(dtype)})
        new = eqx.tree_at(lambda n, at=at: leaf_at(n, at), new, to_device(shifted, dtype))
    return new
