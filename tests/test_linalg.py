"""Conjugate gradients against dense solves and Lineax; means; solves with second moments."""

import jax
import jax.numpy as jnp
import lineax
import numpy as np
import pytest

from senn.linalg import (
    conjugate_gradients,
    inverse_root,
    leading_eigenpairs,
    relative_ridge,
    running_mean,
    solve_psd,
    solve_small,
    solve_stack,
    tree_dot,
    whiteners,
)

rng = np.random.default_rng(2)
n = 8


def symmetric(eigenvalues):
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    return jnp.asarray((q * eigenvalues) @ q.T)


b = jnp.asarray(rng.normal(size=n))
WELL = symmetric(np.linspace(1, 3, n))
ILL = symmetric(np.logspace(0, 6, n))
INDEFINITE = symmetric(np.linspace(-1, 3, n))


@jax.jit
def solve(A, b, start, rtol, max_steps):
    return conjugate_gradients(lambda v: A @ v, b, start, rtol=rtol, max_steps=max_steps)


def cg(A, b, start=None, rtol=1e-12, max_steps=100):
    return solve(A, b, jnp.zeros_like(b) if start is None else start, rtol, max_steps)


def relative_residual(A, x, b):
    return np.linalg.norm(b - A @ x) / np.linalg.norm(b)


@pytest.mark.parametrize("A", [WELL, ILL], ids=["well", "ill"])
def test_cg_solves(A):
    result = cg(A, b)
    np.testing.assert_allclose(result.solution, np.linalg.solve(A, b), rtol=1e-6)
    assert result.positive
    assert result.finite
    assert result.residual <= 1e-12
    assert relative_residual(A, result.solution, b) < 1e-9
    assert n <= result.steps < 100
    operator = lineax.MatrixLinearOperator(A, lineax.positive_semidefinite_tag)
    other = lineax.linear_solve(operator, b, lineax.CG(rtol=1e-10, atol=1e-10, max_steps=200))
    np.testing.assert_allclose(result.solution, other.value, rtol=1e-4)


@pytest.mark.parametrize("rtol", [1e-1, 1e-3, 1e-6])
def test_cg_stops_at_the_first_residual_below_rtol(rtol):
    result = cg(WELL, b, rtol=rtol)
    assert result.residual == pytest.approx(relative_residual(WELL, result.solution, b), rel=1e-6)
    assert result.residual <= rtol
    before = cg(WELL, b, rtol=rtol, max_steps=int(result.steps) - 1)
    assert before.residual > rtol
    assert before.steps == result.steps - 1


def test_cg_minimises_over_krylov_spaces():
    """After k steps x minimises ½xᵀAx − bᵀx over span{b, Ab, …}: this is CG and nothing else."""
    for steps in (1, 2, 4):
        K = np.stack([np.linalg.matrix_power(WELL, k) @ b for k in range(steps)], axis=1)
        wanted = K @ np.linalg.solve(K.T @ WELL @ K, K.T @ b)
        np.testing.assert_allclose(cg(WELL, b, max_steps=steps).solution, wanted, rtol=1e-8)


def test_cg_of_zero():
    result = cg(WELL, jnp.zeros(n))
    np.testing.assert_array_equal(result.solution, 0)
    assert (result.steps, result.residual) == (0, 0)
    assert result.positive
    assert result.finite


def test_cg_of_zero_from_elsewhere():
    """b = 0 with a warm start: the solution goes to zero and stays finite."""
    result = cg(WELL, jnp.zeros(n), start=b)
    np.testing.assert_allclose(result.solution, 0, atol=1e-12)
    assert result.finite
    assert result.residual == 0


def test_cg_warm_start():
    exact = jnp.linalg.solve(WELL, b)
    result = cg(WELL, b, start=exact, rtol=1e-8)
    assert result.steps == 0
    np.testing.assert_array_equal(result.solution, exact)
    near = cg(WELL, b, start=exact + 1e-3 * b, rtol=1e-6)
    assert 0 < near.steps < cg(WELL, b, rtol=1e-6).steps
    np.testing.assert_allclose(near.solution, exact, rtol=1e-5)


def test_cg_respects_max_steps():
    for steps in (0, 1, 3):
        result = cg(ILL, b, max_steps=steps)
        assert result.steps == steps
        assert result.residual == pytest.approx(relative_residual(ILL, result.solution, b))


def test_cg_on_an_indefinite_operator_returns_the_last_good_x():
    result = cg(INDEFINITE, b)
    assert not result.positive
    assert result.finite
    good = cg(INDEFINITE, b, max_steps=int(result.steps))
    np.testing.assert_array_equal(result.solution, good.solution)
    assert good.positive
    assert result.residual == pytest.approx(relative_residual(INDEFINITE, result.solution, b))
    result = cg(-WELL, b)  # no good step at all
    assert not result.positive
    assert result.steps == 0
    np.testing.assert_array_equal(result.solution, 0)


def test_cg_on_a_singular_operator():
    A = symmetric(np.r_[0, 0, np.linspace(1, 2, n - 2)])
    inside = A @ b
    result = cg(A, inside)
    assert relative_residual(A, result.solution, inside) < 1e-10
    assert np.linalg.norm(cg(A, b).solution) < 1e3 * np.linalg.norm(b) or not cg(A, b).positive


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_cg_keeps_nan_out_of_the_solution(bad):
    for A, v in ((WELL.at[0, 0].set(bad), b), (WELL, b.at[0].set(bad))):
        result = cg(A, v)
        assert not result.finite
        assert np.isfinite(result.solution).all()
        assert result.steps == 0

    def later(v):  # fails from the second direction on; the first is b
        first = (jnp.linalg.norm(v) == 0) | (jnp.linalg.norm(v - b) < 1e-3)
        return jnp.where(first, 1.0, bad) * (WELL @ v)

    result = conjugate_gradients(later, b)
    assert not result.finite
    assert result.steps == 1
    np.testing.assert_allclose(result.solution, b * (b @ b) / (b @ WELL @ b), rtol=1e-12)


