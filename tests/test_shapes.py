"""What arrays are rounded up to changes nothing: rows of no weight, spare inputs and outputs."""

from functools import cache, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
from scipy.special import softmax

import reference
import senn
from senn import Policy, Schedule, SENNClassifier, SENNRegressor, compilation, shapes
from senn.actions import Widen
from senn.batches import ArraySource, Batch, InputMoment, Room, filled
from senn.blocks import ROWS, walk
from senn.compilation import compilations
from senn.curvature import loss_gradient, moments, through
from senn.evaluation import evaluate, outputs
from senn.expand import with_slots, without_spare
from senn.export.parts import parts_of
from senn.growth import SMALL_IN, look, propose_at
from senn.losses import NEVER, among_loss, make_loss, make_metric
from senn.models import plain, write_model
from senn.nn import ACTIVATIONS, MLP
from senn.optimizers import KFAC, NaturalGradient, Optax
from senn.proposals import Projection
from senn.proposals.base import AbstractMaximizer, Sample
from senn.proposals.problem import Problem, Units
from senn.proposals.projection import THETA_RIDGE, Fit
from senn.proposals.units import features
from senn.score import score_increase_bound
from senn.training import TrainState, train_chunk
from strategies import LOSS_METRICS, random_batch, random_network

SIZES = (2, 3, 31, 255, 256, 257, 513, 2049, 8193)
IN, OUT, SLOTS = 3, 2, 16
RULES = {
    "kfac": KFAC(refresh=1), "cg": NaturalGradient(max_steps=5, rtol=1e-12),
    "adam": Optax(optax.adam(0.01)),
}  # fmt: skip
LOSSES = ("softmax_cross_entropy", "binary_cross_entropy", "squared_error")
KEY = jax.random.key(0)
each_loss_and_metric = pytest.mark.parametrize(("loss", "metric"), LOSS_METRICS)
each_loss = pytest.mark.parametrize("loss", LOSSES)


def made(loss, metric):
    return make_loss(loss), make_metric(metric, make_loss(loss))


def room(loss, slots=SLOTS):
    return Room(slots, slots, make_loss(loss), IN, OUT)


def on_host(batch):
    return Batch(*map(np.asarray, batch))


def on_device(batch):
    return Batch(*map(jnp.asarray, batch))


def bare(tree):
    """Everything that has to do with inputs and outputs in use."""
    return with_slots(tree, IN, OUT)


def close(one, other, rtol=1e-9):
    """Equal but for rounding, leaf by leaf, relative to the largest number of each."""
    one, other = jax.tree.leaves(one), jax.tree.leaves(other)
    for a, b in zip(map(np.asarray, one), map(np.asarray, other), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(np.abs(b).max(initial=0), 1e-3))


# --- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [*range(1, 130), 257, 513, 784, 1000, 3072])
def test_slots_are_few_and_not_many_more(n):
    for slots, few in (
        (shapes.in_slots, (64, 128, 256, 512)), (shapes.out_slots, (1, 16, 64, 128)),
    ):  # fmt: skip
        s = slots(n)
        assert s >= n
        assert s in few or (s > few[-1] and s % 16 == 0)
        assert slots(s) == s
        assert s <= max(few[0], 4 * n, n + 15)


@pytest.mark.parametrize("fewest", [32, 512, 2048])
def test_rows_are_few(fewest):
    sizes = [shapes.rows(n, fewest) for n in range(1, 20_000, 7)]
    assert all(s >= n for s, n in zip(sizes, range(1, 20_000, 7), strict=True))
    assert sizes == sorted(sizes)
    assert len(set(sizes)) <= 6
    for n in (1, fewest - 1, fewest, fewest + 1, 4 * fewest, 20_000):
        most = shapes.at_most(n, fewest)
        assert most <= n
        assert most == n < fewest or shapes.rows(most, fewest) == most


@pytest.mark.parametrize("n", [1, 31, 1000, 16_384, 16_385, 100_000])
@pytest.mark.parametrize("columns", [0, 1, 16, 784, 10**7])
def test_tables_have_room_for_a_power_of_two(n, columns):
    room = shapes.table_rows(n, columns)
    assert room >= n
    assert room & (room - 1) == 0
    assert room < 2 * n or room * columns <= 2**21


