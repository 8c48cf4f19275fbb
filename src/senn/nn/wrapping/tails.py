"""What a module does with the outputs of a map before another map reads them.

As far as every unit is treated by itself, the same can be done with units that are not there yet:
some of them at a time take the place of those that are.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from senn.nn.wrapping.tracing import Equation, Trace, Variable, run


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
    ):
        self.key = key
        self.equations, self.known = tuple(equations), known
        self.start, self.end = ends
        self.unit_dim = unit_dim  # of the output, that of units
        self.slots = self.start.shape[unit_dim]

    def __eq__(self, other: object) -> bool:  # noqa: D105
        return isinstance(other, Tail) and self.key == other.key

    def __hash__(self) -> int:  # noqa: D105
        return hash(self.key)

    def __call__(self, units: Float[Array, "N T P"]) -> Float[Array, "N chunks ..."]:
        """What is read of units, `slots` of them at a time."""
        N, T, P = units.shape
        chunks = -(-P // self.slots)
        filled = jnp.pad(units, ((0, 0), (0, 0), (0, chunks * self.slots - P)))
        apart = filled.reshape(N, T, chunks, self.slots)
        one = jax.vmap(jax.vmap(self._of_chunk, in_axes=1))
        return one(apart)

    def _of_chunk(self, units: Float[Array, "T c"]) -> Array:
        places = [n for d, n in enumerate(self.start.shape) if d != self.unit_dim]
        laid = jnp.moveaxis(units.reshape(*places, self.slots), -1, self.unit_dim)
        return run(self.equations, {**self.known, self.start: laid}, [self.end])[0]

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


def between(
    trace: Trace, start: Variable, end: Variable, newborn: dict[Variable, Any]
) -> tuple[list[Equation], dict[Variable, Any]] | None:
    """The equations on the way, and what else they read: numbers of new units, or constants.

    None if something else of the example has a part in it.
    """
    made = {v: equation for equation in trace.equations for v in equation.outputs}
    needed: set[int] = set()
    known: dict[Variable, Any] = {}
    number = {id(equation): n for n, equation in enumerate(trace.equations)}
    todo, seen = [end], {start}
    while todo:
        v = todo.pop()
        if v in seen:
            continue
        seen.add(v)
        if v in newborn:
            known[v] = newborn[v]
        elif v not in made:
            return None
        else:
            needed.add(number[id(made[v])])
            todo += [u for u in made[v].inputs if isinstance(u, Variable)]
    return [trace.equations[n] for n in sorted(needed)], known
