"""The training loop: what it does to a network, and what the ledger says of it."""

import dataclasses
import itertools
import json
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import senn.growth
import senn.training.growing
import senn.training.run
import senn.training.step
from senn.batches import Batch
from senn.callbacks import Callback
from senn.evaluation import evaluate
from senn.expand import without_spare
from senn.history import History
from senn.losses import Euclidean, Fisher, SquaredError
from senn.nn import MLP
from senn.optimizers import KFAC, AbstractOptimizer, NaturalGradient, Optax, StepInfo
from senn.policy import Policy
from senn.proposals import Proposal, Random
from senn.training import Schedule, TrainState, fit, train_chunk
from senn.training.schedule import EVALUATE_EVERY
from senn.training.stretch import MAX_RECOVERIES, RECOVERY_FACTOR

rng = np.random.default_rng(7)
N = 96  # three batches of 32
x = rng.normal(size=(N, 2))
y = np.sin(2 * x[:, 0]) * x[:, 1]
DATA, VALIDATION = (x, y), (x[:32], y[:32])
ADAM, STILL = Optax(optax.adam(0.02)), Optax(optax.sgd(0.0))
# A unit whenever one gains anything at all.
GROW = Policy(
    tau=1 + 1e-9, alpha=1e-12, confidence=0.0, depth=False, every=4, max_units=8,
    additions_at_once=1, patience=99, plateau=99, backoff=1.0,
    metric="euclidean", swap=None,
)  # fmt: skip
FIXED = Policy(width=False, depth=False)
SCHEDULE = Schedule(
    max_steps=24, batch_size=32, evaluate_every=3, steps_per_call=4, sample_size=48, stop_after=99,
    anneal_epochs=None,
)  # fmt: skip
SHORT = dataclasses.replace(SCHEDULE, max_steps=8)
UNENDING = dataclasses.replace(SCHEDULE, max_steps=None)
ANNEALED = "the learning rate has been annealed after growth ended"


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


HOOKS = [n for n in vars(Callback) if n.startswith("on_") and n != "on_pause"]
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
        assert (a.kind, a.position, a.place, a.units) == ("width", 0, "hidden layer 0", 1)
        assert a.place == c.place
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
    loss, metric, half = SquaredError(), Euclidean(), jnp.asarray(0.5)
    scales = jnp.asarray([1.0, 0.25, 3.0])
    state = TrainState.of(network, ADAM, averaging=0.6)._replace(scale=half)
    step = eqx.filter_jit(ADAM.step)
    new, optimizer, losses, mean = network, state.optimizer, [], network
    for n, kept in enumerate((0, 1 / 2, 0.6)):  # a plain mean, until that would keep more
        after, infos, last = train_chunk(
            state, ADAM, loss, metric, data, rows, scales, jnp.asarray(n + 1)
        )
        batch = data[rows[n]]
        new, optimizer, info = step(new, optimizer, loss, metric, batch, half * scales[n])
        mean = jax.tree.map(lambda m, p, kept=kept: kept * m + (1 - kept) * p, mean, new)
        losses.append(info.loss)
        np.testing.assert_allclose(infos.loss, losses + [0] * (2 - n), rtol=1e-10)
        for leaf, wanted in zip(
            jax.tree.leaves(after),
            jax.tree.leaves((new, optimizer, half, mean, state.averaging, n + 1)),
            strict=True,
        ):
            np.testing.assert_allclose(leaf, wanted, rtol=1e-9, atol=1e-12)
        assert last == pytest.approx(evaluate(new, loss, batch).loss)


@pytest.mark.parametrize(
    ("optimizer", "scale", "metric", "used"),
    [
        (KFAC(), 0.3, None, Fisher),
        (NaturalGradient(max_steps=2), 1.0, None, Euclidean),
        (NaturalGradient(max_steps=2), 1.0, "fisher", Fisher),
        (ADAM, 1.0, None, Fisher),
    ],
    ids=["kfac", "paper's", "as told", "optax"],
)
def test_what_suits_the_optimiser_is_used_if_nobody_says(
    network, monkeypatch, optimizer, scale, metric, used
):
    seen = []

    def propose_all(network, seen_by, proposer, policy, locations, key):
        seen.append(policy.unit_scale)
        return propose(network, seen_by, proposer, policy, locations, key)

    def train_chunk(state, optimizer, loss, metric, *rest):
        assert isinstance(metric, used)
        return train(state, optimizer, loss, metric, *rest)

    propose, train = senn.training.growing.propose_all, senn.training.train_chunk
    train_chunk.prepare = train.prepare
    monkeypatch.setattr(senn.training.growing, "propose_all", propose_all)
    monkeypatch.setattr(senn.training.step, "train_chunk", train_chunk)
    for wanted, policy in ((scale, GROW), (0.7, dataclasses.replace(GROW, unit_scale=0.7))):
        run(network, optimizer=optimizer, metric=metric, policy=policy, schedule=SHORT)
        assert set(seen) == {wanted}
        seen.clear()


