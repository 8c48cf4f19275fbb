"""Second moments as solvers against dense matrices, and how those of the inputs come about."""

import jax.numpy as jnp
import numpy as np
import pytest

import senn.factors
from senn.batches import ArraySource, Batch, InputMoment, StreamSource
from senn.factors import DenseFactor, InputFactor

rng = np.random.default_rng(8)
N, I = 40, 6  # noqa: E741
RIDGES = (1e-3, 0.5, 20.0)


def rows(kind="plain"):
    """Inputs on very different scales, some of them correlated; and a weight each."""
    x = rng.normal(size=(N, I)) * np.geomspace(0.1, 10, I) + rng.normal(size=I)
    x[:, 1] += 0.9 * x[:, 2]
    if kind == "dead inputs":
        x[:, [0, 3]] = 0
    if kind == "copied inputs":
        x[:, 4] = x[:, 2]
    if kind == "few rows":
        x = x[:3]
    return x, rng.uniform(0.2, 2, len(x))


def moment_of(x, weight):
    """E[w · (x, 1)(x, 1)ᵀ], row by row."""
    total = np.zeros((x.shape[1] + 1,) * 2)
    for row, w in zip(x, weight, strict=True):
        a = np.append(row, 1)
        total += w * np.outer(a, a)
    return total / len(x)


def factor_of(A):
    return InputFactor.of(InputMoment(A, N), float)


def check(factor, A, mean, rtol=1e-9):
    """What a factor does is what the dense matrix does."""
    b = rng.normal(size=(len(A), 3))
    np.testing.assert_allclose(factor.product(jnp.asarray(b)), A @ b, rtol=rtol, atol=1e-11)
    for ridge in RIDGES:
        wanted = np.linalg.solve(A + ridge * np.eye(len(A)), b)
        found = factor.solve(jnp.asarray(ridge), jnp.asarray(b))
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-10 / ridge)
    power = np.maximum(np.einsum("ip,ij,jp->p", b, A, b), 0)
    np.testing.assert_allclose(factor.rms(jnp.asarray(b)), np.sqrt(power), rtol=rtol)
    assert factor.mean == pytest.approx(mean, rel=1e-12)


def mean_diagonal(A):
    return np.mean(np.diag(A)[np.diag(A) != 0])


KINDS = ("plain", "dead inputs", "copied inputs", "few rows")


@pytest.mark.parametrize("kind", KINDS)
def test_exact_factors_are_the_dense_matrix(kind):
    x, weight = rows(kind)
    A = moment_of(x, weight)
    check(factor_of(A), A, mean_diagonal(A))
    root = np.sqrt(weight)[:, None]
    a = jnp.asarray(np.column_stack([x * root, root]))
    check(DenseFactor.of(a), A, mean_diagonal(A))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [1, 3])
def test_low_rank_factors_are_the_leading_eigenvectors_and_a_mean(monkeypatch, kind, rank):
    monkeypatch.setattr(senn.factors, "EXACT_INPUTS", I)  # the constant is one too many
    monkeypatch.setattr(senn.factors, "RANK", rank)
    A = moment_of(*rows(kind))
    values, vectors = np.linalg.eigh(A)
    U, rest = vectors[:, -rank:], np.mean(values[:-rank])
    low = U * values[-rank:] @ U.T + rest * (np.eye(len(A)) - U @ U.T)
    factor = factor_of(A)
    assert factor.vectors.shape == (I + 1, rank)
    check(factor, low, mean_diagonal(A))  # the mean is that of A itself
    assert np.trace(low) == pytest.approx(np.trace(A))


def test_the_randomised_method_finds_the_same(monkeypatch):
    J, rank = 40, 6
    draw = np.random.default_rng(1)
    Q, _ = np.linalg.qr(draw.normal(size=(J, J)))
    A = Q * np.append(np.geomspace(100, 10, rank), np.full(J - rank, 0.5)) @ Q.T
    monkeypatch.setattr(senn.factors, "EXACT_INPUTS", 10)
    monkeypatch.setattr(senn.factors, "RANK", rank)
    exact = factor_of(A)
    monkeypatch.setattr(senn.factors, "EIGH_INPUTS", 20)
    randomised = factor_of(A)
    np.testing.assert_allclose(exact.product(jnp.eye(J)), A, atol=1e-10)
    np.testing.assert_allclose(randomised.product(jnp.eye(J)), A, atol=1e-3)
    assert randomised.rest == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("most", [I, 100])
