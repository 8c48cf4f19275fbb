"""What to add: the search for new units, as one problem for width and for depth.

New units of hidden layer l read what linear map l reads; units of a layer inserted before map
p read what map p reads. Either way they are scored by what their activations explain of the
residual gradients at the maps that will read them (theorem 2), and found by the same searches.
The curvature has a block for each map, so what several maps gain is summed.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from senn.actions import AbstractAction
from senn.arrays import split_key, split_keys
from senn.blocks import joined
from senn.compilation import QUICK, program
from senn.curvature import MapRows
from senn.factors import InputFactor
from senn.linalg import diagonal, log_det, relative_ridge, solve_stack
from senn.nn.activation import Activation
from senn.proposals.choice import Choice, apart, choose, mean_of
from senn.proposals.sample import Sample
from senn.score import Residual, residual_of

LOG_DET_PENALTY = 0.01  # of square layers (appendix C)


class Problem(eqx.Module):
    """The search for units that explain the residual gradients of the maps that will read them.

    `fit` is the sample on which units are optimised, `held_out` the one on which they are
    judged; both use what the maps' inputs predict on the first. Dormant slots are padding:
    `inputs` and `units` tell which of the rows and columns of a weight [I, K] may be used.
    """

    fit: Sample
    held_out: Sample
    ridge: Float[Array, ""]  # ε_A of the reading maps
    unit_rms: Float[Array, ""]  # root mean square of the active inputs of those; 1 if all are 0
    eta: Float[Array, ""]  # η_c of those, summed
    source: InputFactor | None  # of what the units would read, if known already
    inputs: Bool[Array | np.ndarray, " I"]
    units: Bool[Array | np.ndarray, " K"]
    activation: Activation = eqx.field(static=True)
    square: bool = eqx.field(static=True)  # the weight must be invertible


class Units(NamedTuple):
    """P proposals of K units each."""

    weight: Float[Array, "P I K"]
    bias: Float[Array, "P K"]
    theta: Float[Array, "P F K"] | None  # None for activations without coefficients


class Found(NamedTuple):
    """The proposals that a search selected, one after another, with their scores in units of η.

    The score of each is what it adds to those before it.
    """

    units: Units  # P proposals
    fit_score: Float[Array, " P"]  # Δη′ on the sample that they were optimised on
    score: Float[Array, " P"]  # on the held-out sample
    stderr: Float[Array, " P"]  # standard error of `score`
    rms: Float[Array, "P K"]  # root mean square of the units' outputs on the fitting sample


@dataclass(frozen=True)
class Proposal:
    """K units for one place, active inputs only, with their scores in units of η."""

    action: AbstractAction
    weight: np.ndarray  # [I, K]
    bias: np.ndarray  # [K]
    theta: np.ndarray | None  # [F, K]
    fit_score: float  # Δη′ on the sample that the units were optimised on
    score: float  # on the held-out sample
    stderr: float  # standard error of `score`
    eta: float  # η_c of the reading maps together
    limit: float  # λ
    reach: float  # what α is relative to: λ, or for the Fisher metric twice the loss

    @property
    def units(self) -> int:
        """K, the units proposed."""
        return self.bias.shape[0]


def join(proposals: Sequence[Proposal]) -> Proposal:
    """Proposals for one place, each scored beside those before it, as one of all their units."""
    thetas = [p.theta for p in proposals if p.theta is not None]
    return replace(
        proposals[0],
        weight=np.concatenate([p.weight for p in proposals], axis=1),
        bias=np.concatenate([p.bias for p in proposals]),
        theta=np.concatenate(thetas, axis=1) if thetas else None,
        fit_score=sum(p.fit_score for p in proposals),
        score=sum(p.score for p in proposals),
        stderr=sum(p.stderr**2 for p in proposals) ** 0.5,
    )


def search_keys(key: PRNGKeyArray, count: int) -> tuple[PRNGKeyArray, Key[Array, " count"]]:
    """Keys for a search and for `count` selections, split on the host: programs need not."""
    first, second = split_key(key, 2)
    return first, split_keys(second, count)


class AbstractProposer(eqx.Module):
    """A search for new units."""

    candidates: eqx.AbstractVar[int]
    in_blocks: ClassVar[bool] = False  # whether rows that only fill a sample up cost it no time

    def at(
        self,
        network: Any,  # noqa: ARG002
        action: AbstractAction,  # noqa: ARG002
        readers: Sequence[MapRows],  # noqa: ARG002
    ) -> "AbstractProposer":
        """The search for units of one place, `readers` being what the maps that read them see.

        By default it is the same everywhere: a problem tells all that the score depends on.
        """
        return self

    @abstractmethod
    def search(self, problem: Problem, key: PRNGKeyArray) -> Units:
        """Candidates, optimised on the fitting sample."""

    @abstractmethod
    def select(
        self, relative_scores: Float[Array, " P"], key: PRNGKeyArray
    ) -> tuple[Int[Array, ""], Int[Array, " S"], Float[Array, " S"]]:
        """The chosen candidate, and those whose weighted mean is the judged score."""

    def propose(self, problem: Problem, key: PRNGKeyArray, count: int = 1) -> Found:
        """Search, select on the fitting sample, judge on the held-out one: one compiled call.

        With `count` > 1 as many units are selected in turn, each scored by what it explains
        beyond those before it; the scores of the first k add up to the Δη′ of all k.
        """
        return self.found(problem, *search_keys(key, count))

    @eqx.filter_jit
    def found(
        self, problem: Problem, search_key: PRNGKeyArray, keys: Key[Array, " count"]
    ) -> Found:
        """What `propose` returns: a key for the search, and one for each selection."""
        count = keys.shape[0]
        if problem.square and count > 1:
            raise ValueError(f"Square layers are proposed one at a time; got count={count}.")
        units = self.search(problem, search_key)
        if problem.units.shape[0] > 1:
            return self._judged(problem, units, keys[0])
        samples = read_by(problem, outputs(problem, units))
        choice = self.choose(*samples, problem.ridge, keys)
        return found_by(choice, units)

    def choose(
        self, fit: Sample, held_out: Sample, ridge: Float[Array, ""], keys: Key[Array, " count"]
    ) -> Choice:
        """One after another of the single units that these samples read, a key for each."""
        return choose(self.select, fit, held_out, ridge, keys)

    def _judged(self, problem: Problem, units: Units, key: PRNGKeyArray) -> Found:
        """The selected proposal of several units."""
        here = activations(problem, units, problem.fit)
        C, V = outgoing(problem, here)
        fit_scores = jnp.sum(C * V, axis=(1, 2))
        index, judged, weights = self.select(fit_scores / problem.fit.scale, key)
        there = activations(problem, jax.tree.map(lambda u: u[judged], units), problem.held_out)
        gains = mean_of(weights[:, None], apart(_gains(problem.held_out, there, V[judged])))
        score, stderr = problem.held_out.mean_and_error(gains)
        rms = jnp.sqrt(jnp.mean(here[index] ** 2, axis=0))
        chosen = jax.tree.map(lambda u: u[index], units)
        found = Found(chosen, mean_of(weights, fit_scores[judged]), score, stderr, rms)
        return jax.tree.map(lambda v: v[None], found)


class AbstractMaximizer(AbstractProposer):
    """A search that ends with the candidate that scores highest on the fitting sample."""

    def select(
        self,
        relative_scores: Float[Array, " P"],
        key: PRNGKeyArray,  # noqa: ARG002
    ) -> tuple[Int[Array, ""], Int[Array, " S"], Float[Array, " S"]]:
        """The best on the fitting sample, judged by itself."""
        index = jnp.argmax(jnp.nan_to_num(relative_scores, nan=-jnp.inf))
        return index, index[None], jnp.ones(1, relative_scores.dtype)


def problem_at(
    source: tuple[MapRows, MapRows],
    readers: Sequence[tuple[MapRows, MapRows]],
    inputs: Bool[Array | np.ndarray, " I"],
    units: Bool[Array | np.ndarray, " K"],
    activation: Activation,
    *,
    damping: float,
    columns: Int[np.ndarray, " O"] | None = None,
    square: bool = False,
    input_factor: InputFactor | None = None,
    shapes: bool = False,
) -> Problem:
    """The problem of units that read what map `source` reads and are read by `readers`.

    All are given on the fitting and on the held-out sample. `damping` is relative; `columns` are
    those of the readers' outputs, beside one another, that are looked at (all if None), and the
    number behind the last is 0 throughout. `input_factor` is of what map `source` reads, if it is
    known already. If `shapes`, rows are mere shapes, and so is what is computed from them.

    Its parts are compiled, the whole is not: compiled, it would copy the inputs that it hands on.
    """
    compute = residuals.shapes if shapes else residuals
    r, numbers = compute(tuple(readers), columns, damping=damping)

    def problem(source: Any, r: Any, numbers: Any, input_factor: InputFactor | None) -> Problem:
        here, there = (Sample(s.a, r, s.root_weight) for s, r in zip(source, r, strict=True))
        ridge, rms, eta = numbers
        return Problem(
            here, there, ridge, rms, eta, input_factor, inputs, units, activation, square
        )

    given = source, r, numbers, input_factor
    return eqx.filter_eval_shape(problem, *given) if shapes else problem(*given)


@program(QUICK)
def residuals(
    readers: tuple[tuple[MapRows, MapRows], ...],
    columns: Int[Array | np.ndarray, " O"] | None = None,
    *,
    damping: float,
):
    """The whitened residual gradients of both samples; the ridge, the inputs' size and η_c.

    The same ridge is added to A of every reader, which theorem 2 asks for: the mean of theirs.
    """
    samples = [[Sample(of.a, of.g, of.root_weight) for of in reader] for reader in readers]
    moments = [of_fit.moments() for of_fit, _ in samples]
    ridge = jnp.mean(jnp.stack([relative_ridge(A, damping) for A, _ in moments]))
    fits = [
        residual_of(A, G, reader[0].S, damping, ridge)
        for (A, G), reader in zip(moments, readers, strict=True)
    ]
    power = jnp.concatenate([diagonal(A)[:-1] for A, _ in moments])
    total, n = jnp.sum(jnp.stack([power, (power > 0).astype(power.dtype)]), axis=1)
    rms = jnp.where(n > 0, jnp.sqrt(total / jnp.maximum(n, 1)), 1)
    left = (list(map(_unexplained, fits, own)) for own in zip(*samples, strict=True))
    eta = jnp.sum(jnp.stack([fit.score for fit in fits]))
    return tuple(_beside(parts, columns) for parts in left), (ridge, rms, eta)


def _unexplained(fit: Residual, sample: Sample) -> Float[Array, "N O"]:
    return joined(sample.walk(lambda s: (fit(s.a, s.r), ()))[0])


def _beside(parts: Sequence[Float[Array, "N _"]], columns: Any) -> Float[Array, "N O"]:
    if columns is None:
        return jnp.concatenate(parts, axis=1)
    zero = jnp.zeros((len(parts[0]), 1), parts[0].dtype)
    return jnp.concatenate([*parts, zero], axis=1)[:, columns]


def outputs(problem: Problem, units: Units) -> tuple[Float[Array, "N P"], Float[Array, "M P"]]:
    """What a map that reads the candidates sees of them on both samples."""

    def read(sample: Sample):
        return activations(problem, units, sample)[..., 0].T, ()

    here, there = (sample.walk(read)[0] for sample in (problem.fit, problem.held_out))
    return joined(here), joined(there)


def read_by(problem: Problem, seen: tuple[Any, Any]) -> tuple[Sample, Sample]:
    """Both samples as a map has them that sees `outputs`, or shapes of those."""
    samples = problem.fit, problem.held_out
    here, there = (of._replace(a=a) for of, a in zip(samples, seen, strict=True))
    return here, there


def found_by(choice: Choice, units: Units) -> Found:
    """The candidates that were chosen."""
    chosen, fit_score, score, stderr, rms = choice
    units = jax.tree.map(lambda u: u[chosen], units)
    return Found(units, fit_score, score, stderr, rms[:, None])


def draw_units(problem: Problem, count: int, key: PRNGKeyArray) -> Units:
    """Random units by the scheme of the starting network: LeCun normal weights, θ ~ N(0, 1).

    Biases are N(0, 1) too, where the paper's are zero: with zero biases all units would bend
    at the same place, the mean of their inputs.
    """
    return to_units(problem, draw_coordinates(problem, count, key))


def draw_coordinates(problem: Problem, count: int, key: PRNGKeyArray) -> Units:
    """Standard normal coordinates of units; `to_units` scales the weights by 1/√inputs."""
    rows, columns = problem.inputs.shape[0], problem.units.shape[0]
    n_theta = problem.activation.learned
    shape = (count, rows + 1 + n_theta, columns)
    # one draw for all of them: random numbers are slow to compile
    draw = jax.random.normal(key, shape, problem.fit.a.dtype)
    weight, bias, theta = jnp.split(draw, [rows, rows + 1], axis=1)
    return mask_units(problem, Units(weight, bias[:, 0], theta if n_theta else None))


def to_units(problem: Problem, coordinates: Units) -> Units:
    """Units from coordinates on the scale of the standard normal."""
    n = jnp.sum(problem.inputs)
    return coordinates._replace(
        weight=coordinates.weight / jnp.sqrt(n).astype(coordinates.bias.dtype)
    )


def mask_units(problem: Problem, units: Units) -> Units:
    """Zero what belongs to dormant slots."""
    columns = problem.units
    return Units(
        units.weight * problem.inputs[:, None] * columns,
        units.bias * columns,
        None if units.theta is None else units.theta * columns,
    )


def activations(problem: Problem, units: Units, sample: Sample) -> Float[Array, "P N K"]:
    """What the units output on a sample, times the root of the examples' weights."""
    P, _, K = units.weight.shape
    # [P·K, J]: one matrix product for all proposals; each unit's examples lie side by side
    w = jnp.concatenate([units.weight, units.bias[:, None]], axis=1).swapaxes(1, 2)
    z = sample.preactivations(w.reshape(P * K, -1))
    one = jnp.ones((P, 1, K), z.dtype)
    theta = (one if units.theta is None else units.theta).swapaxes(1, 2).reshape(P * K, -1)
    a = combined(features(problem.activation, z), theta)
    a = (a * sample.root_weight).reshape(P, K, -1).swapaxes(1, 2)
    return a * problem.units


