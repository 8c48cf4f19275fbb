"""The axes of units of a module, who writes and who reads them, and which of them are rigid."""

from collections.abc import Sequence
from typing import NamedTuple

from senn.nn.wrapping.atoms import Atom, many, size
from senn.nn.wrapping.inference import Axes
from senn.nn.wrapping.tracing import Trace, Variable
from senn.nn.wrapping.uses import MapUse, Uses


class Read(NamedTuple):
    """Where a map reads an axis: one of its weight's, as (outer, units, inner)."""

    number: int  # of the map
    axis: int
    outer: int
    inner: int


class Found(NamedTuple):
    """An axis of units that one map or more write alone, or that is given."""

    atom: Atom
    writers: list[int]
    reads: list[Read]


class Layout:
    """Which axes of units there are, of a program whose uses of parameters are known."""

    def __init__(self, trace: Trace, axes: Axes, uses: Uses, names: Sequence[str]):  # noqa: D107
        self.trace, self.axes, self.uses, self.names = trace, axes, uses, names
        self.written = [self._written(use) for use in uses.maps]
        self.given = {id(a) for a in axes.flat(trace.x)}
        self.outputs = axes.flat(trace.outputs[0])
        self.found: dict[int, Found] = {}
        for number, atoms in enumerate(self.written):
            if len(atoms) == 1:
                found = self.found.setdefault(id(atoms[0]), Found(atoms[0], [], []))
                found.writers.append(number)
        for number, use in enumerate(uses.maps):
            for read, atom in self.reads(number, use):
                if id(atom) in self.found:
                    self.found[id(atom)].reads.append(read)

    def name(self, number: int) -> str:
        """Of a map, as the module calls it."""
        return self.names[self.uses.maps[number].leaf].removesuffix(".weight")

    def weight(self, number: int) -> Variable:
        """Of a map."""
        return self.trace.arrays[self.uses.maps[number].leaf]

    def _written(self, use: MapUse) -> list[Atom]:
        atoms = self.axes.flat(self.trace.arrays[use.leaf], use.columns)
        return many(atoms) or atoms[:1]

    def reads(self, number: int, use: MapUse) -> list[tuple[Read, Atom]]:
        """Every atom of the axes that a map sums over, and where it stands."""
        found = []
        for axis in use.rows:
            atoms = self.axes.flat(self.weight(number), [axis])
            for n, atom in enumerate(atoms):
                outer, inner = size(atoms[:n]), size(atoms[n + 1 :])
                found.append((Read(number, axis, outer, inner), atom))
        return found

    def places(self, atom: Atom) -> list[tuple[int, int]]:
        """The parameters, and their axes, that have an atom in them."""
        return [
            (leaf, axis)
            for leaf in dict.fromkeys(self.uses.leaves)
            for axis in range(len(self.trace.arrays[leaf].shape))
            if any(a is atom for a in self.axes.flat(self.trace.arrays[leaf], [axis]))
        ]

    def reason(self, found: Found) -> str:
        """Why an axis that is written may not grow; "" if nothing speaks against it."""
        atom, writers, reads = found
        if len(writers) > 1:
            return "several maps write it: " + ", ".join(map(self.name, writers))
        others = [n for n, atoms in enumerate(self.written) if n not in writers
                  and any(a is atom for a in atoms)]  # fmt: skip
        if others:
            return f"it is a part of what {self.name(others[0])} writes"
        if id(atom) in self.given:
            return "it is as wide as what the module is given"
        if atom.reasons:
            return atom.reasons[0]
        if any(a is atom for a in self.outputs):
            return "it is as wide as the outputs" if reads or len(self.outputs) > 1 else ""
        if not reads:
            return "no linear map reads it"
        numbers = [read.number for read in reads]
        if len(set(numbers)) < len(numbers) or writers[0] in numbers:
            return "one map reads it twice, or writes what it reads"
        if set(self.places(atom)) - self.ports(found):
            return "other parameters are as wide as it"
        return ""

    def ports(self, found: Found) -> set[tuple[int, int]]:
        """The parameters, and their axes, where an axis of units is expected."""
        maps = self.uses.maps
        ports = {(maps[read.number].leaf, read.axis) for read in found.reads}
        ports |= {(maps[w].leaf, axis) for w in found.writers for axis in maps[w].columns}
        carried = {maps[w].bias for w in found.writers}
        carried |= {use.leaf for use in (*self.uses.scales, *self.uses.shifts)}
        carried |= {*self.uses.counted}
        return ports | {place for place in self.places(found.atom) if place[0] in carried}
