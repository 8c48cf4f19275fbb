"""The hooks, and how one of them ends training."""

from typing import TYPE_CHECKING, Any, NamedTuple

from senn.history import Addition, Consideration, Evaluation, History, Recovery, Removal

if TYPE_CHECKING:  # importing JAX takes seconds, and nothing here computes
    from senn.nn.tapped import AbstractTapped


class StopTraining(Exception):  # noqa: N818  no error, like StopIteration
    """Raised in a hook, ends training in good order.

    The other callbacks still hear of the event; then the network is evaluated, and `fit` returns
    the best one as usual. The first reason becomes `history.stop_reason`.
    """

    def __init__(self, reason: str):  # noqa: D107
        super().__init__(reason)
        self.reason = reason


class Snapshot(NamedTuple):
    """The network as it stands. It does not change any more, so it may be kept."""

    step: int
    network: "AbstractTapped"  # the running mean of the parameters: what is evaluated and returned


class Callback:
    """Override the hooks you need; all do nothing by default.

    A hook gets the record just made. Raising `StopTraining(reason)` in one ends training in good
    order. Raising `KeyboardInterrupt` ends it as Ctrl-C does: at once, and the network is
    returned as it is.
    """

    def on_start(self, max_steps: int | None) -> None:
        """Training is about to begin; `max_steps` is None if the data decide."""

    def on_compilation(self, program: str) -> None:
        """A program of that name is compiled for the first time on this machine: that takes time.

        Only with the compilation cache, for nobody knows without it.
        """

    def on_steps(self, step: int, loss: float) -> None:
        """Some steps were taken; `loss` is the last of them."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """The network was evaluated."""

    def on_considerations(self, considerations: list[Consideration], reason: str) -> None:
        """Growth was considered at every place; `reason` sums up the decision."""

    def on_addition(self, addition: Addition) -> None:
        """Units were added."""

    def on_removal(self, removal: Removal) -> None:
        """Units left."""

    def on_recovery(self, recovery: Recovery) -> None:
        """Training went back to the last good state."""

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """The network has changed: after steps, an addition or a removal, and before `on_stop`.

        The last snapshot is of the network that `fit` returns.
        """

    def on_pause(self, state: Any) -> None:
        """Between two chunks of steps; a run that goes on from `state` does what this one will.

        It is a `senn.training.state.RunState`, and changes as soon as this hook returns. Raising
        `KeyboardInterrupt` here ends training where it can be resumed.
        """

    def on_stop(self, history: History) -> None:
        """Training has ended; `history.stop_reason` says why."""
