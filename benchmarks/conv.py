"""Growing a convolutional network, and one of the size that it grew to from the start.

`senn train mnist --network conv --max-parameters 10000` as a fresh process with an empty
compilation cache, and then the channels that it grew to as `--channels ... --no-width`, seed by
seed in turn. Seconds are those of the whole process. The quick form uses the digits that come with
scikit-learn. Nothing is chosen on test images.
"""

import json
import statistics

import harness

KEPT = ("hidden_sizes", "n_parameters", "test_score", "validation_score", "seconds",
        "training_seconds", "growth_seconds", "compile_seconds", "n_additions", "steps",
        "stop_reason")  # fmt: skip
MOST_PARAMETERS, MOST_SECONDS = 10_000, 600


def main() -> None:
    """Run, print and write."""
    given = harness.arguments(__doc__, extra=add_options)
    report = harness.Report("conv", given, seconds="whole process")
    quick = ("--max-iter", "10", "--channels", "4,4", "--max-parameters", "1000")
    full = (
        "--max-parameters", str(MOST_PARAMETERS), "--max-seconds", str(given.seconds),
    )  # fmt: skip
    data, words = ("digits", quick) if given.quick else ("mnist", full)
    report.finish(data={data: compare(given, data, words)})


def add_options(parser) -> None:
    """Options of this benchmark alone."""
    parser.add_argument("--seconds", type=float, default=MOST_SECONDS,
                        help=f"of training at most (default: {MOST_SECONDS})")  # fmt: skip
    parser.add_argument("--threads", default="2", help="of XLA (default: 2)")


def compare(given, data: str, words: tuple[str, ...]) -> dict:
    """Both ways, seed by seed."""
    runs = []
    for seed in range(given.repeats):
        grown = senn_run(given, data, seed, words)
        channels = ",".join(map(str, grown["hidden_sizes"]))
        there = ("--channels", channels, "--no-width")
        started = senn_run(given, data, seed, (*words, *there))
        runs.append({"seed": seed, "grown": grown, "from_the_start": started})
        for name in ("grown", "from_the_start"):
            one = runs[-1][name]
            print(f"{data}, seed {seed}, {name.replace('_', ' ')}: {one['hidden_sizes']} "
                  f"{one['n_parameters']} parameters {one['test_score']:.4f}, "
                  f"{one['process_seconds']:.0f} s", flush=True)  # fmt: skip
    scores = {
        name: statistics.mean(run[name]["test_score"] for run in runs)
        for name in ("grown", "from_the_start")
    }
    return {"runs": runs, "test_score": scores}


def senn_run(given, data: str, seed: int, words: tuple[str, ...]) -> dict:
    """One `senn train` as a fresh process."""
    where = ["--data-dir", given.data_dir] if given.data_dir and data == "mnist" else []
    command = [harness.SENN, "train", data, "--network", "conv", "--threads", given.threads,
               *where, *words, "--seed", str(seed), "--json", "--quiet"]  # fmt: skip
    with harness.empty_cache() as cache:
        done = harness.run_process(command, cache)
    told = json.loads(done.output)
    kept = {key: told[key] for key in KEPT}
    return {**kept, "process_seconds": done.seconds, "peak_mb": done.peak_mb}


if __name__ == "__main__":
    main()