def test_cg_on_trees():
    """Trees with empty places, such as a network's gradients have, and without jit."""
    tree = {"w": (b[:6].reshape(2, 3), None), "b": b[6:], "n": None}

    def operator(t):
        v = WELL @ jnp.concatenate([t["w"][0].ravel(), t["b"]])
        return {"w": (v[:6].reshape(2, 3), None), "b": v[6:], "n": None}

    result = conjugate_gradients(operator, tree, rtol=1e-12)
    assert jax.tree.structure(result.solution) == jax.tree.structure(tree)
    found = np.concatenate([np.ravel(a) for a in jax.tree.leaves(result.solution)])
    wanted = np.linalg.solve(WELL, np.r_[b[6:], b[:6]][np.r_[2:8, 0:2]])
    np.testing.assert_allclose(found, np.r_[wanted[6:], wanted[:6]], rtol=1e-9)
    assert tree_dot(tree, tree) == pytest.approx(b @ b)


def test_relative_ridge():
    A = jnp.diag(jnp.array([2.0, 0.0, 4.0]))
    assert relative_ridge(A, 0.1) == pytest.approx(0.3)  # zeros are slots not in use
    assert relative_ridge(A, 0.0) == 0
    assert relative_ridge(jnp.zeros((3, 3)), 0.1) == pytest.approx(0.1)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("singular", [False, True])
def test_solves_of_regular_matrices(ridge, singular):
    c = jnp.asarray(rng.normal(size=(n, 3)))
    dense = WELL + ridge * np.eye(n)
    for v in (b, c):
        np.testing.assert_allclose(
            solve_psd(WELL, v, ridge, singular=singular), np.linalg.solve(dense, v), rtol=1e-10
        )
    R = inverse_root(WELL, ridge, singular=singular)
    np.testing.assert_allclose(R @ R.T, np.linalg.inv(dense), atol=1e-13)


def test_solves_of_singular_matrices_are_pseudo_inverses():
    for eigenvalues in (np.r_[0, 0, np.logspace(-6, 2, n - 2)], np.zeros(n)):
        A = symmetric(eigenvalues)
        pinv = np.linalg.pinv(A, 1e-12, hermitian=True)
        np.testing.assert_allclose(
            solve_psd(A, b, 0.0, singular=True), pinv @ b, rtol=1e-6, atol=1e-12
        )
        R = inverse_root(A, 0.0, singular=True)
        np.testing.assert_allclose(R @ R.T, pinv, rtol=1e-6, atol=1e-8 * np.abs(pinv).max())


@pytest.mark.parametrize("size", [1, 3])
def test_small_systems_one_by_one(size):
    root = rng.normal(size=(9, size, size + 1))
    A, right = root @ root.transpose(0, 2, 1) + 1e-3 * np.eye(size), rng.normal(size=(size, 9))
    wanted = np.linalg.solve(A, right.T[..., None])[..., 0].T
    found = solve_small(jnp.asarray(A), jnp.asarray(right))
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_a_running_mean_is_plain_while_young_and_then_keeps_its_share():
    values, count = rng.normal(size=(7, 3)), jnp.asarray(4)
    mean = {"x": jnp.zeros(3, jnp.float32), "n": count}
    for age, value in enumerate(values):
        new = {"x": jnp.asarray(value, jnp.float32), "n": count + age}
        mean = running_mean(mean, new, 0.75, jnp.asarray(age))
        if age < 4:
            wanted = values[: age + 1].mean(axis=0)
        else:
            wanted = 0.75 * wanted + 0.25 * value
        np.testing.assert_allclose(mean["x"], wanted, rtol=1e-5, atol=1e-6)
        assert mean["x"].dtype == jnp.float32
        assert mean["n"] == count + age


# --- stacks of small matrices, without LAPACK ---------------------------------------------------


def small_ones(n, count=200, seed=0):
    """Second moments on very different scales, the first of them 0, the second the identity."""
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(count, n, 4)) * np.exp(3 * rng.normal(size=(count, n, 1)))
    A = B @ B.transpose(0, 2, 1)
    A[0], A[1] = 0, np.eye(n)
    return A


@pytest.mark.parametrize("n", [1, 2, 3])
def test_leading_eigenpairs_of_small_matrices(n):
    A = small_ones(n)
    values, vectors = map(np.asarray, jax.jit(leading_eigenpairs)(A))
    np.testing.assert_allclose(values, np.linalg.eigvalsh(A)[:, -1], rtol=1e-13)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-13)
    left = np.einsum("cij,cj->ci", A, vectors) - values[:, None] * vectors
    assert (np.abs(left).max(axis=1) <= 1e-13 * values).all()


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_stacks_are_solved(n):
    rng = np.random.default_rng(n)
    B, b = rng.normal(size=(9, n, n)), rng.normal(size=(9, n, 3))
    A = B @ B.transpose(0, 2, 1) + 0.1 * np.eye(n)
    np.testing.assert_allclose(jax.jit(solve_stack)(A, b), np.linalg.solve(A, b), rtol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_whiteners_of_small_matrices(n):
    A = small_ones(n)
    A += (0.03 * np.trace(A, axis1=1, axis2=2) + 1e-3)[:, None, None] * np.eye(n)
    W = np.asarray(jax.jit(whiteners)(A))
    np.testing.assert_array_equal(W, np.tril(W))
    np.testing.assert_allclose(
        W @ A @ W.transpose(0, 2, 1), np.broadcast_to(np.eye(n), A.shape), atol=1e-12
    )
