"""Data sets of OpenML, through scikit-learn, which keeps them and checks them by their checksum."""

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np


def fetched(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Bytes [N, I] and labels [N] of the first version of a set; raises whatever went wrong."""
    from sklearn.datasets import fetch_openml  # a second; tables do without

    parser = "pandas" if find_spec("pandas") else "liac-arff"  # which takes minutes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one for every retry
        bunch: Any = fetch_openml(name, version=1, as_frame=False, parser=parser)
    return np.asarray(bunch.data).astype(np.uint8), np.asarray(bunch.target).astype(np.uint8)
