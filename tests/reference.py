"""Slow references in float64: dense matrices, straight from the paper's formulas.

Nothing here calls `senn`; a network is only read (its weights, sizes and which layers are
residual). Derivatives are complex steps, Im f(x + ih) / h, exact to rounding.
"""

from typing import NamedTuple

import numpy as np
import scipy.special as special

STEP = 1e-30  # of complex-step derivatives: no subtraction, hence no cancellation


# --- networks ---------------------------------------------------------------------------------


def _relu(z):
    return np.where(z.real > 0, z, 0)


def _silu(z):
    return z / (1 + np.exp(-z))


def _gelu(z):  # the tanh form, JAX's own default
    return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


FIXED = {"relu": _relu, "silu": _silu, "gelu": _gelu, "tanh": np.tanh}


def sigma(name, z, theta=None):
    if name != "rational":
        return FIXED[name](z)
    alpha, beta, gamma = theta
    return alpha * z + (beta + gamma * z) / (1 + z**2)


def node_sizes(network):
    return [
        network.hidden[0].dense.weights[0].shape[0]
        if network.hidden
        else network.readout.weights[0].shape[0],
        *(int((h.born >= 0).sum()) for h in network.hidden),
    ]


def read_nodes(network):
    """The nodes that each linear map reads: node 0 is the input, node l + 1 hidden layer l."""
    nodes, read = [0], []
    for layer, hidden in enumerate(network.hidden):
        read.append(list(nodes))
        nodes = [*nodes, layer + 1] if hidden.residual else [layer + 1]
    return [*read, list(nodes)]


def active(network, tree=None):
    """The active entries of a network-shaped tree: [W, b, θ, W, b, θ, …, W, b], θ if rational."""
    tree = network if tree is None else tree
    sizes, arrays = node_sizes(network), []
    outs = [*sizes[1:], network.readout.bias.shape[0]]
    denses = [*(h.dense for h in tree.hidden), tree.readout]
    for m, (dense, nodes, out) in enumerate(zip(denses, read_nodes(network), outs, strict=True)):
        blocks = [
            np.asarray(w)[: sizes[n], :out] for w, n in zip(dense.weights, nodes, strict=True)
        ]
        arrays += [np.concatenate(blocks), np.asarray(dense.bias)[:out]]
        if m < len(network.hidden) and network.activation.learned:
            arrays.append(np.asarray(tree.hidden[m].activation.theta)[:, :out])
    return [a.astype(np.float64) for a in arrays]


def flat(arrays):
    return np.concatenate([a.ravel() for a in arrays])


def forward(network, x, arrays=None, shifts=None):
    """Outputs [N, O], and what every map reads [N, I] without the constant."""
    arrays = iter(active(network) if arrays is None else arrays)
    values, read = [np.asarray(x, np.float64)], []
    for m, nodes in enumerate(read_nodes(network)):
        read.append(np.concatenate([values[n] for n in nodes], axis=1))
        z = read[-1] @ next(arrays) + next(arrays) + (0 if shifts is None else shifts[m])
        if m < len(network.hidden):
            theta = next(arrays) if network.activation.learned else None
            values.append(sigma(network.activation.name, z, theta))
    return z, read


def jacobian(network, x):
    """∂y/∂p [N, O, P] for all active parameters p, in the order of `flat(active(network))`."""
    arrays, columns = active(network), []
    for k, array in enumerate(arrays):
        for i in np.ndindex(array.shape):
            moved = [a.astype(complex) for a in arrays]
            moved[k][i] += 1j * STEP
            columns.append(forward(network, x, moved)[0].imag / STEP)
    return np.stack(columns, axis=-1)


def map_jacobians(network, x):
    """∂y/∂z_l [N, O, O_l] for the outputs z_l of every linear map l."""
    sizes = [*node_sizes(network)[1:], network.readout.bias.shape[0]]
    result = []
    for m, size in enumerate(sizes):
        columns = []
        for unit in np.eye(size):
            shifts = [0.0] * len(sizes)
            shifts[m] = 1j * STEP * unit
            columns.append(forward(network, x, shifts=shifts)[0].imag / STEP)
        result.append(np.stack(columns, axis=-1))
    return result


# --- losses and metrics -----------------------------------------------------------------------


def loss_values(name, y, t):
    y, t = np.asarray(y, np.float64), np.asarray(t)
    if name == "softmax_cross_entropy":
        return -special.log_softmax(y, axis=-1)[np.arange(len(t)), t]
    t = np.reshape(t, y.shape)
    if name == "binary_cross_entropy":
        return -np.sum(t * special.log_expit(y) + (1 - t) * special.log_expit(-y), axis=-1)
    return 0.5 * np.sum((y - t) ** 2, axis=-1)


def loss_gradients(name, y, t):
    y, t = np.asarray(y, np.float64), np.asarray(t)
    if name == "softmax_cross_entropy":
        return special.softmax(y, axis=-1) - np.eye(y.shape[-1])[t]
    t = np.reshape(t, y.shape)
    return special.expit(y) - t if name == "binary_cross_entropy" else y - t


