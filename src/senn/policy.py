"""When and where to add: thresholds and budgets, turned into decisions with their reasons."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from senn.actions import AbstractAction, Beside, Between, Widen
from senn.nn.activation import Activation
from senn.nn.tapped import AbstractTapped
from senn.policy_checks import check_policy
from senn.prices import Prices
from senn.proposals import Proposal
from senn.pruning import Going, everywhere
from senn.score import max_additions
from senn.verdicts import Decision, Outcome, Verdict, percent, times
from senn.words import quoted

SHRINK_AT_ONCE = 0.1  # of the units, at one look, where there are too many


@dataclass(frozen=True)
class Policy:
    """The thresholds of sections 3.4 and 3.5, and the budgets of a user.

    A proposal is acceptable if its held-out score, less `confidence` standard errors and
    divided by what it costs, passes both thresholds; the best acceptable one is added.

    Args:
        tau: expansion threshold τ > 1; the score must exceed (τ − 1) η_c, η_c of the linear maps
            that would read the units, summed.
        alpha: stopping criterion α, relative to λ, or for the Fisher metric to twice the loss;
            the score must exceed α times that.
        confidence: standard errors of the held-out score that are subtracted from it.
        layer_cost: what the score of a new layer is divided by; None divides it by its units.
            The paper uses constants, 2 for toy data and 60 for images. The latter is the
            default: a layer is added when units alone get nowhere. It costs a compilation too.
        width, depth: whether units and layers may be added at all.
        layer_kind: "residual" (ours, exact) or "identity" (the paper's).
        layer_units: units that a new residual layer starts with, to be widened like any other;
            identity layers have one per input.
        max_identity_units: inputs above which no identity layer is proposed.
        every: steps between considerations (the paper's slower steps: 30), if each adds
            `additions_at_once` units; proportionally more after one that adds fewer, so that
            looking costs little a unit.
        backoff: `every` is multiplied by it for each consideration in a row that added nothing,
            unless what the last addition asks for is longer: looking costs little once there is
            little to find.
        layer_every: steps between layers added (the paper's: 90).
        additions_at_once: most units added in one consideration, each scored against what
            those before it left; Theorem 1's bound holds too.
        layers_last: propose layers only when no unit passes anywhere, for the second time in a
            row. The paper compares both every time (False); at the default `layer_cost` that
            rarely ends otherwise, and costs searches and compilations.
        max_units, max_layers, max_parameters, max_seconds: budgets for units and layers in
            all, active parameters, and time since the start; None is without limit.
        prune: units leave whose price, times two as Δη is, is below this share of what α asks of
            a new one, so that what leaves is not soon added again; 0 lets none leave.
        trial: steps after its birth before a unit may leave: until then it is not trained.
        swap: with a budget of units or parameters used up, how many times what the cheapest
            units cost, again times two, a new one must gain to take their place; None keeps
            what is there, and ends growth.
        swap_patience: `patience` while a budget is used up.
        prefer: the size that is kept when growth has ended, of those on the way down the prices:
            the "small"est whose loss on the validation rows is within one standard error of the
            best (paired, by example), the "best", or that which has "grown". Without validation
            rows it is the latter.
        expect: what a new unit is expected to be worth: what it is scored, as in the paper, or the
            "price" of those that are there and had their `trial`, twice the median of what they
            cost to lose, where that passes α. Such places are searched one by one, the most worth
            for the work of a unit first, until one passes; then all others, by their scores.
        patience: considerations in a row after which growth ends if nothing passed α in any of
            them; what τ alone refuses may pass later, as η_c falls.
        plateau: evaluations in a row without a better loss after which growth ends: more units
            no longer show in it.
        unit_scale: activation of new units relative to the inputs of the maps that read them,
            root mean square each. The score leaves it free. None leaves it to the optimiser: 0.3
            for `KFAC`, 1 for others, which learn slower behind smaller activations.
        metric: output metric of the score, "fisher" or "euclidean"; None takes that of the
            training steps, as the paper does, and if `KFAC` takes those, the score reads its S.
        damping: relative damping of the Kronecker factors A and S in the score.
    """

    tau: float = 1.001
    alpha: float = 5e-4
    confidence: float = 0.5
    layer_cost: float | None = 60.0
    width: bool = True
    depth: bool = True
    layer_kind: Literal["residual", "identity"] = "residual"
    layer_units: int = 1
    max_identity_units: int = 64
    every: int = 10
    backoff: float = 2.0
    layer_every: int = 30
    additions_at_once: int = 16
    layers_last: bool = True
    max_units: int | None = None
    max_layers: int | None = None
    max_parameters: int | None = None
    max_seconds: float | None = None
    prune: float = 0.5
    trial: int = 50
    swap: float | None = 2.0
    swap_patience: int = 3
    prefer: Literal["small", "best", "grown"] = "small"
    expect: Literal["score", "price"] = "score"
    patience: int = 8
    plateau: int = 10
    unit_scale: float | None = None
    metric: str | None = None
    damping: float = 0.1

    def __post_init__(self):  # noqa: D105
        check_policy({field.name: getattr(self, field.name) for field in fields(self)})

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """The settings by name: `policy__alpha` is one more parameter of an estimator."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.init}

    def set_params(self, **params: Any) -> "Policy":
        """Other settings, checked, in place: that is how scikit-learn's searches set them.

        Elsewhere policies do not change; `dataclasses.replace` makes another.
        """
        known = self.get_params()
        if unknown := [name for name in params if name not in known]:
            raise ValueError(f"Policy has no setting {quoted(unknown)}; it has {', '.join(known)}.")
        for name, value in replace(self, **params).get_params().items():
            object.__setattr__(self, name, value)
        return self

    @property
    def square_layers(self) -> bool:
        """Whether new layers, if there may be any, take the place of what they read."""
        return self.depth and LAYERS[self.layer_kind].square

    def check_activation(self, activation: Activation) -> None:
        """Raise a `ValueError` if units of it could not be layers of that kind."""
        if self.square_layers and activation.identity is None:
            raise ValueError(
                'layer_kind="identity" needs units that can be the identity, such as rational '
                f'ones; the network has {activation.name}. Use layer_kind="residual" or '
                "depth=False."
            )

    def layer_size(self, network: AbstractTapped, position: int) -> int:
        """Units that a new layer before map `position` would have."""
        return network.n_inputs(position) if LAYERS[self.layer_kind].square else self.layer_units

    def actions(
        self, network: AbstractTapped, *, layers_allowed: bool = True
    ) -> tuple[AbstractAction, ...]:
        """How the network may grow now, within all budgets; empty when they are used up."""
        free = [(n, s) for n, s in enumerate(network.graph.hidden) if not s.rigid]
        width = [Widen(n, space.name) for n, space in free] if self.width else ()
        layers = self.depth and layers_allowed
        depth = map(LAYERS[self.layer_kind], network.insertions if layers else ())
        return tuple(action for action in (*width, *depth) if self._fits(network, action))

    def swaps(self, network: AbstractTapped) -> tuple[AbstractAction, ...]:
        """Where units may come once the budgets are used up, if others leave for them."""
        if not self.may_swap(network):
            return ()
        boundless = replace(self, max_units=None, max_parameters=None)
        return boundless.actions(network, layers_allowed=False)

    def over_budget(self, network: AbstractTapped, hidden_sizes: Sequence[int]) -> bool:
        """Whether the network would be too large with so many units."""
        parameters = network.parameters_with(hidden_sizes)
        return (self.max_units is not None and sum(hidden_sizes) > self.max_units) or (
            self.max_parameters is not None and parameters > self.max_parameters
        )

    def may_swap(self, network: AbstractTapped) -> bool:
        """Whether units may leave to make room for others."""
        sizes = network.hidden_sizes
        return self.swap is not None and sum(sizes) > 1 and not self.over_budget(network, sizes)

    def leaving(
        self,
        prices: Prices,
        may: Sequence[np.ndarray],
        reach: float,
        at_once: float = SHRINK_AT_ONCE,
    ) -> Going:
        """The units that leave whatever comes: those that cost too little, and those too many.

        `may` says of every hidden space which slots hold units that may leave. Of what is over a
        budget a share of all units leaves `at_once`, so that training can make up for it.
        """
        going, network = everywhere(prices, may), prices.network
        going = going.below(self.least_price(reach), f"cost less to lose than {self.prune:g} α")
        for _ in range(max(round(at_once * sum(network.hidden_sizes)), 1)):
            if not self.over_budget(network, going.hidden_sizes):
                break
            unit = going.left.cheapest()
            if unit is None:
                break
            going = going.losing(unit, "over the budget")
        return going

    def least_price(self, reach: float) -> float:
        """What losing a unit must cost, in units of the loss, lest it leaves."""
        return self.prune * self.alpha * reach / 2

    def stages(
        self, actions: Sequence[AbstractAction], fruitless: int
    ) -> tuple[Sequence[AbstractAction], ...]:
        """Which actions to propose for first, and which only if nothing passes there.

        `fruitless` is the number of considerations in a row before this that added nothing.
        """
        units = [action for action in actions if not action.inserts]
        layers = [action for action in actions if action.inserts]
        if not self.layers_last:
            return ((*units, *layers),)
        return tuple(s for s in (units, layers if fruitless or not units else ()) if s)

    def _fits(
        self,
        network: AbstractTapped,
        action: AbstractAction,
        units: int = 1,
        going: Going | None = None,
    ) -> bool:
        """Whether there is room, once those that are `going` have left."""
        if action.inserts:
            units = self.layer_size(network, action.position)
            if self.max_layers is not None and len(network.graph.hidden) >= self.max_layers:
                return False
        if action.square and units > self.max_identity_units:
            return False
        there = sum(network.hidden_sizes if going is None else going.hidden_sizes)
        if self.max_units is not None and there + units > self.max_units:
            return False
        parameters = network.n_parameters if going is None else going.n_parameters
        cost = action.cost(network, units)
        return self.max_parameters is None or parameters + cost <= self.max_parameters

    def _room(
        self, network: AbstractTapped, proposal: Proposal, units: int, going: Going | None
    ) -> tuple[Going | None, bool]:
        """Who leaves so that there is room for `units`, of which this is the last, if it pays."""
        paid, made = 0.0, going
        while not self._fits(network, proposal.action, units, made):
            if made is None or proposal.action.inserts or not self.may_swap(network):
                return going, False
            unit = made.cheapest()
            if unit is None or self.swap is None:
                return going, False
            paid += self.swap * 2 * unit.price
            if not self.worth(proposal) > paid:
                return going, False
            made = made.losing(unit, "left for better ones")
        return made, True

    def worth(self, proposal: Proposal) -> float:
        """What a proposal is expected to be worth, or its cautious score, for what it costs."""
        if proposal.expected is not None:
            return proposal.expected
        constant = self.layer_cost if proposal.action.inserts else None
        cost = proposal.units if constant is None else constant
        return (proposal.score - self.confidence * proposal.stderr) / cost

    def units_in_turn(self, action: AbstractAction) -> int:
        """Units to propose for a place, each scored beside those before it."""
        if action.square:
            return 1  # proposal of many
        return self.layer_units if action.inserts else self.most_units()

    def next_look(self, step: int, added: int, fruitless: int) -> int:
        """The step of the next consideration after one at `step`.

        `added` is how many units the last did that added any, and `fruitless` how many have
        added nothing since. The start counts as one, at step 0, that added as many as it could.
        """
        few = self.most_units() / max(added, 1)
        return step + round(self.every * max(few, self.backoff**fruitless))

    def most_units(self) -> int:
        """Units added in one consideration at most: theorem 1's bound, if smaller."""
        return max(min(self.additions_at_once, max_additions(1.0, self.alpha, self.tau)), 1)

    def decide(
        self,
        proposals: Sequence[Sequence[Proposal]],
        network: AbstractTapped,
        going: Going | None = None,
    ) -> Decision:
        """Accept the best first proposal that passes both thresholds, if one does.

        `proposals` has those for each place in turn. After the best first one, those that
        follow it are accepted until one does not pass, or no room is left. `going` has the units
        that leave before, and the prices at which others may make room.
        """
        best, decision = self._first([p[0] for p in proposals])
        if best is None:
            return replace(decision, going=going)
        verdicts, going = self._in_turn(proposals[best], network, going)
        others = [v for i, v in enumerate(decision.verdicts) if i != best]
        if not verdicts[0].accepted:
            others.insert(best, verdicts[0])
            return Decision(tuple(others), self._nothing(others), exhausted=True, going=going)
        others.insert(best, verdicts[0])
        return replace(decision, verdicts=(*others, *verdicts[1:]), going=going)

    def _in_turn(
        self, proposals: Sequence[Proposal], network: AbstractTapped, going: Going | None
    ) -> tuple[list[Verdict], Going | None]:
        """On proposals for one place, up to the first that is refused."""
        verdicts: list[Verdict] = []
        for k, proposal in enumerate(proposals):
            verdict = self._verdict(proposal)
            if verdict.accepted:
                going, room = self._room(network, proposal, k + 1, going)
                if not room:
                    if not verdicts or (going is not None and self.may_swap(network)):
                        verdicts.append(self._no_room(proposal))
                    break
            verdicts.append(verdict)
            if not verdict.accepted:
                break
        return verdicts, going

    def _no_room(self, proposal: Proposal) -> Verdict:
        gained = self._gained(proposal)
        asked = "" if self.swap is None else f", not {self.swap:g} times what would have to leave"
        return Verdict(proposal, Outcome.SWAP, f"{gained}{asked}, and the budget is used up")

    def _first(self, proposals: Sequence[Proposal]) -> tuple[int | None, Decision]:
        """The number of the best proposal that passes, and the verdicts."""
        verdicts = [self._verdict(p) for p in proposals]
        able = [i for i, verdict in enumerate(verdicts) if verdict.accepted]
        if not able:
            exhausted = not any(self._useful(p) for p in proposals)
            return None, Decision(tuple(verdicts), self._nothing(verdicts), exhausted)
        first = max(able, key=lambda i: self.worth(proposals[i]))
        best = verdicts[first]
        passes = f"passes, but {best.proposal.action} is worth more a unit"
        for i in able:
            if i != first:
                verdicts[i] = Verdict(proposals[i], Outcome.ELSEWHERE, passes)
        return first, Decision(
            tuple(verdicts), f"{best.proposal.action}: {best.reason}", exhausted=False
        )

    def _useful(self, proposal: Proposal) -> bool:
        return self.worth(proposal) > self.alpha * proposal.reach

    def _verdict(self, proposal: Proposal) -> Verdict:
        """By the thresholds alone."""
        worth, eta = self.worth(proposal), proposal.eta
        gained = self._gained(proposal)
        raised = f"raises η_c {times(worth, eta)}-fold"
        if not worth > 0:
            outcome = Outcome.NOISE
            said = f"({proposal.score:.2g} ± {proposal.stderr:.2g})"
            reason = f"gains nothing on held-out data {said}"
        elif not self._useful(proposal):
            outcome, reason = Outcome.ALPHA, f"{gained}, α asks {self.alpha:.2%}"
        elif proposal.expected is not None:  # of those that are there: τ is about what is new
            outcome, reason = Outcome.ADDED, f"{gained} (α {self.alpha:.2%})"
        elif not worth > (self.tau - 1) * eta:
            outcome, reason = Outcome.TAU, f"a unit {raised}, τ asks {self.tau:g}"
        else:
            outcome = Outcome.ADDED
            reason = f"{gained} (α {self.alpha:.2%}) and {raised} (τ {self.tau:g})"
        return Verdict(proposal, outcome, reason)

    def _gained(self, proposal: Proposal) -> str:
        share = percent(self.worth(proposal), proposal.reach)
        if proposal.expected is None:
            return f"a unit gains {share} of what is left"
        return f"to lose a unit there costs {share} of what is left"

    def _nothing(self, verdicts: Sequence[Verdict]) -> str:
        if not verdicts:
            return "no place to add: none has a finite score"
        closest = max(verdicts, key=lambda verdict: self.worth(verdict.proposal))
        return f"best, {closest.proposal.action}: {closest.reason}"


LAYERS = {"residual": Beside, "identity": Between}  # by `layer_kind`