# --- rows of no weight ------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
@each_loss
def test_weighted_means_of_a_filled_batch_are_those_of_its_rows(loss, n):
    batch = on_host(random_batch(loss, n, IN, OUT, weighted=True))
    long = filled(batch, shapes.rows(n), room(loss))
    assert len(long.x) == len(long.y) == len(long.weight) == shapes.rows(n)
    assert long.x.shape[1] == SLOTS
    np.testing.assert_array_equal(long.x[:n, :IN], batch.x)
    assert not long.x[:, IN:].any()
    assert not long.weight[n:].any()
    assert np.mean(long.weight) == pytest.approx(np.mean(batch.weight))
    mean = np.mean(long.weight[:, None] * long.x[:, :IN], axis=0)
    np.testing.assert_allclose(mean, np.mean(batch.weight[:, None] * batch.x, axis=0), atol=1e-14)


@eqx.filter_jit
def one_step_each(network, states, loss, metric, batch):
    """A step by each rule, and the moments."""
    steps = {
        name: rule.step(network, states[name], loss, metric, batch, jnp.ones(()))
        for name, rule in RULES.items()
    }
    seen = moments(network, loss, metric, batch, KEY)
    rows = [m.dense for m in seen.maps]
    factors = [(a.T @ a / len(a), a.T @ g / len(a), S) for a, g, S in rows]
    return steps, factors, seen[1:]


def first_states(network, batch):
    """Those of each rule, told of the inputs of the rows that have a weight."""
    states = {name: rule.init(network) for name, rule in RULES.items()}
    x, _, weight = on_host(batch)
    nothing = InputMoment(np.zeros((IN + 1, IN + 1)), 0)
    moment = nothing.with_more(Batch(x[:, :IN], weight, weight))
    moment = moment._replace(rows=100)  # that of the prior
    states["kfac"] = RULES["kfac"].observe(states["kfac"], moment)
    return states


@pytest.mark.parametrize("n", SIZES)
def test_steps_and_moments_of_a_filled_batch_are_those_of_its_rows(n):
    loss, metric = made("softmax_cross_entropy", "fisher")
    network = random_network((IN, 4, OUT), capacity=4)
    batch = random_batch("softmax_cross_entropy", n, IN, OUT, weighted=True)
    long = filled(on_host(batch), shapes.rows(n))
    of = partial(one_step_each, network, first_states(network, batch), loss, metric)
    (steps, factors, means), (steps_, factors_, means_) = of(batch), of(on_device(long))
    for name in RULES:
        (new, state, info), (new_, state_, info_) = steps[name], steps_[name]
        assert not jax.tree.all(jax.tree.map(np.array_equal, new, network))
        close((new_, info_), (new, info))
        states = (s._replace(key=None) if name == "kfac" else s for s in (state_, state))
        close(*states, rtol=1e-8)
    close(factors_, factors)
    close(means_, means)
    # And those of the rows by the formulas.
    x, y, w = on_host(batch)
    dense = reference.factors(network, "softmax_cross_entropy", "fisher", x, y, w)
    for found, (a, g, S) in zip(factors_, dense, strict=True):
        wanted = (a.T @ (w[:, None] * a) / n, a.T @ (w[:, None] * g) / n, S)
        units = len(wanted[2])
        close([found[0], found[1][:, :units], found[2][:units, :units]], wanted)
    values = reference.loss_values("softmax_cross_entropy", reference.forward(network, x)[0], y)
    assert means_[0] == pytest.approx(np.mean(w * values))
    assert means_[2] == pytest.approx(2 * np.mean(w * values))


