"""Labels of any kind that a file can hold."""

from typing import Any

import numpy as np

from senn.readers import DataError

KINDS = "biufUSM"  # of NumPy, besides objects that are all text


def check_kind(classes: np.ndarray) -> None:
    """Refuse labels that no file of ours could hold: those of other kinds than `KINDS`."""
    odd = [label for label in classes.tolist() if not isinstance(label, str)]
    if classes.dtype.kind in KINDS or (classes.dtype == object and not odd):
        return
    raise DataError(
        f"Labels such as {str(odd[0] if odd else classes[0])[:40]!r} cannot be saved with a model "
        "(Unknown label type: unknown): give numbers, booleans, text, bytes or dates."
    )


def written_labels(classes: np.ndarray) -> dict[str, Any]:
    """Labels as JSON: bytes as Latin-1, dates as numbers of their unit, and their type."""
    dtype = classes.dtype
    if dtype.kind == "S":
        return {"classes": [label.decode("latin-1") for label in classes.tolist()],
                "classes_type": dtype.str}  # fmt: skip
    if dtype.kind == "M":
        return {"classes": classes.view(np.int64).tolist(), "classes_type": dtype.str}
    # Integers beyond the signed ones would be read as floating-point numbers.
    types = {"classes_type": dtype.str} if dtype.kind == "u" else {}
    return {"classes": classes.tolist(), **types}


def read_labels(header: dict[str, Any]) -> np.ndarray:
    """Labels as `written_labels` wrote them; a `ValueError` or `TypeError` for others."""
    kind = header.get("classes_type")
    if kind is None:
        return np.array(header["classes"])
    dtype = np.dtype(kind)
    if dtype.kind == "S":
        return np.array([label.encode("latin-1") for label in header["classes"]], dtype)
    if dtype.kind == "M":
        return np.array(header["classes"], np.int64).view(dtype)
    if dtype.kind != "u":
        raise ValueError(f"its classes are of an unknown type {kind!r}")
    return np.array(header["classes"], dtype)
