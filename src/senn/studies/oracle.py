"""Does the score rank units as training does? Each candidate is added, and trained on for a while.

SENN grows by the settings of the ablation, four units at once, so that it is on its way for some
while. At some of its steps 24 units for its hidden layers, half of them drawn at random and half
found by the search, are scored alone, as a look scores them. Then each is added to the network and
the optimiser's state of that step, and trained on among all the others with batches that are the
same for all. What it gained is the validation loss without it less that with it, after some steps
and after more. A second stream of batches says how far such a gain can be foretold at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from scipy import stats

from senn import Batch, Policy, growth
from senn.arrays import split_key
from senn.expand import without_spare
from senn.losses import make_metric
from senn.optimizers import AbstractOptimizer, make_optimizer
from senn.proposals import Proposal, Random
from senn.studies.ablation import POLICY, SCHEDULE, search
from senn.studies.growing import NO_GROWTH
from senn.studies.intervals import over_seeds
from senn.studies.options import Options, no_stand_ins
from senn.studies.replay import NEVER
from senn.studies.tasks import Task, by_task, load_task
from senn.training.fitting import first_state
from senn.training.state import RunState, TrainState, described

STATES, QUICK_STATES = (10, 40, 100), (10, 30)  # steps; the first look is due at the first
CANDIDATES, QUICK_CANDIDATES = 24, 4
HORIZONS, QUICK_HORIZONS = (10, 30, 100), (10,)  # steps of training on
AT_ONCE = 4
STREAMS, MOST_STATES = 2, 100
FITTED_ON, JUDGED_ON = 8192, 4 * 8192  # rows at most, as `Schedule.sample_size` has it
HOW = ("drawn", "searched")
MARKS = (-0.1, -1e-3, 0.0, 1e-3, 0.1, 10.0)  # on the axis of the score

# So that states are of any step that is asked for; the learning rate is not annealed.
UNENDING = replace(SCHEDULE, anneal_epochs=None, stop_after=NEVER)


@dataclass(frozen=True)
class Form:
    """How much is done."""

    states: tuple[int, ...]
    candidates: int
    horizons: tuple[int, ...]

    @classmethod
    def of(cls, options: Options) -> "Form":
        """The full form, or the quick one."""
        if options.quick:
            return cls(QUICK_STATES, QUICK_CANDIDATES, QUICK_HORIZONS)
        return cls(STATES, CANDIDATES, HORIZONS)


@dataclass(frozen=True)
class Moment:
    """A network in training, and what it is trained on and by."""

    task: Task
    train: TrainState
    step: int
    rule: AbstractOptimizer
    policy: Policy
    horizons: tuple[int, ...]  # steps of training on

    def losses_after(self, stream: int, proposal: Proposal | None = None) -> list[Any]:
        """The validation losses after training on, with a unit more or none.

        In both cases the optimiser forgets what it does at growth.
        """
        network, average, kept = self.train.network, self.train.average, self.train.optimizer
        if proposal is not None:
            average, _ = growth.add(average, None, proposal, self.policy)
            network, kept = growth.add(network, kept, proposal, self.policy)
        old, kept = self.train, self.rule.grown(kept, network)
        train = TrainState(network, kept, old.scale, average, old.averaging, old.age)
        now = RunState(train, np.random.default_rng(0), NEVER, growing=False, step=self.step)
        schedule = replace(UNENDING, max_steps=self.step + max(self.horizons))
        self.task.fit(
            network, NO_GROWTH, schedule=schedule, optimizer=self.rule, seed=stream, resume=now
        )
        found = {e.step - self.step: e.validation_loss for e in now.history.evaluations}
        return [found[steps] for steps in self.horizons]


stand_ins = no_stand_ins


def settings(options: Options) -> dict[str, Any]:
    """All settings; those of a data set stand in its runs."""
    form = Form.of(options)
    return {
        "optimizer": options.optimizer,
        "policy": described(policy_for(POLICY.max_units)),
        "schedule": described(UNENDING),
        "search": described(search(options)),
        "states": form.states,
        "candidates": form.candidates,
        "horizons": form.horizons,
        "streams": STREAMS,
    }


def run(seed: int, options: Options) -> dict[str, Any]:
    """Candidates at every state of one run of SENN."""
    task, form = load_task(seed, options), Form.of(options)
    rule = make_optimizer(options.optimizer)
    policy = replace(policy_for(task.max_units), unit_scale=rule.unit_scale)
    network = task.network(task.first_sizes, seed)  # with room for candidates beyond the budget
    state = first_state(network, rule, policy, UNENDING, seed)
    found = []
    for number, step in enumerate(form.states):
        schedule = replace(UNENDING, max_steps=step)
        task.fit(
            network, policy, search(options),
            schedule=schedule, optimizer=rule, seed=seed, resume=state,
        )  # fmt: skip
        moment = Moment(task, state.train, step, rule, policy, form.horizons)
        own = MOST_STATES * seed + number
        found.append(at_state(moment, options, jax.random.key(own), STREAMS * own))
    rho = ", ".join(f"{correlation(at, 'score', -1):.2f}" for at in found)
    return {
        "summary": f"{task.name}, rank correlations {rho}",
        "task": task.name,
        "task_settings": {**task.settings(), "max_units": task.max_units},
        "states": found,
    }


def policy_for(max_units: int | None) -> Policy:
    """By which SENN grows within a budget."""
    return replace(POLICY, additions_at_once=AT_ONCE, max_units=max_units)


def at_state(moment: Moment, options: Options, key: PRNGKeyArray, stream: int) -> dict[str, Any]:
    """What every candidate scores and gains; streams of batches are numbered from `stream`."""
    of = candidates(moment, options, key)
    streams = [stream + n for n in range(STREAMS)]
    without = np.array([moment.losses_after(n) for n in streams])
    having = np.array([[moment.losses_after(n, p) for p, _ in of] for n in streams])
    gained = np.moveaxis(without[:, None] - having, 2, 1)  # by stream, horizon and candidate
    return {
        "step": moment.step,
        "horizons": moment.horizons,
        "hidden_sizes": moment.train.network.hidden_sizes,
        "validation_loss_without": without,
        "how": [how for _, how in of],
        "place": [str(proposal.action) for proposal, _ in of],
        "score": [proposal.score for proposal, _ in of],
        "stderr": [proposal.stderr for proposal, _ in of],
        "gained": gained,
    }


def candidates(moment: Moment, options: Options, key: PRNGKeyArray) -> list[tuple[Proposal, str]]:
    """Single units, each scored alone, for the hidden layers in turn."""
    network, task = without_spare(moment.train.average), moment.task
    metric = make_metric(moment.rule.metric, task.loss)
    of_rows, look_key, key = split_key(key, 3)
    seen = growth.look(network, task.loss, metric, *samples(task.train, of_rows), look_key)
    alone = replace(moment.policy, additions_at_once=1, max_units=None)
    places = [place for place in alone.actions(network) if not place.inserts]
    found: list[tuple[Proposal, str]] = []
    for number, own in enumerate(split_key(key, Form.of(options).candidates)):
        how = HOW[number % 2]
        proposer = Random() if how == HOW[0] else search(options)
        place = places[number // 2 % len(places)]
        found += [(p, how) for p in growth.propose_at(network, seen, proposer, alone, place, own)]
    return found


def samples(train: Batch, key: PRNGKeyArray) -> tuple[Batch, Batch]:
    """Rows that units are fitted to, and others that judge them."""
    rows = np.asarray(jax.random.permutation(key, len(train.x)))
    fitted = min(FITTED_ON, len(rows) // 2)
    return train[rows[:fitted]], train[rows[fitted : fitted + JUDGED_ON]]


def correlation(at: dict[str, Any], what: str, horizon: int) -> float:
    """Spearman's, over the candidates, at the horizon of that number.

    Of the "score" with what was gained, the mean over the streams; or of what was "gained" in one
    stream with what was in the other.
    """
    gained = np.array(at["gained"])[:, horizon]
    if what == "gained":
        return spearman(gained[0], gained[1])
    return float(np.mean([spearman(np.array(at["score"]), of) for of in gained]))


def share_gained(at: dict[str, Any], how: str, horizon: int) -> float:
    """Of the loss without, the mean over candidates of a kind and the streams."""
    gained = np.array(at["gained"])[:, horizon, np.array(at["how"]) == how]
    return float(np.mean(gained) / np.mean(np.array(at["validation_loss_without"])[:, horizon]))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """The rank correlation; NaN where one of the two is the same for all."""
    if len(x) < 2 or not (np.ptp(x) > 0 and np.ptp(y) > 0):
        return float("nan")
    found: Any = stats.spearmanr(x, y)
    return float(found.statistic)


def claims(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """For every data set and state, the correlations over the seeds."""
    return {
        task: [summary([run["states"][n] for run in of]) for n in range(len(of[0]["states"]))]
        for task, of in by_task(runs).items()
    }


def summary(seeds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One state of every seed, horizon by horizon."""
    horizons = range(len(seeds[0]["validation_loss_without"][0]))

    def over(measure: Callable[[dict[str, Any], str, int], float], what: str) -> list[Any]:
        return [over_seeds([measure(at, what, n) for at in seeds]) for n in horizons]

    return {
        "step": seeds[0]["step"],
        "horizons": seeds[0]["horizons"],
        "units": over_seeds([sum(at["hidden_sizes"]) for at in seeds]),
        "correlation": over(correlation, "score"),
        "repeatability": over(correlation, "gained"),
        **{f"gained_by_{how}": over(share_gained, how) for how in HOW},
    }


