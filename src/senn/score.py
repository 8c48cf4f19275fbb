"""The natural expansion score and what adding units does to it: pure functions on arrays.

Letters are the paper's: `a` [N, I] are the inputs of one linear map, the constant included,
`g` [N, O] the loss gradient at its outputs per example (not divided by N), `S` [O, O] the
second moment of output-metric gradients there. `damping` is relative: ε_A = damping × mean
diagonal of A_c and ε_S = damping × mean diagonal of S (diagonal zeros aside), the same ε_A
being added to A_c, to A_p and to the joint A, so that Theorem 2 holds exactly. Without damping,
singular moments are inverted on their range. Weighted examples: scale the rows of a and g by
the square root of their weights.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from senn.batches import Batch
from senn.curvature import gauss_newton, loss_gradient
from senn.linalg import (
    CGResult,
    conjugate_gradients,
    diagonal,
    inverse,
    inverse_root,
    relative_ridge,
    solve_psd,
    tree_dot,
)
from senn.losses import AbstractLoss, AbstractMetric
from senn.nn.tapped import AbstractTapped


class Residual(NamedTuple):
    """What a linear map's inputs leave of the gradient, whitened: all that Δη′ needs.

    Computed once, it serves any number of proposals (appendix A.2).
    """

    coefficients: Float[Array, "I O"]  # A⁻¹E[a gᵀ] S^(−½): predicts the whitened gradient
    whitener: Float[Array, "O O"]  # R with R Rᵀ = S⁻¹
    ridge: Float[Array, ""]  # ε_A
    score: Float[Array, ""]  # η of the map as it is

    def __call__(self, a: Float[Array, "*N I"], g: Float[Array, "*N O"]) -> Float[Array, "*N O"]:
        """g_r S^(−½) on any examples."""
        return g @ self.whitener - a @ self.coefficients


def residual(
    a: Float[Array, "N I"], g: Float[Array, "N O"], S: Float[Array, "O O"], damping: float = 0.0
) -> Residual:
    """Regress the whitened gradient on the map's inputs (section 3.6)."""
    return residual_of(a.T @ a / a.shape[0], a.T @ g / a.shape[0], S, damping)


def residual_of(
    A: Float[Array, "I I"],
    G: Float[Array, "I O"],
    S: Float[Array, "O O"],
    damping: float = 0.0,
    ridge: Float[Array, ""] | None = None,
) -> Residual:
    """`residual` by the moments A = E[a aᵀ] and G = E[a gᵀ]; with another ε_A, if it is given."""
    ridge = relative_ridge(A, damping) if ridge is None else ridge
    whitener = inverse_root(S, relative_ridge(S, damping), singular=damping == 0)
    G = G @ whitener
    coefficients = solve_psd(A, G, ridge, singular=damping == 0)
    return Residual(coefficients, whitener, ridge, jnp.sum(G * coefficients))


def natural_expansion_score(
    a: Float[Array, "N I"], g: Float[Array, "N O"], S: Float[Array, "O O"], damping: float = 0.0
) -> Float[Array, ""]:
    """η = Tr[S⁻¹ E[g aᵀ] A⁻¹ E[a gᵀ]] of one linear map (definition 1, section 3.6)."""
    return residual(a, g, S, damping).score


def residual_gradient(
    a: Float[Array, "N I"], g: Float[Array, "N O"], damping: float = 0.0
) -> Float[Array, "N O"]:
    """g_r = g − E[g aᵀ] A⁻¹ a [N, O], what the inputs do not predict of the gradient."""
    A, ridge = _moment(a, damping)
    return g - a @ solve_psd(A, a.T @ g / a.shape[0], ridge, singular=damping == 0)


def score_increase(
    a: Float[Array, "N I"],
    a_new: Float[Array, "N K"],
    g: Float[Array, "N O"],
    S: Float[Array, "O O"],
    damping: float = 0.0,
) -> Float[Array, ""]:
    """Δη, exactly: η with the K new inputs less η without (corollary 3.1)."""
    A, ridge = _moment(a, damping)
    C = a.T @ a_new / a.shape[0]
    schur = a_new.T @ a_new / a.shape[0] - C.T @ solve_psd(A, C, ridge, singular=damping == 0)
    r = residual(a, g, S, damping)(a, g)
    return _explained(schur, a_new, r, ridge, singular=damping == 0)


