"""Searches for new units: their scores, and what each of them promises."""

import re
from functools import cache
from operator import attrgetter

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

import reference
from senn.actions import Beside, Between, Widen
from senn.curvature import MapRows
from senn.growth import SMALL_IN, SMALL_OUT, _spread, _spread_factor
from senn.nn import ACTIVATIONS
from senn.proposals import (
    AbstractProposer,
    GradientAscent,
    Langevin,
    Projection,
    Random,
)
from senn.proposals.base import search_keys
from senn.proposals.langevin import _log_move, adapt, mala_start, mala_step
from senn.proposals.problem import Units, problem_at
from senn.proposals.projection import THETA_RIDGE, Fit
from senn.proposals.units import (
    activations,
    fit_score,
    held_out_gains,
    mask_units,
    objective,
    rescale,
)
from senn.score import score_increase_bound

N, OUT, DAMPING = 24, 2, 1e-2  # examples, outputs of the reading map
ACTIVE = np.array([True, True, False, True, False])  # slots of the inputs that hold units
KINDS = {  # activation, units, whether they are read beside their inputs, square
    "unit": ("rational", np.ones(1, bool), False, False),
    "residual unit": ("relu", np.ones(1, bool), True, False),
    "identity layer": ("rational", ACTIVE, True, True),
}
PROPOSERS = {
    "random": Random(candidates=6),
    "ascent": GradientAscent(candidates=6, steps=10),
    "langevin": Langevin(candidates=6, steps=20),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_proposer = pytest.mark.parametrize("proposer", PROPOSERS.values(), ids=PROPOSERS)
key = jax.random.key(0)


def problem_of_one(source, reader, *args, **kwargs):
    """A problem of units that one map reads."""
    return problem_at(source, [reader], *args, **kwargs)


build = eqx.filter_jit(problem_of_one)


@eqx.filter_jit
def search(proposer, problem, key):
    return proposer.search(problem, key)


@eqx.filter_jit
def measure(problem, units):
    return fit_score(problem, units), held_out_gains(problem, units), objective(problem, units)


def traced(proposer, name):
    """The same with a setting as an array, so that other values need no compilation."""
    return eqx.tree_at(lambda p: getattr(p, name), proposer, replace_fn=jnp.asarray)


def draws(problem, count):
    """What a search that is given `key` starts from."""
    return search(Random(candidates=count), problem, key)


def seen(seed, active):
    """What a map with some dormant inputs sees, examples weighted."""
    rng = np.random.default_rng(seed)
    root = np.sqrt(rng.uniform(0.2, 2, N))[:, None]
    a = np.column_stack([rng.normal(size=(N, len(active))) * active, np.ones(N)])
    g, S = rng.normal(size=(N, OUT)) + a[:, :OUT], rng.normal(size=(OUT, OUT))
    return MapRows(*(jnp.asarray(v) for v in (a * root, g * root, S @ S.T, root[:, 0])))


@cache
def samples(kind):
    """Source and reader, each on the fitting and on the held-out sample."""
    source = seen(0, ACTIVE), seen(1, ACTIVE)
    beside = KINDS[kind][2]
    reader = source if beside else (seen(2, np.ones(4)), seen(3, np.ones(4)))
    root = [(s.root_weight / r.root_weight)[:, None] for s, r in zip(source, reader, strict=True)]
    return source, tuple(
        r._replace(a=r.a * f, g=r.g * f, root_weight=s.root_weight)
        for s, r, f in zip(source, reader, root, strict=True)
    )


@cache
def problem(kind, silent=False, held_out=True):
    """`silent`: without loss gradient; not `held_out`: judged on the fitting sample."""
    activation, units, _, square = KINDS[kind]
    source, reader = samples(kind)
    if silent:
        reader = tuple(r._replace(g=0 * r.g) for r in reader)
    if not held_out:
        source, reader = (source[0],) * 2, (reader[0],) * 2
    active = ACTIVE
    if not square:  # as `growth.look` hands them on
        source, reader = tuple(map(spread, source)), tuple(map(spread, reader))
        active = more(ACTIVE)
    masks = jnp.asarray(active), jnp.asarray(units)
    return build(source, reader, *masks, ACTIVATIONS[activation], damping=DAMPING, square=square)


def spread(of):
    """The moments of a map as those of one with more slots."""
    return MapRows(*_spread(of.a, of.g), _spread_factor(of.S), of.root_weight)


def more(active):
    """Which of `SMALL_IN` slots hold units."""
    return np.pad(active, (0, SMALL_IN - len(active)))


def outputs(kind, units, source):
    """What units of one proposal output, times the root of the weights, in NumPy."""
    root = np.asarray(source.root_weight)[:, None]
    x = np.asarray(source.a[:, :-1]) / root
    z = x @ np.asarray(units.weight[0])[: x.shape[1]] + np.asarray(units.bias[0])
    theta = None if units.theta is None else np.asarray(units.theta[0])
    a = reference.sigma(KINDS[kind][0], z, theta)
    return (root * a)[:, KINDS[kind][1] if KINDS[kind][3] else slice(None)]


def dense_scores(kind, units):
    """Δη′ on the fitting sample, and every held-out example's part of it: the formulas."""
    source, reader = samples(kind)
    a, g = np.asarray(reader[0].a), np.asarray(reader[0].g)
    A, S = a.T @ a / N, np.asarray(reader[0].S)
    ridge = reference.ridge(A, DAMPING)
    R = np.linalg.inv(np.linalg.cholesky(S + reference.ridge(S, DAMPING) * np.eye(OUT))).T
    B = np.linalg.solve(A + ridge * np.eye(len(A)), a.T @ g @ R / N)
    new = outputs(kind, units, source[0])
    C = new.T @ (g @ R - a @ B) / N
    V = np.linalg.solve(new.T @ new / N + ridge * np.eye(new.shape[1]), C)
    r = np.asarray(reader[1].g) @ R - np.asarray(reader[1].a) @ B
    step = outputs(kind, units, source[1]) @ V
    return np.sum(C * V), np.sum(r * step, axis=1)


@cache
def found(kind, name):
    return PROPOSERS[name].propose(problem(kind), key)


# --- scores -----------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("name", ["random", "ascent"])
def test_scores_of_the_winner(kind, name):
    winner = found(kind, name)
    fitted, gains = dense_scores(kind, winner.units)
    assert winner.fit_score == pytest.approx(fitted, rel=1e-9)
    assert winner.score == pytest.approx(gains.mean(), rel=1e-8)
    assert winner.stderr == pytest.approx(gains.std(ddof=1) / np.sqrt(N), rel=1e-9)
    source, reader = samples(kind)
    new = jnp.asarray(outputs(kind, winner.units, source[0]))
    bound = score_increase_bound(reader[0].a, new, reader[0].g, reader[0].S, DAMPING)
    assert winner.fit_score == pytest.approx(float(bound), rel=1e-9)


def test_standard_error_is_that_of_a_bootstrap():
    winner = found("unit", "random")
    _, gains = dense_scores("unit", winner.units)
    rng = np.random.default_rng(0)
    means = [rng.choice(gains, N).mean() for _ in range(2000)]
    assert winner.stderr == pytest.approx(np.std(means), rel=0.1)


@every_kind
def test_judged_on_the_fitting_sample_both_scores_agree(kind):
    units = found(kind, "random").units
    same = problem(kind, held_out=False)
    score, gains, _ = measure(same, units)
    assert gains.shape == (1, N)
    np.testing.assert_allclose(np.mean(gains, axis=1), score, rtol=1e-9)


@every_kind
def test_dormant_slots_and_padding_change_nothing(kind):
    activation, units_mask, beside, square = KINDS[kind]
    source, reader = samples(kind)
    rows = np.append(ACTIVE, True)
    bare_source = [s._replace(a=s.a[:, rows]) for s in source]
    bare_reader = bare_source if beside else reader
    bare_reader = [b._replace(g=r.g, S=r.S) for b, r in zip(bare_reader, reader, strict=True)]
    masks = jnp.ones(3, bool), jnp.ones(units_mask.sum(), bool)
    bare = build(
        tuple(bare_source),
        tuple(bare_reader),
        *masks, ACTIVATIONS[activation], damping=DAMPING,
        square=square,
    )  # fmt: skip
    assert bare.fit.a.shape == (N, 4)
    padded, units = problem(kind), found(kind, "random").units
    if square:
        padded, units, units_mask = spread_out(kind, units), padded_units(units), more(units_mask)
    assert padded.fit.a.shape == (N, SMALL_IN + 1)
    assert padded.fit.r.shape == (N, SMALL_OUT)
    np.testing.assert_array_equal(padded.fit.root_weight, bare.fit.root_weight)
    slots = np.pad(ACTIVE, (0, units.weight.shape[1] - len(ACTIVE)))
    cut = Units(
        units.weight[:, slots][..., units_mask],
        units.bias[:, units_mask],
        None if units.theta is None else units.theta[..., units_mask],
    )
    for name in ("eta", "ridge", "unit_rms", "fit.scale"):
        of = attrgetter(name)
        assert of(padded) == pytest.approx(float(of(bare)), rel=1e-10)
    for one, other in zip(measure(padded, units), measure(bare, cut), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8)


def spread_out(kind, units):
    """The problem of a square layer, as `growth.look` hands it on."""
    activation, mask, _, square = KINDS[kind]
    both = (tuple(map(spread, of)) for of in samples(kind))
    return build(
        *both, *map(jnp.asarray, (more(ACTIVE), more(mask))), ACTIVATIONS[activation],
        damping=DAMPING, square=square,
    )  # fmt: skip


def padded_units(units):
    """Units of a square layer with more dormant slots."""
    n = SMALL_IN - units.bias.shape[1]
    return jax.tree.map(
        lambda u: jnp.pad(u, [(0, n if size == SMALL_IN - n else 0) for size in u.shape]), units
    )


# --- units in turn ----------------------------------------------------------------------------

SINGLE = ("unit", "residual unit")
every_single = pytest.mark.parametrize("kind", SINGLE)


@cache
def in_turn(kind, name, count):
    return PROPOSERS[name].propose(problem(kind), key, count)


def joined(proposals):
    """Single units as one proposal of several."""
    weight, bias, theta = (
        None if parts[0] is None else np.concatenate(parts, axis=-1)
        for parts in zip(*proposals, strict=True)
    )
    return Units(weight, bias, theta)


def apart(units):
    """Proposals of single units, one by one."""
    return [
        Units(*(None if u is None else np.asarray(u)[k : k + 1] for u in units))
        for k in range(len(units.bias))
    ]


@every_single
@pytest.mark.parametrize("name", ["random", "ascent"])
def test_scores_in_turn_add_up_to_those_of_all_units_together(kind, name):
    turn = in_turn(kind, name, 4)
    assert turn.units.weight.shape == (4, SMALL_IN, 1)
    assert (turn.fit_score >= 0).all()
    source, reader = samples(kind)
    before = np.zeros(N)
    for count in range(1, 5):
        units = joined(apart(turn.units)[:count])
        new = jnp.asarray(outputs(kind, units, source[0]))
        bound = score_increase_bound(reader[0].a, new, reader[0].g, reader[0].S, DAMPING)
        fitted, gains = dense_scores(kind, units)
        assert sum(turn.fit_score[:count]) == pytest.approx(float(bound), rel=1e-9)
        assert sum(turn.fit_score[:count]) == pytest.approx(fitted, rel=1e-9)
        assert sum(turn.score[:count]) == pytest.approx(gains.mean(), rel=1e-8)
        # The error of each is that of what it adds.
        error = (gains - before).std(ddof=1) / np.sqrt(N)
        assert turn.stderr[count - 1] == pytest.approx(error, rel=1e-7)
        before = gains


@every_single
@pytest.mark.parametrize("name", ["random", "ascent"])
def test_each_unit_in_turn_is_the_best_of_those_left(kind, name):
    turn, search_key = in_turn(kind, name, 3), search_keys(key, 3)[0]
    each = apart(search(PROPOSERS[name], problem(kind), search_key))
    chosen = []
    for unit in apart(turn.units):
        totals = {
            p: dense_scores(kind, joined([each[q] for q in (*chosen, p)]))[0]
            for p in set(range(6)) - set(chosen)
        }
        chosen.append(max(totals, key=lambda p: totals[p]))
        total = sum(turn.fit_score[: len(chosen)])
        assert total == pytest.approx(totals[chosen[-1]], rel=1e-6)
        np.testing.assert_allclose(unit.weight, each[chosen[-1]].weight, rtol=1e-6, atol=1e-9)


@every_single
@pytest.mark.parametrize("name", PROPOSERS)
def test_no_candidate_is_chosen_twice(kind, name):
    weights = np.asarray(in_turn(kind, name, 6).units.weight)[..., 0]
    assert len(np.unique(weights, axis=0)) == 6


@every_proposer
def test_an_exhausted_pool_gives_nothing(proposer):
    for seed in range(10):
        turn = proposer.propose(problem("unit"), jax.random.key(seed), 20)  # of six candidates
        assert (np.asarray(turn.fit_score[:6]) > 0).all()
        for scores in (turn.fit_score, turn.score, turn.stderr):
            np.testing.assert_array_equal(scores[6:], 0)


def test_a_copy_of_a_unit_adds_what_the_ridge_lets_it():
    one = draws(problem("unit"), 1)
    copies = Units(*(jnp.tile(u, (3, *[1] * (u.ndim - 1))) for u in one))
    turn = Given(copies, PROPOSERS["random"]).propose(problem("unit"), key, 3)
    for count in (1, 2, 3):
        fitted, gains = dense_scores("unit", joined(apart(copies)[:count]))
        assert sum(turn.fit_score[:count]) == pytest.approx(fitted, rel=1e-9)
        assert sum(turn.score[:count]) == pytest.approx(gains.mean(), rel=1e-8)
    ridge, power = problem("unit").ridge, np.mean(outputs("unit", one, samples("unit")[0][0]) ** 2)
    assert turn.fit_score[1] < 2 * ridge / power * turn.fit_score[0]


def test_square_layers_come_one_at_a_time():
    with pytest.raises(ValueError, match="one at a time; got count=2"):
        PROPOSERS["random"].propose(problem("identity layer"), key, 2)


# --- projection -------------------------------------------------------------------------------


def random_direction(seed):
    """Weights for the active inputs, zeros for the padding, and last a bias."""
    draw = np.random.default_rng(seed)
    weight = draw.normal(size=len(ACTIVE)) * ACTIVE
    return np.concatenate([weight, np.zeros(SMALL_IN - len(ACTIVE)), draw.normal(size=1)])


def best(activation, sample, w, ridge=0.0):
    """The most that a unit with these incoming weights can explain, and its coefficients."""
    fit = Fit.of(ACTIVATIONS[activation], sample, jnp.asarray(w)[None], ridge)
    return fit.score[0], fit.theta[0]


@pytest.mark.parametrize("seed", range(8))
def test_eliminated_coefficients_beat_random_ones(seed):
    """For the same incoming weights no θ of 200 explains more, to rounding."""
    draw, plain = np.random.default_rng(seed), problem("unit")
    w = random_direction(seed) * 10 ** draw.uniform(-2, 2)
    free = eqx.tree_at(lambda p: p.ridge, plain, jnp.zeros(()))  # which θ could scale away
    value, theta = best("rational", plain.fit, w)
    thetas = np.concatenate([np.asarray(theta)[None], draw.normal(size=(200, 3))])
    tile = np.ones((len(thetas), 1))
    scores, *_ = measure(free, Units(
        jnp.asarray(tile[..., None] * w[:-1, None]), jnp.asarray(tile * w[-1]),
        jnp.asarray(thetas[..., None]),
    ))  # fmt: skip
    assert scores[0] == pytest.approx(float(value), rel=1e-6)
    assert scores[0] >= scores[1:].max() * (1 - 1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_other_activations_have_one_coefficient(activation):
    fit, w = problem("unit").fit, random_direction(0)
    value, coefficient = best(activation, fit, w)
    root = np.asarray(fit.root_weight)
    a = root * reference.sigma(activation, np.asarray(fit.a) @ w / root)
    C, power = a @ np.asarray(fit.r) / N, np.mean(a * a)
    assert value == pytest.approx(np.sum(C * C) / power, rel=1e-9)
    np.testing.assert_allclose(np.abs(coefficient), [power**-0.5], rtol=1e-9)


def test_a_ridge_keeps_coefficients_bounded():
    """In a unit of mean square 1 no feature has more than 1/√ridge, root mean square."""
    fit, sizes = problem("unit").fit, []
    for exponent in range(-12, 5, 2):
        w = jnp.asarray(10.0**exponent * random_direction(exponent + 12))
        z = np.asarray(fit.preactivations(w[None]))[0]
        features = np.stack([z, 1 / (1 + z**2), z / (1 + z**2)]) * np.asarray(fit.root_weight)
        size = np.sqrt(np.mean(features**2, axis=1))
        value, theta = best("rational", fit, w, THETA_RIDGE)
        assert np.linalg.norm(size * np.asarray(theta)) <= THETA_RIDGE**-0.5 * (1 + 1e-9)
        assert np.isfinite(value)
        sizes.append(np.linalg.norm(size * np.asarray(best("rational", fit, w)[1])))
    assert max(sizes) > 100  # what it is there for


@every_single
def test_projection_proposes_more_than_random_units(kind):
    few = Projection(candidates=8, screened=128, steps=2)
    turn = few.propose(problem(kind), key, 2)
    assert turn.units.weight.shape == (2, SMALL_IN, 1)
    assert turn.fit_score[0] > found(kind, "random").fit_score[0]
    assert (turn.fit_score >= 0).all()


def test_log_det_penalty_of_square_layers():
    square = problem("identity layer")
    units = found("identity layer", "random").units
    W = np.asarray(units.weight[0])[np.ix_(ACTIVE, ACTIVE)]
    score, _, value = measure(square, units)
    wanted = score / square.fit.scale - 0.01 * np.log(np.abs(np.linalg.det(W))) ** 2
    np.testing.assert_allclose(value, wanted, rtol=1e-10)
    plain = problem("residual unit")
    score, _, value = measure(plain, found("residual unit", "random").units)
    np.testing.assert_allclose(value, score / plain.fit.scale)
    assert 0 < score[0] < plain.fit.scale  # E‖r‖² is the most that any units can explain


# --- every search -----------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("name", PROPOSERS)
def test_every_search_gives_units_for_the_active_slots_alone(kind, name):
    units = found(kind, name).units
    activation, mask, _, _ = KINDS[kind]
    square = KINDS[kind][3]
    rows = ACTIVE if square else more(ACTIVE)
    assert units.weight.shape == (1, len(rows), len(mask))
    assert units.bias.shape == (1, len(mask))
    np.testing.assert_array_equal(units.weight[0] != 0, rows[:, None] & mask)
    np.testing.assert_array_equal(units.bias[0] != 0, mask)
    if activation == "rational":
        np.testing.assert_array_equal(units.theta[0] != 0, np.tile(mask, (3, 1)))
    else:
        assert units.theta is None
    winner = found(kind, name)
    assert all(np.isfinite(v) for v in (winner.fit_score, winner.score, winner.stderr))
    assert winner.score != winner.fit_score


@every_kind
@every_proposer
def test_without_a_gradient_nothing_is_gained(kind, proposer):
    silent = problem(kind, silent=True)
    winner = proposer.propose(silent, key)
    assert winner.fit_score == winner.score == winner.stderr == silent.eta == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(winner.units))


@every_kind
@every_proposer
def test_the_key_decides(kind, proposer):
    first, other = (proposer.propose(problem(kind), jax.random.key(k)) for k in (0, 1))
    again = found(kind, next(n for n, p in PROPOSERS.items() if p is proposer))
    assert jax.tree.all(jax.tree.map(np.array_equal, first, again))
    assert (first.units.weight != other.units.weight).any()


class Given(AbstractProposer):
    """Searches nothing; chooses as another proposer does, or as told."""

    units: Units
    choice: AbstractProposer | tuple
    candidates: int = 3

    def search(self, problem, key):  # noqa: ARG002
        return self.units

    def select(self, relative_scores, key):
        if isinstance(self.choice, tuple):
            return jnp.asarray(2), jnp.arange(3), jnp.asarray(self.choice)
        return self.choice.select(relative_scores, key)


def test_the_judged_score_is_the_mean_under_the_weights():
    weights, drawn = (0.2, 0.3, 0.5), draws(problem("unit"), 3)
    each = [Units(*(u[i : i + 1] for u in drawn)) for i in range(3)]
    fitted, gains = zip(*(dense_scores("unit", u) for u in each), strict=True)
    winner = Given(drawn, weights).propose(problem("unit"), key)
    np.testing.assert_array_equal(winner.units.weight, each[2].weight)
    assert winner.fit_score == pytest.approx(np.dot(weights, fitted))
    mean = np.average(gains, axis=0, weights=weights)
    assert winner.score == pytest.approx(mean.mean())
    assert winner.stderr == pytest.approx(mean.std(ddof=1) / np.sqrt(N))


@every_proposer
def test_a_candidate_that_is_not_finite_spoils_no_other(proposer):
    drawn = draws(problem("unit"), 3)
    drawn = drawn._replace(weight=drawn.weight.at[1].set(jnp.nan))
    winner = Given(drawn, proposer).propose(problem("unit"), key)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(winner))