@pytest.mark.parametrize("n", SIZES)
@each_loss
def test_evaluations_are_those_of_the_rows(loss, n):
    network = random_network((IN, 4, OUT), capacity=4)
    x, y, w = on_host(random_batch(loss, n, IN, OUT, weighted=True))
    dense = reference.forward(network, x)[0]
    values = reference.loss_values(loss, dense, y)
    right = {
        "softmax_cross_entropy": lambda: np.average(dense.argmax(1) == y, weights=w),
        "binary_cross_entropy": lambda: np.average(((dense > 0) == (y > 0)).mean(1), weights=w),
        "squared_error": lambda: 1 - np.mean(
            np.average((y - dense) ** 2, axis=0, weights=w)
            / np.average((y - np.average(y, axis=0, weights=w)) ** 2, axis=0, weights=w)
        ),
    }  # fmt: skip
    for spare in (network, with_slots(network, SLOTS, SLOTS)):
        np.testing.assert_allclose(outputs(spare, x), dense, rtol=1e-9, atol=1e-12)
        score = evaluate(spare, make_loss(loss), Batch(x, y, w))
        assert score.loss == pytest.approx(np.average(values, weights=w), rel=1e-10)
        assert score.score == pytest.approx(right[loss](), rel=1e-9, abs=1e-10)
    long = filled(Batch(x, y, w), shapes.rows(n), room(loss))  # as additions are judged
    again = evaluate(spare, make_loss(loss), long)
    assert again == pytest.approx(tuple(score), rel=1e-9, abs=1e-10)


# --- Δη′ --------------------------------------------------------------------------------------


class Given(AbstractMaximizer):
    """A search that finds what it was given."""

    units: Units
    candidates: int = 1

    def search(self, problem, key):  # noqa: ARG002
        return self.units


@cache
def given_unit():
    rng = np.random.default_rng(5)
    weight = np.zeros((1, SMALL_IN, 1))
    weight[0, :IN, 0] = rng.normal(size=IN)
    parts = weight, rng.normal(size=(1, 1)), rng.normal(size=(1, 3, 1))
    return Given(Units(*map(jnp.asarray, parts)))


PLAIN = Policy(additions_at_once=1, unit_scale=1.0, damping=0.1)


@pytest.mark.parametrize("n", SIZES)
def test_scores_on_filled_samples_are_those_of_their_rows(n):
    """Δη′ of a unit given beforehand, on the sample it is fitted to and on others."""
    name, metric = "softmax_cross_entropy", "fisher"
    network = random_network((IN, 4, OUT), capacity=4)
    samples = [on_host(random_batch(name, n, IN, OUT, weighted=True, seed=s)) for s in (1, 2)]
    spare, unit = with_slots(network, SLOTS, SLOTS), given_unit()
    place = Widen(0)

    def score(network, samples):
        seen = look(network, *made(name, metric), *samples, KEY)
        return propose_at(network, seen, unit, PLAIN, place, KEY)[0]

    rows = shapes.rows(n, 2048)
    found = [
        score(network, [filled(s, rows) for s in samples]),
        score(spare, [filled(s, rows, room(name)) for s in samples]),
    ]
    if n in (2, 31, 513):
        found.append(score(network, samples))

    # By the formulas, on the rows alone.
    weight, bias, theta = (np.asarray(u)[0] for u in unit.units)
    per_sample = []
    for x, y, w in samples:
        (source, *_), (a, g, S) = reference.factors(network, name, metric, x, y, w)
        root = np.sqrt(w)[:, None]
        z = source[:, :IN] @ weight[:IN] + bias
        per_sample.append((a * root, g * root, S, reference.sigma("rational", z, theta) * root))
    (a, g, S, new), (a_, g_, _, new_) = per_sample
    bound = score_increase_bound(*map(jnp.asarray, (a, new, g, S)), PLAIN.damping)
    A = a.T @ a / n
    ridge = reference.ridge(A, PLAIN.damping)
    R = scipy.linalg.sqrtm(np.linalg.inv(S + reference.ridge(S, PLAIN.damping) * np.eye(OUT)))
    B = np.linalg.solve(A + ridge * np.eye(len(A)), a.T @ g @ R / n)
    C = new.T @ (g @ R - a @ B) / n
    V = np.linalg.solve(new.T @ new / n + ridge * np.eye(1), C)
    gains = np.sum((new_ @ V) * (g_ @ R - a_ @ B), axis=1)
    assert bound == pytest.approx(np.sum(C * V), rel=1e-8)
    for proposal in found:
        assert proposal.fit_score == pytest.approx(float(bound), rel=1e-8)
        assert proposal.score == pytest.approx(gains.mean(), rel=1e-7)
        assert proposal.stderr == pytest.approx(gains.std(ddof=1) / np.sqrt(n), rel=1e-7)
        assert proposal.eta == pytest.approx(
            reference.kronecker_score(a, g, S, ridge, reference.ridge(S, PLAIN.damping)), rel=1e-8
        )


