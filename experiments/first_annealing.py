"""How long classes of tables are annealed before they are annealed again, by the number of rows.

    python experiments/first_annealing.py

Twelve columns, five classes that forty units of tanh tell apart, with noise. Of every number of
rows an estimator as it is by default is fitted with either annealing before the choice of priors:
the short one of `senn.tables`, which is for few rows, and the long one. Scores are of 20,000 other
rows, made for this and nothing else.
"""

import argparse
import math
import time

import numpy as np
from sklearn.metrics import log_loss

from senn import SENNClassifier, tables

APART = 20_000  # rows to score on
COLUMNS, UNITS, CLASSES, NOISE = 12, 40, 5, 1.5


def main() -> None:
    """Fit, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000, 10_000, 20_000, 40_000])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    print("  rows  seed  annealing  steps  units  accuracy  log-loss  seconds")
    for rows in given.rows:
        for seed in range(given.seeds):
            for name, few in (("short", math.inf), ("long", 0)):
                tables.FEW_ROWS = few
                run(rows, seed, name)


def run(rows: int, seed: int, name: str) -> None:
    """One fit."""
    x, y = made(rows + APART, seed)
    start = time.monotonic()
    model = SENNClassifier(random_state=seed).fit(x[:rows], y[:rows])
    seconds = time.monotonic() - start
    score, loss = model.score(x[rows:], y[rows:]), log_loss(y[rows:], model.predict_proba(x[rows:]))
    print(
        f"{rows:6,}  {seed:4}  {name:9}  {model.history_.steps:5,}  {sum(model.hidden_sizes_):5}  "
        f"{score:8.4f}  {loss:8.4f}  {seconds:7.1f}",
        flush=True,
    )


def made(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns [n, 12] and classes [n]."""
    rng = np.random.default_rng(seed)
    inner, bias = rng.normal(size=(COLUMNS, UNITS)), rng.normal(size=UNITS)
    outer, x = rng.normal(size=(UNITS, CLASSES)), rng.normal(size=(n, COLUMNS))
    told = np.tanh(0.7 * x @ inner + bias) @ outer
    return x, (told + NOISE * rng.gumbel(size=told.shape)).argmax(axis=1)


if __name__ == "__main__":
    main()
