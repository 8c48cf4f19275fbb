"""Second moments, Kronecker factors, and the Gauss–Newton operator of a network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from senn.batches import Batch
from senn.losses import (
    AbstractLoss,
    AbstractMetric,
    among_loss,
    among_metric,
    mean_loss,
)
from senn.nn.tapped import AbstractTapped

EXACT_OUTPUTS = 32  # up to here S is summed over the outputs instead of drawn


class Pass(NamedTuple):
    """A batch on its way through a network, of which every site sees rows."""

    outputs: Float[Array, "N O"]
    loss: AbstractLoss  # of the outputs that are alive
    metric: AbstractMetric  # likewise
    rows: tuple[Float[Array, "N T *J"], ...]  # what every site reads
    back: Callable  # a gradient at the outputs ↦ that of the parameters, and rows at every site
    reads: tuple[Any, ...]  # what rows are made of


def through(
    network: AbstractTapped, loss: AbstractLoss, metric: AbstractMetric, batch: Batch
) -> Pass:
    """One forward pass, and the means for any number of backward ones."""
    params, static = eqx.partition(network, eqx.is_inexact_array)
    sites = network.graph.sites

    def forward(params, shifts):
        return eqx.combine(params, static).taps(batch.x, shifts)

    outputs, pull, reads = jax.vjp(
        forward, params, network.no_shifts(batch.x.shape[0]), has_aux=True
    )

    def back(v: Float[Array, "N O"]):
        gradient, at = pull(v)
        return gradient, tuple(site.outs(g) for site, g in zip(sites, at, strict=True))

    rows = tuple(site.rows(read) for site, read in zip(sites, reads, strict=True))
    alive = network.active_outputs
    return Pass(outputs, among_loss(alive, loss), among_metric(alive, metric), rows, back, reads)


class MapRows(NamedTuple):
    """What one linear map sees on a batch; rows carry the square roots of the examples' weights.

    Dormant slots are zero throughout.
    """

    a: Float[Array, "N *T J"]  # inputs, last the constant if the map has a bias
    g: Float[Array, "N *T O"]  # loss gradient at the outputs, per example
    S: Float[Array, "O O"]  # second moment of output-metric draws
    root_weight: Float[Array, " N"]

    @property
    def dense(self) -> tuple[Float[Array, "N J"], Float[Array, "N O"], Float[Array, "O O"]]:
        """a, g and S of a map with one position an example: what `senn.score` takes."""
        return self.a[:, 0], self.g[:, 0], self.S


class Moments(NamedTuple):
    """What every linear map sees on one batch, and the network as a whole."""

    maps: tuple[Any, ...]  # `MapRows`, or `senn.positions.PositionRows`
    loss: Float[Array, ""]
    limit: Float[Array, ""]  # λ = E[gᵀM⁺g], the most that η can be (section 3.5)
    reach: Float[Array, ""]  # what α is relative to: λ, or something more robust


def moments(
    network: AbstractTapped,
    loss: AbstractLoss,
    metric: AbstractMetric,
    batch: Batch,
    key: PRNGKeyArray,
    output_factors: tuple[Float[Array, "_ _"], ...] | None = None,
) -> Moments:
    """Back-propagate loss gradients and metric draws to every linear map.

    S is that of `output_factors` if given. Else it comes exactly, by one backward pass an
    output, up to `EXACT_OUTPUTS` outputs, and from one draw an example above.
    """
    seen, maps = through(network, loss, metric, batch), len(network.graph.maps)
    root = jnp.sqrt(batch.weight)
    g_y = seen.loss.gradient(seen.outputs, batch.y)
    factors = output_factors or metric_factors(seen, maps, root, key, network.active_outputs)
    weighted = root[:, None, None]
    rows = (
        MapRows(a * weighted, g * weighted, S, root)
        for a, g, S in zip(seen.rows[:maps], seen.back(g_y)[1][:maps], factors, strict=True)
    )
    return Moments(tuple(rows), *mean_lengths(seen, batch, g_y))


def mean_lengths(seen: Pass, batch: Batch, g_y: Float[Array, "N O"]) -> Float[Array, "3"]:
    """The loss, λ and the reach of α."""
    losses, lengths = seen.loss(seen.outputs, batch.y), seen.metric.length(seen.outputs, g_y)
    means = jnp.stack([losses, lengths, seen.metric.reach(losses, lengths)])
    return jnp.mean(batch.weight * means, axis=1)


def second_moment(
    rows: Float[Array, "N T J"], weight: Float[Array, " N"] | None = None, over: int | None = None
) -> Float[Array, "J J"]:
    """Σ w r rᵀ over examples and positions, divided by N or by `over`."""
    n, width = rows.shape[0], rows.shape[-1]
    weighted = rows if weight is None else weight[:, None, None] * rows
    return weighted.reshape(-1, width).T @ rows.reshape(-1, width) / (over or n)


def metric_factors(
    seen: Pass, maps: int, root: Float[Array, " N"], key: PRNGKeyArray, alive: Bool[Array, " O"]
) -> tuple[Float[Array, "_ _"], ...]:
    """S of the first so many maps, exactly or from draws (`moments`)."""

    def second_moments(v):
        return tuple(second_moment(root[:, None, None] * s) for s in seen.back(v)[1][:maps])

    outputs, size = seen.outputs, seen.outputs.shape[-1]
    if size > EXACT_OUTPUTS:
        return second_moments(seen.metric.draw(key, outputs))

    def add(output, total):  # spare ones come last, and add nothing
        unit = jnp.broadcast_to(jnp.eye(size, dtype=outputs.dtype)[output], outputs.shape)
        return jax.tree.map(jnp.add, total, second_moments(seen.metric.root(outputs, unit)))

    zeros = jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(second_moments, outputs)
    )
    return jax.lax.fori_loop(0, jnp.sum(alive), add, zeros)


def gauss_newton(
    network: AbstractTapped, metric: AbstractMetric, batch: Batch
) -> Callable[[Any], Any]:
    """The function v ↦ E[JᵀMJ] v on trees like the network's parameters, by Jacobian products.

    No dense matrix is formed. With `Euclidean` this is the paper's F = E[JᵀJ] (section 3.3).
    """
    params, static = eqx.partition(network, eqx.is_inexact_array)
    metric = among_metric(network.active_outputs, metric)
    outputs, push = jax.linearize(lambda p: eqx.combine(p, static)(batch.x), params)
    pull = jax.linear_transpose(push, params)
    weight = batch.weight[:, None] / batch.weight.shape[0]

    def product(v):
        return pull(weight * metric.product(outputs, push(v)))[0]

    return product


def loss_gradient(
    network: AbstractTapped, loss: AbstractLoss, batch: Batch
) -> tuple[Float[Array, ""], Any]:
    """E[w · loss] and its gradient, a tree like the network's parameters."""

    loss = among_loss(network.active_outputs, loss)

    def value(net):
        return mean_loss(loss, net(batch.x), batch.y, batch.weight)

    return eqx.filter_value_and_grad(value)(network)