# --- spare inputs and outputs -----------------------------------------------------------------


def beyond(tree):
    """All entries of spare inputs and outputs in the networks of a tree."""
    cut = jax.tree.leaves(with_slots(bare(tree), SLOTS, SLOTS))
    return [np.asarray(a) - np.asarray(b) for a, b in zip(jax.tree.leaves(tree), cut, strict=True)]


@each_loss_and_metric
def test_spare_slots_change_no_step_and_no_moment(loss, metric):
    network = random_network((IN, 4, 3, OUT), capacity=4, residual=(0,))
    spare = with_slots(network, SLOTS, SLOTS)
    batch = random_batch(loss, 64, IN, OUT, weighted=True)
    long = on_device(filled(on_host(batch), 512, room(loss)))
    parts = made(loss, metric)
    steps, factors, means = one_step_each(network, first_states(network, batch), *parts, batch)
    steps_, factors_, means_ = one_step_each(spare, first_states(spare, batch), *parts, long)
    for name in RULES:
        (new, state, info), (new_, state_, info_) = steps[name], steps_[name]
        close((bare(new_), info_), (new, info))
        velocity, velocity_ = (s.velocity if name == "kfac" else s for s in (state, state_))
        close(bare(velocity_), velocity, rtol=1e-8)
        assert not any(part.any() for part in beyond((new_, velocity_)))
    close(means_, means)
    for (A, G, S), (A_, G_, S_) in zip(factors, factors_, strict=True):
        rows, columns = (len(A_) - len(A), S_.shape[0] - S.shape[0])
        at = np.delete(np.arange(len(A_)), np.arange(IN, IN + rows))
        outs = np.arange(len(S_) - columns)
        close((A_[np.ix_(at, at)], G_[np.ix_(at, outs)], S_[np.ix_(outs, outs)]), (A, G, S))
        assert not np.delete(A_, at, axis=0).any()
        assert not np.delete(G_, at, axis=0).any()
        assert not np.delete(G_, outs, axis=1).any()
        assert not np.delete(S_, outs, axis=0).any()


def draws_at_outputs(network, loss, metric, batch):
    """Of the metric, back-propagated to the output map."""
    seen = through(network, loss, metric, batch)
    draws = seen.back(seen.metric.draw(KEY, seen.outputs))[1]
    return draws[len(network.graph.maps) - 1][:, 0]


@each_loss_and_metric
def test_spare_outputs_have_no_gradient_and_no_draws(loss, metric):
    network = random_network((IN, 4, OUT), capacity=4)
    spare = with_slots(network, SLOTS, SLOTS)
    batch = random_batch(loss, 64, IN, OUT, weighted=True)
    long = on_device(filled(on_host(batch), 64, room(loss)))
    parts = made(loss, metric)
    gradient_of, drawn = eqx.filter_jit(loss_gradient), eqx.filter_jit(draws_at_outputs)
    value, gradient = gradient_of(network, parts[0], batch)
    value_, gradient_ = gradient_of(spare, parts[0], long)
    close((value_, bare(gradient_)), (value, gradient))
    assert not any(part.any() for part in beyond(gradient_))
    draws, draws_ = drawn(network, *parts, batch), drawn(spare, *parts, long)
    close(draws_[:, :OUT], draws)  # the signs of an output are the same beside any others
    assert not np.asarray(draws_[:, OUT:]).any()


