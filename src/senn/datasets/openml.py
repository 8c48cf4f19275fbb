"""Data sets of OpenML, through scikit-learn, which keeps them and checks them by their checksum."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from senn.datasets.splitting import first_rows
from senn.readers import DataError, first_sentence


def official_parts(
    name: str,
    known_as: str,
    as_images: Callable[[np.ndarray], np.ndarray],
    labels_at: Mapping[int, Sequence[int]],
    n_train: int,
    advice: str,
) -> list[np.ndarray]:
    """Images and labels of a set to train with, and those to test with.

    A `DataError` with `advice` if it cannot be had, or is not in its official order, which the
    labels from some rows on tell.
    """
    try:
        rows, labels = fetched(known_as)
        for at, wanted in labels_at.items():
            if labels[at : at + len(wanted)].tolist() != [*wanted]:
                raise ValueError("its copy is not in the official order")
        images = as_images(rows)
    except Exception as error:
        raise DataError(
            f"{name} is not on this machine and cannot be had from OpenML "
            f"({first_sentence(error)}): {advice}."
        ) from error
    train, test = first_rows(n_train)
    return [images[train], labels[train], images[test], labels[test]]


def fetched(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Bytes [N, I] and labels [N] of the first version of a set; raises whatever went wrong."""
    from sklearn.datasets import fetch_openml  # a second; tables do without

    parser = "pandas" if find_spec("pandas") else "liac-arff"  # which takes minutes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one for every retry
        bunch: Any = fetch_openml(name, version=1, as_frame=False, parser=parser)
    return np.asarray(bunch.data).astype(np.uint8), np.asarray(bunch.target).astype(np.uint8)
