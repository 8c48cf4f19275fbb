"""Second moments, Kronecker factors, and the Gauss–Newton operator of a network."""

from collections.abc import Callable
from typing import NamedTuple

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
from senn.nn import MLP
from senn.nn.network import Shifts

EXACT_OUTPUTS = 32  # up to here S is summed over the outputs instead of drawn


class MapMoments(NamedTuple):
    """What one linear map sees on a batch; rows carry the square root of the examples' weights.

    Dormant slots are zero throughout. The last column of `a` is the constant.
    """

    a: Float[Array, "N I"]  # inputs
    g: Float[Array, "N O"]  # loss gradient at the outputs
    S: Float[Array, "O O"]  # second moment of output-metric draws


class Moments(NamedTuple):
    """The moments of every linear map on one batch, and of the network as a whole."""

    maps: tuple[MapMoments, ...]
    loss: Float[Array, ""]
    limit: Float[Array, ""]  # λ = E[gᵀM⁺g], the most that η can be (section 3.5)
    reach: Float[Array, ""]  # what α is relative to: λ, or something more robust


class Signals(NamedTuple):
    """What goes through a network on one batch: activations forwards, gradients backwards."""

    loss: Float[Array, ""]  # E[w · loss]
    gradient: MLP  # of that loss
    inputs: tuple[tuple[Float[Array, "N _"], ...], ...]  # the blocks that every map reads
    z: tuple[Float[Array, "N _"], ...]  # what every activation gets
    draws: Shifts  # metric draws at the outputs of every map and activation


def propagate(
    network: MLP, loss: AbstractLoss, metric: AbstractMetric, batch: Batch, key: PRNGKeyArray
) -> Signals:
    """One forward pass; one backward pass for the loss, and one for a draw an example."""
    params, static = eqx.partition(network, eqx.is_inexact_array)

    def forward(params, shifts):
        trace = eqx.combine(params, static).trace(batch.x, shifts)
        return trace.outputs, trace

    n = batch.x.shape[0]
    alive = network.active_outputs
    loss, metric = among_loss(alive, loss), among_metric(alive, metric)
    outputs, back, trace = jax.vjp(forward, params, network.no_shifts(n), has_aux=True)
    g_y = loss.gradient(outputs, batch.y)
    gradient, _ = back(g_y * batch.weight[:, None] / n)
    _, draws = back(metric.draw(key, outputs))
    value = jnp.mean(batch.weight * loss(outputs, batch.y))
    return Signals(value, gradient, trace.inputs, trace.z, draws)


def moments(
    network: MLP,
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
    shifts = network.no_shifts(batch.x.shape[0])

    def forward(maps):
        trace = network.trace(batch.x, shifts._replace(maps=maps))
        return trace.outputs, trace.inputs

    alive = network.active_outputs
    loss, metric = among_loss(alive, loss), among_metric(alive, metric)
    outputs, back, blocks = jax.vjp(forward, shifts.maps, has_aux=True)
    g_y = loss.gradient(outputs, batch.y)
    root_weight = jnp.sqrt(batch.weight)[:, None]
    maps = tuple(
        MapMoments(_with_constant(a) * root_weight, g * root_weight, S)
        for a, g, S in zip(
            blocks,
            back(g_y)[0],
            output_factors or _output_factors(back, metric, outputs, root_weight, key, alive),
            strict=True,
        )
    )
    losses, lengths = loss(outputs, batch.y), metric.length(outputs, g_y)
    means = jnp.stack([losses, lengths, metric.reach(losses, lengths)])
    return Moments(maps, *jnp.mean(batch.weight * means, axis=1))


def _with_constant(blocks: tuple[Float[Array, "N _"], ...]) -> Float[Array, "N I"]:
    return jnp.concatenate([*blocks, jnp.ones((blocks[0].shape[0], 1), blocks[0].dtype)], axis=1)


def _output_factors(
    back: Callable,
    metric: AbstractMetric,
    outputs: Float[Array, "N O"],
    root_weight: Float[Array, "N 1"],
    key: PRNGKeyArray,
    alive: Bool[Array, " O"],
) -> tuple[Float[Array, "_ _"], ...]:
    def second_moments(v):
        return tuple((root_weight * s).T @ (root_weight * s) / s.shape[0] for s in back(v)[0])

    size = outputs.shape[-1]
    if size > EXACT_OUTPUTS:
        return second_moments(metric.draw(key, outputs))

    def add(output, total):  # spare ones come last, and add nothing
        unit = jnp.broadcast_to(jnp.eye(size, dtype=outputs.dtype)[output], outputs.shape)
        return jax.tree.map(jnp.add, total, second_moments(metric.root(outputs, unit)))

    zeros = jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(second_moments, outputs)
    )
    return jax.lax.fori_loop(0, jnp.sum(alive), add, zeros)


def gauss_newton(network: MLP, metric: AbstractMetric, batch: Batch) -> Callable[[MLP], MLP]:
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


def loss_gradient(network: MLP, loss: AbstractLoss, batch: Batch) -> tuple[Float[Array, ""], MLP]:
    """E[w · loss] and its gradient, a tree like the network's parameters."""

    loss = among_loss(network.active_outputs, loss)

    def value(net):
        return mean_loss(loss, net(batch.x), batch.y, batch.weight)

    return eqx.filter_value_and_grad(value)(network)
