"""The ledger as a file that is written while training goes on."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from senn.callbacks.base import Callback
from senn.history import Addition, Consideration, Evaluation, History, Recovery, Removal, to_row


@dataclass(eq=False)
class JSONLines(Callback):
    """Appends every record to a file as it is made: one JSON object a line.

    The lines are those of `History.to_json_lines`, except that the summary comes last, once
    training has ended. Each is handed to the system before training goes on, so a killed process
    loses none, and `History.from_json_lines` reads what is there.

    Args:
        path: the file; its folder is made.
        append: add to a file that exists, for a run that goes on; else it starts empty.
    """

    path: str | os.PathLike[str]
    append: bool = False

    def on_start(self, max_steps: int | None) -> None:  # noqa: ARG002
        """Make the file."""
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a" if self.append else "w", encoding="utf-8"):
            pass

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Append it."""
        self._write(to_row(evaluation))

    def on_considerations(self, considerations: list[Consideration], reason: str) -> None:  # noqa: ARG002
        """Append them."""
        self._write(*map(to_row, considerations))

    def on_addition(self, addition: Addition) -> None:
        """Append it."""
        self._write(to_row(addition))

    def on_removal(self, removal: Removal) -> None:
        """Append it."""
        self._write(to_row(removal))

    def on_recovery(self, recovery: Recovery) -> None:
        """Append it."""
        self._write(to_row(recovery))

    def on_stop(self, history: History) -> None:
        """Append the summary."""
        self._write(to_row(history))

    def _write(self, *rows: dict[str, Any]) -> None:
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        # opened anew each time: no handle to lose, to copy or to pickle
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(text)
