"""What every compiled program returns, beside the same in float64 by NumPy: prints one JSON.

    PJRT_NPROC=2 python tests/right_numbers.py

XLA's CPU client reads its number of threads when it starts, hence a process for each. Rows are as
many as no loop likes: a power of two, one more, one less, and other odd numbers. `reference.py` has
what is fast enough for that; what is not is written here once more, for whole arrays and for
networks whose layers read the one before.
"""

import itertools
import json
import os
import sys
import time
from importlib.metadata import version
from typing import NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special as special

from reference import STEP, active, loss_gradients, loss_values, sigma
from senn.arrays import following, to_device
from senn.batches import Batch, InputMoment
from senn.curvature import EXACT_OUTPUTS
from senn.evaluation import _forward, _forward_and_loss, evaluate, outputs
from senn.growth import Task, _moments, find
from senn.losses import make_loss, make_metric, signs
from senn.machine import keep_no_compilations
from senn.nn import MLP
from senn.nn.activation import Rational
from senn.optimizers import KFAC, NaturalGradient, Optax
from senn.proposals import GradientAscent, Projection, Random
from senn.proposals.base import Sample, search_keys
from senn.proposals.problem import Problem, residuals
from senn.proposals.projection import (
    RATE_GAIN,
    RATE_LOSS,
    SOURCE_DAMPING,
    THETA_RIDGE,
    nearly_normal,
)
from senn.proposals.units import draw_units
from senn.score import network_expansion_score
from senn.training import TrainState, train_chunk, train_large_chunk

ROWS = (32_767, 32_768, 32_769, 40_001, 65_537)
CALLS = 20 if os.environ.get("PJRT_NPROC") == "1" else 200
rng = np.random.default_rng(0)
checks: dict[str, dict[str, float]] = {}  # of every case the error of each result
bits: dict[str, int] = {}  # different results of so many calls of a program


