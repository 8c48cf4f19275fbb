"""Steps: many of them in one compiled call."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from senn.batches import Batch, Chunk
from senn.compilation import QUICK, Program
from senn.devices import same
from senn.linalg import running_mean
from senn.losses import AbstractLoss, AbstractMetric, among_loss, mean_loss
from senn.optimizers import AbstractOptimizer, StepInfo
from senn.training.run import Run
from senn.training.state import TrainState

LARGE_STEP = 3 * 2**17  # numbers in a batch, from which the speed of a step matters most


def steps(run: Run, chunk: Chunk, state: TrainState, *, prepared: bool = False) -> Any:
    """The steps of one chunk; if `prepared`, their program is compiled in the background."""
    large = chunk.numbers >= LARGE_STEP
    large = large and not state.network.has_positions  # whose products are what takes the time
    compiled = train_large_chunk if large else train_chunk
    scales = rates(run, chunk.steps).astype(state.scale.dtype)
    return (compiled.prepare if prepared else compiled)(
        state, run.rule, run.loss, run.metric, chunk.data, chunk.rows, scales,
        np.int32(chunk.n),
    )  # fmt: skip


def rates(run: Run, steps: int) -> np.ndarray:
    """What the learning rate is multiplied by in the next steps."""
    if run.now.annealing is None:
        return np.ones(steps)
    at = run.now.step + np.arange(steps)
    return run.now.annealing.rate(at, run.seconds(), run.schedule.max_seconds)


def _train_chunk(
    state: TrainState,
    optimizer: AbstractOptimizer,
    loss: AbstractLoss,
    metric: AbstractMetric,
    data: Batch,
    rows: Int[Array | np.ndarray, "steps B"] | None,
    scales: Float[Array | np.ndarray, " steps"],
    n: Int[Array | np.integer, ""],
) -> tuple[TrainState, StepInfo, Float[Array, ""]]:
    """The first `n` of several steps in one compiled call; `scales` multiply the learning rate.

    The batch of step s is data[rows[s]], or data[s] without `rows`.
    Returns the state after them, what each step saw (stacked; zeros beyond n), and the loss on
    the last batch after the last step.
    """
    dynamic, static = eqx.partition(state, eqx.is_array)

    def batch(s):
        return data[s if rows is None else rows[s]]

    def take(dynamic, s):
        now = eqx.combine(dynamic, static)
        network, optimizer_state, info = optimizer.step(
            now.network, now.optimizer, loss, metric, batch(s), scales[s] * now.scale
        )
        after = now._replace(
            network=network,
            optimizer=optimizer_state,
            average=running_mean(now.average, network, now.averaging, now.age),
            age=now.age + 1,
        )
        return same((eqx.filter(after, eqx.is_array), info))

    def step(s, carry):
        dynamic, infos = carry
        dynamic, info = take(dynamic, s)
        return dynamic, jax.tree.map(
            lambda seen, v: seen.at[s].set(v.astype(seen.dtype)), infos, info
        )

    steps = scales.shape[0]
    blank = StepInfo.blank(steps, scales.dtype)
    dynamic, infos = jax.lax.fori_loop(0, n, step, (dynamic, blank))
    after, last = eqx.combine(dynamic, static), batch(n - 1)
    some = among_loss(after.network.active_outputs, loss)
    return after, infos, mean_loss(some, after.network(last.x), last.y, last.weight)


# Steps on few numbers take a tenth longer for QUICK, and all of them less than is saved by it.
train_chunk, train_large_chunk = Program(_train_chunk, QUICK), Program(_train_chunk)
