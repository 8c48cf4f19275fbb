"""One default varied at a time, all else as it is: score, loss and size over several seeds.

    python experiments/choices.py
    python experiments/choices.py --only patience     # the others stay in the file as they are

Two tasks without a budget: digits from 4 units, and friedman1, a regression with noise, from a
linear model. A seed draws the split (or the rows, for friedman1) and everything in training. Test
rows are looked at once a run; nothing here chooses a default.
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import jax
import numpy as np
from sklearn.datasets import load_digits, make_friedman1
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import senn
from senn.evaluation import evaluate
from senn.losses import SoftmaxCrossEntropy, SquaredError
from senn.machine import THREADS_VARIABLE, keep_compilations, use_threads

OUT = Path(__file__).parent / "choices.json"

# What is varied: its values, the default first; each a change to the policy, the schedule or the
# optimiser.
CHOICES = {
    "patience": (8, 3, 5, 12),
    "plateau": (10, 5, 20),
    "alpha": (5e-4, 2e-4, 1e-3, 2e-3),
    "averaging": (0.95, 0.0, 0.99),
    "unit_scale": (0.3, 0.1, 1.0),
    "layer_kind": ("residual", "identity"),
    "optimizer": ("kfac", "warm_natural_gradient", "adam"),
}


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=CHOICES, help="one choice in place of all")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    use_threads(1)
    keep_compilations()
    for choice in [given.only] if given.only else CHOICES:
        rows = [
            summary(data, choice, value, [run(data, choice, value, s) for s in range(given.seeds)])
            for data in TASKS
            for value in CHOICES[choice]
        ]
        write(given.out, choice, rows, given.seeds)


def write(out: Path, choice: str, rows: list[dict], seeds: int) -> None:
    """Put the rows of one choice into the file, in place of those that it has of it."""
    old = json.loads(out.read_text("utf-8"))["table"] if out.exists() else []
    kept = [row for row in old if row["choice"] != choice]
    content = {"machine": machine(), "seeds": seeds, "table": [*kept, *rows]}
    out.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def digits(seed: int):
    """Training, validation and test rows, the loss, and units to start with."""
    x, y = load_digits(return_X_y=True)
    return split((x / 16).astype(np.float32), y, seed, y), SoftmaxCrossEntropy(), (4,)


def friedman1(seed: int):
    """The same for 4,000 rows of a noisy function of 5 of its 10 inputs."""
    x, y = make_friedman1(4000, noise=1.0, random_state=seed)
    parts = split(x, y[:, None], seed)
    scale_x, scale_y = (StandardScaler().fit(part) for part in parts[0])
    scaled = [
        (scale_x.transform(a).astype(np.float32), scale_y.transform(b).astype(np.float32))
        for a, b in parts
    ]
    return scaled, SquaredError(), ()


TASKS = {"digits": digits, "friedman1": friedman1}


def split(x, y, seed: int, stratify=None):
    """A fifth for the test, a tenth of the rest for validation."""
    rows = np.arange(len(x))
    rest, test = train_test_split(rows, test_size=0.2, random_state=seed, stratify=stratify)
    train, held_out = train_test_split(rest, test_size=0.1, random_state=seed)
    return [(x[r], y[r]) for r in (train, held_out, test)]


def run(data: str, choice: str, value, seed: int) -> dict:
    """One training, and how it did on test rows; that with all defaults is done once."""
    return train(data, *((choice, value) if value != CHOICES[choice][0] else (None, None)), seed)


@cache
def train(data: str, choice: str | None, value, seed: int) -> dict:
    """With one default changed, or none."""
    (rows, held_out, test), loss, first = TASKS[data](seed)
    network = senn.nn.MLP(
        rows[0].shape[1], 10 if data == "digits" else 1, first, key=jax.random.key(seed)
    )
    begin = time.monotonic()
    network, history = senn.fit(
        network, rows, validation=held_out, loss=loss, seed=seed, **settings(choice, value)
    )
    seconds = time.monotonic() - begin
    found = evaluate(network, loss, senn.Batch.of(*test))
    what = f"{data}, {choice or 'defaults'} {value or ''}, seed {seed}"
    print(f"{what}: {found.score:.4f}, {network.hidden_sizes}, {seconds:.0f} s", flush=True)
    return {
        "score": found.score, "loss": found.loss, "units": sum(network.hidden_sizes),
        "layers": len(network.hidden_sizes), "steps": history.steps,
    }  # fmt: skip


def settings(choice: str | None, value) -> dict:
    """The arguments of `fit` that the choice changes."""
    if choice is None:
        return {}
    if choice == "optimizer":
        return {"optimizer": value}
    of = senn.Schedule if choice in names(senn.Schedule) else senn.Policy
    return {of.__name__.lower(): of(**{choice: value})}


def names(cls: type) -> set[str]:
    """The fields of a dataclass."""
    return {field.name for field in dataclasses.fields(cls)}


def summary(data: str, choice: str, value, runs: list[dict]) -> dict:
    """One line of a table."""
    scores = [r["score"] for r in runs]
    middle = {k: statistics.median(r[k] for r in runs) for k in ("units", "layers", "steps")}
    stderr = statistics.stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else 0.0
    default = " (default)" if value == CHOICES[choice][0] else ""
    return {
        "choice": choice, "data": data, "setting": f"{value}{default}",
        "score": statistics.mean(scores), "stderr": stderr,
        "loss": statistics.mean(r["loss"] for r in runs), **middle, "runs": runs,
    }  # fmt: skip


def machine() -> dict:
    """What it ran on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "xla_threads": os.environ.get(THREADS_VARIABLE, "all"),
        "python": platform.python_version(), "senn": senn.__version__, "jax": jax.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


if __name__ == "__main__":
    main()