def test_growth_leaves_the_running_mean_of_the_network_as_it_is_bit_by_bit(network, monkeypatch):
    outputs, states = [], []

    def spy(net, *rest):
        new = grow(net, *rest)
        rows = jnp.asarray(np.pad(x, ((0, 0), (0, net.in_slots - 2))))
        outputs.append([np.asarray(n(rows)) for n in (net, new[0])])
        states.append(new[0])
        return new

    grow = senn.growth.add
    monkeypatch.setattr(senn.growth, "add", spy)
    _, history = run(network, validation=VALIDATION, policy=GROW)
    assert len(outputs) == 2 * len(history.additions) >= 4  # the network, and its mean
    assert all(np.array_equal(*pair) for pair in outputs)
    for new, mean in zip(states[::2], states[1::2], strict=True):
        assert new.hidden_sizes == mean.hidden_sizes
        assert not same(new, mean)


def test_units_are_scored_and_judged_at_the_running_mean(network, monkeypatch):
    seen = []

    def look(net, *rest):
        seen.append(net)
        return plain_look(net, *rest)

    plain_look = senn.growth.look
    monkeypatch.setattr(senn.growth, "look", look)
    _, history = run(network, validation=VALIDATION, policy=GROW)
    last, _ = run(network, policy=GROW, schedule=dataclasses.replace(SCHEDULE, max_steps=4))
    first = without_spare(seen[0])
    assert same(first, last)  # what is returned after as many steps
    plain = dataclasses.replace(SCHEDULE, max_steps=4, averaging=0.0)
    assert not same(first, run(network, policy=GROW, schedule=plain)[0])
    assert all(a.loss_before == a.loss_after for a in history.additions)


@pytest.mark.parametrize("averaging", [-0.1, 1.0, np.nan])
def test_an_average_that_is_none_is_refused(averaging):
    with pytest.raises(ValueError, match=r"averaging must be in \[0, 1\)"):
        Schedule(averaging=averaging)


@pytest.mark.parametrize("steps", [0, 1, 5, 12])
def test_max_steps_is_exact(network, steps):
    recorder, schedule = Recorder(), dataclasses.replace(SCHEDULE, max_steps=steps)
    new, history = run(network, schedule=schedule, callbacks=[recorder])
    assert history.steps == steps
    assert history.stop_reason == f"{steps} steps done"
    assert history.ended_by == "steps"
    rows = history.to_rows()
    assert History.from_rows(rows).to_rows() == rows
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
    assert (history.ended_by == "seconds") == ("max_seconds" in settings)


@pytest.mark.parametrize("validation", [None, VALIDATION], ids=["training loss", "validation loss"])
@pytest.mark.parametrize("patience", [1, 3])
def test_it_stops_when_the_loss_does(network, validation, patience):
    schedule = dataclasses.replace(UNENDING, stop_after=patience)
    _, history = run(network, validation=validation, optimizer=STILL, schedule=schedule)
    assert len(history.evaluations) == 1 + patience  # the first is always better
    assert history.stop_reason.startswith(f"no better loss in {patience} evaluations")
    assert history.ended_by == "plateau"


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
    schedule = dataclasses.replace(UNENDING, averaging=0.0)
    new, history = run(network, iter(batches()), loss="squared_error", schedule=schedule)
    assert history.steps == 3
    assert history.stop_reason == "the data ended"
    assert history.ended_by == "data"
    steps = [e.step for e in history.evaluations]
    assert steps == sorted(set(steps))
    assert steps[-1] == 3
    assert all(np.isfinite(e.loss) for e in history.evaluations)
    data, rows = Batch.of(x, y), jnp.arange(N).reshape(3, 32)
    state = TrainState.of(network, ADAM)
    wanted, *_ = train_chunk(
        state, ADAM, SquaredError(), Euclidean(), data, rows, jnp.ones(3), jnp.asarray(3)
    )
    for leaf, other in zip(jax.tree.leaves(new), jax.tree.leaves(wanted.network), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-9, atol=1e-12)


