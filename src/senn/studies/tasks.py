"""The data sets on which ways to grow are compared, and how long each is trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from sklearn.datasets import make_friedman1

from senn import Batch, History, Policy, Schedule, datasets
from senn.datasets import DataError, split_rows
from senn.losses import AbstractLoss, SoftmaxCrossEntropy, SquaredError
from senn.nn import MLP
from senn.nn.network import next_capacity
from senn.nn.tapped import AbstractTapped
from senn.optimizers import AbstractOptimizer
from senn.proposals import AbstractProposer
from senn.studies import fig2
from senn.studies.growing import fit_whole
from senn.studies.options import Options
from senn.training.state import RunState

FRIEDMAN_ROWS, FRIEDMAN_TEST_ROWS = 1000, 5000
TEACHER_VALIDATION_ROWS = 200
QUICK_ROWS, QUICK_STEPS, QUICK_UNITS = 300, 80, 8


@dataclass(frozen=True)
class Task:
    """What is learned, from what size on, how large it may become, and in how many steps."""

    name: str
    train: Batch
    validation: Batch
    test: Batch
    loss: AbstractLoss
    out_size: int
    first_sizes: tuple[int, ...]
    max_units: int
    steps: int

    @property
    def score(self) -> str:
        """What the test score is."""
        return "R²" if isinstance(self.loss, SquaredError) else "accuracy"

    def network(self, sizes: tuple[int, ...], seed: int, max_units: int | None = None) -> MLP:
        """A network of these sizes; slots as `SENNClassifier` sets them aside."""
        capacity = next_capacity(max(sizes, default=1), limit=max_units)
        key = jax.random.key(seed)
        return MLP(self.train.x.shape[1], self.out_size, sizes, key=key, capacity=capacity)

    def fit(
        self,
        network: AbstractTapped,
        policy: Policy,
        proposer: AbstractProposer | None = None,
        *,
        schedule: Schedule,
        optimizer: str | AbstractOptimizer,
        seed: int,
        resume: RunState | None = None,
    ) -> tuple[MLP, History]:
        """`senn.fit` on this task, to its end."""
        return fit_whole(
            network,
            self.train,
            validation=self.validation,
            loss=self.loss,
            optimizer=optimizer,
            proposer=proposer,
            policy=policy,
            schedule=schedule,
            seed=seed,
            resume=resume,
        )

    def settings(self) -> dict[str, Any]:
        """What is set for this task."""
        rows = {part: len(getattr(self, part).x) for part in ("train", "validation", "test")}
        return {
            "rows": rows,
            "inputs": self.train.x.shape[1],
            "first_sizes": self.first_sizes,
            "score": self.score,
        }


def task_names(options: Options) -> tuple[str, ...]:
    """The data sets that were asked for, else all; one in the quick form."""
    names = options.tasks or (QUICK_TASKS if options.quick else tuple(TASKS))
    unknown = [name for name in names if name not in TASKS]
    if unknown:
        raise DataError(f"--tasks must be of {', '.join(TASKS)}; got {unknown[0]!r}.")
    return names


def load_task(seed: int, options: Options) -> Task:
    """The one task of a run, in the form that was asked for."""
    (name,) = options.tasks
    task = TASKS[name](seed, options)
    return quick(task) if options.quick else task


def by_task(runs: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs of every data set."""
    tasks: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        tasks.setdefault(run["task"], []).append(run)
    return tasks


def quick(task: Task) -> Task:
    """The first rows, for a few steps."""
    rows = slice(QUICK_ROWS)
    return replace(
        task,
        train=task.train[rows],
        validation=task.validation[rows],
        test=task.test[rows],
        max_units=sum(task.first_sizes) + QUICK_UNITS,
        steps=QUICK_STEPS,
    )


def _images(name: str) -> Callable[[int, Options], Task]:
    def make(seed: int, options: Options) -> Task:
        data = datasets.load(name, data_dir=options.data_dir)
        return _classes(data, seed, 0.1, (10,), max_units=60, steps=1500)

    return make


def _digits(seed: int, options: Options) -> Task:  # noqa: ARG001
    return _classes(datasets.load("digits", seed=seed), seed, 0.2, (4,), max_units=40, steps=1000)


def _moons(seed: int, options: Options) -> Task:  # noqa: ARG001
    return _classes(datasets.load("moons", seed=seed), seed, 0.2, (2,), max_units=24, steps=600)


def _classes(
    data: datasets.Dataset,
    seed: int,
    validation: float,
    first_sizes: tuple[int, ...],
    *,
    max_units: int,
    steps: int,
) -> Task:
    """A classification, with a share of the training rows kept apart for validation."""
    assert data.classes is not None
    kept, apart = split_rows(len(data.y), validation, seed, data.y)
    return Task(
        data.name,
        Batch.of(data.x[kept], data.y[kept]),
        Batch.of(data.x[apart], data.y[apart]),
        Batch.of(data.x_test, data.y_test),
        SoftmaxCrossEntropy(),
        len(data.classes),
        first_sizes,
        max_units,
        steps,
    )


def _friedman1(seed: int, options: Options) -> Task:  # noqa: ARG001
    """scikit-learn's: ten inputs, five of which matter, noise of variance 1 against about 24."""
    data: Any = make_friedman1(FRIEDMAN_ROWS + FRIEDMAN_TEST_ROWS, noise=1.0, random_state=seed)
    x, y = data
    kept, apart = split_rows(FRIEDMAN_ROWS, 0.2, seed)
    test = np.arange(FRIEDMAN_ROWS, len(x))
    parts = [(x[rows], y[rows]) for rows in (kept, apart, test)]
    return _numbers("friedman1", parts, (4,), max_units=40, steps=1000, inputs_too=True)


def _teacher(seed: int, options: Options) -> Task:  # noqa: ARG001
    """The teacher of figure 2; the validation points are drawn beside its 50 samples."""
    key, apart = jax.random.split(jax.random.key(seed))
    task = fig2.make_task(key)
    x = jax.random.normal(apart, (TEACHER_VALIDATION_ROWS, 1))
    pairs = [(task.train.x, task.train.y), (x, task.teacher(x)), (task.test.x, task.test.y)]
    parts = [(np.asarray(x), np.asarray(y)) for x, y in pairs]
    return _numbers("teacher", parts, (1,), max_units=16, steps=1000, inputs_too=False)


def _numbers(
    name: str,
    parts: list[tuple[np.ndarray, np.ndarray]],
    first_sizes: tuple[int, ...],
    *,
    max_units: int,
    steps: int,
    inputs_too: bool,
) -> Task:
    """A regression; targets, and inputs if asked, are standardised by the training rows."""
    (x, y), *_ = parts
    shift, scale = (x.mean(axis=0), x.std(axis=0)) if inputs_too else (0.0, 1.0)
    train, held_out, test = (
        Batch.of(
            ((x - shift) / scale).astype(np.float32),
            ((t.reshape(-1, 1) - y.mean()) / y.std()).astype(np.float32),
        )
        for x, t in parts
    )
    return Task(name, train, held_out, test, SquaredError(), 1, first_sizes, max_units, steps)


# The shortest first: what is done is saved before the next begins.
TASKS: dict[str, Callable[[int, Options], Task]] = {
    "teacher": _teacher,
    "moons": _moons,
    "friedman1": _friedman1,
    "digits": _digits,
    "mnist": _images("mnist"),
    "fashion-mnist": _images("fashion-mnist"),
}
QUICK_TASKS = ("teacher",)
