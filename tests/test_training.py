"""The training loop: what it does to a network, and what the ledger says of it."""

import dataclasses
import itertools
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import senn.training
from senn.batches import Batch
from senn.callbacks import Callback
from senn.evaluation import evaluate
from senn.history import History
from senn.losses import Euclidean, SquaredError
from senn.nn import MLP
from senn.optimizers import AbstractOptimizer, Optax
from senn.policy import Policy
from senn.proposals import Proposal, Random
from senn.training import MAX_RECOVERIES, RECOVERY_FACTOR, Schedule, TrainState, fit, train_chunk

rng = np.random.default_rng(7)
N = 96  # three batches of 32
x = rng.normal(size=(N, 2))
y = np.sin(2 * x[:, 0]) * x[:, 1]
DATA, VALIDATION = (x, y), (x[:32], y[:32])
ADAM, STILL = Optax(optax.adam(0.02)), Optax(optax.sgd(0.0))
# A unit whenever one gains anything at all.
GROW = Policy(
    tau=1 + 1e-9, alpha=1e-12, confidence=0.0, depth=False, every=4, max_units=8,
    additions_at_once=1, patience=99, backoff=1.0,
)  # fmt: skip
FIXED = Policy(width=False, depth=False)
SCHEDULE = Schedule(
    max_steps=24, batch_size=32, evaluate_every=3, steps_per_call=4, sample_size=48, stop_after=99
)
SHORT = dataclasses.replace(SCHEDULE, max_steps=8)
UNENDING = dataclasses.replace(SCHEDULE, max_steps=None)


@pytest.fixture(scope="module")
def network():
    return MLP(2, 1, (3,), key=jax.random.key(0), capacity=8)


def run(network, data=DATA, **settings):
    common = {
        "optimizer": ADAM, "proposer": Random(candidates=16), "policy": FIXED, "schedule": SCHEDULE,
    }  # fmt: skip
    return fit(network, data, **(common | settings))


def same(one, other):
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


def timeless(history):
    """The ledger without its times."""
    times = {"seconds", "training_seconds", "growth_seconds", "compile_seconds", "n_compilations"}
    rows = [history.summary(), *history.to_records()]
    return [{k: str(v) for k, v in row.items() if k not in times} for row in rows]


class Recorder(Callback):
    """Remembers what it was told; interrupts at the given hook."""

    def __init__(self, interrupt_at=None, calls=1):
        self.told, self.interrupt_at, self.calls = [], interrupt_at, calls

    def names(self):
        return [name for name, *_ in self.told]

    def of(self, name):
        return [args for n, *args in self.told if n == name]


def _hook(name):
    def told(self, *args):
        self.told.append((name, *args))
        if name == self.interrupt_at and len(self.of(name)) == self.calls:
            raise KeyboardInterrupt

    return told


HOOKS = [name for name in vars(Callback) if name.startswith("on_")]
for _name in HOOKS:
    setattr(Recorder, _name, _hook(_name))


# --- a whole run ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grown(network):
    recorder = Recorder()
    return *run(network, validation=VALIDATION, policy=GROW, callbacks=[recorder]), recorder


def test_it_learns_and_grows(network, grown):
    _, history, _ = grown
    first, *_, last = history.evaluations
    assert last.loss < first.loss
    assert last.validation_loss < first.validation_loss
    assert sum(last.hidden_sizes) > 3
    assert network.hidden_sizes == (3,)
    assert history.stop_reason == "24 steps done"
    assert history.steps == 24


def test_the_ledger_of_evaluations(grown):
    _, history, _ = grown
    assert [e.step for e in history.evaluations] == list(range(3, 25, 3))
    sizes = {0: 3} | {a.step: a.hidden_sizes[0] for a in history.additions}
    for e in history.evaluations:
        n = max(size for step, size in sizes.items() if step < e.step or step == 0)
        assert e.hidden_sizes == (n,)
        assert e.n_parameters == n * (2 + 1 + 3 + 1) + 1
        assert e.epoch == e.step / 3
        assert e.eta is e.solver_steps is None  # Adam computes neither


