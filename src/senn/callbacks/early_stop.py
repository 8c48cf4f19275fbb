"""Ending training when a figure no longer gets better."""

import math
from dataclasses import dataclass, field

from senn.callbacks.base import Callback, StopTraining
from senn.history import Evaluation

SIGNS = {"loss": 1, "validation_loss": 1, "validation_score": -1}  # −1: the higher the better


@dataclass(eq=False)
class EarlyStop(Callback):
    """Ends training after `patience` evaluations in a row without a better figure.

    By itself `fit` ends growth on such a plateau, anneals the learning rate and then stops; this
    stops at once, whatever phase training is in.

    Args:
        monitor: "validation_loss", "validation_score" (the higher the better) or "loss", that of
            training.
        patience: evaluations, at least 1.
        min_delta: by how much an evaluation must be better than the best to count, at least 0.
    """

    monitor: str = "validation_loss"
    patience: int = 10
    min_delta: float = 0.0
    # costs: the figure, or minus it where higher is better
    _best: float = field(default=math.inf, init=False, repr=False)
    _waited: int = field(default=0, init=False, repr=False)

    def __post_init__(self):  # noqa: D105
        if self.monitor not in SIGNS:
            raise ValueError(f"monitor={self.monitor!r} is not known; choose {', '.join(SIGNS)}.")
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1; got {self.patience!r}.")
        if not self.min_delta >= 0:
            raise ValueError(f"min_delta must be at least 0; got {self.min_delta!r}.")

    def on_start(self, max_steps: int | None) -> None:  # noqa: ARG002
        """Forget earlier runs."""
        self._best, self._waited = math.inf, 0

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Count evaluations without a better figure."""
        value = getattr(evaluation, self.monitor)
        if value is None:
            raise ValueError(
                f"EarlyStop(monitor={self.monitor!r}) needs validation data, and there are none: "
                'give some, or say monitor="loss".'
            )
        cost = SIGNS[self.monitor] * value
        if cost < self._best - self.min_delta:
            self._best, self._waited = cost, 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            what = self.monitor.replace("_", " ")
            raise StopTraining(f"no better {what} in {self._waited} evaluations")
