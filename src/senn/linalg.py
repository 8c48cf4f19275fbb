"""Conjugate gradients, running means, and solves with positive semi-definite matrices."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Bool, Float, Int

Tree = TypeVar("Tree")
SOME = 0.618  # its powers are a vector to which no eigenvector is orthogonal, but by design


class CGResult(NamedTuple):
    """What conjugate gradients found, and how it ended."""

    solution: object
    steps: Int[Array, ""]
    residual: Float[Array, ""]  # ‖b − Ax‖ / ‖b‖; 0 for b = 0
    positive: Bool[Array, ""]  # no direction of curvature ≤ 0 was met
    finite: Bool[Array, ""]  # no NaN or infinity was met


class _CGState(NamedTuple):
    x: object
    r: object
    p: object
    rr: Float[Array, ""]
    steps: Int[Array, ""]
    positive: Bool[Array, ""]
    finite: Bool[Array, ""]


def conjugate_gradients(
    operator: Callable[[Tree], Tree],
    b: Tree,
    start: Tree | None = None,
    *,
    max_steps: int | Int[Array, ""] = 100,
    rtol: float | Float[Array, ""] = 1e-4,
) -> CGResult:
    """Solve Ax = b for a symmetric positive definite A, given as a function on trees of arrays.

    Stops when ‖b − Ax‖ ≤ rtol ‖b‖, after `max_steps`, or before the first step along which A
    does not curve upwards or produces a value that is not finite; the last good x is returned.
    (Lineax tests convergence element by element and hides the residual; hence our own.)
    """
    x: Any = jax.tree.map(jnp.zeros_like, b) if start is None else start
    r = _axpy(-1.0, operator(x), b)
    norm = jnp.sqrt(tree_dot(b, b))
    rr = tree_dot(r, r)
    yes = jnp.array(True)
    initial = _CGState(x, r, r, rr, jnp.array(0), yes, jnp.isfinite(rr) & jnp.isfinite(norm))

    def unfinished(s: _CGState):
        return (s.steps < max_steps) & (jnp.sqrt(s.rr) > rtol * norm) & s.positive & s.finite

    final = jax.lax.while_loop(unfinished, lambda s: _cg_step(operator, s), initial)
    residual = jnp.where(norm > 0, jnp.sqrt(final.rr) / jnp.where(norm > 0, norm, 1), 0)
    return CGResult(final.x, final.steps, residual, final.positive, final.finite)


def _cg_step(operator: Callable, s: _CGState) -> _CGState:
    ap = operator(s.p)
    curvature = tree_dot(s.p, ap)
    step = s.rr / curvature
    r = _axpy(-step, ap, s.r)
    rr = tree_dot(r, r)
    positive, finite = ~(curvature <= 0), jnp.isfinite(rr) & jnp.isfinite(curvature)
    taken = _CGState(
        _axpy(step, s.p, s.x), r, _axpy(rr / s.rr, s.p, r), rr, s.steps + 1, positive, finite
    )
    kept = s._replace(positive=positive, finite=finite)
    good = positive & finite
    return jax.tree.map(lambda new, old: jnp.where(good, new, old), taken, kept)


def tree_dot(x: Any, y: Any) -> Float[Array, ""]:
    """The inner product of two trees of arrays.

    Down the columns first, those of all leaves with as many of them together: a sum of a matrix at
    once compiles to several loops.
    """
    columns: dict[int, Array] = {}
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        product = jnp.atleast_1d(a * b)
        width = product.shape[-1]
        columns[width] = columns.get(width, 0) + jnp.sum(product.reshape(-1, width), axis=0)
    return jnp.asarray(sum(jnp.sum(sums) for sums in columns.values()))  # in the type of the leaves


def running_mean(
    mean: Tree, new: Tree, decay: float | Float[Array, ""], age: Int[Array, ""]
) -> Tree:
    """The mean of `age` trees with one more; it keeps `decay` of itself, less while it is young.

    Young it is the plain mean. Leaves that are no floating-point arrays are those of `new`.
    """

    def of(m, n):
        if not eqx.is_inexact_array(n):
            return n
        young = age.astype(n.dtype)
        old = jnp.minimum(young / (young + 1), decay).astype(n.dtype)
        return old * m + (1 - old) * n

    return jax.tree.map(of, mean, new)


def log_det(A: Float[Array, "P n n"]) -> Float[Array, " P"]:
    """ln |det A| of every matrix, by elimination in AᵀA.

    Not by `slogdet`: jaxlib's batched LAPACK calls wait inside XLA's thread pool for helpers from
    that pool, and two of them at once lock a pool of two threads.
    """
    least = jnp.finfo(A.dtype).tiny

    def eliminate(gram, unit):
        column = gram @ unit
        pivot = jnp.maximum(column @ unit, least)
        rest = gram - column[:, :, None] * (column / pivot[:, None])[:, None, :]
        return rest, jnp.log(pivot)

    gram = jnp.einsum("pik,pil->pkl", A, A)
    logs = jax.lax.scan(eliminate, gram, jnp.eye(A.shape[-1], dtype=A.dtype))[1]
    return 0.5 * jnp.sum(logs, axis=0)


def _axpy(scale, x, y):
    return jax.tree.map(lambda a, b: scale * a + b, x, y)


def relative_ridge(A: Float[Array, "n n"], damping: float | Float[Array, ""]) -> Float[Array, ""]:
    """`damping` × the mean of the non-zero diagonal entries of a second moment.

    A zero there means a slot or an input that is always zero; leaving those out makes the
    ridge the same with and without dormant slots. For A = 0 it is `damping` itself.
    """
    own = diagonal(A)
    total, n = jnp.sum(jnp.stack([own, (own != 0).astype(A.dtype)]), axis=1)
    return damping * jnp.where(n > 0, total / jnp.maximum(n, 1), 1)


def diagonal(A: Float[Array, "*c n n"]) -> Float[Array, "*c n"]:
    """The diagonals, as sums: a gather compiles longer."""
    return jnp.sum(A * jnp.eye(A.shape[-1], dtype=A.dtype), axis=-1)


def solve_psd(A: Float[Array, "n n"], b: Float[Array, "n *k"], ridge, *, singular: bool = False):
    """(A + ridge·I)⁻¹ b by Cholesky.

    With `singular` (A may lack full rank, ridge = 0) by eigenvectors instead, those with
    eigenvalues below n · eps · the largest being left out.
    """
    if not singular:
        damped = A + ridge * jnp.eye(A.shape[0], dtype=A.dtype)
        return jsl.cho_solve(jsl.cho_factor(damped, lower=True), b)
    root = inverse_root(A, ridge, singular=True)
    return root @ (root.T @ b)


def inverse(A: Float[Array, "n n"], ridge: Float[Array, ""] | float) -> Float[Array, "n n"]:
    """(A + ridge·I)⁻¹ by Cholesky; rows and columns of zeros stay apart from the others."""
    return solve_psd(A, jnp.eye(A.shape[0], dtype=A.dtype), ridge)


def solve_small(A: Float[Array, "c n n"], b: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """A⁻¹b for a stack of small symmetric positive definite matrices, by unrolled elimination.

    Not by LAPACK: jaxlib's batched calls wait inside XLA's thread pool for helpers from that
    pool, and several of them at once, as for several layers, can lock a pool of two threads.
    """
    n = A.shape[-1]
    rows = [[A[:, i, j] for j in range(n)] for i in range(n)]
    x = [b[i] for i in range(n)]
    for i in range(n):
        for k in range(i + 1, n):
            share = rows[k][i] / rows[i][i]
            rows[k] = [u - share * v for u, v in zip(rows[k], rows[i], strict=True)]
            x[k] = x[k] - share * x[i]
    for i in reversed(range(n)):
        known = sum((rows[i][j] * x[j] for j in range(i + 1, n)), jnp.zeros_like(x[i]))
        x[i] = (x[i] - known) / rows[i][i]
    return jnp.stack(x)


def solve_stack(A: Float[Array, "c n n"], b: Float[Array, "c n k"]) -> Float[Array, "c n k"]:
    """A⁻¹b for a stack of symmetric positive definite matrices, by Gauss and Jordan's elimination.

    For sizes at which `solve_small` would be a long program; not by LAPACK for the same reason.
    """
    n = A.shape[-1]

    def eliminate(rows, unit):
        column = rows[:, :, :n] @ unit
        own = jnp.einsum("n,cnk->ck", unit, rows) / (column @ unit)[:, None]
        return rows - (column - unit)[:, :, None] * own[:, None], None

    rows = jnp.concatenate([A, b], axis=2)
    return jax.lax.scan(eliminate, rows, jnp.eye(n, dtype=A.dtype))[0][:, :, n:]


def whiteners(A: Float[Array, "c n n"]) -> Float[Array, "c n n"]:
    """L⁻¹ of A = L Lᵀ for small positive definite matrices, unrolled (see `solve_small`)."""
    n = A.shape[-1]
    L: dict[tuple[int, int], Array] = {}
    M = {(i, j): jnp.zeros_like(A[:, 0, 0]) for i in range(n) for j in range(n)}
    for i in range(n):
        for j in range(i):
            L[i, j] = (A[:, i, j] - sum(L[i, k] * L[j, k] for k in range(j))) / L[j, j]
        L[i, i] = jnp.sqrt(A[:, i, i] - sum(L[i, k] ** 2 for k in range(i)))
        M[i, i] = 1 / L[i, i]
        for j in range(i):
            M[i, j] = -sum(L[i, k] * M[k, j] for k in range(j, i)) / L[i, i]
    return jnp.stack([jnp.stack([M[i, j] for j in range(n)], 1) for i in range(n)], 1)


def leading_eigenpairs(A: Float[Array, "c n n"]) -> tuple[Float[Array, " c"], Float[Array, "c n"]]:
    """The largest eigenvalue of each of a stack of small symmetric matrices, and its vector.

    By squaring, which leaves of A only its leading part: after k squarings the others have the
    share (λ/λ₁)^2ᵏ. What a tie at rounding leaves beside it explains as much. Not by LAPACK (see
    `solve_small`).
    """
    own, n = jnp.finfo(A.dtype), A.shape[-1]

    def scaled(A):
        return A / jnp.maximum(jnp.max(jnp.abs(A), axis=(1, 2), keepdims=True), own.tiny)

    power = jax.lax.fori_loop(0, own.nmant + 1, lambda _, A: scaled(A @ A), scaled(A))
    some = SOME ** jnp.arange(n, dtype=A.dtype)[:, None]
    column = power @ some
    column = jnp.where(jnp.all(column == 0, axis=1, keepdims=True), some, column)  # of A = 0
    vector = column / jnp.sqrt(jnp.sum(column**2, axis=1, keepdims=True))
    return jnp.sum(vector * (A @ vector), axis=(1, 2)), vector[..., 0]


def inverse_root(A: Float[Array, "n n"], ridge, *, singular: bool = False) -> Float[Array, "n n"]:
    """R with R Rᵀ = (A + ridge·I)⁻¹; for `singular` see `solve_psd`."""
    eye = jnp.eye(A.shape[0], dtype=A.dtype)
    if not singular:
        return jsl.solve_triangular(jnp.linalg.cholesky(A + ridge * eye), eye, lower=True).T
    values, vectors = jnp.linalg.eigh(A + ridge * eye)
    keep = values > A.shape[0] * jnp.finfo(A.dtype).eps * jnp.max(jnp.abs(values))
    return vectors * jnp.where(keep, 1 / jnp.sqrt(jnp.where(keep, values, 1)), 0)