def features(activation: Activation, z: Float[Array, "P N"]) -> Float[Array, "P F N"]:
    """What activations of z are linear in."""
    return jnp.moveaxis(activation.features(z), 0, 1)


def combined(features: Float[Array, "P F N"], theta: Float[Array, "P F"]) -> Float[Array, "P N"]:
    """θᵀφ(z)."""
    return jnp.sum(theta[:, :, None] * features, axis=1)


def outgoing(
    problem: Problem, a: Float[Array, "P N K"]
) -> tuple[Float[Array, "P K O"], Float[Array, "P K O"]]:
    """C = E[a_p r] and V = (A_p + εI)⁻¹C, the whitened outgoing weights that fit r best."""
    n = a.shape[1]
    C = jnp.einsum("pnk,no->pko", a, problem.fit.r) / n
    A = jnp.einsum("pnk,pnl->pkl", a, a) / n
    if a.shape[2] == 1:
        return C, C / (A + problem.ridge)
    return C, solve_stack(A + problem.ridge * jnp.eye(a.shape[2], dtype=a.dtype), C)


def fit_score(problem: Problem, units: Units) -> Float[Array, " P"]:
    """Δη′ of every proposal on the fitting sample (theorem 2)."""
    C, V = outgoing(problem, activations(problem, units, problem.fit))
    return jnp.sum(C * V, axis=(1, 2))


