"""Fitted estimators as files, which hold no code."""

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from senn.checkpoint import ModelFileError, read_model, write_model
from senn.history import History
from senn.nn import MLP
from senn.online import OnlineTraining
from senn.preparation import scaler_arrays, scaler_from
from senn.readers import first_sentence


class Persistent(BaseEstimator):
    """An estimator around a network, that can be written to a file and read from it."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file (safetensors with a JSON header; no pickle).

        It holds what predictions need. What only `partial_fit` needs to go on where it was, the
        optimiser's state and the rows seen last, is left out; a pickle has it all.
        """
        check_is_fitted(self)
        extra = {
            "estimator": type(self).__name__,
            "params": _json_params(self),
            "feature_names": self.feature_names_,
            "named_features": hasattr(self, "feature_names_in_"),
            "n_samples_seen": self.n_samples_seen_,
            "standardize": self.scaler_ is not None,
            **self._extra(),
        }
        arrays = {} if self.scaler_ is None else scaler_arrays("input", self.scaler_)
        write_model(path, self.network_, extra, {**arrays, **self._extra_arrays()})

    def _extra(self) -> dict[str, Any]:
        return {}

    def _extra_arrays(self) -> dict[str, np.ndarray]:
        return {}

    def _restore(self, network: MLP, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.network_: MLP = network
        self.history_ = History(stop_reason="loaded from a file")
        self.n_features_in_ = network.in_size
        self.feature_names_: list[str] = header["feature_names"]
        if [type(name) for name in self.feature_names_] != [str] * network.in_size:
            raise ValueError(f"its feature names are not {network.in_size} texts")
        if header.get("named_features"):
            self.feature_names_in_ = np.array(self.feature_names_, object)
        self.n_samples_seen_: int = header.get("n_samples_seen", 0)
        self.scaler_: StandardScaler | None = (
            scaler_from("input", arrays, network.in_size) if header["standardize"] else None
        )
        self._online: OnlineTraining | None = None


Estimator = TypeVar("Estimator", bound=Persistent)


def read_estimator(path: str | os.PathLike[str], kinds: Mapping[str, type[Estimator]]) -> Estimator:
    """The estimator that `save` wrote, one of these kinds by their names.

    Raises a `senn.checkpoint.ModelFileError` if the file is no model.
    """
    network, header, arrays = read_model(path)
    cls = kinds.get(str(header.get("estimator")))
    if cls is None:
        raise ModelFileError(f"{str(path)!r} holds a network, but no estimator.")
    try:
        names = cls._get_param_names()
        estimator = cls(**{k: v for k, v in header["params"].items() if k in names})
        estimator._restore(network, header, arrays)
    except KeyError as error:
        raise ModelFileError(f"{str(path)!r} is damaged: it lacks {error}.") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelFileError(f"{str(path)!r} is damaged ({first_sentence(error)}).") from error
    return estimator


def _json_params(estimator: Persistent) -> dict[str, Any]:
    params = estimator.get_params(deep=False)
    params["hidden_sizes"] = [int(n) for n in params["hidden_sizes"]]
    plain = (str, int, float, bool, list, type(None))
    return {k: v for k, v in params.items() if isinstance(v, plain)}
