"""Random networks, batches and units for the tests, small enough to compile quickly."""

import jax.numpy as jnp
import numpy as np

from senn.batches import Batch
from senn.expand import insert_layer
from senn.nn import ACTIVATIONS, Dense, Hidden
from senn.nn.edits import write
from senn.nn.network import assemble
from senn.nn.spaces import first_units

LOSS_METRICS = [
    ("softmax_cross_entropy", "euclidean"),
    ("softmax_cross_entropy", "fisher"),
    ("binary_cross_entropy", "euclidean"),
    ("binary_cross_entropy", "fisher"),
    ("squared_error", "euclidean"),
]


def random_network(
    sizes=(3, 4, 3, 2), activation="rational", residual=(), capacity=6, dtype=None, seed=0
):
    """A network with all its active parameters random; `residual` names such hidden layers.

    Dormant slots are zero, as they are in a network that has been trained and grown.
    """
    rng = np.random.default_rng(seed)
    dtype = dtype or jnp.result_type(float)
    slots = [sizes[0], *(max(n, capacity) for n in sizes[1:-1]), sizes[-1]]

    def padded(shape, slots):
        array = np.zeros(slots)
        array[tuple(slice(n) for n in shape)] = rng.normal(size=shape) / shape[0] ** 0.5
        return jnp.asarray(array, dtype)

    nodes, maps = [0], []
    for m in range(len(sizes) - 1):
        weights = [padded((sizes[n], sizes[m + 1]), (slots[n], slots[m + 1])) for n in nodes]
        maps.append(Dense(tuple(weights), padded((sizes[m + 1],), (slots[m + 1],))))
        nodes = [*nodes, m + 1] if m in residual else [m + 1]
    sigma = ACTIVATIONS[activation]
    hidden = [
        Hidden(
            dense,
            sigma(padded((3, n), (3, c)) if sigma.learned else None),
            first_units(n, c),
            m in residual,
        )
        for m, (dense, n, c) in enumerate(zip(maps[:-1], sizes[1:-1], slots[1:-1], strict=True))
    ]
    return assemble(hidden, maps[-1], sigma, first_units(sizes[0]), first_units(sizes[-1]))


def random_batch(loss, n, in_size, out_size, weighted=False, seed=0, dtype=None):
    """Inputs, targets that suit the loss, and weights with mean one."""
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(n, in_size)), dtype or jnp.result_type(float))
    y = {
        "softmax_cross_entropy": rng.integers(0, out_size, n),
        "binary_cross_entropy": rng.integers(0, 2, (n, out_size)),
        "squared_error": rng.normal(size=(n, out_size)),
    }[loss]
    w = rng.uniform(size=n) if weighted else np.ones(n)
    return Batch(x, jnp.asarray(y), jnp.asarray(w / w.mean(), x.dtype))


def random_units(network, position, k, seed=0, scale=1.0):
    """Weight, bias and θ (None for other activations) of k units reading what that map reads."""
    rng = np.random.default_rng(seed)
    weight = scale * rng.normal(size=(network.n_inputs(position), k))
    theta = rng.normal(size=(3, k)) if network.activation.learned else None
    return weight, rng.normal(size=k), theta


def layers_beside(network, capacity, positions=(0, 1, 3)):
    """A convolutional network with stages beside what its maps read, all of whose weights count."""
    draw = np.random.default_rng(0)
    for position in positions:
        units = random_units(network, position, 2, seed=position, scale=0.5)
        network = insert_layer(network, position, *units[:2], activation=units[2],
                               capacity=capacity, born=0)  # fmt: skip
        space = network.graph.hidden[position]
        for m, port in zip(network.graph.readers(space), space.read, strict=True):
            used = network.outputs_in_use(m)
            weight = draw.normal(size=(1, 1, 2, len(used))) * used
            network = write(network, space, slice(2), {port: weight})
    return network