def test_an_iterable_is_repeated_and_epochs_are_counted(network):
    _, history = run(network, batches(), loss="squared_error", policy=GROW)
    assert history.steps == 24
    assert history.additions
    assert 7 <= history.evaluations[-1].epoch <= 8


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
    schedule = dataclasses.replace(SCHEDULE, max_steps=60, averaging=0.0)
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
    new, history = run(single, policy=GROW, schedule=SHORT, proposer=Random(candidates=64))
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
    assert history.stop_reason == history.ended_by == "interrupted"
    assert recorder.told[-1] == ("on_stop", history)
    assert recorder.names()[-3:] == [hook, "on_snapshot", "on_stop"]
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

    monkeypatch.setattr(senn.training.growing, "evaluate", interrupted)
    new, history = run(network, policy=GROW)
    assert history.stop_reason == history.ended_by == "interrupted"
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
        def propose_all(network, seen, proposer, policy, locations, key):
            return [
                [offer(network, place, 1, score)] * policy.units_in_turn(place)
                for place in locations
            ]

        monkeypatch.setattr(senn.training.growing, "propose_all", propose_all)

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


def test_several_units_in_one_addition(network, offered):
    offered(0.5)
    policy = dataclasses.replace(GROW, additions_at_once=3, patience=1)
    new, history = run(network, policy=policy)
    assert [(a.step, a.units) for a in history.additions] == [(4, 3), (8, 2)]
    assert [a.hidden_sizes for a in history.additions] == [(6,), (8,)]
    assert new.hidden_sizes == (8,)
    theorem_1 = dataclasses.replace(policy, additions_at_once=16, tau=1.4, alpha=0.4)
    assert theorem_1.most_units() == 3
    few = dataclasses.replace(theorem_1, alpha=0.45, tau=1.45, every=20)
    _, history = run(network, policy=few)
    assert [a.units for a in history.additions] == [few.most_units()]


def test_looking_without_adding_leaves_training_as_it_is(network):
    grown, history = run(network, policy=dataclasses.replace(GROW, tau=1e9))
    assert history.considerations
    assert not history.additions
    assert same(grown, run(network)[0])


def test_the_ledger_tells_when_growth_ended(network):
    _, history = run(network, policy=dataclasses.replace(GROW, max_units=4))
    assert history.growth_ended == history.additions[-1].step
    assert run(network)[1].growth_ended is None


def test_the_ledger_of_several_units_in_one_addition(network):
    policy = dataclasses.replace(GROW, additions_at_once=3, max_units=None)
    new, history = run(network, policy=policy, seed=1)
    size, within = 3, 0
    for a in history.additions:
        accepted = [c for c in history.considerations if c.accepted and c.step == a.step]
        assert a.units == len(accepted)
        assert a.score == pytest.approx(sum(c.score for c in accepted))
        assert a.stderr == pytest.approx(sum(c.stderr**2 for c in accepted) ** 0.5)
        assert all(c.units == 1 and c.position == a.position for c in accepted)
        assert a.loss_before == pytest.approx(a.loss_after, rel=1e-12)
        size, within = size + a.units, max(within, a.units)
        assert a.hidden_sizes == (size,)
    assert new.hidden_sizes == (size,)
    assert within == 3


def test_fewer_units_than_could_be_added_put_off_the_next_look(network, monkeypatch):
    def propose_all(network, seen, proposer, policy, locations, key):
        return [[offer(network, place, 1, s) for s in (0.5, 0.5, 0.0)] for place in locations]

    monkeypatch.setattr(senn.training.growing, "propose_all", propose_all)
    policy = dataclasses.replace(GROW, additions_at_once=4, max_units=None)
    _, history = run(network, policy=policy)
    assert [(a.step, a.units) for a in history.additions] == [(4, 2), (12, 2), (20, 2)]
    refused = [c for c in history.considerations if not c.accepted]
    assert [c.step for c in refused] == [4, 12, 20]  # the third of each look


def test_what_put_off_the_next_look_goes_on_putting_it_off(network, monkeypatch):
    def propose_all(network, seen, proposer, policy, locations, key):
        scores = (0.5, 0.0) if sum(network.hidden_sizes) == 3 else (0.0,)
        return [[offer(network, place, 1, s) for s in scores] for place in locations]

    monkeypatch.setattr(senn.training.growing, "propose_all", propose_all)
    policy = dataclasses.replace(GROW, every=2, additions_at_once=2, backoff=2.0, max_units=None)
    _, history = run(network, policy=policy)
    assert [(a.step, a.units) for a in history.additions] == [(2, 1)]
    assert considered(history) == [2, 6, 10, 18]  # 2 · 2, then 2 · 2¹, then 2 · 2² steps later


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


