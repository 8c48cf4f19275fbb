"""How to add: growing a network without changing what it computes (section 3.1).

Units and layers, and outputs for classes that were not there before.

Growth is done on the host with NumPy, so that writing a unit into a spare slot compiles
nothing. Trees that hold the network's parameters under another name (an optimiser's moments)
grow along by `insert_zeros` and `grow_capacity`; adding a unit within capacity leaves them as
they are, since dormant slots are zero there too.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from senn.arrays import to_device
from senn.nn import MLP, Dense, Hidden
from senn.nn.network import assemble, next_capacity, rebuild

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
    slots = slice(size, size + K)
    old = network.hidden[layer]
    dense = Dense(
        tuple(
            _write(w, (slice(n), slots), rows)
            for w, n, rows in zip(
                old.dense.weights,
                _block_sizes(network, layer),
                _split(network, layer, weight),
                strict=True,
            )
        ),
        _write(old.dense.bias, (slots,), bias),
    )
    sigma = old.activation
    if sigma.theta is not None:
        sigma = sigma.of(_write(sigma.theta, (slice(None), slots), theta))
    new = Hidden(dense, sigma, to_device(size + K, old.size.dtype), old.residual)
    return _with_hidden(network, layer, new)


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
        weight = raise_singular_values(np.asarray(weight, network.readout.bias.dtype))
        same = np.array(network.activation.identity, weight.dtype)
        activation = np.tile(same[:, None], weight.shape[1])
    weight, bias, theta = _check_units(network, position, weight, bias, activation)
    Q = bias.shape[0]
    slots = max(Q, capacity or next_capacity(Q))
    layer = _new_layer(network, position, weight, bias, theta, slots, kind == "residual")
    if kind == "residual":
        return _insert(network, position, layer, _zero_block)
    inverse = np.linalg.inv(weight.astype(np.float64))
    return _insert(network, position, layer, _Folded(network, position, inverse, bias))


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
        old = np.setdiff1d(np.arange(total), positions)
        old = old[old < new_slots]

        def spread(array, fill):
            out = np.zeros((*array.shape[:-1], new_slots), array.dtype)
            out[..., list(positions)] = fill
            out[..., old] = np.asarray(array)[..., : len(old)]
            return to_device(out)

        readout = Dense(
            tuple(spread(w, 0) for w in network.readout.weights),
            spread(network.readout.bias, bias),
        )
        outputs = total if known else None
        return assemble(network.hidden, readout, network.activation, network.inputs, outputs)

    return map_networks(widen, tree)


def insert_zeros(tree: Tree, network: MLP, position: int) -> Tree:
    """Make room in the network-shaped parts of `tree` for the layer inserted at `position`.

    `tree` is an optimiser's state from before the insertion, `network` the network after it.
    The new layer's entries are zero. After an identity insertion, so are those of the maps that
    were multiplied by W_q⁻¹, for their coordinates are new.
    """
    params = eqx.filter(network, eqx.is_inexact_array)
    zeros: MLP = jax.tree.map(lambda p: to_device(np.zeros(p.shape, p.dtype)), params)

    def place(old: MLP) -> MLP:
        maps = list(zeros.maps)
        for m, dense in enumerate(old.maps):
            moved = m + (m >= position)
            if m not in _carriers(old, position):
                maps[moved] = dense
            elif network.hidden[position].residual:
                maps[moved] = _merge_blocks(maps[moved], dense, len(old.maps[position].weights))
        sigmas = [h.activation for h in old.hidden]
        sigmas.insert(position, zeros.hidden[position].activation)
        return rebuild(zeros, maps, sigmas)

    return map_networks(place, tree)


def grow_capacity(tree: Tree, layer: int, capacity: int) -> Tree:
    """Pad hidden layer `layer` with dormant slots, in a network or in any tree that holds some."""

    def grow(network: MLP) -> MLP:
        extra = capacity - network.hidden[layer].capacity
        if extra < 0:
            raise ValueError(
                f"capacity={capacity} is below the {network.hidden[layer].capacity} slots that "
                f"layer {layer} has; capacities only grow."
            )
        maps = list(network.maps)
        maps[layer] = Dense(
            tuple(_pad(w, extra, axis=1) for w in maps[layer].weights),
            _pad(maps[layer].bias, extra, axis=0),
        )
        for m in network.readers(layer):
            block = network.sources[m].index(layer + 1)
            weights = list(maps[m].weights)
            weights[block] = _pad(weights[block], extra, axis=0)
            maps[m] = Dense(tuple(weights), maps[m].bias)
        sigmas = [h.activation for h in network.hidden]
        sigma = sigmas[layer]
        if sigma.theta is not None:
            sigmas[layer] = sigma.of(_pad(sigma.theta, extra, axis=1))
        return rebuild(network, maps, sigmas)

    return map_networks(grow, tree)


def with_slots(tree: Tree, in_slots: int, out_slots: int) -> Tree:
    """So many inputs and outputs, in use or dormant, in a network or in any tree that holds some.

    None that is in use may be cut off. What is left is what it was.
    """

    def resize(network: MLP) -> MLP:
        if (network.in_slots, network.out_slots) == (in_slots, out_slots):
            return network
        maps = list(network.maps)
        for m in network.readers(-1):
            first, *others = maps[m].weights
            maps[m] = Dense((_resized(first, in_slots, axis=0), *others), maps[m].bias)
        weights = tuple(_resized(w, out_slots, axis=1) for w in maps[-1].weights)
        maps[-1] = Dense(weights, _resized(maps[-1].bias, out_slots, axis=0))
        return rebuild(network, maps, [h.activation for h in network.hidden])

    return map_networks(resize, tree)


def without_spare(network: MLP) -> MLP:
    """The network with just the inputs and outputs that are in use."""
    return with_slots(network, network.in_size, network.out_size)


def map_networks(function, tree: Tree) -> Tree:
    """Apply `function` to every `MLP` inside a tree, other leaves staying as they are."""

    def is_network(node: Any) -> bool:
        return isinstance(node, MLP)

    return jax.tree.map(lambda n: function(n) if is_network(n) else n, tree, is_leaf=is_network)


def raise_singular_values(weight: np.ndarray, floor: float = SINGULAR_VALUE_FLOOR) -> np.ndarray:
    """`weight` with its singular values raised to at least `floor` × their mean (appendix C)."""
    u, s, vt = np.linalg.svd(weight.astype(np.float64))
    if s.min() >= floor * s.mean():
        return weight
    return ((u * np.maximum(s, floor * s.mean())) @ vt).astype(weight.dtype)


# --- checks -------------------------------------------------------------------------------


def _check_units(network: MLP, position: int, weight, bias, theta):
    dtype = network.readout.bias.dtype
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


# --- blocks and slots ---------------------------------------------------------------------


def _block_sizes(network: MLP, position: int) -> tuple[int, ...]:
    sizes = (network.in_size, *network.hidden_sizes)
    return tuple(sizes[node] for node in network.sources[position])


def _split(network: MLP, position: int, weight: np.ndarray) -> list[np.ndarray]:
    return np.split(weight, np.cumsum(_block_sizes(network, position))[:-1])


def _write(array, index, values):
    out = np.array(array)
    out[index] = values
    return to_device(out)


def _resized(array, size: int, axis: int):
    """The array with so many entries along an axis: zeros after its own, or without its last."""
    array = np.asarray(array)
    kept = array[(slice(None),) * axis + (slice(size),)]
    return _pad(kept, size - kept.shape[axis], axis)


def _pad(array, extra: int, axis: int):
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, extra)
    return to_device(np.pad(np.asarray(array), widths))


def _new_layer(network, position, weight, bias, theta, slots: int, residual: bool) -> Hidden:
    Q, capacities = bias.shape[0], (network.in_slots, *network.capacities)
    blocks = []
    for node, rows in zip(
        network.sources[position], _split(network, position, weight), strict=True
    ):
        block = np.zeros((capacities[node], slots), weight.dtype)
        block[: rows.shape[0], :Q] = rows
        blocks.append(to_device(block))
    dense = Dense(tuple(blocks), _pad(bias, slots - Q, axis=0))
    sigma = network.activation.of(None if theta is None else _pad(theta, slots - Q, 1))
    return Hidden(dense, sigma, to_device(Q, jnp.int32), residual)


# --- insertion ----------------------------------------------------------------------------


def _zero_block(dense: Dense, n_old: int, slots: int) -> Dense:
    """Read a new block, with zero weights, behind the `n_old` blocks that the new layer reads."""
    block = to_device(np.zeros((slots, dense.bias.shape[-1]), dense.bias.dtype))
    return Dense((*dense.weights[:n_old], block, *dense.weights[n_old:]), dense.bias)


class _Folded:
    """Read W_q a + b_q in place of a: W becomes W_q⁻¹ W (rows are inputs), b loses its b_q part."""

    def __init__(self, network: MLP, position: int, inverse: np.ndarray, bias: np.ndarray):
        self.sizes = _block_sizes(network, position)
        self.inverse, self.bias = inverse, bias.astype(np.float64)

    def __call__(self, dense: Dense, n_old: int, slots: int) -> Dense:
        dtype = dense.bias.dtype
        old = np.concatenate(
            [
                np.asarray(w, np.float64)[:n]
                for w, n in zip(dense.weights[:n_old], self.sizes, strict=True)
            ]
        )
        rows = self.inverse @ old
        block = np.zeros((slots, rows.shape[1]), dtype)
        block[: rows.shape[0]] = rows
        bias = (np.asarray(dense.bias, np.float64) - self.bias @ rows).astype(dtype)
        return Dense((to_device(block), *dense.weights[n_old:]), to_device(bias))


def _insert(network: MLP, position: int, layer: Hidden, read) -> MLP:
    """Put `layer` before map `position` and let `read` connect the maps that saw its inputs."""
    n_old, maps = len(network.maps[position].weights), list(network.maps)
    for m in _carriers(network, position):
        maps[m] = read(maps[m], n_old, layer.capacity)
    hidden = [
        Hidden(maps[m], h.activation, h.size, h.residual) for m, h in enumerate(network.hidden)
    ]
    hidden.insert(position, layer)
    return assemble(hidden, maps[-1], network.activation, network.inputs, network.outputs)


def _carriers(network: MLP, position: int) -> range:
    """The maps that read all that map `position` reads: itself, and those past residual layers."""
    last = position
    while last < len(network.hidden) and network.hidden[last].residual:
        last += 1
    return range(position, last + 1)


def _merge_blocks(zeros: Dense, old: Dense, n_old: int) -> Dense:
    weights = (*old.weights[:n_old], zeros.weights[n_old], *old.weights[n_old:])
    return Dense(weights, old.bias)


# --- rebuilding ---------------------------------------------------------------------------


def _with_hidden(network: MLP, layer: int, new: Hidden) -> MLP:
    hidden = list(network.hidden)
    hidden[layer] = new
    return assemble(hidden, network.readout, network.activation, network.inputs, network.outputs)
