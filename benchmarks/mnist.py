"""Growing a network against the search over sizes that it replaces.

`senn train` chooses a size while it trains; scikit-learn's user fits `MLPClassifier` with 50,
100 and 200 units and keeps the best. Both are measured in one run, seed by seed in turn:

* `senn train mnist --max-units 50 --json` as a fresh process with an empty compilation cache
  (cold), then again (warm). Its seconds are those of the whole process: Python's start,
  imports, reading the data, compilation, training, evaluation.
* `MLPClassifier(early_stopping=True)`, one size after the other. Its seconds are those of `fit`
  alone, which favours it.

Further: Fashion-MNIST with at most 64 units, if its files are there. The quick form uses the digits
that come with scikit-learn. Nothing is chosen on test rows.
"""

import json
import statistics
from pathlib import Path

import harness

SIZES = (50, 100, 200)
KEPT = ("hidden_sizes", "n_parameters", "test_score", "validation_score", "seconds",
        "training_seconds", "growth_seconds", "compile_seconds", "n_additions", "steps",
        "stop_reason")  # fmt: skip


def main() -> None:
    """Run, print and write."""
    given = harness.arguments(__doc__, repeats=5, extra=add_options)
    report = harness.Report(
        "mnist", given,
        seconds="senn: whole process, by its default of one XLA thread; "
        "scikit-learn: fit alone, with all the threads that BLAS takes",
    )  # fmt: skip
    if given.quick:
        parts = {"digits": compare(given, "digits", 12, given.repeats, ("--max-iter", "20"))}
    else:
        parts = {"mnist": compare(given, "mnist", 50, given.repeats)}
        if files_found("fashion-mnist", given.fashion_dir):
            others = min(given.repeats, harness.LEAST_REPEATS)
            parts["fashion-mnist"] = compare(given, "fashion-mnist", 64, others)
        else:
            print("fashion-mnist: its files were not found, so it is left out")
    report.finish(data=parts)


def add_options(parser) -> None:
    """Options of this benchmark alone."""
    parser.add_argument("--fashion-dir", help="where Fashion-MNIST is (default: Debian's place)")


def compare(given, data: str, max_units: int, seeds: int, options: tuple[str, ...] = ()) -> dict:
    """One data set: SENN cold and warm, and scikit-learn's three sizes, seed by seed."""
    folder = given.fashion_dir if data == "fashion-mnist" else given.data_dir
    words = ["--max-units", str(max_units), *options]
    runs = []
    for seed in range(seeds):
        with harness.empty_cache() as cache:
            cold, warm = (senn_run(data, folder, seed, words, cache) for _ in range(2))
        fits, process = harness.fresh(fit_sizes, data=data, folder=folder, seed=seed)
        runs.append({"seed": seed, "cold": cold, "warm": warm, "sklearn": fits,
                     "sklearn_peak_mb": process.peak_mb})  # fmt: skip
        show(f"{data}, seed {seed}", runs[-1])
    result = {"max_units": max_units, "runs": runs, **summary(runs)}
    harness.table(f"{data}: {seeds} seeds", result["table"])
    print(f"  {result['verdict']}", flush=True)
    return result


def senn_run(data: str, folder: str | None, seed: int, words: list[str], cache: dict) -> dict:
    """One `senn train` as a fresh process."""
    where = ["--data-dir", folder] if folder and data != "digits" else []
    command = [harness.SENN, "train", data, *where, *words, "--seed", str(seed), "--json"]
    done = harness.run_process([*command, "--quiet"], cache)
    told = json.loads(done.output)
    kept = {key: told[key] for key in KEPT}
    return {**kept, "process_seconds": done.seconds, "peak_mb": done.peak_mb}


def fit_sizes(data: str, folder: str | None, seed: int) -> list[dict]:
    """scikit-learn's fits, one after the other, in a process of their own."""
    from sklearn.neural_network import MLPClassifier

    from senn import datasets

    known = datasets.load(data, data_dir=folder if data != "digits" else None, seed=seed)
    fits = []
    for size in SIZES:
        model = MLPClassifier((size,), early_stopping=True, random_state=seed)
        _, seconds = harness.timed(lambda model=model: model.fit(known.x, known.y))
        fits.append({
            "units": size,
            "seconds": seconds,
            "validation_score": float(model.best_validation_score_),
            "test_score": float(model.score(known.x_test, known.y_test)),
            "n_parameters": sum(p.size for p in (*model.coefs_, *model.intercepts_)),
            "iterations": model.n_iter_,
        })  # fmt: skip
    return fits


