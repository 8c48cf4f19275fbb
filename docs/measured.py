"""The figures of the design pages, taken from the files that the repository's commands wrote.

Their tables are not typed: a page says `{{ search }}`, and the table is made here when the site is
built. So pages follow a benchmark that is run anew, and cannot disagree with it.
"""

import json
import runpy
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECORDS = runpy.run_path(str(ROOT / "experiments/tables.py"))  # a function for each
Row = dict[str, Any]
EARLIER = {"2 points before": 0.02, "1 point before": 0.01}  # the optimisers' marks on the way


def substitutions() -> dict[str, str]:
    """Every table in MyST Markdown, by the name that pages use."""
    return {name: _made(*source) for name, source in SOURCES.items()}


def _made(file: str, command: str, make: Callable[[Any], str]) -> str:
    path = ROOT / file
    found = json.loads(path.read_text("utf-8")) if path.exists() else None
    made = found and make(found)
    if not made:
        return f"*Not measured yet: `{command}` writes `{file}`.*"
    return f"{made}\n\n{_source(command, file, found)}"


def _source(command: str, file: str, found: Row) -> str:
    machine = found["machine"]
    if "processor" in machine:  # of `senn reproduce`, whose runs may be of several machines
        return f"*From* `{command}`, *which wrote* `{file}` *({RECORDS['processors'](found)}).*"
    day = machine["date"].split("T")[0]
    cores = "one core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    return (
        f"*From* `{command}`, *which wrote* `{file}` *on {day} ({machine['cpu']}, {cores}, "
        f"XLA threads: {machine['xla_threads']}).*"
    )


def table(rows: Sequence[Row]) -> str:
    """Rows of text as a Markdown table, headed by the keys of the first; nothing without rows."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([str(v) for v in r.values()] for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def columns(rows: Iterable[Row], texts: dict[str, str]) -> str:
    """A table with a column for each text, whose fields are entries of the row."""
    return table([{head: text.format_map(row) for head, text in texts.items()} for row in rows])


def search(found: Row) -> str:
    """What each search found from one saved state, how long it took, and the paper would take."""
    shown = columns(found["results"], {
        "search": "{search}",
        "proposals": "{candidates}",
        "steps": "{steps}",
        "best held-out Δη′": "{score:.2g}",
        "from, to": "{lowest:.2g}, {highest:.2g}",
        "seconds": "{seconds:.3g}",
    })  # fmt: skip
    seconds = found["paper_seconds_extrapolated"]
    ratio = found["ratios"]["projection_to_paper_protocol"]
    return (
        f"{shown}\n\nThe paper's 10,000 proposals of 300 steps each would take "
        f"{seconds:,.0f} s (extrapolated from those that fit into a minute), {1 / ratio:,.0f} "
        "times as long as `Projection`."
    )


def optimizers(found: Row) -> str:
    """How soon each optimiser reaches the mark."""
    mark, rows = found["task"]["mark"], found["table"]
    # Records made before these marks were told of have no such columns: not "never reached".
    earlier = {name: mark - below for name, below in EARLIER.items() if name in rows[0]}
    rows = [
        {**row, **{n: "–" if row[n] is None else f"{row[n]:.3g} s" for n in earlier}}
        for row in rows
    ]
    return columns(rows, {
        "optimiser": "{optimiser}",
        "metric": "{metric}",
        **{f"to {at:.0%}": f"{{{name}}}" for name, at in earlier.items()},
        "reached": "{reached} of {of}",
        "steps": "{steps:.0f}",
        "seconds": "{seconds:.3g}",
        "ms a step": "{ms a step:.3g}",
        "accuracy at the end": "{accuracy at the end:.4f}",
    })  # fmt: skip


def overhead(found: Row) -> str:
    """A grown run beside one of as many steps with all units from the start."""
    return columns(found["table"], {
        "compilation cache": "{cache}",
        "grown": "{grown:.1f} s",
        "of it growth": "{of it growth:.1f} s",
        "of it compilation": "{compilation:.1f} s",
        "fixed size": "{fixed:.1f} s",
        "its compilation": "{its compilation:.1f} s",
        "ratio": "{ratio:.2f}",
    })  # fmt: skip


def conv(found: Row) -> str:
    """Grown convolutional networks, and networks of their sizes from the start."""
    rows = [
        {"seed": run["seed"], "way": name.replace("_", " "), **run[name]}
        for run in found["data"]["mnist"]["runs"]
        for name in ("grown", "from_the_start")
    ]
    return columns(rows, {
        "seed": "{seed}",
        "channels": "{way}",
        "in the end": "{hidden_sizes}",
        "parameters": "{n_parameters:,}",
        "test accuracy": "{test_score:.4f}",
        "validation": "{validation_score:.4f}",
        "seconds": "{process_seconds:.0f}",
        "of it growth": "{growth_seconds:.0f}",
    })  # fmt: skip


def waiting(found: Row) -> str:
    """What was wanted of waiting, and what was found."""
    parts = ("fits", "tables", "command", "predict")
    goals = [goal for part in parts for goal in found.get(part, {}).get("goals", ())]
    keys = ("found", "wanted", "aim")
    told = [{k: "" if g[k] is None else f"{g[k]:.3g}" for k in keys} for g in goals]
    return table([{"": g["what"], **t} for g, t in zip(goals, told, strict=True)])


def scaling(found: Row) -> str:
    """One thread's time over that of all cores, by shape."""
    rows = [
        {k: f"{v:.2f}" if isinstance(v, float) else v for k, v in r.items()}
        for r in found["speedup"]
    ]
    return f"{table(rows)}\n\n{found['crossover']}"


