"""Runs that go on from a checkpoint, against the run that was never disturbed."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from senn.callbacks import Callback
from senn.checkpoints import FORMAT, CheckpointError, read_checkpoint, write_checkpoint
from senn.files import read_file
from senn.lineage import lineage, lineage_of
from senn.nn import MLP
from senn.optimizers import KFAC, NaturalGradient, Optax
from senn.policy import Policy
from senn.proposals import Random
from senn.training import Schedule, fit
from senn.training.state import ResumeError, RunState, described

RNG = np.random.default_rng(7)
X = RNG.normal(size=(96, 2))
Y = np.sin(2 * X[:, 0]) * X[:, 1]
DATA, VALIDATION = (X, Y), (X[:32] + 0.1, Y[:32])
ADAM = Optax(optax.adam(0.02))
WIDER = Policy(
    tau=1 + 1e-9, alpha=1e-12, confidence=0.0, depth=False, every=4, max_units=12,
    additions_at_once=2, patience=99, plateau=99, backoff=1.0, layer_cost=None,
)  # fmt: skip
DEEPER = dataclasses.replace(WIDER, depth=True, layers_last=False, layer_every=8, max_layers=2)
SCHEDULE = Schedule(
    max_steps=24, batch_size=40, evaluate_every=5, steps_per_call=3, sample_size=48,
    anneal_epochs=2, anneal_steps=4,
)  # fmt: skip
# Optimiser, policy, validation data, slots to start with.
CASES = {
    "K-FAC": (KFAC(), WIDER, VALIDATION, 3),
    "natural gradient": (NaturalGradient(max_steps=5, warm_start=0.9), WIDER, None, 16),
    "Adam, new layers": (ADAM, DEEPER, VALIDATION, 16),
    "momentum, diverging": (Optax(optax.sgd(1e3, 0.9)), WIDER, None, 16),
}


class Keeper(Callback):
    """Writes the state at every pause to a file of its own."""

    def __init__(self, folder: Path):
        self.folder, self.paths = folder, []

    def on_pause(self, state: RunState) -> None:
        self.paths.append(self.folder / f"pause-{len(self.paths)}")
        write_checkpoint(self.paths[-1], state, {"pause": len(self.paths)})


def run(case: str, **settings):
    optimizer, policy, validation, capacity = CASES[case]
    network = MLP(2, 1, (3,), key=jax.random.key(0), capacity=capacity)
    common = {
        "optimizer": optimizer, "policy": policy, "validation": validation, "schedule": SCHEDULE,
        "proposer": Random(candidates=8),
    }  # fmt: skip
    return fit(network, DATA, **(common | settings))


@pytest.fixture(scope="module", params=CASES)
def undisturbed(request, tmp_path_factory):
    keeper = Keeper(tmp_path_factory.mktemp("pauses"))
    return request.param, *run(request.param, callbacks=[keeper], seed=4), keeper.paths


ONE = "natural gradient"  # the case where any would do
OPTIMIZER = CASES[ONE][0]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The path of one in the middle of a run."""
    keeper = Keeper(tmp_path_factory.mktemp("pauses"))
    run(ONE, callbacks=[keeper], seed=4)
    return keeper.paths[len(keeper.paths) // 2]


def stored_state(path: Path) -> RunState:
    return read_checkpoint(path).state(OPTIMIZER)


def timeless(history):
    """The ledger without its times."""
    times = {"seconds", "training_seconds", "growth_seconds", "compile_seconds", "n_compilations"}
    rows = [history.summary(), *history.to_records()]
    return [{k: repr(v) for k, v in row.items() if k not in times} for row in rows]


def bits(tree):
    return [(np.asarray(leaf).dtype, np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(tree)]


def test_the_runs_to_be_resumed_do_what_is_worth_resuming(undisturbed):
    case, network, history, paths = undisturbed
    assert len(paths) >= 5
    if "diverging" in case:
        assert history.recoveries
        return
    assert history.steps == 24
    assert 0 < history.additions[-1].step < 23
    assert ("layer" in {a.kind for a in history.additions}) == ("layers" in case)
    assert case != "K-FAC" or network.capacities > (3,)  # it has outgrown its slots


def test_from_every_pause_the_run_ends_as_if_undisturbed(undisturbed):
    case, network, history, paths = undisturbed
    for path in paths:
        state = read_checkpoint(path).state(CASES[case][0])
        again, resumed = run(case, resume=state, seed=99)
        assert bits(again) == bits(network), path
        assert timeless(resumed) == timeless(history), path


def test_a_resumed_run_can_be_interrupted_and_resumed(undisturbed, tmp_path):
    case, network, history, paths = undisturbed

    class Stop(Keeper):
        def on_pause(self, state):
            super().on_pause(state)
            if len(self.paths) == 3:
                raise KeyboardInterrupt

    state = read_checkpoint(paths[1]).state(CASES[case][0])
    stop = Stop(tmp_path)
    _, stopped = run(case, resume=state, callbacks=[stop])
    assert stopped.stop_reason == "interrupted"
    again, resumed = run(case, resume=read_checkpoint(stop.paths[-1]).state(CASES[case][0]))
    assert bits(again) == bits(network)
    assert timeless(resumed) == timeless(history)


def test_what_is_read_is_what_was_written(checkpoint, tmp_path):
    first = read_checkpoint(checkpoint)
    write_checkpoint(tmp_path / "again", first.state(OPTIMIZER), first.header["about"])
    assert (tmp_path / "again").read_bytes() == checkpoint.read_bytes()


def test_time_goes_on_from_what_was_spent(checkpoint):
    state = stored_state(checkpoint)
    state.seconds, state.annealing = 1e6, None
    schedule = dataclasses.replace(SCHEDULE, max_seconds=1e6, anneal_epochs=None)
    before = state.step
    _, history = run(ONE, resume=state, schedule=schedule)
    assert history.stop_reason == "1e+06 seconds used"
    assert before < history.steps <= before + SCHEDULE.steps_per_call
    assert history.evaluations[-1].seconds >= 1e6


# --- what a checkpoint says ---------------------------------------------------------------


def test_the_file_describes_itself(checkpoint):
    header, arrays = read_file(checkpoint, FORMAT)
    network = header["network"]
    assert network["activation"] == "rational"
    inputs, *hidden, outputs = network["slots"]
    assert len(hidden) == len(network["hidden_sizes"])
    for layer, slots in enumerate(hidden):
        assert arrays[f"train.network.hidden.{layer}.dense.bias"].shape == (slots,)
    assert header["settings"]["optimizer"] == described(OPTIMIZER)
    assert header["settings"]["schedule"]["batch_size"] == 40
    assert header["settings"]["policy"]["additions_at_once"] == 2
    assert header["written_by"]["jaxlib"]
    assert header["ledger"][0]["record"] == "summary"
    assert header["ledger"][0]["steps"] == header["step"]
    assert header["generator"]["bit_generator"] == header["position"]["generator"]["bit_generator"]
    for name, slots, size in (("inputs", inputs, "in_size"), ("outputs", outputs, "out_size")):
        born = arrays[f"train.network.{name}"]
        assert born.shape == (slots,)
        assert (born >= 0).sum() == network[size] == {"in_size": 2, "out_size": 1}[size]
    json.dumps(header, allow_nan=False)


def test_other_data_are_refused(checkpoint):
    optimizer, policy, validation, _ = CASES[ONE]
    network = MLP(2, 1, (3,), key=jax.random.key(0))
    changed = Y.copy()
    changed[5] += 1e-9
    for data, held_out in [
        ((X[:95], Y[:95]), validation),
        ((X[::-1], Y[::-1]), validation),
        ((X, changed), validation),
        (DATA, None if validation else DATA),
        ([DATA], validation),
    ]:
        state = stored_state(checkpoint)
        with pytest.raises(ResumeError, match="not those of the run to be resumed"):
            fit(
                network, data, validation=held_out, loss="squared_error", optimizer=optimizer,
                policy=policy, schedule=SCHEDULE, resume=state,
            )  # fmt: skip


def test_a_state_without_a_place_goes_on_with_any_data(checkpoint):
    state = stored_state(checkpoint)
    before, sizes = state.step, state.train.network.hidden_sizes
    state.position = state.fingerprint = None
    fixed = dataclasses.replace(CASES[ONE][1], width=False, depth=False)
    state.growing = False
    schedule = dataclasses.replace(SCHEDULE, max_steps=before + 4)
    network = MLP(2, 1, (3,), key=jax.random.key(0))
    network, history = fit(
        network, (X[:50], Y[:50]), optimizer=OPTIMIZER, policy=fixed, schedule=schedule,
        resume=state,
    )  # fmt: skip
    assert history.steps == before + 4
    assert network.hidden_sizes == sizes


def test_another_optimiser_is_refused(checkpoint):
    other = KFAC(damping=0.5)
    with pytest.raises(CheckpointError, match=r"is of a run with .*, not with .*0\.5"):
        read_checkpoint(checkpoint).state(other)


def test_64_bit_states_are_not_rounded_in_silence(checkpoint):
    read = read_checkpoint(checkpoint)
    with jax.enable_x64(False), pytest.raises(CheckpointError, match="jax_enable_x64"):
        read.state(OPTIMIZER)


def test_arrays_that_are_missing_or_of_another_shape(checkpoint):
    read = read_checkpoint(checkpoint)
    for name in ("train.age", "train.network.readout.bias", "train.network.inputs", "order"):
        without = {k: v for k, v in read.arrays.items() if k != name}
        with pytest.raises(CheckpointError, match="damaged"):
            dataclasses.replace(read, arrays=without).state(OPTIMIZER)
    lost = {k: v for k, v in read.header.items() if k != "generator"}
    with pytest.raises(CheckpointError, match="damaged"):
        dataclasses.replace(read, header=lost).state(OPTIMIZER)
    longer = {**read.arrays, "train.average.readout.bias": np.zeros(9)}
    with pytest.raises(CheckpointError, match="has shape"):
        dataclasses.replace(read, arrays=longer).state(OPTIMIZER)


def test_a_network_of_a_type_that_files_cannot_hold(tmp_path):
    network = MLP(2, 1, (3,), key=jax.random.key(0), dtype=jnp.bfloat16)

    class Write(Callback):
        def on_pause(self, state):
            write_checkpoint(tmp_path / "c", state)

    with pytest.raises(TypeError, match="bfloat16, which files cannot hold"):
        fit(network, DATA, optimizer=ADAM, schedule=SCHEDULE, callbacks=[Write()])


# --- files of earlier versions ------------------------------------------------------------

FILES = sorted((Path(__file__).parent / "files").glob("checkpoint-v*.senn"))


def test_there_is_a_file_of_every_version():
    versions = [int(path.stem.removeprefix("checkpoint-v")) for path in FILES]
    assert versions == list(range(1, FORMAT.version + 1))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_runs_of_every_version_go_on(path):
    state = stored_state(path)
    sizes = state.train.network.hidden_sizes
    assert 0 < state.step < 24
    assert sizes == state.history.additions[-1].hidden_sizes
    network, history = run(ONE, resume=state)
    assert history.steps == 24
    assert network.hidden_sizes >= sizes


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_units_say_which_addition_brought_them(path):
    """Files of before version 4 have it from their ledger."""
    state = stored_state(path)
    wanted = lineage(state.history, state.train.network.hidden_sizes).layers
    for network in (state.train.network, state.train.average):
        assert lineage_of(network, state.history).layers == wanted
    assert any(n >= 0 for layer in wanted for n in layer)


def test_blocks_of_coefficients_stood_beside_the_factors_of_their_map_once():
    """K-FAC's of version 2; sites have places of their own since version 3."""
    old = read_checkpoint(Path(__file__).parent / "files" / "kfac-checkpoint-v2.senn")
    state = old.state(CASES["K-FAC"][0])
    block = state.train.optimizer.factors[2].block
    np.testing.assert_array_equal(block, old.arrays["train.optimizer.factors.0.theta"])
    assert block.any()
    network, history = run("K-FAC", resume=state)
    assert history.steps == 24
    assert network.hidden_sizes >= state.history.additions[0].hidden_sizes