def draw(record: dict[str, Any]) -> Figure:
    """A row for each data set, a column for each state: what was gained soon over the score."""
    found = by_task(record["runs"])
    columns, first = len(record["settings"]["states"]), record["settings"]["horizons"][0]
    figure = Figure(figsize=(2.6 * columns, 0.5 + 2.2 * len(found)), layout="constrained")
    grid = figure.subplots(len(found), columns, squeeze=False)
    for row, (task, runs) in zip(grid, found.items(), strict=True):
        for n, axes in enumerate(row):
            _draw_state(axes, [run["states"][n] for run in runs])
            at = record["claims"][task][n]
            rho, again = (_mean(at[name][0]) for name in ("correlation", "repeatability"))
            axes.set_title(f"step {at['step']}: ρ {rho}, repeated {again}")
        row[0].set_ylabel(f"{task}\nloss without − with, {first} steps later")
    for axes in grid[-1]:
        axes.set_xlabel("Δη′ on held-out rows")
    grid[0][0].legend(fontsize=6)
    return figure


def _draw_state(axes: Axes, seeds: Sequence[dict[str, Any]]) -> None:
    for how, color in zip(HOW, ("0.6", "tab:blue"), strict=True):
        chosen = [np.array(at["how"]) == how for at in seeds]
        score = [np.array(at["score"])[c] for at, c in zip(seeds, chosen, strict=True)]
        gain = [np.mean(at["gained"], axis=0)[0][c] for at, c in zip(seeds, chosen, strict=True)]
        axes.plot(np.concatenate(score), np.concatenate(gain), "o", ms=2, color=color, label=how)
    axes.axhline(0, color="0.8", lw=0.8, zorder=0)
    axes.set_xscale("symlog", linthresh=MARKS[-3])
    axes.xaxis.set_major_locator(FixedLocator(MARKS))


def _mean(found: dict[str, Any]) -> str:
    return "–" if found["mean"] is None else f"{found['mean']:.2f}"
