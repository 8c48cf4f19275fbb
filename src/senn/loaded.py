"""Estimators from files, without scikit-learn for as long as they only predict.

Importing scikit-learn takes several times as long as reading a file and predicting its first rows.
So `load` gives an object of a class of its own, which can predict; whatever else is asked of it,
were it only `isinstance`, turns it for good into the estimator that it is.
"""

import os
import threading
from typing import Any

from senn.loading import Stored, read_estimator
from senn.prediction import ClassPredictor, NumberPredictor, Predictor

_LOCK = threading.Lock()
_CLASS = vars(object)["__class__"]  # which sets the class of an object


def load(path: str | os.PathLike[str]) -> Any:
    """The estimator, a `SENNClassifier` or a `SENNRegressor`, that `save` wrote to `path`.

    Raises a `senn.models.ModelFileError` if the file is no model. Parameters that are
    objects (an optimiser, a policy) come back as their defaults; they matter for training alone.
    """
    stored = read_estimator(path)
    loaded = object.__new__(LOADED[stored.kind])
    vars(loaded).update(stored.fitted, _stored=stored)
    return loaded


class _Loaded(Predictor):
    """An estimator that does no more than predict so far."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_whole(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_whole(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_whole(self), name)

    def __repr__(self) -> str:
        return repr(_whole(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _whole(self).__reduce_ex__(protocol)

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        # For `isinstance`, which asks for it, but not of an object whose class changes meanwhile.
        from senn.estimators import ESTIMATORS  # loads scikit-learn

        return ESTIMATORS[vars(self)["_stored"].kind]

    def _checked(self, X: Any, *, first: bool, **rows: Any) -> Any:
        return _whole(self)._checked(X, first=first, **rows)


class LoadedClassifier(ClassPredictor, _Loaded):
    """What becomes a `SENNClassifier`."""


class LoadedRegressor(NumberPredictor, _Loaded):
    """What becomes a `SENNRegressor`."""


LOADED = {"SENNClassifier": LoadedClassifier, "SENNRegressor": LoadedRegressor}


def _whole(loaded: Any) -> Any:
    """The same object, now an estimator of `senn.estimators`."""
    # Here, because it loads scikit-learn.
    from senn.estimators import restored

    with _LOCK:  # another thread may be first
        if type(loaded) in LOADED.values():
            stored: Stored = vars(loaded).pop("_stored")
            estimator = restored(stored)
            vars(loaded).update(vars(estimator))
            _CLASS.__set__(loaded, type(estimator))
    return loaded
