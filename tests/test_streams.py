"""Data that keep coming: calls one after another, new classes, and streams larger than memory."""

import dataclasses
import gc
import pickle
import runpy
import sys
import tracemalloc
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import softmax
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import senn
import senn.learning
import senn.online
from senn import Policy, Schedule, SENNClassifier, SENNRegressor
from senn.batches import StreamSource
from senn.datasets import DataError
from senn.expand import add_outputs, without_spare
from senn.models import plain
from senn.nn import MLP
from senn.online import SCHEDULE, OnlineTraining
from senn.optimizers import KFAC, Optax
from senn.proposals import Random
from strategies import random_network

EXAMPLE = Path(__file__).parent.parent / "examples" / "stream.py"
RNG = np.random.default_rng(0)
N, B = 64, 32
X = RNG.normal(size=(N, 3))
CODES = np.digitize(X[:, 0], [-0.7, 0, 0.7])  # 0 to 3
LABELS = np.array(["d", "b", "c", "a"])[CODES]
NUMBERS = X[:, 0] * X[:, 1]
ADAM = Optax(optax.adam(0.02))
GROW = Policy(
    tau=1 + 1e-9, alpha=1e-12, confidence=0.0, depth=False, every=3, additions_at_once=1,
    metric="euclidean",
)  # fmt: skip
FIXED = Policy(width=False, depth=False)
SMALL = {
    "hidden_sizes": (3,), "max_units": 8, "batch_size": B, "policy": FIXED, "optimizer": ADAM,
    "random_state": 0,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _small_samples():
    """Growth judged on one number of rows, so that little is compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(senn.online, "SCHEDULE", dataclasses.replace(SCHEDULE, sample_size=16))
        yield


def classifier(**settings) -> SENNClassifier:
    return SENNClassifier(**{**SMALL, **settings})


def regressor(**settings) -> SENNRegressor:
    return SENNRegressor(**{**SMALL, **settings})


def same(one, other):
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


def bits(array):
    return np.asarray(array).view(f"i{array.dtype.itemsize}")


# --- more outputs --------------------------------------------------------------------------


@pytest.mark.parametrize("residual", [(), (0,), (0, 1)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("outputs", "positions"),
    [(1, [0]), (1, [1]), (2, [1]), (3, [0, 2]), (9, [9]), (10, [3, 4, 12]), (15, [0, 1, 2]),
     (16, [8]), (30, [5, 31])],
    ids=str,
)  # fmt: skip
def test_old_outputs_keep_their_bits(outputs, positions, dtype, residual):
    network = random_network((5, 4, 3, outputs), residual=residual, dtype=dtype)
    wider = add_outputs(network, positions, bias=-2.0)
    x = np.random.default_rng(1).normal(size=(37, 5)).astype(dtype)
    before, after = plain(network).outputs(x), plain(wider).outputs(x)
    old = np.setdiff1d(np.arange(outputs + len(positions)), positions)
    np.testing.assert_array_equal(bits(after[:, old]), bits(before))
    np.testing.assert_array_equal(after[:, positions], -2.0)
    assert wider.out_size == outputs + len(positions)
    assert wider.hidden_sizes == network.hidden_sizes
    assert wider.sources == network.sources


def test_an_optimisers_state_widens_along():
    network = random_network((5, 4, 3))
    state = KFAC().init(network)._replace(velocity=network)
    wider = add_outputs(state, [1])
    np.testing.assert_array_equal(wider.velocity.readout.bias[1], 0)
    np.testing.assert_array_equal(
        wider.velocity.readout.weight[:, [0, 2, 3]], network.readout.weight
    )
    assert same(wider.factors, state.factors)


@pytest.mark.parametrize("positions", [[], [4], [-1], [1, 1], [2, 0]])
def test_positions_that_are_none(positions):
    with pytest.raises(ValueError, match="different numbers in order, below the"):
        add_outputs(random_network((5, 4, 3)), positions)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 4096, 4097])
def test_predictions_are_those_of_the_network(n, dtype):
    network = random_network((5, 4, 3), dtype=np.float32)
    x = np.random.default_rng(1).normal(size=(n, 5)).astype(dtype)
    found = plain(network).outputs(x)
    assert found.shape == (n, 3)
    assert found.dtype == np.float64
    exact = jax.tree.map(lambda p: p.astype(float) if eqx.is_inexact_array(p) else p, network)
    tolerance = {np.float32: 1e-5, np.float64: 1e-13}[dtype]
    np.testing.assert_allclose(found, exact(jnp.asarray(x, float)), rtol=tolerance, atol=tolerance)


# --- new classes ---------------------------------------------------------------------------

ARRIVALS = [["a", "b", "c", "d"], ["d", "c", "b", "a"], ["b", "d", "a", "c"]]


@pytest.mark.parametrize("order", ARRIVALS, ids="".join)
def test_classes_arrive_in_any_order(order):
    model = classifier()
    for number, label in enumerate(order):
        rows = label == LABELS
        model.partial_fit(X[rows], LABELS[rows])
        known = sorted(order[: number + 1])
        assert model.classes_.tolist() == known
        p = model.predict_proba(X)
        assert p.shape == (N, len(known))
        np.testing.assert_allclose(p.sum(axis=1), 1)
    for _ in range(60):
        model.partial_fit(X, LABELS)
    assert model.score(X, LABELS) > 0.6


def test_a_new_class_leaves_the_others_as_they_are_and_begins_improbable(monkeypatch):
    old = LABELS != "b"
    model = classifier().partial_fit(X[old], LABELS[old])
    before, seen = model._outputs(X), model.n_samples_seen_
    monkeypatch.setattr(senn.learning, "learn", lambda *_: None)  # what comes before training
    model.partial_fit(X, LABELS)
    after = model._outputs(X)
    np.testing.assert_array_equal(bits(after[:, [0, 2, 3]]), bits(before))
    p = model.predict_proba(X)
    assert p[:, 1].max() <= 1 / (seen + 1) * (1 + 1e-6)
    np.testing.assert_allclose(p[:, [0, 2, 3]] / (1 - p[:, [1]]), softmax(before, axis=1))


def test_classes_may_be_announced():
    rows = CODES < 2
    model = classifier().partial_fit(X[rows], CODES[rows], classes=[3, 2, 1, 0])
    assert model.classes_.tolist() == [0, 1, 2, 3]
    assert model.predict_proba(X).shape == (N, 4)
    model.partial_fit(X[rows], CODES[rows], classes=[7])
    assert model.classes_.tolist() == [0, 1, 2, 3, 7]


def test_the_rows_that_are_kept_keep_their_class():
    model = classifier()
    for label in ["d", "b", "a"]:
        rows = label == LABELS
        model.partial_fit(X[rows], LABELS[rows])
    recent = zip(*model._online._source._recent, strict=True)
    x, codes, _ = (np.concatenate(part) for part in recent)
    nearest = np.abs(model.scaler_.transform(X) - x[:, None]).sum(axis=2).argmin(axis=1)
    assert LABELS[nearest].tolist() == model.classes_[codes].tolist()


def test_one_class_is_where_a_stream_may_begin():
    model = classifier(optimizer=KFAC(), policy=GROW, proposer=Random(candidates=8))
    for _ in range(2):
        model.partial_fit(X, np.full(N, "a"))
    np.testing.assert_array_equal(model.predict_proba(X), 1)
    assert model.history_.considerations
    assert not model.history_.additions


# --- one call after another ----------------------------------------------------------------


@pytest.fixture(scope="module")
def calls():
    """Four calls of two batches, with growth, and the state after each."""
    network = MLP(3, 1, (3,), key=jax.random.key(0), capacity=8)
    settings = {"loss": "squared_error", "metric": None, "proposer": Random(candidates=8)}
    # A look, and with it a chunk, every two steps: KFAC is told of the inputs chunk by chunk.
    policy, kfac = dataclasses.replace(GROW, every=2, backoff=1.0, max_units=8), KFAC()
    online = OnlineTraining(network, seed=5)
    parts = [(X + k, NUMBERS[:, None] + k, np.ones(N)) for k in range(4)]
    pickles = []
    for part in parts:
        online.learn(part, optimizer=kfac, policy=policy, batch_size=B, callbacks=(), **settings)
        pickles.append(pickle.dumps(online))
    return network, parts, online, pickles, {**settings, "optimizer": kfac, "policy": policy}


def test_calls_are_as_one_stream(calls):
    network, parts, online, _, settings = calls
    rng = np.random.default_rng(5)
    orders = [rng.permutation(N) for _ in parts]
    stream = iter([[v[o] for v in part] for part, o in zip(parts, orders, strict=True)])
    schedule = dataclasses.replace(senn.online.SCHEDULE, batch_size=B)
    whole, history = senn.fit(network, stream, **settings, schedule=schedule, seed=5)
    assert online.network.hidden_sizes == whole.hidden_sizes
    assert whole.hidden_sizes > network.hidden_sizes
    assert same(online.network, whole)
    for kind in ("additions", "considerations"):
        steps = [[r.step for r in getattr(h, kind)] for h in (online.history, history)]
        assert steps[0] == steps[1] != []
    assert online.history.steps == history.steps == 8


def test_a_pickle_between_calls_changes_nothing(calls):
    _, parts, online, pickles, settings = calls
    copy = pickle.loads(pickles[1])
    for part in parts[2:]:
        copy.learn(part, **settings, batch_size=B, callbacks=())
    assert same(copy.network, online.network)
    assert copy.history.to_records()[-1]["hidden_sizes"] == online.network.hidden_sizes


def test_growth_goes_on_however_long_nothing_was_found(monkeypatch):
    never = Policy(alpha=1e9, depth=False, every=1, backoff=2.0, metric="euclidean")
    model = regressor(policy=never, proposer=Random(candidates=8), batch_size=N)
    for _ in range(150):
        model.partial_fit(X, NUMBERS)
    looks = [c.step for c in model.history_.considerations]
    assert looks[:4] == [1, 3, 7, 15]
    assert max(np.diff(looks)) == 64
    model.set_params(policy=dataclasses.replace(GROW, backoff=1.0))
    for _ in range(70):
        model.partial_fit(X, NUMBERS)
    assert model.history_.additions


def test_a_raised_budget_lets_growth_go_on():
    often = dataclasses.replace(GROW, backoff=1.0)
    model = regressor(policy=often, proposer=Random(candidates=8), max_units=4)
    for _ in range(12):
        model.partial_fit(X, NUMBERS)
    assert model.hidden_sizes_ == (4,)
    model.set_params(max_units=6)
    for _ in range(24):
        model.partial_fit(X, NUMBERS)
    assert model.hidden_sizes_ == (6,)


def test_after_fit_and_after_load_training_goes_on_from_the_network(tmp_path):
    fitted = classifier(max_iter=3, optimizer=KFAC()).fit(X, LABELS)
    fitted.save(tmp_path / "m")
    loaded = senn.load(tmp_path / "m").set_params(**{**SMALL, "optimizer": KFAC()})
    np.testing.assert_array_equal(loaded._outputs(X), fitted._outputs(X))
    for model in (fitted, loaded):
        before = model.predict_proba(X)
        model.partial_fit(X[:8], LABELS[:8])
        change = np.abs(model.predict_proba(X) - before).max()
        assert 0 < change < 0.3
        assert model.n_samples_seen_ == N + 8
        assert float(model._online._state.train.optimizer.examples) == N + 8
    np.testing.assert_allclose(loaded.predict_proba(X), fitted.predict_proba(X), rtol=1e-9)


def test_fit_forgets_what_partial_fit_learned():
    fresh = classifier(max_iter=2).fit(X, LABELS)
    again = classifier(max_iter=2).partial_fit(X + 5, LABELS).fit(X, LABELS)
    np.testing.assert_array_equal(again.predict_proba(X), fresh.predict_proba(X))
    assert again.n_samples_seen_ == fresh.n_samples_seen_


@pytest.mark.parametrize("y", [NUMBERS, np.stack([NUMBERS, -NUMBERS], axis=1)])
def test_numbers_as_they_come(y):
    model = regressor()
    for _ in range(100):
        assert model.partial_fit(X, y) is model
    assert model.predict(X).shape == y.shape
    assert model.score(X, y) > 0.5
    assert model.n_iter_ == 100


def test_the_rows_of_a_call_compile_little(monkeypatch):
    lengths = set()
    real = StreamSource.chunk

    def chunk(self, *args):
        found = real(self, *args)
        if found is not None:
            lengths.add((found.data.x.shape, found.rows.shape[1]))
            weight = np.asarray(found.data.weight)[found.rows[0]]
            assert weight.mean() == pytest.approx(1)
        return found

    monkeypatch.setattr(StreamSource, "chunk", chunk)
    model = regressor(batch_size=64)
    for n in (1, 7, 31, 32, 33, 50, 64):
        model.partial_fit(X[:n], NUMBERS[:n])
    steps = senn.online.SCHEDULE.steps_per_call
    assert lengths == {((rows * steps, 64), rows) for rows in (32, 64)}


def test_rows_without_weight_are_not_learned_from():
    weight = np.where(np.arange(N) < 40, 2.0, 0.0)
    one = regressor().partial_fit(X, NUMBERS, sample_weight=weight)
    other = regressor().partial_fit(X[:40], NUMBERS[:40], sample_weight=weight[:40])
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    assert one.n_samples_seen_ == 40


MISTAKES = {
    "balanced": (
        lambda: classifier(class_weight="balanced").partial_fit(X, LABELS), "all rows at once"),
    "numbers after text": (
        lambda: classifier().partial_fit(X, LABELS).partial_fit(X, CODES), "stay of one kind"),
    "another width": (
        lambda: classifier().partial_fit(X, CODES).partial_fit(X[:, :2], CODES), "expecting 3"),
    "other outputs": (
        lambda: regressor().partial_fit(X, NUMBERS).partial_fit(X, X), "3 outputs, .* 1 before"),
    "no weight": (
        lambda: regressor().partial_fit(X, NUMBERS, sample_weight=np.zeros(N)), "zero for every"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case):
    call, message = MISTAKES[case]
    with pytest.raises((DataError, ValueError), match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


# --- warm start ----------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "y"), [(classifier, LABELS), (regressor, NUMBERS)])
def test_a_warm_start_begins_where_the_last_fit_ended(make, y):
    model = make(max_iter=3, warm_start=True).fit(X, y)
    scale, before = model.scaler_, model._outputs(X)
    model.set_params(max_iter=0).fit(X + 1, y)
    np.testing.assert_array_equal(model._outputs(X), before)
    assert model.scaler_ is scale
    cold = make(max_iter=3).fit(X, y).set_params(max_iter=0).fit(X, y)
    assert not np.array_equal(cold._outputs(X), before)


def test_a_warm_start_with_new_classes():
    old = CODES != 1
    model = classifier(max_iter=2, warm_start=True).fit(X[old], CODES[old])
    before = model._outputs(X)
    model.set_params(max_iter=0).fit(X[~old], CODES[~old])
    assert model.classes_.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(bits(model._outputs(X)[:, [0, 2, 3]]), bits(before))


# --- larger than memory --------------------------------------------------------------------


def test_a_stream_needs_memory_for_its_last_rows_alone():
    """What is held, by NumPy and by JAX, is no more after 300 batches than after 30."""
    rows, width, used = 256, 50, []

    def batches():
        rng = np.random.default_rng(0)
        for number in range(300):
            x = rng.normal(size=(rows, width))
            if number % 10 == 0:
                gc.collect()  # when Python would do it depends on what was tested before
                used.append(tracemalloc.get_traced_memory()[0])
                used[-1] += sum(a.nbytes for a in jax.live_arrays())
            yield x, x[:, :1]

    network = MLP(width, 1, (3,), key=jax.random.key(0), capacity=8)
    schedule = Schedule(batch_size=128, sample_size=256, steps_per_call=4, anneal_epochs=None)
    tracemalloc.start()
    try:
        _, history = senn.fit(
            network, batches(), loss="squared_error", optimizer=ADAM, policy=FIXED,
            schedule=schedule,
        )  # fmt: skip
    finally:
        tracemalloc.stop()
    assert history.stop_reason == "the data ended"
    assert history.steps == 300 * rows // 128
    one = rows * width * 8
    assert max(used[3:]) - max(used[:3]) < 3 * one
    assert max(used) - used[0] < 40 * one


def test_the_example_on_a_stream(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--quick"])
    found = runpy.run_path(str(EXAMPLE))
    out = capsys.readouterr().out
    assert out.count("and some old") == len(found["PARTS"])
    assert found["forgetful"].classes_.tolist() == [0, 1, 2, 3]
    assert jnp.isfinite(found["reminded"].network_.readout.bias).all()


# --- the scale of what comes ----------------------------------------------------------------

SCALES, OFFSETS = np.array([1.0, 10, 100, 1000]), np.array([0.0, 5, 50, 500])


def differently_scaled(n, seed=0):
    z = np.random.default_rng(seed).normal(size=(n, 4))
    return z * SCALES + OFFSETS, (z @ [1, -1, 1, -1] > 0).astype(int)


def test_rows_one_by_one_whose_columns_differ_in_scale():
    x, y = differently_scaled(600)
    scaler, peer = StandardScaler(), MLPClassifier(random_state=0)
    model = classifier(hidden_sizes=(10,), max_units=10, optimizer=Optax(optax.adam(0.05)))
    for i in range(70):
        row, label = x[i : i + 1], y[i : i + 1]
        model.partial_fit(row, label, classes=[0, 1])
        scaler.partial_fit(row)
        peer.partial_fit(scaler.transform(row), label, classes=[0, 1])
    wanted = peer.score(scaler.transform(x[70:]), y[70:])
    assert model.score(x[70:], y[70:]) > wanted - 0.04
    seen = model._online._scale
    np.testing.assert_allclose(seen.mean, scaler.mean_)
    np.testing.assert_allclose(seen.scale[1], scaler.scale_)
    np.testing.assert_allclose(model.scaler_.mean_, x[:64].mean(axis=0))


@pytest.mark.parametrize("rule", ["kfac", "natural_gradient", "adam"])
def test_another_scale_changes_no_prediction(rule, monkeypatch):
    x, y = differently_scaled(96)
    x[:, 3] = np.where(np.arange(96) < 40, 7.0, x[:, 3])  # one value at first
    model = classifier(optimizer=rule, hidden_sizes=(6,), activation="rational")
    model.partial_fit(x[:40], y[:40])
    before, online = model.predict_proba(x[:40]), model._online
    with monkeypatch.context() as patch:  # what comes before training
        patch.setattr(online, "learn", lambda *_, **__: (online.network, online.history))
        model.partial_fit(x[40:], y[40:])
    np.testing.assert_allclose(model.predict_proba(x[:40]), before, rtol=1e-9)
    np.testing.assert_allclose(model.scaler_.mean_, x.mean(axis=0))
    np.testing.assert_allclose(model.scaler_.scale_, x.std(axis=0))
    # The rows that are kept, and their second moment, are such as they would be anew.
    kept = np.concatenate([z for z, *_ in online._source._recent])
    wanted = model.inputs_(x[:40])
    found, wanted = (z[np.argsort(z[:, 0])] for z in (kept, wanted))
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    a = np.column_stack([wanted, np.ones(40)])
    if online._source._watched:
        np.testing.assert_allclose(online._source.input_moment().matrix, a.T @ a / 40, atol=1e-9)
    average = plain(without_spare(online._state.train.average))
    np.testing.assert_array_equal(average.outputs(wanted), model._plain.outputs(wanted))
    model.partial_fit(x[40:], y[40:])
    assert np.isfinite(model.predict_proba(x)).all()


def test_what_fit_bounded_keeps_its_scale_and_what_it_standardised_goes_on(tmp_path):
    x, y = differently_scaled(160)
    for how in ("robust", True):
        model = classifier(max_iter=2, standardize=how).fit(x[:120], y[:120])
        model.save(tmp_path / "m")
        before, loaded = model.predict_proba(x), senn.load(tmp_path / "m")
        loaded.set_params(**SMALL)
        inputs = loaded.inputs_
        loaded.partial_fit(10 * x[120:], y[120:])  # 128 rows in sight
        same_scale = np.array_equal(loaded.inputs_.scale, inputs.scale)
        assert same_scale == (how == "robust")
        assert np.abs(model.predict_proba(x) - before).max() == 0
