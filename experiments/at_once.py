"""How many units at once? What additions promised, what they brought, and rules that follow it.

    python experiments/at_once.py --seeds 3 [--data-dir DIR]

SENN grows on digits, friedman1 and 5,000 rows of MNIST from its defaults (16 units at once at
most), with 4 and with 1 at once, and by a rule without a number of its own: of 16, the share of
its promise that the last addition has brought by now. What it *promised* is half of its Δη′, what
it *brought* what its units would cost to lose, all of them together, at the next look, both in
units of the loss. Losses are of a quarter of the training rows, kept apart for this. A run that
the file has already is not made again.
"""

import argparse
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from senn import Policy, Schedule
from senn.evaluation import evaluate
from senn.files import write_atomically
from senn.machine import use_threads
from senn.nn.spaces import births
from senn.prices import Prices
from senn.runs import strict_json
from senn.studies.intervals import over_seeds
from senn.studies.options import Options
from senn.studies.saving import machine
from senn.studies.tasks import Task, by_task, load_task

OUT = Path(__file__).parent / "at-once.json"
TASKS = ("digits", "friedman1", "mnist")
MOST_ROWS = 5000
JUDGED = 4  # of so many training rows one is kept apart
EARLY = 50  # steps, until which additions are early


@dataclass(frozen=True)
class Followed(Policy):
    """The default, which notes what the last addition promised and what it has brought.

    Args:
        follow: whether that share, of as many as there may be, is the most that is added.
        told: the notes, one a look after an addition.
    """

    follow: bool = False
    told: list[dict[str, Any]] = field(default_factory=list)

    def decide(self, proposals, network, going=None):
        """As ever, of perhaps fewer proposals for each place."""
        if self.told and going is not None:
            promised, brought = self.told[-1]["promised"], joint_price(going.left, len(self.told))
            self.told[-1]["brought"].append(brought)
            if self.follow:
                most = max(round(self.most_units() * min(brought / promised, 1)), 1)
                proposals = [of if of[0].action.inserts else of[:most] for of in proposals]
        decision = super().decide(proposals, network, going)
        if decision.accepted:
            promised = sum(proposal.score for proposal in decision.accepted) / 2
            self.told.append({"promised": promised, "brought": []})
        return decision


def joint_price(prices: Prices, addition: int) -> float:
    """What it costs to lose all units of an addition, by its number, together."""
    network, total = prices.network, 0.0
    for layer, space in enumerate(network.graph.hidden):
        ours = (births(network, space) == addition) & prices.there[layer]
        for slot in np.flatnonzero(ours).tolist():
            price = float(prices.at(layer)[slot])
            if np.isfinite(price):  # of a last unit, that may not leave, nothing is known
                prices, total = prices.without(layer, slot), total + price
    return total


ARMS: dict[str, dict[str, Any]] = {
    "16 at once (default)": {},
    "4 at once": {"additions_at_once": 4},
    "1 at once": {"additions_at_once": 1},
    "as the last one brought": {"follow": True},
}


def main() -> None:
    """Run what is missing, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--data-dir")
    parser.add_argument("--quick", action="store_true", help="the smallest form; proves nothing")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    use_threads(1)
    runs = json.loads(given.out.read_text("utf-8"))["runs"] if given.out.exists() else []
    done = {(of["task"], of["arm"], of["seed"]) for of in runs}
    for task in given.tasks.split(","):
        for seed in range(given.seeds):
            for arm in ARMS:
                if (task, arm, seed) not in done:
                    options = Options(tasks=(task,), data_dir=given.data_dir, quick=given.quick)
                    runs.append({"machine": machine(), **run(arm, seed, options)})
                    write(given.out, runs)


def write(out: Path, runs: list[dict[str, Any]]) -> None:
    """The record, with its table."""
    command = "python experiments/at_once.py"
    record = {"figure": "at-once", "command": command, "machine": machine()}
    record |= {"claims": claims(runs), "runs": runs}
    content = json.dumps(json.loads(strict_json(record)), indent=1)  # without NaN
    write_atomically(out, f"{content}\n".encode())


def run(arm: str, seed: int, options: Options) -> dict[str, Any]:
    """One training, its size, and how it does on rows that it has not seen."""
    task, judge = parts(load_task(seed, options), seed)
    policy = replace(Followed(), **ARMS[arm])
    schedule = Schedule(max_steps=task.steps) if options.quick else Schedule()
    network = task.network(task.first_sizes, seed)
    trained, history = task.fit(network, policy, schedule=schedule, optimizer="kfac", seed=seed)
    found = evaluate(trained, task.loss, judge)
    additions = [
        {"step": addition.step, "units": addition.units, **told}
        for addition, told in zip(history.additions, policy.told, strict=True)
    ]
    print(f"{task.name}, {arm}, seed {seed}: {trained.hidden_sizes}, {found.loss:.4f}", flush=True)
    return {
        "task": task.name, "arm": arm, "seed": seed, "units": sum(trained.hidden_sizes),
        "loss": found.loss, "score": found.score, "steps": history.steps,
        "added": sum(addition["units"] for addition in additions), "additions": additions,
    }  # fmt: skip


def parts(task: Task, seed: int) -> tuple[Task, Any]:
    """The task with fewer training rows, and those that judge."""
    rows = np.random.default_rng(seed).permutation(len(task.train.x))[:MOST_ROWS]
    judged = len(rows) // JUDGED
    return replace(task, train=task.train[rows[judged:]]), task.train[rows[:judged]]


def claims(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """By data set: every arm's units and losses, and what the default's additions brought."""
    found = {}
    for task, of in by_task(runs).items():
        arms = {arm: [one for one in of if one["arm"] == arm] for arm in ARMS}
        additions = [a for one in arms[next(iter(ARMS))] for a in one["additions"] if a["brought"]]
        found[task] = {
            "arms": {
                arm: {key: over_seeds([o[key] for o in own]) for key in ("units", "loss", "added")}
                for arm, own in arms.items() if own
            },
            "early": brought([a for a in additions if a["step"] <= EARLY]),
            "late": brought([a for a in additions if a["step"] > EARLY]),
        }  # fmt: skip
    return found


def brought(additions: list[dict[str, Any]]) -> dict[str, Any]:
    """The median share of its promise that an addition had brought at the next look, and the last.

    Looks are those up to the next addition.
    """
    shares = [
        (a["brought"][0] / a["promised"], a["brought"][-1] / a["promised"]) for a in additions
    ]
    units = [a["units"] for a in additions]
    first, last = np.median(shares, axis=0).tolist() if shares else (None, None)
    return {"additions": len(shares), "units": units, "next_look": first, "last_look": last}


if __name__ == "__main__":
    main()