# --- random -----------------------------------------------------------------------------------


def test_random_draws_are_the_starting_scheme():
    units = draws(problem("identity layer"), 4000)
    weight, bias, theta = (
        units.weight[:, ACTIVE][..., ACTIVE],
        units.bias[:, ACTIVE],
        units.theta[..., ACTIVE],
    )
    for leaf, std in ((weight, 1 / np.sqrt(3)), (bias, 1), (theta, 1)):
        assert np.std(leaf) == pytest.approx(std, rel=0.03)
        assert abs(np.mean(leaf)) < 0.03


def test_random_keeps_the_best_of_its_draws():
    plain, search_key = problem("unit"), search_keys(key, 1)[0]
    scores = measure(plain, search(Random(candidates=6), plain, search_key))[0]
    assert found("unit", "random").fit_score == pytest.approx(float(scores.max()))
    assert Random().candidates == 1


# --- gradient ascent --------------------------------------------------------------------------


@eqx.filter_jit
def value_and_slope(problem, units):
    value, pull = jax.vjp(lambda u: objective(problem, u), units)
    return value, mask_units(problem, pull(jnp.ones_like(value))[0])


@eqx.filter_jit
def climb(proposer, problem, lengths):
    """The candidates, and their objectives, after so many steps."""
    ends = [eqx.tree_at(lambda p: p.steps, proposer, n).search(problem, key) for n in lengths]
    return ends, jnp.stack([objective(problem, u) for u in ends])


