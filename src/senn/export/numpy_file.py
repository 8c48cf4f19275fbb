"""A model as arrays in one .npz file, and the function of it that predicts with NumPy alone."""

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from senn import __version__
from senn.columns.encoder import Columns
from senn.export.parts import Parts, parts_of
from senn.files import write_atomically
from senn.standalone import numpy_predict

NEEDED = {"numpy_columns": "From columns to inputs", "numpy_conv": "From images to rows"}


def to_numpy(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator as `path`, a .npz file, and beside it how to predict with it.

    For `model.npz` that is `model_predict.py`, `senn.standalone.numpy_predict` in one file, which
    needs NumPy and nothing else. No array needs pickle. Raises a `TypeError` for other estimators,
    and a `ValueError` for an activation of one's own, which that program does not have.
    """
    parts, file = parts_of(estimator), io.BytesIO()
    if parts.activation not in numpy_predict.BUILT_IN:
        known = ", ".join(numpy_predict.BUILT_IN)
        raise ValueError(
            f"The program that predicts with NumPy alone knows {known}, "
            f"not {parts.activation!r}: export to ONNX, or predict with senn."
        )
    np.savez(file, allow_pickle=False, **_arrays(parts))
    write_atomically(Path(path), file.getvalue())
    write_atomically(program_beside(path), program().encode())


def program() -> str:
    """The source of `numpy_predict`, with that of what it imports of senn."""
    source = Path(numpy_predict.__file__).read_text("utf-8")
    known = {line for line in source.splitlines() if line.startswith(("import ", "from "))}
    for module, what in NEEDED.items():
        text = Path(numpy_predict.__file__).with_name(f"{module}.py").read_text("utf-8")
        _, _, text = text.partition('"""\n\n')  # the end of its docstring
        imports, _, text = text.partition("import numpy as np\n")
        first, rest = re.split(rf"from senn\.standalone\.{module} import .*\n", source)
        source = f"{first}# --- {what} ---\n{text}\n{rest}"
        new = [line for line in imports.splitlines() if line and line not in known]
        known.update(new)
        source = source.replace("import json\n", "\n".join(["import json", *new, ""]), 1)
    return source


def program_beside(path: str | os.PathLike[str]) -> Path:
    """`model_predict.py` for `model.npz`: what can be imported has no other signs in its name."""
    stem = "".join(c if c.isalnum() else "_" for c in Path(path).stem)
    return Path(path).with_name(f"{stem}_predict.py")


def _columns(columns: Columns) -> dict[str, Any]:
    """What the program needs to make inputs of columns."""
    if columns.are_plain:
        return {"fill": np.array([spec["fill"] for spec in columns.specs])}
    return {"columns": np.array(json.dumps(columns.specs))}


def _arrays(parts: Parts) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "senn_version": np.array(__version__),
        "activation": np.array(parts.activation),
        "feature_names": np.array(parts.feature_names),
        "one_output": np.array(parts.one_output),
    }
    for m, (weight, bias, nodes) in enumerate(
        zip(parts.weights, parts.biases, parts.sources, strict=True)
    ):
        arrays |= {f"weight_{m}": weight, f"bias_{m}": bias, f"sources_{m}": np.array(nodes)}
    arrays |= {f"theta_{m}": theta for m, theta in enumerate(parts.thetas)}
    arrays |= {f"patches_{m}": np.array(cut.numbers) for m, cut in enumerate(parts.patches)}
    if parts.patches:
        arrays["image_shape"] = np.array(parts.image_shape)
    if parts.columns is not None:
        arrays |= _columns(parts.columns)
    if parts.inputs is not None:
        arrays |= {f"input_{name}": array for name, array in parts.inputs._asdict().items()}
    if parts.target_scale is not None:
        arrays |= {"target_mean": parts.target_scale[0], "target_scale": parts.target_scale[1]}
    if parts.multi_label:
        arrays["multi_label"] = np.array(True)
    return arrays if parts.classes is None else {**arrays, "classes": parts.classes}
