"""What the benchmarks share: arguments, fresh processes, timing, the machine, tables and JSON.

JAX is never imported here, so that a process can still be told its threads and its cache.
A function that is to run in a process of its own is called through `fresh`; that process is
this very file: `python harness.py FILE FUNCTION JSON`.
"""

import argparse
import contextlib
import json
import os
import platform
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"
MNIST_BESIDE = Path(__file__).parents[2] / "shared" / "data" / "mnist"
SENN = str(Path(sys.executable).with_name("senn"))
THREADS = "PJRT_NPROC"  # of XLA on the processor, read when JAX starts
LEAST_REPEATS = 3  # for a median
PACKAGES = ("senn", "jax", "jaxlib", "numpy", "scikit-learn", "torch", "gromo", "statsmodels")

# A small process in between: Linux would count its parent's memory as the command's own.
_LAUNCHER = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call(sys.argv[1:])
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print("\\n%r %r" % (seconds, peak), file=sys.stderr)
sys.exit(code)
"""


class Finished(NamedTuple):
    """What a process of its own did, its start and its imports included."""

    output: str
    seconds: float
    peak_mb: float  # most memory resident at any time


def arguments(doc: str, *, repeats: int = LEAST_REPEATS, extra: Callable | None = None):
    """The command line that every benchmark has; `extra` adds to the parser what one needs."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small form, only to see it work")
    parser.add_argument("--repeats", type=int, help=f"(default: {repeats}; quick: 1)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="where the result goes")
    parser.add_argument("--data-dir", default=_mnist_folder(), help="where MNIST is")
    if extra:
        extra(parser)
    given = parser.parse_args()
    given.repeats = given.repeats or (1 if given.quick else repeats)
    os.environ.setdefault(THREADS, "1")  # as `senn train` does; scikit-learn keeps its own
    return given


def _mnist_folder() -> str | None:
    if os.environ.get("SENN_DATA"):
        return os.environ["SENN_DATA"]
    return str(MNIST_BESIDE) if MNIST_BESIDE.is_dir() else None


# --- Processes and time --------------------------------------------------------------------


def run_process(command: Sequence[str], env: Mapping[str, str] | None = None) -> Finished:
    """Run a command to its end; a `RuntimeError` with what it said if it failed."""
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", _LAUNCHER, *command],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    seconds, kilobytes = done.stderr.splitlines()[-1].split()
    return Finished(done.stdout, float(seconds), int(kilobytes) / 1024)


def fresh(
    function: Callable,
    *,
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
    **kwargs: Any,
) -> tuple[Any, Finished]:
    """Call a benchmark's function in a fresh process; its result must be JSON."""
    file = function.__code__.co_filename
    done = run_process([python, __file__, file, function.__name__, json.dumps(kwargs)], env)
    return json.loads(done.output.splitlines()[-1]), done


@contextlib.contextmanager
def empty_cache() -> Iterator[dict[str, str]]:
    """The environment of a compilation cache that is cold: first for `senn`, then for JAX."""
    with tempfile.TemporaryDirectory(prefix="senn-benchmark-") as folder:
        yield {
            "SENN_CACHE_DIR": folder,
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }


def split_data(name: str, folder: str | None, seed: int = 0):
    """Training, validation (a tenth of the rows) and test parts of a named data set, as (x, y).

    Imported here and not above: a process that has no senn, or has not yet set its threads,
    can use the rest of this module.
    """
    import numpy as np

    from senn import datasets

    known = datasets.load(name, data_dir=folder if "mnist" in name else None, seed=seed)
    rows = np.random.default_rng(seed).permutation(len(known.x))
    kept, apart = np.split(rows, [len(rows) - len(rows) // 10])
    parts = [(known.x[r], known.y[r]) for r in (kept, apart)]
    return *parts, (known.x_test, known.y_test)


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """A result and the seconds it took; the function must wait for what it computes."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def median_seconds(function: Callable[[], Any], repeats: int, *, warm: bool = True) -> float:
    """The median of several timings, the first call (which compiles) apart."""
    if warm:
        function()
    return statistics.median(timed(function)[1] for _ in range(repeats))


def median(values: Sequence[float | None]) -> float | None:
    """The median of what is there, None for nothing."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


# --- What is written -----------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What the figures were measured on, and with."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load_before": round(os.getloadavg()[0], 2),
        "xla_threads": os.environ.get(THREADS, "all"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := _version(name))},
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of equal keys, the keys as the head."""
    print(f"\n{title}")
    if not rows:
        print("  nothing")
        return
    lines = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  " + "  ".join(cell.rjust(n) for cell, n in zip(line, widths, strict=True)))


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "none"
    return str(value)


class Report:
    """The result of one benchmark: described when it starts, written when it ends."""

    def __init__(self, name: str, given: argparse.Namespace, **notes: Any):  # noqa: D107
        self.name, self.given = name, given
        self.start = time.perf_counter()
        self.content: dict[str, Any] = {
            "benchmark": name,
            "quick": given.quick,
            "repeats": given.repeats,
            "machine": machine(),
            "notes": notes,
        }
        told = ", ".join(f"{k} {v}" for k, v in self.content["machine"].items())
        print(f"{name}: {told}", flush=True)
        for note in notes.values():
            print(f"  {note}")

    def finish(self, **content: Any) -> None:
        """Add the figures and write the file; a quick run is written only where it is told to."""
        self.content |= content
        self.content["seconds"] = time.perf_counter() - self.start
        out = self.given.out or (None if self.given.quick else RESULTS / f"{self.name}.json")
        print(f"\n{self.name}: {self.content['seconds']:.0f} s in all", flush=True)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(self.content, indent=1, allow_nan=False) + "\n", "utf-8")
            print(f"written to {out}")


def _answer(file: str, name: str, kwargs: str) -> None:
    """The other end of `fresh`: what is printed on the way goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        result = runpy.run_path(file)[name](**json.loads(kwargs))
    print(json.dumps(result, allow_nan=False))


if __name__ == "__main__":
    _answer(*sys.argv[1:])
