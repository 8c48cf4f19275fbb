"""What was learned of the columns of a table, and how it makes the inputs of a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from senn.columns.table import Table
from senn.readers import DataError
from senn.standalone import numpy_columns
from senn.words import quoted

KINDS = ("number", "flag", "date", "category", "constant", "empty", "text")


@dataclass(frozen=True)
class Columns:
    """How each column of a table becomes inputs, as `senn.standalone.numpy_columns` has it."""

    specs: tuple[dict[str, Any], ...]
    single: bool = False  # whether float32 holds the numbers of the rows to train on exactly

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are called."""
        return tuple(spec["name"] for spec in self.specs)

    def named(self, names: Sequence[str]) -> "Columns":
        """The same by other names."""
        specs = ({**spec, "name": name} for spec, name in zip(self.specs, names, strict=True))
        return Columns(tuple(specs), self.single)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The column of each input [I]."""
        names = [[spec["name"]] * numpy_columns.width(spec) for spec in self.specs]
        return tuple(name for part in names for name in part)

    @cached_property
    def size(self) -> int:
        """How many inputs they become."""
        return sum(numpy_columns.width(spec) for spec in self.specs)

    @cached_property
    def are_plain(self) -> bool:
        """Whether inputs are the columns as they are, but for gaps that training did not have."""
        return all(spec["kind"] == "number" and not spec["gaps"] for spec in self.specs)

    def encode(self, table: Table) -> np.ndarray:
        """Inputs [N, I] in float64; a `DataError` names what cannot be read."""
        try:
            return numpy_columns.encode(self.specs, table.columns, table.first)
        except ValueError as error:
            raise DataError(str(error)) from error

    def filled(self, x: np.ndarray) -> np.ndarray:
        """Rows [N, I] of plain columns, their gaps filled."""
        gaps = np.isnan(x)
        if not gaps.any():
            return x
        fills = np.array([spec["fill"] for spec in self.specs], x.dtype)
        return np.where(gaps, fills, x)


def columns_from(specs: Any, names: Sequence[str], single: Any) -> Columns:
    """Columns as a file has them; a `ValueError`, `TypeError` or `KeyError` for others."""
    if not isinstance(single, bool):
        raise ValueError("it does not say whether its columns are of float32")
    if not isinstance(specs, list) or [spec["name"] for spec in specs] != list(names):
        raise ValueError("its columns are not those of its feature names")
    for spec in specs:
        _check(spec)
    return Columns(tuple(specs), single)


def plain_columns(names: Sequence[str], fills: np.ndarray, single: bool) -> Columns:
    """Columns of numbers that are inputs as they are."""
    specs = [
        {"name": name, "kind": "number", "fill": fill, "gaps": False}
        for name, fill in zip(names, fills.tolist(), strict=True)
    ]
    return Columns(tuple(specs), single)


def _check(spec: dict[str, Any]) -> None:
    kind = spec["kind"]
    if kind not in KINDS:
        raise ValueError(f"it has a column of the unknown kind {quoted([kind])}")
    if kind == "category":
        _check_category(spec)
    elif kind not in numpy_columns.LEFT_OUT:
        cycles = spec.get("cycles", ())
        numbers = [float(spec["fill"]), *map(float, cycles)]
        right = np.isfinite(numbers).all() and all(cycle > 0 for cycle in cycles)
        if not right or type(spec["gaps"]) is not bool:
            raise ValueError("it has a column without a number to fill gaps with")
        if spec.get("mark", ".") not in numpy_columns.MARKS:
            raise ValueError("it has a column with an unknown decimal mark")
        if not isinstance(spec.get("format", ""), str):
            raise ValueError("it has a column whose format is no text")


def _check_category(spec: dict[str, Any]) -> None:
    levels = spec["levels"]
    texts = isinstance(levels, list) and all(type(level) is str for level in levels)
    if not texts or len(set(levels)) < len(levels) or type(spec["numeric"]) is not bool:
        raise ValueError("it has a column whose levels are not texts, each once")
    if "values" not in spec:
        whole = all(type(slot) is int and -1 <= slot <= len(levels) + 1 for slot in spec["slots"])
        if not whole or len(spec["slots"]) != len(levels) + 2:
            raise ValueError("it has a column whose slots are not one a level")
    values = numpy_columns.category_values(spec)
    if values.ndim != 2 or len(values) != len(levels) + 2 or not np.isfinite(values).all():
        raise ValueError("it has a column whose levels have no numbers")
