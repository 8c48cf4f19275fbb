import copy
import math
import pickle
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest

import senn
from senn import Policy, Schedule, StopTraining
from senn.callbacks import (
    Callback,
    EarlyStop,
    JSONLines,
    Progress,
    SaveModel,
    SizeBudget,
    TensorBoard,
    TimeBudget,
)
from senn.evaluation import outputs
from senn.history import Addition, Consideration, Evaluation, History, Recovery
from senn.models import read_model
from senn.proposals import Random

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 2))
DATA = (X, np.sin(X[:, :1]))
# A unit whenever one gains anything at all.
GROW = Policy(
    tau=1 + 1e-9, alpha=1e-12, confidence=0.0, depth=False, every=4, max_units=8,
    additions_at_once=1, patience=99, plateau=99, backoff=1.0, metric="euclidean",
)  # fmt: skip
SCHEDULE = Schedule(
    max_steps=24, batch_size=16, evaluate_every=3, sample_size=24, steps_per_call=4, stop_after=99,
    anneal_epochs=None,
)  # fmt: skip


def run(*callbacks, validated=True, policy=GROW, schedule=SCHEDULE):
    network = senn.nn.MLP(2, 1, (3,), key=jax.random.key(0), capacity=16)
    return senn.fit(
        network,
        DATA,
        validation=DATA if validated else None,
        metric="euclidean",
        optimizer=optax.adam(1e-2),
        proposer=Random(candidates=8),
        policy=policy,
        schedule=schedule,
        callbacks=callbacks,
    )


def evaluation(step=3, **changes) -> Evaluation:
    return replace(Evaluation(step, 1.0, 1.0, 0.5, 0.4, 0.9, None, None, (4, 2), 99), **changes)


def addition(step=3, **changes) -> Addition:
    made = Addition(
        step, "width", 0, "hidden layer 0", 1, 0.1, 0.01, 1.0, 1.0, (5, 2), 130, "gains", 3.0
    )
    return replace(made, **changes)


def consideration(step=3, **changes) -> Consideration:
    made = Consideration(
        step, "width", 0, "hidden layer 0", 1, 0.2, 0.1, 0.01, 1.0, 2.0, 2.0, 0.09, True, "added",
        "gains",
    )  # fmt: skip
    return replace(made, **changes)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Stop(Callback):
    """Asks for the end at the given call of one hook."""

    def __init__(self, hook, call=1):
        self.left = call
        setattr(self, hook, self._count)

    def _count(self, *_):
        self.left -= 1
        if self.left == 0:
            raise StopTraining("enough")


class Listener(Callback):
    def __init__(self):
        self.snapshots, self.additions, self.evaluations = [], [], []

    def on_snapshot(self, snapshot):
        self.snapshots.append(snapshot)

    def on_addition(self, addition):
        self.additions.append(addition)

    def on_evaluation(self, evaluation):
        self.evaluations.append(evaluation)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """One whole run, with everything that listens."""
    folder = tmp_path_factory.mktemp("told")
    listener = Listener()
    network, history = run(
        listener,
        JSONLines(folder / "deep" / "live.jsonl"),
        SaveModel(folder / "network.senn"),
        TensorBoard(folder / "board"),
    )
    assert history.additions
    return folder, network, history, listener


# --- StopTraining ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hook", "call"),
    [("on_start", 1), ("on_steps", 1), ("on_steps", 2), ("on_evaluation", 2),
     ("on_considerations", 2), ("on_addition", 2), ("on_snapshot", 3)],
)  # fmt: skip
def test_a_hook_ends_training_in_good_order(hook, call):
    listener = Listener()
    network, history = run(Stop(hook, call), listener)
    assert history.stop_reason == "enough"
    assert history.steps < 24
    # whatever was learned has been evaluated, and the best of it is returned
    assert history.evaluations[-1].step == history.steps
    best = min(history.evaluations, key=lambda e: e.validation_loss)
    assert history.returned_step == best.step
    assert network.hidden_sizes == best.hidden_sizes
    # the others heard of everything, also of what came with the request
    assert listener.additions == history.additions
    assert listener.evaluations == history.evaluations


