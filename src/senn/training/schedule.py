"""How long to train, and when to look."""

from dataclasses import dataclass

EVALUATE_EVERY = 10  # steps at least, unless the schedule says otherwise

_AT_LEAST_ONE = (
    "batch_size", "evaluate_every", "stop_after", "sample_size", "steps_per_call", "anneal_steps",
)  # fmt: skip


@dataclass(frozen=True)
class Schedule:
    """How long to train, and when to look.

    Args:
        max_steps: steps in all; None leaves it to `max_epochs` or to the data.
        max_epochs: passes over the data, whole ones over a stream; None leaves it to
            `max_steps` or to the data.
        max_seconds: time, compilation included; None is without limit.
        batch_size: examples a step, fewer if there are fewer.
        evaluate_every: steps between evaluations; None is an epoch, and at least 10.
        stop_after: evaluations without a better loss, once growth has ended, after which training
            stops unless it anneals; the loss is that of the validation data if there are any.
        anneal_epochs: passes over the data after growth has ended, in which the learning rate
            falls to zero as half a cosine; then training ends. None keeps the rate, and trains
            on until something else ends it. With an end known in steps it goes on to that end,
            and begins in time for it; with `max_seconds` it is over by then.
        anneal_steps: steps of annealing at least; all of them for a stream.
        tolerance: relative improvement that counts as better.
        averaging: what a step leaves of the running mean of the parameters, plain while it is
            young; that mean is what is evaluated and returned, for single steps follow the noise
            of their batch. 0 takes the parameters as they are.
        sample_size: examples on which units are fitted, half of the data at most. They are judged
            on four times as many others, as far as there are; from a stream, on as many.
        steps_per_call: steps in one compiled call.
    """

    max_steps: int | None = None
    max_epochs: float | None = None
    max_seconds: float | None = None
    batch_size: int = 512
    evaluate_every: int | None = None
    stop_after: int = 10
    tolerance: float = 1e-3
    averaging: float = 0.95
    anneal_epochs: float | None = 30
    anneal_steps: int = 300
    sample_size: int = 8192
    steps_per_call: int = 30

    def __post_init__(self):  # noqa: D105
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise ValueError(f"{name} must be at least 1; got {value!r}.")
        for name in ("max_steps", "max_epochs", "max_seconds", "tolerance", "anneal_epochs"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be at least 0; got {value!r}.")
        if not 0 <= self.averaging < 1:
            raise ValueError(f"averaging must be in [0, 1); got {self.averaging!r}.")

    def last_step(self, steps_per_epoch: int | None) -> int | None:
        """The step at which training ends whatever happens, if known."""
        ends = [] if self.max_steps is None else [self.max_steps]
        if self.max_epochs is not None and (steps_per_epoch or not self.max_epochs):
            ends.append(round(self.max_epochs * (steps_per_epoch or 0)))
        return min(ends, default=None)

    def evaluation_steps(self, steps_per_epoch: int | None) -> int:
        """Steps between evaluations."""
        return self.evaluate_every or max(steps_per_epoch or 0, EVALUATE_EVERY)

    def annealing_steps(self, steps_per_epoch: int | None, end: int | None) -> int:
        """Steps in which the learning rate falls to zero."""
        steps = max(round((self.anneal_epochs or 0) * (steps_per_epoch or 0)), self.anneal_steps)
        return steps if end is None else max(min(steps, end // 2), 1)