def files_found(name: str, folder: str | None) -> bool:
    """Whether the files of a data set are on this machine (else they would be fetched)."""
    places = [Path(folder)] if folder else [Path("/usr/share/datasets") / name]
    return any(place.is_dir() and any(place.rglob("*idx3-ubyte*")) for place in places)


def show(title: str, run: dict) -> None:
    """One seed, as soon as it is known."""
    fits = ", ".join(f"{f['units']}: {f['test_score']:.4f} {f['seconds']:.1f} s"
                     for f in run["sklearn"])  # fmt: skip
    cold, warm = run["cold"], run["warm"]
    print(
        f"{title}: senn {cold['hidden_sizes']} {cold['test_score']:.4f}, cold "
        f"{cold['process_seconds']:.1f} s, warm {warm['process_seconds']:.1f} s, "
        f"{cold['peak_mb']:.0f} MB; scikit-learn {fits}",
        flush=True,
    )


def summary(runs: list[dict]) -> dict:
    """Means of scores, medians of seconds, and ratios seed by seed."""
    rows = []
    for name in ("cold", "warm"):
        found = [run[name] for run in runs]
        rows.append(row(f"senn, {name}", found, "process_seconds", sizes_of(found)))
    for k, size in enumerate(SIZES):
        rows.append(row(f"sklearn, {size}", [run["sklearn"][k] for run in runs], "seconds", size))
    chosen = [max(run["sklearn"], key=lambda fit: fit["validation_score"]) for run in runs]
    chosen = [{**fit, "seconds": search_seconds(run), "peak_mb": run["sklearn_peak_mb"]}
              for fit, run in zip(chosen, runs, strict=True)]  # fmt: skip
    units = [fit["units"] for fit in chosen]
    rows.append(row("sklearn, search", chosen, "seconds", f"{min(units)}–{max(units)}"))
    ratios = {
        f"{name}_to_{what}": statistics.median(
            run[name]["process_seconds"] / seconds(run) for run in runs
        )
        for name in ("cold", "warm")
        for what, seconds in (
            ("search", search_seconds),
            ("largest_fit", lambda run: run["sklearn"][-1]["seconds"]),
        )
    }
    gap = statistics.mean(
        run["cold"]["test_score"] - best["test_score"]
        for run, best in zip(runs, chosen, strict=True)
    )
    verdict = (
        f"senn's seconds over those of the whole search: cold {ratios['cold_to_search']:.2f}, "
        f"warm {ratios['warm_to_search']:.2f}; over those of the {SIZES[-1]}-unit fit alone: "
        f"cold {ratios['cold_to_largest_fit']:.2f}, warm {ratios['warm_to_largest_fit']:.2f}; "
        f"test accuracy {gap:+.4f} against the size that validation chose"
    )
    peak = max(run[name]["peak_mb"] for run in runs for name in ("cold", "warm"))
    return {"table": rows, "ratios": ratios, "accuracy_gap": gap, "peak_mb": peak,
            "verdict": verdict}  # fmt: skip


def search_seconds(run: dict) -> float:
    """All sizes, one after the other."""
    return sum(fit["seconds"] for fit in run["sklearn"])


def sizes_of(runs: list[dict]) -> str:
    """The range of units that seeds grew to."""
    units = [sum(run["hidden_sizes"]) for run in runs]
    return f"{min(units)}–{max(units)}"


def row(name: str, runs: list[dict], seconds: str, units) -> dict:
    """One line of the table."""
    scores = [run["test_score"] for run in runs]
    return {
        "who": name,
        "units": units,
        "parameters": round(statistics.median(run["n_parameters"] for run in runs)),
        "mean test accuracy": statistics.mean(scores),
        "lowest": min(scores),
        "median seconds": statistics.median(run[seconds] for run in runs),
        "peak MB": max((run["peak_mb"] for run in runs if "peak_mb" in run), default=None),
    }


if __name__ == "__main__":
    main()
