"""The training loop: steps, evaluations and growth, in turn."""

import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from threadpoolctl import threadpool_limits

from senn import shapes
from senn.arrays import key_of
from senn.batches import (
    FEWEST_IN_BLOCKS,
    FEWEST_IN_SAMPLE,
    ArraySource,
    Batch,
    Chunk,
    Room,
    StreamSource,
    checked,
    make_source,
)
from senn.callbacks.base import Callback, Snapshot, StopTraining
from senn.compilation import QUICK, Program, compilations, listening
from senn.evaluation import ROWS_AT_ONCE, evaluate
from senn.evaluation import prepare as prepare_evaluation
from senn.expand import with_slots, without_spare
from senn.growth import add, first_layer, look, prepare, propose_all
from senn.history import Addition, Consideration, Ending, Evaluation, History, Recovery
from senn.linalg import running_mean
from senn.losses import (
    LOSSES,
    AbstractLoss,
    AbstractMetric,
    SoftmaxCrossEntropy,
    SquaredError,
    among_loss,
    make_loss,
    make_metric,
    mean_loss,
    takes_spares,
)
from senn.machine import trim_memory
from senn.nn.graph import AbstractLayered, AbstractTapped, from_the_start
from senn.optimizers import AbstractOptimizer, StepInfo, make_optimizer
from senn.policy import Decision, Policy, Verdict
from senn.proposals import AbstractProposer, Projection, Proposal
from senn.proposals.base import join
from senn.state import MANY, Annealing, Best, ResumeError, RunState, TrainState, described

Net = TypeVar("Net", bound=AbstractTapped)

EVALUATE_EVERY = 10  # steps at least, unless the schedule says otherwise
JUDGED_ROWS = ROWS_AT_ONCE  # on which the loss before and after an addition is compared
MOST_IN_BLOCKS = 1024  # inputs of samples with room for many rows, lest they take much memory
LARGE_STEP = 2**18  # numbers in a batch, from which the speed of a step matters most
WORTH_TRIMMING = 0.5  # seconds of training, beside which it takes none
MAX_RECOVERIES = 3
RECOVERY_FACTOR = 0.1  # on the learning rate, each time
NOT_FINITE = "the loss was not finite"


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


_AT_LEAST_ONE = (
    "batch_size", "evaluate_every", "stop_after", "sample_size", "steps_per_call", "anneal_steps",
)  # fmt: skip