def per(values, leaf):
    return np.reshape(values, (-1, *[1] * (leaf.ndim - 1)))


@pytest.mark.parametrize("kind", ["unit", "identity layer"])
@pytest.mark.parametrize("rate", [0.3, 1e4])
def test_ascent_never_falls_and_cuts_its_rates_by_three(kind, rate):
    lengths, plain = (3, 9), problem(kind)
    proposer = GradientAscent(candidates=5, learning_rate=rate)
    ends, values = climb(traced(proposer, "learning_rate"), plain, lengths)
    values = np.stack([value_and_slope(plain, draws(plain, 5))[0], *values])
    assert (np.diff(values, axis=0) >= -1e-12).all()  # rounding, where none moved
    assert (values[-1] > values[0]).any()

    units, rates = draws(plain, 5), np.full(5, rate)
    value, slope = value_and_slope(plain, units)
    for step in range(max(lengths) + 1):
        if step in lengths:
            end = ends[lengths.index(step)]
            for leaf, wanted in zip(end, units, strict=True):
                np.testing.assert_allclose(leaf, wanted, rtol=1e-7, atol=1e-12)
        tried = Units(*(u + per(rates, u) * s for u, s in zip(units, slope, strict=True)))
        there = (*value_and_slope(plain, tried), tried)
        better = np.asarray(there[0] >= value)
        pairs = zip(*map(jax.tree.leaves, (there, (value, slope, units))), strict=True)
        leaves = [np.where(per(better, new), new, old) for new, old in pairs]
        value, slope, units = leaves[0], Units(*leaves[1:4]), Units(*leaves[4:])
        rates = np.where(better, rates, rates / 3)
    assert (rates < rate).any() or rate < 1