def score_increase_bound(
    a: Float[Array, "N I"],
    a_new: Float[Array, "N K"],
    g: Float[Array, "N O"],
    S: Float[Array, "O O"],
    damping: float = 0.0,
) -> Float[Array, ""]:
    """Δη′ = Tr[A_p⁻¹ E[a_p g_rᵀ] S⁻¹ E[g_r a_pᵀ]] ≤ Δη (theorem 2)."""
    fit = residual(a, g, S, damping)
    return explained(a_new, fit(a, g), fit.ridge, singular=damping == 0)


def line_score(
    a: Float[Array, "N T K"],
    g: Float[Array, "N T O"],
    s: Float[Array, "N T O"],
    S: Float[Array, "O O"],
    damping: float = 0.0,
) -> Float[Array, ""]:
    """(C·V)² / E[(Σₜ sₜᵀVᵀaₜ)²] of inputs of a map that is applied at T positions.

    V = A⁻¹ C S⁻¹ with C = E[Σₜ aₜ gₜᵀ] is the step that K-FAC takes, along which the loss falls at
    the rate C·V. A ⊗ S has the positions for independent, and then C·V is the curvature along V
    too, and the score; where they are not, it may be many times as large. So it is measured, by
    draws s of the output metric. With F = E[vec(Σₜ aₜsₜᵀ) vec(Σₜ aₜsₜᵀ)ᵀ], the exact block of these
    weights, the inequality of Cauchy and Schwarz has

        (C·V)² / VᵀFV ≤ Cᵀ F⁻¹ C,

    so that the score is never above that by the exact block, and equal to it where F = A ⊗ S, as
    for T = 1 and draws that do not depend on a. Given new inputs and g_r for g it stands for Δη′,
    given all inputs of a map and g for η.

    Args:
        a: the inputs, at T positions of each of N examples.
        g: loss gradients at the outputs, or what is left of them.
        s: draws of the output metric there.
        S: their second moment, summed over positions.
        damping: as in all of this module; what it adds to A ⊗ S is added to the curvature.
    """
    A, ridge = _moment(a.reshape(-1, a.shape[-1]), damping)
    whitener = inverse_root(S, relative_ridge(S, damping), singular=damping == 0)
    C = jnp.einsum("ntk,nto->ko", a, g @ whitener) / a.shape[0]
    V = solve_psd(A, C, ridge, singular=damping == 0)
    along = jnp.einsum("ntk,ko,nto->n", a, V, s @ whitener)
    return repaired(
        jnp.sum(C * V), jnp.mean(along**2), factored_curvature(A, V, whitener.T @ S @ whitener)
    )


def factored_curvature(
    A: Float[Array, "*p K K"], V: Float[Array, "*p K O"], S: Float[Array, "O O"]
) -> Float[Array, "*p"]:
    """Vᵀ (A ⊗ S) V."""
    return jnp.sum((A @ V) * (V @ S), axis=(-2, -1))


def repaired(
    score: Float[Array, "*p"], measured: Float[Array, "*p"], factored: Float[Array, "*p"]
) -> Float[Array, "*p"]:
    """A score C·V by the curvature that was measured along V, in place of the factored one.

    C·V is the factored curvature and what damping adds to it.
    """
    curvature = score + measured - factored
    return jnp.where(curvature > 0, score**2 / jnp.where(curvature > 0, curvature, 1), 0)


