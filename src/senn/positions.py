"""What maps see that are applied at several positions of an example, such as convolutions.

Their rows are not kept, for patches are many times what they are cut out of: they are made anew
from what a map reads, some examples at a time, wherever they are needed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from senn.batches import EXAMPLES_AT_ONCE, Batch
from senn.blocks import joined, walk
from senn.compilation import QUICK, program
from senn.curvature import Moments, mean_lengths, metric_factors, second_moment, through
from senn.losses import AbstractLoss, AbstractMetric
from senn.nn.sites import AbstractMap
from senn.nn.tapped import AbstractTapped


class PositionRows(NamedTuple):
    """What one linear map sees on a batch."""

    read: Any  # of N examples, before rows [N, T, J] are made of it
    g: Float[Array, "N T O"]  # loss gradient at the outputs, times the roots of the weights
    s: Float[Array, "N T O"]  # a draw of the output metric there
    A: Float[Array, "J J"]  # second moment of the rows, over examples and positions
    G: Float[Array, "J O"]  # E[Σₜ a gᵀ]
    S: Float[Array, "O O"]  # second moment of such draws, summed over positions
    root_weight: Float[Array, " N"]


@program(QUICK)
def moments_at_positions(
    network: AbstractTapped,
    loss: AbstractLoss,
    metric: AbstractMetric,
    batch: Batch,
    key: PRNGKeyArray,
    output_factors: tuple[Float[Array, "_ _"], ...] | None = None,
) -> Moments:
    """`senn.curvature.moments` of a network with such maps; its maps are `PositionRows`."""
    maps = len(network.graph.maps)

    def of_block(batch: Batch, i):
        own, draws = jax.random.split(jax.random.fold_in(key, i))
        seen, weight = through(network, loss, metric, batch), batch.weight
        root, rows = jnp.sqrt(weight), seen.rows[:maps]
        g_y = seen.loss.gradient(seen.outputs, batch.y)
        g = seen.back(g_y)[1][:maps]
        s = seen.back(seen.metric.draw(draws, seen.outputs))[1][:maps]
        S = output_factors or metric_factors(seen, maps, root, own, network.active_outputs)
        A = tuple(second_moment(a, weight, a.shape[0] * a.shape[1]) for a in rows)
        G = tuple(
            jnp.einsum("n,ntj,nto->jo", weight, a, b) / len(a) for a, b in zip(rows, g, strict=True)
        )
        weighted = tuple(root[:, None, None] * at for at in g)
        return (seen.reads[:maps], weighted, s, root), (A, G, S, mean_lengths(seen, batch, g_y))

    kept, (A, G, S, lengths) = walk(of_block, batch, batch.weight, EXAMPLES_AT_ONCE)
    reads, g, s, root = jax.tree.map(joined, kept)
    rows = zip(reads, g, s, A, G, S, (root,) * maps, strict=True)
    return Moments(tuple(PositionRows(*of) for of in rows), *lengths)


def over_examples(function: Callable, parts: Any) -> tuple[Any, Any]:
    """What a function finds of some examples at a time, joined, and the mean of what it averages.

    Like `senn.blocks.walk`, and differentiable; nothing is kept for that but what comes out.
    """
    n = jax.tree.leaves(parts)[0].shape[0]
    size = EXAMPLES_AT_ONCE if n % EXAMPLES_AT_ONCE == 0 else n
    blocks = jax.tree.map(lambda v: v.reshape(n // size, size, *v.shape[1:]), parts)
    own, means = jax.lax.map(jax.checkpoint(function), blocks)
    return jax.tree.map(joined, own), jax.tree.map(lambda v: jnp.mean(v, axis=0), means)


def weighted_rows(site: AbstractMap, of: PositionRows) -> Float[Array, "N T J"]:
    """The rows, times the roots of the weights; of some examples."""
    return site.rows(of.read) * of.root_weight[:, None, None]


@program(QUICK)
def curvature_along(
    site: AbstractMap, of: PositionRows, steps: Float[Array, "c J O"]
) -> Float[Array, " c"]:
    """E[(Σₜ sₜᵀ ΔWᵀ aₜ)²] of changes of a map's weights, measured by the draws."""

    def shares(of: PositionRows):
        rows = weighted_rows(site, of)
        q = jnp.einsum("ntj,cjo,nto->nc", rows, steps, of.s)
        return (), jnp.mean(q**2, axis=0)

    return over_examples(shares, of._replace(A=None, G=None, S=None))[1]