@every_kind
def test_ascent_beats_the_draws_that_it_starts_from(kind):
    ascent, random = (measure(problem(kind), found(kind, n).units)[2] for n in ("ascent", "random"))
    assert ascent > random


# --- Langevin ---------------------------------------------------------------------------------

MEAN = np.array([1.0, -2.0, 0.5])
COVARIANCE = np.array([[1.0, 0.6, -0.2], [0.6, 0.8, 0.1], [-0.2, 0.1, 0.5]])
PRECISION = jnp.asarray(np.linalg.inv(COVARIANCE))


def stacked(q):
    return jnp.concatenate([q.weight[:, :, 0], q.bias], axis=1)


def gaussian(q):
    d = stacked(q) - MEAN
    return -0.5 * jnp.einsum("pi,ij,pj->p", d, PRECISION, d)


def chains_at(q):
    return mala_start(gaussian, Units(q[:, :2, None], q[:, 2:], None))


@jax.jit
def sample(q, keys, step_size):
    """Chains and acceptance rates of a run; the step size is adapted every 10 steps."""

    def block(carry, block_keys):
        chains, step_size = carry
        chains, accepted = jax.lax.scan(
            lambda c, k: mala_step(gaussian, c, step_size, k), chains, block_keys
        )
        return (chains, adapt(step_size, jnp.mean(accepted), 0.6)), jnp.mean(accepted)

    (chains, _), rates = jax.lax.scan(block, (chains_at(q), step_size), keys)
    return stacked(chains.position), rates