def test_asked_at_the_start_no_step_is_taken():
    _, history = run(Stop("on_start"))
    assert history.steps == 0


def test_nothing_grows_once_the_end_was_asked_for():
    together = replace(SCHEDULE, evaluate_every=4)  # as often as growth is considered
    _, history = run(Stop("on_evaluation"), schedule=together)
    assert history.considerations == []


def test_the_first_reason_counts():
    class Other(Callback):
        def on_steps(self, step, loss):  # noqa: ARG002
            raise StopTraining("another reason")

    _, history = run(Stop("on_steps"), Other())
    assert history.stop_reason == "enough"


# --- snapshots ---------------------------------------------------------------------------------


def test_snapshots_follow_the_network(told):
    _, network, history, listener = told
    *earlier, last = listener.snapshots
    sizes = [s.network.hidden_sizes for s in earlier]
    assert [a.hidden_sizes for a in history.additions] == list(dict.fromkeys(sizes))[1:]
    assert [s.step for s in earlier] == sorted(s.step for s in earlier)
    assert last.network is network
    assert last.step == history.returned_step


# --- JSON lines --------------------------------------------------------------------------------


def test_a_live_ledger_is_the_ledger(told):
    folder, _, history, _ = told
    assert History.from_json_lines(folder / "deep" / "live.jsonl") == history


def test_every_record_is_in_the_file_as_soon_as_it_is_made(tmp_path):
    path = tmp_path / "live.jsonl"
    writer = JSONLines(path)
    writer.on_start(None)
    records = [evaluation(loss=math.nan), consideration(), addition(), Recovery(3, 0.1, "back")]
    tell = [writer.on_evaluation, lambda c: writer.on_considerations([c], "reason"),
            writer.on_addition, writer.on_recovery]  # fmt: skip
    for n, (hook, record) in enumerate(zip(tell, records, strict=True), start=1):
        hook(record)
        assert len(path.read_text().splitlines()) == n
    read = History.from_json_lines(path)  # as a killed run leaves it
    assert math.isnan(read.records[0].loss)
    assert read.records[1:] == records[1:]
    assert read.stop_reason == ""


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "live.jsonl"
    writer = JSONLines(path)
    writer.on_start(None)
    writer.on_addition(addition())
    path.write_text(path.read_text() + '{"record": "addi')
    assert History.from_json_lines(path).records == [addition()]


@pytest.mark.parametrize(("append", "lines"), [(False, 1), (True, 2)])
def test_a_file_starts_anew_unless_the_run_goes_on(tmp_path, append, lines):
    for _ in range(2):
        writer = JSONLines(tmp_path / "live.jsonl", append=append)
        writer.on_start(None)
        writer.on_evaluation(evaluation())
    assert len((tmp_path / "live.jsonl").read_text().splitlines()) == lines


# --- SaveModel --------------------------------------------------------------------------------


def test_the_file_ends_as_the_network_that_is_returned(told):
    folder, network, history, _ = told
    read, header, _ = read_model(folder / "network.senn")
    assert read.hidden_sizes == network.hidden_sizes
    # its slots are others, and so is the rounding of sums
    np.testing.assert_allclose(outputs(read, X), outputs(network, X), rtol=1e-12)
    assert header["step"] == history.returned_step


@pytest.fixture(scope="module")
def snapshots():
    key = jax.random.key(0)
    return [senn.callbacks.Snapshot(s, senn.nn.MLP(2, 1, (s,), key=key)) for s in range(1, 5)]


