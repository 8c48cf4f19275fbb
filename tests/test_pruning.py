"""Units leave within runs: which, why, what follows from it, and that a run goes on as it would."""

from dataclasses import replace

import equinox as eqx
import numpy as np
import optax
import pytest

import senn
from senn.actions import Widen
from senn.callbacks import Callback
from senn.checkpoints import read_checkpoint, write_checkpoint
from senn.history import History
from senn.lineage import lineage, lineage_of, sizes_before
from senn.nn.spaces import births
from senn.optimizers import KFAC, NaturalGradient, Optax
from senn.policy import Policy
from senn.prices import Factor, Prices
from senn.proposals import Proposal, Random
from senn.pruning import everywhere
from senn.training import Schedule
from strategies import random_network
from towers import Towers

CAPACITY = 12
RNG = np.random.default_rng(3)
X = RNG.normal(size=(120, 5))
Y = ((X[:, 0] * X[:, 3] + np.sin(2 * X[:, 4])) > 0).astype(int)

# --- the policy -------------------------------------------------------------------------------


def priced(*costs, capacity=CAPACITY, **settings):
    """A network of one hidden layer whose units cost this much, and a policy."""
    network = random_network((5, len(costs), 1), capacity=capacity)
    J = capacity + 1
    weight = np.zeros((J, 1))
    weight[: len(costs), 0] = np.sqrt(2 * np.array(costs))
    prices = Prices.of(network, {1: Factor(np.eye(J), np.eye(1))}, damping=0.0)
    reader = prices.readers[1]._replace(weight=weight)
    plain = {"tau": 1.001, "alpha": 0.01, "confidence": 0.0, "prune": 0.5, "swap": 2.0}
    return network, Prices(network, {1: reader}, prices.there), Policy(**(plain | settings))


def all_slots(prices):
    return everywhere(prices).may


def gone(going):
    return [d.unit.slot for d in going.departures]


def offers(*scores):
    new = {"weight": np.zeros((5, 1)), "bias": np.zeros(1), "theta": np.zeros((3, 1))}
    return [
        Proposal(Widen(0), **new, fit_score=s, score=s, stderr=0.0, eta=0.0, limit=9.0, reach=1.0)
        for s in scores
    ]


def test_units_leave_that_cost_less_than_a_share_of_what_alpha_asks():
    # 2 × price < 0.5 × 0.01 × 1
    _, prices, rule = priced(0.1, 0.0024, 0.0026, 0.001)
    assert gone(rule.leaving(prices, all_slots(prices), 1.0)) == [3, 1]
    assert gone(rule.leaving(prices, all_slots(prices), 0.5)) == [3]
    assert gone(rule.leaving(prices, [np.arange(CAPACITY) != 3], 1.0)) == [1]
    assert not rule.leaving(prices, [np.zeros(CAPACITY, bool)], 1.0).departures
    assert not priced(0.1, 0.0, prune=0.0)[2].leaving(prices, all_slots(prices), 1.0).departures
    ((drop, price, reason),) = rule.leaving(prices, all_slots(prices), 1.0).drops
    assert (drop.position, drop.slots, str(drop)) == (0, (3, 1), "hidden layer 0")
    assert price == pytest.approx(0.0034)
    assert reason == "2 units cost less to lose than 0.5 α"


def test_the_last_unit_stays_whatever_it_costs():
    _, prices, rule = priced(0.0, 0.0, 0.0)
    assert len(rule.leaving(prices, all_slots(prices), 1.0).departures) == 2


def test_the_last_unit_of_a_layer_beside_what_it_reads_may_leave():
    network = random_network((5, 2, 1, 1), residual=(1,), capacity=CAPACITY)
    free = Factor(np.eye(2 * CAPACITY + 1), np.zeros((1, 1)))
    prices = Prices.of(network, {1: Factor(np.eye(CAPACITY + 1), np.eye(CAPACITY)), 2: free})
    going = Policy(prune=1.0, alpha=99.0).leaving(prices, all_slots(prices), 1.0)
    assert going.hidden_sizes == (1, 0)


@pytest.mark.parametrize(
    ("costs", "scores", "left", "added"),
    [
        ((0.5, 0.1, 0.2), (0.5,), [1], 1),  # 0.5 > 2 × 2 × 0.1
        ((0.5, 0.1, 0.2), (0.39,), [], 0),
        ((0.5, 0.1, 0.2), (0.9, 0.9), [1, 2], 2),
        ((0.5, 0.1, 0.2), (0.9, 0.5), [1], 1),  # the second would have to pay 0.8
        ((0.5, 0.0, 0.2), (0.5, 0.5), [1], 1),  # its room was made by one that left anyway
    ],
)
def test_with_a_used_up_budget_the_cheapest_leave_for_better_ones(costs, scores, left, added):
    network, prices, rule = priced(*costs, max_units=3)
    assert not rule.actions(network)
    assert rule.swaps(network) == (Widen(0),)
    going = rule.leaving(prices, all_slots(prices), 1.0)
    decision = rule.decide([offers(*scores)], network, going)
    assert decision.going is not None
    assert gone(decision.going) == left
    assert len(decision.accepted) == added
    assert decision.exhausted == (not added)
    if not added:
        assert decision.verdicts[0].outcome == "swap"
        assert "not 2 times what would have to leave" in decision.reason