def devices(found: Row) -> str:
    """The work of each of several devices, over its share of what one does alone."""
    counts = [row for row in found["table"] if row["devices"] == 1]
    shares = {(r["task"], r["what"], r["devices"]): r for r in found["table"]}

    def row(first: Row) -> Row:
        key = first["task"], first["what"]
        of = {d: shares[(*key, d)] for d in (2, 4, 8)}
        return {
            "task": key[0],
            "of": key[1],
            "operations of one device": f"{first['operations']:.3g}",
            **{f"{d} devices": f"{r['of its share']:.3f}" for d, r in of.items()},
            "bytes exchanged": f"{of[8]['bytes']:,}",
        }

    return table([row(first) for first in counts])


def by_formula(found: Row) -> str:
    """What the formula for a step of K-FAC says, over what XLA counts."""
    return columns((r for r in found["table"] if r["by formula"]), {
        "task": "{task}",
        "devices": "{devices}",
        "operations": "{operations:.4g}",
        "by formula": "{by formula:.4g}",
    })  # fmt: skip


def same_on_devices(found: Row) -> str:
    """How far eight devices are from one, and one from itself."""

    def told(value: float | None) -> str:
        return "other sizes" if value is None else f"{value:.1e}"

    return table([
        {
            "numbers": row["precision"],
            "data": row["task"],
            "optimiser": row["optimizer"],
            "units": row["units"],
            "decisions": row["decisions"],
            "the same": "all" if row["same"] else "not all",
            "parameters differ by": told(row["relative"]),
            "from a start beside it": told(row["relative from beside"]),
        }
        for row in found["table"]
    ])  # fmt: skip


def devices_plan(found: Row) -> str:
    """The share of the ideal speed that the counts predict."""
    rows = [
        {
            "GB/s": bandwidth,
            "task": row["task"],
            "of": row["what"],
            **{f"{d} devices": f"{row[d]:.2f}" for d in ("8", "16", "64", "256")},
        }
        for bandwidth, of in found["plan"].items()
        for row in of
    ]
    return table(rows)


def sizes(found: Row) -> str:
    """SENN by its defaults against the best of scikit-learn's MLPs."""
    rows = ({"data": name, **of["row"]} for name, of in found["data"].items())
    return columns(rows, {
        "data": "{data}",
        "score": "{senn:.3f}",
        "scikit-learn": "{sklearn:.3f}",
        "difference": "{difference:+.3f} ± {± stderr:.3f}",
        "so senn": "{so senn}",
        "units": "{units}, {their units}",
        "seconds, cold": "{cold/search:.2g} ×",
        "warm": "{warm/search:.2g} ×",
    })  # fmt: skip