@pytest.mark.parametrize(("layers_last", "steps"), [(True, [8, 16]), (False, [4, 12])])
def test_layers_come_second(network, offered, monkeypatch, layers_last, steps):
    # Units are never worth it here, layers always: a layer counts as one unit at this cost.
    def propose_all(network, seen, proposer, policy, locations, key):
        return [[offer(network, p, 1, 0.5 * p.inserts)] for p in locations]

    monkeypatch.setattr(senn.training.growing, "propose_all", propose_all)
    policy = dataclasses.replace(
        GROW, depth=True, layer_cost=1.0, layer_every=8, layers_last=layers_last,
        max_layers=3, max_units=None,
    )  # fmt: skip
    _, history = run(network, policy=policy)
    assert [(a.step, a.kind) for a in history.additions] == [(step, "layer") for step in steps]
    first = [c.kind for c in history.considerations if c.step == 4]
    assert ("layer" in first) == (not layers_last)


# --- the end of growth ------------------------------------------------------------------------


@pytest.mark.parametrize("plateau", [1, 2, 4])
@pytest.mark.parametrize("validation", [None, VALIDATION], ids=["training loss", "validation loss"])
def test_a_plateau_ends_growth_even_if_units_are_still_added(network, offered, plateau, validation):
    offered(0.5)
    schedule = dataclasses.replace(UNENDING, stop_after=5, tolerance=0.1)
    policy = dataclasses.replace(GROW, every=3, max_units=None, plateau=plateau)
    _, history = run(
        network, validation=validation, optimizer=STILL, policy=policy, schedule=schedule
    )
    # The first evaluation, at step 3, is always better; those after it never are.
    last = 3 * (1 + plateau)
    assert [a.step for a in history.additions] == list(range(3, last + 1, 3))
    assert considered(history) == list(range(3, last + 1, 3))
    assert history.steps == last + 5 * 3  # the count begins anew
    assert history.stop_reason == "no better loss in 5 evaluations after growth"


def test_growth_goes_on_while_the_loss_falls(network, offered):
    offered(0.5)
    policy = dataclasses.replace(GROW, max_units=None, plateau=1)
    schedule = dataclasses.replace(SCHEDULE, tolerance=0.0)
    falling = Optax(optax.sgd(0.02))
    data = (x[:32], y[:32])  # one batch: the loss falls every step
    _, history = run(network, data, optimizer=falling, policy=policy, schedule=schedule)
    losses = [e.loss for e in history.evaluations]
    assert losses == sorted(losses, reverse=True)
    assert considered(history) == [4, 8, 12, 16, 20]


def test_without_growth_the_plateau_of_the_policy_does_not_matter(network):
    policy = dataclasses.replace(FIXED, plateau=1)
    schedule = dataclasses.replace(UNENDING, stop_after=3)
    _, history = run(network, optimizer=STILL, policy=policy, schedule=schedule)
    assert history.steps == 3 * (1 + 3)


@pytest.mark.parametrize(
    ("policy", "last"),
    [({"plateau": 4}, 15), ({"max_units": 6, "plateau": 99}, 9)],
    ids=["plateau", "budget"],
)
def test_the_stop_counts_evaluations_after_growth_alone(network, offered, policy, last):
    offered(0.5)
    schedule = dataclasses.replace(UNENDING, stop_after=2)
    policy = dataclasses.replace(GROW, **({"every": 3, "max_units": None} | policy))
    _, history = run(network, optimizer=STILL, policy=policy, schedule=schedule)
    assert [a.step for a in history.additions] == list(range(3, last + 1, 3))
    assert history.steps == last + 2 * 3


# --- annealing --------------------------------------------------------------------------------


@pytest.fixture
def scales(monkeypatch):
    """What the learning rate of every step is multiplied by."""
    used = []

    def recorded(*args):
        used.extend(np.asarray(args[6])[: int(args[7])].tolist())
        return train_chunk(*args)

    recorded.prepare = train_chunk.prepare
    monkeypatch.setattr(senn.training.step, "train_chunk", recorded)
    return used


def half_a_cosine(steps):
    return (0.5 * (1 + np.cos(np.pi * np.arange(steps) / steps))).tolist()


def annealing(schedule=UNENDING, epochs=2.0, steps=1, **settings):
    return dataclasses.replace(schedule, anneal_epochs=epochs, anneal_steps=steps, **settings)