def run(step_size, chains=3000, blocks=12):
    start = 2 * jax.random.normal(key, (chains, 3))
    keys = jax.random.split(jax.random.key(1), (blocks, 10))
    return sample(start, keys, jnp.asarray(step_size))


@pytest.mark.parametrize("step_size", [0.3, 1e-4, 1e3])
def test_mala_samples_a_gaussian_whatever_the_first_step_size(step_size):
    q, rates = run(step_size)
    assert 0.35 < np.mean(rates[-4:]) < 0.9
    q, n = np.asarray(q), len(q)
    assert (np.abs(q.mean(axis=0) - MEAN) < 4 * np.sqrt(np.diag(COVARIANCE) / n)).all()
    variance = np.diag(COVARIANCE)
    error = np.sqrt((np.outer(variance, variance) + COVARIANCE**2) / n)
    assert (np.abs(np.cov(q.T) - COVARIANCE) < 4 * error).all()


def test_mala_accepts_as_blackjax_does():
    from blackjax.mcmc import mala

    def density(q):
        return gaussian(Units(q[None, :2, None], q[None, 2:], None))[0]

    @jax.jit
    def both(q, keys):
        states = jax.vmap(lambda p: mala.init(p, density))(q)
        moved, info = jax.vmap(lambda k, s: mala.build_kernel()(k, s, density, 0.4))(keys, states)
        here, there = chains_at(q), chains_at(moved.position)
        ratio = there.log_density - here.log_density
        return info, ratio + _log_move(there, here, 0.4) - _log_move(here, there, 0.4)

    q = MEAN + np.random.default_rng(0).normal(size=(300, 3))
    info, ratio = both(q, jax.random.split(key, 300))
    accepted = np.asarray(info.is_accepted)
    assert 0.1 < accepted.mean() < 0.9
    wanted = np.asarray(info.acceptance_rate)[accepted]
    np.testing.assert_allclose(np.minimum(1, np.exp(ratio))[accepted], wanted, rtol=1e-10)
    assert len(np.unique(wanted)) > 20


