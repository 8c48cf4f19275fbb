"""A layer type: tanh units, and beside them a map without bias straight from the inputs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from senn.nn import ACTIVATIONS, AbstractTapped, DenseSite, Graph, Port, Space, Taps, first_units

inputs = Space("inputs", "born.0", read=(Port("into", 0), Port("past", 0)), rigid="they are given")
hidden = Space(
    "hidden",
    "born.1",
    written=(Port("into", 1),),
    read=(Port("out", 0),),
    carried=(Port("bias", 0),),
    activation=ACTIVATIONS["tanh"],
)
outputs = Space(
    "outputs", "born.2", written=(Port("past", 1), Port("out", 1)), carried=(Port("shift", 0),)
)
maps = (
    DenseSite(("into",), "bias", (inputs,)),
    DenseSite(("past",), None, (inputs,)),
    DenseSite(("out",), "shift", (hidden,)),
)


class Passed(AbstractTapped):
    """x ↦ tanh(x·into + bias)·out + shift + x·past."""

    into: Array  # [inputs, slots]
    bias: Array  # [slots]
    past: Array  # [inputs, outputs]
    out: Array  # [slots, outputs]
    shift: Array  # [outputs]
    born: tuple[Array, ...]  # of every space

    graph = Graph((inputs, hidden, outputs), maps)

    def __init__(self, in_size, out_size, units, slots=8, seed=0):
        draw, spare = np.random.default_rng(seed), slots - units
        into = draw.normal(size=(in_size, units)) / in_size**0.5
        out = draw.normal(size=(units, out_size)) / units**0.5
        self.into = jnp.asarray(np.pad(into, ((0, 0), (0, spare))))
        self.out = jnp.asarray(np.pad(out, ((0, spare), (0, 0))))
        self.past = jnp.zeros((in_size, out_size))
        self.bias, self.shift = jnp.zeros(slots), jnp.zeros(out_size)
        self.born = first_units(in_size), first_units(units, slots), first_units(out_size)

    def no_shifts(self, n):
        """What `taps` adds where each map writes."""
        return tuple(jnp.zeros((n, len(b))) for b in (self.bias, self.shift, self.shift))

    def taps(self, x, shifts=None):
        """The outputs, and what each map reads."""
        s = shifts or (0.0, 0.0, 0.0)
        a = jnp.tanh(x @ self.into + self.bias + s[0])
        y = x @ self.past + s[1] + a @ self.out + self.shift + s[2]
        return Taps(y, ((x,), (x,), (a,)))


def check_dormant_slots(network: Passed, x: Array) -> None:
    """Raise an AssertionError if a step of training would wake a slot that holds no unit."""
    gradient = eqx.filter_grad(lambda net: jnp.sum(net(x) ** 2))(network)
    dormant = np.flatnonzero(np.asarray(network.born[1]) < 0)
    assert dormant.size, "a layer needs slots to grow into"
    for port in hidden.ports:
        there = np.take(np.asarray(getattr(gradient, port.leaf)), dormant, port.axis)
        assert not there.any(), f"{port.leaf} would wake"


check_dormant_slots(Passed(3, 2, units=4), jax.random.normal(jax.random.key(1), (5, 3)))
