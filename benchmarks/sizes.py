"""Small tables: SENN by its defaults against the best of scikit-learn's MLPs.

Digits and moons, and four regressions: diabetes and friedman1 from scikit-learn, randhie and
fair from statsmodels (left out if that is missing). A seed draws the split (or the points) and
everything in training. Both sides get the same training rows, standardised inputs (digits'
pixels stay in [0, 1]) and standardised targets, and keep a tenth of the rows apart themselves:

* `SENNClassifier(random_state=seed)` or `SENNRegressor`: no size, no budget is given;
* `MLPClassifier` or `MLPRegressor` with 8, 16, 32, 64, 128 and 256 units, the one with the best
  validation score. early_stopping=True with at most 1,000 iterations: on these sets better and
  faster than the 200 iterations by default, without early stopping.

Scores are accuracy or R² on test rows, on which nothing is chosen. Seconds are those of `fit`:
SENN's with compilation where nothing was compiled before (cold), and then without (warm);
scikit-learn's of all six sizes together.
"""

import statistics
import warnings

import harness

SIZES = (8, 16, 32, 64, 128, 256)
NAMES = ("digits", "moons", "diabetes", "friedman1", "randhie", "fair")
QUICK_NAMES = ("moons", "diabetes")


def main() -> None:
    """Run, print and write."""
    given = harness.arguments(__doc__, repeats=5)
    names = QUICK_NAMES if given.quick else NAMES
    settings = {"max_iter": 10} if given.quick else {}
    report = harness.Report("sizes", given, scores="accuracy or R² on test rows, means of seeds")
    results, missing = {}, []
    for name in names:
        try:
            with harness.empty_cache() as cold:
                runs, process = harness.fresh(
                    run_table, env=cold, name=name, seeds=given.repeats, settings=settings
                )
        except RuntimeError as error:
            if "No module named 'statsmodels'" not in str(error):
                raise
            missing.append(name)
            print(f"{name}: left out, for it comes with statsmodels, which is not installed")
            continue
        results[name] = {"runs": runs, **summary(runs), "peak_mb": process.peak_mb}
        print(f"{name}: {results[name]['verdict']}", flush=True)
    rows = [{"data": name, **result["row"]} for name, result in results.items()]
    harness.table(f"means of {given.repeats} seeds", rows)
    report.finish(data=results, left_out=missing)


def run_table(name: str, seeds: int, settings: dict) -> list[dict]:
    """SENN and the search over sizes on one data set, seed by seed in turn."""
    from sklearn.preprocessing import StandardScaler

    from senn import SENNClassifier, SENNRegressor

    runs = []
    for seed in range(seeds):
        x, y, x_test, y_test, classes, images = load(name, seed)
        if not classes:  # SENN would do so itself; scores are the same
            scaler = StandardScaler().fit(y[:, None])
            y, y_test = (scaler.transform(v[:, None])[:, 0] for v in (y, y_test))
        make = SENNClassifier if classes else SENNRegressor
        model = make(standardize=not images, random_state=seed, **settings)
        _, seconds = harness.timed(lambda model=model, x=x, y=y: model.fit(x, y))
        runs.append({
            "seed": seed,
            "senn": {
                "test_score": float(model.score(x_test, y_test)), "seconds": seconds,
                "compile_seconds": model.history_.compile_seconds,
                "hidden_sizes": list(model.hidden_sizes_), "n_parameters": model.n_parameters_,
                "stop_reason": model.history_.stop_reason,
            },
            "sklearn": search(x, y, x_test, y_test, seed, classes=classes, images=images),
        })  # fmt: skip
        print(name, runs[-1], flush=True)
    return runs


def load(name: str, seed: int):
    """Training and test rows, whether they are of classes, and whether they are images."""
    from sklearn.datasets import load_diabetes, make_friedman1
    from sklearn.model_selection import train_test_split

    from senn import datasets

    if name in datasets.NAMES:
        data = datasets.load(name, seed=seed)
        return data.x, data.y, data.x_test, data.y_test, True, data.images
    if name == "diabetes":
        x, y = load_diabetes(return_X_y=True)
    elif name == "friedman1":
        x, y = make_friedman1(1000, noise=1.0, random_state=seed)
    else:
        from importlib import import_module

        table = import_module(f"statsmodels.datasets.{name}").load_pandas()
        x, y = table.exog.to_numpy(float), table.endog.to_numpy(float)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, random_state=seed)
    return x, y, x_test, y_test, False, False


def search(x, y, x_test, y_test, seed: int, *, classes: bool, images: bool) -> dict:
    """All sizes, and the test score of the one with the best validation score."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    make = MLPClassifier if classes else MLPRegressor
    tried = []
    for size in SIZES:
        mlp = make(
            hidden_layer_sizes=(size,), early_stopping=True, max_iter=1000, random_state=seed
        )
        model = make_pipeline(FunctionTransformer() if images else StandardScaler(), mlp)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            _, seconds = harness.timed(lambda model=model: model.fit(x, y))
        tried.append({"units": size, "seconds": seconds,
                      "validation_score": float(mlp.best_validation_score_),
                      "test_score": float(model.score(x_test, y_test))})  # fmt: skip
    best = max(tried, key=lambda fit: fit["validation_score"])
    return {"test_score": best["test_score"], "units": best["units"],
            "seconds": sum(fit["seconds"] for fit in tried), "tried": tried}  # fmt: skip


def summary(runs: list[dict]) -> dict:
    """Means, the paired difference with its standard error, and ratios of seconds."""
    ours, theirs = ([run[who]["test_score"] for run in runs] for who in ("senn", "sklearn"))
    gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
    gap = statistics.mean(gaps)
    error = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else None
    searched = statistics.median(run["sklearn"]["seconds"] for run in runs)
    cold = runs[0]["senn"]["seconds"]
    warm = harness.median([run["senn"]["seconds"] for run in runs[1:]])
    units = statistics.median(sum(run["senn"]["hidden_sizes"]) for run in runs)
    result = "wins" if gap > (error or 0) else "loses" if gap < -(error or 0) else "draws"
    ratios = {"cold": cold / searched, "warm": None if warm is None else warm / searched}
    row = {
        "senn": statistics.mean(ours), "sklearn": statistics.mean(theirs),
        "difference": gap, "± stderr": error, "so senn": result,
        "units": units, "their units": statistics.median(r["sklearn"]["units"] for r in runs),
        "s cold": cold, "s warm": warm, "s search": searched,
        "cold/search": ratios["cold"], "warm/search": ratios["warm"],
    }  # fmt: skip
    times = [f"{k} {v:.2f}" for k, v in ratios.items() if v is not None]
    verdict = (
        f"senn {row['senn']:.4f} {result} against {row['sklearn']:.4f} ({gap:+.4f}); its seconds "
        f"over those of the search: {', '.join(times)}"
    )
    return {"row": row, "ratios": ratios, "verdict": verdict}


if __name__ == "__main__":
    main()
