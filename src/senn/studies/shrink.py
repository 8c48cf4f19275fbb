"""Does the price know which units can be spared? A grown network is shrunk in several orders.

SENN grows without a budget. What it ends with is then made smaller, to 50 units on images and to
half elsewhere, once by the prices and once for each other order (`senn.studies.orders`). In all of
them the maps that read a unit make up for it by the same closed form, a tenth of the units leaves
at a time, and the same training follows. Beside it stands what each order leaves at once, with the
closed form alone, and SENN with that budget from the start, with swaps and without.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from senn import History, Policy, growth
from senn.evaluation import evaluate
from senn.losses import make_metric
from senn.nn import MLP
from senn.optimizers import make_optimizer
from senn.prices import Factor, Prices, factors_of
from senn.pruning import everywhere
from senn.removal import without_empty
from senn.studies.automatic_size import policy_for, schedule_for
from senn.studies.intervals import against, over_seeds
from senn.studies.options import Options, no_stand_ins
from senn.studies.orders import (
    Chance,
    Contribution,
    Magnitude,
    Order,
    Shrinking,
    by_price,
    ordered,
)
from senn.studies.tasks import Task, by_task, load_task
from senn.training.state import described

UNITS = {"mnist": 50, "fashion-mnist": 50}  # elsewhere half of what was grown
PRICE = "price"
ROWS = 8192  # of the training rows, on which units are priced for what leaves at once
BUDGETS: dict[str, dict[str, Any]] = {"budget": {}, "budget, no swaps": {"swap": None}}
SHRINKING = Policy(width=False, depth=False, prune=0.0, prefer="grown")

stand_ins = no_stand_ins


def orders(seed: int) -> dict[str, Order]:
    """By name, SENN's own first."""
    return {
        PRICE: by_price,
        "magnitude": ordered(Magnitude),
        "contribution": ordered(Contribution),
        "random": ordered(Chance, seed=seed),
    }


def settings(options: Options) -> dict[str, Any]:
    """All settings; those of a data set stand in its runs."""
    return {
        "optimizer": options.optimizer,
        "policy": described(policy_for(options)),
        "shrinking": described(SHRINKING),
        "schedule": described(schedule_for(options)),
        "orders": list(orders(0)),
        "budgets": BUDGETS,
        "rows_for_prices": ROWS,
    }


@dataclass(frozen=True)
class Lab:
    """One data set, and how its networks are trained."""

    task: Task
    seed: int
    options: Options

    def fit(self, network: MLP, policy: Policy) -> tuple[MLP, History]:
        """To the end."""
        return self.task.fit(
            network,
            policy,
            schedule=schedule_for(self.options),
            optimizer=self.options.optimizer,
            seed=self.seed,
        )

    def measured(self, network: MLP, history: History | None = None) -> dict[str, Any]:
        """Size and scores, and what training took."""
        test = evaluate(network, self.task.loss, self.task.test)
        found = {
            "hidden_sizes": network.hidden_sizes,
            "n_parameters": network.n_parameters,
            "test_score": test.score,
            "test_loss": test.loss,
        }
        if history is None:
            return found
        spent = history.training_seconds + history.growth_seconds
        removed = sum(removal.units for removal in history.removals)
        return {**found, "seconds": spent, "steps": history.steps, "units_removed": removed}


