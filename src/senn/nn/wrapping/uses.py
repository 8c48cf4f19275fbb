"""What a module does with each of its parameters; whoever is used otherwise is refused."""

from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from senn.nn.wrapping.atoms import Axis, flat, fresh, many, mark, regrouped
from senn.nn.wrapping.inference import Axes
from senn.nn.wrapping.tracing import COUNTED, Equation, Trace, Variable


class WrapError(ValueError):
    """A module that cannot be wrapped; the message is one sentence."""


class View(NamedTuple):
    """A parameter in another shape: which parts of its axes are on which dimension."""

    leaf: int
    dims: list[Axis]


class MapUse(NamedTuple):
    """A linear map: a product or a convolution of a weight and something else."""

    leaf: int
    at: int  # number of the equation
    operand: int  # which of its two inputs is read
    rows: tuple[int, ...]  # axes of the weight that are summed over
    columns: tuple[int, ...]  # and those of its outputs
    read_dims: tuple[int, ...]  # what is summed over, in the order of the weight's axes
    unit_dims: tuple[int, ...]  # of the output, in the order of the weight's axes
    bias: int | None = None
    output: Any = None  # the variable that holds it, the bias included


class UnitUse(NamedTuple):
    """Numbers that something else is multiplied by, or that are added to it, one for each unit."""

    leaf: int
    at: int
    operand: int  # which of its two inputs is the other one
    unit_dims: tuple[int, ...]  # of the output, in the order of the parameter's axes


class Uses(NamedTuple):
    """All that a module does with its parameters."""

    maps: tuple[MapUse, ...]
    scales: tuple[UnitUse, ...]
    shifts: tuple[UnitUse, ...]
    counted: tuple[int, ...]  # those that say which units count in the statistics of a norm

    @property
    def leaves(self) -> list[int]:
        """The parameters that are used, as often as they are."""
        every = (*self.maps, *self.scales, *self.shifts)
        biases = (m.bias for m in self.maps if m.bias is not None)
        return [*(use.leaf for use in every), *biases, *self.counted]


TWO = ("add", "add_any", "conv_general_dilated", "dot_general", "mul")  # what is done with two
VIEWS = ("transpose", "reshape", "squeeze", "broadcast_in_dim", "convert_element_type", "copy",
         "copy_p", "reduce_precision")  # fmt: skip


def uses(trace: Trace, axes: Axes, names: Sequence[str]) -> Uses:
    """Every use of every parameter; a `WrapError` for one that is none of those known."""
    return _Search(trace, axes, names).found()