def test_the_ledger_of_considerations_and_additions(grown):
    _, history, _ = grown
    times = [c.step for c in history.considerations]
    assert times == [4, 8, 12, 16, 20][: len(times)]  # one place, and not at the end
    accepted = [c for c in history.considerations if c.accepted]
    assert 2 <= len(accepted) == len(history.additions)
    for n, (c, a) in enumerate(zip(accepted, history.additions, strict=True), start=4):
        assert (a.step, a.kind, a.position, a.units) == (c.step, c.kind, c.position, c.units)
        assert (a.kind, a.position, c.reader, a.units) == ("width", 0, 1, 1)
        assert (a.score, a.stderr) == (c.score, c.stderr)
        assert a.loss_before == a.loss_after
        assert a.hidden_sizes == (n,)
        assert a.n_parameters == 7 * n + 1
        assert c.reason in a.reason
        assert 0 < c.score < c.limit
    order = [r.step for r in history.records]
    assert order == sorted(order)
    clock = [r.seconds for r in history.records if hasattr(r, "seconds")]
    assert clock == sorted(clock)
    assert history.training_seconds + history.growth_seconds > 0
    assert history.seconds <= clock[-1] + 1


def test_callbacks_hear_everything_in_order(grown):
    _, history, recorder = grown
    names = recorder.names()
    assert recorder.told[0] == ("on_start", 24)
    assert names.count("on_start") == names.count("on_stop") == 1
    assert recorder.told[-1] == ("on_stop", history)
    heard = itertools.chain.from_iterable(
        args[0] if name == "on_considerations" else args[:1]
        for name, *args in recorder.told
        if name in ("on_evaluation", "on_considerations", "on_addition")
    )
    assert list(heard) == history.records
    steps = [step for step, _ in recorder.of("on_steps")]
    assert steps == [3, 4, 6, 8, 9, 12, 15, 16, 18, 20, 21, 24]
    for before, name in itertools.pairwise(names):
        assert name != "on_addition" or before == "on_considerations"


def test_the_seed_decides_everything(network, grown):
    first, history, _ = grown
    again, same_history = run(network, validation=VALIDATION, policy=GROW)
    assert same(first, again)
    assert timeless(same_history) == timeless(history)
    other, other_history = run(network, validation=VALIDATION, policy=GROW, seed=1)
    assert not same(first.readout, other.readout)
    assert timeless(other_history) != timeless(history)


def test_rows_without_weight_have_no_influence(network, grown):
    weight = np.where(np.arange(N) % 3, 1.5, 0.0)
    runs = []
    for garbage in (0.0, 1e3):
        bad = np.where(weight > 0, y, garbage), weight
        data, validation = (x, *bad), (x[:32], *(v[:32] for v in bad))
        runs.append(run(network, data, validation=validation, policy=GROW))
    assert same(runs[0][0], runs[1][0])
    assert timeless(runs[0][1]) == timeless(runs[1][1])
    assert not same(runs[0][0].readout, grown[0].readout)


# --- steps ------------------------------------------------------------------------------------


def test_a_compiled_chunk_is_its_steps_one_by_one(network):
    data, rows = Batch.of(x, y), jnp.asarray(rng.permutation(N).reshape(3, 32))
    loss, metric, one = SquaredError(), Euclidean(), jnp.ones(())
    state = TrainState(network, ADAM.init(network), one)
    step = eqx.filter_jit(ADAM.step)
    new, optimizer, losses = network, state.optimizer, []
    for n in range(3):
        after, infos, last = train_chunk(state, ADAM, loss, metric, data, rows, jnp.asarray(n + 1))
        new, optimizer, info = step(new, optimizer, loss, metric, data[rows[n]], one)
        losses.append(info.loss)
        np.testing.assert_allclose(infos.loss, losses + [np.nan] * (2 - n), rtol=1e-10)
        for leaf, wanted in zip(
            jax.tree.leaves(after), jax.tree.leaves((new, optimizer, one)), strict=True
        ):
            np.testing.assert_allclose(leaf, wanted, rtol=1e-9, atol=1e-12)
        assert last == pytest.approx(evaluate(new, loss, data[rows[n]]).loss)


@pytest.mark.parametrize("steps", [0, 1, 5, 12])
def test_max_steps_is_exact(network, steps):
    recorder, schedule = Recorder(), dataclasses.replace(SCHEDULE, max_steps=steps)
    new, history = run(network, schedule=schedule, callbacks=[recorder])
    assert history.steps == steps
    assert history.stop_reason == f"{steps} steps done"
    assert [step for step, _ in recorder.of("on_steps")][-1:] == [steps][: bool(steps)]
    assert history.evaluations[-1].step == steps
    assert same(new, network) == (steps == 0)