def test_budgets_of_parameters_swap_too_and_without_swap_nothing_leaves():
    network, prices, rule = priced(0.5, 0.1, 0.2)
    full = {"max_parameters": network.n_parameters + 1}
    for swap, left in ((2.0, [1]), (None, [])):
        _, _, rule = priced(0.5, 0.1, 0.2, swap=swap, **full)
        decision = rule.decide([offers(0.5)], network, rule.leaving(prices, all_slots(prices), 1.0))
        assert decision.going is not None
        assert gone(decision.going) == left
        assert len(decision.accepted) == len(left)
    assert not rule.swaps(network)


def test_what_is_over_a_budget_leaves_a_tenth_at_a_time():
    costs = np.linspace(1, 2, 20)
    network, prices, rule = priced(*costs, capacity=24, max_units=17)
    going = rule.leaving(prices, all_slots(prices), 1.0)
    assert gone(going) == [0, 1]
    assert going.drops[0][2] == "2 units over the budget"
    assert not rule.swaps(network)  # what is too large does not grow
    assert not rule.decide([offers(99.0)], network, going).accepted


@pytest.mark.parametrize("margin", [1.0, 2.0])
def test_nothing_is_added_and_removed_in_turns(margin):
    """Whatever is offered, the sum of prices rises at each swap: swaps end by themselves."""
    rng = np.random.default_rng(0)
    costs = list(rng.uniform(0.01, 0.1, 6))
    swaps = 0
    for _ in range(200):
        network, prices, rule = priced(*costs, max_units=6, swap=margin)
        offer = 2 * rng.uniform(0.01, 0.3)  # a new unit is worth half its score once trained
        going = rule.leaving(prices, all_slots(prices), 1.0)
        decision = rule.decide([offers(offer)], network, going)
        assert len(decision.accepted) <= 1
        assert len(gone(decision.going)) <= 1
        if decision.accepted:
            swaps += 1
            before = sum(costs)
            costs[gone(decision.going)[0]] = offer / 2
            assert sum(costs) > before
    assert 0 < swaps < 40


BAD = [("prune", -0.1), ("prune", 1.1), ("swap", 0.9), ("trial", -1), ("prefer", "tiny"),
       ("expect", "luck"), ("swap_patience", 0)]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_settings(name, value):
    with pytest.raises((ValueError, TypeError), match=name):  # TypeError: beartype's
        Policy(**{name: value})


# --- runs -------------------------------------------------------------------------------------

NETWORKS = {
    "chain": lambda: random_network((5, 8, 2), capacity=CAPACITY),
    "residual": lambda: random_network((5, 4, 4, 2), residual=(0, 1), capacity=CAPACITY),
    "towers": lambda: Towers((2, 3, 3, 3, 3, 2), CAPACITY),
}
OPTIMIZERS = {
    "kfac": KFAC(),
    "natural gradient": NaturalGradient(),
    "adam": Optax(optax.adam(0.01)),
}
CASES = [
    *(("chain", name, way) for name in OPTIMIZERS for way in ("prune", "swap")),
    ("residual", "kfac", "prune"),
    ("towers", "kfac", "swap"),
]
PRUNE = Policy(
    tau=1 + 1e-9, alpha=0.02, confidence=0.0, depth=False, every=4, backoff=1.0, prune=1.0,
    additions_at_once=2, max_units=8, trial=4, swap=1.0, swap_patience=99, patience=99,
)  # fmt: skip
POLICIES = {"prune": PRUNE, "swap": replace(PRUNE, alpha=1e-9, prune=0.0)}
SCHEDULE = Schedule(
    max_steps=40, batch_size=45, evaluate_every=8, steps_per_call=2, anneal_steps=12,
    anneal_epochs=1,
)  # fmt: skip


class Keeper(Callback):
    """Writes a checkpoint at every pause, and remembers what it was told."""

    def __init__(self, folder):
        self.folder, self.paths, self.told = folder, {}, []

    def on_pause(self, state):
        self.paths[state.step] = self.folder / f"at-{state.step}"
        write_checkpoint(self.paths[state.step], state)

    def on_addition(self, addition):
        self.told.append(addition)

    def on_removal(self, removal):
        self.told.append(removal)


