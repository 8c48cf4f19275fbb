"""The search for units of maps that are applied at several positions, such as channels.

What a channel adds to the rows of a map that will read it are several numbers at every position: a
patch of its own for a convolution, one number a place behind a flatten, its mean behind an average.
They are scored by the curvature measured along the step that their weights would take
(`senn.score.line_score`): by the factors A ⊗ S, which have positions for independent, early layers
would be preferred wrongly, and several times what there is to gain be promised.

Of P units with steps V_p every example has slopes h_p = Σₜ r_tᵀV_pᵀa_pt and shares of the
curvature q_p = Σₜ s_tᵀV_pᵀa_pt. Units are chosen in turn by E[h] and E[q qᵀ], so that the scores
of some add up to that of all of them, each at its best length: again a lower bound of the score
by their exact block.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from senn.compilation import QUICK, program
from senn.linalg import diagonal, relative_ridge, solve_stack
from senn.nn.activation import Activation
from senn.nn.sites import AbstractMap
from senn.positions import PositionRows, over_examples, weighted_rows
from senn.proposals.choice import Choice, choose
from senn.proposals.problem import Problem, Units
from senn.proposals.sample import Sample
from senn.score import Residual, factored_curvature, repaired, residual_of

RATE_GAIN, RATE_LOSS = 1.5, 3.0  # as of `Projection`


class View(NamedTuple):
    """A sample as those maps see it."""

    read: Any  # by the map that the units would be outputs of
    r: tuple[Float[Array, "N T O"], ...]  # whitened residual gradients at those that read them
    s: tuple[Float[Array, "N T O"], ...]  # whitened draws of the metric there
    root_weight: Float[Array, " N"]  # rows of r carry it, and those of s do not
    beside: tuple[Any, ...]  # what else of the examples has a part in what the readers read


class Steps(NamedTuple):
    """What the readers would do with units, by their factors."""

    V: tuple[Float[Array, "P n O"], ...]  # whitened outgoing weights
    score: Float[Array, " P"]  # C·V, Δη′ by the factors
    factored: Float[Array, " P"]  # the curvature along V by the factors, without damping
    rms: Float[Array, " P"]  # root mean square of the numbers that are read


class SpreadProblem(eqx.Module):
    """The search for such units, as `Problem` is that for others."""

    fit: View
    held_out: View
    metrics: tuple[Float[Array, "O O"], ...]  # S of the readers, whitened
    ridge: Float[Array, ""]  # ε_A of the readers
    unit_rms: Float[Array, ""]  # root mean square of what they read; 1 if all of it is 0
    eta: Float[Array, ""]  # η_c of the readers by the measured curvature, summed
    scale: Float[Array, ""]  # E Σₜ‖r‖²
    inputs: Bool[Array | np.ndarray, " I"]
    units: Bool[Array | np.ndarray, " 1"]
    activation: Activation = eqx.field(static=True)
    source: AbstractMap = eqx.field(static=True)
    readers: tuple[AbstractMap, ...] = eqx.field(static=True)
    blocks: tuple[int, ...] = eqx.field(static=True)  # of what each reads, where units would stand
    square: bool = eqx.field(static=True, default=False)

    @property
    def dtype(self) -> Any:
        """Of all its numbers."""
        return self.ridge.dtype

    def numbers(self, units: Units, view: View) -> tuple[Float[Array, "N T P n"], ...]:
        """What units add to the rows of every reader, times the roots of the weights."""
        z = self.source.rows(view.read)[..., : units.weight.shape[1]] @ units.weight[..., 0].T
        if self.source.bias is not None:
            z = z + units.bias[:, 0]
        phi = self.activation.features(z)
        a = phi[0] if units.theta is None else jnp.einsum("fntp,pf->ntp", phi, units.theta[..., 0])
        a, root = self.source.laid(a), view.root_weight[:, None, None, None]
        at = zip(self.readers, self.blocks, view.beside, strict=True)
        return tuple(reader.spread(a, block, beside) * root for reader, block, beside in at)

    def steps(self, units: Units) -> Steps:
        """By the factors, on the fitting sample."""

        def moments(view: View):
            return (), [
                (jnp.mean(jnp.einsum("ntpk,ntpl->npkl", a, a), axis=0) / a.shape[1],
                 jnp.einsum("ntpk,nto->pko", a, r) / len(a))
                for a, r in zip(self.numbers(units, view), view.r, strict=True)
            ]  # fmt: skip

        found = over_examples(moments, self.fit)[1]
        V = tuple(solve_stack(A + self.ridge * jnp.eye(A.shape[-1], dtype=A.dtype), C)
                  for A, C in found)  # fmt: skip
        scores = [jnp.sum(C * v, axis=(1, 2)) for (_, C), v in zip(found, V, strict=True)]
        factored = [
            factored_curvature(A, v, S) for (A, _), v, S in zip(found, V, self.metrics, strict=True)
        ]
        power = jnp.concatenate([diagonal(A) for A, _ in found], axis=1)
        return Steps(V, sum(scores), sum(factored), jnp.sqrt(jnp.mean(power, axis=1)))  # pyright: ignore[reportArgumentType]

    def along(
        self, units: Units, steps: Steps, view: View
    ) -> tuple[Float[Array, "N P"], Float[Array, "N P"]]:
        """h and q of every example, summed over positions and readers."""

        def of(view: View):
            numbers = self.numbers(units, view)
            both = (view.r, view.s)
            return tuple(
                sum(jnp.einsum("ntpk,ntpk->np", a, jnp.einsum("nto,pko->ntpk", at, v))
                    for a, v, at in zip(numbers, steps.V, signals, strict=True))
                for signals in both
            ), ()  # fmt: skip

        return over_examples(of, view)[0]

    def scores(self, units: Units) -> Float[Array, " P"]:
        """Of every unit by itself, on the fitting sample."""
        steps = self.steps(units)
        _, q = self.along(units, steps, self.fit)
        return repaired(steps.score, jnp.mean(q**2, axis=0), steps.factored)

    def choice(self, select: Callable, units: Units, keys: Key[Array, " count"]) -> Choice:
        """Units chosen in turn on the fitting sample, and judged on the other."""
        steps = self.steps(units)
        h, q = self.along(units, steps, self.fit)
        curvature = q.T @ q / len(q) + jnp.diag(steps.score - steps.factored)
        judged, _ = self.along(units, steps, self.held_out)
        fit = self._as_sample(h, self.fit.root_weight)
        held_out = self._as_sample(judged, self.held_out.root_weight)
        found = choose(select, fit, held_out, jnp.zeros_like(self.ridge), keys, curvature)
        return found._replace(rms=steps.rms[found.chosen])

    def _as_sample(self, slopes: Float[Array, "N P"], root_weight: Float[Array, " N"]) -> Sample:
        """E[a r] is E[h], and the mean square of r the scale."""
        root = jnp.sqrt(self.scale)
        return Sample(slopes / root, jnp.full((len(slopes), 1), root), root_weight)


AnyProblem = Problem | SpreadProblem


def spread_problem(
    source: tuple[AbstractMap, PositionRows, PositionRows],
    readers: Sequence[tuple[AbstractMap, PositionRows, PositionRows]],
    inputs: Bool[np.ndarray, " I"],
    activation: Activation,
    *,
    damping: float,
    blocks: Sequence[int] | None = None,
    shapes: bool = False,
) -> SpreadProblem:
    """The problem of units that are outputs of map `source`, and are read by `readers`.

    Each with what it sees on the fitting and on the held-out sample; `damping` is relative.
    `blocks` says in which of the readers' blocks the units would stand, by default in the first.
    With `shapes` rows may be mere shapes, and what the problem needs of them is compiled beside.
    """
    site, *reads = source
    found = _residuals.shapes if shapes else _residuals
    if shapes:
        _residuals.prepare(tuple(readers), damping=damping)
    sites = tuple(reader for reader, *_ in readers)

    def problem(reads: Any, computed: Any) -> SpreadProblem:
        *both, metrics, (ridge, rms, eta, scale) = computed
        fit, held_out = (
            View(read, tuple(r for r, _ in left), tuple(s for _, s in left), root_weight, beside)
            for (read, root_weight, beside), left in zip(reads, both, strict=True)
        )
        return SpreadProblem(
            fit, held_out, metrics, ridge, rms, eta, scale, inputs, np.ones(1, bool),
            activation, site, sites, tuple(blocks or (0,) * len(sites)),
        )  # fmt: skip

    parts = (tuple(reader.beside(samples[n].read) for reader, *samples in readers) for n in (0, 1))
    views = [(of.read, of.root_weight, part) for of, part in zip(reads, parts, strict=True)]
    given = views, found(tuple(readers), damping=damping)
    return eqx.filter_eval_shape(problem, *given) if shapes else problem(*given)


@program(QUICK)
def _residuals(
    readers: tuple[tuple[AbstractMap, PositionRows, PositionRows], ...], *, damping: float
):
    """Whitened residual gradients and draws on both samples; S, and numbers of the problem."""
    ridge = jnp.mean(jnp.stack([relative_ridge(of.A, damping) for _, of, _ in readers]))
    fits = [residual_of(of.A, of.G, of.S, damping, ridge) for _, of, _ in readers]
    metrics = tuple(
        fit.whitener.T @ of.S @ fit.whitener for fit, (_, of, _) in zip(fits, readers, strict=True)
    )
    both = [
        [_left(fit, reader, sample) for fit, (reader, *samples) in zip(fits, readers, strict=True)
         for sample in samples[n : n + 1]]
        for n in (0, 1)
    ]  # fmt: skip
    eta = sum(
        _eta(fit, reader, of, S, s)
        for fit, (reader, of, _), S, (_, s) in zip(fits, readers, metrics, both[0], strict=True)
    )
    power = jnp.concatenate(
        [diagonal(of.A)[: -1 if site.bias is not None else None] for site, of, _ in readers]
    )
    n = jnp.sum(power > 0)
    rms = jnp.where(n > 0, jnp.sqrt(jnp.sum(power) / jnp.maximum(n, 1)), 1).astype(ridge.dtype)
    scale = sum(jnp.mean(jnp.sum(r**2, axis=(1, 2))) for r, _ in both[0])
    return *both, metrics, (ridge, rms, eta, jnp.where(scale > 0, scale, 1))


def _left(
    fit: Residual, site: AbstractMap, sample: PositionRows
) -> tuple[Float[Array, "N T O"], Float[Array, "N T O"]]:
    """What a map's inputs leave of the gradient, and draws, both whitened."""

    def of(sample: PositionRows):
        a = weighted_rows(site, sample)
        T = a.shape[1]
        return fit(a, T * sample.g) / T, ()

    return over_examples(of, _examples(sample))[0], sample.s @ fit.whitener