def test_spare_classes_have_probability_zero():
    spare = with_slots(random_network((IN, 4, OUT), capacity=4), SLOTS, SLOTS)
    loss = among_loss(spare.active_outputs, make_loss("softmax_cross_entropy"))
    y = np.random.default_rng(0).normal(size=(50, SLOTS)) * 100
    p = jax.nn.softmax(jnp.where(spare.active_outputs, y, NEVER))
    assert not p[:, OUT:].any()
    np.testing.assert_allclose(p[:, :OUT], softmax(y[:, :OUT], axis=1), rtol=1e-12)
    g = loss.gradient(jnp.asarray(y), jnp.zeros(50, int))
    assert not g[:, OUT:].any()
    assert np.isfinite(g).all()
    np.testing.assert_allclose(g[:, :OUT], p[:, :OUT] - np.eye(OUT)[0], atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", RULES)
@each_loss
def test_spare_slots_stay_zero_in_200_steps(loss, name, dtype):
    rule, metric = RULES[name], "fisher"
    network = random_network((IN, 4, OUT), capacity=6, dtype=dtype)
    spare = with_slots(network, SLOTS, SLOTS)
    batch = on_host(random_batch(loss, 40, IN, OUT, weighted=True, dtype=dtype))
    source = ArraySource(batch, 16, np.random.default_rng(0))
    source.room = room(loss)
    state = TrainState.of(spare, rule, averaging=0.9)
    if rule.watches_inputs:
        observed = rule.observe(state.optimizer, source.input_moment())
        state = state._replace(optimizer=observed)
    chunk = source.chunk(200, 200)
    assert chunk.rows.shape == (200, 16)
    after, infos, _ = train_chunk(
        state, rule, *made(loss, metric), chunk.data, chunk.rows, np.ones(200, dtype), np.int32(200)
    )
    assert np.isfinite(infos.loss).all()
    assert np.mean(infos.loss[-20:]) < np.mean(infos.loss[:20])
    new = after.network, after.average
    assert not jax.tree.all(jax.tree.map(np.array_equal, new[0], spare))
    kept = after.optimizer.velocity if name == "kfac" else after.optimizer
    assert not any(part.any() for part in beyond((*new, kept)))


@pytest.mark.parametrize("residual", [(), (0,), (0, 1)])
@pytest.mark.parametrize("activation", ["rational", "relu"])
def test_files_exports_and_counts_know_nothing_of_spare_slots(activation, residual, tmp_path):
    network = random_network((IN, 4, 3, OUT), activation, residual, dtype=np.float32)
    spare = with_slots(network, SLOTS, SLOTS)
    assert (spare.in_size, spare.out_size) == (IN, OUT)
    assert (spare.in_slots, spare.out_slots) == (SLOTS, SLOTS)
    assert spare.n_parameters == network.n_parameters
    assert [spare.n_inputs(m) for m in range(3)] == [network.n_inputs(m) for m in range(3)]
    again = without_spare(spare)
    assert jax.tree.structure(again) == jax.tree.structure(network)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, network))
    for name, one in (("bare", network), ("spare", spare)):
        write_model(tmp_path / name, one, {}, {})
    assert (tmp_path / "bare").read_bytes() == (tmp_path / "spare").read_bytes()
    arrays, arrays_ = plain(network).arrays, plain(spare).arrays
    assert arrays.keys() == arrays_.keys()
    assert all(np.array_equal(arrays[name], arrays_[name]) for name in arrays)
    parts = []
    for one in (network, spare):
        model = SENNClassifier(hidden_sizes=(4, 3), activation=activation)
        model.network_, model.n_features_in_, model.scaler_ = one, IN, None
        model.classes_, model.feature_names_ = np.arange(OUT), ["a", "b", "c"]
        parts.append(parts_of(model))
    for name in ("weights", "biases", "thetas"):
        for one, other in zip(*(getattr(p, name) for p in parts), strict=True):
            np.testing.assert_array_equal(one, other)


# --- the search for the best unit -------------------------------------------------------------


def sample_of(seed, rows=40, inputs=4, outputs=3, blank=5):
    """Weighted rows, and some of no weight."""
    draw = np.random.default_rng(seed)
    root = np.append(np.sqrt(draw.uniform(0.2, 2, rows)), np.zeros(blank))[:, None]
    a = np.column_stack([draw.normal(size=(rows + blank, inputs)), np.ones(rows + blank)])
    r = draw.normal(size=(rows + blank, outputs)) + np.tanh(a[:, :outputs])
    w = draw.normal(size=(6, inputs + 1)) * 10 ** draw.uniform(-1, 1, (6, 1))
    return Sample(*map(jnp.asarray, (a * root, r * root, root[:, 0]))), jnp.asarray(w)


fit_of = jax.jit(Fit.of, static_argnums=(0, 3))
slope_of = jax.jit(
    lambda fit, activation, sample, w: fit.slope(activation, sample, sample.preactivations(w)),
    static_argnums=1,
)


