"""Convolutions with and without images changed at random, from few images, over several seeds.

    python experiments/augmentation.py digits --images 1438 --augment shift=1
    python experiments/augmentation.py cifar10 --images 5000 --augment flip,shift --data-dir DIR

Sizes are given and do not grow, and all train for as many passes, so that nothing but the change of
images differs. A seed draws the images, the start and the order. Seconds are those of `fit`, which
the arms take turns in.
"""

import argparse
import statistics
import time

import numpy as np

from senn import Policy, SENNClassifier, datasets


def main() -> None:
    """Train once an arm and a seed; print a line each, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=datasets.NAMES)
    parser.add_argument("--augment", default="shift", help="of one arm; the other is without")
    parser.add_argument("--images", type=int, default=5000, help="to train with (default: 5000)")
    parser.add_argument("--channels", default="8,16,16", help="(default: 8,16,16)")
    parser.add_argument("--passes", type=int, default=40, help="over the images (default: 40)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data-dir")
    given = parser.parse_args()
    arms = {"as they are": None, given.augment: given.augment}
    found = {name: [] for name in arms}
    print(f"{given.data}, {given.images} images, {given.channels} channels, {given.passes} passes")
    print("seed  images       training  validation  test accuracy  seconds (compilation)")
    for seed in range(given.seeds):
        for name, augment in arms.items():
            found[name].append(run(given, seed, name, augment))
    for name, scores in found.items():
        print(f"mean  {name:12} {statistics.mean(scores):.4f}, lowest {min(scores):.4f}")


def run(given: argparse.Namespace, seed: int, name: str, augment: str | None) -> float:
    """The test accuracy of one arm and seed."""
    data = datasets.load(given.data, data_dir=given.data_dir, seed=seed)
    some = np.random.default_rng(seed).permutation(len(data.x))[: given.images]
    x, x_test = (part.reshape(-1, *data.image_shape) for part in (data.x[some], data.x_test))
    model = SENNClassifier(
        network="conv", channels=tuple(map(int, given.channels.split(","))), augment=augment,
        policy=Policy(width=False, depth=False), max_iter=given.passes, batch_size=128,
        random_state=seed,
    )  # fmt: skip
    start = time.monotonic()
    model.fit(x, data.y[some])
    seconds, compiling = time.monotonic() - start, model.history_.compile_seconds
    apart = model.validation_rows_
    kept = np.setdiff1d(np.arange(len(x)), apart)
    train, validation = (model.score(x[r], data.y[some][r]) for r in (kept, apart))
    test = float(model.score(x_test, data.y_test))
    print(
        f"{seed:4}  {name:12} {train:8.4f}  {validation:10.4f}  {test:13.4f}  {seconds:7.1f} "
        f"({compiling:.1f})",
        flush=True,
    )
    return test


if __name__ == "__main__":
    main()
