"""What a module does with the outputs of a map before another map reads them.

As far as every unit is treated by itself, the same can be done with units that are not there yet:
some of them at a time take the place of those that are.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from senn.nn.wrapping.tracing import COUNTED, Equation, Trace, Variable, run, variables


class Tail:
    """From what a map outputs to what another reads; of one example.

    Two are the same if their keys are: these tell of the module and of the places in it.
    """

    def __init__(  # noqa: D107
        self,
        key: Any,
        equations: Sequence[Equation],
        ends: tuple[Variable, Variable],
        known: dict[Variable, Any],
        unit_dim: int,
        beside: Sequence[Variable] = (),
    ):
        self.key = key
        self.equations, self.known = tuple(equations), known
        self.beside = tuple(beside)  # numbers of the example that have a part in it
        self.start, self.end = ends
        self.unit_dim = unit_dim  # of the output, that of units
        self.slots = self.start.shape[unit_dim]

    def __eq__(self, other: object) -> bool:  # noqa: D105
        return isinstance(other, Tail) and self.key == other.key

    def __hash__(self) -> int:  # noqa: D105
        return hash(self.key)

    def __call__(
        self, units: Float[Array, "N T P"], beside: tuple[Array, ...] = ()
    ) -> Float[Array, "N chunks ..."]:
        """What is read of units, `slots` of them at a time, `beside` such numbers of examples."""
        N, T, P = units.shape
        chunks = -(-P // self.slots)
        filled = jnp.pad(units, ((0, 0), (0, 0), (0, chunks * self.slots - P)))
        apart = filled.reshape(N, T, chunks, self.slots)
        return jax.vmap(jax.vmap(self._of_chunk, in_axes=(1, None)))(apart, beside)

    def _of_chunk(self, units: Float[Array, "T c"], beside: tuple[Array, ...]) -> Array:
        places = [n for d, n in enumerate(self.start.shape) if d != self.unit_dim]
        laid = jnp.moveaxis(units.reshape(*places, self.slots), -1, self.unit_dim)
        given = dict(zip(self.beside, beside, strict=True))
        return run(self.equations, {**self.known, **given, self.start: laid}, [self.end])[0]

    def elementwise(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Of numbers of any shape, if it is a function of every number by itself."""
        count = self.start.shape
        numbers = int(np.prod(count))
        chunks = -(-z.size // numbers)
        filled = jnp.pad(z.reshape(-1), (0, chunks * numbers - z.size)).reshape(chunks, *count)
        found = jax.vmap(
            lambda own: run(self.equations, {**self.known, self.start: own}, [self.end])[0]
        )(filled)
        return found.reshape(-1)[: z.size].reshape(z.shape)


class Way(NamedTuple):
    """What is computed from a variable to another."""

    equations: list[Equation]
    known: dict[Variable, Any]  # numbers of new units that it reads
    beside: list[Variable]  # what it reads of the example that does not depend on the first


def between(
    trace: Trace, start: Variable, end: Variable, newborn: dict[Variable, Any]
) -> Way | None:
    """The equations on the way, and what else they read.

    None if other parameters have a part in it: then units are not treated by themselves.
    """
    depends, constant = _following(trace, {start}, any), _following(trace, {*newborn}, all)
    made = {v: n for n, equation in enumerate(trace.equations) for v in equation.outputs}
    needed: set[int] = set()
    known: dict[Variable, Any] = {}
    beside: list[Variable] = []
    todo, seen = [end], {start}
    while todo:
        v = todo.pop()
        if v in seen:
            continue
        seen.add(v)
        if v in newborn:
            known[v] = newborn[v]
        elif v in depends or v in constant:
            needed.add(made[v])
            todo += variables(trace.equations[made[v]])
        elif v in made or v is trace.x:
            beside.append(v)
        else:
            return None
    return Way([trace.equations[n] for n in sorted(needed)], known, beside)


def _following(trace: Trace, first: set[Variable], which: Callable) -> set[Variable]:
    """What is computed of all of some variables or of any, but for statistics of what counts."""
    found = set(first)
    for equation in trace.equations:
        if equation.name != COUNTED and which(v in found for v in variables(equation)):
            found |= {*equation.outputs}
    return found
