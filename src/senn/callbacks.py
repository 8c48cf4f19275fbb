"""Objects that are told what happens during training."""

from typing import Any

from senn.history import Addition, Consideration, Evaluation, History, Recovery


class Callback:
    """Override the hooks you need; all do nothing by default.

    A hook gets the record just made. Raising `KeyboardInterrupt` in one ends training as
    Ctrl-C does: the network is returned as it is.
    """

    def on_start(self, max_steps: int | None) -> None:
        """Training is about to begin; `max_steps` is None if the data decide."""

    def on_steps(self, step: int, loss: float) -> None:
        """Some steps were taken; `loss` is the last of them."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """The network was evaluated."""

    def on_considerations(self, considerations: list[Consideration], reason: str) -> None:
        """Growth was considered at every location; `reason` sums up the decision."""

    def on_addition(self, addition: Addition) -> None:
        """Units were added."""

    def on_recovery(self, recovery: Recovery) -> None:
        """Training went back to the last good state."""

    def on_pause(self, state: Any) -> None:
        """Between two chunks of steps; a run that goes on from `state` does what this one will.

        It is a `senn.state.RunState`, and changes as soon as this hook returns. Raising
        `KeyboardInterrupt` here ends training where it can be resumed.
        """

    def on_stop(self, history: History) -> None:
        """Training has ended; `history.stop_reason` says why."""
