"""The natural expansion score: theorems 1 and 2, and dense references."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reference
from senn.curvature import moments
from senn.losses import make_loss, make_metric
from senn.score import (
    explained,
    max_additions,
    natural_expansion_score,
    network_expansion_score,
    residual,
    residual_gradient,
    score_increase,
    score_increase_bound,
)
from strategies import random_batch, random_network

DAMPINGS = [0.0, 1e-6, 1e-2, 1.0]
SEEDS = 10

# --- scores of one map on arrays --------------------------------------------------------------


class Arrays(NamedTuple):
    a: np.ndarray
    a_new: np.ndarray
    g: np.ndarray
    S: np.ndarray


def columns(array):
    return np.arange(array.shape[1])


KINDS = {
    "plain": lambda c, _: c,
    "duplicated inputs": lambda c, _: c._replace(a=c.a[:, np.maximum(columns(c.a) - 1, 0)]),
    "dormant inputs": lambda c, _: c._replace(a=c.a * (columns(c.a) != 1)),
    "silent inputs": lambda c, _: c._replace(a=0 * c.a),
    "duplicated proposals": lambda c, _: c._replace(a_new=c.a_new[:, columns(c.a_new) // 2]),
    "copied inputs": lambda c, _: c._replace(a_new=c.a[:, columns(c.a_new) % 4]),
    "combined inputs": lambda c, rng: c._replace(
        a_new=c.a @ rng.normal(size=(c.a.shape[1], c.a_new.shape[1]))
    ),
    "rescaled proposals": lambda c, _: c._replace(
        a_new=c.a_new * np.geomspace(1e-2, 1e2, c.a_new.shape[1])
    ),
    "one proposal": lambda c, _: c._replace(a_new=c.a_new * (columns(c.a_new) == 0)),
    "silent proposals": lambda c, _: c._replace(a_new=0 * c.a_new),
    "no gradient": lambda c, _: c._replace(g=0 * c.g),
    "few examples": lambda c, _: c._replace(  # fewer than inputs; all others have no weight
        **{
            name: getattr(c, name) * (np.arange(len(c.a)) < 5)[:, None]
            for name in Arrays._fields[:3]
        }
    ),
    "dormant outputs": lambda c, _: c._replace(
        g=c.g * (columns(c.g) > 0),
        S=c.S * np.outer(columns(c.S) > 0, columns(c.S) > 0),
    ),
}
SHAPE = (16, 6, 4, 3)  # N, I, K, O; one shape, one compilation


def random_arrays(seed, kind="plain"):
    rng = np.random.default_rng(seed)
    n, inputs, k, outputs = SHAPE
    a, a_new, g = (rng.normal(size=(n, size)) for size in (inputs, k, outputs))
    R = rng.normal(size=(outputs, outputs))
    a[:, -1] = 1
    return KINDS[kind](Arrays(a, a_new, g, R @ R.T), rng)


@partial(jax.jit, static_argnames="damping")
def all_scores(arrays, damping):
    def of_one(a, a_new, g, S):
        joint = jnp.concatenate([a, a_new], axis=-1)
        return (
            natural_expansion_score(a, g, S, damping),
            natural_expansion_score(joint, g, S, damping),
            score_increase(a, a_new, g, S, damping),
            score_increase_bound(a, a_new, g, S, damping),
            residual_gradient(a, g, damping),
        )

    return jax.vmap(of_one)(*arrays)


class Scores:
    """All scores of `SEEDS` random cases of every kind, for one damping."""

    def __init__(self, damping):
        cases = [random_arrays(seed, kind) for kind in KINDS for seed in range(SEEDS)]
        self.arrays, self.damping = Arrays(*map(np.stack, zip(*cases, strict=True))), damping
        found = all_scores(jax.tree.map(jnp.asarray, self.arrays), damping=damping)
        self.current, self.joint, self.exact, self.bound, self.g_r = map(np.asarray, found)

    def of(self, scores, kind):
        start = SEEDS * list(KINDS).index(kind)
        return scores[start : start + SEEDS]

    def cases(self):
        return zip(*self.arrays, strict=True)

    def references(self):
        """(η, η of the joint inputs with the *same* ε_A, the most that η can be) of every case."""
        for a, a_new, g, S in self.cases():
            joint = np.hstack([a, a_new])
            if self.damping == 0:
                scores = [reference.projected_score(b, g, S) for b in (a, joint)]
            else:
                ridges = (
                    reference.ridge(a.T @ a / len(a), self.damping),
                    reference.ridge(S, self.damping),
                )
                scores = [reference.kronecker_score(b, g, S, *ridges) for b in (a, joint)]
            yield *scores, reference.projected_score(np.eye(len(a)), g, S)


@pytest.fixture(scope="module", params=DAMPINGS)
def scores(request):
    return Scores(request.param)


@pytest.fixture(scope="module")
def undamped():
    return Scores(0.0)


def test_theorem_2(scores):
    """0 ≤ Δη′ ≤ Δη, with the one ε_A in A_c, A_p and the joint A."""
    rounding = 1e-13 * scores.current
    assert (scores.bound <= scores.exact * (1 + 1e-9) + rounding).all()
    assert (scores.bound >= 0).all()
    assert (scores.current >= 0).all()
    loose = scores.bound < 0.999 * scores.exact
    assert loose.mean() > 0.2  # the inequality is tested away from equality too


def test_scores_against_dense_references(scores):
    current, joint, most = map(np.array, zip(*scores.references(), strict=True))
    np.testing.assert_allclose(scores.current, current, rtol=1e-8)
    # Δη = η(joint) − η(current)
    assert (np.abs(scores.exact - (joint - current)) <= 1e-8 * joint).all()
    assert (scores.current + scores.exact <= most * (1 + 1e-9)).all()
    if scores.damping == 0:
        np.testing.assert_allclose(scores.joint, joint, rtol=1e-8)


def test_residual_gradient(scores):
    """The regression residual of g on a; without damping uncorrelated with a."""
    for (a, _, g, _), g_r in zip(scores.cases(), scores.g_r, strict=True):
        if scores.damping == 0:
            wanted = g - a @ np.linalg.lstsq(a, g, rcond=1e-9)[0]
            np.testing.assert_allclose(a.T @ g_r, 0, atol=1e-11)
        else:
            A = a.T @ a / len(a)
            A = A + reference.ridge(A, scores.damping) * np.eye(len(A))
            wanted = g - a @ np.linalg.solve(A, a.T @ g / len(a))
        np.testing.assert_allclose(g_r, wanted, atol=1e-8)


@pytest.mark.parametrize("kind", ["copied inputs", "combined inputs"])
def test_redundant_units_add_nothing_without_damping(undamped, kind):
    """Copies and linear combinations of inputs leave η as it is (section 3.2)."""
    current = undamped.of(undamped.current, kind)
    np.testing.assert_allclose(undamped.of(undamped.joint, kind), current, rtol=1e-9)
    assert (undamped.of(undamped.exact, kind) <= 1e-10 * current).all()
    assert (undamped.of(undamped.bound, kind) <= 1e-10 * current).all()


def test_rescaled_proposals_score_the_same_without_damping(undamped):
    for scores in (undamped.exact, undamped.bound):
        plain, rescaled = (undamped.of(scores, kind) for kind in ("plain", "rescaled proposals"))
        rounding = 1e-9 * undamped.of(undamped.current, "plain").max()
        np.testing.assert_allclose(rescaled, plain, rtol=1e-7, atol=rounding)


def test_scores_of_nothing_are_zero(scores):
    for kind, found in [
        ("silent inputs", scores.current),
        ("no gradient", scores.current),
        ("no gradient", scores.exact),
        ("no gradient", scores.bound),
        ("silent proposals", scores.exact),
        ("silent proposals", scores.bound),
    ]:
        np.testing.assert_array_equal(scores.of(found, kind), 0)


@jax.jit
def judge(sample, other):
    """The score of `sample`, and g_r and Δη′, jointly and one by one, of another sample."""
    fit = residual(sample.a, sample.g, sample.S, 0.1)
    r = fit(other.a, other.g)
    each = jax.vmap(lambda p: explained(p[:, None], r, fit.ridge), in_axes=1)
    return fit.score, r @ fit.whitener.T, explained(other.a_new, r, fit.ridge), each(other.a_new)


def test_residual_serves_other_examples():
    sample, other = (random_arrays(seed) for seed in range(2))
    score, white, together, each = judge(*jax.tree.map(jnp.asarray, (sample, other)))
    A = sample.a.T @ sample.a / len(sample.a)
    ridges = [reference.ridge(moment, 0.1) for moment in (A, sample.S)]
    assert score == pytest.approx(
        reference.kronecker_score(sample.a, sample.g, sample.S, *ridges), rel=1e-9
    )
    coefficients = np.linalg.solve(A + ridges[0] * np.eye(6), sample.a.T @ sample.g / len(sample.a))
    g_r = other.g - other.a @ coefficients
    S_inv = np.linalg.inv(sample.S + ridges[1] * np.eye(3))
    np.testing.assert_allclose(white, g_r @ S_inv, rtol=1e-9)

    def wanted(units):
        return reference.kronecker_score(units, g_r, sample.S, *ridges)

    assert together == pytest.approx(wanted(other.a_new), rel=1e-9)
    np.testing.assert_allclose(each, [wanted(unit[:, None]) for unit in other.a_new.T], rtol=1e-9)


# --- theorem 1 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lam", "alpha", "tau", "wanted"),
    [
        (1000, 1, 2, 10),  # the paper's example: N_s < 1 + 3 ln 10 / ln 2 < 11
        (8, 1, 2, 3),  # N_s < 4, and no more than 3 where 1 + ln 8 / ln 2 is whole
        (48, 3, 2, 4),
        (3**5, 1, 3, 5),
        (1.5**20 * 3, 3, 1.5, 20),
        (8.1, 1, 2, 4),
        (1, 0.999, 2, 1),
        (1, 1, 2, 0),
        (0.5, 1, 2, 0),
        (0, 1, 2, 0),
        (1e300, 1e-300, 2, 1994),
    ],
)
def test_max_additions(lam, alpha, tau, wanted):
    assert max_additions(float(lam), float(alpha), float(tau)) == wanted


def test_max_additions_is_the_strict_bound():
    rng = np.random.default_rng(0)
    for lam, alpha, tau in np.exp(rng.uniform([-3, -9, 0.01], [3, 3, 2], size=(200, 3))).tolist():
        n, limit = max_additions(lam, alpha, tau), 1 + np.log(lam / alpha) / np.log(tau)
        assert n == 0 if lam <= alpha else n < limit <= n + 1


@pytest.mark.parametrize(
    "bad",
    [{"tau": 1.0}, {"tau": 0.5}, {"alpha": 0.0}, {"alpha": -1.0}, {"lam": -1.0}, {"lam": np.nan},
     {"lam": np.inf}, {"tau": np.nan}],
    ids=str,
)  # fmt: skip
def test_max_additions_refuses(bad):
    with pytest.raises(ValueError, match="needs tau > 1, alpha > 0 and a finite lam >= 0; got"):
        max_additions(**({"lam": 1.0, "alpha": 0.1, "tau": 2.0} | bad))


@jax.jit
def greedy(proposals, a, g):
    """η now, and Δη of every proposal by itself."""
    S = jnp.eye(g.shape[1])
    increase = jax.vmap(lambda p: score_increase(a, p[:, None], g, S), in_axes=1)
    return natural_expansion_score(a, g, S), increase(proposals)


@pytest.mark.parametrize("tau", [1.01, 1.1, 1.5, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_theorem_1(tau, seed):
    """Additions that satisfy τ and α never outnumber the bound, whatever is proposed."""
    n, slots, n_proposals = 60, 40, 200
    rng = np.random.default_rng(seed)
    g = jnp.asarray(rng.normal(size=(n, 2)))
    # proposals between almost useless and almost the gradient itself
    noise = 10 ** rng.uniform(-1, 2, size=n_proposals)
    proposals = jnp.asarray(rng.normal(size=(n, n_proposals)) * noise)
    proposals = proposals + g @ rng.normal(size=(2, n_proposals))
    a = jnp.zeros((n, slots)).at[:, 0].set(1)  # slots are dormant until used
    limit = float(jnp.sum(g**2) / n)
    alpha, count = 1e-3 * limit, 0
    eta, increase = greedy(proposals, a, g)
    while count + 1 < slots:
        enough = (increase > alpha) & (eta + increase > tau * eta)
        if not enough.any():
            break
        # the least that is sufficient, so that as many as possible follow
        chosen = jnp.argmin(jnp.where(enough, increase, jnp.inf))
        count += 1
        a = a.at[:, count].set(proposals[:, chosen])
        wanted = float(eta + increase[chosen])
        eta, increase = greedy(proposals, a, g)
        assert eta == pytest.approx(wanted, rel=1e-8)
    assert eta <= limit * (1 + 1e-9)
    assert 2 <= count <= max_additions(limit, alpha, tau)


# --- networks ---------------------------------------------------------------------------------

N = 9
CASES = [
    ("softmax_cross_entropy", "fisher"),
    ("binary_cross_entropy", "euclidean"),
    ("squared_error", "euclidean"),
]
ARCHITECTURE = {"sizes": (3, 3, 2, 2), "residual": (1,), "capacity": 4}  # one compilation for all


@eqx.filter_jit
def network_scores(network, loss, metric, batch, damping):
    """η of the network, with the natural gradient; η of every map, damped by 0.01 and not."""
    options = {"damping": damping, "max_steps": 500, "rtol": 1e-12}
    maps = moments(network, loss, metric, batch, jax.random.key(0)).maps
    return (
        *network_expansion_score(network, loss, metric, batch, **options),
        [[natural_expansion_score(*m.dense, relative) for relative in (0.01, 0.0)] for m in maps],
    )


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def networks(request):
    """Cases of random networks, their batches and their dense references."""
    names = request.param
    loss = make_loss(names[0])
    metric = make_metric(names[1], loss)
    cases = []
    for seed in range(3):
        network = random_network(**ARCHITECTURE, seed=seed)
        batch = random_batch(names[0], N, 3, 2, weighted=True, seed=seed)
        cases.append((network, batch, reference.problem(network, *names, *batch)))
    return names, loss, metric, cases


@pytest.mark.parametrize("damping", [1e-3, 0.1])
def test_network_score_by_cg(networks, damping):
    """CG's natural gradient and η are those of a dense solve; 0 ≤ η ≤ λ."""
    _, loss, metric, cases = networks
    for network, batch, dense in cases:
        eta, result, _ = network_scores(network, loss, metric, batch, jnp.asarray(damping))
        F, g = reference.fisher(dense), reference.gradient(dense)
        solution = np.linalg.solve(F + damping * np.eye(len(g)), g)
        found = reference.flat(reference.active(network, result.solution))
        np.testing.assert_allclose(found, solution, atol=1e-6 * np.linalg.norm(solution))
        assert eta == pytest.approx(reference.network_score(dense, damping), rel=1e-6)
        assert 0 <= eta <= reference.limit(dense)
        assert result.residual <= 1e-12
        assert result.positive
        assert result.finite


