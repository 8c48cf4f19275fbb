"""Which axes of a program belong together, and why some may not grow: read off its equations.

What is found here is a proposal: `senn.nn.wrapping.probing` tries it on the module's own code.
"""

from collections.abc import Callable, Sequence
from typing import Any

from senn.nn.wrapping.atoms import Axis, flat, fresh, mark, regrouped, tie
from senn.nn.wrapping.tracing import (
    COUNTED,
    Equation,
    Trace,
    Variable,
    shape_of,
    spelled_out,
    variables,
)

_NAMES = """
abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp convert_element_type
copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow
is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not or pow
reduce_precision rem round rsqrt select_n sign sin sinh sqrt square stop_gradient sub tan tanh xor
"""
ELEMENTWISE = frozenset(_NAMES.split())
SUMMED = {
    "reduce_max": "the largest of it is taken",
    "reduce_min": "the smallest of it is taken",
    "reduce_sum": "it is summed over, as norms, means and softmaxes do",
    "argmax": "the place of the largest of it is taken",
    "argmin": "the place of the smallest of it is taken",
}
IN_ORDER = ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")


class Axes:
    """The axes of every variable of a program."""

    def __init__(self, trace: Trace):  # noqa: D107
        self.of: dict[Any, list[Axis]] = {}
        for v in (*trace.arrays, trace.x):
            self.of[v] = fresh(v.shape)
        for equation in spelled_out(trace.equations):
            for v in variables(equation):
                self.of.setdefault(v, fresh(v.shape))
            self._follow(equation)

    def flat(self, v: Variable, dims: Sequence[int] | None = None) -> Axis:
        """The atoms of some of its axes, one behind the other."""
        axes = self.of[v]
        return flat(atom for d in (range(len(axes)) if dims is None else dims) for atom in axes[d])

    def _follow(self, equation: Equation) -> None:
        rule = RULES.get(equation.name)
        if equation.name in ELEMENTWISE:
            self._elementwise(equation)
        elif rule is not None:
            self.of[equation.outputs[0]] = rule(self, equation)
        elif equation.name == COUNTED:
            self._counted(equation)
        elif equation.name in SUMMED:
            self.of[equation.outputs[0]] = self._reduced(equation)
        else:
            for v in variables(equation):
                mark(self.flat(v), f"it goes through {equation.name}")
        for v in equation.outputs:
            self.of.setdefault(v, fresh(v.shape))

    def _elementwise(self, equation: Equation) -> None:
        (output,) = equation.outputs
        axes: list[Axis] = [[] for _ in output.shape]
        for v in variables(equation):
            if len(v.shape) != len(output.shape):
                continue  # a scalar
            for d, n in enumerate(output.shape):
                if v.shape[d] == n:
                    axes[d] = axes[d] or self.of[v][d]
                    tie(axes[d], self.of[v][d])
        blank = fresh(output.shape)
        self.of[output] = [axis or new for axis, new in zip(axes, blank, strict=True)]

    def _counted(self, equation: Equation) -> None:
        """Statistics over the units of the last axis, of which each is told whether it counts."""
        z, counted = equation.inputs
        if not isinstance(z, Variable) or not isinstance(counted, Variable):
            return
        if len(counted.shape) == 1 and z.shape[-1] == counted.shape[0]:
            tie(self.of[z][-1], self.of[counted][0])
        else:
            mark((*self.flat(z), *self.flat(counted)), "a norm runs over another axis of it")

    def _reduced(self, equation: Equation) -> list[Axis]:
        (v,), gone = variables(equation), [int(d) for d in equation.params["axes"]]
        mark(self.flat(v, gone), SUMMED[equation.name])
        return [axis for d, axis in enumerate(self.of[v]) if d not in gone]


def _transpose(axes: Axes, equation: Equation) -> list[Axis]:
    (v,) = variables(equation)
    return [axes.of[v][d] for d in equation.params["permutation"]]


def _reshape(axes: Axes, equation: Equation) -> list[Axis]:
    (v,), (output,) = variables(equation), equation.outputs
    return axes.of[v] if v.shape == output.shape else regrouped(axes.flat(v), output.shape)


