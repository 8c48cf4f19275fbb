"""One call of `senn.fit`: what it was given, its clock, its ledger and its audience."""

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jaxtyping import PRNGKeyArray

from senn.arrays import key_of
from senn.batches import ArraySource, Batch, PassSource, StreamSource
from senn.callbacks.base import Callback, Snapshot, StopTraining
from senn.compilation import compilations
from senn.expand import without_spare
from senn.history import Ending
from senn.losses import AbstractLoss, AbstractMetric, make_metric
from senn.nn.tapped import AbstractTapped
from senn.optimizers import AbstractOptimizer
from senn.policy import Policy
from senn.processes import told
from senn.proposals import AbstractProposer
from senn.training.schedule import Schedule
from senn.training.state import RunState


@dataclass(eq=False)
class Run:
    """The settings, which stay, and `now`, which holds all that changes."""

    source: ArraySource | StreamSource | PassSource
    validation: Batch | None
    loss: AbstractLoss
    metric: AbstractMetric
    optimizer: AbstractOptimizer
    proposer: AbstractProposer
    policy: Policy
    schedule: Schedule
    callbacks: tuple[Callback, ...]
    now: RunState

    def __post_init__(self):  # noqa: D105
        self.score_metric = make_metric(self.policy.metric or self.metric, self.loss)
        self.rule = self.optimizer.as_arguments(self.loss, self.now.train.scale.dtype)
        self.history = self.now.history
        self.start = time.monotonic() - self.now.seconds
        self.first_count = compilations().programs - self.history.n_compilations
        self._asked = ""

    def end(self, by: Ending, reason: str) -> None:
        """Say why this is the end."""
        self.history.ended_by, self.history.stop_reason = str(by), reason

    def pause(self) -> None:
        """Bring the state up to date and tell of it: here the run could be taken up again."""
        self.count()
        self.now.position = self.source.position
        self.tell("on_pause", self.now)

    def count(self) -> None:
        """Steps, compilations and seconds so far, those before it was resumed included."""
        self.history.steps, self.now.seconds = self.now.step, self.seconds()
        self.history.n_compilations = compilations().programs - self.first_count

    def seconds(self) -> float:
        """Since the start, without the time between the last pause and being resumed."""
        return told(time.monotonic() - self.start)

    @property
    def asked(self) -> str:
        """Why a callback wants training to end, if one does."""
        return told(self._asked)

    def record(self, hook: str, record: Any) -> None:
        """Write a record into the ledger, and tell of it."""
        self.history.records.append(record)
        self.tell(hook, record)

    def tell_of_compilation(self, program: str) -> None:
        """Tell that a program is being compiled for the first time on this machine."""
        self.tell("on_compilation", program)

    def tell_of(self, network: AbstractTapped) -> None:
        """Show the network, without spare slots, to whoever looks on."""
        if self.callbacks:
            self.tell("on_snapshot", Snapshot(self.now.step, without_spare(network)))

    def tell(self, hook: str, *args) -> None:
        """Call a hook of all callbacks; one that asks for the end is remembered."""
        for callback in self.callbacks:
            try:
                getattr(callback, hook)(*args)
            except StopTraining as stop:
                self._asked = self._asked or stop.reason

    @contextmanager
    def timed(self, what: str):
        """Add the time spent to the ledger, compilation apart."""
        begin, compiled = time.monotonic(), compilations()
        try:
            yield
        finally:
            spent = compilations().since(compiled)
            own = max(time.monotonic() - begin - spent.seconds, 0.0)
            name = f"{what}_seconds"
            setattr(self.history, name, getattr(self.history, name) + own)
            self.history.compile_seconds += spent.seconds

    def draw_key(self) -> PRNGKeyArray:
        """A new key, made on the host: to split one on the device compiles programs."""
        return key_of(int(self.now.rng.integers(2**63)))
