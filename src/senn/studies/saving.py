"""Saving a figure: PNG, SVG, and a JSON with every number that is plotted."""

import json
import os
import platform
import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import matplotlib as mpl
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from senn import __version__
from senn.files import write_atomically
from senn.runs import RunFolderError, strict_json
from senn.studies.options import Options

STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "svg.hashsalt": "senn",
}


def save(
    name: str, figure: Any, options: Options, runs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Write the record of a figure's runs, and the figure made of it; the record."""
    record = make_record(name, figure, options, runs)
    paths = tuple(options.out / f"{name}{end}" for end in (".json", ".png", ".svg"))
    write_atomically(paths[0], _readable(record).encode())
    with mpl.rc_context(STYLE):
        drawn = figure.draw(record)
        if note := _note(record):
            drawn.supxlabel(textwrap.fill(note, 130), fontsize=6, color="0.4")
        drawn.savefig(paths[1], dpi=200)
        drawn.savefig(paths[2], metadata={"Date": None})
    return record


def make_record(
    name: str, figure: Any, options: Options, runs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """All that is known of a figure, as JSON reads it back."""
    found = {"claims": figure.claims(runs), "runs": runs}
    return _as_read({**_header(name, figure, options), **found})


def earlier_runs(name: str, figure: Any, options: Options) -> list[dict[str, Any]]:
    """The runs that the record in the folder holds; a `RunFolderError` unless made alike.

    They may come from different machines, each run says from which.
    """
    path = options.out / f"{name}.json"
    if not path.exists():
        return []
    try:
        record = json.loads(path.read_text("utf-8"))
        runs = [{"machine": record["machine"], **run} for run in record["runs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{str(options.out)!r} holds a damaged {name}.json.") from error
    ours = _as_read(_header(name, figure, options))
    if any(record.get(key) != ours[key] for key in ("quick", "settings")):
        raise RunFolderError(
            f"{str(options.out)!r} holds a {name}.json of other settings: "
            "name another folder, or leave out --resume."
        )
    return runs


def _header(name: str, figure: Any, options: Options) -> dict[str, Any]:
    return {
        "figure": name,
        "command": shlex.join(["senn", *sys.argv[1:]]),
        "machine": machine(),
        "quick": options.quick,
        "stand_ins": figure.stand_ins(options),
        "settings": figure.settings(options),
    }


def _as_read(record: dict[str, Any]) -> dict[str, Any]:
    return json.loads(strict_json(record))


def machine() -> dict[str, Any]:
    """Where the numbers were made."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "senn": __version__,
    }


def rounded(values: Any, digits: int = 4) -> Any:
    """Numbers, or lists of them, at so many significant digits; grids would be large otherwise."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, list | tuple):
        return [rounded(v, digits) for v in values]
    return float(f"{values:.{digits}g}") if isinstance(values, float) else values


def _note(record: dict[str, Any]) -> str:
    if record["quick"]:
        return "The quick form, too short to show anything of the paper's."
    stand_ins = "; ".join(record["stand_ins"])
    return f"Not as in the paper: {stand_ins}." if stand_ins else ""


def plain_logarithmic(axis: Axis) -> None:
    """Label a logarithmic axis 1, 2, 5, 10 …, for it may span less than a power of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor()


def _readable(record: dict[str, Any]) -> str:
    """JSON with a line for every key, but lists of numbers on one."""
    return _dump(record, "") + "\n"


def _dump(value: Any, indent: str) -> str:
    deeper = indent + " "
    if isinstance(value, dict) and value:
        rows = (f"{deeper}{json.dumps(k)}: {_dump(v, deeper)}" for k, v in value.items())
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(v, dict) for v in value):
        return "[\n" + ",\n".join(deeper + _dump(v, deeper) for v in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)