def _squeeze(axes: Axes, equation: Equation) -> list[Axis]:
    (v,), gone = variables(equation), equation.params["dimensions"]
    return [axis for d, axis in enumerate(axes.of[v]) if d not in gone]


def _broadcast(axes: Axes, equation: Equation) -> list[Axis]:
    (output,) = equation.outputs
    found = fresh(output.shape)
    for v in variables(equation)[:1]:
        for d, at in enumerate(equation.params["broadcast_dimensions"]):
            if v.shape[d] == output.shape[at]:
                found[at] = axes.of[v][d]
    return found


def _kept(reason: str, kept: Callable[[Equation, int], bool]) -> Callable:
    """A rule for what leaves some axes as they are, and cuts the others."""

    def rule(axes: Axes, equation: Equation) -> list[Axis]:
        v, (output,) = variables(equation)[0], equation.outputs
        found = fresh(output.shape)
        for d, axis in enumerate(axes.of[v]):
            if kept(equation, d):
                found[d] = axis
            else:
                mark(axis, reason)
        return found

    return rule


def _concatenate(axes: Axes, equation: Equation) -> list[Axis]:
    (output,), along = equation.outputs, equation.params["dimension"]
    found = fresh(output.shape)
    for v in variables(equation):
        mark(axes.of[v][along], "it is joined with other numbers")
        for d, axis in enumerate(axes.of[v]):
            if d != along:
                tie(found[d], axis)
    return found


def _dot(axes: Axes, equation: Equation) -> list[Axis]:
    (cl, cr), (bl, br) = equation.params["dimension_numbers"]
    left, right = equation.inputs
    parts = [axes.of[v] if isinstance(v, Variable) else fresh(shape_of(v)) for v in (left, right)]
    for a, b in (*zip(cl, cr, strict=True), *zip(bl, br, strict=True)):
        tie(parts[0][a], parts[1][b])
    return [
        *(parts[0][d] for d in bl),
        *(axis for d, axis in enumerate(parts[0]) if d not in (*cl, *bl)),
        *(axis for d, axis in enumerate(parts[1]) if d not in (*cr, *br)),
    ]


def _convolution(axes: Axes, equation: Equation) -> list[Axis]:
    spec, (left, right) = equation.params["dimension_numbers"], equation.inputs
    found = fresh(equation.outputs[0].shape)
    if not (isinstance(left, Variable) and isinstance(right, Variable)):
        return found
    a, w = axes.of[left], axes.of[right]
    if equation.params["feature_group_count"] == equation.params["batch_group_count"] == 1:
        tie(a[spec.lhs_spec[1]], w[spec.rhs_spec[1]])
        found[spec.out_spec[0]] = a[spec.lhs_spec[0]]
        found[spec.out_spec[1]] = w[spec.rhs_spec[0]]
    else:
        reason = "a convolution takes it in groups"
        mark((*a[spec.lhs_spec[1]], *w[spec.rhs_spec[0]], *w[spec.rhs_spec[1]]), reason)
        tie(found[spec.out_spec[1]], w[spec.rhs_spec[0]])
    for d in spec.lhs_spec[2:]:
        mark(a[d], "a convolution moves along it")
    return found


def _is_whole(equation: Equation, d: int) -> bool:
    (v,), params = variables(equation), equation.params
    strides = params["strides"] or (1,) * len(v.shape)
    return equation.outputs[0].shape[d] == v.shape[d] and strides[d] == 1


RULES: dict[str, Callable[[Axes, Equation], list[Axis]]] = {
    "transpose": _transpose,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "slice": _kept("some of it is cut out", _is_whole),
    "pad": _kept("it is padded", lambda e, d: not any(e.params["padding_config"][d])),
    "rev": _kept("its order is reversed", lambda e, d: d not in e.params["dimensions"]),
    **dict.fromkeys(
        ("reduce_window_max", "reduce_window_min", "reduce_window_sum"),
        _kept("it is pooled", lambda e, d: e.params["window_dimensions"][d] == 1),
    ),
    **dict.fromkeys(IN_ORDER, _kept("its order matters", lambda e, d: d != e.params["axis"])),
}