def fit(
    network: Net,
    data: Any,
    *,
    validation: Any = None,
    loss: str | AbstractLoss | None = None,
    metric: str | AbstractMetric | None = None,
    optimizer: str | AbstractOptimizer | optax.GradientTransformation = "kfac",
    proposer: AbstractProposer | None = None,
    policy: Policy | None = None,
    schedule: Schedule | None = None,
    callbacks: Sequence[Callback] = (),
    seed: int = 0,
    resume: RunState | None = None,
) -> tuple[Net, History]:
    """Train a network and let it grow.

    Args:
        network: where to start; it is not changed.
        data: (x [N, I], y) or (x, y, weight) arrays, or any iterable of such batches. One that
            can be iterated more than once is, epoch after epoch; an iterator is used up.
        validation: (x, y) or (x, y, weight), for the ledger and for early stopping. With it the
            network of the best evaluation is returned, else the last.
        loss: "softmax_cross_entropy", "binary_cross_entropy", "squared_error" or a
            `senn.losses` object; None takes the first for class codes (integers) and the last
            for numbers.
        metric: output metric M of the optimiser, "fisher" or "euclidean" (the paper's); None is
            "euclidean" for `NaturalGradient`, else "fisher". That of the score is the policy's.
        optimizer: "kfac", "natural_gradient" (the paper's), "warm_natural_gradient", "adam", a
            `senn.optimizers` object or any optax transformation.
        proposer: the search for new units; None is `Projection()`.
        policy: when and where to grow; None is `Policy()`.
        schedule: how long to train; None is `Schedule()`, which anneals the learning rate once
            growth has ended, and stops.
        callbacks: told what happens.
        seed: of the order of the data and of the search.
        resume: the state of an earlier run to go on from, which is taken over and changed;
            `network` and `seed` are not used then. With the same settings and the same data the
            run ends as it would have ended undisturbed. Other data are refused, unless the
            state's `fingerprint` and `position` are None.

    Returns:
        The trained network and the ledger. Ctrl-C ends training and returns the network as it
        is, with `history.stop_reason` "interrupted".
    """
    schedule, policy = schedule or Schedule(), policy or Policy()
    network = network if resume is None else resume.train.network  # pyright: ignore[reportAssignmentType]
    if policy.square_layers and isinstance(network, AbstractLayered):
        policy.check_activation(network.activation)
    rng, rule = np.random.default_rng(seed), make_optimizer(optimizer)
    if policy.unit_scale is None:
        policy = replace(policy, unit_scale=rule.unit_scale)
    source = make_source(
        data, schedule.batch_size, 2 * schedule.sample_size, rng, schedule.max_epochs,
        watch_inputs=rule.watches_inputs,
    )  # fmt: skip
    del data  # the source has a copy of its own
    loss = _default_loss(source) if loss is None else make_loss(loss)
    held_out = None if validation is None else checked(Batch.on_host(*validation))
    for targets in (source.targets, None if held_out is None else held_out.y):
        if targets is not None:
            loss.check(targets, network.out_size)
    settings = {
        "loss": loss,
        "metric": make_metric(rule.metric if metric is None else metric, loss),
        "optimizer": rule,
        "proposer": proposer or Projection(),
        "policy": policy,
        "schedule": schedule,
    }
    room = _room(network, settings)
    source.room = room
    network = with_slots(network, room.inputs, room.outputs)
    state = resume or first_state(network, rule, policy, schedule, seed)
    state.train = _with_room(state, rule, room)
    state.settings = {name: described(value) for name, value in settings.items()}
    _begin(state, source, held_out)
    run = _Run(
        source=source, validation=held_out, callbacks=tuple(callbacks), now=state, **settings
    )
    return run.run()


def _room(network: AbstractTapped, settings: dict[str, Any]) -> Room:
    """The slots of inputs and outputs that networks of this size are trained with."""
    loss, metric = settings["loss"], settings["metric"]
    of_score = make_metric(settings["policy"].metric or metric, loss)
    spares = takes_spares(loss, metric) and takes_spares(loss, of_score)
    outputs = shapes.out_slots(network.out_size) if spares else network.out_size
    spare = len(network.graph.inputs) == 1
    inputs = shapes.in_slots(network.in_size) if spare else network.in_slots
    square = settings["policy"].square_layers
    in_blocks = settings["proposer"].in_blocks and not square and inputs <= MOST_IN_BLOCKS
    sample = FEWEST_IN_BLOCKS if in_blocks else FEWEST_IN_SAMPLE
    return Room(inputs, outputs, loss, network.in_size, network.out_size, sample)


def _with_room(state: RunState, optimizer: AbstractOptimizer, room: Room) -> TrainState:
    """The state of training with just those slots; what depends on them is to be seen anew."""
    train = state.train
    if (train.network.in_slots, train.network.out_slots) == (room.inputs, room.outputs):
        return train
    network, average, kept = with_slots(
        (train.network, train.average, train.optimizer), room.inputs, room.outputs
    )
    state.observed = 0
    return train._replace(
        network=network, average=average, optimizer=optimizer.grown(kept, network)
    )


def first_state(
    network: AbstractTapped,
    optimizer: AbstractOptimizer,
    policy: Policy,
    schedule: Schedule,
    seed: int,
) -> RunState:
    """The state of a run before its first step.

    Whoever gives it to `senn.fit(..., resume=state)`, which changes it in place, has the state
    at the end too, and can go on from there, with other data if they are streams.
    """
    rng = np.random.default_rng(seed)
    return RunState(
        train=TrainState.of(from_the_start(network), optimizer, schedule.averaging),
        rng=rng.spawn(1)[0],  # of its own: growth leaves the order of the data as it is
        next_look=policy.next_look(0, policy.most_units(), 0),
        growing=policy.width or policy.depth,
    )


