"""What stands between a map and those that read it, as an activation of units."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from senn.compilation import QUICK, program
from senn.nn.activation import ACTIVATIONS, AbstractFixed, Activation
from senn.nn.wrapping.tails import Tail

POINTS = np.concatenate([np.linspace(-6, 6, 193), [-1e3, -50, -12, 12, 50, 1e3]])


class AsItIs(AbstractFixed):
    """z itself: what the module makes of it is up to what reads it (`LinearSite.spread`)."""

    name = "the module's own"
    function = staticmethod(lambda z: z)
    numpy = staticmethod(lambda z, theta: z)  # noqa: ARG005


class Homogeneous(AsItIs):
    """Of which c > 0 times as much makes c times as much of what is read."""

    homogeneous = True


_own: dict[Any, Activation] = {}


def through(tails: list[Tail]) -> tuple[Activation, bool]:
    """The activation of units that are read at the ends of these; whether 0 is 0 there."""
    silent, homogeneous = zip(*map(_tried, tails), strict=True)
    return (Homogeneous if all(homogeneous) else AsItIs), all(silent)


def of_numbers(tail: Tail) -> tuple[Activation, bool]:
    """The same of a tail that treats every number by itself: one of ours, if it is one."""
    points = POINTS.astype(tail.start.dtype)
    values = np.asarray(_of_numbers(tail, np.append(points, 0).astype(points.dtype)))
    values, silent = values[:-1], not values[-1]
    for known in ACTIVATIONS.values():
        with np.errstate(over="ignore"):
            same = not known.learned and _close(known.numpy(points, None), values)
        if same:
            return known, silent
    if tail.key not in _own:
        _, homogeneous = _tried(tail)
        _own[tail.key] = _named(tail, homogeneous)
    return _own[tail.key], silent


def _close(found: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.allclose(found, wanted, 1e-5, 1e-6))


def _named(tail: Tail, positive: bool) -> Activation:
    class Own(AbstractFixed):
        name = "the module's own"
        homogeneous = positive
        function = staticmethod(tail.elementwise)
        numpy = staticmethod(lambda z, theta: np.asarray(tail.elementwise(jnp.asarray(z))))  # noqa: ARG005

    return Own


def _tried(tail: Tail) -> tuple[bool, bool]:
    """Whether nothing comes of nothing, and of twice as much twice as much."""
    T = int(np.prod(tail.start.shape)) // tail.slots
    draw = np.random.default_rng(0).normal(size=(1, T, tail.slots))
    one = draw.astype(tail.start.dtype)
    beside = tuple(_drawn(v.shape, v.dtype) for v in tail.beside)
    three = np.concatenate([0 * one, one, 2 * one])
    nothing, once, twice = np.asarray(_of_units(tail, three, beside))
    return not nothing.any(), _close(twice, 2 * once)


def _drawn(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Some numbers of examples, the same of all three."""
    draw = np.random.default_rng(1).normal(size=shape)
    numbers = draw > 0 if np.issubdtype(dtype, np.bool_) else draw
    return np.broadcast_to(numbers, (3, *shape)).astype(dtype)


@program(QUICK)
def _of_numbers(tail: Tail, z: Any) -> Any:
    return tail.elementwise(z)


@program(QUICK)
def _of_units(tail: Tail, z: Any, beside: Any) -> Any:
    return tail(z, beside)