def test_the_drift_raises_the_score():
    plain, drawn, n = problem("unit"), draws(problem("unit"), 1), 2000

    def log_density(q):
        return objective(plain, q) / 1e-3

    @jax.jit
    def step(start):
        chains = mala_start(log_density, start)
        return chains, *mala_step(log_density, chains, 1e-4, key)

    start = jax.tree.map(lambda u: np.tile(u, (n, *[1] * (u.ndim - 1))), drawn)
    before, after, accepted = step(start)
    gain = np.asarray(after.log_density - before.log_density)
    assert gain.mean() > 5 * gain.std() / np.sqrt(n)
    assert np.mean(accepted) > 0.5


@pytest.mark.parametrize("step_size", [0.3, 1e3])
def test_langevin_scores_more_than_the_prior(step_size):
    plain = problem("unit")
    proposer = traced(Langevin(candidates=40, steps=150, step_size=step_size), "step_size")
    scores = measure(plain, search(proposer, plain, key))[2]
    prior = measure(plain, draws(plain, 40))[2]
    spread = np.hypot(np.std(scores), np.std(prior)) / np.sqrt(40)
    assert np.mean(scores) > np.mean(prior) + 3 * spread


@pytest.mark.parametrize(
    ("rate", "factor"), [(0.0, 1 / 3), (0.39, 1 / 3), (0.45, 1), (0.75, 1), (0.81, 3), (1.0, 3)]
)
def test_step_sizes_move_by_a_factor_of_three(rate, factor):
    assert adapt(jnp.asarray(0.3), jnp.asarray(rate), 0.6) == pytest.approx(0.3 * factor)


