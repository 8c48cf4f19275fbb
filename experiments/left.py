"""Is a unit left that costs less to lose than pruning asks? Finished estimators, by their prices.

    python experiments/left.py [TABLE.npz ...]

Estimators with their defaults are fitted to digits, to diabetes and to tables, archives of `Xtr`
and `ytr` of which nothing else is read. Units are then priced on all of those rows, with the
network as it is returned: α, and with it what pruning asks, is relative to the loss there. A line
for each: units, how many of them would leave, and the lowest price over what pruning asks.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.datasets import load_diabetes, load_digits

from senn import Batch, SENNClassifier, SENNRegressor, growth
from senn.goals import loss_of_classes
from senn.losses import SquaredError, make_metric
from senn.machine import use_threads
from senn.optimizers import make_optimizer
from senn.prices import Prices, factors_of
from senn.pruning import everywhere
from senn.rescaling import seen
from senn.tables import policy_of

ROWS = 2 * 8192  # at most, as a look takes


def main() -> None:
    """Print a line a data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", type=Path)
    given = parser.parse_args()
    use_threads(1)
    print("| data | units | would leave | lowest price over what is asked |\n|---|---|---|---|")
    for name in ("digits", "diabetes", *given.tables):
        x, y = rows_of(name)
        estimator = SENNRegressor if y.dtype.kind == "f" else SENNClassifier
        fitted = estimator(random_state=0).fit(x, y)
        units, leave, lowest = left(fitted, x, y)
        print(f"| {Path(name).stem} | {units} | {leave} | {lowest:.3g} |", flush=True)


def rows_of(name: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels or numbers."""
    if not isinstance(name, Path):
        return {"digits": load_digits, "diabetes": load_diabetes}[name](return_X_y=True)
    with np.load(name) as arrays:
        return arrays["Xtr"], arrays["ytr"]


def left(fitted: Any, x: np.ndarray, y: np.ndarray) -> tuple[int, int, float]:
    """Units, how many pruning would take, and the lowest price over what it asks."""
    network, policy = fitted.network_, policy_of(fitted)
    rows = np.random.default_rng(0).permutation(len(x))[:ROWS]
    inputs = seen(fitted._inputs, x[rows], np.float32)
    if isinstance(fitted, SENNRegressor):
        shift, scale = fitted._target_scale
        loss, targets = SquaredError(), ((y[rows, None] - shift) / scale).astype(np.float32)
    else:
        loss, targets = loss_of_classes(fitted), np.searchsorted(fitted.classes_, y[rows])
    halves = (Batch.of(*of) for of in zip(*(np.array_split(a, 2) for a in (inputs, targets)),
                                          strict=True))  # fmt: skip
    metric = make_metric(make_optimizer(fitted.optimizer).metric, loss)
    found = growth.look(network, loss, metric, *halves, jax.random.key(0))
    prices = Prices.of(network, factors_of(network, [found.fit.maps, found.held_out.maps]))
    asked = policy.least_price(float(found.fit.reach))
    going = policy.leaving(prices, everywhere(prices).may, float(found.fit.reach))
    lowest = prices.cheapest()
    ratio = np.inf if lowest is None else lowest.price / asked
    return sum(network.hidden_sizes), len(going.departures), ratio


if __name__ == "__main__":
    main()
