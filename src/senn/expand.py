"""How to add: growing a network without changing what it computes (section 3.1).

Units and layers, and outputs for classes that were not there before.

Growth is done on the host with NumPy, so that writing a unit into a spare slot compiles
nothing. Trees that hold the network's parameters under another name (an optimiser's moments)
grow along by `insert_zeros` and `grow_capacity`; adding a unit within capacity leaves them as
they are, since dormant slots are zero there too.
"""

from collections.abc import Sequence
from typing import Literal, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from senn.arrays import to_device, zeros, zeros_like
from senn.nn import MLP, Dense, Hidden
from senn.nn.graph import arrange, map_networks, resize, with_count, write
from senn.nn.network import assemble, next_capacity

SINGULAR_VALUE_FLOOR = 1e-3  # of the mean singular value (appendix C)

InsertKind = Literal["identity", "residual"]
Tree = TypeVar("Tree")


def add_width(network: MLP, layer: int, weight, bias, activation=None) -> MLP:
    """Add K units to hidden layer `layer`, their outgoing weights zero.

    Args:
        network: the network; it is not changed.
        layer: index of the hidden layer, from 0.
        weight: [I, K] incoming weights, I the layer's active inputs (`network.n_inputs(layer)`).
        bias: [K].
        activation: θ [3, K] for rational units, None for others.

    While slots last no array changes its shape and the outputs stay the same bit for bit.
    After that every array of the layer is padded to a larger capacity; what is added is exactly
    zero, but products of another shape may sum in another order. Measured on a CPU, outputs
    keep their bits at nearly all of the default capacities and are within 1e-6 at the others.
    """
    if not 0 <= layer < len(network.hidden):
        raise ValueError(
            f"layer={layer} does not exist; the network has {len(network.hidden)} hidden layers."
        )
    weight, bias, theta = _check_units(network, layer, weight, bias, activation)
    size, K = int(network.hidden[layer].size), bias.shape[0]
    if size + K > network.hidden[layer].capacity:
        needed = next_capacity(size + K, network.hidden[layer].capacity)
        network = grow_capacity(network, layer, needed)
    return _write_units(network, layer, weight, bias, theta)


