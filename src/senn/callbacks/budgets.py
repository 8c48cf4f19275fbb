"""Budgets that end training, where those of `Policy` end growth alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from senn.callbacks.base import Callback, StopTraining
from senn.history import Addition, Consideration, Evaluation


@dataclass(eq=False)
class TimeBudget(Callback):
    """Ends training once so many seconds have passed since it began, compilation included.

    It is looked at after every compiled call of steps and after every search for units, which
    may take seconds each. `Schedule(max_seconds=…)` also anneals the learning rate in time.

    Args:
        seconds: since the start, above 0.
        clock: seconds that never run backwards.
    """

    seconds: float
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    _start: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self):  # noqa: D105
        if not self.seconds > 0:
            raise ValueError(f"TimeBudget needs seconds above 0; got {self.seconds!r}.")

    def on_start(self, max_steps: int | None) -> None:  # noqa: ARG002
        """Start the clock."""
        self._start = self.clock()

    def on_steps(self, step: int, loss: float) -> None:  # noqa: ARG002
        """Look at the clock."""
        self._look()

    def on_considerations(self, considerations: list[Consideration], reason: str) -> None:  # noqa: ARG002
        """Look at the clock."""
        self._look()

    def _look(self) -> None:
        if self.clock() - self._start >= self.seconds:
            raise StopTraining(f"the time budget of {self.seconds:g} seconds is used up")


@dataclass(eq=False)
class SizeBudget(Callback):
    """Ends training once the network has reached a size.

    `Policy(max_units=…)` ends growth there, keeps within the budget, and trains on. This ends
    training, and one addition may overshoot.

    Args:
        max_units: hidden units in all.
        max_parameters: active parameters. At least one of the two must be given.
    """

    max_units: int | None = None
    max_parameters: int | None = None

    def __post_init__(self):  # noqa: D105
        if self.max_units is None and self.max_parameters is None:
            raise ValueError("SizeBudget needs max_units or max_parameters; got neither.")

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Look at the size, which may have been reached from the start."""
        self._look(evaluation.hidden_sizes, evaluation.n_parameters)

    def on_addition(self, addition: Addition) -> None:
        """Look at the size."""
        self._look(addition.hidden_sizes, addition.n_parameters)

    def _look(self, hidden_sizes: tuple[int, ...], n_parameters: int) -> None:
        for has, most, what in (
            (sum(hidden_sizes), self.max_units, "hidden units"),
            (n_parameters, self.max_parameters, "parameters"),
        ):
            if most is not None and has >= most:
                raise StopTraining(f"the size budget of {most:,} {what} is reached, with {has:,}")
