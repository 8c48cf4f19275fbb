"""Two towers over two halves of the inputs, summed into one hidden space that two maps read.

left ─────────── L ──┐                                         L and P have no bias
right ── D ── deep ── R ── shared ──┬────────────── O ──┬── outputs
                                    └── E ── extra ─ P ─┘
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from senn.arrays import to_device
from senn.nn.activation import Rational
from senn.nn.graph import Graph
from senn.nn.sites import DenseSite, UnitwiseSite
from senn.nn.spaces import Port, Space, first_units
from senn.nn.tapped import AbstractTapped, Taps

NAMES = ("left", "right", "deep", "shared", "extra", "outputs")
ENDS = ((0, 3), (1, 2), (2, 3), (3, 4), (3, 5), (4, 5))  # L, D, R, E, O, P: read and written
WITH_BIAS = (1, 2, 3, 4)
BIASES = {m: f"biases.{b}" for b, m in enumerate(WITH_BIAS)}
THETAS = {k: f"sigmas.{k - 2}.theta" for k in (2, 3, 4)}


def _space(k):
    written = tuple(Port(f"weights.{m}", 1) for m, (_, to) in enumerate(ENDS) if to == k)
    read = tuple(Port(f"weights.{m}", 0) for m, (of, _) in enumerate(ENDS) if of == k)
    carried = [Port(bias, 0) for m, bias in BIASES.items() if ENDS[m][1] == k]
    carried += [Port(THETAS[k], 1)] if k in THETAS else []
    rigid = "" if k >= 2 else "it is a half of the inputs"
    return Space(NAMES[k], f"born.{k}", written, read, tuple(carried), Rational, rigid)


SPACES = tuple(map(_space, range(6)))
MAPS = tuple(
    DenseSite((f"weights.{m}",), BIASES.get(m), (SPACES[k],)) for m, (k, _) in enumerate(ENDS)
)
UNITS = tuple(UnitwiseSite(theta, Rational.features) for theta in THETAS.values())


class Towers(AbstractTapped):
    """Of `sizes` units in its six spaces; the hidden ones have room for `capacity`."""

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    sigmas: tuple[Any, ...]
    born: tuple[Any, ...]

    def __init__(self, sizes, capacity, seed=0):
        draw = np.random.default_rng(seed)
        slots = [capacity if k in THETAS else n for k, n in enumerate(sizes)]

        def drawn(*spaces):
            array = draw.normal(size=[sizes[k] for k in spaces]) / sizes[spaces[0]] ** 0.5
            return to_device(np.pad(array, [(0, slots[k] - sizes[k]) for k in spaces]))

        self.weights = tuple(drawn(*ends) for ends in ENDS)
        self.biases = tuple(drawn(ENDS[m][1]) for m in WITH_BIAS)
        self.sigmas = tuple(Rational.drawn(draw, n, capacity, float) for n in sizes[2:5])
        self.born = tuple(first_units(*at) for at in zip(sizes, slots, strict=True))

    graph = Graph(SPACES, MAPS, UNITS)

    def no_shifts(self, n):
        columns = [a.shape[-1] for a in (*self.weights, *self.biases[:3])]
        return tuple(jnp.zeros((n, c), self.dtype) for c in columns)

    def taps(self, x, shifts=None):
        W, b, s = self.weights, self.biases, shifts or (0.0,) * 9
        left, right = x[..., : len(W[0])], x[..., len(W[0]) :]
        z = right @ W[1] + b[0] + s[1]
        deep = self.sigmas[0](z) + s[6]
        y = left @ W[0] + s[0] + deep @ W[2] + b[1] + s[2]
        shared = self.sigmas[1](y) + s[7]
        e = shared @ W[3] + b[2] + s[3]
        extra = self.sigmas[2](e) + s[8]
        outputs = shared @ W[4] + b[3] + s[4] + extra @ W[5] + s[5]
        return Taps(outputs, (*((a,) for a in (left, right, deep, shared, shared, extra)), z, y, e))