@pytest.mark.parametrize(
    ("every", "at_growth", "written"), [(10.0, True, [0, 2, 2, 4]), (10.0, False, [0, 0, 0, 4]),
                                        (0.0, False, [1, 2, 3, 4])]
)  # fmt: skip
def test_it_writes_when_it_is_time_or_has_grown(tmp_path, snapshots, every, at_growth, written):
    clock, path = Clock(), tmp_path / "network.senn"
    callback = SaveModel(path, every, at_growth, clock=clock)
    callback.on_start(None)
    steps = []
    for snapshot in snapshots:  # 4 seconds apart, the second of them after an addition
        if snapshot.step == 2:
            callback.on_addition(addition())
        clock.now = 100.0 + (12.0 if snapshot.step == 4 else 1.0)
        callback.on_snapshot(snapshot)
        steps.append(read_model(path)[1]["step"] if path.exists() else 0)
    assert steps == written


def test_what_was_not_yet_written_is_at_the_end(tmp_path, snapshots):
    callback = SaveModel(tmp_path / "network.senn", every=1e9)
    callback.on_start(None)
    callback.on_snapshot(snapshots[2])
    assert not (tmp_path / "network.senn").exists()
    callback.on_stop(History())
    assert read_model(tmp_path / "network.senn")[1]["step"] == 3


# --- EarlyStop and budgets ---------------------------------------------------------------------


def waited(callback: EarlyStop, values: list[float]) -> int | None:
    """The evaluation at which it stops, counted from 1."""
    callback.on_start(None)
    for n, value in enumerate(values, start=1):
        try:
            callback.on_evaluation(evaluation(**{callback.monitor: value}))
        except StopTraining:
            return n
    return None


@pytest.mark.parametrize(
    ("settings", "values", "at"),
    [
        ({"patience": 2}, [3, 2, 1, 1, 1], 5),
        ({"patience": 2}, [3, 3, 2, 2, 1], None),
        ({"patience": 1, "min_delta": 0.5}, [3, 2, 1.6], 3),
        ({"patience": 2, "monitor": "validation_score"}, [0.1, 0.2, 0.3, 0.3, 0.2], 5),
        ({"patience": 2, "monitor": "validation_score"}, [0.1, 0.2, 0.1, 0.3], None),
        ({"patience": 2, "monitor": "loss"}, [1, 2, math.nan], 3),
        ({"patience": 2}, [math.nan, math.nan], 2),
    ],
)
def test_early_stopping_waits_so_long(settings, values, at):
    callback = EarlyStop(**settings)
    assert waited(callback, [float(v) for v in values]) == at
    assert waited(callback, [float(v) for v in values]) == at  # a second run starts afresh


def test_early_stopping_without_validation_data_says_what_to_do():
    with pytest.raises(ValueError, match=r"needs validation data.*monitor=\"loss\""):
        run(EarlyStop(), validated=False)


def test_early_stopping_tells_its_reason():
    _, history = run(EarlyStop(patience=1, min_delta=1e9))
    assert history.stop_reason == "no better validation loss in 1 evaluations"
    assert len(history.evaluations) == 2


def test_a_time_budget_ends_training():
    clock = Clock()
    clock.now = 0.0
    budget = TimeBudget(5.0, clock=clock)
    budget.on_start(None)
    clock.now = 4.9
    budget.on_steps(1, 0.5)
    budget.on_considerations([], "nothing")
    clock.now = 5.0
    for look in (lambda: budget.on_steps(1, 0.5), lambda: budget.on_considerations([], "nothing")):
        with pytest.raises(StopTraining, match="time budget of 5 seconds is used up"):
            look()


