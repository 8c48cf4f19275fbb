"""All that changes during a run.

A run is its settings, its data, and one `RunState`, which holds everything else:

- the network, with the slots it has set aside, the optimiser's state, the running mean and how
  old it is, and what the learning rate is multiplied by (`TrainState`);
- the random streams: the generator of the samples that growth looks at and of the keys of its
  searches, and, in `position`, the generator that shuffles the data;
- the position in the data: the batches still to come of what was shuffled last;
- the counters by which the loop decides what is next, and the phase that it is in;
- the best network so far, what steps have seen since the last evaluation, and the ledger;
- the seconds spent, which budgets of time go on counting from.

Nothing else is remembered from one step to the next. So a run that goes on from a state, with
the same settings, data and machine, does bit for bit what it would have done undisturbed: what
is not in the state (compiled programs, the moments of a look) is computed from it again.

The state is whole whenever `Callback.on_pause` is told of it: before every chunk of steps, never
between a chunk and the evaluation or the growth that is due after it.
"""

import dataclasses
import sys
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from senn.arrays import to_device
from senn.batches import Position
from senn.history import History
from senn.nn.tapped import AbstractTapped
from senn.optimizers import AbstractOptimizer, StepInfo

MANY = sys.maxsize  # units: so many that no look is put off for them


class ResumeError(ValueError):
    """A run cannot go on from a state; the message is one sentence."""


class TrainState(NamedTuple):
    """All that a step changes."""

    network: AbstractTapped
    optimizer: Any
    scale: Float[Array, ""]  # multiplies the learning rate
    average: AbstractTapped  # running mean of the network, which is what is evaluated and returned
    averaging: Float[Array, ""]  # what a step leaves of that mean
    age: Int[Array, ""]  # steps in that mean

    @classmethod
    def of(
        cls, network: AbstractTapped, optimizer: AbstractOptimizer, averaging: float = 0.0
    ) -> "TrainState":
        """The state before the first step."""
        one, kept = (to_device(v, network.dtype) for v in (1, averaging))
        age = to_device(0, jnp.int32)
        return cls(network, optimizer.init(network), one, network, kept, age)


class Annealing(NamedTuple):
    """The phase after growth, in which the learning rate falls to zero."""

    first: int  # step
    last: int
    begun: float  # seconds since the start

    def rate(self, step: np.ndarray, seconds: float, limit: float | None) -> np.ndarray:
        """Half a cosine over the steps, or over the seconds until `limit` if those end first."""
        done = (step - self.first) / max(self.last - self.first, 1)
        if limit is not None:
            done = np.maximum(done, (seconds - self.begun) / max(limit - self.begun, 1e-9))
        return 0.5 * (1 + np.cos(np.pi * np.clip(done, 0, 1)))


class Best(NamedTuple):
    """The best evaluation so far."""

    loss: float
    network: AbstractTapped | None  # None without validation data
    step: int


@dataclass
class RunState:
    """All that changes during a run, in place; see the module's description.

    `senn.fit(..., resume=state)` goes on from it. With `fingerprint` and `position` None it does
    so on any data, from their beginning.
    """

    train: TrainState
    rng: np.random.Generator  # of the samples that growth looks at, and of keys
    next_look: int  # step
    growing: bool
    settings: dict[str, Any] = field(default_factory=dict)  # what `fit` was asked, for the record
    fingerprint: str | None = None  # of the data; None for a stream
    position: Position | None = None  # in the data; None is their beginning
    step: int = 0
    last_layer: int = 0  # the step at which one was added
    refusals: int = 0  # considerations in a row in which nothing passed α
    stale: int = 0  # evaluations in a row without a better loss
    waits: int = 0  # considerations in a row that added nothing
    found: int = MANY  # units that the last addition added; MANY for a layer, and before any
    observed: int = 0  # rows whose inputs the optimiser has been told of
    settle_at: int | None = None  # the step at which the size is settled, once growth has ended
    annealing: Annealing | None = None
    best: Best = field(default_factory=lambda: Best(np.inf, None, 0))
    infos: list[StepInfo] = field(default_factory=list)  # since the last evaluation
    history: History = field(default_factory=History)
    seconds: float = 0.0  # spent until the last pause


def described(value: Any) -> Any:
    """Settings as JSON: dataclasses by their fields, words and numbers, of all else the type."""
    if isinstance(value, np.ndarray) and not value.ndim:
        value = value.item()
    if isinstance(value, list | tuple):
        return [described(part) for part in value]
    if dataclasses.is_dataclass(value):
        fields = {f.name: described(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | None) else type(value).__name__