def test_no_steps_at_all_leave_a_ledger_that_can_be_kept(network, tmp_path):
    path = tmp_path / "history.jsonl"
    schedule = dataclasses.replace(SCHEDULE, max_steps=0)
    _, history = run(network, validation=VALIDATION, schedule=schedule)
    history.to_json_lines(path)
    rows = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]
    assert rows[1]["loss"] is None
    assert rows[1]["validation_loss"] > 0
    assert History.from_json_lines(path).steps == 0


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"max_epochs": 2.0}, 6),
        ({"max_epochs": 0.7}, 2),
        ({"max_epochs": 2.0, "max_steps": 4}, 4),
        ({"max_epochs": 1.0, "max_steps": 4}, 3),
        ({"max_seconds": 0.0}, 3),  # the first call ends at the first evaluation
    ],
)
def test_other_ends(network, settings, steps):
    _, history = run(network, schedule=dataclasses.replace(UNENDING, **settings))
    assert history.steps == steps
    assert history.evaluations[-1].step == steps
    assert ("seconds used" in history.stop_reason) == ("max_seconds" in settings)


@pytest.mark.parametrize("validation", [None, VALIDATION], ids=["training loss", "validation loss"])
@pytest.mark.parametrize("patience", [1, 3])
def test_it_stops_when_the_loss_does(network, validation, patience):
    schedule = dataclasses.replace(UNENDING, stop_after=patience)
    _, history = run(network, validation=validation, optimizer=STILL, schedule=schedule)
    assert len(history.evaluations) == 1 + patience  # the first is always better
    assert history.stop_reason.startswith(f"no better loss in {patience} evaluations")


def test_improvements_below_the_tolerance_do_not_count(network):
    schedule = dataclasses.replace(UNENDING, stop_after=2, tolerance=0.9)
    _, history = run(network, validation=VALIDATION, schedule=schedule)
    assert len(history.evaluations) == 3


def test_the_best_network_on_validation_data_is_returned(network):
    uphill = Optax(optax.sgd(lambda count: jnp.where(count < 12, 0.05, -0.05)))
    new, history = run(network, validation=VALIDATION, optimizer=uphill)
    losses = [e.validation_loss for e in history.evaluations]
    assert min(losses) < losses[0]
    assert min(losses) < losses[-1]
    assert evaluate(new, SquaredError(), Batch.of(*VALIDATION)).loss == min(losses)
    last, _ = run(network, optimizer=uphill)
    assert not same(new, last)


# --- data -------------------------------------------------------------------------------------


def batches(n=3):
    return [(x[i : i + 32], y[i : i + 32]) for i in range(0, 32 * n, 32)]


def test_a_stream_needs_a_loss(network):
    with pytest.raises(ValueError, match="pass loss="):
        run(network, batches())


def test_an_iterator_is_used_up(network):
    new, history = run(network, iter(batches()), loss="squared_error", schedule=UNENDING)
    assert history.steps == 3
    assert history.stop_reason == "the data ended"
    steps = [e.step for e in history.evaluations]
    assert steps == sorted(set(steps))
    assert steps[-1] == 3
    assert all(np.isfinite(e.loss) for e in history.evaluations)
    data, rows = Batch.of(x, y), jnp.arange(N).reshape(3, 32)
    state = TrainState(network, ADAM.init(network), jnp.ones(()))
    wanted, *_ = train_chunk(state, ADAM, SquaredError(), Euclidean(), data, rows, jnp.asarray(3))
    for leaf, other in zip(jax.tree.leaves(new), jax.tree.leaves(wanted.network), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-9, atol=1e-12)


def test_an_iterable_is_repeated_and_epochs_are_counted(network):
    _, history = run(network, batches(), loss="squared_error", policy=GROW, schedule=SHORT)
    assert history.steps == 8
    assert history.additions
    assert 2 <= history.evaluations[-1].epoch <= 3


@pytest.mark.parametrize(("epochs", "steps"), [(1.0, 3), (2.0, 6), (0.0, 0)])
def test_epochs_of_a_stream(network, epochs, steps):
    schedule = dataclasses.replace(UNENDING, max_epochs=epochs)
    _, history = run(network, batches(), loss="squared_error", schedule=schedule)
    assert history.steps == steps
    assert history.stop_reason