def tables(found: Row) -> str:
    """SENN by its defaults beside other programs, on real tables."""
    rows = ({**of, "log-loss": of["log-loss"] or float("nan")} for of in found["summary"])
    return columns(rows, {
        "of": "{of}",
        "over": "{to}",
        "tables": "{tables}",
        "error": "{error:.3f}",
        "log-loss": "{log-loss:.3f}",
        "senn's seconds": "{senn s:.0f}",
        "theirs": "{their s:.0f}",
    })  # fmt: skip


def unbounded(found: Row) -> str:
    """What MNIST grows to without a budget."""
    runs = found["runs"]
    sizes = ", ".join("+".join(map(str, r["hidden_sizes"])) for r in runs)
    scores = [r["test_score"] for r in runs]
    return (
        f"MNIST without a budget ended with {sizes} units in {len(runs)} runs (a sum is of "
        f"layers), test accuracy {statistics.mean(scores):.4f} on average and "
        f"{min(scores):.4f} at least."
    )


def choices(choice: str) -> Callable[[Row], str]:
    """One setting varied, all else by default."""

    def make(found: Row) -> str:
        return columns((r for r in found["table"] if r["choice"] == choice), {
            "data": "{data}",
            choice: "{setting}",
            "test score": "{score:.4f} ± {stderr:.4f}",
            "test loss": "{loss:.4f}",
            "units, median": "{units}",
            "hidden layers, median": "{layers}",
            "steps, median": "{steps}",
        })  # fmt: skip

    return make


def record(name: str) -> Callable[[Row], str]:
    """The tables of a record that `senn reproduce` saved."""
    return lambda found: "\n".join(RECORDS[name](found["claims"])).strip()


def _benchmark(name: str, make: Callable[[Any], str]) -> tuple[str, str, Callable[[Any], str]]:
    return f"benchmarks/results/{name}.json", f"python benchmarks/{name}.py", make


def _choice(name: str) -> tuple[str, str, Callable[[Any], str]]:
    return "experiments/choices.json", "python experiments/choices.py", choices(name)


def _record(file: str, command: str, name: str) -> tuple[str, str, Callable[[Any], str]]:
    return f"experiments/{file}.json", f"senn reproduce {command}", record(name)


def _script(file: str, script: str, name: str) -> tuple[str, str, Callable[[Any], str]]:
    return f"experiments/{file}.json", f"python experiments/{script}", record(name)


SOURCES = {
    "ablation": _record("ablation", "ablation", "ablation"),
    "ablation_adam": _record("adam/ablation", "ablation --optimizer adam", "ablation"),
    "controls": _record("controls/ablation", "ablation --tasks digits,friedman1", "controls"),
    "oracle": _record("oracle", "oracle --tasks digits,friedman1,mnist", "oracle"),
    "shrink": _record("shrink", "shrink --tasks mnist --seeds 3", "shrink"),
    "at_once": _script("at-once", "at_once.py --seeds 2 --tasks digits,friedman1", "at_once"),
    "promises": _script("at-once", "at_once.py --seeds 2 --tasks digits,friedman1", "promises"),
    "automatic_size": _record("automatic-size", "automatic-size", "automatic_size"),
    "automatic_size_removals": _record(
        "removals/automatic-size",
        "automatic-size --tasks digits,friedman1,teacher,moons --seeds 3",
        "automatic_size",
    ),
    "search": _benchmark("search", search),
    "optimizers": _benchmark("optimizers", optimizers),
    "conv": _benchmark("conv", conv),
    "overhead": _benchmark("overhead", overhead),
    "scaling": _benchmark("scaling", scaling),
    "devices": _benchmark("devices", devices),
    "devices_by_formula": _benchmark("devices", by_formula),
    "same_on_devices": _benchmark("same_on_devices", same_on_devices),
    "devices_plan": _benchmark("devices", devices_plan),
    "sizes": _benchmark("sizes", sizes),
    "tables": _benchmark("tables", tables),
    "waiting": _benchmark("waiting", waiting),
    "unbounded": _benchmark("unlimited", unbounded),
    "optimizer": _choice("optimizer"),
    "layer_kind": _choice("layer_kind"),
    "unit_scale": _choice("unit_scale"),
    "averaging": _choice("averaging"),
    "patience": _choice("patience"),
    "plateau": _choice("plateau"),
    "alpha": _choice("alpha"),
}