def insert_layer(
    network: MLP,
    position: int,
    weight,
    bias,
    kind: InsertKind = "residual",
    activation=None,
    *,
    capacity: int | None = None,
) -> MLP:
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
    """
    if not 0 <= position < network.n_maps:
        raise ValueError(
            f"position={position} does not exist; a network with {len(network.hidden)} hidden "
            f"layers has positions 0 to {network.n_maps - 1}."
        )
    if kind not in ("identity", "residual"):
        raise ValueError(f'kind={kind!r} is not known; choose "identity" or "residual".')
    if kind == "identity":
        _check_identity(network, position, weight)
        weight = raise_singular_values(np.asarray(weight, network.dtype))
        same = np.array(network.activation.identity, weight.dtype)
        activation = np.tile(same[:, None], weight.shape[1])
    weight, bias, theta = _check_units(network, position, weight, bias, activation)
    Q = bias.shape[0]
    slots = max(Q, capacity or next_capacity(Q))
    new = _insert_empty(network, position, slots, residual=kind == "residual")
    if kind == "identity":
        new = _fold(network, new, position, weight, bias)
    return _write_units(new, position, weight, bias, theta)


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

    def widen(network: MLP) -> MLP:
        known, K = network.outputs is not None, len(positions)
        n = network.out_size if known else network.out_slots  # beyond those in use all is zero
        total, room = n + K, network.out_slots
        if sorted({*positions} & {*range(total)}) != list(positions) or not positions:
            raise ValueError(
                f"positions must be different numbers in order, below the {total} outputs that "
                f"there will be; got {list(positions)}."
            )
        new_slots = out_slots or (room if known and total <= room else total)
        source, space = np.full(total, -1), network.graph.spaces[-1]
        source[np.setdiff1d(np.arange(total), positions)] = np.arange(n)
        new = resize(arrange(network, space, source), space, new_slots)
        if bias:
            new = write(new, list(positions), {space.carried[0]: np.full(K, bias)})
        return with_count(new, space, total) if known else new

    return map_networks(widen, tree)


def insert_zeros(tree: Tree, network: MLP, position: int) -> Tree:
    """Make room in the network-shaped parts of `tree` for the layer inserted at `position`.

    `tree` is an optimiser's state from before the insertion, `network` the network after it.
    The new layer's entries are zero. After an identity insertion, so are those of the maps that
    were multiplied by W_q⁻¹, for their coordinates are new.
    """
    layer = network.hidden[position]

    def place(old: MLP) -> MLP:
        new = _insert_empty(old, position, layer.capacity, residual=layer.residual)
        if layer.residual:
            return new
        folded = [m + 1 for m in old.alongside(position)]
        return eqx.tree_at(lambda n: [n.maps[m] for m in folded], new, replace_fn=zeros_like)

    return map_networks(place, tree)


def grow_capacity(tree: Tree, layer: int, capacity: int) -> Tree:
    """Pad hidden layer `layer` with dormant slots, in a network or in any tree that holds some."""

    def grow(network: MLP) -> MLP:
        slots = network.hidden[layer].capacity
        if capacity < slots:
            raise ValueError(
                f"capacity={capacity} is below the {slots} slots that layer {layer} has; "
                "capacities only grow."
            )
        return resize(network, network.graph.spaces[layer + 1], capacity)

    return map_networks(grow, tree)


def with_slots(tree: Tree, in_slots: int, out_slots: int) -> Tree:
    """So many inputs and outputs, in use or dormant, in a network or in any tree that holds some.

    None that is in use may be cut off. What is left is what it was.
    """

    def resized(network: MLP) -> MLP:
        if (network.in_slots, network.out_slots) == (in_slots, out_slots):
            return network
        inputs, *_, outputs = network.graph.spaces
        return resize(resize(network, inputs, in_slots), outputs, out_slots)

    return map_networks(resized, tree)


def without_spare(network: MLP) -> MLP:
    """The network with just the inputs and outputs that are in use."""
    return with_slots(network, network.in_size, network.out_size)


def raise_singular_values(weight: np.ndarray, floor: float = SINGULAR_VALUE_FLOOR) -> np.ndarray:
    """`weight` with its singular values raised to at least `floor` × their mean (appendix C)."""
    u, s, vt = np.linalg.svd(weight.astype(np.float64))
    if s.min() >= floor * s.mean():
        return weight
    return ((u * np.maximum(s, floor * s.mean())) @ vt).astype(weight.dtype)


# --- checks -------------------------------------------------------------------------------


def _check_units(network: MLP, position: int, weight, bias, theta):
    dtype = network.dtype
    weight, bias = np.asarray(weight, dtype), np.asarray(bias, dtype)
    K = bias.shape[-1] if bias.ndim == 1 else 0
    wanted = (network.n_inputs(position), K)
    if K == 0 or weight.shape != wanted:
        raise ValueError(
            f"New units need weight [I, K] and bias [K] with I = {wanted[0]} active inputs here; "
            f"got shapes {weight.shape} and {bias.shape}."
        )
    if not all(np.isfinite(p).all() for p in (weight, bias, 0.0 if theta is None else theta)):
        raise ValueError("New units need finite parameters: NaN × 0 would reach the outputs.")
    name, learned = network.activation.name, network.activation.learned
    if not learned:
        if theta is not None:
            raise ValueError(f"{name} units have no parameters; pass activation=None.")
        return weight, bias, None
    if theta is None or np.shape(theta) != (learned, K):
        raise ValueError(
            f"{name.capitalize()} units need activation θ of shape ({learned}, {K}); "
            f"got {None if theta is None else np.shape(theta)}."
        )
    return weight, bias, np.asarray(theta, dtype)


def _check_identity(network: MLP, position: int, weight) -> None:
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


def _write_units(network: MLP, layer: int, weight, bias, theta) -> MLP:
    """Units in the first dormant slots of a layer that has as many."""
    space, first = network.graph.spaces[layer + 1], network.hidden_sizes[layer]
    in_use, K = network.inputs_in_use(layer), len(bias)
    rows = np.zeros((len(in_use), K), weight.dtype)
    rows[in_use] = weight
    ends = np.cumsum([len(block) for block in network.maps[layer].weights])[:-1]
    unit = dict(zip(space.written, np.split(rows, ends), strict=True))
    unit |= zip(space.carried, (bias, theta), strict=False)
    return with_count(write(network, slice(first, first + K), unit), space, first + K)


def _insert_empty(network: MLP, position: int, slots: int, *, residual: bool) -> MLP:
    """A layer of dormant slots before map `position`, in a tree of a network's shape.

    It stands beside all that the map reads, or in its place.
    """
    maps, read = list(network.maps), network.maps[position].weights
    for m in network.alongside(position):
        weights, bias = maps[m].weights, maps[m].bias
        seen, others = weights[: len(read)], weights[len(read) :]
        new = zeros((slots, len(bias)), bias.dtype)
        maps[m] = Dense((*(seen if residual else ()), new, *others), bias)
    dtype, learned = read[0].dtype, network.activation.learned
    dense = Dense(tuple(zeros((len(w), slots), dtype) for w in read), zeros((slots,), dtype))
    sigma = network.activation.of(zeros((learned, slots), dtype) if learned else None)
    size = None if network.inputs is None else to_device(0, jnp.int32)
    hidden = [
        Hidden(dense, h.activation, h.size, h.residual)
        for dense, h in zip(maps, network.hidden, strict=False)
    ]
    hidden.insert(position, Hidden(dense, sigma, size, residual))
    return assemble(hidden, maps[-1], network.activation, network.inputs, network.outputs)


def _fold(network: MLP, new: MLP, position: int, weight: np.ndarray, bias: np.ndarray) -> MLP:
    """Let what read a in `network` read W_q a + b_q in `new`.

    W becomes W_q⁻¹ W (rows are inputs), and b loses its b_q part.
    """
    inverse, dtype = np.linalg.inv(weight.astype(np.float64)), weight.dtype
    space, in_use = new.graph.spaces[position + 1], network.inputs_in_use(position)
    for m, port in zip(network.alongside(position), space.read, strict=True):
        old = network.maps[m]
        weights = np.concatenate(old.weights[: len(network.maps[position].weights)])
        rows = inverse @ weights[in_use].astype(np.float64)
        shifted = np.asarray(old.bias, np.float64) - bias.astype(np.float64) @ rows
        new = write(new, slice(len(bias)), {port: rows.astype(dtype)})
        new = eqx.tree_at(lambda n, m=m: n.maps[m + 1].bias, new, to_device(shifted, dtype))
    return new
