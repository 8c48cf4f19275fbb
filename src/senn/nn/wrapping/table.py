"""A network's spaces in words."""

from typing import Any

from senn.nn.spaces import slots, units
from senn.words import counted


def table(network: Any, name: str) -> str:
    """Its spaces with their units and slots, and whether they may grow, or why not."""
    rows = [("space", "units", "slots", "may grow")]
    for space in network.graph.spaces:
        told = "no: the data say how many" if not (space.read and space.written) else "yes"
        said = f"no: {space.rigid}" if space.rigid else told
        rows.append((space.name, str(units(network, space)), str(slots(network, space)), said))
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    lines = [
        f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}"
        for row in rows
    ]
    maps = counted(len(network.graph.maps), "linear map")
    return "\n".join([f"{name}, {network.n_parameters:,} parameters, {maps}:", *lines])