def map_block(network, m):
    """Which of the active parameters, in the reference's order, are weights and biases of map m."""
    sizes = [a.size for a in reference.active(network)]
    per_map = 3 if network.activation.learned else 2
    start = sum(sizes[: per_map * m])
    return slice(start, start + sum(sizes[per_map * m : per_map * m + 2]))


def test_map_scores(networks):
    """Padded arrays score as the dense Kronecker factors of the active units do.

    Where F = S ⊗ A exactly, they score as the dense Fisher matrix: at the output map if M is the
    same for all examples, since J = I ⊗ aᵀ there and E[JᵀMJ] = M ⊗ E[a aᵀ].
    """
    names, loss, metric, cases = networks
    for network, batch, dense in cases:
        *_, found = network_scores(network, loss, metric, batch, jnp.asarray(0.1))
        root = np.sqrt(np.asarray(batch.weight))[:, None]
        F, gradient = reference.fisher(dense), reference.gradient(dense)
        for m, (a, g, S) in enumerate(reference.factors(network, *names, *batch)):
            a, g = root * a, root * g
            ridges = [reference.ridge(moment, 0.01) for moment in (a.T @ a / N, S)]
            eta, undamped = found[m]
            assert eta == pytest.approx(reference.kronecker_score(a, g, S, *ridges), rel=1e-9)
            assert undamped == pytest.approx(reference.projected_score(a, g, S), rel=1e-7)
            # E[ĝĝᵀ] ≤ E[ggᵀ] for the regression ĝ of g on a
            assert 0 <= eta <= undamped <= np.trace(np.linalg.pinv(S, 1e-9) @ (g.T @ g / N)) + 1e-9
            block = map_block(network, m)
            exact = gradient[block] @ np.linalg.pinv(F[block, block], 1e-11, hermitian=True)
            assert exact @ gradient[block] <= reference.limit(dense) * (1 + 1e-9)
            if m == network.n_maps - 1 and names[1] == "euclidean":
                assert undamped == pytest.approx(exact @ gradient[block], rel=1e-7)


