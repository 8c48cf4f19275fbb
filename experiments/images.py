"""Steps on images: what estimators with network="conv" start from, varied one thing at a time.

    python experiments/images.py --data-dir FOLDER

A `ConvNet` of 8, 16 and 32 channels that does not grow, by K-FAC, on 55,000 images of MNIST;
loss and accuracy are of the 5,000 others, after the rate has fallen to zero in the second half of
the steps. No test image is looked at.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import senn
from senn import Policy, Schedule, datasets
from senn.arrays import key_of
from senn.losses import SoftmaxCrossEntropy
from senn.optimizers import KFAC
from senn.optimizers.kfac import CLIPPED_AT_PLACES

CHANNELS, APART, NO_GROWTH = (8, 16, 32), 5_000, Policy(width=False, depth=False, prefer="grown")
# Activation, images a step, and the clip as a share of what maps with one position have.
USUAL = ("silu", 128, CLIPPED_AT_PLACES)
ARMS = (USUAL, ("rational", *USUAL[1:]), ("gelu", *USUAL[1:]), ("silu", 512, USUAL[2]),
        ("silu", 128, 1.0), ("silu", 128, 0.1))  # fmt: skip


def main() -> None:
    """Train, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int, default=600 * 128, help="in all (default: 76,800)")
    given = parser.parse_args()
    data = datasets.load("mnist", data_dir=given.data_dir)
    x, y = images(data.x), np.asarray(data.y)
    order = np.random.default_rng(0).permutation(len(x))
    train, apart = ((x[rows], y[rows]) for rows in (order[APART:], order[:APART]))
    print("activation  images a step  clip  steps  loss    accuracy  seconds")
    for activation, size, clip in ARMS:
        steps = given.images // size
        rule = KFAC(kl_clip=SoftmaxCrossEntropy.kl_clip * clip / CLIPPED_AT_PLACES)
        last, seconds = run(activation, size, steps, rule, train, apart)
        print(
            f"{activation:10}  {size:13}  {clip:4}  {steps:5}  {last.validation_loss:.4f}  "
            f"{last.validation_score:.4f}    {seconds:7.0f}",
            flush=True,
        )


def images(x: np.ndarray) -> np.ndarray:
    """Pixels [N, 28, 28, 1] of mean 0 and variance 1."""
    x = np.asarray(x, np.float32).reshape(-1, 28, 28, 1)
    return (x - x.mean()) / x.std()


def run(activation: str, size: int, steps: int, rule: KFAC, train: tuple, apart: tuple):
    """The last evaluation, and seconds with compilation."""
    start = time.monotonic()
    network = senn.nn.ConvNet((28, 28), 10, CHANNELS, key=key_of(0), activation=activation)
    schedule = Schedule(
        max_steps=steps, batch_size=size, anneal_epochs=0, anneal_steps=steps // 2,
        evaluate_every=steps,
    )  # fmt: skip
    _, history = senn.fit(
        network, train, validation=apart, policy=NO_GROWTH, optimizer=rule, schedule=schedule
    )
    return history.evaluations[-1], time.monotonic() - start


if __name__ == "__main__":
    main()
