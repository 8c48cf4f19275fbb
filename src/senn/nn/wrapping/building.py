"""The graph of a module: its spaces and sites, from what is known of its program."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from senn.nn.activation import Activation
from senn.nn.graph import Graph
from senn.nn.spaces import SLOTS_AT_ONCE, Port, Space
from senn.nn.wrapping.activations import AsItIs, of_numbers, through
from senn.nn.wrapping.atoms import Atom, many
from senn.nn.wrapping.inference import ELEMENTWISE
from senn.nn.wrapping.sites import LinearSite, PatchSite, ScaleSite, ShiftSite
from senn.nn.wrapping.spaces import Found, Layout, Read
from senn.nn.wrapping.tails import Tail, between
from senn.nn.wrapping.tracing import Equation, Variable, spelled_out
from senn.nn.wrapping.uses import UnitUse, WrapError

FEW_AT_ONCE = 8  # slots, where each costs something at every position
GIVEN = "it is what the module is given"
ELSE = "the module does more with it than follows one unit at a time"


class Builder:
    """Of a module that calls itself `key`; `refused` says of spaces why they may not grow."""

    def __init__(self, layout: Layout, key: Any, refused: Mapping[str, str]):  # noqa: D107
        self.layout, self.key, self.refused = layout, key, refused
        self.trace, self.uses = layout.trace, layout.uses
        self.positions = [self._positions(n) for n in range(len(self.uses.maps))]
        self.tails: dict[tuple[int, int], Tail] = {}
        self.masked: set[str] = set()  # spaces whose dormant units would say something
        self.free: dict[int, Found] = {}
        self.rigid: dict[int, str] = {}
        for found in layout.found.values():
            reason = refused.get(self._name(found)) or layout.reason(found) or self._tailed(found)
            if reason:
                self.rigid[id(found.atom)] = reason
            else:
                self.free[id(found.atom)] = found
        self._one_each()
        self.plain = self._is_plain()
        self.spaces = self._spaces()

    def graph(self) -> Graph:
        """Of spaces with the inputs first, the outputs last, and their sites."""
        maps = tuple(self._map(number) for number in range(len(self.uses.maps)))
        units = tuple(
            self._unit(kind, use)
            for kind, used in ((ScaleSite, self.uses.scales), (ShiftSite, self.uses.shifts))
            for use in used
        )
        if not self._is_last():
            raise WrapError(
                "The module's outputs are not those of one linear map, which senn.wrap needs: "
                "end it with one, such as eqx.nn.Linear."
            )
        return Graph(tuple(self.spaces.values()), maps, units)

    def _is_last(self) -> bool:
        return any(map(self._is_output, self.layout.found.values()))

    # --- which of them may grow ---------------------------------------------------------------

    def _name(self, found: Found) -> str:
        return "outputs" if self._is_output(found) else self.layout.name(found.writers[0])

    def _is_output(self, found: Found) -> bool:
        return [found.atom] == self.layout.outputs

    def _positions(self, number: int) -> int:
        use = self.uses.maps[number]
        output = self.trace.equations[use.at].outputs[0]
        columns = [self.trace.arrays[use.leaf].shape[k] for k in use.columns]
        return math.prod(output.shape) // math.prod(columns)

    def _tailed(self, found: Found) -> str:
        """Find what is done with units before they are read; a reason if it cannot be told."""
        (writer,) = found.writers
        use, trace = self.uses.maps[writer], self.trace
        start = trace.equations[use.at].outputs[0]
        for read in found.reads:
            reader = self.uses.maps[read.number]
            end = trace.equations[reader.at].inputs[reader.operand]
            way = between(trace, start, end, self._newborn())
            if way is None or len(use.unit_dims) != 1 or any(map(self._of_units, way.beside)):
                return (
                    f"between {self.layout.name(writer)} and {self.layout.name(read.number)} "
                    "it meets other numbers of the example"
                )
            key = (self.key, writer, read.number)
            self.tails[writer, read.number] = Tail(
                key, way.equations, (start, end), way.known, use.unit_dims[0], way.beside
            )
        return ""

    def _of_units(self, variable: Variable) -> bool:
        """Whether it has an axis of units, of whatever space."""
        return any(id(atom) in self.layout.found for atom in many(self.layout.axes.flat(variable)))

    def _newborn(self) -> dict[Variable, Any]:
        """Biases 0, scales 1: those of units that are looked for, which have their own bias."""
        arrays, uses = self.trace.arrays, self.uses
        ones = {arrays[use.leaf] for use in uses.scales}
        zeros = {arrays[use.leaf] for use in uses.shifts}
        zeros |= {arrays[use.bias] for use in uses.maps if use.bias is not None}
        return {v: np.ones(v.shape, v.dtype) for v in ones} | {
            v: np.zeros(v.shape, v.dtype) for v in zeros
        }

    def _one_each(self) -> None:
        """Of what a map reads one axis may grow."""
        taken: dict[int, int] = {}
        for key, found in list(self.free.items()):
            for read in found.reads:
                if taken.setdefault(read.number, key) != key:
                    self.rigid[key] = f"{self.layout.name(read.number)} reads it with another"
                    self.free.pop(key, None)

    def _is_plain(self) -> bool:
        """Whether every map is applied once, and every unit is one number to who reads it."""
        return all(n == 1 for n in self.positions) and all(
            read.outer == read.inner == 1 and self._by_numbers(found)
            for found in self.free.values()
            for read in found.reads
        )

    def _by_numbers(self, found: Found) -> bool:
        tails = [self.tails[found.writers[0], read.number] for read in found.reads]
        return len({id(tail.end) for tail in tails}) == 1 and all(map(_elementwise, tails))

    # --- spaces -------------------------------------------------------------------------------

    def _spaces(self) -> dict[Any, Space]:
        """By what they are of: an atom, or some axis of a map."""
        spaces: dict[Any, Space] = {}
        for key, found in self.layout.found.items():
            spaces[key] = self._written(found, self.rigid.get(key, ""))
        for number, atoms in enumerate(self.layout.written):
            if len(atoms) != 1:
                name, use = self.layout.name(number), self.uses.maps[number]
                port = Port(self._path(use.leaf), use.columns[0])
                key = tuple(map(id, atoms))
                spaces.setdefault(key, Space(name, "", rigid=_apart(atoms)))
                spaces[key] = spaces[key]._replace(written=(*spaces[key].written, port))
        for number in range(len(self.uses.maps)):
            key, read = self._read(number)
            port = Port(self._path(self.uses.maps[number].leaf), read.axis, read.outer, read.inner)
            if key not in spaces:
                spaces[key] = self._given(key, number)
            if port not in spaces[key].read:
                spaces[key] = spaces[key]._replace(read=(*spaces[key].read, port))
        ordered = sorted(spaces, key=lambda key: self._place(key, spaces[key]))
        return {key: spaces[key]._replace(born=f"born.{n}") for n, key in enumerate(ordered)}

    def _place(self, key: Any, space: Space) -> int:
        """Inputs first, the outputs last."""
        found = self.layout.found.get(key)
        return 2 if found and self._is_output(found) else int(bool(space.written))

    def _path(self, leaf: int) -> str:
        return f"module.{self.layout.names[leaf]}"

    def _written(self, found: Found, rigid: str) -> Space:
        maps, layout = self.uses.maps, self.layout
        written = tuple(
            Port(self._path(maps[w].leaf), axis)
            for w in found.writers
            for axis in maps[w].columns
            if (maps[w].leaf, axis) in layout.places(found.atom)
        )
        known = {port.leaf for port in written}
        read = {self._path(maps[r.number].leaf) for r in found.reads}
        carried = tuple(
            Port(self._path(leaf), axis)
            for leaf, axis in layout.places(found.atom)
            if self._path(leaf) not in known | read
        ) if not rigid or self._is_output(found) else ()  # fmt: skip
        activation = AsItIs
        if found.reads and not rigid:
            activation, silent = self._activation(found)
            self.masked |= set() if silent else {self._name(found)}
        few = self.positions[found.writers[0]] > 1
        return Space(
            self._name(found), "", written, (), carried, activation, rigid,
            FEW_AT_ONCE if few else SLOTS_AT_ONCE,
        )  # fmt: skip

    def _activation(self, found: Found) -> tuple[Activation, bool]:
        tails = [self.tails[found.writers[0], read.number] for read in found.reads]
        return of_numbers(tails[0]) if self.plain else through(tails)

    def _read(self, number: int) -> tuple[Any, Read]:
        """What a map reads, as the key of a space: what may grow, else what is written, or all."""
        reads = self.layout.reads(number, self.uses.maps[number])
        for known in (self.free, self.layout.found, self.layout.given):
            for read, atom in reads:
                if id(atom) in known:
                    return id(atom), read
        axis = self.uses.maps[number].rows[0]
        atoms = many(self.layout.axes.flat(self.layout.weight(number), [axis]))
        return tuple(map(id, atoms)), Read(number, axis, 1, 1)

    def _given(self, key: Any, number: int) -> Space:
        """A space that no map writes."""
        if key in self.layout.given:
            name, rigid = "inputs", self.refused.get("inputs") or self._given_rigid(key)
        else:
            name, rigid = f"inputs of {self.layout.name(number)}", ELSE
        return Space(name, "", rigid=rigid)

    def _given_rigid(self, key: int) -> str:
        """Why no more inputs may be set aside for."""
        trace, layout = self.trace, self.layout
        atoms = [a for a in layout.axes.flat(trace.x) if id(a) == key]
        readers = [use for n, use in enumerate(self.uses.maps)
                   if any(a is atoms[0] for _, a in layout.reads(n, use))]  # fmt: skip
        direct = all(trace.equations[u.at].inputs[u.operand] is trace.x for u in readers)
        alone = len(layout.places(atoms[0])) == len(readers) and len(trace.x.shape) == 1
        return "" if self.plain and direct and alone and not atoms[0].reasons else GIVEN

    # --- sites --------------------------------------------------------------------------------

    def _map(self, number: int) -> LinearSite:
        use = self.uses.maps[number]
        key, read = self._read(number)
        equation, weight = self.trace.equations[use.at], self.trace.arrays[use.leaf]
        place = use.rows.index(read.axis)
        outer, inner = (
            n * math.prod(weight.shape[k] for k in ks)
            for n, ks in ((read.outer, use.rows[:place]), (read.inner, use.rows[place + 1 :]))
        )
        found = self.free.get(key) if isinstance(key, int) else None
        tail = self.tails.get((found.writers[0], number)) if found else None
        space = self.spaces[key]
        direct = space.name == "inputs" and equation.inputs[use.operand] is self.trace.x
        site = LinearSite(
            (self._path(use.leaf),), None if use.bias is None else self._path(use.bias), (space,),
            direct and self.plain and use.bias is not None and len(self.trace.x.shape) == 1,
            at=use.at, operand=use.operand, weight_rows=use.rows, weight_columns=use.columns,
            unit_axis=self._unit_axis(number), read_dims=use.read_dims, unit_dims=use.unit_dims,
            n_positions=self.positions[number], outer=outer, inner=inner,
            masked=space.name in self.masked, tail=tail,
            beside_at=tuple(map(self.trace.place, tail.beside)) if tail else (),
        )  # fmt: skip
        return site if equation.name == "dot_general" else _patches(site, equation)

    def _unit_axis(self, number: int) -> int:
        use, (atom, *_) = self.uses.maps[number], self.layout.written[number]
        places = self.layout.places(atom)
        return next((k for k in use.columns if (use.leaf, k) in places), use.columns[0])

    def _unit(self, kind: type[ScaleSite], use: UnitUse) -> ScaleSite:
        return kind(self._path(use.leaf), None, use.at, use.operand, use.unit_dims)


def _apart(atoms: list[Atom]) -> str:
    """Why what a map writes may not grow if the module takes it as several axes."""
    sizes = " × ".join(str(atom.size) for atom in atoms)
    reasons = [reason for atom in atoms for reason in atom.reasons[:1]]
    return f"the module takes it as {sizes}" + (f", and of these: {reasons[0]}" if reasons else "")


def _patches(site: LinearSite, equation: Equation) -> PatchSite:
    params, (_, weight) = equation.params, equation.inputs
    spec = params["dimension_numbers"]
    fields = {name: getattr(site, name) for name in site.__dataclass_fields__}
    return PatchSite(
        **fields,
        dims=(tuple(spec.lhs_spec), tuple(spec.out_spec)),
        weight_dims=tuple(spec.rhs_spec),
        kernel=tuple(weight.shape[d] for d in spec.rhs_spec[2:]),
        strides=tuple(params["window_strides"]),
        padding=tuple((int(a), int(b)) for a, b in params["padding"]),
        dilation=tuple(params["rhs_dilation"]),
    )


def _elementwise(tail: Tail) -> bool:
    """Whether a tail is a function of every number by itself."""
    return (
        not tail.beside
        and all(
            e.name in ELEMENTWISE or (e.name == "broadcast_in_dim" and not _of_units(e, tail))
            for e in spelled_out(tail.equations)
        )
        and tail.start.shape == tail.end.shape
    )


def _of_units(equation: Equation, tail: Tail) -> bool:
    return any(isinstance(v, Variable) and v not in tail.known for v in equation.inputs)
