"""One act of growth: find the best proposal for every place, decide, add."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from senn import devices
from senn.actions import AbstractAction
from senn.arrays import key_of, split_key
from senn.batches import EXAMPLES_AT_ONCE, Batch
from senn.blocks import ROWS, joined, walk
from senn.compilation import QUICK, program
from senn.curvature import MapRows, Moments, moments
from senn.factors import InputFactor
from senn.losses import AbstractLoss, AbstractMetric
from senn.nn.sites import AbstractMap
from senn.nn.tapped import AbstractTapped
from senn.optimizers import AbstractOptimizer
from senn.policy import Policy
from senn.positions import PositionRows, moments_at_positions
from senn.proposals import AbstractProposer, Proposal
from senn.proposals.problem import problem_at, residuals
from senn.proposals.proposal import join
from senn.proposals.spread import spread_problem
from senn.searching import Task, find, prepare_search

Net = TypeVar("Net", bound=AbstractTapped)

# All searches at maps of at most so many inputs and outputs share a program: 64 inputs, and as many
# units beside them.
SMALL_IN, SMALL_OUT = 128, 64


class Seen(NamedTuple):
    """A network's moments on the sample that units are fitted to, and on one that judges them."""

    fit: Moments
    held_out: Moments
    inputs: InputFactor | None = None  # of the network's inputs, if an optimiser knows it


