"""Steps until the next stop, and what is done when a loss is not finite."""

import jax
import numpy as np

from senn.batches import Chunk
from senn.history import Ending, Recovery
from senn.training.growing import prepare_successor
from senn.training.phases import ended, half_time_over
from senn.training.run import Run
from senn.training.step import steps

MAX_RECOVERIES = 3
RECOVERY_FACTOR = 0.1  # on the learning rate, each time
NOT_FINITE = "the loss was not finite"


def train_to(run: Run, target: int) -> bool:
    """Take steps until `target`; False if training ended on the way."""
    while run.now.step < target and not run.asked:
        run.pause()
        with run.timed("training"):
            chunk = run.source.chunk(run.schedule.steps_per_call, target - run.now.step)
            observe_inputs(run)
            taken = chunk is not None and take(run, chunk)
        if chunk is None:
            run.end(Ending.DATA, "the data ended")
            return False
        if not taken and not recover(run):
            return False
        if ended(run, None) or (run.now.growing and half_time_over(run)):
            break
    return True


def observe_inputs(run: Run) -> None:
    """Tell the optimiser of the inputs, and again once twice as many have been seen."""
    if not run.optimizer.watches_inputs or run.source.rows < max(2 * run.now.observed, 1):
        return
    moment = run.source.input_moment()
    if not moment.rows:  # none that is finite
        return
    run.now.train = run.now.train._replace(
        optimizer=run.optimizer.observe(
            run.now.train.optimizer,
            moment._replace(rows=moment.rows + run.source.rows_before),
        )
    )
    run.now.observed = moment.rows


def take(run: Run, chunk: Chunk) -> bool:
    """The steps of one chunk; False, and nothing changed, if a loss was not finite."""
    state, infos, last = steps(run, chunk, run.now.train)
    prepare_successor(run, chunk)
    infos = jax.tree.map(lambda v: np.asarray(v)[: chunk.n], infos)
    if not (np.isfinite(infos.loss).all() and np.isfinite(last)):
        return False
    run.now.train, run.now.step = state, run.now.step + chunk.n
    run.now.infos.append(infos)
    run.tell("on_steps", run.now.step, float(infos.loss[-1]))
    run.tell_of(state.average)
    return True


def recover(run: Run) -> bool:
    """Lower the step after a loss that was not finite; False once that was tried enough."""
    tried = len(run.history.recoveries)
    if tried >= MAX_RECOVERIES:
        reason = f"{NOT_FINITE}, also after lowering the step {tried} times"
        run.end(Ending.NOT_FINITE, reason)
        return False
    run.now.train = run.now.train._replace(
        optimizer=run.optimizer.init(run.now.train.network),
        scale=run.now.train.scale * RECOVERY_FACTOR,
    )
    run.now.observed = 0
    reason = f"{NOT_FINITE}; went back and lowered the step"
    run.record("on_recovery", Recovery(run.now.step, float(run.now.train.scale), reason))
    return True