@pytest.mark.parametrize(
    ("epochs", "least", "steps"), [(2.0, 1, 6), (2.0, 10, 10), (0.5, 1, 2), (0.0, 5, 5)]
)
def test_without_growth_the_rate_falls_from_the_start(network, scales, epochs, least, steps):
    recorder = Recorder()
    _, history = run(network, schedule=annealing(epochs=epochs, steps=least), callbacks=[recorder])
    assert scales == pytest.approx(half_a_cosine(steps))
    assert history.steps == history.evaluations[-1].step == steps
    assert history.stop_reason == ANNEALED
    assert recorder.of("on_start") == [[None]]


def test_without_annealing_the_rate_stays(network, scales):
    _, history = run(network, policy=GROW)
    assert scales == [1.0] * 24
    assert history.stop_reason == "24 steps done"


@pytest.mark.parametrize("end", [{"max_steps": 24}, {"max_epochs": 8.0}], ids=str)
def test_with_an_end_the_rate_falls_until_then(network, scales, end):
    _, history = run(network, schedule=annealing(**end))
    assert scales == pytest.approx(half_a_cosine(24))
    assert history.stop_reason == "24 steps done"


def test_the_learning_rate_of_the_optimiser_is_what_falls(network):
    uphill = Optax(optax.sgd(0.01))
    first = MLP(1, 1, (), key=jax.random.key(0))
    data = (np.ones((4, 1)), np.ones(4))
    schedule = annealing(epochs=0.0, steps=5, evaluate_every=1, averaging=0.0)
    new, _ = run(first, data, optimizer=uphill, schedule=schedule)
    # one example with the constant: the error shrinks by 1 − rate · 2 · curvature at each step
    before, after = (float(net(jnp.ones((1, 1)))[0, 0]) - 1 for net in (first, new))
    plain, _ = run(
        first, data, optimizer=uphill, schedule=dataclasses.replace(UNENDING, max_steps=1)
    )
    lost = 1 - (float(plain(jnp.ones((1, 1)))[0, 0]) - 1) / before
    assert after / before == pytest.approx(np.prod(1 - lost * np.asarray(half_a_cosine(5))))


ENDS_OF_GROWTH = {
    "patience": (0.0, {"patience": 2}, 8),
    "budget": (0.5, {"max_units": 5}, 8),
    "plateau": (0.5, {"plateau": 3}, 12),
    "time": (0.5, {"max_seconds": 0.0}, 4),
}


@pytest.mark.parametrize(("score", "policy", "grown"), ENDS_OF_GROWTH.values(), ids=ENDS_OF_GROWTH)
@pytest.mark.parametrize("end", [None, 36])
def test_the_rate_falls_once_growth_has_ended(network, offered, scales, score, policy, grown, end):
    offered(score)
    policy = dataclasses.replace(GROW, **policy)
    schedule = annealing(max_steps=end)
    _, history = run(network, optimizer=STILL, policy=policy, schedule=schedule)
    steps = 6 if end is None else end - grown
    assert scales == pytest.approx([1.0] * grown + half_a_cosine(steps))
    assert history.steps == grown + steps
    assert history.stop_reason == (ANNEALED if end is None else "36 steps done")
    assert all(step <= grown for step in considered(history))


@pytest.mark.parametrize(("least", "grown"), [(9, 15), (6, 18), (100, 12)])
def test_growth_is_cut_in_time_and_at_half_at_the_latest(network, offered, scales, least, grown):
    offered(0.5)
    policy = dataclasses.replace(GROW, max_units=None)
    schedule = annealing(SCHEDULE, steps=least)
    _, history = run(network, policy=policy, schedule=schedule)
    assert scales == pytest.approx([1.0] * grown + half_a_cosine(24 - grown))
    assert considered(history) == [step for step in (4, 8, 12, 16, 20) if step <= grown]
    assert history.stop_reason == "24 steps done"


@pytest.mark.parametrize("every", [7, 24])
def test_annealing_begins_in_time_whenever_evaluations_are(network, offered, scales, every):
    offered(0.5)
    policy = dataclasses.replace(GROW, every=99)
    run(network, policy=policy, schedule=annealing(SCHEDULE, steps=100, evaluate_every=every))
    assert scales == pytest.approx([1.0] * 12 + half_a_cosine(12))


@pytest.mark.parametrize("end", [1, 2, 3])
def test_the_shortest_runs_can_be_annealed(network, offered, end):
    offered(0.5)
    policy = dataclasses.replace(GROW, every=1)
    _, history = run(network, policy=policy, schedule=annealing(max_steps=end, evaluate_every=1))
    assert history.steps == end
    assert history.stop_reason == f"{end} steps done"


