"""What is in the files of fitted estimators, checked. Needs neither JAX nor scikit-learn."""

import os
from typing import Any, NamedTuple

import numpy as np

from senn.columns.encoder import Columns, columns_from
from senn.history import History
from senn.labels import read_labels
from senn.model_file import ModelFileError, read_model
from senn.plain import PlainNetwork
from senn.readers import first_sentence
from senn.rescaling import Inputs, Scale, of_scale


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
    encoded = len(names) if columns is None else columns.size
    inputs = _inputs(arrays, encoded) if header["standardize"] else None
    size = network.in_size if inputs is None else network.in_size - len(inputs.column)
    if columns is None and [type(name) for name in names] != [str] * size:
        raise ValueError(f"its feature names are not {size} texts")
    if columns is not None and columns.size != size:
        raise ValueError(f"its columns become {columns.size} inputs, not {size}")
    known = {"feature_names_in_": np.array(names, object)} if header.get("named_features") else {}
    return {
        "_plain": network,
        "_inputs": inputs,
        "_online": None,
        "history_": History(stop_reason="loaded from a file"),
        "n_features_in_": len(names),
        "_columns": columns,
        "n_samples_seen_": header.get("n_samples_seen", 0),
        "feature_names_": names,
        "_image_shape": _image_shape(network, header),
        **known,
    }


def _image_shape(network: PlainNetwork, header: dict[str, Any]) -> tuple[int, ...]:
    """Of the images that were learned from; () of rows."""
    if not network.patches:
        return ()
    shape = tuple(header["image_shape"])
    if (*shape, 1)[:3] != (*network.grid, network.in_size):
        raise ValueError(f"its images have shape {shape}, not that which its network reads")
    return shape


def _columns(header: dict[str, Any], names: Any) -> Columns | None:
    """How a table becomes inputs; None in files from before there was anything to be done."""
    if "columns" not in header:
        return None
    return columns_from(header["columns"], names, header["single"])


def _of_classifier(network: PlainNetwork, header: dict[str, Any], _: Arrays) -> dict[str, Any]:
    if header.get("multi_label") is True:
        return {"classes_": np.arange(network.out_size), "_multi_label": True}
    classes = read_labels(header)
    if classes.shape != (network.out_size,):
        raise ValueError(f"its classes have shape {classes.shape}")
    return {"classes_": classes}


def _of_regressor(network: PlainNetwork, header: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    scale = _scale("target", arrays, network.out_size)
    return {"_target_scale": scale, "_one_output": header["one_output"]}


OWN = {"SENNClassifier": _of_classifier, "SENNRegressor": _of_regressor}


def _inputs(arrays: Arrays, columns: int) -> Inputs:
    """How rows of so many columns are prepared; files before format 3 standardise them alone."""
    scale = _scale("input", arrays, columns)
    if "input_bound" not in arrays:
        return of_scale(scale)
    inputs = Inputs(*(arrays[f"input_{name}"] for name in Inputs._fields))
    codes = inputs[3:]
    if inputs.bound.shape != () or not inputs.bound > 0:
        raise ValueError("its inputs are not bounded by one number above 0")
    known = (inputs.column >= 0) & (inputs.column < columns)
    if inputs.column.dtype.kind != "i" or not known.all():
        raise ValueError(f"its codes are not all of {columns} columns")
    if any(a.ndim != 1 or len(a) != len(codes[0]) or not np.isfinite(a).all() for a in codes):
        raise ValueError("its codes are not as many finite numbers each")
    if not (inputs.width > 0).all() or not (inputs.code_scale > 0).all():
        raise ValueError("its codes divide by what is not above 0")
    return inputs


def _scale(name: str, arrays: Arrays, size: int) -> Scale:
    """Mean and scale of `size` columns each; a `ValueError` if they cannot be that."""
    mean, scale = arrays[f"{name}_mean"], arrays[f"{name}_scale"]
    for array in (mean, scale):
        if array.shape != (size,) or array.dtype != float or not np.isfinite(array).all():
            raise ValueError(f"its {name} scaler is not {size} finite numbers each")
    if not (scale > 0).all():
        raise ValueError(f"its {name} scaler divides by what is not above 0")
    return mean, scale
