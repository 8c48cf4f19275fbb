"""Training that goes on whenever new data come."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from senn import shapes
from senn.batches import StreamSource
from senn.callbacks import Callback
from senn.expand import add_outputs
from senn.history import History
from senn.nn.edits import reread
from senn.nn.tapped import AbstractTapped
from senn.optimizers import AbstractOptimizer
from senn.policy import Policy
from senn.rescaling import Inputs, Rereading, Running, of_scale
from senn.training import Schedule, first_state, fit
from senn.training.state import MANY, RunState

# Nobody knows where a stream ends: the rate stays as it is, and growth and training go on.
ENDLESS = {"max_seconds": None, "patience": sys.maxsize, "plateau": sys.maxsize}
SCHEDULE = Schedule(anneal_epochs=None, stop_after=sys.maxsize, steps_per_call=8)
MAX_WAITS = 6  # looks in a row after which growth waits no longer than it has, lest it sleep


class OnlineTraining:
    """A network that learns from rows as they come, a call at a time, and grows.

    Between calls all is kept: the optimiser's state, the running mean, the cadence of growth,
    the ledger, and the rows seen last, on which growth is judged, and some of which fill up the
    step of a call of few rows (`StreamSource`). A pickle
    holds that too, so that a copy goes on as the original would.

    Args:
        network: where to start.
        seed: of the order of the rows in a call, and of the search.
        rows_before: rows that the network was trained on elsewhere; the prior of `KFAC` weighs
            as much as one row among all.
    """

    def __init__(self, network: AbstractTapped, seed: int, rows_before: int = 0):  # noqa: D107
        self.network, self.history, self.calls = network, History(), 0
        self._seed, self._rows_before = seed, rows_before
        self._rng = np.random.default_rng(seed)
        self._state: RunState | None = None
        self._source: StreamSource | None = None
        self._policy: Policy | None = None
        self._scale: Running | None = None

    def learn(
        self,
        data: tuple[np.ndarray, np.ndarray, np.ndarray],
        *,
        optimizer: AbstractOptimizer,
        policy: Policy,
        batch_size: int,
        callbacks: Sequence[Callback],
        **settings: Any,
    ) -> tuple[AbstractTapped, History]:
        """Train for one pass over (x [N, I], y, weight), in a random order.

        The other settings are those of `senn.fit`. Returns the network, and the ledger of all
        calls.
        """
        order = self._rng.permutation(len(data[0]))
        source = self._fed(tuple(part[order] for part in data), optimizer, batch_size)
        policy, schedule = replace(policy, **ENDLESS), replace(SCHEDULE, batch_size=batch_size)
        if self._state is None:
            self._state = first_state(self.network, optimizer, policy, schedule, self._seed)
        self._keep_looking(self._state, policy)
        self.network, self.history = fit(
            self.network,
            source,
            optimizer=optimizer,
            policy=policy,
            schedule=schedule,
            callbacks=callbacks,
            resume=self._state,
            **settings,
        )
        self.calls += 1
        return self.network, self.history

    def add_outputs(
        self, positions: Sequence[int], bias: float, optimizer: AbstractOptimizer
    ) -> None:
        """Widen the network by new classes (`senn.add_outputs`), and consider growth soon."""
        total = self.network.out_size + len(positions)
        old = np.setdiff1d(np.arange(total), positions)
        self.network = add_outputs(self.network, positions, bias)
        state = self._state
        if self._source is None or state is None:
            return
        self._source.map_targets(lambda codes: old[codes].astype(codes.dtype))
        # While there are spare slots to fill, nothing gets another shape.
        train, slots = state.train, shapes.out_slots(total)
        network = add_outputs(train.network, positions, bias, slots)
        state.train = train._replace(
            network=network,
            average=add_outputs(train.average, positions, bias, slots),
            optimizer=optimizer.grown(
                add_outputs(train.optimizer, positions, out_slots=slots), network
            ),
        )
        state.waits, state.refusals, state.found = 0, 0, MANY
        state.next_look = self._look_after(state.step, 0)

    def prepared(
        self, inputs: Inputs | None, x: np.ndarray, weight: np.ndarray, optimizer: AbstractOptimizer
    ) -> Inputs | None:
        """How rows are prepared, now that x [N, I] has come: by the scale of all that came so far.

        Where that differs, what is known is put in its terms, and computes of rows what it did. A
        column that had one value has had no scale: there the weights stay as they are, of which
        nothing was learned. This is done whenever the rows seen have doubled, and as soon as such
        a column has a second value. Bounded inputs, which `fit` prepares, stay as `fit` made them:
        what a network makes of them does not follow from those of another bound.
        """
        if inputs is None or np.isfinite(inputs.bound):
            return inputs
        before = self._scale or Running.before(inputs, self._rows_before)
        now = self._scale = before.with_more(x, weight)
        begun = before.constant & ~now.constant
        if now.rows.bit_length() == before.rows.bit_length() and not begun.any():
            return inputs
        way = Rereading.of((inputs.mean, inputs.scale), now.scale, before.constant)
        if way.changes:
            self._reread(way, optimizer)
        return of_scale(now.scale)

    def _reread(self, way: Rereading, optimizer: AbstractOptimizer) -> None:
        self.network = reread(self.network, *way)
        state = self._state
        if self._source is None or state is None:
            return
        self._source.map_inputs(way.again, way.matrix)
        train = state.train
        network, average = (reread(net, *way) for net in (train.network, train.average))
        state.train = train._replace(
            network=network,
            average=average,
            optimizer=optimizer.reread(train.optimizer, network, *way),
        )
        state.observed = 0

    def _fed(self, data: tuple, optimizer: AbstractOptimizer, batch_size: int) -> StreamSource:
        batches = iter([data])
        if self._source is None:
            self._source = StreamSource(
                batches,
                batch_size,
                2 * SCHEDULE.sample_size,
                watch_inputs=optimizer.watches_inputs,
                rows_before=self._rows_before,
                seed=self._seed,
            )
        else:
            self._source.go_on(batches)
        return self._source

    def _keep_looking(self, state: RunState, policy: Policy) -> None:
        """However long nothing was found, data may change; and budgets may have been raised."""
        before, self._policy = self._policy, policy
        state.waits = min(state.waits, MAX_WAITS)
        state.next_look = min(state.next_look, self._look_after(state.step, MAX_WAITS))
        state.growing = state.growing or before not in (None, policy)

    def _look_after(self, step: int, waits: int) -> int:
        assert self._policy is not None
        return self._policy.next_look(step, self._policy.most_units(), waits)