def metric_matrices(metric, loss, y):
    """M [N, O, O]."""
    y = np.asarray(y, np.float64)
    eye = np.broadcast_to(np.eye(y.shape[-1]), (*y.shape, y.shape[-1]))
    if metric == "euclidean" or loss == "squared_error":
        return eye.copy()
    if loss == "binary_cross_entropy":
        return eye * (special.expit(y) * special.expit(-y))[:, None]
    p = special.softmax(y, axis=-1)
    return np.stack([np.diag(q) - np.outer(q, q) for q in p])


# --- scores -----------------------------------------------------------------------------------


class Problem(NamedTuple):
    """A network's outputs on a batch: its Jacobian, metric, loss gradients and weights."""

    J: np.ndarray
    M: np.ndarray
    g_y: np.ndarray
    w: np.ndarray


def problem(network, loss, metric, x, t, w=None):
    y = forward(network, x)[0]
    w = np.ones(len(x)) if w is None else np.asarray(w)
    M = metric_matrices(metric, loss, y)
    return Problem(jacobian(network, x), M, loss_gradients(loss, y, t), w)


def fisher(p):
    """F = E[w JᵀMJ]."""
    return np.einsum("n,nop,noq,nqr->pr", p.w, p.J, p.M, p.J) / len(p.w)


def gradient(p):
    """E[w Jᵀg_y]."""
    return np.einsum("n,nop,no->p", p.w, p.J, p.g_y) / len(p.w)


def network_score(p, damping):
    """η = gᵀ(F + εI)⁻¹g (definition 1)."""
    F, g = fisher(p), gradient(p)
    return g @ np.linalg.solve(F + damping * np.eye(len(g)), g)


def limit(p):
    """λ = E[w g_yᵀM⁺g_y] (section 3.5)."""
    inverse = np.linalg.pinv(p.M, 1e-12, hermitian=True)
    return np.mean(p.w * np.einsum("no,nop,np->n", p.g_y, inverse, p.g_y))


def factors(network, loss, metric, x, t, w=None):
    """For every linear map (a, g, S): inputs with the constant, loss gradient, E[w Jᵀ M J]."""
    y, read = forward(network, x)
    w = np.ones(len(x)) if w is None else np.asarray(w)
    g_y, M = loss_gradients(loss, y, t), metric_matrices(metric, loss, y)
    return [
        (
            np.column_stack([a, np.ones(len(a))]),
            np.einsum("nop,no->np", J, g_y),
            np.einsum("n,nop,noq,nqr->pr", w, J, M, J) / len(x),
        )
        for a, J in zip(read, map_jacobians(network, x), strict=True)
    ]


def ridge(A, damping):
    """ε × mean diagonal, zeros aside."""
    diagonal = np.diag(A)[np.diag(A) != 0]
    return damping * (diagonal.mean() if len(diagonal) else 1.0)


def kronecker_score(a, g, S, ridge_a, ridge_s):
    """gᵀ((S + ε_S I) ⊗ (A + ε_A I))⁻¹g, the Kronecker product written out (section 3.6)."""
    A = np.mean([np.outer(v, v) for v in a], axis=0) + ridge_a * np.eye(a.shape[1])
    G = np.mean([np.outer(s, v) for s, v in zip(g, a, strict=True)], axis=0)
    F = np.kron(S + ridge_s * np.eye(len(S)), A)
    return G.ravel() @ np.linalg.solve(F, G.ravel())


def projected_score(a, g, S, rtol=1e-9):
    """‖P g S^(−½)‖² / N, P the projection onto the columns of a: η without damping (eq. 1)."""
    u, s, _ = np.linalg.svd(a, full_matrices=False)
    values, vectors = np.linalg.eigh(S)
    keep = values > rtol * values.max()
    white = g @ (vectors[:, keep] / np.sqrt(values[keep]))
    return np.sum((u[:, s > rtol * s.max()].T @ white) ** 2) / len(a)


def removal_price(a, W, S, ridge_a):
    """The least rise of ½ δᵀ((A + ε_A I) ⊗ S)δ with δ = −w at one input and free at all others.

    For every input in turn, the Kronecker product written out; a [N, T, I].
    """
    n, t, inputs = a.shape
    A = sum(np.outer(v, v) for example in a for v in example) / (n * t) + ridge_a * np.eye(inputs)
    F, owner, prices = np.kron(A, S), np.repeat(np.arange(inputs), len(S)), []
    for u in range(inputs):
        held, free = np.flatnonzero(owner == u), np.flatnonzero(owner != u)
        delta = np.zeros(len(F))
        delta[held] = -W[u]
        pull = F[np.ix_(free, held)] @ delta[held]
        delta[free] = -np.linalg.lstsq(F[np.ix_(free, free)], pull, rcond=1e-12)[0]
        prices.append(0.5 * delta @ F @ delta)
    return np.array(prices)