@pytest.mark.parametrize(
    ("n", "policy", "steps_per_epoch"), [(1, GROW, 1), (5, FIXED, 1), (33, FIXED, 2)]
)
def test_any_amount_of_data(network, n, policy, steps_per_epoch):
    new, history = run(network, (x[:n], y[:n]), policy=policy, schedule=SHORT)
    assert history.evaluations[-1].epoch == 8 / steps_per_epoch
    assert np.isfinite(history.evaluations[-1].loss)
    assert bool(history.considerations) == (policy is GROW)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new))


def test_a_linear_model_of_one_feature():
    line = MLP(1, 1, (), key=jax.random.key(0))
    schedule = dataclasses.replace(SCHEDULE, max_steps=60)
    new, history = run(
        line, (x[:, :1], 3 * x[:, 0] - 1), optimizer=Optax(optax.sgd(0.5)), schedule=schedule
    )
    np.testing.assert_allclose(new(jnp.array([[0.0], [1.0]]))[:, 0], [-1, 2], atol=1e-6)
    assert history.evaluations[-1].n_parameters == 2
    assert history.evaluations[-1].hidden_sizes == ()


def test_integers_are_classes_and_numbers_are_not(network):
    codes = (y > 0).astype(int)
    two = MLP(2, 2, (3,), key=jax.random.key(0), capacity=8)
    _, history = run(two, (x, codes), validation=(x, codes), schedule=SHORT)
    assert 0 < history.evaluations[-1].validation_score <= 1
    _, binary = run(
        network, (x, codes), loss="binary_cross_entropy", validation=(x, codes), schedule=SHORT
    )
    assert binary.evaluations[0].validation_loss != history.evaluations[0].validation_loss


def test_a_network_keeps_its_type():
    single = MLP(2, 1, (3,), key=jax.random.key(0), capacity=8, dtype=jnp.float32)
    new, history = run(single, policy=GROW, schedule=SHORT)
    assert history.additions
    for old, leaf in zip(jax.tree.leaves(single), jax.tree.leaves(new), strict=True):
        assert leaf.dtype == old.dtype


# --- interruption -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hook", "calls"),
    [("on_start", 1), ("on_steps", 3), ("on_evaluation", 2), ("on_considerations", 2),
     ("on_addition", 1), ("on_addition", 2)],
)  # fmt: skip
def test_interruption_returns_what_there_is(network, hook, calls):
    recorder = Recorder(hook, calls)
    new, history = run(network, policy=GROW, callbacks=[recorder])
    assert history.stop_reason == "interrupted"
    assert recorder.told[-1] == ("on_stop", history)
    assert recorder.names()[-2] == hook
    assert len(recorder.of(hook)) == calls
    assert new.hidden_sizes == (3 + len(history.additions),)
    steps = [step for step, _ in recorder.of("on_steps")]
    assert history.steps == (steps[-1] if steps else 0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new))
    again, same_history = run(network, policy=GROW, callbacks=[Recorder(hook, calls)])
    assert same(new, again)
    assert timeless(same_history) == timeless(history)


def test_interrupted_while_growing_the_ledger_still_agrees(network, monkeypatch):
    calls = itertools.count()

    def interrupted(*args):
        if next(calls) == 3:  # after the network has grown, before it is written down
            raise KeyboardInterrupt
        return evaluate(*args)

    monkeypatch.setattr(senn.training, "evaluate", interrupted)
    new, history = run(network, policy=GROW)
    assert history.stop_reason == "interrupted"
    assert new.hidden_sizes == (3 + len(history.additions),)


def test_other_errors_are_not_swallowed(network):
    class Broken(Callback):
        def on_steps(self, step, loss):  # noqa: ARG002
            raise RuntimeError("broken")

    recorder = Recorder()
    with pytest.raises(RuntimeError, match="broken"):
        run(network, callbacks=[recorder, Broken()])
    assert recorder.names()[-1] == "on_stop"


# --- divergence -------------------------------------------------------------------------------


class Fragile(AbstractOptimizer):
    """Loses its mind after `good` steps while the scale is above `limit`."""

    limit: float
    good: int = 0

    def init(self, network):
        return ADAM.init(network), jnp.zeros((), int)

    def step(self, network, state, loss, metric, batch, scale):
        adam, count = state
        network, adam, info = ADAM.step(network, adam, loss, metric, batch, scale)
        bad = (scale > self.limit) & (count >= self.good)
        network = eqx.tree_at(
            lambda n: n.readout.bias, network, replace_fn=lambda b: jnp.where(bad, jnp.nan, b)
        )
        return network, (adam, count + 1), info


