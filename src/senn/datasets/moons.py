"""Two half-moons."""

import numpy as np

from senn.datasets.dataset import Dataset, make_dataset
from senn.datasets.features import Features
from senn.datasets.options import Options
from senn.datasets.splitting import first_rows
from senn.datasets.targets import coded


def half_moons(n: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, 2] and classes of two half circles that reach into each other.

    They are those of scikit-learn's `make_moons`, which takes a second to import.
    """
    rng, outer = np.random.RandomState(seed), n // 2
    at, to = np.linspace(0, np.pi, outer), np.linspace(0, np.pi, n - outer)
    above = np.column_stack([np.cos(at), np.sin(at)])
    below = np.column_stack([1 - np.cos(to), 0.5 - np.sin(to)])
    order = np.arange(n)
    rng.shuffle(order)
    x = np.concatenate([above, below])[order]
    return x + rng.normal(scale=noise, size=x.shape), (order >= outer).astype(np.int64)


def moons_dataset(name: str, options: Options) -> Dataset:
    """Two half-moons with noise 0.3; 10,000 test points make the test accuracy precise."""
    seeds = np.random.SeedSequence(options.seed).generate_state(2)
    parts = [half_moons(n, 0.3, int(seed)) for n, seed in zip((2_000, 10_000), seeds, strict=True)]
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    features = Features(x.astype(np.float32), ("x0", "x1"), ())
    return make_dataset(name, features, coded("moon", y, 2), first_rows(2_000))
