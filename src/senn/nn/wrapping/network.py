"""Any Equinox module as a network that can grow."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from senn.nn.edits import arrange
from senn.nn.graph import Graph
from senn.nn.spaces import births
from senn.nn.tapped import AbstractTapped, Taps
from senn.nn.wrapping.known import Rest
from senn.nn.wrapping.sites import Heard, LinearSite
from senn.nn.wrapping.table import table
from senn.nn.wrapping.tracing import Equation, Trace, run


@dataclass(frozen=True, eq=False)
class Plan:
    """What is known of a module, whatever its sizes."""

    rest: Rest
    graph: Graph
    shape: tuple[int, ...]  # of an example
    plain: bool  # whether every map is applied once to an example
    names: tuple[str, ...]  # of the equations of its program

    def __hash__(self) -> int:  # noqa: D105
        return hash((self.rest, self.shape, self.names))

    def __eq__(self, other: object) -> bool:  # noqa: D105
        return isinstance(other, Plan) and self._said == other._said

    @property
    def _said(self) -> tuple[Any, ...]:
        return self.rest, self.shape, self.plain, self.names, self.graph


class Wrapped(AbstractTapped):
    """A module of Equinox's whose axes of units have dormant slots to grow into.

    It is made by :func:`senn.wrap`. Called on examples [N, ...], it returns outputs [N, O].
    """

    module: Any  # the parameters, where they stand in the module; all else of it is in the plan
    born: tuple[Any, ...]  # of every space
    plan: Plan = eqx.field(static=True)

    @property
    def graph(self) -> Graph:
        """Its spaces and sites."""
        return self.plan.graph

    def taps(self, x: Float[Array, "..."], shifts: tuple[Any, ...] | None = None) -> Taps:
        """What maps read is as the module has it; so is what is scaled or shifted."""
        ahead = x.shape[: x.ndim - len(self.plan.shape)]
        x = x.reshape(-1, *x.shape[len(ahead) :]).astype(self.dtype)
        program = self._program(x.shape[1:])
        arrays = dict(zip(program.arrays, jax.tree.leaves(self.module), strict=True))
        places = list(dict.fromkeys(at for site in self.graph.maps for at in _beside(site)))
        beside = [program.at(place) for place in places]

        def one(x: Array, shifts: tuple[Any, ...] | None) -> tuple[Array, tuple[Any, ...]]:
            reads: dict[int, Array] = {}
            changes = {
                _place(site): self._tap(number, reads, None if shifts is None else shifts[number])
                for number, site in enumerate(self.graph.sites)
            }
            known = {**arrays, program.x: x}
            y, *found = run(program.equations, known, [*program.outputs, *beside], changes)
            return y, self._heard(reads, dict(zip(places, found, strict=True)))

        outputs, reads = jax.vmap(one, (0, None if shifts is None else 0))(x, shifts)
        return Taps(outputs.reshape(*ahead, *outputs.shape[1:]), reads)

    def _tap(self, number: int, reads: dict[int, Array], shift: Any) -> Any:
        """What stands for the equation of a site: it is heard, and shifted."""
        site: Any = self.graph.sites[number]

        def change(equation: Equation, values: list[Any]) -> list[Any]:
            read = values[site.operand]
            if isinstance(site, LinearSite):
                reads[number] = read = site.heard(self, read)
                found = site.computed(equation, read, values[1 - site.operand])
            else:
                (found,) = equation(*values)
                reads[number] = jnp.broadcast_to(read, found.shape)
            return [found if shift is None else found + shift]

        return change

    def _heard(self, reads: dict[int, Array], found: dict[Any, Any]) -> tuple[Any, ...]:
        """What sites read, with what has a part in it."""
        heard: list[Any] = [reads[number] for number in range(len(reads))]
        for number, site in enumerate(self.graph.maps):
            if _beside(site):
                parts = tuple(found[place] for place in _beside(site))
                heard[number] = Heard(heard[number], parts)
        return tuple(heard)

    def no_shifts(self, n: int) -> tuple[Array, ...]:
        """Zeros to differentiate by, for n examples."""
        shape = self.plan.shape if self.grid else (self.in_slots,)
        equations = self._program(shape).equations
        at = (equations[_place(site)].outputs[0] for site in self.graph.sites)
        return tuple(jnp.zeros((n, *v.shape), v.dtype) for v in at)

    def _program(self, shape: tuple[int, ...]) -> Trace:
        program = self.plan.rest.program(jax.tree.leaves(self.module), shape, self.dtype)
        if program.names != self.plan.names:
            raise ValueError("The module computes something else for units of another number.")
        return program

    @property
    def grid(self) -> tuple[int, ...]:
        """All but the last of the dimensions of an example."""
        return self.plan.shape[:-1]

    @property
    def has_positions(self) -> bool:
        """Whether some of its maps are applied several times, or a unit is read as several."""
        return not self.plan.plain

    @property
    def in_size(self) -> int:
        """The last dimension of an example, without what is set aside."""
        return self.plan.shape[-1]

    @property
    def in_slots(self) -> int:
        """The same, with what is set aside."""
        first = self.graph.spaces[0]
        return self.in_size if first.rigid or first.written else super().in_slots

    def outputs_in_use(self, position: int) -> Bool[np.ndarray, " c"]:
        """All, of what does not grow."""
        _, outputs = self.graph.maps[position].shape(self)
        born = births(self, self.graph.written_by(position))
        return born >= 0 if len(born) == outputs else np.ones(outputs, bool)

    def unwrap(self) -> Any:
        """The module, of its own type, with the sizes that it has grown to.

        Slots that hold no unit are cut off: its outputs are those of the network, up to the
        rounding of sums in another order.
        """
        network = self
        for space in self.graph.spaces:
            network = arrange(network, space, np.flatnonzero(births(network, space) >= 0))
        return self.plan.rest.module(network.module)

    def __str__(self) -> str:
        """A table of the spaces: how large they are, and which may grow."""
        return table(self, type(self.plan.rest.module(self.module)).__name__)


def _place(site: Any) -> int:
    """The number of its equation."""
    return site.at


def _beside(site: Any) -> tuple[Any, ...]:
    return site.beside_at
