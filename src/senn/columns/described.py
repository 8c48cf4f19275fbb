"""What was done with the columns of a table, in words."""

from typing import Any

from senn.columns.encoder import Columns
from senn.standalone import numpy_columns

_LEFT_OUT = {
    "constant": "left out: a single value",
    "empty": "left out: empty",
    "text": "left out: text that hardly ever comes twice",
}
_MARKS = {",": "decimal commas"}
_CYCLES = {365.2425: "year", 7.0: "week", 1.0: "day"}


def treatments(columns: Columns) -> list[dict[str, Any]]:
    """Of each column its name, its kind, how many inputs it becomes, and how, in words."""
    return [
        {
            "name": spec["name"],
            "kind": spec["kind"],
            "inputs": numpy_columns.width(spec),
            "treatment": _treatment(spec),
        }
        for spec in columns.specs
    ]


def cycle_name(days: float) -> str:
    """`year`, `week`, `day`."""
    return _CYCLES.get(days, f"{days:g} days")


def _treatment(spec: dict[str, Any]) -> str:
    kind = spec["kind"]
    if kind in _LEFT_OUT:
        return _LEFT_OUT[kind]
    parts = [_category(spec) if kind == "category" else _measured(spec)]
    return "; ".join([*parts, *filter(None, [spec.get("note")])])


def _measured(spec: dict[str, Any]) -> str:
    parts = [f"{spec['kind']}s"]
    if spec.get("mark") in _MARKS:
        parts.append(_MARKS[spec["mark"]])
    if spec.get("format", "iso") != "iso":
        parts.append(f"written {spec['format']}")
    if spec.get("cycles"):
        known = [cycle_name(cycle) for cycle in spec["cycles"]]
        parts.append(f"as days since 1970 and the time of {' and '.join(known)}")
    if spec["gaps"]:
        parts.append(f"gaps filled with {spec['fill']:.6g} and told by an input")
    return ", ".join(parts)


def _category(spec: dict[str, Any]) -> str:
    n = len(spec["levels"])
    if "values" in spec:
        gap = ", one of them a gap" if n == 1 else ""
        return f"2 categories in one input{gap}"
    *slots, gap, unknown = spec["slots"]
    rest = sum(slot == unknown for slot in slots) if unknown >= 0 else 0
    parts = [f"{n:,} categories, one-hot"]
    if rest:
        parts.append(f"the {rest:,} rarest together")
    if gap >= 0 and gap != unknown:
        parts.append("gaps are one more")
    return ", ".join(parts)


def described(columns: Columns) -> list[tuple[str, str]]:
    """A short table: how columns are treated, and which; those treated alike in one row."""
    rows: dict[str, list[str]] = {}
    for spec in columns.specs:
        kind, name = _kind_of_row(spec)
        rows.setdefault(kind, []).append(name)
    return [(kind, ", ".join(names)) for kind, names in rows.items()]


def _kind_of_row(spec: dict[str, Any]) -> tuple[str, str]:
    """The row of the short table that a column belongs to, and what is said of it there."""
    if spec["kind"] == "category":
        n, slots = len(spec["levels"]), spec.get("slots", (-1, -1))
        gap = slots[-2] != slots[-1]
        row = "categories, one-hot, gaps are one more" if gap else "categories, one-hot"
        return row, f"{spec['name']} ({n:,})"
    row = _treatment({**spec, "fill": 0.0} if "fill" in spec else spec)
    return row.replace("gaps filled with 0 and", "gaps filled with the median and"), spec["name"]