def held_out_gains(problem: Problem, units: Units) -> Float[Array, "P N"]:
    """aᵀV r of every held-out example, V the outgoing weights fitted on the fitting sample.

    The mean is Tr[E[r a_pᵀ] (A_p + εI)⁻¹ E[a_p r]] with one expectation from each sample: an
    estimate of Δη′ that is not inflated by having fitted V, or the units, to noise. On the
    fitting sample itself it is Δη′.
    """
    _, V = outgoing(problem, activations(problem, units, problem.fit))
    return _gains(problem.held_out, activations(problem, units, problem.held_out), V)


def _gains(
    sample: Sample, a: Float[Array, "P N K"], V: Float[Array, "P K O"]
) -> Float[Array, "P N"]:
    return jnp.sum(sample.r * jnp.einsum("pnk,pko->pno", a, V), axis=2)


def objective(problem: Problem, units: Units) -> Float[Array, " P"]:
    """Δη′ / E‖r‖² of every proposal, less 0.01 (ln |det W|)² for square layers (appendix C)."""
    score = fit_score(problem, units) / problem.fit.scale
    if not problem.square:
        return score
    spare = jnp.diag(1 - problem.units.astype(score.dtype))  # dormant slots count as identity
    return score - LOG_DET_PENALTY * log_det(units.weight + spare) ** 2


def rescale(problem: Problem, found: Found, fraction: float) -> Found:
    """Units whose activations have `fraction` × the root mean square of the maps' inputs; NumPy.

    Δη′ does not depend on this scale (the ridge aside), but the first steps after the addition
    do. θ carries it where there is one, else weight and bias if σ is homogeneous; others stay as
    they are.
    """
    wanted, units = fraction * np.asarray(problem.unit_rms), found.units
    factor = np.divide(wanted, found.rms, out=np.ones_like(found.rms), where=found.rms > 0)
    if units.theta is not None:
        units = units._replace(theta=units.theta * factor[:, None])
    elif problem.activation.homogeneous:
        units = units._replace(weight=units.weight * factor[:, None], bias=units.bias * factor)
    return found._replace(units=units)
