"""What is in the files of fitted estimators, checked. Needs neither JAX nor scikit-learn."""

import os
from typing import Any, NamedTuple

import numpy as np

from senn.columns.encoder import Columns, columns_from
from senn.history import History
from senn.labels import read_labels
from senn.model_file import ModelFileError, read_model
from senn.plain import PlainNetwork
from senn.prediction import Scale
from senn.readers import first_sentence


class Stored(NamedTuple):
    """An estimator as its file has it."""

    kind: str  # the name of its class
    params: dict[str, Any]  # of its constructor, some of them perhaps unknown today
    fitted: dict[str, Any]  # its attributes


def read_estimator(path: str | os.PathLike[str]) -> Stored:
    """What `save` wrote; a `ModelFileError` if that is not it."""
    network, header, arrays = read_model(path)
    kind = str(header.get("estimator"))
    own = OWN.get(kind)
    if own is None:
        raise ModelFileError(f"{str(path)!r} holds a network, but no estimator.")
    try:
        params = dict(header["params"].items())
        fitted = {**_fitted(network, header, arrays), **own(network, header, arrays)}
    except KeyError as error:
        raise ModelFileError(f"{str(path)!r} is damaged: it lacks {error}.") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelFileError(f"{str(path)!r} is damaged ({first_sentence(error)}).") from error
    return Stored(kind, params, fitted)


Arrays = dict[str, np.ndarray]


def _fitted(network: PlainNetwork, header: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    names = header["feature_names"]
    columns = _columns(header, names)
    size = network.in_size if columns is None else len(columns.specs)
    if [type(name) for name in names] != [str] * size:
        raise ValueError(f"its feature names are not {size} texts")
    if columns is not None and columns.size != network.in_size:
        raise ValueError(f"its columns become {columns.size} inputs, not {network.in_size}")
    known = {"feature_names_in_": np.array(names, object)} if header.get("named_features") else {}
    standardised = header["standardize"]
    return {
        "_plain": network,
        "_input_scale": _scale("input", arrays, network.in_size) if standardised else None,
        "_online": None,
        "history_": History(stop_reason="loaded from a file"),
        "n_features_in_": size,
        "_columns": columns,
        "n_samples_seen_": header.get("n_samples_seen", 0),
        "feature_names_": names,
        **known,
    }


def _columns(header: dict[str, Any], names: Any) -> Columns | None:
    """How a table becomes inputs; None in files from before there was anything to be done."""
    if "columns" not in header:
        return None
    return columns_from(header["columns"], names, header["single"])


def _of_classifier(network: PlainNetwork, header: dict[str, Any], _: Arrays) -> dict[str, Any]:
    classes = read_labels(header)
    if classes.shape != (network.out_size,):
        raise ValueError(f"its classes have shape {classes.shape}")
    return {"classes_": classes}


def _of_regressor(network: PlainNetwork, header: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    scale = _scale("target", arrays, network.out_size)
    return {"_target_scale": scale, "_one_output": header["one_output"]}


OWN = {"SENNClassifier": _of_classifier, "SENNRegressor": _of_regressor}


def _scale(name: str, arrays: Arrays, size: int) -> Scale:
    """Mean and scale of `size` columns each; a `ValueError` if they cannot be that."""
    mean, scale = arrays[f"{name}_mean"], arrays[f"{name}_scale"]
    for array in (mean, scale):
        if array.shape != (size,) or array.dtype != float or not np.isfinite(array).all():
            raise ValueError(f"its {name} scaler is not {size} finite numbers each")
    if not (scale > 0).all():
        raise ValueError(f"its {name} scaler divides by what is not above 0")
    return mean, scale
