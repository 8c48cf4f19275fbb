"""What a data set grows to, and how good it gets, over several seeds.

    python experiments/seeds.py digits --hidden-sizes 4 --max-units 40
    python experiments/seeds.py moons --hidden-sizes none
    python experiments/seeds.py mnist --hidden-sizes 10 --max-units 50 --data-dir DIR

A seed draws the split (or the points, for moons) and everything in training. Nothing is chosen
on test rows.
"""

import argparse
import platform
import statistics
import time

from senn import SENNClassifier, datasets


def main() -> None:
    """Train once a seed; print a line each, and the mean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=datasets.NAMES)
    parser.add_argument("--hidden-sizes", default="none", help="to start with, such as 10 or 8,8")
    parser.add_argument("--max-units", type=int)
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{arguments.data} on {platform.machine()}, Python {platform.python_version()}")
    print("seed  test accuracy  hidden sizes  parameters  seconds (compilation)")
    scores = [run(seed, arguments) for seed in range(arguments.seeds)]
    print(f"mean  {statistics.mean(scores):.4f}, lowest {min(scores):.4f}")


def run(seed: int, arguments: argparse.Namespace) -> float:
    """The test accuracy of one seed."""
    data = datasets.load(arguments.data, data_dir=arguments.data_dir, seed=seed)
    words = arguments.hidden_sizes.replace("none", "")
    model = SENNClassifier(
        tuple(int(n) for n in words.split(",") if n),
        max_units=arguments.max_units,
        standardize=not data.images,
        random_state=seed,
    )
    start = time.monotonic()
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