def test_langevin_chooses_by_softmax():
    scores = jnp.array([0.1, 0.13, jnp.nan, 0.05])
    proposer = Langevin(temperature=0.03)
    choices, judged, weights = jax.vmap(lambda k: proposer.select(scores, k))(
        jax.random.split(key, 4000)
    )
    wanted = softmax(np.array([0.1, 0.13, -np.inf, 0.05]) / 0.03)
    np.testing.assert_allclose(weights[0], wanted, rtol=1e-10)
    np.testing.assert_array_equal(judged[0], range(4))
    counts = np.bincount(choices, minlength=4) / 4000
    assert (np.abs(counts - wanted) <= 4 * np.sqrt(wanted * (1 - wanted) / 4000)).all()


# --- scale ------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("fraction", [0.3, 2.0])
def test_rescale_gives_the_asked_scale_and_keeps_the_direction(kind, fraction):
    plain = problem(kind)
    units = found(kind, "random").units
    scaled = rescale(plain, jax.tree.map(np.asarray, found(kind, "random")), fraction).units
    a = activations(plain, jax.tree.map(jnp.asarray, scaled), plain.fit)
    rms = np.sqrt(np.mean(a**2, axis=1))[0]
    inputs = np.asarray(samples(kind)[1][0].a[:, :-1])
    wanted = fraction * np.sqrt(np.mean(inputs[:, inputs.any(axis=0)] ** 2))
    np.testing.assert_allclose(rms[KINDS[kind][1]], wanted, rtol=1e-10)
    old, new = (outputs(kind, u, samples(kind)[0][0]) for u in (units, scaled))
    ratio = np.linalg.norm(new, axis=0) / np.linalg.norm(old, axis=0)
    np.testing.assert_allclose(new, old * ratio, rtol=1e-9)


