"""Axes that must grow together: parts of axes, tied to each other and split by what is computed.

Every axis of every array in a module's program is a list of *atoms*, outermost first. An equation
ties the atoms of axes that it asks to be of one size (union–find), and a reshape splits them. An
atom keeps the reasons why it may not grow.
"""

import math
from collections.abc import Iterable, Sequence


class Atom:
    """A part of an axis that nothing has split."""

    def __init__(self, size: int, reasons: Iterable[str] = ()):  # noqa: D107
        self.size = size
        self.reasons = list(reasons)
        self.parts: tuple[Atom, ...] = ()
        self.same_as: Atom | None = None


Axis = list[Atom]


def fresh(shape: Sequence[int]) -> list[Axis]:
    """Axes that nothing is known of."""
    return [[Atom(int(n))] for n in shape]


def root(atom: Atom) -> Atom:
    """The one that stands for all that are tied."""
    while atom.same_as is not None:
        atom = atom.same_as
    return atom


def flat(axes: Iterable[Atom]) -> Axis:
    """The atoms as they are now: those that stand for others, and parts in place of wholes."""
    found: Axis = []
    for atom in map(root, axes):
        found += flat(atom.parts) if atom.parts else [atom]
    return found


def many(atoms: Iterable[Atom]) -> Axis:
    """Those of more than one slot."""
    return [atom for atom in flat(atoms) if atom.size > 1]


def mark(atoms: Iterable[Atom], reason: str) -> None:
    """Say why they may not grow."""
    for atom in flat(atoms):
        if reason not in atom.reasons:
            atom.reasons.append(reason)


def tie(one: Iterable[Atom], other: Iterable[Atom]) -> None:
    """Two axes are of one size, and slot by slot belong together."""
    x, y = flat(one), flat(other)
    if [a.size for a in x] == [b.size for b in y]:
        for a, b in zip(x, y, strict=True):
            _unite(a, b)
        return
    x, y = many(x), many(y)
    while x and y:
        a, b = x[0], y[0]
        if a.size == b.size:
            _unite(a, b)
            x, y = many(x[1:]), many(y[1:])
        elif a.size % b.size == 0:
            _split(a, b.size)
            x, y = many(x), many(y)
        elif b.size % a.size == 0:
            _split(b, a.size)
            x, y = many(x), many(y)
        else:
            mark((*x, *y), CUT)
            return


CUT = "its code regroups it"


def regrouped(atoms: Iterable[Atom], shape: Sequence[int]) -> list[Axis]:
    """The same numbers in another shape."""
    left, axes = many(atoms), []
    for n in shape:
        axis: Axis = []
        while n > 1:
            first = left[0] if left else Atom(n)
            if first.size > n and first.size % n == 0:
                _split(first, n)
                left = many(left)
            elif n % first.size == 0:
                axis.append(first)
                n, left = n // first.size, left[1:]
            else:  # boundaries that are none of another axis
                mark(left, CUT)
                return fresh(shape)
        axes.append(axis or [Atom(1)])
    return axes


def size(atoms: Iterable[Atom]) -> int:
    """Of all of them together."""
    return math.prod(atom.size for atom in atoms)


def _unite(a: Atom, b: Atom) -> None:
    if a is not b:
        b.same_as = a
        a.reasons.extend(reason for reason in b.reasons if reason not in a.reasons)


def _split(atom: Atom, n: int) -> None:
    atom.parts = Atom(n, atom.reasons), Atom(atom.size // n, atom.reasons)
