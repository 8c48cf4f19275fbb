"""The paper's algorithm, taken apart: train, look everywhere, decide, add (section 3.4).

`senn.fit` does all of it, but keeps to itself the networks in between, which the figures need,
and judges units on other examples than those they were fitted to, which the paper does in its
last experiment alone.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jaxtyping import PRNGKeyArray

from senn import Batch, History, Policy, Schedule, fit, growth
from senn.history import Ending
from senn.losses import AbstractLoss, AbstractMetric, make_metric
from senn.nn import MLP
from senn.optimizers import NaturalGradient
from senn.proposals import AbstractProposer, Proposal
from senn.proposals.proposal import join
from senn.score import max_additions
from senn.training.state import described

RATE = DAMPING = 0.1  # of the paper's optimiser, everywhere (appendix C)
NO_GROWTH = Policy(width=False, depth=False)
STEPS_PER_CALL = 10
NEVER = 10**9  # what is counted does not get so far

# What the paper does in every experiment; each has a τ, an α and a cadence of its own.
PAPER = Policy(
    confidence=0.0,
    layer_kind="identity",
    backoff=1.0,
    additions_at_once=1,
    layers_last=False,
    patience=NEVER,
    plateau=NEVER,
    metric="euclidean",
)


def fit_whole(*args: Any, **kwargs: Any) -> tuple[MLP, History]:
    """`senn.fit`, but Ctrl-C is raised again: no record may hold a run that was cut short."""
    trained, history = fit(*args, **kwargs)
    if history.ended_by == Ending.INTERRUPTED:
        raise KeyboardInterrupt
    return trained, history


class Look(NamedTuple):
    """The best proposal at every place, and the one to add, if any."""

    proposals: list[Proposal]
    accepted: Proposal | None


@dataclass(frozen=True)
class Recipe:
    """How one experiment trains and grows."""

    loss: AbstractLoss
    optimizer: NaturalGradient
    policy: Policy
    proposer: AbstractProposer  # of units
    layer_proposer: AbstractProposer
    batch_size: int

    @property
    def metric(self) -> AbstractMetric:
        """The output metric, of the steps as of the score."""
        return make_metric(self.policy.metric or "euclidean", self.loss)

    @property
    def most_additions(self) -> int:
        """How often in a row something can be accepted (theorem 1)."""
        return max_additions(1.0, self.policy.alpha, self.policy.tau)

    def train(self, network: MLP, data: Batch, steps: int, seed: int = 0) -> MLP:
        """The network after so many steps; `seed` orders the data."""
        schedule = Schedule(
            max_steps=steps,
            batch_size=self.batch_size,
            evaluate_every=steps,
            averaging=0.0,
            anneal_epochs=None,
            steps_per_call=STEPS_PER_CALL,
        )
        trained, history = fit_whole(
            network,
            data,
            loss=self.loss,
            metric=self.metric,
            optimizer=self.optimizer,
            policy=NO_GROWTH,
            schedule=schedule,
            seed=seed,
        )
        if history.steps < steps:
            raise FloatingPointError(f"Training ended early: {history.stop_reason}.")
        return trained

    def look(
        self,
        network: MLP,
        fitted_on: Batch,
        judged_on: Batch,
        key: PRNGKeyArray,
        *,
        layers_allowed: bool = True,
    ) -> Look:
        """Search everywhere, and decide."""
        look_key, key = jax.random.split(key)
        seen = growth.look(network, self.loss, self.metric, fitted_on, judged_on, look_key)
        places = self.policy.actions(network, layers_allowed=layers_allowed)
        found: list[list[Proposal]] = []
        for inserts, proposer in ((False, self.proposer), (True, self.layer_proposer)):
            of_kind = [place for place in places if place.inserts == inserts]
            found += growth.propose_all(network, seen, proposer, self.policy, of_kind, key)
        accepted = self.policy.decide(found, network).accepted
        return Look([best for best, *_ in found], join(accepted) if accepted else None)

    def add(self, network: MLP, proposal: Proposal) -> MLP:
        """The network with the proposal's units."""
        return growth.add(network, None, proposal, self.policy)[0]

    def ratio(self, proposal: Proposal) -> float:
        """Δη′/η_c, a layer's divided by its cost: above τ − 1 it is worth adding."""
        return self.policy.worth(proposal) / max(proposal.eta, 1e-30)

    def settings(self) -> dict[str, Any]:
        """Every setting, by name."""
        parts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: described(part) for name, part in parts.items()}


def passed(checks: Sequence[bool]) -> dict[str, Any]:
    """How often a claim held, of how many times it was checked."""
    return {"held": sum(map(bool, checks)), "checked": len(checks), "all": all(checks)}