def test_a_loss_that_falls_no_more_does_not_end_the_annealing(network, scales):
    schedule = annealing(epochs=9.0, stop_after=2)
    _, history = run(network, optimizer=STILL, schedule=schedule)
    assert scales == pytest.approx(half_a_cosine(27))
    assert history.stop_reason == ANNEALED


def test_a_stream_is_annealed_over_steps(network, scales):
    schedule = annealing(epochs=99.0, steps=10)
    _, history = run(network, batches(), loss="squared_error", schedule=schedule)
    assert scales == pytest.approx(half_a_cosine(10))
    assert history.stop_reason == ANNEALED


def test_a_lowered_step_is_annealed_too(network):
    scale = []
    schedule = annealing(epochs=0.0, steps=4, steps_per_call=1, evaluate_every=1)

    class Telling(AbstractOptimizer):
        """Calls its scale the loss, and that of the first chunk infinite."""

        def init(self, network):  # noqa: ARG002
            return jnp.zeros((), int)

        def step(self, network, state, loss, metric, batch, scale):  # noqa: ARG002
            told = jnp.where(scale == 1, jnp.inf, scale)
            return network, state, StepInfo(told, jnp.nan * scale, state, scale)

    class Listening(Callback):
        def on_steps(self, step, loss):  # noqa: ARG002
            scale.append(loss)

    run(network, optimizer=Telling(), schedule=schedule, callbacks=[Listening()])
    assert scale == pytest.approx([RECOVERY_FACTOR * rate for rate in half_a_cosine(4)])


# --- time -------------------------------------------------------------------------------------


class Clock(Callback):
    """A second a step, and none for anything else."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def on_steps(self, step, loss):  # noqa: ARG002
        self.now = float(step)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(senn.training.run, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.mark.parametrize(("least", "steps"), [(100, 10), (8, 8), (4, 4)])
def test_growth_is_cut_at_half_the_time_and_the_rate_is_zero_at_its_end(
    network, offered, scales, clock, least, steps
):
    offered(0.5)
    policy = dataclasses.replace(GROW, max_units=None)
    schedule = annealing(epochs=0.0, steps=least, steps_per_call=1, max_seconds=20.0)
    _, history = run(network, policy=policy, schedule=schedule, callbacks=[clock])
    # Half the time is over at step 10, whether there is an evaluation or a look or not.
    assert scales == pytest.approx([1.0] * 10 + half_a_cosine(steps))
    assert considered(history) == [4, 8]
    assert history.steps == history.evaluations[-1].step == 10 + steps
    assert history.stop_reason == (ANNEALED if least == steps else "20 seconds used")


def test_the_rate_falls_with_time_if_that_ends_first(network, scales, clock):
    schedule = annealing(epochs=0.0, steps=100, steps_per_call=4, max_seconds=9.0)
    schedule = dataclasses.replace(schedule, evaluate_every=99)
    _, history = run(network, schedule=schedule, callbacks=[clock])
    # By the clock at the beginning of each call, and by the steps within it if that is more.
    wanted = [max(step / 100, step // 4 * 4 / 9) for step in range(12)]
    assert scales == pytest.approx([0.5 * (1 + np.cos(np.pi * done)) for done in wanted])
    assert history.stop_reason == "9 seconds used"
    assert history.steps == 12


def test_time_alone_ends_a_run_that_is_not_annealed(network, scales, clock):
    schedule = dataclasses.replace(UNENDING, max_seconds=10.0, steps_per_call=1)
    _, history = run(network, policy=GROW, schedule=schedule, callbacks=[clock])
    assert scales == [1.0] * 10
    assert history.steps == history.evaluations[-1].step == 10
    assert history.stop_reason == "10 seconds used"


# --- evaluations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "epoch", "steps"),
    [
        (None, None, EVALUATE_EVERY),
        (None, 1, EVALUATE_EVERY),
        (None, EVALUATE_EVERY - 1, EVALUATE_EVERY),
        (None, EVALUATE_EVERY + 1, EVALUATE_EVERY + 1),
        (None, 1000, 1000),
        (7, None, 7),
        (7, 1000, 7),
        (1000, 7, 1000),
    ],
)
def test_steps_between_evaluations(every, epoch, steps):
    assert Schedule(evaluate_every=every).evaluation_steps(epoch) == steps


def test_an_evaluation_an_epoch_or_every_so_many_steps(network):
    end = 3 * EVALUATE_EVERY + 1
    schedule = dataclasses.replace(SCHEDULE, max_steps=end, evaluate_every=None)
    _, history = run(network, schedule=schedule)  # an epoch is 3 steps
    often = [EVALUATE_EVERY, 2 * EVALUATE_EVERY, 3 * EVALUATE_EVERY, end]
    assert [e.step for e in history.evaluations] == often
    _, history = run(network, batches(), loss="squared_error", schedule=schedule)
    assert [e.step for e in history.evaluations] == often
    schedule = dataclasses.replace(schedule, batch_size=2, max_steps=100)
    _, history = run(network, schedule=schedule)  # 48 steps
    assert [e.step for e in history.evaluations] == [48, 96, 100]


# --- what the optimiser is told of the inputs -------------------------------------------------


class Watching(KFAC):
    """Remembers what it was told; may lose its mind while the scale is above `limit`."""

    told: list = eqx.field(default_factory=list, static=True)
    limit: float = np.inf

    def observe(self, state, moment):
        self.told.append(moment)
        return super().observe(state, moment)

    def step(self, network, state, loss, metric, batch, scale):
        new, state, info = super().step(network, state, loss, metric, batch, scale)
        bad = scale > self.limit
        new = eqx.tree_at(
            lambda n: n.readout.bias, new, replace_fn=lambda b: jnp.where(bad, jnp.nan, b)
        )
        return new, state, info


class Moments(list):
    """A list that can be a static field."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