@partial(jax.jit, static_argnums=0)
def slope_by_autodiff(activation, sample, w, theta):
    def explained(w, theta):
        z = sample.preactivations(w[None])
        a = (theta @ features(activation, z)[0]) * sample.root_weight
        C, power = a @ sample.r / len(a), jnp.mean(a**2)
        return jnp.sum(C**2) / jnp.where(power > 0, power, 1)  # 0 for a unit that is silent

    return jax.vmap(jax.value_and_grad(explained))(w, theta)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_slope_is_that_of_automatic_differentiation(activation, seed):
    sample, w = sample_of(seed)
    fit = fit_of(ACTIVATIONS[activation], sample, w)
    value, slope = slope_by_autodiff(ACTIVATIONS[activation], sample, w, fit.theta)
    np.testing.assert_allclose(fit.explained, value, rtol=1e-9)
    found = slope_of(fit, ACTIVATIONS[activation], sample, w)
    # Where a single row is not silent, all slopes cancel.
    least = 1e-3 * value / np.linalg.norm(w, axis=1)
    scale = np.maximum(np.abs(slope).max(axis=1), np.where(value > 0, least, 1))[:, None]
    np.testing.assert_allclose(found / scale, slope / scale, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ridge", [0.0, THETA_RIDGE])
@pytest.mark.parametrize("activation", ["rational", "relu"])
def test_scores_are_those_of_the_generalised_eigenproblem(activation, ridge, seed):
    sample, w = sample_of(seed)
    fit = fit_of(ACTIVATIONS[activation], sample, w, ridge)
    root, n = np.asarray(sample.root_weight), len(sample.a)
    x = np.asarray(sample.a) / np.where(root > 0, root, 1)[:, None]
    for p, direction in enumerate(np.asarray(w)):
        z = x @ direction
        phi = np.stack([z, 1 / (1 + z**2), z / (1 + z**2)])
        phi = (phi if activation == "rational" else np.maximum(z, 0)[None]) * root
        C = phi @ np.asarray(sample.r) / n
        N = phi @ phi.T / n
        values, vectors = scipy.linalg.eigh(C @ C.T, N + ridge * np.diag(np.diag(N)))
        assert fit.score[p] == pytest.approx(values[-1], rel=1e-6)
        theta = np.asarray(fit.theta[p])
        size = np.sqrt(np.diag(N))
        along = (theta * size) @ (vectors[:, -1] * size)
        lengths = np.linalg.norm(theta * size) * np.linalg.norm(vectors[:, -1] * size)
        assert abs(along) == pytest.approx(lengths, rel=1e-6)
        assert theta @ (N + ridge * np.diag(np.diag(N))) @ theta == pytest.approx(1, rel=1e-6)


def problem_of(n, rows):
    """A search on n random rows and as many others to judge on, both filled up."""

    def filled_up(seed):
        sample, _ = sample_of(seed, n, blank=0)
        return jax.tree.map(
            lambda v: jnp.zeros((rows, *v.shape[1:])).at[:n].set(v * (rows / n) ** 0.5), sample
        )

    ridge, rms, eta = jnp.asarray(0.01), jnp.asarray(1.1), jnp.asarray(0.5)
    masks = np.ones(4, bool), np.ones(1, bool)
    both = filled_up(0), filled_up(1)
    return Problem(*both, ridge, rms, eta, None, *masks, ACTIVATIONS["rational"], square=False)


@pytest.mark.parametrize("n", [510, 700, 1024, 1300])
def test_searches_in_blocks_find_what_they_find_in_all_rows_at_once(n):
    """Also where the last block is half full, and those after it are empty."""
    search = Projection(candidates=4, screened=16, steps=3)
    one, other = (
        search.propose(problem_of(n, rows), KEY, 3) for rows in (n if n % ROWS else n + 2, 2048)
    )
    for got, wanted in zip(jax.tree.leaves(other), jax.tree.leaves(one), strict=True):
        sign = np.sign(np.sum(got * wanted, axis=tuple(range(1, got.ndim)), keepdims=True))
        sign = sign if got.ndim == 3 and got.shape[1] == 3 else 1  # of θ either will do
        np.testing.assert_allclose(got * sign, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("last", [0, 1, 256, 257, 1999, 2048])
def test_no_block_is_looked_at_after_the_last_row_of_weight(last):
    rows = np.where(np.arange(2048) < last, 1.0, 0)
    rows[: last // 2] = 0  # of no weight, before others
    used = -(-last // ROWS)

    def seen(block, i):
        return block + 1 + i, jnp.ones(())

    own, share = jax.jit(lambda rows: walk(seen, rows, rows))(rows)
    wanted = (rows.reshape(8, ROWS) + 1 + np.arange(8)[:, None]) * (np.arange(8) < used)[:, None]
    np.testing.assert_array_equal(own, wanted)
    assert share == used / 8


# --- what is compiled -------------------------------------------------------------------------

GROW = Policy(
    tau=1 + 1e-9, alpha=1e-12, confidence=0.0, depth=False, every=3, max_units=8, patience=99,
    additions_at_once=2,
)  # fmt: skip
ADAM = optax.adam(0.01)
RNG = np.random.default_rng(11)
X = RNG.normal(size=(4200, IN)).astype(np.float32)
CLASSES = np.digitize(X[:, 0] * X[:, 1], [-0.5, 0.0, 0.5])
NUMBERS = np.sin(2 * X[:, 0]) * X[:, 1]


def programs():
    """Compiled so far, once what goes on in the background is done."""
    for compiled in tuple(compilation._programs.values()):
        if compiled.future is not None:
            compiled.future.result()
    return compilations().programs


@pytest.mark.parametrize("policy", [Policy(width=False, depth=False), GROW], ids=["fixed", "grow"])
@pytest.mark.parametrize("optimizer", [KFAC(), ADAM], ids=["kfac", "adam"])
def test_a_class_added_in_a_stream_fills_a_slot_and_compiles_nothing(optimizer, policy):
    model = SENNClassifier(
        hidden_sizes=(3,), max_units=8, batch_size=32, policy=policy, optimizer=optimizer,
        random_state=0,
    )  # fmt: skip

    def rows_of(*classes, part=0):
        rows = np.flatnonzero(np.isin(CLASSES, classes))[64 * part : 64 * part + 64]
        return X[rows], CLASSES[rows]

    for part in range(3):  # others each time: the scale follows them, for which optax starts anew
        model.partial_fit(*rows_of(0, 2, part=part))
    model.predict_proba(X[:64])
    for total, classes in ((3, (0, 2, 3)), (4, (1, 2))):
        before, shape = programs(), jax.tree.map(np.shape, model._online._state.train.network)
        for _ in range(3):
            model.partial_fit(*rows_of(*classes))
        assert len(model.classes_) == total == model.network_.out_size
        assert model.predict_proba(X[:64]).shape == (64, total)
        assert programs() == before
        assert jax.tree.map(np.shape, model._online._state.train.network) == shape


@pytest.mark.parametrize("optimizer", [KFAC(), ADAM], ids=["kfac", "adam"])
def test_fits_of_other_numbers_of_rows_compile_nothing(optimizer):
    """Of the library's function, with validation rows and growth of the width."""

    def fit(n):
        network = MLP(IN, 1, (3,), key=jax.random.key(n), capacity=8)
        _, history = senn.fit(
            network, (X[:n], NUMBERS[:n]), validation=(X[-n // 4 :], NUMBERS[-n // 4 :]),
            optimizer=optimizer, policy=GROW, schedule=Schedule(max_steps=12, evaluate_every=4),
        )  # fmt: skip
        return history

    assert fit(500).additions
    before = programs()
    for n in (31, 511, 512, 513, 1000, 2049, 4000):
        history = fit(n)
        assert history.n_compilations == 0
        assert programs() == before


@pytest.mark.parametrize("estimator", [SENNClassifier, SENNRegressor])
def test_estimators_fitted_to_other_numbers_of_rows_compile_nothing(estimator):
    y = CLASSES if estimator is SENNClassifier else NUMBERS
    x = np.concatenate([X, RNG.normal(size=(len(X), 8 - IN))], axis=1)

    def fit(n):
        model = estimator(hidden_sizes=(3,), max_units=8, max_iter=4, policy=GROW, random_state=0)
        model.fit(x[:n], y[:n]).predict(x[:16])
        return model.network_.in_size

    assert fit(50) == 8  # too few rows for codes, and none of them are kept for validation
    before = programs()
    for n in (98, 99, 104, 511, 1025, 3000):
        coded = fit(n)
        assert programs() == before
    assert coded > 64  # what 50 rows fit in
