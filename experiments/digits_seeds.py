"""Digits over several seeds: the size that a network grows to from 4 units, and its accuracy.

    python experiments/digits_seeds.py [--seeds 5] [--max-units 40]

The seed draws the split (80 % for training and validation, 20 % for the test) and everything in
training. Nothing is chosen on the test rows.
"""

import argparse
import platform
import statistics
import time

from senn import SENNClassifier, datasets


def main() -> None:
    """Train once a seed; print a line each, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-units", type=int, default=40)
    arguments = parser.parse_args()
    print(
        f"digits on {platform.processor() or platform.machine()}, Python {platform.python_version()}"
    )
    print("seed  test accuracy  hidden sizes  parameters  seconds (compilation)")
    scores = [run(seed, arguments.max_units) for seed in range(arguments.seeds)]
    print(f"mean  {statistics.mean(scores):.4f}, lowest {min(scores):.4f}")


def run(seed: int, max_units: int) -> float:
    """The test accuracy of one seed."""
    data = datasets.load("digits", seed=seed)
    start = time.monotonic()
    model = SENNClassifier((4,), max_units=max_units, standardize=False, random_state=seed)
    model.fit(data.x, data.y)
    seconds, compiling = time.monotonic() - start, model.history_.compile_seconds
    score = float(model.score(data.x_test, data.y_test))
    sizes = ", ".join(map(str, model.hidden_sizes_))
    print(
        f"{seed:4}  {score:13.4f}  {sizes:>12}  {model.n_parameters_:10}  "
        f"{seconds:7.1f} ({compiling:.1f})",
        flush=True,
    )
    return score


if __name__ == "__main__":
    main()