def run(seed: int, options: Options) -> dict[str, Any]:
    """One network grown without a budget, and all that is made of it."""
    lab = Lab(load_task(seed, options), seed, options)
    task, policy = lab.task, policy_for(options)
    grown, history = lab.fit(task.network(task.first_sizes, seed), policy)
    most = UNITS.get(task.name, max(sum(grown.hidden_sizes) // 2, 1))
    factors = factors_for(lab, grown)
    shrunk, at_once = {}, {}
    for name, order in orders(seed).items():
        at_once[name] = lab.measured(cut(grown, factors, order, most))
        rule = Shrinking(**{**vars(SHRINKING), "max_units": most, "by": order})
        shrunk[name] = lab.measured(*lab.fit(grown, rule))
    found = {
        name: lab.measured(*lab.fit(task.network(task.first_sizes, seed, most), rule))
        for name, rule in budgets(policy, most).items()
    }
    scores = ", ".join(f"{name} {of['test_score']:.4f}" for name, of in (shrunk | found).items())
    return {
        "summary": f"{task.name}, {sum(grown.hidden_sizes)} to {most} units, {scores}",
        "task": task.name,
        "task_settings": {**task.settings(), "units": most},
        "grown": lab.measured(grown, history),
        "shrunk": shrunk,
        "at_once": at_once,
        "budgets": found,
    }


def budgets(policy: Policy, most: int) -> dict[str, Policy]:
    """Ways to have a budget from the start, by name."""
    return {name: replace(policy, max_units=most, **own) for name, own in BUDGETS.items()}


def factors_for(lab: Lab, network: MLP) -> dict[int, Factor]:
    """By a look of its own at training rows."""
    task, key = lab.task, jax.random.key(lab.seed)
    metric = make_metric(make_optimizer(lab.options.optimizer).metric, task.loss)
    rows = np.random.default_rng(lab.seed).permutation(len(task.train.x))[: 2 * ROWS]
    first, second = (task.train[half] for half in np.array_split(rows, 2))
    seen = growth.look(network, task.loss, metric, first, second, key)
    return factors_of(network, [seen.fit.maps, seen.held_out.maps])


def cut(network: MLP, factors: dict[int, Factor], order: Order, most: int) -> MLP:
    """So many units are left, by an order; the others make up for the rest, and nothing trains."""
    going = everywhere(order(Prices.of(network, factors)))
    while sum(going.hidden_sizes) > most and (unit := going.cheapest()) is not None:
        going = going.losing(unit, "over the budget")
    for drop, _, _ in going.drops:
        network, _ = drop.apply(network, None, {m: factor.A for m, factor in factors.items()})
    return without_empty(network)


def claims(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """For every data set: what was grown, what every order leaves of it, and budgets."""
    return {task: summary(of) for task, of in by_task(runs).items()}


def summary(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One data set over the seeds; orders are compared with the price, seed by seed."""
    grown = [seed["grown"] for seed in seeds]
    return {
        "score": seeds[0]["task_settings"]["score"],
        "units": over_seeds([seed["task_settings"]["units"] for seed in seeds]),
        "grown_units": over_seeds([sum(of["hidden_sizes"]) for of in grown]),
        "grown": over_seeds([of["test_score"] for of in grown]),
        **{how: _beside_the_price([seed[how] for seed in seeds]) for how in ("shrunk", "at_once")},
        "budgets": {
            name: {
                **over_seeds([seed["budgets"][name]["test_score"] for seed in seeds]),
                "units_removed": [seed["budgets"][name]["units_removed"] for seed in seeds],
            }
            for name in BUDGETS
        },
    }


def _beside_the_price(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each order its scores, and how far the price's are above them, with its standard error."""
    scores = {name: [seed[name]["test_score"] for seed in seeds] for name in seeds[0]}
    found = {name: over_seeds(own) for name, own in scores.items()}
    for name in found.keys() - {PRICE}:
        above = np.subtract(scores[PRICE], scores[name])
        error = np.std(above, ddof=1) / np.sqrt(len(above)) if len(above) > 1 else np.nan
        found[name]["price_above"] = against(scores[PRICE], scores[name])
        found[name]["price_above"]["stderr"] = float(error)
    return found


def draw(record: dict[str, Any]) -> Figure:
    """A panel for each data set: the test scores that every order and budget ends with."""
    found = record["claims"]
    figure = Figure(figsize=(3.2 * len(found), 2.6), layout="constrained")
    for axes, (task, of) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items(),
                                strict=True):  # fmt: skip
        _draw_task(axes, of)
        before, after = (of[name]["mean"] for name in ("grown_units", "units"))
        axes.set_title(f"{task}: {before:.3g} to {after:.3g} units")
        axes.set_xlabel(f"test {of['score']}")
    return figure


def _draw_task(axes: Axes, of: dict[str, Any]) -> None:
    """A line for each way, from the bottom up; dots are seeds."""
    rows = [(f"at once, {name}", own, "0.6") for name, own in of["at_once"].items()]
    rows += [(f"shrunk, {name}", own, "tab:blue") for name, own in of["shrunk"].items()]
    rows += [(name, own, "tab:orange") for name, own in of["budgets"].items()]
    rows.append(("grown", of["grown"], "black"))
    for y, (_, own, color) in enumerate(rows):
        axes.plot(own["each"], [y] * len(own["each"]), "o", ms=3, color=color)
        axes.plot([own["mean"]], [y], "|", ms=9, color=color)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.locator_params(axis="x", nbins=4)