@pytest.mark.parametrize("validation", [None, VALIDATION], ids=["alone", "validated"])
def test_divergence_goes_back_lowers_the_step_and_gives_up(network, validation):
    wild = Optax(optax.sgd(1e200))
    new, history = run(network, validation=validation, optimizer=wild, policy=GROW)
    assert [r.step for r in history.recoveries] == [0] * MAX_RECOVERIES
    scales = [r.scale for r in history.recoveries]
    np.testing.assert_allclose(scales, RECOVERY_FACTOR ** np.arange(1, MAX_RECOVERIES + 1))
    assert history.steps == 0
    assert "not finite" in history.stop_reason
    assert same(new, network)


@pytest.mark.parametrize(("good", "returns"), [(6, [6, 12]), (23, [21])])
def test_a_lower_step_can_save_a_run(network, good, returns):
    recorder = Recorder()
    fragile = Fragile(0.05, good)
    new, history = run(network, optimizer=fragile, policy=GROW, callbacks=[recorder])
    # The chunk with the first bad step is not kept, even if only its last step is bad.
    # Afterwards the optimiser's state is new, and counts from 0.
    assert [r.step for r in history.recoveries] == returns
    assert recorder.of("on_recovery") == [[r] for r in history.recoveries]
    assert history.steps == 24
    assert history.stop_reason == "24 steps done"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new))
    assert new.hidden_sizes == (3 + len(history.additions),)
    assert sum(1 for e in history.evaluations if e.step == 24) == 1


def test_a_bad_batch_is_passed_over(network):
    bad = batches()
    bad[1] = (np.full_like(x[:32], np.nan), y[:32])
    schedule = dataclasses.replace(UNENDING, steps_per_call=1)
    new, history = run(network, iter(bad), loss="squared_error", schedule=schedule)
    assert [r.step for r in history.recoveries] == [1]
    assert history.steps == 2
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new))


# --- when growth is considered ----------------------------------------------------------------


def offer(network, location, units, score):
    n = network.n_inputs(location.position)
    new = rng.normal(size=(n, units)), rng.normal(size=units), rng.normal(size=(3, units))
    return Proposal(location, *new, score, score, 0.0, eta=1.0, limit=1.0, reach=1.0)


@pytest.fixture
def offered(monkeypatch):
    """Growth without a search: every place is offered units of the given score."""

    def start(score):
        def propose_all(network, *args):
            locations = args[6]
            return [offer(network, place, 1, score) for place in locations]

        monkeypatch.setattr(senn.training, "propose_all", propose_all)

    return start


def considered(history):
    return sorted({c.step for c in history.considerations})


@pytest.mark.parametrize("patience", [1, 3])
def test_growth_ends_after_patience(network, offered, patience):
    offered(1e-3)
    policy = dataclasses.replace(GROW, alpha=0.01, patience=patience)
    _, history = run(network, policy=policy)
    assert considered(history) == [4, 8, 12][:patience]
    assert not history.additions


def test_what_only_tau_refuses_may_pass_later(network, offered):
    offered(0.5)
    policy = dataclasses.replace(GROW, tau=2.0, patience=1)
    _, history = run(network, policy=policy)
    assert considered(history) == [4, 8, 12, 16, 20]
    assert not history.additions


@pytest.mark.parametrize(("backoff", "steps"), [(2.0, [4, 12]), (1.5, [4, 10, 19])])
def test_looks_that_find_nothing_grow_rarer(network, offered, backoff, steps):
    offered(0.0)
    _, history = run(network, policy=dataclasses.replace(GROW, backoff=backoff))
    assert considered(history) == steps
    offered(0.5)  # every addition starts anew
    _, history = run(network, policy=dataclasses.replace(GROW, backoff=backoff))
    assert considered(history) == [4, 8, 12, 16, 20]


def test_growth_ends_when_the_budget_does(network, offered):
    offered(0.5)
    new, history = run(network, policy=dataclasses.replace(GROW, max_units=5))
    assert new.hidden_sizes == (5,)
    assert considered(history) == [4, 8]
    new, history = run(network, policy=dataclasses.replace(GROW, max_seconds=0.0))
    assert new.hidden_sizes == (3,)
    assert not history.considerations


