"""MNIST without a unit budget: does growth end by itself, where, and with how much memory?

One `senn train mnist --json` a seed, each a fresh process. They share a compilation cache that the
first finds empty. The quick form uses the digits that come with scikit-learn.
"""

import statistics

import harness

from mnist import senn_run


def main() -> None:
    """Run, print and write."""
    given = harness.arguments(__doc__)
    report = harness.Report("unlimited", given, seconds="whole process, on one XLA thread")
    data, words = ("digits", ["--max-iter", "20"]) if given.quick else ("mnist", [])
    runs = []
    with harness.empty_cache() as cache:
        for seed in range(given.repeats):
            runs.append(senn_run(data, given.data_dir, seed, words, cache))
            print(
                f"seed {seed}: {runs[-1]['hidden_sizes']}, {runs[-1]['test_score']:.4f}", flush=True
            )
    harness.table(f"{data} without a unit budget", [row(k, run) for k, run in enumerate(runs)])
    scores = [run["test_score"] for run in runs]
    report.finish(
        data=data,
        runs=runs,
        mean_test_score=statistics.mean(scores),
        lowest_test_score=min(scores),
        peak_mb=max(run["peak_mb"] for run in runs),
    )


def row(seed: int, run: dict) -> dict:
    """One line of the table."""
    return {
        "seed": seed,
        "units": sum(run["hidden_sizes"]),
        "sizes": run["hidden_sizes"],
        "test accuracy": run["test_score"],
        "seconds": run["process_seconds"],
        "peak MB": run["peak_mb"],
        "stopped": run["stop_reason"],
    }


if __name__ == "__main__":
    main()
