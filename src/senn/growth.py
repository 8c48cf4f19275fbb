"""One act of growth: find the best proposal for every location, decide, add."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from senn.arrays import key_of, split_key
from senn.batches import Batch
from senn.compilation import QUICK, program
from senn.curvature import MapMoments, Moments, moments
from senn.expand import add_width, grow_capacity, insert_layer, insert_zeros
from senn.factors import InputFactor
from senn.losses import AbstractLoss, AbstractMetric
from senn.nn import MLP
from senn.nn.network import next_capacity
from senn.optimizers import AbstractOptimizer
from senn.policy import Policy
from senn.proposals import AbstractProposer, Location, Proposal
from senn.proposals.base import (
    Found,
    Problem,
    join,
    problem_at,
    rescale,
    residuals,
    search_keys,
)

# All searches at maps of at most so many inputs and outputs share a program: 64 inputs, and as many
# units beside them.
SMALL_IN, SMALL_OUT = 128, 64


class Seen(NamedTuple):
    """A network's moments on the sample that units are fitted to, and on one that judges them."""

    fit: Moments
    held_out: Moments
    inputs: InputFactor | None = None  # of the network's inputs, if an optimiser knows it


def look(
    network: MLP,
    loss: AbstractLoss,
    metric: AbstractMetric,
    fit: Batch,
    held_out: Batch,
    key: PRNGKeyArray,
    output_factors: tuple[Float[Array, "_ _"], ...] | None = None,
    input_factor: InputFactor | None = None,
) -> Seen:
    """The moments on the fitting and on the held-out sample.

    `output_factors` and `input_factor` are those that an optimiser keeps. A of the map that
    reads new units always comes from `fit`, like its gradient: a factor that lags behind would
    leave some of what the present units explain in the residual gradient. `held_out` is used to
    judge alone.
    """
    return Seen(
        _moments(network, loss, metric, fit, key, output_factors),
        _moments(network, loss, metric, held_out, key, output_factors),
        input_factor,
    )


def propose_all(
    network: MLP,
    seen: Seen,
    proposer: AbstractProposer,
    policy: Policy,
    locations: Sequence[Location],
    key: PRNGKeyArray,
) -> list[list[Proposal]]:
    """What the search selects for each location, in turn; nothing where numbers overflow."""
    found = [
        propose_at(network, seen, proposer, policy, location, own)
        for location, own in zip(locations, split_key(key, len(locations)), strict=True)
    ]
    return [proposals for proposals in found if proposals]


def propose_at(
    network: MLP,
    seen: Seen,
    proposer: AbstractProposer,
    policy: Policy,
    location: Location,
    key: PRNGKeyArray,
) -> list[Proposal]:
    """Single units for one location, each scored beside those before it, or one layer.

    Nothing if what they score is not finite, as where the squares of inputs overflow.
    """
    layer = location.kind == "layer"
    identity = layer and policy.layer_kind == "identity"
    inputs = network.inputs_in_use(location.position)
    count = policy.units_in_turn(location)
    task = _task(network, seen, proposer, policy, location)
    problem = task.problem
    keys = search_keys(key, task.units)
    found = _search(task.search, problem, *keys, unit_scale=task.unit_scale)
    found, eta = jax.tree.map(lambda v: np.asarray(v)[:count], found), float(problem.eta)
    if not _finite((found, eta, seen.fit.limit, seen.fit.reach)):
        return []
    weight, bias, theta = found.units
    weight, columns = weight[:, : len(inputs)], np.flatnonzero(inputs) if identity else [0]
    gained = np.cumsum(found.score) - found.score
    proposals = [
        Proposal(
            location,
            weight[p][inputs][:, columns],
            bias[p][columns],
            None if theta is None else theta[p][:, columns],
            fit_score=float(found.fit_score[p]),
            score=float(found.score[p]),
            stderr=float(found.stderr[p]),
            eta=eta + float(gained[p]),
            limit=float(seen.fit.limit),
            reach=float(seen.fit.reach),
        )
        for p in range(len(gained))
    ]
    return [join(proposals)] if layer else proposals


class _Task(NamedTuple):
    """A search: what `_search` is called with."""

    search: AbstractProposer
    problem: Problem
    units: int
    unit_scale: float


