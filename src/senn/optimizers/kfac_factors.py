"""What K-FAC sees on a batch: the gradient, and the Kronecker factors of every site."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from senn.batches import Batch
from senn.blocks import walk
from senn.curvature import second_moment, through
from senn.losses import AbstractLoss, AbstractMetric, signs
from senn.nn.sites import AbstractSite, DenseSite, UnitwiseSite
from senn.nn.tapped import AbstractTapped

# What a block of rows computes stays in a core's cache; larger batches keep all cores busy.
ROWS_IN_CACHE, MOST_IN_CACHE = 128, 2**18  # rows of a block; numbers in a batch

Sites = tuple[AbstractSite, ...]


class Factors(NamedTuple):
    """Running second moments of one linear map."""

    A: Float[Array, "I I"] | None  # its inputs, those of the network aside; None if no others
    S: Float[Array, "O O"]  # metric draws at its outputs


class Block(NamedTuple):
    """The exact curvature of coefficients of units, E[φφᵀ s²]."""

    block: Float[Array, "c F F"]


def factors_on(
    network: AbstractTapped,
    loss: AbstractLoss,
    metric: AbstractMetric,
    batch: Batch,
    key: PRNGKeyArray,
) -> tuple[Factors | Block, ...]:
    """The factors of every site on some examples."""
    seen, weight = through(network, loss, metric, batch), batch.weight
    weight = weight / jnp.maximum(jnp.mean(weight), jnp.finfo(weight.dtype).tiny)
    u = signs(key, (batch.x.shape[0], network.out_slots), network.dtype)
    draws = seen.back(seen.metric.root(seen.outputs, u))[1]
    return second_moments(network.graph.sites, network, seen.rows, draws, weight)


def seen_on(
    network: AbstractTapped,
    loss: AbstractLoss,
    metric: AbstractMetric,
    batch: Batch,
    state: Any,
) -> tuple[Any, tuple[Factors | Block, ...], Float[Array, ""]]:
    """The gradient, the factors and the loss on a batch, which is looked at in blocks of rows.

    So rows that only fill it up take little time, and what is computed of a block stays in the
    processor's cache.
    """

    def seen_in(given: tuple[Batch, Array], _: Any):
        rows, u = given
        seen, n = through(network, loss, metric, rows), rows.x.shape[0]
        g_y = seen.loss.gradient(seen.outputs, rows.y)
        g = seen.back(g_y * rows.weight[:, None] / n)[0]
        draws = seen.back(seen.metric.root(seen.outputs, u))[1]
        new = second_moments(network.graph.sites, network, seen.rows, draws, rows.weight)
        return (), (g, new, jnp.mean(rows.weight * seen.loss(seen.outputs, rows.y)))

    rows = ROWS_IN_CACHE if batch.x.size < MOST_IN_CACHE else batch.x.shape[0]
    u = signs(state.key, (batch.x.shape[0], network.out_slots), network.dtype)
    blank = ((), (state.velocity, state.factors, state.examples))  # of these shapes
    return walk(seen_in, (batch, u), batch.weight, rows, blank)[1]


def second_moments(
    sites: Sites,
    network: AbstractTapped,
    rows: tuple[Float[Array, "N _ *_"], ...],
    draws: tuple[Float[Array, "N _ _"], ...],
    weight: Float[Array, " N"],
) -> tuple[Factors | Block, ...]:
    """The factors of every site on one batch, by what it reads and by draws at its outputs."""

    def of(site: AbstractSite, a, s) -> Factors | Block:
        if isinstance(site, UnitwiseSite):
            return Block(_unit_blocks(a, weight[:, None, None] * s**2 / len(weight)))
        a = a[..., others_of(site, network)]
        A = second_moment(a, weight, a.shape[0] * a.shape[1]) if a.shape[-1] else None
        return Factors(A, second_moment(s, weight))

    return tuple(map(of, sites, rows, draws))


def _unit_blocks(
    phi: Float[Array, "N T F c"], square: Float[Array, "N T c"]
) -> Float[Array, "c F F"]:
    """Σ φφᵀ s² of every unit; as sums down columns, five times as fast as one `einsum`."""
    F = range(phi.shape[2])
    sums = {
        (f, g): jnp.sum(phi[:, :, f] * phi[:, :, g] * square, axis=(0, 1))
        for f in F
        for g in range(f + 1)
    }
    rows = [[sums[max(f, g), min(f, g)] for g in F] for f in F]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def reads_inputs(site: AbstractSite) -> bool:
    """Whether the factor of the network's inputs, which holds the constant, is that of its own."""
    return isinstance(site, DenseSite) and site.reads_inputs and site.bias is not None


def others_of(site: AbstractSite, tree: Any) -> slice:
    """Which of the rows that a map reads are not the network's inputs, nor their constant."""
    if not (isinstance(site, DenseSite) and reads_inputs(site)):
        return slice(None)
    first, *others = site.widths(tree)
    return slice(first, first + sum(others))
