"""What of a fitted estimator lasts: its network and scales as plain arrays, and files of them."""

import os
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np

from senn.columns.encoder import Columns
from senn.history import History
from senn.model_file import write_model
from senn.plain import PlainNetwork
from senn.rescaling import Inputs, Scale, of_scale
from senn.settings import hidden_sizes


class ScalerAttribute:
    """A `StandardScaler` or None, of which mean and scale are kept, for predictions.

    It may be set to these two alone; the scaler is made when someone asks for it.
    """

    def __init__(self, name: str):  # noqa: D107
        self._scale, self._scaler = f"_{name}_scale", f"_{name}_scaler"

    def __get__(self, estimator: Any, _: Any = None) -> Any:  # noqa: D105
        if estimator is None:
            return self
        known = vars(estimator)
        if self._scale not in known:
            raise AttributeError(f"{type(estimator).__name__} is not fitted yet.")
        if self._scaler not in known:  # it was read from a file
            scale = known[self._scale]
            known[self._scaler] = None if scale is None else _scaler(*scale)
        return known[self._scaler]

    def __set__(self, estimator: Any, scaler: Any) -> None:  # noqa: D105
        known = vars(estimator)
        known.pop(self._scaler, None)
        if scaler is not None and not isinstance(scaler, tuple):
            known[self._scaler], scaler = scaler, (scaler.mean_, scaler.scale_)
        known[self._scale] = scaler


def _scaler(mean: np.ndarray, scale: np.ndarray) -> Any:
    """The `StandardScaler` that subtracts `mean` [I] and divides by `scale` [I]."""
    # Here, because importing scikit-learn takes a second.
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    scaler.mean_, scaler.scale_ = mean, scale
    with np.errstate(over="ignore"):
        scaler.var_ = scale**2
    scaler.n_features_in_ = len(mean)  # pyright: ignore[reportAttributeAccessIssue]
    return scaler


class Persistent:
    """An estimator around a network, that can be written to a file; a dataclass."""

    kind: ClassVar[str]  # as files call it
    _plain: PlainNetwork
    _columns: Columns | None
    _image_shape: tuple[int, ...]
    _inputs: Inputs | None
    feature_names_: list[str]
    history_: History
    n_samples_seen_: int
    _online: Any  # what `partial_fit` goes on with, if it was called

    @property
    def inputs_(self) -> Inputs | None:
        """What the network reads of rows, `inputs_(X)`; None if it reads them as they are."""
        if "_inputs" not in vars(self):
            raise AttributeError(f"{type(self).__name__} is not fitted yet.")
        return self._inputs

    @property
    def scaler_(self) -> Any:
        """The `StandardScaler` of the inputs, if they are standardised and nothing else."""
        inputs = self.inputs_
        if inputs is None or np.isfinite(inputs.bound) or len(inputs.column):
            return None
        return _scaler(inputs.mean, inputs.scale)

    @scaler_.setter
    def scaler_(self, scaler: Any) -> None:
        self._inputs = None if scaler is None else of_scale((scaler.mean_, scaler.scale_))

    @property
    def network_(self) -> Any:
        """The network; predictions are made without it."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{type(self).__name__} is not fitted yet.")
        from senn.nn.stored import network_of  # loads JAX

        return network_of(self._plain)

    @network_.setter
    def network_(self, network: Any) -> None:
        # Here, because it loads JAX, as whoever has a network has done.
        from senn.models import plain

        self._plain = plain(network)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a network to predict with."""
        return "_plain" in vars(self)

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(f"This {type(self).__name__} is not fitted yet: call fit first.")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file (safetensors with a JSON header; no pickle).

        It holds what predictions need. What only `partial_fit` needs to go on where it was, the
        optimiser's state and the rows seen last, is left out; a pickle has it all.
        """
        self._check_fitted()
        extra = {
            "estimator": self.kind,
            "params": _json_params(self),
            "feature_names": self.feature_names_,
            "named_features": hasattr(self, "feature_names_in_"),
            "n_samples_seen": self.n_samples_seen_,
            "standardize": self._inputs is not None,
            **_columns(self._columns),
            **({"image_shape": list(self._image_shape)} if self._image_shape else {}),
            **self._extra(),
        }
        arrays = {**_input_arrays(self._inputs), **self._extra_arrays()}
        write_model(path, self._plain, extra, arrays)

    def _extra(self) -> dict[str, Any]:
        return {}

    def _extra_arrays(self) -> dict[str, np.ndarray]:
        return {}


def _columns(columns: Columns | None) -> dict[str, Any]:
    """What a file keeps of how a table becomes inputs."""
    if columns is None:
        return {}
    return {"columns": list(columns.specs), "single": columns.single}


def scale_arrays(name: str, scale: Scale | None) -> dict[str, np.ndarray]:
    """What a file keeps of a scaler."""
    return {} if scale is None else {f"{name}_mean": scale[0], f"{name}_scale": scale[1]}


def _input_arrays(inputs: Inputs | None) -> dict[str, np.ndarray]:
    """What a file keeps of how rows are prepared."""
    return {} if inputs is None else {f"input_{k}": v for k, v in inputs._asdict().items()}


def _json_params(estimator: Any) -> dict[str, Any]:
    params = {field.name: getattr(estimator, field.name) for field in fields(estimator)}
    params["hidden_sizes"] = list(hidden_sizes(params["hidden_sizes"]))
    params.pop("devices", None)  # of the machine
    plain = (str, int, float, bool, list, type(None))
    return {k: v for k, v in params.items() if isinstance(v, plain)}