@pytest.mark.parametrize(
    ("budget", "sizes", "parameters", "reached"),
    [
        (SizeBudget(max_units=6), (4, 2), 1, "6 hidden units"),
        (SizeBudget(max_units=7), (4, 2), 1000, None),
        (SizeBudget(max_parameters=1000), (4, 2), 1000, "1,000 parameters"),
        (SizeBudget(max_units=7, max_parameters=999), (4, 2), 1000, "999 parameters"),
        (SizeBudget(max_units=1), (), 3, None),
    ],
)
def test_a_size_budget_ends_training(budget, sizes, parameters, reached):
    size = {"hidden_sizes": sizes, "n_parameters": parameters}
    for hook, record in (
        (budget.on_evaluation, evaluation(**size)),
        (budget.on_addition, addition(**size)),
    ):
        if reached is None:
            hook(record)
        else:
            with pytest.raises(StopTraining, match=f"size budget of {reached} is reached"):
                hook(record)


def test_a_size_budget_ends_a_run():
    _, history = run(SizeBudget(max_units=5))
    assert history.stop_reason == "the size budget of 5 hidden units is reached, with 5"
    assert history.additions[-1].hidden_sizes == (5,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStop("accuracy"), "monitor='accuracy' is not known; choose loss,"),
        (lambda: EarlyStop(patience=0), "patience must be at least 1; got 0"),
        (lambda: EarlyStop(min_delta=math.nan), "min_delta must be at least 0; got nan"),
        (lambda: TimeBudget(0.0), "seconds above 0; got 0.0"),
        (lambda: TimeBudget(math.nan), "seconds above 0; got nan"),
        (SizeBudget, "needs max_units or max_parameters; got neither"),
    ],
)
def test_wrong_settings_are_explained(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- TensorBoard -------------------------------------------------------------------------------


def events(folder) -> list[tuple[str, int, float | None]]:
    """Tag, step, and value (None for text) of every summary, read without TensorFlow."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in folder.glob("events.out.tfevents.*"):
        data, at = path.read_bytes(), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += size + 16  # length, its checksum, the event, its checksum
            found += [
                (v.tag, event.step, v.simple_value if v.HasField("simple_value") else None)
                for v in event.summary.value
            ]
    return found


def test_events_tell_what_the_ledger_tells(told):
    folder, _, history, _ = told
    found = events(folder / "board")
    losses = {step: value for tag, step, value in found if tag == "loss/validation"}
    assert losses == {e.step: pytest.approx(e.validation_loss) for e in history.evaluations}
    units = {step: value for tag, step, value in found if tag == "size/units"}
    assert units | {a.step: sum(a.hidden_sizes) for a in history.additions} == units
    texts = {tag.split("/")[0] for tag, _, value in found if value is None}
    assert texts == {"decision", "addition", "stop"}


def test_without_tensorboardx_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'senn\[tensorboard\]'"):
        TensorBoard("runs")


# --- all of them -------------------------------------------------------------------------------

ALL = {
    Progress: {},
    JSONLines: {"path": "live.jsonl"},
    SaveModel: {"path": "network.senn"},
    TensorBoard: {"folder": "board"},
    EarlyStop: {},
    TimeBudget: {"seconds": 1e6},
    SizeBudget: {"max_units": 10**6},
}


@pytest.mark.parametrize("cls", ALL)
def test_after_a_run_they_can_be_copied_pickled_and_used_again(cls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    callback = cls(**ALL[cls])
    hear_all(callback)
    for again in (callback, copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        hear_all(again)


def hear_all(callback):
    callback.on_start(None)
    callback.on_steps(4, 0.5)
    callback.on_evaluation(evaluation())
    callback.on_considerations([consideration()], "gains")
    callback.on_addition(addition())
    callback.on_recovery(Recovery(3, 0.1, "back"))
    callback.on_stop(History(stop_reason="done"))


def test_they_are_imported_without_jax():
    code = (
        "import sys; from senn.callbacks import EarlyStop, JSONLines, Progress, TensorBoard; "
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_listed_callback_is_tested_here():
    listed = {getattr(senn.callbacks, name) for name in senn.callbacks.__all__}
    assert {cls for cls in listed if issubclass(cls, Callback)} == {Callback, *ALL}
