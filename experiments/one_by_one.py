"""Rows one by one to `partial_fit`, their columns on scales from 1 to 1000.

    python experiments/one_by_one.py --seeds 2
    python experiments/one_by_one.py --without-rows-again    # only the row that comes, as before

Accuracy on 2,000 other rows after `ROWS` calls, beside that of scikit-learn's MLP behind a scaler
that learns from the same rows.
"""

import argparse
from collections.abc import Callable

import numpy as np
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import senn
from senn.batches import StreamSource

ROWS, OTHERS = 1000, 2000
SCALES, OFFSETS = np.array([1.0, 10, 100, 1000]), np.array([0.0, 5, 50, 500])
TASKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda z: z @ [1, -1, 1, -1] > 0,
    "curved": lambda z: z[:, 0] ** 2 + z[:, 1] * z[:, 2] - z[:, 3] > 0.5,
    "ring": lambda z: (z[:, :2] ** 2).sum(axis=1) < 1.4,
}


def main() -> None:
    """Print a line a task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--without-rows-again", action="store_true")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    arguments = parser.parse_args()
    if arguments.without_rows_again:
        StreamSource._some_again = lambda *_: []
    print("| task | senn | MLP |\n|---|---|---|", flush=True)
    for task in arguments.tasks:
        found = np.mean([scores(task, seed) for seed in range(arguments.seeds)], axis=0)
        print(f"| {task} | {found[0]:.3f} | {found[1]:.3f} |", flush=True)


def scores(task: str, seed: int) -> tuple[float, float]:
    """Accuracy of a default estimator and of the MLP."""
    z = np.random.default_rng(seed).normal(size=(ROWS + OTHERS, 4))
    x, y = z * SCALES + OFFSETS, TASKS[task](z).astype(int)
    model = senn.SENNClassifier(random_state=seed)
    scaler, peer = StandardScaler(), MLPClassifier(random_state=seed)
    for i in range(ROWS):
        row, label = x[i : i + 1], y[i : i + 1]
        model.partial_fit(row, label, classes=[0, 1])
        scaler.partial_fit(row)
        peer.partial_fit(scaler.transform(row), label, classes=[0, 1])
    others, wanted = x[ROWS:], y[ROWS:]
    return model.score(others, wanted), peer.score(scaler.transform(others), wanted)


if __name__ == "__main__":
    main()
