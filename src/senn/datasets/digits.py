"""scikit-learn's digits."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from senn.datasets.dataset import Dataset, make_dataset
from senn.datasets.features import Features, pixel_names
from senn.datasets.options import Options
from senn.datasets.splitting import random_rows
from senn.datasets.targets import coded


def digits_dataset(name: str, options: Options) -> Dataset:
    """scikit-learn's 1,797 images of 8 × 8 pixels, split at random."""
    pixels, labels = digits_arrays()
    features = Features((pixels / 16).astype(np.float32), pixel_names(8, 8), ())
    targets = coded("digit", labels, 10)
    rows = random_rows(targets, options)
    return make_dataset(name, features, targets, rows, images=True, image_shape=(8, 8))


def digits_arrays() -> tuple[np.ndarray, np.ndarray]:
    """Pixels [1797, 64] and labels, from scikit-learn's file; importing it takes a second."""
    spec = find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            table = np.loadtxt(path, delimiter=",")
            return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    return digits.data, digits.target