def _eta(
    fit: Residual,
    site: AbstractMap,
    sample: PositionRows,
    S: Float[Array, "O O"],
    s: Float[Array, "N T O"],
) -> Float[Array, ""]:
    """η of a map as it is, by the curvature along its natural gradient."""

    def of(given: tuple[PositionRows, Array]):
        sample, s = given
        step = weighted_rows(site, sample) @ fit.coefficients
        return (), jnp.mean(jnp.sum(step * s, axis=(1, 2)) ** 2)

    measured = over_examples(of, (_examples(sample), s))[1]
    return repaired(fit.score, measured, factored_curvature(sample.A, fit.coefficients, S))


def _examples(sample: PositionRows) -> PositionRows:
    """What there is of every example alone."""
    return sample._replace(A=None, G=None, S=None)


def climbed(problem: SpreadProblem, start: Units, steps: int, rate: float) -> Units:
    """Every unit after some steps up the slope of its score, each with a rate of its own.

    A step that does not pay is taken back, and the rate cut.
    """

    def total(units: Units):
        scores = problem.scores(units)
        return jnp.sum(scores), scores

    def step(carry, _):
        units, value, slope, rates = carry
        tried = jax.tree.map(lambda u, s: u + _each(rates, u) * s, units, slope)
        (_, scores), new = jax.value_and_grad(total, has_aux=True)(tried)
        better = scores > value  # False for NaN: taken back as well
        kept = jax.tree.map(
            lambda n, o: jnp.where(_each(better, n), n, o),
            (tried, scores, _as_long(new, tried)), (units, value, slope),
        )  # fmt: skip
        return (*kept, jnp.where(better, rates * RATE_GAIN, rates / RATE_LOSS)), None

    unknown = jnp.full(start.bias.shape[0], -jnp.inf, problem.dtype)
    rates = jnp.full_like(unknown, rate / RATE_GAIN)  # the first "step" only looks
    first = (start, unknown, jax.tree.map(jnp.zeros_like, start), rates)
    (units, *_), _ = jax.lax.scan(step, first, length=steps + 1)
    return units


def best(problem: SpreadProblem, units: Units, count: int) -> Units:
    """Those with the highest scores."""
    scores = jnp.nan_to_num(problem.scores(units), nan=-jnp.inf)
    return jax.tree.map(lambda u: u[jax.lax.top_k(scores, count)[1]], units)


def _as_long(slope: Units, units: Units) -> Units:
    """Slopes of units, each as long as the unit itself."""
    lengths = (_length(units), _length(slope))
    ratio = lengths[0] / jnp.where(lengths[1] > 0, lengths[1], 1)
    return jax.tree.map(lambda s: _each(ratio, s) * s, slope)


def _length(units: Units) -> Float[Array, " P"]:
    squares = [jnp.sum(u**2, axis=tuple(range(1, u.ndim))) for u in jax.tree.leaves(units)]
    return jnp.sqrt(sum(squares))  # pyright: ignore[reportArgumentType, reportCallIssue]


def _each(values: Array, like: Array) -> Array:
    return values.reshape(-1, *(1,) * (like.ndim - 1))
