"""Training as TensorBoard shows it, without TensorFlow or PyTorch."""

import os
from dataclasses import dataclass, field
from typing import Any

from senn.callbacks.base import Callback
from senn.history import Addition, Consideration, Evaluation, History, Recovery, Removal

FLUSH_SECONDS = 5


@dataclass(eq=False)
class TensorBoard(Callback):
    """Writes events for `tensorboard --logdir DIR`: losses, scores, sizes, decisions in words.

    Needs tensorboardX, which comes with `senn[tensorboard]`; an `ImportError` says so when the
    callback is made, before any training.

    Args:
        folder: where the events go; it is made. One folder a run keeps runs apart.
    """

    folder: str | os.PathLike[str]
    # set while training alone: a writer cannot be copied or pickled
    _writer: Any = field(default=None, init=False, repr=False)

    def __post_init__(self):  # noqa: D105
        _writer_class()

    def on_start(self, max_steps: int | None) -> None:  # noqa: ARG002
        """Open the file of events."""
        self.close()
        self._writer = _writer_class()(os.fspath(self.folder), flush_secs=FLUSH_SECONDS)

    def on_steps(self, step: int, loss: float) -> None:
        """The loss of the last batch."""
        self._scalars(step, {"loss/batch": loss})

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Losses, score and size."""
        e = evaluation
        self._scalars(
            e.step,
            {
                "loss/training": e.loss,
                "loss/validation": e.validation_loss,
                "score/validation": e.validation_score,
                "growth/eta": e.eta,
                **_sizes(e.hidden_sizes, e.n_parameters),
            },
        )

    def on_considerations(self, considerations: list[Consideration], reason: str) -> None:
        """The best score of each kind of place, and the decision in words."""
        for kind in sorted({c.kind for c in considerations}):
            best = max((c for c in considerations if c.kind == kind), key=lambda c: c.score)
            self._scalars(best.step, {f"growth/best_score_{kind}": best.score})
        if considerations:
            self._say("decision", reason, considerations[0].step)

    def on_addition(self, addition: Addition) -> None:
        """The size, and the addition in words."""
        self._scalars(addition.step, _sizes(addition.hidden_sizes, addition.n_parameters))
        what = f"{addition.units} × {addition.kind} at {addition.position}: {addition.reason}"
        self._say("addition", what, addition.step)

    def on_removal(self, removal: Removal) -> None:
        """The size, and the removal in words."""
        self._scalars(removal.step, _sizes(removal.hidden_sizes, removal.n_parameters))
        what = f"{removal.units} × {removal.kind} at {removal.position}: {removal.reason}"
        self._say("removal", what, removal.step)

    def on_recovery(self, recovery: Recovery) -> None:
        """The recovery in words."""
        self._say("recovery", recovery.reason, recovery.step)

    def on_stop(self, history: History) -> None:
        """Why training ended; the file is closed."""
        self._say("stop", history.stop_reason, history.steps)
        self.close()

    def close(self) -> None:
        """Write what is left and close the file; does no harm when called again."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _scalars(self, step: int, values: dict[str, float | None]) -> None:
        if self._writer is not None:
            for tag, value in values.items():
                if value is not None:
                    self._writer.add_scalar(tag, value, step)

    def _say(self, tag: str, text: str, step: int) -> None:
        if self._writer is not None:
            self._writer.add_text(tag, text, step)


def _sizes(hidden_sizes: tuple[int, ...], n_parameters: int) -> dict[str, float | None]:
    layers = {f"size/layer_{layer}": n for layer, n in enumerate(hidden_sizes)}
    return {
        "size/units": sum(hidden_sizes),
        "size/layers": len(hidden_sizes),
        "size/parameters": n_parameters,
        **layers,
    }


def _writer_class() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "TensorBoard needs tensorboardX: pip install 'senn[tensorboard]'."
        ) from error
    return SummaryWriter