def watching(limit=np.inf):
    return Watching(told=Moments(), limit=limit)


def moment_of(x, weight=1.0):
    a = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    return (a.T * weight) @ a / len(x)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_inputs_of_arrays_are_observed_once(network, weighted):
    weight = np.linspace(0, 2, N) if weighted else np.ones(N)
    optimizer = watching()
    _, history = run(network, (x, y, weight), optimizer=optimizer, policy=GROW)
    assert history.additions
    (moment,) = optimizer.told
    assert moment.rows == N
    np.testing.assert_allclose(moment.matrix, moment_of(x, weight), rtol=1e-10, atol=1e-12)


def test_the_inputs_of_a_stream_are_observed_whenever_they_have_doubled(network):
    optimizer, seen = watching(), []
    draw = np.random.default_rng(0)

    def stream():
        while True:
            seen.append(draw.normal(size=(20, 2)) + len(seen))  # cut anew, to 32
            yield seen[-1], seen[-1][:, 0], np.full(20, 1 + len(seen) % 2)

    _, history = run(network, stream(), loss="squared_error", optimizer=optimizer)
    assert history.steps == 24
    # A call makes 3 steps, from one evaluation to the next.
    assert [m.rows for m in optimizer.told] == [32 * steps for steps in (3, 6, 12, 24)]
    rows = np.concatenate(seen)
    weight = np.repeat([1 + (n + 1) % 2 for n in range(len(seen))], 20)
    for m in optimizer.told:
        np.testing.assert_allclose(
            m.matrix, moment_of(rows[: m.rows], weight[: m.rows]), rtol=1e-10
        )


def test_an_optimiser_that_does_not_watch_is_not_told(network, monkeypatch):
    monkeypatch.setattr(Watching, "watches_inputs", False)
    optimizer = watching()
    _, history = run(network, optimizer=optimizer, schedule=SHORT)
    assert history.steps == 8
    assert not optimizer.told


@pytest.mark.parametrize("streamed", [False, True])
def test_after_a_recovery_the_inputs_are_observed_again(network, streamed):
    optimizer = watching(limit=0.5)
    data = batches() if streamed else DATA
    _, history = run(network, data, loss="squared_error", optimizer=optimizer, schedule=SHORT)
    assert [r.step for r in history.recoveries] == [0]
    assert history.steps == 8
    # Of a stream the rows whose steps were undone have been seen all the same.
    rows = [96, 192] if streamed else [96, 96]
    assert [m.rows for m in optimizer.told] == rows
    for moment in optimizer.told:
        np.testing.assert_allclose(moment.matrix, moment_of(x), rtol=1e-10, atol=1e-12)


def test_a_bad_batch_is_passed_over_by_the_default_optimiser(network):
    bad = batches() * 4
    bad[1] = (np.full_like(x[:32], np.nan), y[:32])
    schedule = dataclasses.replace(UNENDING, steps_per_call=1)
    new, history = fit(network, iter(bad), loss="squared_error", policy=FIXED, schedule=schedule)
    assert [r.step for r in history.recoveries] == [1]
    assert history.steps == len(bad) - 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new))


