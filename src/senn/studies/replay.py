"""Adding units when and where another run did: what is left to differ is the units themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from senn import History, Policy, growth
from senn.actions import AbstractAction, Beside, Widen
from senn.nn import MLP, Dense
from senn.nn.network import lecun_normal, rebuild
from senn.nn.tapped import AbstractTapped
from senn.policy import Decision, Outcome, Verdict
from senn.proposals import Proposal
from senn.proposals.proposal import join
from senn.pruning import Going

NEVER = 10**9


class Planned(NamedTuple):
    """One addition: when, where, how many units, and to how many that there were."""

    step: int
    action: AbstractAction
    units: int
    size: int  # hidden units in all just before


@dataclass(frozen=True)
class Replay(Policy):
    """A policy that accepts what is proposed at planned steps, and nothing else.

    How far the plan has been followed is read off the network's size. Growth ends where that of
    the planning run did, so that the learning rate falls at the same steps.

    Args:
        plan: the additions, in order.
        end: the step at which growth ends.
        places_seed: draws the place of every addition among those where a unit or a layer may
            go; None takes the planned places.
    """

    patience: int = 1  # at `end` nothing passes, and that is all
    plateau: int = NEVER
    prune: float = 0.0  # what is planned stays
    swap: float | None = None
    prefer: Literal["small", "best", "grown"] = "grown"
    plan: tuple[Planned, ...] = ()
    end: int = NEVER
    places_seed: int | None = None

    def due(self, network: AbstractTapped) -> Planned | None:
        """The next addition to a network of this size, if there is one."""
        size = sum(network.hidden_sizes)
        return next((planned for planned in self.plan if planned.size == size), None)

    def next_look(self, step: int, added: int, fruitless: int) -> int:  # noqa: ARG002
        """The next planned step, or that at which growth ends."""
        return min((p.step for p in self.plan if p.step > step), default=max(self.end, step + 1))

    def actions(
        self, network: AbstractTapped, *, layers_allowed: bool = True
    ) -> tuple[AbstractAction, ...]:
        """The place of the next addition; after the last any, if there is room."""
        planned = self.due(network)
        if planned is not None and self.places_seed is None:
            return (planned.action,)
        places = super().actions(network, layers_allowed=layers_allowed)
        if planned is None or self.places_seed is None:
            return places[:1]
        draw = np.random.default_rng((self.places_seed, planned.size))
        return (places[draw.integers(len(places))],)

    def units_in_turn(self, action: AbstractAction) -> int:  # noqa: ARG002
        """As many everywhere; `decide` takes as many as are planned."""
        return self.most_units()

    def decide(
        self,
        proposals: Sequence[Sequence[Proposal]],
        network: AbstractTapped,
        going: Going | None = None,
    ) -> Decision:
        """Accept as many units as planned, whatever they score."""
        planned = self.due(network)
        reason = "as planned" if planned else "nothing more is planned"
        units = [join(p) for p in proposals]
        kept = [first_units(p, planned.units) if planned else p for p in units]
        outcome = Outcome.ADDED if planned else Outcome.ALPHA
        verdicts = tuple(Verdict(p, outcome, reason) for p in kept)
        return Decision(verdicts, reason, exhausted=planned is None, going=going)


def plan_of(history: History) -> tuple[Planned, ...]:
    """The additions of a run whose layers are residual."""
    return tuple(
        Planned(
            a.step,
            (Beside if a.inserts else Widen)(a.position),
            a.units,
            sum(a.hidden_sizes) - a.units,
        )
        for a in history.additions
    )


def evenly(plan: Sequence[Planned], sizes: Sequence[int], layers: int) -> tuple[Planned, ...]:
    """The same units at the same times, but shared out evenly among so many hidden layers.

    What goes to several layers comes at steps in a row. Layers that there are not yet come by their
    first units, behind the others. Units that do not divide go to the layers in turn.
    """
    made, total, turn = [], sum(sizes), 0
    there = len(sizes)
    for planned in plan:
        shares = [0] * layers
        for _ in range(planned.units):
            shares[turn % layers] += 1
            turn += 1
        step = planned.step
        for layer, units in enumerate(shares):
            if not units:
                continue
            new = layer >= there
            action = Beside(there) if new else Widen(layer)
            made.append(Planned(step, action, units, total))
            there, total, step = there + new, total + units, step + 1
    return tuple(made)


def first_units(proposal: Proposal, count: int) -> Proposal:
    """The first `count` of a proposal's units; its scores stay those of all."""
    theta = proposal.theta
    return replace(
        proposal,
        weight=proposal.weight[:, :count],
        bias=proposal.bias[:count],
        theta=None if theta is None else theta[:, :count],
    )


def full_size(first: MLP, plan: Sequence[Planned], policy: Policy, key: PRNGKeyArray) -> MLP:
    """A network of the size that `first` has after the plan, all of it drawn anew."""
    network = first
    for planned in plan:
        inputs, K = network.n_inputs(planned.action.position), planned.units
        learned = network.activation.learned
        theta = np.zeros((learned, K)) if learned else None
        silent = Proposal(planned.action, np.zeros((inputs, K)), np.zeros(K), theta, *[0.0] * 6)
        network, _ = growth.add(network, None, silent, policy)
    return drawn_anew(network, key)


def drawn_anew(network: MLP, key: PRNGKeyArray) -> MLP:
    """The same sizes with new parameters, by the scheme of `MLP`: LeCun normal, θ ~ N(0, 1)."""
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    maps = [_dense(draw, network, position) for position in range(network.n_maps)]
    sigmas = [
        network.activation.drawn(draw, size, layer.capacity, layer.dense.bias.dtype)
        for layer, size in zip(network.hidden, network.hidden_sizes, strict=True)
    ]
    return rebuild(network, maps, sigmas)


def _dense(draw: np.random.Generator, network: MLP, position: int) -> Dense:
    old, sizes = network.maps[position], (network.in_size, *network.hidden_sizes, network.out_size)
    rows, columns = [sizes[node] for node in network.sources[position]], sizes[position + 1]
    weight = lecun_normal(draw, (sum(rows), columns))
    parts = np.split(weight, np.cumsum(rows)[:-1])
    blocks = [np.zeros(block.shape, block.dtype) for block in old.weights]
    for block, part in zip(blocks, parts, strict=True):
        block[: len(part), :columns] = part
    return Dense(tuple(jnp.asarray(block) for block in blocks), jnp.zeros_like(old.bias))