def run(name, optimizer, way, callbacks=(), resume=None):
    return senn.fit(
        NETWORKS[name](), (X[:80], Y[:80]), validation=(X[80:], Y[80:]), policy=POLICIES[way],
        optimizer=OPTIMIZERS[optimizer], proposer=Random(candidates=24), schedule=SCHEDULE, seed=2,
        callbacks=callbacks, resume=resume,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    made = {}

    def of(*case):
        if case not in made:
            keeper = Keeper(tmp_path_factory.mktemp("pauses"))
            made[case] = (*run(*case, [keeper]), keeper)
        return made[case]

    return of


every_case = pytest.mark.parametrize("case", CASES, ids="-".join)


@every_case
def test_the_ledger_tells_of_removals(case, runs):
    _, history, keeper = runs(*case)
    assert history.removals
    changes = [r for r in history.records if hasattr(r, "place") and hasattr(r, "loss_after")]
    assert keeper.told == changes
    sizes = NETWORKS[case[0]]().hidden_sizes
    for change in changes:
        assert sizes_before(change) == sizes
        sizes = change.hidden_sizes
    for removal in history.removals:
        assert removal.units == len(set(removal.slots))
        assert removal.price >= 0
        assert removal.whole == (removal.units == 0)
        assert np.isfinite([removal.loss_before, removal.loss_after]).all()
        assert removal.step < history.steps
    last = state_at(case, keeper, max(keeper.paths)).train.network
    assert last.hidden_sizes == sizes
    assert last.n_parameters == changes[-1].n_parameters
    assert History.from_rows(history.to_rows()) == history


@every_case
def test_the_actions_between_two_steps_are_bounded(case, runs):
    _, history, _ = runs(*case)
    settled = history.growth_ended
    for step in {r.step for r in history.removals} - {settled}:
        here = [r for r in history.removals if r.step == step and not r.whole]
        assert len(here) == len({r.position for r in here})
        assert sum(a.step == step for a in history.additions) <= 1


def test_a_layer_leaves_with_its_last_unit_and_changes_nothing(runs):
    _, history, _ = runs("residual", "kfac", "prune")
    left = next(r for r in history.removals if r.whole)
    before = history.records[history.records.index(left) - 1]
    assert before.hidden_sizes[left.position] == 0
    assert left.hidden_sizes == tuple(np.delete(before.hidden_sizes, left.position))
    assert left.n_parameters == before.n_parameters
    assert left.loss_before == before.loss_after == pytest.approx(left.loss_after, rel=1e-12)
    assert left.reason == "its last unit has left"


@every_case
def test_units_know_their_addition_though_others_left(case, runs):
    *_, keeper = runs(*case)
    state = state_at(case, keeper, max(keeper.paths))
    assert lineage_of(state.train.network, state.history).layers == lineage(state.history).layers


@every_case
def test_a_run_goes_on_bit_for_bit_across_removals(case, runs):
    network, history, keeper = runs(*case)
    first, last = (history.removals[n].step for n in (0, -1))
    for step in sorted({first - 2, first, last - 2, last, last + 2} & set(keeper.paths)):
        again, told = run(*case, resume=state_at(case, keeper, step))
        assert eqx.tree_equal(again, network)
        assert timeless(told.records) == timeless(history.records)


def state_at(case, keeper, step):
    like = Towers((2, 3, 1, 1, 1, 2), 1, seed=9) if case[0] == "towers" else None
    return read_checkpoint(keeper.paths[step]).state(OPTIMIZERS[case[1]], like)


def timeless(records):
    return [{k: v for k, v in vars(record).items() if k != "seconds"} for record in records]


def test_freed_slots_are_taken_again(runs):
    case = ("chain", "kfac", "swap")
    _, history, keeper = runs(*case)
    swap = next(r for r in history.removals if any(a.step == r.step for a in history.additions))
    state = state_at(case, keeper, swap.step)
    new = births(state.train.network, state.train.network.graph.hidden[0])[list(swap.slots)]
    assert (new[:1] > 0).all()


@pytest.mark.parametrize("held_out", [True, False], ids=["validation", "no validation"])
def test_none_is_left_at_the_end_that_costs_less_than_is_asked(held_out):
    """Once annealed; training is what it is without that."""
    rule = replace(PRUNE, prune=0.9, alpha=0.1, trial=999, prefer="grown", patience=1)
    made = {}
    for prune in (0.0, 0.9):
        made[prune] = senn.fit(
            NETWORKS["chain"](), (X[:80], Y[:80]), policy=replace(rule, prune=prune),
            validation=(X[80:], Y[80:]) if held_out else None, optimizer=KFAC(), seed=2,
            proposer=Random(candidates=24), schedule=replace(SCHEDULE, max_steps=None),
        )  # fmt: skip
    (whole, trained), (network, history) = made.values()
    assert history.ended_by == "annealed"
    assert timeless(history.evaluations) == timeless(trained.evaluations)
    assert not trained.removals
    (removal,) = history.removals
    assert (removal.step, removal.reason[2:]) == (
        history.steps,
        "units cost less to lose than 0.9 α",
    )
    assert 0 < removal.units == whole.hidden_sizes[0] - network.hidden_sizes[0]
    assert network.hidden_sizes == removal.hidden_sizes
    assert network.n_parameters == removal.n_parameters
    assert removal.loss_after == pytest.approx(removal.loss_before, rel=1e-3)
