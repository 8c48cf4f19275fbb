"""A second architecture: two towers over two halves of the inputs, summed into one hidden space.

left ─────────── L (no bias) ──┐
right ── D ── deep ────── R ───┴── shared ──┬────────────── O ──┬── outputs
                                            └── E ── extra ─ P ─┘  (P has no bias)
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from senn.arrays import to_device
from senn.nn.activation import AbstractActivation, Rational
from senn.nn.graph import AbstractTapped, Graph, Port, Space, Taps
from senn.nn.sites import DenseSite, UnitwiseSite

NAMES = ("left", "right", "deep", "shared", "extra", "outputs")
ENDS = ((0, 3), (1, 2), (2, 3), (3, 4), (3, 5), (4, 5))  # L, D, R, E, O, P: read and written
WITH_BIAS = (1, 2, 3, 4)


def _space(k):
    written = tuple(Port(f"weights.{m}", 1) for m, (_, to) in enumerate(ENDS) if to == k)
    read = tuple(Port(f"weights.{m}", 0) for m, (of, _) in enumerate(ENDS) if of == k)
    bias = [Port(f"biases.{b}", 0) for b, m in enumerate(WITH_BIAS) if ENDS[m][1] == k]
    theta = [Port(f"sigmas.{k - 2}.theta", 1)] if 2 <= k < 5 else []
    rigid = "" if k >= 2 else "it is a half of the inputs"
    return Space(NAMES[k], f"counts.{k}", written, read, (*bias, *theta), rigid)


SPACES = tuple(map(_space, range(6)))
BIASES = {m: f"biases.{b}" for b, m in enumerate(WITH_BIAS)}
MAPS = tuple(
    DenseSite((f"weights.{m}",), BIASES.get(m), (SPACES[of],)) for m, (of, _) in enumerate(ENDS)
)
THETAS = tuple(UnitwiseSite(f"sigmas.{k}.theta", Rational.features) for k in range(3))


class Towers(AbstractTapped):
    """Of `sizes` units in its six spaces; the hidden ones have room for `capacity`."""

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    sigmas: tuple[AbstractActivation, ...]
    counts: tuple[Any, ...]

    def __init__(self, sizes, capacity, seed=0):
        draw = np.random.default_rng(seed)
        slots = [capacity if 2 <= k < 5 else n for k, n in enumerate(sizes)]

        def drawn(*spaces):
            used, room = ([of[k] for k in spaces] for of in (sizes, slots))
            array = draw.normal(size=used) / np.sqrt(used[0] if len(used) > 1 else 1)
            return to_device(np.pad(array, [(0, c - n) for n, c in zip(used, room, strict=True)]))

        self.weights = tuple(drawn(*ends) for ends in ENDS)
        self.biases = tuple(drawn(ENDS[m][1]) for m in WITH_BIAS)
        self.sigmas = tuple(Rational.drawn(draw, n, capacity, float) for n in sizes[2:5])
        self.counts = tuple(to_device(n, jnp.int32) for n in sizes)

    @property
    def graph(self):
        return Graph(SPACES, (*MAPS, *THETAS), len(MAPS))

    @property
    def in_slots(self):
        return len(self.weights[0]) + len(self.weights[1])

    @property
    def active_outputs(self):
        return jnp.arange(len(self.biases[3])) < self.counts[5]

    def no_shifts(self, n):
        columns = [w.shape[1] for w in (*self.weights, *(s.theta for s in self.sigmas))]
        return tuple(jnp.zeros((n, c), self.dtype) for c in columns)

    def taps(self, x, shifts=None):
        W, b, s, half = self.weights, self.biases, shifts or (0.0,) * 9, len(self.weights[0])
        left, right = x[..., :half], x[..., half:]
        z = right @ W[1] + b[0] + s[1]
        deep = self.sigmas[0](z) + s[6]
        y = left @ W[0] + s[0] + deep @ W[2] + b[1] + s[2]
        shared = self.sigmas[1](y) + s[7]
        e = shared @ W[3] + b[2] + s[3]
        extra = self.sigmas[2](e) + s[8]
        outputs = shared @ W[4] + b[3] + s[4] + extra @ W[5] + s[5]
        reads = ((left,), (right,), (deep,), (shared,), (shared,), (extra,), z, y, e)
        return Taps(outputs, reads)