def removal_price(
    a: Float[Array, "N *T I"],
    W: Float[Array, "I O"],
    S: Float[Array, "O O"],
    damping: float = 0.0,
) -> Float[Array, " I"]:
    """½ s_u w_u S w_uᵀ [I]: the loss of doing without input u of one linear map.

    In the quadratic model with curvature A ⊗ S this is the least rise when the weights w_u of u
    [O] are held at zero and all others of the map are free; s_u = 1/[A⁻¹]_uu is what the other
    inputs leave of u. These are the factors of Δη, on the scale of ½ Δη: a unit that was never
    trained is worth half its Δη, a trained one its price. What a unit is worth to a network is the
    sum over the maps that read it. The surgery is that of Hassibi and Stork (1993), with the
    Kronecker factors in place of their Hessian.

    Args:
        a: what the map reads, the constant included, at T positions each if there are several.
        W: its weights, that of the constant included.
        S: second moment of output-metric gradients, summed over positions.
        damping: as in all of this module, ε_A = damping × mean diagonal of A; then the price is
            that of the curvature (A + ε_A I) ⊗ S. Without, an input that others replace is free.
    """
    rows = a.reshape(-1, a.shape[-1])
    A, ridge = _moment(rows, damping)
    if damping == 0:
        values, vectors = jnp.linalg.eigh(A)
        own = jnp.finfo(A.dtype)
        floor = jnp.maximum(A.shape[0] * own.eps * jnp.max(jnp.abs(values)), own.tiny)
        spread = vectors**2 @ (1 / jnp.maximum(values, floor))
    else:
        spread = diagonal(inverse(A, ridge))
    return 0.5 / spread * jnp.sum((W @ S) * W, axis=1)


def explained(
    a_new: Float[Array, "N K"],
    r: Float[Array, "N O"],
    ridge: Float[Array, ""] | float,
    *,
    singular: bool = False,
) -> Float[Array, ""]:
    """Δη′ of activations a_new, given the whitened residual gradient r of a `Residual`."""
    return _explained(a_new.T @ a_new / a_new.shape[0], a_new, r, ridge, singular=singular)


def _explained(A, a_new, r, ridge, *, singular: bool) -> Float[Array, ""]:
    C = a_new.T @ r / a_new.shape[0]
    return jnp.sum(C * solve_psd(A, C, ridge, singular=singular))


def _moment(a: Float[Array, "N I"], damping: float):
    A = a.T @ a / a.shape[0]
    return A, relative_ridge(A, damping)


def max_additions(lam: float, alpha: float, tau: float) -> int:
    """Theorem 1: the most additions in a row, the largest integer below 1 + ln(λ/α) / ln τ.

    Every addition multiplies η by more than `tau` and adds more than `alpha`; η never exceeds
    `lam`. Zero if `alpha` is not below `lam`.
    """
    if not (tau > 1 and alpha > 0 and 0 <= lam < math.inf):
        raise ValueError(
            "Theorem 1 needs tau > 1, alpha > 0 and a finite lam >= 0; "
            f"got {tau=}, {alpha=}, {lam=}."
        )
    if lam <= alpha:
        return 0
    steps = (math.log(lam) - math.log(alpha)) / math.log(tau)
    return math.ceil(steps * (1 - 1e-12))  # so that rounding adds none to a whole number


@eqx.filter_jit  # else its loops would be compiled at every call
def network_expansion_score(
    network: AbstractTapped,
    loss: AbstractLoss,
    metric: AbstractMetric,
    batch: Batch,
    *,
    damping: float | Float[Array, ""] = 0.1,
    max_steps: int = 100,
    rtol: float = 1e-4,
) -> tuple[Float[Array, ""], CGResult]:
    """η = gᵀ(F + εI)⁻¹g of the whole network, by conjugate gradients (definition 1).

    `damping` is absolute here, the Tikhonov ε of appendix C. The `CGResult` holds the natural
    gradient itself.
    """
    _, g = loss_gradient(network, loss, batch)
    product = gauss_newton(network, metric, batch)
    result = conjugate_gradients(
        lambda v: jax.tree.map(lambda fv, u: fv + damping * u, product(v), v),
        eqx.filter(g, eqx.is_inexact_array),
        max_steps=max_steps,
        rtol=rtol,
    )
    return tree_dot(g, result.solution), result
