"""What the inputs that columns become are called, for people who read of them."""

from typing import Any

from senn.columns.described import cycle_name
from senn.columns.encoder import Columns
from senn.standalone import numpy_columns


def input_names(columns: Columns) -> list[str]:
    """Of each input the column, and what of it: a level, a gap, where a date stands in a cycle."""
    return [name for spec in columns.specs for name in _names(spec)]


def _names(spec: dict[str, Any]) -> list[str]:
    name = spec["name"]
    if spec["kind"] in numpy_columns.LEFT_OUT:
        return []
    if spec["kind"] == "category":
        return _names_of_levels(spec)
    waves = [
        f"{name}: {wave} of the {cycle_name(cycle)}"
        for cycle in spec.get("cycles", ())
        for wave in ("sine", "cosine")
    ]
    return [name, *waves, *([f"{name}: a gap"] if spec["gaps"] else [])]


def _names_of_levels(spec: dict[str, Any]) -> list[str]:
    name, levels = spec["name"], spec["levels"]
    if "values" in spec:  # two in one input, 1 for the second
        return [f"{name} = {levels[1]}" if len(levels) > 1 else f"{name}: a gap"]
    *slots, gap, other = spec["slots"]
    found = {gap: f"{name}: a gap", other: f"{name}: others"}
    found |= {
        slot: f"{name} = {level}"
        for slot, level in zip(slots, levels, strict=True)
        if slot != other
    }
    return [found[slot] for slot in range(max(found) + 1)]
