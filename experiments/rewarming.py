"""Whether new units learn sooner if the learning rate of their slice alone is raised at birth.

    python experiments/rewarming.py --seeds 3 [TABLE.npz ...]

SENN grows by widths alone, from its default settings; then the same additions are made at the same
steps (`senn.studies.replay`) by optimisers that multiply the update of the new rows and columns by
a factor that falls to 1 in 30 steps. Losses are of rows held out from the training rows; a table is
an archive of `Xtr` and `ytr`, of which nothing else is read. Ratios are to the factor 1, the
geometric mean over the seeds.
"""

import argparse
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from senn import Batch, Policy, Schedule
from senn.datasets import split_rows
from senn.losses import SoftmaxCrossEntropy, SquaredError
from senn.machine import use_threads
from senn.nn.spaces import leaf_at
from senn.optimizers import KFAC
from senn.proposals import Projection
from senn.studies.ablation import anytime_loss, loss_after, replayed
from senn.studies.options import Options
from senn.studies.replay import NEVER, plan_of
from senn.studies.tasks import Task, load_task

FACTORS = (1.0, 2.0, 3.0, 0.5)
FALLS_IN = 30  # steps
STEPS = 300
MOST_ROWS = 4000  # of a table
POLICY = Policy(depth=False, plateau=NEVER, prune=0.0, swap=None, prefer="grown", max_units=60)
SCHEDULE = Schedule(max_steps=STEPS, evaluate_every=10)


class Rewarmed(KFAC):
    """K-FAC whose updates of the units that came last are multiplied by a factor that falls to 1.

    The age of its factors is that of the last addition, for growth starts them anew.
    """

    factor: Any = 1.0

    def step(self, network, state, loss, metric, batch, scale):
        """A step of K-FAC, and then more or less of it."""
        new, after, info = super().step(network, state, loss, metric, batch, scale)
        left = jnp.maximum(1 - state.age / FALLS_IN, 0)
        times = 1 + (self.factor - 1) * left
        born = [leaf_at(network, space.born) for space in network.graph.hidden]
        last = jnp.max(jnp.concatenate(born)) if born else 0
        for space, numbers in zip(network.graph.hidden, born, strict=True):
            by = jnp.where((numbers == last) & (last > 0), times, 1)
            for port in space.ports:
                new = _scaled(new, network, port, by)
        return new, after, info


def _scaled(new: Any, old: Any, port: Any, by: Array) -> Any:
    """The leaf of a port of units alone, its change multiplied unit by unit."""
    was, now = leaf_at(old, port.leaf), leaf_at(new, port.leaf)
    shape = [-1 if axis == port.axis else 1 for axis in range(was.ndim)]
    moved = was + (now - was) * by.reshape(shape).astype(was.dtype)
    return eqx.tree_at(lambda n: leaf_at(n, port.leaf), new, moved)


def main() -> None:
    """Print a line a data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    use_threads(1)
    heads = (f"{what}, × {f:g}" for f in FACTORS[1:] for what in ("after", "anytime", "end"))
    print(f"| data | additions | {' | '.join(heads)} |", flush=True)
    logs = [shown(name, given.seeds) for name in ("digits", "friedman1", *given.tables)]
    print(f"| all | | {cells(np.array(logs).mean(axis=1))} |")


def shown(name: Any, seeds: int) -> np.ndarray:
    """Print the line of a data set; the logarithms of its ratios [seed, factor and measure]."""
    runs = [measured(task_of(name, seed), seed) for seed in range(seeds)]
    values = np.log([[of[f] for f in FACTORS] for of in runs])  # seed, factor, measure
    logs = (values[:, 1:] - values[:, :1]).reshape(seeds, -1)
    additions = ", ".join(str(of["additions"]) for of in runs)
    print(f"| {Path(name).stem} | {additions} | {cells(logs)} |", flush=True)
    return logs


def cells(logs: np.ndarray) -> str:
    """Geometric means, with the standard error, roughly, of each."""
    means, n = np.exp(logs.mean(axis=0)), len(logs)
    errors = logs.std(axis=0, ddof=1) / n**0.5 if n > 1 else 0 * means
    return " | ".join(f"{m:.3f} ± {e:.3f}" for m, e in zip(means, errors, strict=True))


def measured(task: Task, seed: int) -> dict[Any, Any]:
    """By factor: the loss in the 50 steps after additions, over all steps, and at the end."""
    first = task.network(task.first_sizes, seed)
    rule = replace_factor(1.0)
    settings = {"schedule": SCHEDULE, "seed": seed}
    history = task.fit(first, POLICY, Projection(), optimizer=rule, **settings)[1]
    plan, end = plan_of(history), history.growth_ended or STEPS
    found: dict[Any, Any] = {"additions": len(plan)}
    for factor in FACTORS:
        follow, rule = replayed(POLICY, plan, end, None), replace_factor(factor)
        history = task.fit(first, follow, Projection(), optimizer=rule, **settings)[1]
        after = np.mean([loss_after(history, planned.step) for planned in plan])
        last = history.evaluations[-1].validation_loss
        found[factor] = (after, anytime_loss(history), last)
    return found


def replace_factor(factor: float) -> Any:
    """As an array, so that one program serves all."""
    return Rewarmed(factor=jnp.asarray(factor, jnp.float32))


def task_of(name: Any, seed: int) -> Task:
    """A task of the studies, or that of a table."""
    if not isinstance(name, Path):
        return load_task(seed, Options(tasks=(name,)))
    with np.load(name) as arrays:
        x, y = arrays["Xtr"].astype(np.float64), arrays["ytr"]
    rows = np.random.default_rng(seed).permutation(len(x))[:MOST_ROWS]
    x, y, numbers = x[rows], y[rows], y.dtype.kind == "f"
    kept, apart = split_rows(len(x), 0.25, seed, None if numbers else y)
    x = np.clip((x - x[kept].mean(axis=0)) / (x[kept].std(axis=0) + 1e-9), -5, 5)
    y = ((y - y[kept].mean()) / y[kept].std())[:, None] if numbers else y.astype(np.int64)
    y = y.astype(np.float32) if numbers else y
    parts = [Batch.of(x[of].astype(np.float32), y[of]) for of in (kept, apart)]
    loss = SquaredError() if numbers else SoftmaxCrossEntropy()
    outputs = 1 if numbers else int(y.max()) + 1
    return Task(name.stem, *parts, parts[1], loss, outputs, (4,), 60, STEPS)


if __name__ == "__main__":
    main()