def _begin(state: RunState, source: ArraySource | StreamSource, held_out: Batch | None) -> None:
    """Stand where the state says in the data, if they are those that it says."""
    found = source.fingerprint(*([] if held_out is None else [held_out]))
    if state.fingerprint not in (None, found):
        raise ResumeError(
            "The data are not those of the run to be resumed: give the same rows in the same "
            "order, or start anew."
        )
    state.fingerprint = found
    state.history.stop_reason = state.history.ended_by = ""
    if state.position is not None:
        source.position = state.position


def _train_chunk(
    state: TrainState,
    optimizer: AbstractOptimizer,
    loss: AbstractLoss,
    metric: AbstractMetric,
    data: Batch,
    rows: Int[Array | np.ndarray, "steps B"],
    scales: Float[Array | np.ndarray, " steps"],
    n: Int[Array | np.integer, ""],
) -> tuple[TrainState, StepInfo, Float[Array, ""]]:
    """The first `n` of several steps in one compiled call; `scales` multiply the learning rate.

    Returns the state after them, what each step saw (stacked; zeros beyond n), and the loss on
    the last batch after the last step.
    """
    dynamic, static = eqx.partition(state, eqx.is_array)

    def take(dynamic, s):
        now = eqx.combine(dynamic, static)
        network, optimizer_state, info = optimizer.step(
            now.network, now.optimizer, loss, metric, data[rows[s]], scales[s] * now.scale
        )
        after = now._replace(
            network=network,
            optimizer=optimizer_state,
            average=running_mean(now.average, network, now.averaging, now.age),
            age=now.age + 1,
        )
        return eqx.filter(after, eqx.is_array), info

    def step(s, carry):
        dynamic, infos = carry
        dynamic, info = take(dynamic, s)
        return dynamic, jax.tree.map(
            lambda seen, v: seen.at[s].set(v.astype(seen.dtype)), infos, info
        )

    steps = scales.shape[0]
    blank = StepInfo.blank(steps, scales.dtype)
    dynamic, infos = jax.lax.fori_loop(0, n, step, (dynamic, blank))
    after, last = eqx.combine(dynamic, static), data[rows[n - 1]]
    some = among_loss(after.network.active_outputs, loss)
    return after, infos, mean_loss(some, after.network(last.x), last.y, last.weight)


# Steps on few numbers take a tenth longer for QUICK, and all of them less than is saved by it.
train_chunk, train_large_chunk = Program(_train_chunk, QUICK), Program(_train_chunk)