def test_inputs_not_seen_yet_count_as_white(monkeypatch, most):
    monkeypatch.setattr(senn.factors, "EXACT_INPUTS", most)
    monkeypatch.setattr(senn.factors, "RANK", 2)
    blank, seen = InputFactor.identity(I, float), factor_of(moment_of(*rows()))
    check(blank, np.eye(I + 1), 1.0)
    for leaf, other in zip(vars(blank).values(), vars(seen).values(), strict=True):
        assert leaf.shape == other.shape  # what is compiled for the one serves the other
        assert leaf.dtype == other.dtype


def test_factors_keep_the_type_that_they_are_given():
    factor = InputFactor.of(InputMoment(moment_of(*rows()), N), jnp.float32)
    assert {leaf.dtype for leaf in vars(factor).values()} == {np.dtype(np.float32)}
    assert factor.solve(jnp.float32(0.1), jnp.ones((I + 1, 1), jnp.float32)).dtype == jnp.float32


# --- accumulation -----------------------------------------------------------------------------

NOTHING = InputMoment(np.zeros((I + 1, I + 1)), 0)


@pytest.mark.parametrize("at_once", [1, 7, 1000])
@pytest.mark.parametrize("cuts", [[], [5], [1, 2, 30], [13, 26, 39]], ids=str)
def test_moments_in_pieces_are_that_of_all_rows(monkeypatch, at_once, cuts):
    monkeypatch.setattr("senn.batches.moment.ROWS_AT_ONCE", at_once)
    x, weight = rows()
    moment = NOTHING
    for piece in np.split(np.arange(N), cuts):
        moment = moment.with_more(Batch.of(x[piece], np.zeros(len(piece)), weight[piece]))
    assert moment.rows == N
    np.testing.assert_allclose(moment.matrix, moment_of(x, weight), rtol=1e-12)


def test_weights_are_repetitions_in_a_moment():
    x, times = rows()[0], rng.integers(0, 4, N)
    again = np.repeat(np.arange(N), times)
    weighted = NOTHING.with_more(Batch.of(x, np.zeros(N), times))
    repeated = NOTHING.with_more(Batch.of(x[again], np.zeros(len(again))))
    np.testing.assert_allclose(
        weighted.matrix * weighted.rows, repeated.matrix * repeated.rows, rtol=1e-12
    )


@pytest.mark.parametrize("at_once", [7, 1000])
def test_rows_that_are_not_finite_are_left_out(monkeypatch, at_once):
    monkeypatch.setattr("senn.batches.moment.ROWS_AT_ONCE", at_once)
    x, weight = rows()
    bad = x.copy()
    bad[3, 2], bad[20, 0] = np.nan, np.inf
    moment = NOTHING.with_more(Batch.of(bad, np.zeros(N), weight))
    fine = np.isfinite(bad).all(axis=1)
    assert moment.rows == N - 2
    np.testing.assert_allclose(moment.matrix, moment_of(x[fine], weight[fine]), rtol=1e-12)
    none = NOTHING.with_more(Batch.of(np.full((2, I), np.nan), np.zeros(2)))
    assert none.rows == 0
    assert not none.matrix.any()


def test_arrays_know_the_moment_of_all_their_rows():
    x, weight = rows()
    source = ArraySource(Batch.of(x, np.zeros(N), weight), 8, np.random.default_rng(0))
    for _ in range(2):
        assert source.rows == source.input_moment().rows == N
        np.testing.assert_allclose(source.input_moment().matrix, moment_of(x, weight), rtol=1e-12)
        source.chunk(2, 2)


@pytest.mark.parametrize("watched", [True, False])
def test_streams_know_the_moment_of_the_rows_given_out(watched):
    x, weight = rows()
    stream = (
        (x[i : i + 7], np.zeros(len(x[i : i + 7])), weight[i : i + 7]) for i in range(0, N, 7)
    )
    source = StreamSource(stream, 4, 16, watch_inputs=watched)
    assert source.rows == source.input_moment().rows == 0
    seen = 0
    while (chunk := source.chunk(3, 2)) is not None:
        counted = chunk.data.weight[chunk.rows[: chunk.n]]  # of three batches two count
        seen += np.count_nonzero(counted)
        assert source.rows == seen
        assert source.input_moment().rows == (seen if watched else 0)
        if watched:
            np.testing.assert_allclose(
                source.input_moment().matrix, moment_of(x[:seen], weight[:seen]), rtol=1e-12
            )
    assert seen == N
