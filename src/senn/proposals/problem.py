"""The search for new units, as one problem for width and for depth.

New units of hidden layer l read what linear map l reads; units of a layer inserted before map
p read what map p reads. Either way they are scored by what their activations explain of the
residual gradients at the maps that will read them (theorem 2), and found by the same searches.
The curvature has a block for each map, so what several maps gain is summed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from senn.blocks import joined
from senn.compilation import QUICK, program
from senn.curvature import MapRows
from senn.devices import same
from senn.factors import InputFactor
from senn.linalg import diagonal, relative_ridge
from senn.nn.activation import Activation
from senn.proposals.sample import Sample
from senn.score import Residual, residual_of


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

    @property
    def dtype(self) -> Any:
        """Of all its numbers."""
        return self.fit.a.dtype


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
    return tuple(_beside(parts, columns) for parts in left), same((ridge, rms, eta))


def _unexplained(fit: Residual, sample: Sample) -> Float[Array, "N O"]:
    return joined(sample.walk(lambda s: (fit(s.a, s.r), ()))[0])


def _beside(parts: Sequence[Float[Array, "N _"]], columns: Any) -> Float[Array, "N O"]:
    if columns is None:
        return jnp.concatenate(parts, axis=1)
    zero = jnp.zeros((len(parts[0]), 1), parts[0].dtype)
    return jnp.concatenate([*parts, zero], axis=1)[:, columns]