@pytest.mark.parametrize(
    ("loss", "metric"),
    [
        ("softmax_cross_entropy", "euclidean"),
        ("softmax_cross_entropy", "fisher"),
    ],
)
def test_linear_models_have_an_exact_kronecker_score(loss, metric):
    """All parameters are one map's. `fisher` too while all outputs are zero: M is constant."""
    network = random_network((3, 2))
    if metric == "fisher":
        network = jax.tree.map(
            lambda p: jnp.zeros_like(p) if eqx.is_inexact_array(p) else p, network
        )
    batch = random_batch(loss, N, 3, 2)
    dense = reference.problem(network, loss, metric, *batch)
    made = make_loss(loss)
    *_, ((_, found),) = network_scores(
        network, made, make_metric(metric, made), batch, jnp.asarray(0.1)
    )
    g = reference.gradient(dense)
    wanted = g @ np.linalg.pinv(reference.fisher(dense), 1e-11, hermitian=True) @ g
    assert found == pytest.approx(wanted, rel=1e-8)
    assert wanted <= reference.limit(dense) * (1 + 1e-9)


def test_duplicating_a_unit_of_a_network():
    """η of the map that reads it, and of the whole network, stay as they are (ε → 0)."""
    loss = make_loss("squared_error")
    metric = make_metric("euclidean", loss)
    batch = random_batch("squared_error", N, 3, 2, weighted=True)
    network = random_network(**ARCHITECTURE)

    def incoming(n):
        h = n.hidden[0]
        return (h.dense.weights[0], h.dense.bias, h.activation.theta)

    slot = network.hidden_sizes[0]
    copied = [p.at[..., slot].set(p[..., 0]) for p in incoming(network)]
    grown = eqx.tree_at(
        lambda n: (*incoming(n), n.hidden[0].born),
        network,
        (*copied, network.hidden[0].born.at[slot].set(1)),
    )
    before, after = (
        network_scores(n, loss, metric, batch, jnp.asarray(0.1))[-1] for n in (network, grown)
    )
    for (_, old), (_, new) in zip(before[1:], after[1:], strict=True):
        assert new == pytest.approx(float(old), rel=1e-8)
    for damping, same in ((1e-8, True), (0.1, False)):  # with damping it does count: hence ε → 0
        before, after = (
            float(network_scores(n, loss, metric, batch, jnp.asarray(damping))[0])
            for n in (network, grown)
        )
        assert (after == pytest.approx(before, rel=1e-5)) == same
