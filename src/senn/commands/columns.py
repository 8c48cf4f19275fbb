"""What `senn train` did with the columns of a table, told as training begins."""

from typing import Any

from rich.table import Table

from senn.callbacks import Callback


class ColumnsTold(Callback):
    """Prints one short table: how columns became inputs, and which."""

    def __init__(self, estimator: Any, console: Any):  # noqa: D107
        self.estimator, self.console, self.told = estimator, console, False

    def on_start(self, max_steps: int | None) -> None:  # noqa: ARG002, D102
        columns = self.estimator._columns
        if self.told or columns is None or columns.are_plain:
            return
        self.told = True  # of an ensemble once
        from senn.columns import described

        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        for treatment, names in described(columns):
            table.add_row(treatment, names)
        if self.console.is_terminal:
            self.console.print(table)
            return
        for treatment, names in described(columns):
            self.console.print(f"{treatment}: {names}", soft_wrap=True)