def test_units_beside_dead_inputs_stay_alive():
    source, reader = (tuple(map(spread, of)) for of in samples("unit"))
    dead = tuple(r._replace(a=r.a.at[:, :-1].set(0)) for r in reader)
    masks = jnp.asarray(more(ACTIVE)), jnp.ones(1, bool)
    plain = build(source, dead, *masks, ACTIVATIONS["rational"], damping=DAMPING)
    one = jax.tree.map(np.asarray, found("unit", "random"))
    assert rescale(plain, one, 0.3).units.theta.any()


def test_actions_say_where_they_are():
    assert str(Widen(1)) == "hidden layer 1"
    assert str(Beside(1)) == str(Between(1)) == "new layer before map 1"


@pytest.mark.parametrize("kind", KINDS)
def test_no_search_calls_lapack_for_several_matrices_at_once(kind):
    """Such calls wait for helpers in XLA's pool of threads, and two can lock a pool of two."""
    search = Projection(candidates=4, screened=16, steps=1)
    given = problem(kind)  # kept for other tests, so not made inside
    proposing = jax.jit(lambda *keys: search.found(given, *keys).score)
    calls = re.findall(
        r"custom_call @lapack_\w+\(.*", proposing.lower(*search_keys(key, 1)).as_text()
    )
    assert not [call for call in calls if re.search(r"tensor<\d+x\d+x\d+x", call)]


@pytest.mark.parametrize("screened", [1, 7, 300])
def test_any_number_of_directions_may_be_screened(screened):
    plain = problem("unit")
    draw = np.random.default_rng(0).normal(size=(screened, plain.fit.a.shape[1]))
    w, half = jnp.asarray(draw), jax.tree.map(lambda v: v[::2], plain.fit)
    found = jax.jit(lambda w: Projection()._screen(plain, w))(w)
    one_by_one = jax.vmap(lambda v: Fit.of(ACTIVATIONS["rational"], half, v[None]).score[0])(w)
    np.testing.assert_allclose(found, one_by_one, rtol=1e-9)
