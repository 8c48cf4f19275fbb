"""A module's call on one example as a flat program, which can be run with changes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal

# Calls whose equations stand among those of the caller.
INLINED = ("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint")
# A call of that of `senn.nn.norms` stands as it is: what it gives depends on no unit to come.
COUNTED = "counted_moments"
# Functions with derivatives of their own: these run as one.
WHOLE = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")


class Variable:
    """An array of the program."""

    def __init__(self, aval: Any):  # noqa: D107
        self.shape: tuple[int, ...] = tuple(aval.shape)
        self.dtype = aval.dtype


class Equation(NamedTuple):
    """A primitive, of variables and numbers."""

    name: str
    primitive: Any
    params: Mapping[str, Any]
    inputs: tuple[Any, ...]
    outputs: tuple[Variable, ...]
    inside: tuple["Equation", ...] = ()  # what a function that runs as one consists of

    def __call__(self, *values: Any) -> list[Any]:
        """What it computes."""
        bound = self.primitive.get_bind_params(dict(self.params))
        functions, params = bound if isinstance(bound, tuple) else ((), bound)  # as JAX is old
        found = self.primitive.bind(*functions, *values, **params)
        return list(found) if self.primitive.multiple_results else [found]


class Trace(NamedTuple):
    """The program of arrays and one example."""

    arrays: tuple[Variable, ...]
    x: Variable
    equations: tuple[Equation, ...]
    outputs: tuple[Any, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What is computed, whatever the sizes."""
        return tuple(equation.name for equation in self.equations)

    def place(self, v: Variable) -> tuple[int, int] | None:
        """The equation that computes it, and which of its outputs it is; None of the example."""
        made = (
            (n, k)
            for n, equation in enumerate(self.equations)
            for k, output in enumerate(equation.outputs)
            if output is v
        )
        return next(made, None)

    def at(self, place: tuple[int, int] | None) -> Variable:
        """What is computed there."""
        return self.x if place is None else self.equations[place[0]].outputs[place[1]]


def trace(function: Callable, arrays: Sequence[Any], x: Any) -> Trace:
    """The program of `function(arrays, x)`; arrays may be mere shapes."""
    closed = jax.make_jaxpr(function)(list(arrays), x)
    given = [Variable(v.aval) for v in closed.jaxpr.invars]
    equations: list[Equation] = []
    outputs = _flatten(closed.jaxpr, closed.consts, given, equations)
    return Trace(tuple(given[:-1]), given[-1], tuple(equations), tuple(outputs))


def _flatten(jaxpr: Any, consts: Any, inputs: Sequence[Any], found: list[Equation]) -> list[Any]:
    """Append equations with calls inlined; the outputs."""
    known = dict(zip(jaxpr.constvars, consts, strict=True))
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def get(v: Any) -> Any:
        return v.val if isinstance(v, Literal) else known[v]

    for eqn in jaxpr.eqns:
        name, given = eqn.primitive.name, [get(v) for v in eqn.invars]
        name = COUNTED if eqn.params.get("name") == COUNTED else name
        if name in INLINED:
            outputs = _flatten(*_called(eqn), given, found)
        else:
            outputs = [Variable(v.aval) for v in eqn.outvars]
            inside: list[Equation] = []
            if name in WHOLE:
                results = _flatten(*_called(eqn), given, inside)
                inside += [
                    Equation("copy", None, {}, (result,), (output,))
                    for result, output in zip(results, outputs, strict=True)
                ]
            whole = Equation(
                name, eqn.primitive, eqn.params, tuple(given), tuple(outputs), tuple(inside)
            )
            found.append(whole)
        known.update(zip(eqn.outvars, outputs, strict=True))
    return [get(v) for v in jaxpr.outvars]


def _called(eqn: Any) -> tuple[Any, Any]:
    inner = next(eqn.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in eqn.params)
    return getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())


def run(
    equations: Sequence[Equation],
    known: Mapping[Variable, Any],
    wanted: Sequence[Any],
    changes: Mapping[int, Callable] | None = None,
) -> list[Any]:
    """What the wanted variables are if those known are so.

    `changes` by the number of an equation: (equation, values) ↦ what it computes instead.
    """
    values = dict(known)

    def get(v: Any) -> Any:
        return values[v] if isinstance(v, Variable) else v

    for number, equation in enumerate(equations):
        given = [get(v) for v in equation.inputs]
        change = (changes or {}).get(number)
        results = equation(*given) if change is None else change(equation, given)
        values.update(zip(equation.outputs, results, strict=True))
    return [get(v) for v in wanted]


def spelled_out(equations: Sequence[Equation]) -> Iterator[Equation]:
    """With what stands inside of functions that run as one in their place."""
    for equation in equations:
        if equation.inside:
            yield from spelled_out(equation.inside)
        else:
            yield equation


def shape_of(value: Any) -> tuple[int, ...]:
    """Of a variable or a number."""
    return value.shape if isinstance(value, Variable) else np.shape(value)


def variables(equation: Equation) -> list[Variable]:
    """Those that it reads."""
    return [v for v in equation.inputs if isinstance(v, Variable)]