@dataclass(eq=False)
class _Run:
    """One call of `fit`: the settings, which stay, and `now`, which holds all that changes."""

    source: ArraySource | StreamSource
    validation: Batch | None
    loss: AbstractLoss
    metric: AbstractMetric
    optimizer: AbstractOptimizer
    proposer: AbstractProposer
    policy: Policy
    schedule: Schedule
    callbacks: tuple[Callback, ...]
    now: RunState

    def __post_init__(self):
        self.score_metric = make_metric(self.policy.metric or self.metric, self.loss)
        self.history = self.now.history
        self.start = time.monotonic() - self.now.seconds
        self.first_count = compilations().programs - self.history.n_compilations
        self.asked = ""  # why a callback wants training to end

    # --- the loop -------------------------------------------------------------------------

    def run(self) -> tuple[Any, History]:
        end = self.schedule.last_step(self.source.steps_per_epoch)
        before = self.seconds()
        try:
            self.tell("on_start", end)
            # LAPACK's matrices are small here: threads of its own only wait for each other, and
            # where other programs keep the cores busy, steps take several times as long.
            with threadpool_limits(1, "blas"), listening(self.tell_of_compilation):
                with self.timed("growth"):
                    self.prepare()
                while not self.history.stop_reason:
                    self.advance(end)
                    self.heed()
        except KeyboardInterrupt:
            self.end(Ending.INTERRUPTED, "interrupted")
        except BaseException as error:
            self.end(Ending.FAILED, f"failed with {type(error).__name__}")
            raise
        finally:
            self.count()
            if self.seconds() - before > WORTH_TRIMMING:
                trim_memory()
            network, self.history.returned_step = self.result()
            self.tell("on_snapshot", Snapshot(self.history.returned_step, network))
            self.tell("on_stop", self.history)
        return network, self.history

    def advance(self, end: int | None) -> None:
        """To the next evaluation or consideration, whichever is first, and through it."""
        every = self.schedule.evaluation_steps(self.source.steps_per_epoch)
        latest = self.anneal_in_time(end)
        stops = [
            _next_multiple(self.now.step, every),
            self.now.next_look if self.now.growing else None,
            self.now.annealing.last if self.now.annealing else latest,
            end,
        ]
        if not self.train_to(min(stop for stop in stops if stop is not None)):
            if self.now.infos:  # steps that no evaluation has seen
                self.evaluate()
            return
        ended = self.ended(end)
        if ended or self.now.step % every == 0:
            self.evaluate()
        ended = ended or self.asked_for()
        if ended:
            self.end(*ended)
        elif self.now.growing and self.now.step >= self.now.next_look:
            self.consider()
        self.notice_plateau()

    def heed(self) -> None:
        """End training if a callback asked for it at growth."""
        if self.asked and not self.history.stop_reason:
            if self.now.infos:  # steps that no evaluation has seen
                self.evaluate()
            self.end(Ending.CALLBACK, self.asked)

    def end(self, by: Ending, reason: str) -> None:
        """Say why this is the end."""
        self.history.ended_by, self.history.stop_reason = str(by), reason

    def notice_plateau(self) -> None:
        """End growth, and after it training, once the loss has stopped falling."""
        if self.now.growing:
            if self.now.stale >= self.policy.plateau:
                self.end_growth()
            return
        if self.now.annealing or self.history.stop_reason:  # annealing lowers it late
            return
        stale = self.now.stale
        if stale >= self.schedule.stop_after:
            self.end(Ending.PLATEAU, f"no better loss in {stale} evaluations after growth")

    def end_growth(self) -> None:
        """From now on nothing is added; evaluations without a better loss count anew."""
        if self.now.growing:
            self.now.growing, self.now.stale = False, 0
            self.history.growth_ended = self.now.step

    def anneal_in_time(self, end: int | None) -> int | None:
        """Begin to anneal once growth has ended or must; the step at which it must, if later."""
        if self.schedule.anneal_epochs is None or self.now.annealing is not None:
            return None
        steps = self.schedule.annealing_steps(self.source.steps_per_epoch, end)
        latest = None if end is None else end - steps
        if self.half_time_over() or (latest is not None and self.now.step >= latest):
            self.end_growth()
        if self.now.growing:
            return latest
        last = self.now.step + steps if end is None else end
        self.now.annealing = Annealing(self.now.step, last, self.seconds())
        return None

    def half_time_over(self) -> bool:
        """Whether what is left of `max_seconds` is for annealing."""
        limit = self.schedule.max_seconds
        return limit is not None and self.seconds() >= limit / 2

    def rates(self, steps: int) -> np.ndarray:
        """What the learning rate is multiplied by in the next steps."""
        if self.now.annealing is None:
            return np.ones(steps)
        at, limit = self.now.step + np.arange(steps), self.schedule.max_seconds
        return self.now.annealing.rate(at, self.seconds(), limit)

    def asked_for(self) -> tuple[Ending, str] | None:
        """That a callback wants training to end, and why."""
        return (Ending.CALLBACK, self.asked) if self.asked else None

    def ended(self, end: int | None) -> tuple[Ending, str] | None:
        """By what, and why, training ends at this step, if it does."""
        if self.asked:
            return self.asked_for()
        if end is not None and self.now.step >= end:
            return Ending.STEPS, f"{end} steps done"
        if self.now.annealing is not None and self.now.step >= self.now.annealing.last:
            return Ending.ANNEALED, "the learning rate has been annealed after growth ended"
        limit = self.schedule.max_seconds
        if limit is not None and self.seconds() >= limit:
            return Ending.SECONDS, f"{limit:g} seconds used"
        return None

    # --- steps ----------------------------------------------------------------------------

    def train_to(self, target: int) -> bool:
        """Take steps until `target`; False if training ended on the way."""
        while self.now.step < target and not self.asked:
            self.pause()
            with self.timed("training"):
                chunk = self.source.chunk(self.schedule.steps_per_call, target - self.now.step)
                self.observe_inputs()
                taken = chunk is not None and self.take(chunk)
            if chunk is None:
                self.end(Ending.DATA, "the data ended")
                return False
            if not taken and not self.recover():
                return False
            if self.ended(None) or (self.now.growing and self.half_time_over()):
                break
        return True

    def observe_inputs(self) -> None:
        """Tell the optimiser of the inputs, and again once twice as many have been seen."""
        if not self.optimizer.watches_inputs or self.source.rows < max(2 * self.now.observed, 1):
            return
        moment = self.source.input_moment()
        if not moment.rows:  # none that is finite
            return
        self.now.train = self.now.train._replace(
            optimizer=self.optimizer.observe(
                self.now.train.optimizer,
                moment._replace(rows=moment.rows + self.source.rows_before),
            )
        )
        self.now.observed = moment.rows

    def take(self, chunk: Chunk) -> bool:
        """The steps of one chunk; False, and nothing changed, if a loss was not finite."""
        state, infos, last = self.steps(chunk, self.now.train)
        self.prepare_successor(chunk)
        infos = jax.tree.map(lambda v: np.asarray(v)[: chunk.n], infos)
        if not (np.isfinite(infos.loss).all() and np.isfinite(last)):
            return False
        self.now.train, self.now.step = state, self.now.step + chunk.n
        self.now.infos.append(infos)
        self.tell("on_steps", self.now.step, float(infos.loss[-1]))
        self.tell_of(state.average)
        return True

    def steps(self, chunk: Chunk, state: TrainState, *, prepared: bool = False) -> Any:
        """The steps of one chunk; if `prepared`, their program is compiled in the background."""
        large = chunk.rows.shape[1] * chunk.data.x.shape[1] >= LARGE_STEP
        compiled = train_large_chunk if large else train_chunk
        scales = self.rates(len(chunk.rows)).astype(state.scale.dtype)
        return (compiled.prepare if prepared else compiled)(
            state, self.optimizer, self.loss, self.metric, chunk.data, chunk.rows, scales,
            np.int32(chunk.n),
        )  # fmt: skip

    def recover(self) -> bool:
        """Lower the step after a loss that was not finite; False once that was tried enough."""
        tried = len(self.history.recoveries)
        if tried >= MAX_RECOVERIES:
            reason = f"{NOT_FINITE}, also after lowering the step {tried} times"
            self.end(Ending.NOT_FINITE, reason)
            return False
        self.now.train = self.now.train._replace(
            optimizer=self.optimizer.init(self.now.train.network),
            scale=self.now.train.scale * RECOVERY_FACTOR,
        )
        self.now.observed = 0
        reason = f"{NOT_FINITE}; went back and lowered the step"
        self.record("on_recovery", Recovery(self.now.step, float(self.now.train.scale), reason))
        return True

    # --- looking --------------------------------------------------------------------------

    def evaluate(self) -> None:
        """Write an evaluation into the ledger, and remember the best network."""
        network, infos = self.now.train.average, self.now.infos
        seen = [np.concatenate([getattr(i, f) for i in infos]) for f in StepInfo._fields if infos]
        train_loss = float(np.mean(seen[0])) if seen else np.nan
        with self.timed("training"):
            score = self.validation and evaluate(network, self.loss, self.validation)
        eta = float(seen[1][-1]) if seen and np.isfinite(seen[1][-1]) else None
        evaluation = Evaluation(
            self.now.step, self.source.epoch, self.seconds(), train_loss,
            score.loss if score else None, score.score if score else None,
            eta, float(np.mean(seen[2])) if eta is not None else None,
            network.hidden_sizes, network.n_parameters,
        )  # fmt: skip
        self.now.infos = []
        self.compare(evaluation)
        self.record("on_evaluation", evaluation)

    def compare(self, evaluation: Evaluation) -> None:
        """Count evaluations without a better loss."""
        on_validation = evaluation.validation_loss is not None
        loss = evaluation.validation_loss if on_validation else evaluation.loss
        assert loss is not None
        best = self.now.best.loss
        first = not np.isfinite(best)
        better = first or loss < best - self.schedule.tolerance * abs(best)
        if first or loss < best:
            kept = self.now.train.average if on_validation else None
            self.now.best = Best(loss, kept, self.now.step)
        self.now.stale = 0 if better else self.now.stale + 1

    def result(self) -> tuple[AbstractTapped, int]:
        """The network of the best evaluation, or as it is without validation or after Ctrl-C."""
        best = self.now.best
        if best.network is None or self.history.ended_by == Ending.INTERRUPTED:
            return without_spare(self.now.train.average), self.now.step
        return without_spare(best.network), best.step

    # --- growth ---------------------------------------------------------------------------

    def consider(self) -> None:
        """Add what the policy accepts."""
        with self.timed("growth"):
            decision = self.decide()
        added, looked = len(decision.accepted), bool(decision.verdicts)
        self.now.waits = 0 if added else self.now.waits + looked
        if added:
            layer = decision.accepted[0].action.inserts
            self.now.found = MANY if layer else added
        self.now.next_look = self.policy.next_look(self.now.step, self.now.found, self.now.waits)
        # A proposal that only τ refuses may pass later, as η_c falls: that is "not yet".
        refused = decision.exhausted and looked and not added
        self.now.refusals = self.now.refusals + 1 if refused else 0
        if self.now.refusals >= self.policy.patience or not self.actions(rested=True):
            self.end_growth()

    def actions(self, *, rested: bool = False):
        """How the network may grow now, or, if `rested`, once layers may be added again."""
        limit = self.policy.max_seconds
        if limit is not None and self.seconds() >= limit:
            return ()
        since = self.now.step - self.now.last_layer
        rested = rested or not self.now.last_layer or since >= self.policy.layer_every
        return self.policy.actions(self.now.train.network, layers_allowed=rested)

    def decide(self) -> Decision:
        """Search, decide, and carry the decision out."""
        fit_sample, held_out = self.source.two_samples(self.schedule.sample_size, self.now.rng)
        # At the mean: single steps stray from where the loss is low, and there any unit helps.
        seen = look(
            self.now.train.average, self.loss, self.score_metric, fit_sample, held_out,
            self.draw_key(), self.output_factors(),
            self.optimizer.input_factor(self.now.train.optimizer),
        )  # fmt: skip
        judged_on = _first_rows(held_out, JUDGED_ROWS)
        del fit_sample, held_out  # searches need the memory
        proposals, decision = [], Decision((), "no place to add: the budgets are used up", True)
        for stage in self.policy.stages(self.actions(), self.now.waits):
            proposals += propose_all(
                self.now.train.average, seen, self.proposer, self.policy, stage, self.draw_key()
            )
            decision = self.policy.decide(proposals, self.now.train.network)
            if decision.accepted:
                break
        considerations = [
            _consideration(self.now.step, verdict, self.policy.worth(verdict.proposal))
            for verdict in decision.verdicts
        ]
        self.history.records.extend(considerations)
        self.tell("on_considerations", considerations, decision.reason)
        if decision.accepted:
            self.add(join(decision.accepted), decision.reason, judged_on)
        return decision

    def draw_key(self) -> PRNGKeyArray:
        """A new key, made on the host: to split one on the device compiles programs."""
        return key_of(int(self.now.rng.integers(2**63)))

    def output_factors(self, *, stepped: bool | None = None):
        """S as the optimiser knows it, if that is in the metric of the score."""
        if self.metric != self.score_metric:
            return None
        return self.optimizer.output_factors(self.now.train.optimizer, stepped=stepped)

    def prepare(self) -> None:
        """Let steps, evaluations and the first look be compiled beside each other."""
        chunk = self.source.like_chunks(self.schedule.steps_per_call)
        samples = self.source.sample_shapes(self.schedule.sample_size)
        if chunk is None or samples is None:
            return
        self.steps(chunk, self.now.train, prepared=True)
        prepare_evaluation(self.now.train.average, self.loss, samples[1])
        if self.now.growing:
            prepare(
                self.now.train.average, self.loss, self.score_metric, samples, self.proposer,
                self.policy, self.output_factors(stepped=True),
                self.optimizer.input_factor(self.now.train.optimizer),
            )  # fmt: skip

    def prepare_successor(self, chunk: Chunk) -> None:
        """Without hidden layers there is one way to grow: compile the steps after it, too."""
        network = self.now.train.network
        if self.now.step or network.graph.hidden or not self.now.growing:
            return
        for action in self.actions()[:1]:
            successor = self.grown(first_layer(network, self.policy, action))
            self.steps(chunk, successor, prepared=True)

    def add(self, proposal: Proposal, reason: str, judged_on: Batch) -> None:
        """Grow the network and the optimiser's state, and say what it did to the loss."""
        old, new = self.now.train, self.grown(proposal)
        before = evaluate(old.average, self.loss, judged_on).loss
        addition = Addition(
            self.now.step, proposal.action.kind, proposal.action.position,
            str(proposal.action), proposal.units, proposal.score, proposal.stderr, before,
            evaluate(new.average, self.loss, judged_on).loss,
            new.network.hidden_sizes, new.network.n_parameters, reason, self.seconds(),
        )  # fmt: skip
        # Only now: an interruption finds the network as the ledger says it is.
        self.now.train = new
        if proposal.action.inserts:
            self.now.last_layer = self.now.step
        self.record("on_addition", addition)
        self.tell_of(new.average)
        if new.network.capacities != old.network.capacities:  # there will be other programs
            self.prepare()

    def grown(self, proposal: Proposal) -> TrainState:
        """The networks and the optimiser's state with a proposal's units."""
        old, number = self.now.train, len(self.history.additions) + 1
        average, _ = add(old.average, None, proposal, self.policy, number)
        network, optimizer = add(old.network, old.optimizer, proposal, self.policy, number)
        optimizer = self.optimizer.grown(optimizer, network)
        return old._replace(network=network, optimizer=optimizer, average=average)

    # --- book-keeping ---------------------------------------------------------------------

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
        return time.monotonic() - self.start

    def record(self, hook: str, record: Any) -> None:
        self.history.records.append(record)
        self.tell(hook, record)

    def tell_of_compilation(self, program: str) -> None:
        self.tell("on_compilation", program)

    def tell_of(self, network: AbstractTapped) -> None:
        if self.callbacks:
            self.tell("on_snapshot", Snapshot(self.now.step, without_spare(network)))

    def tell(self, hook: str, *args) -> None:
        for callback in self.callbacks:
            try:
                getattr(callback, hook)(*args)
            except StopTraining as stop:
                self.asked = self.asked or stop.reason

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


def _consideration(step: int, verdict: Verdict, worth: float) -> Consideration:
    p = verdict.proposal
    return Consideration(
        step, p.action.kind, p.action.position, str(p.action), p.units,
        p.fit_score, p.score, p.stderr, p.eta, p.limit, p.reach, worth,
        verdict.accepted, str(verdict.outcome), verdict.reason,
    )  # fmt: skip


def _first_rows(batch: Batch, n: int) -> Batch:
    # On the host, which compiles nothing; copies, for a view would keep all of it.
    return Batch(*(np.asarray(part)[:n].copy() for part in batch))  # pyright: ignore[reportArgumentType]


def _next_multiple(step: int, every: int) -> int:
    return (step // every + 1) * every


def _default_loss(source: ArraySource | StreamSource) -> AbstractLoss:
    if source.targets is None:
        raise ValueError(
            f"A stream does not tell its task; pass loss=, one of {', '.join(LOSSES)}."
        )
    return (
        SoftmaxCrossEntropy()
        if jnp.issubdtype(source.targets.dtype, jnp.integer)
        else SquaredError()
    )