def error(got, wanted) -> float:
    """The largest difference, of the largest number."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    assert got.shape == wanted.shape, (got.shape, wanted.shape)
    return float(np.max(np.abs(got - wanted)) / max(np.max(np.abs(wanted)), 1e-30))


def compare(name: str, **pairs) -> None:
    """Remember the errors of pairs (what a program returned, what is right)."""
    checks[name] = {part: error(*pair) for part, pair in pairs.items()}


def repeat(name: str, call) -> None:
    """Count the results of many calls on the same buffers."""
    seen = set()
    for _ in range(CALLS):
        leaves = [v for v in jax.tree.leaves(call()) if hasattr(v, "dtype")]
        seen.add(b"".join(np.asarray(_plain(v)).tobytes() for v in leaves))
    bits[name] = len(seen)


def _plain(v):
    return jax.random.key_data(v) if jax.dtypes.issubdtype(v.dtype, jax.dtypes.prng_key) else v


# --- networks in float64 ------------------------------------------------------------------


class Pass(NamedTuple):
    """A network on a batch."""

    weights: list  # of every map, [I, O]
    biases: list
    thetas: list  # of every hidden layer
    a: list  # what every map reads, the constant last
    z: list  # what every activation gets
    slopes: list  # of the activations there
    y: np.ndarray

    def back(self, v):
        """Vᵀ∂y at the outputs of every map, and of every activation."""
        maps, activations = [v], []
        for weight, slope in zip(self.weights[:0:-1], self.slopes[::-1], strict=True):
            activations.append(maps[-1] @ weight.T)
            maps.append(activations[-1] * slope)
        return maps[::-1], activations[::-1]


def forward(network, x, arrays=None) -> Pass:
    arrays = active(network) if arrays is None else arrays
    step = 3 if network.activation.learned else 2
    hidden = arrays[: step * len(network.hidden)]
    weights, biases = [*hidden[::step], arrays[-2]], [*hidden[1::step], arrays[-1]]
    thetas = hidden[2::step] if step == 3 else [None] * len(network.hidden)
    h, a, z, slopes = np.asarray(x, np.float64), [], [], []
    for weight, bias, theta in itertools.zip_longest(weights, biases, thetas):
        a.append(np.column_stack([h, np.ones(len(h))]))
        out = h @ weight + bias
        if len(a) == len(weights):
            return Pass(weights, biases, thetas, a, z, slopes, out)
        z.append(out)
        moved = sigma(network.activation.name, out + 1j * STEP, theta)
        h = moved.real
        slopes.append(moved.imag / STEP)
    raise AssertionError


def root(loss, metric, y, u):
    """R u, R Rᵀ = M."""
    if metric == "euclidean" or loss == "squared_error":
        return u
    p = special.softmax(y, axis=1)
    v = np.sqrt(p) * u
    return v - p * v.sum(axis=1, keepdims=True)


def features(z):
    even = 1 / (1 + z**2)
    return np.stack([z, even, z * even])


def jacobian(network, passed):
    """∂y/∂p [O, N, P], in the order of `active`."""
    columns = []
    for unit in np.eye(passed.y.shape[1]):
        maps, activations = passed.back(np.broadcast_to(unit, passed.y.shape))
        parts = []
        for m, (a, g) in enumerate(zip(passed.a, maps, strict=True)):
            parts += [np.einsum("ni,no->nio", a[:, :-1], g).reshape(len(a), -1), g]
            if m < len(activations) and network.activation.learned:
                by_theta = features(passed.z[m]) * activations[m]  # [3, N, c]
                parts.append(by_theta.transpose(1, 0, 2).reshape(len(a), -1))
        columns.append(np.concatenate(parts, axis=1))
    return np.stack(columns)


def curvature_and_gradient(network, loss, metric, batch, arrays=None, *, curved=True):
    """E[w JᵀMJ], unless it is not wanted, and E[w Jᵀg_y], and the mean loss."""
    passed = forward(network, batch.x, arrays)
    weight, J = np.asarray(batch.weight, np.float64), jacobian(network, passed)
    g_y = loss_gradients(loss, passed.y, batch.y)
    gradient = np.tensordot(J, (g_y * weight[:, None]).T, ([0, 1], [0, 1])) / len(weight)
    F = 0
    for unit in np.eye(J.shape[0]) if curved else ():
        column = root(loss, metric, passed.y, np.broadcast_to(unit, passed.y.shape))
        rooted = np.einsum("onp,no->np", J, column)
        F = F + (rooted * weight[:, None]).T @ rooted / len(weight)
    return F, gradient, np.mean(weight * loss_values(loss, passed.y, batch.y))


def unflat(vector, arrays):
    ends = np.cumsum([a.size for a in arrays])[:-1]
    pieces = np.split(vector, ends)
    return [p.reshape(a.shape) for p, a in zip(pieces, arrays, strict=True)]


def flat(arrays):
    return np.concatenate([np.ravel(a) for a in arrays])


def mean_diagonal(A):
    diagonal = np.diagonal(A)
    return diagonal[diagonal != 0].mean()


# --- cases ----------------------------------------------------------------------------------


def network_of(inputs, hidden, outs, capacity=1, activation="rational"):
    """A network without spare slots, unless there shall be some."""
    key = jax.random.key(inputs + outs)
    return MLP(inputs, outs, hidden, key=key, capacity=capacity, activation=activation)


def batch_of(n, inputs, outs, loss) -> Batch:
    x = rng.normal(size=(n, inputs))
    codes = rng.integers(outs, size=n).astype(np.int32)
    y = codes if loss == "softmax_cross_entropy" else rng.normal(size=(n, outs))
    return Batch.of(x, y, rng.uniform(0.5, 1.5, size=n))


def on_host(batch) -> Batch:
    return Batch(*(np.asarray(part) for part in batch))


# Inputs, hidden layers, outputs, slots, loss, metric.
NETWORKS = {
    "1-1": (1, (), 1, 1, "squared_error", "euclidean"),
    "3-3-3": (3, (3,), 3, 1, "softmax_cross_entropy", "fisher"),
    "7-33 of 64-2": (7, (33,), 2, 64, "softmax_cross_entropy", "fisher"),
    "3-2": (3, (), 2, 1, "softmax_cross_entropy", "euclidean"),
    "65-7-33": (65, (7,), 33, 1, "softmax_cross_entropy", "fisher"),
}
ODD = [("3-2", 65_537), ("7-33 of 64-2", 40_001), ("65-7-33", 32_767)]
CHEAP = [*(("3-3-3", n) for n in ROWS), ("1-1", 32_769), *ODD]
DEAR = [("3-3-3", 32_769), ("3-3-3", 32_768), *ODD]


def evaluations() -> None:
    for name, n in CHEAP:
        inputs, hidden, outs, slots, loss, _ = NETWORKS[name]
        network, batch = network_of(inputs, hidden, outs, slots), batch_of(n, inputs, outs, loss)
        passed = forward(network, batch.x)
        y, host = passed.y, on_host(batch)
        losses = loss_values(loss, y, host.y)
        block = slice(1024)
        got = _forward_and_loss(network, make_loss(loss), host.x[block], host.y[block])
        whole = _forward(network, batch.x)  # more rows at once than `outputs` takes
        compare(
            f"evaluation: {name}, {n} rows",
            outputs=(outputs(network, host.x), y),
            loss=(
                evaluate(network, make_loss(loss), host).loss,
                np.average(losses, weights=host.weight),
            ),
            block=(got[0], y[block]),
            block_losses=(got[1], losses[block]),
            at_once=(whole, y),
            at_once_losses=(
                _forward_and_loss(network, make_loss(loss), batch.x, batch.y)[1],
                losses,
            ),
        )
    few = batch[:8193]
    repeat("_forward", lambda: _forward(network, few.x))
    repeat("_forward_and_loss", lambda: _forward_and_loss(network, make_loss(loss), few.x, few.y))


def moments_and_residuals() -> None:
    key, damping = jax.random.key(3), 0.01
    for name, n in DEAR:
        inputs, hidden, outs, slots, loss, metric = NETWORKS[name]
        network, batch = network_of(inputs, hidden, outs, slots), batch_of(n, inputs, outs, loss)
        given = (make_loss(loss), make_metric(metric, make_loss(loss)), batch, key)
        found = _moments(network, *given)
        _check_moments(f"_moments: {name}, {n} rows", found, network, loss, metric, batch, key)
        reader = found.maps[-1]
        got = residuals(((reader, reader),), damping=damping)
        _check_residuals(f"residuals: {name}, {n} rows", got, reader, damping)
    few = batch[:2049]
    repeat("_moments", lambda: _moments(network, *given[:2], few, key))
    small = _moments(network, *given[:2], few, key).maps[-1]
    repeat("residuals", lambda: residuals(((small, small),), damping=damping))


def _check_moments(name, found, network, loss, metric, batch, key) -> None:
    passed, weight = forward(network, batch.x), np.asarray(batch.weight, np.float64)
    outs, host = passed.y.shape[1], on_host(batch)
    g_y, losses = loss_gradients(loss, passed.y, host.y), loss_values(loss, passed.y, host.y)
    g, by_root = passed.back(g_y)[0], np.sqrt(weight)[:, None]
    S = [0.0] * len(g)
    drawn = outs > EXACT_OUTPUTS
    of_block = jax.random.fold_in(key, 0)  # rows that are no whole blocks are one
    us = np.asarray(signs(of_block, passed.y.shape, jnp.float32))[None] if drawn else np.eye(outs)
    for u in us:
        draws = passed.back(root(loss, metric, passed.y, np.broadcast_to(u, passed.y.shape)))[0]
        S = [s + (by_root * d).T @ (by_root * d) / len(d) for s, d in zip(S, draws, strict=True)]
    p = special.softmax(passed.y, axis=1)
    lengths = np.sum(g_y**2 / (p if metric == "fisher" else 1), axis=1)
    means = {
        "loss": (found.loss, np.mean(weight * losses)),
        "limit": (found.limit, np.mean(weight * lengths)),
        "reach": (
            found.reach, np.mean(weight * (2 * losses if metric == "fisher" else lengths)),
        ),
    }  # fmt: skip
    for m, at in enumerate(found.maps):
        a = passed.a[m] * by_root
        I, O = a.shape[1] - 1, g[m].shape[1]  # noqa: E741
        means |= {
            f"a{m}": (np.column_stack([at.a[:, :I], at.a[:, -1]]), a),
            f"g{m}": (at.g[:, :O], g[m] * by_root),
            f"S{m}": (at.S[:O, :O], S[m]),
        }
        assert not np.any(at.a[:, I:-1])
        assert not np.any(at.g[:, O:])
    compare(name, **means)


def _check_residuals(name, got, reader, damping) -> None:
    a, g, S, _ = (np.asarray(v, np.float64) for v in reader)
    A, n = a.T @ a / len(a), len(a)
    ridge = damping * mean_diagonal(A)
    S = S + damping * mean_diagonal(S) * np.eye(len(S))
    whitener = np.linalg.inv(np.linalg.cholesky(S)).T
    G = a.T @ (g @ whitener) / n
    coefficients = np.linalg.solve(A + ridge * np.eye(len(A)), G)
    r = g @ whitener - a @ coefficients
    power = np.mean(a[:, :-1] ** 2, axis=0)
    compare(
        name,
        fit=(got[0][0], r),
        held_out=(got[0][1], r),
        ridge=(got[1][0], ridge),
        rms=(got[1][1], np.sqrt(power[power > 0].mean())),
        score=(got[1][2], np.sum(G * coefficients)),
    )


# --- searches -------------------------------------------------------------------------------


def problem_of(n, inputs, outs, *, spread, square=False) -> Problem:
    """Random inputs and a residual gradient that follows some of them."""
    J, O = (129, 64) if spread else (inputs + 1, outs)  # noqa: E741

    def sample() -> Sample:
        x, by_root = rng.normal(size=(n, inputs)), np.sqrt(rng.uniform(0.5, 1.5, (n, 1)))
        r = np.zeros((n, O))
        mixed = np.tanh(x @ mix[0] + 0.5) @ mix[1]
        r[:, :outs] = mixed - mixed.mean(axis=0) + 0.3 * rng.normal(size=(n, outs))
        a = np.zeros((n, J))
        a[:, :inputs], a[:, -1] = x, 1
        rows = (a * by_root, r * by_root, by_root[:, 0])
        return Sample(*(to_device(v, np.float32) for v in rows))

    mix = rng.normal(size=(inputs, 3)), rng.normal(size=(3, outs))
    usable = np.arange(J - 1) < inputs
    ridge, rms, eta = (to_device(v, np.float32) for v in (0.01, 1.1, 0.5))
    units = usable if square else np.ones(1, bool)
    return Problem(
        sample(), sample(), ridge, rms, eta, None, usable, units, Rational, square=square
    )


class Sample64(NamedTuple):
    a: np.ndarray
    r: np.ndarray

    @classmethod
    def of(cls, sample):
        return cls(np.asarray(sample.a, np.float64), np.asarray(sample.r, np.float64))

    def phi(self, w):
        """Features [3, N, P] times the root of the weights."""
        return features(self.a @ w.T / self.a[:, -1:]) * self.a[:, -1:]


class Fit64:
    """`projection.Fit`."""

    def __init__(self, sample, w):
        phi, n = sample.phi(w), len(sample.a)
        N = np.einsum("fnp,gnp->pfg", phi, phi, optimize=True) / n
        C = np.einsum("fnp,no->pfo", phi, sample.r, optimize=True) / n
        size = np.sqrt(np.diagonal(N, axis1=1, axis2=2))
        L = np.linalg.cholesky(N / (size[:, :, None] * size[:, None]) + THETA_RIDGE * np.eye(3))
        white = np.linalg.solve(L, C / size[:, :, None])
        values, vectors = np.linalg.eigh(white @ white.mT)
        self.score = values[:, -1]
        self.theta = np.linalg.solve(L.mT, vectors[:, :, -1:])[:, :, 0] / size
        self.power = np.einsum("pf,pfg,pg->p", self.theta, N, self.theta)
        self.outgoing = np.einsum("pf,pfo->po", self.theta, C) / self.power[:, None]
        self.explained = self.power * np.sum(self.outgoing**2, axis=1)

    def slope(self, sample, w):
        z, by_root = sample.a @ w.T / sample.a[:, -1:], sample.a[:, -1:]
        a = np.einsum("pf,fnp->np", self.theta, features(z + 1j * STEP))
        scale = self.explained / self.power
        by_a = sample.r @ self.outgoing.T - a.real * by_root * scale
        return (2 / len(z)) * (a.imag / STEP * by_a).T @ sample.a

    def gain(self, sample, w):
        a = np.einsum("pf,fnp->np", self.theta, sample.phi(w))
        return np.sum(a.T @ sample.r * self.outgoing, axis=1) / len(a)


def projection(problem, search, key):
    """The weights and coefficients that `Projection.search` ends with."""
    whole = Sample64.of(problem.fit)
    fit, check = (Sample64(*(v[start::2] for v in whole)) for start in (0, 1))
    few = Sample64(*(v[: search.screening_rows] for v in fit))
    A = fit.a.T @ fit.a / len(fit.a)
    damped = A + SOURCE_DAMPING * mean_diagonal(A) * np.eye(len(A))

    def rms(w):
        return np.sqrt(np.sum(w @ A * w, axis=1, keepdims=True))

    linear = np.linalg.solve(damped, fit.a.T @ fit.r / len(fit.a))
    rows, columns = linear.shape
    draw = np.asarray(nearly_normal(key, (search.screened, rows + columns + 2), jnp.float32))
    draw = draw.astype(np.float64)
    w = draw[:, rows : rows + columns] @ linear.T
    w[::2] = draw[::2, :rows] * np.append(problem.inputs, False)
    w /= rms(np.column_stack([w[:, :-1], np.zeros(len(w))]))
    scale, mean = np.exp(draw[:, -2]), w @ A[:, -1]
    w = w * scale[:, None]
    w[:, -1] = scale * (draw[:, -1] - mean)
    w = w[np.argsort(-Fit64(few, w).score)[: search.candidates]]

    rate = np.full(len(w), search.rate / RATE_GAIN)
    value = best_gain = np.full(len(w), -np.inf)
    direction, best, theta = np.zeros_like(w), w, np.zeros((len(w), 3))
    for _ in range(search.steps + 1):
        tried = w + rate[:, None] * direction
        found = Fit64(fit, tried)
        step = np.linalg.solve(damped, found.slope(fit, tried).T).T
        step *= rms(tried) / rms(step)
        gain, better = found.gain(check, tried), found.explained > value
        w = np.where(better[:, None], tried, w)
        direction = np.where(better[:, None], step, direction)
        rate = np.where(better, rate * RATE_GAIN, rate / RATE_LOSS)
        kept = better & (gain > best_gain)
        best, best_gain = np.where(kept[:, None], tried, best), np.where(kept, gain, best_gain)
        theta = np.where(kept[:, None], found.theta, theta)
        value = np.where(better, found.explained, value)
    return best, theta * float(problem.unit_rms)


def picked(problem, w, theta, count):
    """The units chosen in turn, and their three scores."""
    here, there = (
        np.einsum("pf,fnp->pn", theta, Sample64.of(s).phi(w))
        for s in (problem.fit, problem.held_out)
    )
    r, r_there = (Sample64.of(s).r for s in (problem.fit, problem.held_out))
    n, chosen, scores = here.shape[1], [], []
    A = here @ here.T / n + float(problem.ridge) * np.eye(len(here))
    C = here @ r / n
    for _ in range(count):
        left = [p for p in range(len(w)) if p not in chosen]
        gains = [C[p] @ C[p] / A[p, p] for p in left]
        p = left[int(np.argmax(gains))]
        each = there[p] * (r_there @ (C[p] / A[p, p]))
        error_ = np.std(each, ddof=1) / np.sqrt(n)
        chosen, scores = [*chosen, p], [*scores, (max(gains), each.mean(), error_)]
        share = A[:, p] / A[p, p]
        A, C, there = (m - share[:, None] * m[p] for m in (A, C, there))
    return chosen, np.transpose(scores), here


def _check_search(name, found, problem, w, theta, count, unit_scale=None) -> None:
    chosen, scores, here = picked(problem, w, theta, count)
    if unit_scale is not None:
        rms = np.sqrt(np.mean(here**2, axis=1))
        theta = theta * (unit_scale * float(problem.unit_rms) / rms)[:, None]
    got = np.concatenate([found.units.weight[:count, :, 0], found.units.bias[:count]], axis=1)
    compare(
        name,
        fit_score=(found.fit_score[:count], scores[0]),
        score=(found.score[:count], scores[1]),
        stderr=(found.stderr[:count], scores[2]),
        weights=(got, w[chosen]),
        theta=(np.abs(found.units.theta[:count, :, 0]), np.abs(theta[chosen])),
    )


def searches() -> None:
    key = jax.random.key(5)
    search_key, _ = search_keys(key, 3)
    search = Projection(candidates=4, screened=16, steps=2)
    for n, inputs, outs in ((40_001, 7, 3), (32_768, 7, 3)):
        problem = problem_of(n, inputs, outs, spread=True)
        found = find(Task(search, problem, np.arange(inputs), 3, 0.3), key)
        found64 = projection(problem, search, search_key)
        _check_search(f"find: {n} rows, {inputs} inputs", found, problem, *found64, 3, 0.3)
    problem = problem_of(1024, 3, 2, spread=True)
    repeat("find", lambda: find(Task(search, problem, np.arange(inputs), 3, 0.3), key))


def proposals() -> None:
    key = jax.random.key(6)
    search_key, _ = search_keys(key, 2)
    # 3 candidates and 3 outputs: sums over the products of such matrices have been wrong.
    cases = [(32_769, 3, 3), (40_001, 3, 3), (40_001, 2, 3), (65_537, 7, 1)]
    for n, candidates, outs in cases:
        problem = problem_of(n, 3, outs, spread=False)
        search = Random(candidates=candidates)
        found = search.propose(problem, key, 2)
        units = draw_units(problem, candidates, search_key)
        w = np.concatenate([units.weight[..., 0], units.bias], axis=1).astype(np.float64)
        theta = np.asarray(units.theta, np.float64)[..., 0]
        name = f"propose: {n} rows, {candidates} candidates, {outs} outputs"
        _check_search(name, found, problem, w, theta, 2)
    for n, inputs, outs in ((40_001, 3, 3),):
        problem = problem_of(n, inputs, outs, spread=False, square=True)
        found = GradientAscent(candidates=2, steps=1).propose(problem, key)
        _check_square(f"propose, square: {n} rows, {inputs} inputs", found, problem)
    problem = problem_of(8192, 3, 3, spread=True, square=True)
    for seed in range(6):  # some of which choose a candidate other than the first
        found = find(
            Task(Random(candidates=8), problem, np.arange(3), 1, 0.3), jax.random.key(seed)
        )
        _check_square(f"find, square: 8192 rows, key {seed}", found, problem)
    problem = problem_of(2049, 3, 3, spread=False)
    repeat("propose", lambda: Random(candidates=3).propose(problem, key, 2))


def _check_square(name, found, problem) -> None:
    """The scores of the units that were found."""
    w = np.concatenate([found.units.weight[0], found.units.bias]).T.astype(np.float64)
    theta = np.asarray(found.units.theta[0], np.float64)
    samples = [Sample64.of(s) for s in (problem.fit, problem.held_out)]
    here, there = (np.einsum("fp,fnp->np", theta, s.phi(w)) for s in samples)
    n, (r, r_there) = len(here), (s.r for s in samples)
    C = here.T @ r / n
    V = np.linalg.solve(here.T @ here / n + float(problem.ridge) * np.eye(len(C)), C)
    each = np.sum(there @ V * r_there, axis=1)
    compare(
        name,
        fit_score=(found.fit_score[0], np.sum(C * V)),
        score=(found.score[0], each.mean()),
        stderr=(found.stderr[0], np.std(each, ddof=1) / np.sqrt(n)),
    )


def scores() -> None:
    for name, n in (("3-3-3", 40_001), ("1-1", 65_537), ("3-2", 32_769)):
        inputs, hidden, outs, slots, loss, metric = NETWORKS[name]
        network, batch = network_of(inputs, hidden, outs, slots), batch_of(n, inputs, outs, loss)
        given = (network, make_loss(loss), make_metric(metric, make_loss(loss)))
        eta, result = network_expansion_score(*given, batch, damping=0.1, rtol=1e-6)
        F, g, _ = curvature_and_gradient(network, loss, metric, on_host(batch))
        solution = np.linalg.solve(F + 0.1 * np.eye(len(g)), g)
        got = flat(active(network, result.solution))
        compare(f"network_expansion_score: {name}, {n} rows",
                score=(eta, g @ solution), solution=(got, solution))  # fmt: skip
    few = batch[:2049]
    repeat("network_expansion_score", lambda: network_expansion_score(*given, few, rtol=1e-6)[0])


# --- steps ----------------------------------------------------------------------------------


class Steps(NamedTuple):
    """Some steps of training."""

    network: MLP
    rule: object
    loss: str
    metric: str
    data: Batch
    rows: np.ndarray  # [steps, B]
    moment: InputMoment | None = None

    def call(self, program, at_most=None):
        state = TrainState.of(self.network, self.rule)
        if self.moment is not None:
            state = state._replace(optimizer=self.rule.observe(state.optimizer, self.moment))
        loss = make_loss(self.loss)
        scales = to_device(np.ones(len(self.rows)), np.float32)
        n = to_device(at_most or len(self.rows), np.int32)
        given = (state, self.rule, loss, make_metric(self.metric, loss), self.data)
        rows = to_device(self.rows)
        return lambda: program(*given, rows, scales, n)

    def batch(self, s) -> Batch:
        return on_host(self.data)[self.rows[s]]


def descent(steps):
    """Plain or natural gradient: the parameters after every step."""
    arrays, losses, rule = active(steps.network), [], steps.rule
    natural = isinstance(rule, NaturalGradient)
    rate = rule.learning_rate if natural else RATE
    for s in range(len(steps.rows)):
        F, g, value = curvature_and_gradient(
            steps.network, steps.loss, steps.metric, steps.batch(s), arrays, curved=natural
        )
        g = np.linalg.solve(F + rule.damping * np.eye(len(g)), g) if natural else g
        arrays = [p - rate * d for p, d in zip(arrays, unflat(g, arrays), strict=True)]
        losses.append(value)
    return arrays, losses


def kfac(steps):
    """K-FAC, its factors renewed with every step."""
    rule, network, kept, losses = steps.rule, steps.network, None, []
    arrays, key = active(network), jax.random.key(rule.seed)
    velocity = [np.zeros_like(a) for a in arrays]
    loss = make_loss(steps.loss)
    for s in range(len(steps.rows)):
        draw_key, key = key, following(key)
        batch, passed = steps.batch(s), forward(network, steps.batch(s).x, arrays)
        weight, n = np.asarray(batch.weight, np.float64)[:, None], len(batch.x)
        u = np.asarray(signs(draw_key, passed.y.shape, jnp.float32), np.float64)
        g_y = loss_gradients(steps.loss, passed.y, batch.y) * weight / n
        maps, activations = passed.back(g_y)
        draws, inner = passed.back(root(steps.loss, steps.metric, passed.y, u))
        new = [steps.moment.matrix, *((a * weight).T @ a / n for a in passed.a[1:])]
        new += [(d * weight).T @ d / n for d in draws]
        for z, d in zip(passed.z, inner, strict=True):
            phi = features(z)
            new.append(np.einsum("fnc,gnc,nc->cfg", phi, phi, weight * d**2, optimize=True) / n)
        old = min(s / (s + 1), rule.decay)
        kept = new if kept is None else [old * k + (1 - old) * v for k, v in zip(kept, new)]  # noqa: B905
        g, direction = _kfac_direction(
            steps, passed, maps, activations, kept, loss.prior / steps.moment.rows
        )
        eta = sum(np.sum(v * d) for v, d in zip(g, direction, strict=True))
        clip = np.sqrt(loss.kl_clip / max(rule.learning_rate**2 * eta, loss.kl_clip))
        velocity = [rule.momentum * v + clip * d for v, d in zip(velocity, direction, strict=True)]
        arrays = [p - rule.learning_rate * v for p, v in zip(arrays, velocity, strict=True)]
        losses.append(np.mean(weight[:, 0] * loss_values(steps.loss, passed.y, batch.y)))
    return arrays, losses


def _kfac_direction(steps, passed, maps, activations, kept, prior):
    g, direction, count, damping = [], [], len(maps), steps.rule.damping
    for m in range(count):
        A, S, inputs = kept[m], kept[count + m], passed.weights[m].shape[0]
        both = passed.a[m].T @ maps[m]
        both[:-1] += prior * inputs * passed.weights[m]
        both[-1] += prior * passed.biases[m]
        ridge = np.sqrt(damping * mean_diagonal(A) / mean_diagonal(S))
        solved = np.linalg.solve(A + ridge * np.eye(len(A)), both)
        solved = solved @ np.linalg.inv(S + damping / ridge * np.eye(len(S)))
        g, direction = [*g, both[:-1], both[-1]], [*direction, solved[:-1], solved[-1]]
        if m < count - 1:
            by_theta = np.sum(features(passed.z[m]) * activations[m], axis=1)
            by_theta += prior * passed.thetas[m]
            T = kept[2 * count + m] + damping * np.eye(3)
            g.append(by_theta)
            direction.append(np.linalg.solve(T, by_theta.T[..., None])[..., 0].T)
    return g, direction


# Network, rule, rows of the table, steps, rows of a batch, and in which programs.
RATE = 0.1
SGD = Optax(optax.sgd(RATE))
NATURAL = NaturalGradient(rtol=1e-6)
ONE, LARGE, BOTH = (train_chunk,), (train_large_chunk,), (train_chunk, train_large_chunk)
CHUNKS = {
    "gradient descent, all rows at once": ("3-3-3", SGD, 40_001, 2, 40_001, LARGE),
    "gradient descent, 33 outputs": ("65-7-33", SGD, 32_769, 2, 129, ONE),
    "natural gradient": ("3-3-3", NATURAL, 65_537, 2, 1025, ONE),
    "K-FAC, all rows at once": ("3-3-3", KFAC(), 32_769, 2, 32_769, LARGE),
    "K-FAC, 33 units of 64": ("7-33 of 64-2", KFAC(), 65_537, 3, 511, BOTH),
}


def chunks() -> None:
    for case, (name, rule, table, count, rows, programs) in CHUNKS.items():
        inputs, hidden, outs, slots, loss, metric = NETWORKS[name]
        data = batch_of(table, inputs, outs, loss)
        moment = InputMoment(np.zeros((inputs + 1,) * 2), 0).with_more(data)
        steps = Steps(
            network_of(inputs, hidden, outs, slots), rule, loss, metric, data,
            np.stack([rng.permutation(table)[:rows] for _ in range(count)]).astype(np.int32),
            moment if isinstance(rule, KFAC) else None,
        )  # fmt: skip
        arrays, losses = (kfac if isinstance(rule, KFAC) else descent)(steps)
        before, batch = active(steps.network), steps.batch(-1)
        last = loss_values(loss, forward(steps.network, batch.x, arrays).y, batch.y)
        for program in programs:
            state, infos, value = steps.call(program)()
            compare(
                f"{NAMES[program]}: {case}",
                moved=(flat(active(state.network)) - flat(before), flat(arrays) - flat(before)),
                losses=(infos.loss, losses),
                last=(value, np.mean(batch.weight * last)),
            )
    for program in BOTH:
        repeat(NAMES[program], steps.call(program, 1))


NAMES = {train_chunk: "train_chunk", train_large_chunk: "train_large_chunk"}


# --- the fault of jaxlib's that all this is about -------------------------------------------

WITHOUT = {"xla_cpu_experimental_ynn_fusion_type": ""}
SUMS = {
    "vmap(sum((M @ row)**2))": (
        lambda M, R: jax.vmap(lambda row: jnp.sum((M @ row) ** 2))(R),
        lambda M, R: np.sum((R @ M.T) ** 2, axis=1),
    ),
    "sum(M @ R.T, axis=0)": (
        lambda M, R: jnp.sum(M @ R.T, axis=0),
        lambda M, R: np.sum(M @ R.T, axis=0),
    ),
    "sum(R @ M.T, axis=1)": (
        lambda M, R: jnp.sum(R @ M.T, axis=1),
        lambda M, R: np.sum(R @ M.T, axis=1),
    ),
    "sum(R**2, axis=1)": (lambda _, R: jnp.sum(R**2, axis=1), lambda _, R: np.sum(R**2, axis=1)),
    "mean(R**2, axis=0)": (
        lambda _, R: jnp.mean(R**2, axis=0),
        lambda _, R: np.mean(R**2, axis=0),
    ),
}


def reported() -> dict[str, dict[str, int]]:
    """Of sums over the rows or columns of R [n, 3], how many numbers are wrong."""
    wrong: dict[str, dict[str, int]] = {}
    for n in ROWS:
        M, R = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 3), (n, 3)))
        for name, (function, right) in SUMS.items():
            wanted = right(M.astype(np.float64), R.astype(np.float64))
            for options in (None, WITHOUT):
                try:
                    got = np.asarray(jax.jit(function, compiler_options=options)(M, R))
                except jax.errors.JaxRuntimeError:
                    continue  # no such option any more
                count = int(np.sum(np.abs(got - wanted) > 1e-3 * np.max(np.abs(wanted))))
                if count:
                    told = name if options is None else f"{name}, without the fusions"
                    wrong.setdefault(told, {})[str(n)] = count
    return wrong


def main() -> None:
    keep_no_compilations()
    for part in (evaluations, moments_and_residuals, searches, proposals, scores, chunks):
        start = time.process_time()
        part()
        print(f"{part.__name__}: {time.process_time() - start:.1f} s", file=sys.stderr)
    found = {
        "jaxlib": version("jaxlib"),
        "threads": os.environ.get("PJRT_NPROC"),
        "checks": checks,
        "bits": bits,
        "reported": reported(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
