"""What the files of a run's folder are called, and whether a folder is a run's: without JAX."""

import json
import os
from pathlib import Path
from typing import Any

MODEL, LEDGER, CONFIG = "model.senn", "history.jsonl", "config.json"
PREDICTIONS = "predictions.npz"
FORMAT = "senn-run"


def is_run(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a run, finished or interrupted, that has written its model."""
    try:
        return read_config(Path(folder)).get("format") == FORMAT
    except (OSError, ValueError, RecursionError):
        return False


def read_config(folder: Path) -> dict[str, Any]:
    """The settings and the summary of a run, or nothing if they are of another kind."""
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    return config if isinstance(config, dict) else {}