def test_several_additions_at_once(network, offered):
    offered(0.5)
    policy = dataclasses.replace(GROW, additions_at_once=3, patience=1)
    new, history = run(network, policy=policy)
    assert [a.step for a in history.additions] == [4, 4, 4, 8, 8]
    assert new.hidden_sizes == (8,)
    theorem_1 = dataclasses.replace(policy, tau=1.4, alpha=0.4)
    assert theorem_1.most_additions() == 3
    few = dataclasses.replace(theorem_1, alpha=0.45, tau=1.45, every=20)
    _, history = run(network, policy=few)
    assert len(history.additions) == few.most_additions()


def test_layers_wait_for_their_time_and_growth_with_them(offered):
    offered(0.5)
    line = MLP(2, 1, (), key=jax.random.key(0))
    policy = dataclasses.replace(
        GROW, width=False, depth=True, layer_every=8, patience=1, max_layers=2, max_units=None
    )
    new, history = run(line, policy=policy)
    assert [(a.step, a.kind) for a in history.additions] == [(4, "layer"), (12, "layer")]
    assert len(new.hidden) == 2
    assert all(a.loss_before == pytest.approx(a.loss_after, rel=1e-12) for a in history.additions)
    assert history.evaluations[-1].n_parameters == new.n_parameters


def test_growth_puts_off_the_stop(network, offered):
    offered(0.5)
    schedule = dataclasses.replace(UNENDING, stop_after=2)
    policy = dataclasses.replace(GROW, every=3, max_units=6)
    _, history = run(network, optimizer=STILL, policy=policy, schedule=schedule)
    assert [a.step for a in history.additions] == [3, 6, 9]
    assert history.steps == 9 + 2 * 3


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, 0)
        for name in ("batch_size", "evaluate_every", "stop_after", "sample_size", "steps_per_call")
    ]
    + [(name, -1.0) for name in ("max_epochs", "max_seconds", "tolerance")]
    + [("max_steps", -1), ("max_epochs", np.nan)],
)
def test_bad_schedules(name, value):
    with pytest.raises(ValueError, match=name):
        Schedule(**{name: value})


BAD_CALLS = {
    "loss": ({"loss": "hinge"}, "hinge"),
    "metric": ({"metric": "hessian"}, "hessian"),
    "optimizer": ({"optimizer": "sgd"}, "sgd"),
    "targets": ({"data": (x, y[:-1])}, "as long"),
    "outputs": ({"data": (x, np.stack([y, y], axis=1))}, r"\(32, 2\)"),
    "empty": ({"data": (x[:0], y[:0])}, "N > 0"),
    "validation": ({"validation": (x[:0], y[:0])}, "N > 0"),
    "validation targets": ({"validation": (x, y[:-1])}, "as long"),
}


@pytest.mark.parametrize(("settings", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_calls(network, settings, message):
    with pytest.raises(ValueError, match=message):
        run(network, **settings)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([0, 1, 2, 3]), "0 to 2"),
        (np.array([0, 1, -1, 2]), "-1 to 2"),
        (np.array([0.0, 1.0, 2.0, 1.0]), "integer"),
    ],
)
def test_class_codes_that_the_network_lacks(y, message):
    x, fine = np.ones((4, 2)), np.array([0, 1, 2, 0])
    network = MLP(2, 3, (), key=jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        fit(network, (x, y), loss="softmax_cross_entropy")
    with pytest.raises(ValueError, match=message):
        fit(network, (x, fine), validation=(x, y))
    if np.issubdtype(y.dtype, np.integer):
        with pytest.raises(ValueError, match=message):
            fit(network, (x, y))


def test_ctrl_c_returns_the_network_as_it_is():
    class Interrupt(Callback):
        def on_evaluation(self, evaluation):
            if evaluation.step == 6:
                raise KeyboardInterrupt

    x = np.linspace(-1, 1, 16)[:, None]
    data = (x, np.sin(3 * x))
    network = MLP(1, 1, (2,), key=jax.random.key(0), capacity=4)
    schedule = Schedule(max_steps=9, evaluate_every=3, steps_per_call=3)
    policy = Policy(width=False, depth=False)
    rising = {"validation": (x, 9 - data[1]), "schedule": schedule, "policy": policy}
    whole, history = fit(network, data, **rising)
    assert history.returned_step == 3  # the validation loss only rises
    interrupted, history = fit(network, data, callbacks=[Interrupt()], **rising)
    assert history.returned_step == history.steps == 6
    assert not np.array_equal(interrupted(jnp.asarray(x)), whole(jnp.asarray(x)))