def test_the_default_optimiser_and_schedule_learn_and_grow(network):
    new, history = fit(
        network, DATA, validation=VALIDATION, policy=GROW, proposer=Random(candidates=16),
        schedule=Schedule(max_steps=40, batch_size=32),
    )  # fmt: skip
    first, *_, last = history.evaluations
    assert last.validation_loss < first.validation_loss
    assert history.stop_reason == "40 steps done"
    assert history.additions
    assert considered(history) == [4, 8, 12, 16, 20]  # the second half is annealed
    assert new.hidden_sizes == (3 + len(history.additions),)


def test_the_search_reads_the_factors_of_the_optimiser(network):
    policy = dataclasses.replace(GROW, metric="fisher")
    _, history = run(
        network, optimizer="kfac", metric="fisher", policy=policy, schedule=SHORT,
        proposer=Random(candidates=64),
    )  # fmt: skip
    assert [a.step for a in history.additions] == [4]


# --- settings ---------------------------------------------------------------------------------


AT_LEAST_ONE = (
    "batch_size", "evaluate_every", "stop_after", "sample_size", "steps_per_call", "anneal_steps",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, 0) for name in AT_LEAST_ONE]
    + [(name, -1.0) for name in ("max_epochs", "max_seconds", "tolerance", "anneal_epochs")]
    + [("max_steps", -1), ("max_epochs", np.nan), ("anneal_epochs", np.nan)],
)
def test_bad_schedules(name, value):
    with pytest.raises(ValueError, match=name):
        Schedule(**{name: value})


TWO_OUTPUTS = MLP(2, 2, (3,), key=jax.random.key(0), capacity=8)
BAD_CALLS = {
    "loss": ({"loss": "hinge"}, "hinge"),
    "metric": ({"metric": "hessian"}, "hessian"),
    "optimizer": ({"optimizer": "sgd"}, "sgd"),
    "targets": ({"data": (x, y[:-1])}, "as long"),
    "outputs": ({"data": (x, np.stack([y, y], axis=1))}, r"\(96, 2\)"),
    "too few outputs": ({"network": TWO_OUTPUTS, "loss": "squared_error"}, r"\(96,\)"),
    "too few inputs": ({"data": (x[:, :1], y)}, r"\[N, 2\]; got shape \(\d+, 1\)"),
    "too many inputs": ({"data": (np.hstack([x, x]), y)}, r"\[N, 2\]; got shape \(\d+, 4\)"),
    "too few inputs of a stream": (
        {"data": [(x[:, :1], y)], "loss": "squared_error"},
        r"\[N, 2\]; got shape \(96, 1\)",
    ),
    "too many outputs of a stream": (
        {"data": [(x, np.stack([y, y], axis=1))], "loss": "squared_error"},
        r"\(96, 2\)",
    ),
    "too few outputs of a stream": (
        {"data": [(x, y)], "network": TWO_OUTPUTS, "loss": "squared_error"},
        r"\(96,\)",
    ),
    "validation inputs": ({"validation": (x[:, :1], y)}, r"\[N, 2\]; got shape \(96, 1\)"),
    "validation outputs": ({"validation": (x, np.stack([y, y], axis=1))}, r"\(96, 2\)"),
    "empty": ({"data": (x[:0], y[:0])}, "N > 0"),
    "validation": ({"validation": (x[:0], y[:0])}, "N > 0"),
    "validation targets": ({"validation": (x, y[:-1])}, "as long"),
}


@pytest.mark.parametrize(("settings", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_calls(network, settings, message):
    with pytest.raises(ValueError, match=message):
        run(**{"network": network, **settings})


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
    with pytest.raises(ValueError, match=message):
        fit(network, [(x, fine), (x, y)], loss="softmax_cross_entropy")
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
    network = MLP(1, 1, (2,), key=jax.random.key(1), capacity=4)
    schedule = Schedule(max_steps=9, evaluate_every=3, steps_per_call=3, anneal_epochs=None)
    policy = Policy(width=False, depth=False)
    rising = {
        "validation": (x, 9 - data[1]), "schedule": schedule, "policy": policy,
        "optimizer": "natural_gradient", "metric": "euclidean",
    }  # fmt: skip
    whole, history = fit(network, data, **rising)
    assert history.returned_step == 3  # the validation loss only rises
    interrupted, history = fit(network, data, callbacks=[Interrupt()], **rising)
    assert history.returned_step == history.steps == 6
    assert not np.array_equal(interrupted(jnp.asarray(x)), whole(jnp.asarray(x)))