class _Search:
    def __init__(self, trace: Trace, axes: Axes, names: Sequence[str]):
        self.trace, self.axes, self.names = trace, axes, names
        self.leaves = [fresh(v.shape) for v in trace.arrays]
        self.views = {v: View(n, self.leaves[n]) for n, v in enumerate(trace.arrays)}
        self.readers = Counter(
            v for e in trace.equations for v in e.inputs if isinstance(v, Variable)
        )
        self.maps: list[MapUse] = []
        self.units: dict[str, list[UnitUse]] = {"mul": [], "add": []}
        self.counted: list[int] = []
        self.made_by: dict[Variable, int] = {}  # numbers of maps by what they output

    def found(self) -> Uses:
        for number, equation in enumerate(self.trace.equations):
            self._take(number, equation)
        scales, shifts = (tuple(self.units[kind]) for kind in ("mul", "add"))
        every = Uses(tuple(self.maps), scales, shifts, tuple(self.counted))
        for leaf, count in Counter(every.leaves).items():
            if count > 1:
                raise WrapError(
                    f"{self.names[leaf]} is used {count} times; senn.wrap knows parameters that "
                    "are used once: give each use a parameter of its own."
                )
        return every

    def _take(self, number: int, equation: Equation) -> None:
        given = [
            n for n, v in enumerate(equation.inputs) if isinstance(v, Variable) and v in self.views
        ]
        name = equation.name
        if name in ("dot_general", "conv_general_dilated") and len(given) != 1:
            self._activations(equation)
        if not given:
            self._pass_on(equation)
        elif name == COUNTED and given == [1]:
            self.counted.append(self.views[equation.inputs[1]].leaf)
        elif len(given) > 1 and name in TWO:
            self._refuse(equation, given[0], "together with another parameter")
        elif name in VIEWS:
            self._view(equation)
        elif name == "dot_general":
            self.maps.append(self._product(number, equation, given[0]))
            self.made_by[equation.outputs[0]] = len(self.maps) - 1
        elif name == "conv_general_dilated":
            self.maps.append(self._convolution(number, equation, given[0]))
            self.made_by[equation.outputs[0]] = len(self.maps) - 1
        elif name in ("add", "add_any", "mul"):
            self._units(number, equation, given[0])
        else:
            self._refuse(equation, given[0])

    def _refuse(self, equation: Equation, at: int, how: str = "") -> None:
        leaf = self.names[self.views[equation.inputs[at]].leaf]
        way = how or f"by {equation.name}"
        raise WrapError(
            f"{leaf} is used {way}, which senn.wrap does not follow: it knows products and "
            "convolutions with something computed of the example, biases, and scales."
        )

    def _activations(self, equation: Equation) -> None:
        """A product of two things that are no weights sums over what may then not grow."""
        dims = (equation.params["dimension_numbers"][0] if equation.name == "dot_general" else
                (range(9), range(9)))  # fmt: skip
        for v, contracted in zip(equation.inputs, dims, strict=True):
            if isinstance(v, Variable):
                at = [d for d in contracted if d < len(v.shape)]
                mark(self.axes.flat(v, at), "it is multiplied with other numbers and summed over")

    def _pass_on(self, equation: Equation) -> None:
        """The same numbers in another shape are still what a map outputs."""
        v = equation.inputs[0] if equation.inputs else None
        if equation.name in VIEWS and isinstance(v, Variable) and v in self.made_by:
            (output,) = equation.outputs
            if prod(output.shape) == prod(v.shape) and self.readers[v] == 1:
                self.made_by[output] = self.made_by[v]
                self._outputs(self.made_by[v], output)

    def _outputs(self, number: int, variable: Variable) -> None:
        self.maps[number] = self.maps[number]._replace(output=variable)

    def _view(self, equation: Equation) -> None:
        (v,), (output,) = equation.inputs, equation.outputs
        leaf, dims = self.views[v]
        if equation.name == "transpose":
            dims = [dims[d] for d in equation.params["permutation"]]
        elif equation.name == "squeeze":
            gone = equation.params["dimensions"]
            dims = [axis for d, axis in enumerate(dims) if d not in gone]
        elif equation.name == "reshape" and v.shape != output.shape:
            dims = regrouped((a for axis in dims for a in axis), output.shape)
        elif equation.name == "broadcast_in_dim":
            blank = fresh(output.shape)
            for d, at in enumerate(equation.params["broadcast_dimensions"]):
                if v.shape[d] == output.shape[at]:
                    blank[at] = dims[d]
            dims = blank
        self.views[output] = View(leaf, dims)

    def _in_order(self, view: View, dims: Sequence[int]) -> tuple[list[int], list[int]] | None:
        """The axes of a parameter that some dimensions are, and those as they stand in it."""
        leaf = self.leaves[view.leaf]
        order = {id(atom): n for n, atom in enumerate(flat(a for axis in leaf for a in axis))}
        at = {d: [order[id(a)] for a in flat(view.dims[d]) if id(a) in order] for d in dims}
        inside = {n for numbers in at.values() for n in numbers}
        parts = [{order[id(a)] for a in flat(axis)} for axis in leaf]
        axes = [k for k, numbers in enumerate(parts) if numbers & inside]
        placed = sorted(dims, key=lambda d: at[d] or [-1])
        sequence = [n for d in placed for n in at[d]]
        if sequence != sorted(sequence) or any(parts[k] - inside for k in axes):
            return None
        return axes, placed

    def _product(self, number: int, equation: Equation, weight: int) -> MapUse:
        numbers, read = equation.params["dimension_numbers"], 1 - weight
        (contracted, batch), view = numbers, self.views[equation.inputs[weight]]
        if batch[0]:
            self._refuse(equation, weight, "as a stack of weights, one for each of several places")
        taken = contracted[weight]
        pairs = dict(zip(taken, contracted[read], strict=True))
        free = [d for d in range(len(view.dims)) if d not in taken]
        rows, columns = self._in_order(view, taken), self._in_order(view, free)
        if not free:
            self._refuse(equation, weight, "as a vector, so that what comes out is no unit")
        used, kept = equation.inputs[weight], self.trace.arrays[view.leaf]
        whole = prod(used.shape) == prod(kept.shape)
        if rows is None or columns is None or not taken or not whole:
            self._refuse(equation, weight, "in a shape that mixes its inputs and outputs")
        assert rows is not None
        assert columns is not None
        others = len(equation.outputs[0].shape) - len(free)
        first = 0 if weight == 0 else others
        out = {d: first + n for n, d in enumerate(free)}
        every = range(len(self.leaves[view.leaf]))
        return MapUse(
            view.leaf, number, read, tuple(rows[0]),
            tuple(k for k in every if k not in rows[0]),
            tuple(pairs[d] for d in rows[1]), tuple(out[d] for d in columns[1]),
            output=equation.outputs[0],
        )  # fmt: skip

    def _convolution(self, number: int, equation: Equation, weight: int) -> MapUse:
        params, view = equation.params, self.views[equation.inputs[weight]]
        spec = params["dimension_numbers"]
        if weight != 1:
            self._refuse(equation, weight, "as what a convolution moves along")
        if params["feature_group_count"] != 1 or params["batch_group_count"] != 1:
            self._refuse(equation, weight, "by a convolution in groups")
        if any(n != 1 for n in params["lhs_dilation"]):
            self._refuse(equation, weight, "by a transposed convolution")
        out, *taken = spec.rhs_spec
        rows, columns = self._in_order(view, taken), self._in_order(view, [out])
        if rows is None or columns is None:
            self._refuse(equation, weight, "in a shape that mixes its inputs and outputs")
        assert rows is not None
        every = range(len(self.leaves[view.leaf]))
        return MapUse(
            view.leaf, number, 0, tuple(rows[0]), tuple(k for k in every if k not in rows[0]),
            tuple(spec.rhs_spec.index(d) - 1 for d in rows[1]), (spec.out_spec[1],),
            output=equation.outputs[0],
        )  # fmt: skip

    def _units(self, number: int, equation: Equation, at: int) -> None:
        """A bias, or numbers that are added or multiplied by."""
        other, view = equation.inputs[1 - at], self.views[equation.inputs[at]]
        if not isinstance(other, Variable):
            self._refuse(equation, at)
        (output,) = equation.outputs
        made_by = self.made_by.get(other)
        if equation.name != "mul" and made_by is not None and self._is_bias(view, made_by, other):
            self.maps[made_by] = self.maps[made_by]._replace(bias=view.leaf, output=output)
            self.made_by[output] = made_by
            return
        own = {id(a) for a in flat(a for axis in self.leaves[view.leaf] for a in axis)}
        spans = [{id(a) for a in many(axis)} for axis in view.dims]  # others are repeated
        placed = self._in_order(view, [d for d, span in enumerate(spans) if span & own])
        if placed is None:
            self._refuse(equation, at)
        assert placed is not None
        kind = "mul" if equation.name == "mul" else "add"
        self.units[kind].append(UnitUse(view.leaf, number, 1 - at, tuple(placed[1])))

    def _is_bias(self, view: View, made_by: int, other: Variable) -> bool:
        """Whether there is one number for every output of a map that has no bias yet."""
        use = self.maps[made_by]
        if use.bias is not None or self.readers[other] != 1:
            return False
        weight, bias = self.trace.arrays[use.leaf], self.trace.arrays[view.leaf]
        units = [id(a) for a in many(self.axes.flat(weight, use.columns))]
        return [id(a) for a in many(self.axes.flat(bias))] == units