def _task(
    network: MLP, seen: Seen, proposer: AbstractProposer, policy: Policy, location: Location
) -> _Task:
    """The search at a location."""
    identity = location.kind == "layer" and policy.layer_kind == "identity"
    source = seen.fit.maps[location.position], seen.held_out.maps[location.position]
    inputs = network.inputs_in_use(location.position)
    if identity:  # as many units as there are slots: each one more is paid for
        source = _without_filling(source[0], len(inputs)), _without_filling(source[1], len(inputs))
    room = source[0].a.shape[1] - 1
    usable = np.pad(inputs, (0, room - len(inputs)))
    known = location.position == 0 and room > SMALL_IN  # else searches share a program
    problem = problem_at(
        source,
        (seen.fit.maps[location.reader], seen.held_out.maps[location.reader]),
        usable,
        usable if identity else np.ones(1, bool),
        network.activation,
        damping=policy.damping,
        square=identity,
        input_factor=seen.inputs if known else None,
    )
    # One count for all single units: the search is compiled once for both kinds of location.
    count = 1 if identity else max(policy.most_units(), policy.units_in_turn(location))
    search = proposer.at(network, location, seen.fit.maps[location.reader])
    return _Task(search, problem, count, policy.unit_scale or AbstractOptimizer.unit_scale)


def prepare(
    network: MLP,
    loss: AbstractLoss,
    metric: AbstractMetric,
    samples: tuple[Batch, Batch],
    proposer: AbstractProposer,
    policy: Policy,
    output_factors: tuple[Float[Array, "_ _"], ...] | None = None,
    input_factor: InputFactor | None = None,
) -> None:
    """Compile in the background what the first look will run; samples may be mere shapes."""
    key = key_of(0)

    def prepared(sample: Batch) -> Moments:
        given = (network, loss, metric, sample, key, output_factors)
        _moments.prepare(*given)
        return _moments.shapes(*given)

    seen = Seen(prepared(samples[0]), prepared(samples[1]), input_factor)
    places = policy.stages(policy.locations(network), 0)
    for location in places[0] if places else ():
        readers = seen.fit.maps[location.reader], seen.held_out.maps[location.reader]
        residuals.prepare(readers, damping=policy.damping)
        task = eqx.filter_eval_shape(
            lambda seen, at=location: _task(network, seen, proposer, policy, at), seen
        )
        keys = search_keys(key, task.units)
        _search.prepare(task.search, task.problem, *keys, unit_scale=task.unit_scale)


def first_layer(network: MLP, policy: Policy, place: Location) -> Proposal:
    """A layer that a search might find there: what is compiled for one serves all of them."""
    units = policy.layer_size(network, place.position)
    theta = np.zeros((3, units)) if network.activation == "rational" else None
    nothing = dict.fromkeys(("fit_score", "score", "stderr", "eta", "limit", "reach"), 0.0)
    weight = np.eye(network.n_inputs(place.position), units)
    return Proposal(place, weight, np.zeros(units), theta, **nothing)


def add(network: MLP, state: Any, proposal: Proposal, policy: Policy) -> tuple[MLP, Any]:
    """The network with a proposal's units, and the network-shaped parts of `state` grown along."""
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


def _finite(numbers: Any) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(numbers))


@program(QUICK)
def _moments(network: MLP, *given: Any) -> Moments:
    """The moments, spread out: what is compiled for one map serves the searches at others."""
    seen = moments(network, *given)
    return seen._replace(maps=tuple(map(_spread, seen.maps)))


def _spread(of: MapMoments) -> MapMoments:
    """The moments of a small map as if it had `SMALL_IN` inputs and `SMALL_OUT` outputs."""
    more, beside = max(SMALL_IN + 1 - of.a.shape[1], 0), max(SMALL_OUT - of.g.shape[1], 0)
    # The constant stays last.
    a = jnp.concatenate([jnp.pad(of.a[:, :-1], ((0, 0), (0, more))), of.a[:, -1:]], axis=1)
    return MapMoments(
        a, jnp.pad(of.g, ((0, 0), (0, beside))), jnp.pad(of.S, ((0, beside), (0, beside)))
    )


def _without_filling(of: MapMoments, slots: int) -> MapMoments:
    """What `_spread` spread out, with the inputs that the map has."""
    return of._replace(a=jnp.concatenate([of.a[:, :slots], of.a[:, -1:]], axis=1))


@program(QUICK)
def _search(
    proposer: AbstractProposer,
    problem: Problem,
    search_key: PRNGKeyArray,
    keys: Key[Array, " count"],
    *,
    unit_scale: float,
) -> Found:
    found = proposer.found(problem, search_key, keys)
    if problem.square:  # the units of an identity layer must keep the scale of their inputs
        return found
    return found._replace(units=rescale(problem, found.units, unit_scale))