def look(
    network: AbstractTapped,
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
    found = moments_at_positions if network.has_positions else _moments
    size = EXAMPLES_AT_ONCE if network.has_positions else ROWS
    fit, held_out = devices.dealt(fit, size), devices.dealt(held_out, size)
    return Seen(
        found(network, loss, metric, fit, key, output_factors),
        found(network, loss, metric, held_out, key, output_factors),
        input_factor,
    )


def propose_all(
    network: AbstractTapped,
    seen: Seen,
    proposer: AbstractProposer,
    policy: Policy,
    actions: Sequence[AbstractAction],
    key: PRNGKeyArray,
) -> list[list[Proposal]]:
    """What the search selects for each action, in turn; nothing where numbers overflow."""
    found = [
        propose_at(network, seen, proposer, policy, action, own)
        for action, own in zip(actions, split_key(key, len(actions)), strict=True)
    ]
    return [proposals for proposals in found if proposals]


def propose_at(
    network: AbstractTapped,
    seen: Seen,
    proposer: AbstractProposer,
    policy: Policy,
    action: AbstractAction,
    key: PRNGKeyArray,
) -> list[Proposal]:
    """Single units for one place, each scored beside those before it, or one layer.

    Nothing if what they score is not finite, as where the squares of inputs overflow.
    """
    count = policy.units_in_turn(action)
    task_at = _spread_task if network.has_positions else _task
    task = task_at(network, seen, proposer, policy, action)
    found = jax.tree.map(lambda v: v[:count], find(task, key))
    eta = float(task.problem.eta)
    if not _finite((found, eta, seen.fit.limit, seen.fit.reach)):
        return []
    weight, bias, theta = found.units
    columns = task.inputs if action.square else [0]
    gained = np.cumsum(found.score) - found.score
    proposals = [
        Proposal(
            action,
            weight[p][task.inputs][:, columns],
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
    return [join(proposals)] if action.inserts else proposals


def _task(
    network: AbstractTapped,
    seen: Seen,
    proposer: AbstractProposer,
    policy: Policy,
    action: AbstractAction,
    *,
    shapes: bool = False,
) -> Task:
    """The search for what an action needs; of mere shapes, if those are what was seen."""
    maps, square = action.sources(network), action.square
    source, inputs = _source(network, seen, maps, shapes=shapes)
    if square:  # as many units as there are slots: each one more is paid for
        cut = partial(_without_filling, slots=len(network.inputs_in_use(maps[0])))
        source = _both(partial(jax.eval_shape, cut) if shapes else cut, source)
    room = source[0].a.shape[1] - 1
    usable = np.isin(np.arange(room), inputs)
    sites = [network.graph.maps[m] for m in maps]
    of_network = len(sites) == 1 and sites[0].reads == network.graph.inputs
    known = of_network and room > SMALL_IN  # else searches share a program
    readers, columns = _readers(network, seen, action)
    problem = problem_at(
        source,
        readers,
        usable,
        usable if square else np.ones(1, bool),
        action.activation(network),
        damping=policy.damping,
        columns=columns,
        square=square,
        input_factor=seen.inputs if known else None,
        shapes=shapes,
    )
    # One count for all single units: the search is compiled once for both kinds of action.
    count = 1 if square else max(policy.most_units(), policy.units_in_turn(action))
    search = proposer.at(network, action, [fit for fit, _ in readers])
    unit_scale = policy.unit_scale or AbstractOptimizer.unit_scale
    return Task(search, problem, inputs, count, unit_scale)


def _spread_task(
    network: AbstractTapped,
    seen: Seen,
    proposer: AbstractProposer,
    policy: Policy,
    action: AbstractAction,
    *,
    shapes: bool = False,
) -> Task:
    """The same where maps are applied at several positions."""

    def at(m: int) -> tuple[AbstractMap, PositionRows, PositionRows]:
        return network.graph.maps[m], seen.fit.maps[m], seen.held_out.maps[m]

    if not proposer.at_positions:
        raise ValueError(
            f"{type(proposer).__name__} searches for units of maps that are applied once to an "
            "example; this network has others: take senn.proposals.Projection or Random."
        )
    source, *others = action.sources(network)
    if others:
        raise ValueError(
            f"{action} is written by {len(others) + 1} maps, some of them applied at several "
            "positions, and no search knows that yet: say in the graph why that space is rigid."
        )
    readers, inputs = [at(m) for m in action.readers(network)], network.inputs_in_use(source)
    problem = spread_problem(
        at(source), readers, inputs, action.activation(network),
        damping=policy.damping, blocks=action.blocks(network), shapes=shapes,
    )  # fmt: skip
    count = max(policy.most_units(), policy.units_in_turn(action))
    search = proposer.at(network, action, [fit for _, fit, _ in readers])
    unit_scale = policy.unit_scale or AbstractOptimizer.unit_scale
    return Task(search, problem, np.flatnonzero(inputs), count, unit_scale)


def _source(
    network: AbstractTapped, seen: Seen, maps: Sequence[int], *, shapes: bool
) -> tuple[tuple[MapRows, MapRows], np.ndarray]:
    """What units see that read what these maps do, and which of the inputs are in use.

    The inputs of several maps are moved together.
    """
    samples = seen.fit, seen.held_out
    in_use = [network.inputs_in_use(m) for m in maps]
    if len(maps) == 1:
        return _both(lambda of: of.maps[maps[0]], samples), np.flatnonzero(in_use[0])
    starts = np.cumsum([0, *(seen.fit.maps[m].a.shape[1] - 1 for m in maps)])
    columns = np.concatenate(
        [start + np.flatnonzero(used) for start, used in zip(starts, in_use, strict=False)]
    )
    n = len(columns)
    columns = np.pad(columns, (0, max(SMALL_IN - n, 0)), constant_values=starts[-1]).astype(
        np.int32
    )
    join = _joined.shapes if shapes else _joined
    joined_of = _both(lambda of: join(tuple(of.maps[m] for m in maps), columns), samples)
    return joined_of, np.arange(n)


def _both(function: Callable[[Any], MapRows], samples: tuple[Any, Any]) -> tuple[MapRows, MapRows]:
    fit, held_out = samples
    return function(fit), function(held_out)


@program(QUICK)
def _joined(parts: tuple[MapRows, ...], columns: Int[Array | np.ndarray, " I"]) -> MapRows:
    """The columns of several maps' inputs beside each other; the number behind the last is 0."""
    first = parts[0]
    zero = jnp.zeros((len(first.a), 1), first.a.dtype)
    inputs = jnp.concatenate([*(of.a[:, :-1] for of in parts), zero], axis=1)[:, columns]
    constant = jnp.max(jnp.stack([of.a[:, -1:] for of in parts]), axis=0)  # of those with a bias
    return first._replace(a=jnp.concatenate([inputs, constant], axis=1))


def _readers(
    network: AbstractTapped, seen: Seen, action: AbstractAction
) -> tuple[list[tuple[MapRows, MapRows]], np.ndarray | None]:
    """What the maps that will read the units see, and which columns of theirs are in use.

    The columns of several maps are moved together, so that as a rule they need no other program
    than those of one.
    """
    numbers = action.readers(network)
    rows = [(seen.fit.maps[m], seen.held_out.maps[m]) for m in numbers]
    if len(rows) == 1:
        return rows, None
    starts = np.cumsum([0, *(fit.g.shape[1] for fit, _ in rows)])
    used = [
        start + np.flatnonzero(network.outputs_in_use(m))
        for m, start in zip(numbers, starts, strict=False)
    ]
    columns = np.concatenate(used).astype(np.int32)
    filling = -len(columns) % SMALL_OUT
    return rows, np.pad(columns, (0, filling), constant_values=starts[-1])


def prepare(
    network: AbstractTapped,
    loss: AbstractLoss,
    metric: AbstractMetric,
    samples: tuple[Batch, Batch],
    proposer: AbstractProposer,
    policy: Policy,
    output_factors: tuple[Float[Array, "_ _"], ...] | None = None,
    input_factor: InputFactor | None = None,
) -> None:
    """Compile in the background what the first look will run; samples may be mere shapes."""
    found, task_at = _moments, _task
    if network.has_positions:
        found, task_at = moments_at_positions, _spread_task
    looks = [(network, loss, metric, of, key_of(0), output_factors) for of in samples]
    fit, held_out = (found.shapes(*given) for given in looks)
    seen = Seen(fit, held_out, input_factor)
    actions = policy.actions(network)
    for action in chain(*policy.stages(actions, 0)[:1]):  # these take the longest
        prepare_search(task_at(network, seen, proposer, policy, action, shapes=True))
    for given in looks:
        found.prepare(*given)
    for action in () if network.has_positions else actions:
        readers, columns = _readers(network, seen, action)
        residuals.prepare(tuple(readers), columns, damping=policy.damping)


def first_layer(network: AbstractTapped, policy: Policy, action: AbstractAction) -> Proposal:
    """A layer that a search might find there: what is compiled for one serves all of them."""
    units = policy.layer_size(network, action.position)
    learned = action.activation(network).learned
    theta = np.zeros((learned, units)) if learned else None
    nothing = dict.fromkeys(("fit_score", "score", "stderr", "eta", "limit", "reach"), 0.0)
    weight = np.eye(sum(network.n_inputs(m) for m in action.sources(network)), units)
    return Proposal(action, weight, np.zeros(units), theta, **nothing)


def add(
    network: Net,
    state: Any,
    proposal: Proposal,
    policy: Policy,
    born: int | None = None,
) -> tuple[Net, Any]:
    """The network with a proposal's units, and the network-shaped parts of `state` grown along.

    `born` is the number of the addition; None is one more than of the last.
    """
    units = proposal.weight, proposal.bias, proposal.theta
    return proposal.action.apply(network, state, *units, policy.max_units, born)


def _finite(numbers: Any) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(numbers))


@program(QUICK)
def _moments(
    network: AbstractTapped,
    loss: AbstractLoss,
    metric: AbstractMetric,
    batch: Batch,
    key: PRNGKeyArray,
    output_factors: tuple[Float[Array, "_ _"], ...] | None = None,
) -> Moments:
    """The moments, spread out: what is compiled for one map serves the searches at others."""

    def of_block(batch: Batch, i):
        own = jax.random.fold_in(key, i)
        seen = moments(network, loss, metric, batch, own, output_factors)
        factors = () if output_factors else tuple(of.S for of in seen.maps)
        known = [
            (_with_constant(of.dense[0], site), of.dense[1])
            for of, site in zip(seen.maps, network.graph.maps, strict=True)
        ]
        spread = [_spread(a, g) for a, g in known]
        rows = tuple((*own, of.root_weight) for own, of in zip(spread, seen.maps, strict=True))
        return rows, (factors, seen[1:])

    rows, (factors, means) = walk(of_block, batch, batch.weight)
    maps = (
        MapRows(joined(a), joined(g), _spread_factor(S), joined(root))
        for (a, g, root), S in zip(rows, output_factors or factors, strict=True)
    )
    return Moments(tuple(maps), *means)


def _with_constant(a: Float[Array, "N J"], site: AbstractMap) -> Float[Array, "N _"]:
    """Last the constant, 0 for a map without bias."""
    if site.bias is not None:
        return a
    return jnp.concatenate([a, jnp.zeros((len(a), 1), a.dtype)], axis=1)


def _spread(
    a: Float[Array, "N I"], g: Float[Array, "N O"]
) -> tuple[Float[Array, "N _"], Float[Array, "N _"]]:
    """What a small map sees as if it had `SMALL_IN` inputs and `SMALL_OUT` outputs."""
    n, more, beside = len(a), SMALL_IN + 1 - a.shape[1], SMALL_OUT - g.shape[1]
    # The constant stays last.
    a = jnp.concatenate([a[:, :-1], jnp.zeros((n, max(more, 0)), a.dtype), a[:, -1:]], axis=1)
    return a, jnp.concatenate([g, jnp.zeros((n, max(beside, 0)), g.dtype)], axis=1)


def _spread_factor(S: Float[Array, "O O"]) -> Float[Array, "_ _"]:
    beside = max(SMALL_OUT - S.shape[0], 0)
    return jnp.pad(S, ((0, beside), (0, beside)))


def _without_filling(of: MapRows, slots: int) -> MapRows:
    """What `_spread` spread out, with the inputs that the map has."""
    return of._replace(a=jnp.concatenate([of.a[:, :slots], of.a[:, -1:]], axis=1))
