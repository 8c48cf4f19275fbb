"""Whether spare slots are silent in a module's own code, and stay so: tried, space by space."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from senn import shapes
from senn.compilation import QUICK, program
from senn.nn.edits import apart, resize, write
from senn.nn.spaces import Port, Space, leaf_at, says_what_counts, slots, units
from senn.readers import first_sentence

EXAMPLES = 3
CLOSE = 1e-4  # of the largest output: sums of another length round otherwise


def refusals(network: Any, example: Any) -> dict[str, str]:
    """Why spaces that should be free may not grow, by their names.

    They are tried together, and one by one if that fails.
    """
    free = [space for space in network.graph.spaces if not space.rigid]
    if not free:
        return {}
    x = _examples(example)
    wanted = np.asarray(_outputs(network, x))
    if not _refused(network, free, x, wanted):
        return {}
    each = {space.name: _refused(network, [space], x, wanted) for space in free}
    said = {name: reason for name, reason in each.items() if reason}
    return said or {space.name: "it cannot grow beside the others" for space in free}


def room(network: Any, space: Space) -> int:
    """The slots that are set aside for a space."""
    n = units(network, space)
    if not space.written:
        return shapes.in_slots(n) + 1
    return space.capacity(n + 1) if space.read else shapes.out_slots(n) + 1


def _refused(network: Any, spaces: Sequence[Space], x: np.ndarray, wanted: Any) -> str:
    """What goes wrong with spare slots in these spaces, "" if nothing does."""
    wide, sizes = network, [units(network, space) for space in spaces]
    for space in spaces:
        wide = resize(wide, space, room(network, space))
    inputs = [space for space in spaces if not space.written]
    if inputs:
        x = np.pad(x, [(0, 0), (0, slots(wide, inputs[0]) - x.shape[1])])
    n = wanted.shape[1]

    try:
        found, gradient = _tried(wide, x, n)
        after, _ = _tried(_with_units(wide, spaces, sizes), x, n)
    except Exception as error:  # whatever the module's own code says
        return f"the module's code does not take another size ({first_sentence(error)})"
    found = np.asarray(found)
    close = CLOSE * max(np.max(np.abs(wanted)), 1e-6)
    if not np.allclose(found[:, :n], wanted, 0, close) or np.any(found[:, n:]):
        return "spare slots would change what the module computes"
    if not all(_silent(gradient, space, n) for space, n in zip(spaces, sizes, strict=True)):
        return "spare slots would not stay as they are in training"
    if not np.array_equal(np.asarray(after), found):
        return "new units would change what the module computes before they are read"
    return ""


@program(QUICK)
def _outputs(network: Any, x: Any) -> Any:
    return network(x)


@program(QUICK)
def _tried(network: Any, x: Any, n: int) -> tuple[Any, Any]:
    """The outputs, and the gradient of something of the first n of them."""

    def loss(network: Any) -> tuple[Any, Any]:
        outputs = network(x)
        return jnp.sum(jnp.sin(outputs[:, :n])), outputs

    (_, outputs), gradient = eqx.filter_value_and_grad(loss, has_aux=True)(network)
    return outputs, gradient


def _silent(gradient: Any, space: Space, used: int) -> bool:
    def beyond(port: Port) -> np.ndarray:
        units = apart(np.asarray(leaf_at(gradient, port.leaf)), port)
        return np.moveaxis(units, port.axis + 1, 0)[used:]

    trained = (port for port in space.ports if leaf_at(gradient, port.leaf) is not None)
    return not any(np.any(beyond(port)) for port in trained)


def _with_units(network: Any, spaces: Sequence[Space], sizes: Sequence[int]) -> Any:
    """With a unit more in every hidden space, of random numbers that nobody reads yet."""
    draw = np.random.default_rng(1)
    for space, n in zip(spaces, sizes, strict=True):
        if not (space.written and space.read):
            continue
        numbers = {}
        for port in (*space.written, *space.carried):
            if says_what_counts(network, port):
                continue  # units that come do not count
            shape = list(np.shape(leaf_at(network, port.leaf)))
            shape[port.axis] = port.outer * port.inner
            numbers[port] = draw.normal(size=shape)
        network = write(network, space, [n], numbers, born=1)
    return network


def _examples(example: Any) -> np.ndarray:
    """Some like it, with noise."""
    one = np.asarray(example)
    noise = np.random.default_rng(0).normal(size=(EXAMPLES, *one.shape))
    return (one + noise).astype(one.dtype)
