"""MNIST for the tests: the real files where they are, else others of the same shapes and counts."""

import gzip
import os
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

PARTS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
FIRST_LABELS = (5, 0, 4, 1, 9, 2, 1, 3, 1, 4)
TRAIN_COUNTS = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
TEST_COUNTS = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
SHIFTS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]  # in pixels


def folder_with_mnist(made: Path) -> Path:
    """Where a folder `mnist` is: in $SENN_DATA, beside the repository, or else made in `made`."""
    real = Path(os.environ.get("SENN_DATA") or Path(__file__).parents[2] / "shared" / "data")
    return real if (real / "mnist").is_dir() else write_mnist(made)


def write_mnist(folder: Path) -> Path:
    """scikit-learn's digits three times as large, shifted at random; none is in both parts."""
    digits, rng = load_digits(), np.random.default_rng(0)
    small = np.round(digits.images * 255 / 16).astype(np.uint8)
    large = np.pad(small.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    arrays = []
    for rows, counts, first in (
        (np.arange(1400), TRAIN_COUNTS, FIRST_LABELS),
        (np.arange(1400, len(large)), TEST_COUNTS, ()),
    ):
        left = np.array(counts) - np.bincount(first, minlength=10).astype(int)
        labels = np.concatenate([first, rng.permutation(np.repeat(np.arange(10), left))])
        labels = labels.astype(np.uint8)
        images = np.empty((len(labels), 28, 28), np.uint8)
        for label in range(10):
            known = rows[digits.target[rows] == label]
            images[labels == label] = large[rng.choice(known, counts[label])]
        which = rng.integers(len(SHIFTS), size=len(labels))
        for n, shift in enumerate(SHIFTS):
            images[which == n] = np.roll(images[which == n], shift, axis=(1, 2))
        arrays += [images, labels]
    write_idx(folder / "mnist", arrays)
    return folder


def write_idx(folder: Path, arrays: list[np.ndarray]) -> None:
    """Four gzipped IDX files: images and labels to train with, then to test with."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, array in zip(PARTS, arrays, strict=True):
        (folder / f"{part}.gz").write_bytes(gzip.compress(idx_bytes(array), compresslevel=1))


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of bytes as an IDX file."""
    shape = np.array(array.shape, dtype=">u4").tobytes()
    return bytes((0, 0, 8, array.ndim)) + shape + array.astype(np.uint8).tobytes()
