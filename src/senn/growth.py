"""One act of growth: find the best proposal for every location, decide, add."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PRNGKeyArray

from senn.batches import Batch
from senn.curvature import MapMoments, Moments, moments
from senn.expand import add_width, grow_capacity, insert_layer, insert_zeros
from senn.losses import AbstractLoss, AbstractMetric
from senn.nn import MLP
from senn.nn.network import next_capacity
from senn.policy import Policy
from senn.proposals import AbstractProposer, Location, Proposal
from senn.proposals.base import problem_at, rescale


def propose_all(
    network: MLP,
    loss: AbstractLoss,
    metric: AbstractMetric,
    fit: Batch,
    held_out: Batch,
    proposer: AbstractProposer,
    policy: Policy,
    locations: tuple[Location, ...],
    key: PRNGKeyArray,
) -> list[Proposal]:
    """The proposal that the search selects for each location.

    All statistics of the score come from `fit`; `held_out` is used to judge alone.
    """
    if not locations:
        return []
    moment_key, key = jax.random.split(key)
    seen = (
        _moments(network, loss, metric, fit, moment_key),
        _moments(network, loss, metric, held_out, moment_key),
    )
    return [
        propose_at(network, seen, proposer, policy, location, k)
        for location, k in zip(locations, jax.random.split(key, len(locations)), strict=True)
    ]


def propose_at(
    network: MLP,
    seen: tuple[Moments, Moments],
    proposer: AbstractProposer,
    policy: Policy,
    location: Location,
    key: PRNGKeyArray,
) -> Proposal:
    """Search at one location, given the moments on the fitting and on the held-out sample."""
    identity = location.kind == "layer" and policy.layer_kind == "identity"
    inputs = network.active_inputs(location.position)
    n_units = policy.layer_units if location.kind == "layer" else 1
    found, eta = _search(
        proposer,
        (seen[0].maps[location.position], seen[1].maps[location.position]),
        (seen[0].maps[location.reader], seen[1].maps[location.reader]),
        inputs,
        inputs if identity else jnp.ones(n_units, bool),
        key,
        activation=network.activation,
        damping=policy.damping,
        unit_scale=policy.unit_scale,
        square=identity,
    )
    rows = np.asarray(inputs)
    columns = rows if identity else np.ones(n_units, bool)
    weight, bias, theta = (None if u is None else np.asarray(u)[0] for u in found.units)
    return Proposal(
        location,
        weight[rows][:, columns],  # pyright: ignore[reportOptionalSubscript]
        bias[columns],  # pyright: ignore[reportOptionalSubscript]
        None if theta is None else theta[:, columns],
        fit_score=float(found.fit_score),
        score=float(found.score),
        stderr=float(found.stderr),
        eta=float(eta),
        limit=float(seen[0].limit),
        reach=float(seen[0].reach),
    )


def add(network: MLP, state: Any, proposal: Proposal, policy: Policy) -> tuple[MLP, Any]:
    """The network with a proposal's units, and the optimiser's state grown along."""
    units = (proposal.weight, proposal.bias)
    position = proposal.location.position
    if proposal.location.kind == "layer":
        capacity = next_capacity(proposal.units, limit=policy.max_units)
        new = insert_layer(
            network,
            position,
            *units,
            policy.layer_kind,
            None if policy.layer_kind == "identity" else proposal.activation,
            capacity=capacity,
        )
        return new, insert_zeros(state, new, position)
    layer = network.hidden[position]
    needed = network.hidden_sizes[position] + proposal.units
    if needed > layer.capacity:
        capacity = next_capacity(needed, layer.capacity, policy.max_units)
        grow = partial(grow_capacity, layer=position, capacity=capacity)
        network, state = grow(network), grow(state)
    return add_width(network, position, *units, proposal.activation), state


_moments = eqx.filter_jit(moments)


@eqx.filter_jit
def _search(
    proposer: AbstractProposer,
    source: tuple[MapMoments, MapMoments],
    reader: tuple[MapMoments, MapMoments],
    inputs: Bool[Array, " I"],
    units: Bool[Array, " K"],
    key: PRNGKeyArray,
    *,
    activation: str,
    damping: float,
    unit_scale: float,
    square: bool,
):
    problem = problem_at(source, reader, inputs, units, activation, damping=damping, square=square)
    found = proposer.propose(problem, key)
    if not square:  # the units of an identity layer must keep the scale of their inputs
        found = found._replace(units=rescale(problem, found.units, unit_scale))
    return found, problem.eta
