"""A long run: does memory stay flat, does the ledger stay small, do steps stay as fast?

    python quality/long_run.py             # 10,050 steps, 200 considerations
    python quality/long_run.py --quick     # 600 steps

Two half-moons, read over and over, and a policy that looks for units every 50 steps however often
that was in vain, so that the run never stops growing by itself. Units are added within the slots
that the network starts with: arrays keep their shapes, and first and last steps are comparable as
they are. Each step is timed, in seconds of the processor on one thread, as its share of a compiled
call of 25, looking for units and evaluating apart; of a tenth of the run the median is taken,
which leaves out compilation. Other work on the machine disturbs that little.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
from sklearn.datasets import make_moons

import senn
from senn.machine import use_threads
from senn.models import write_model

EVERY, PER_CALL, SLOTS = 50, 25, 64
MAX_MIB, MAX_RATIO = 16, 1.1  # by which memory may grow; by which a step may become slower


def main() -> int:
    """Run, print a line per tenth and a verdict; exit code 1 if something grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_050)
    parser.add_argument("--quick", action="store_true", help="600 steps")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    steps = 600 if arguments.quick else arguments.steps
    print(f"seed {arguments.seed}, {platform.machine()}, Python {platform.python_version()}\n")
    use_threads(1)
    log, network, history = run(steps, arguments.seed)
    tenths = [Tenth.of(log, history, steps * k // 10, steps * (k + 1) // 10) for k in range(10)]
    print("| steps | units | records | ledger, KiB | memory, MiB | ms a step |")
    print("|---|---|---|---|---|---|")
    print("\n".join(tenth.line() for tenth in tenths))
    looks = len({record.step for record in history.considerations})
    size = model_size(network)
    print(f"\n{looks} considerations, {len(history.additions)} additions")
    print(f"{network.n_parameters} parameters, in a file of {size} bytes")
    return verdict(tenths)


@dataclass
class Log(senn.Callback):
    """Memory and time after every compiled call of some steps, and the units after additions."""

    steps: list[int] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)  # MiB, resident
    seconds: list[float] = field(default_factory=list)  # of the processor, a step
    since: float = 0.0

    def on_steps(self, step: int, loss: float) -> None:  # noqa: ARG002
        """After some steps in one compiled call."""
        taken = step - (self.steps[-1] if self.steps else 0)
        self.seconds.append((time.process_time() - self.since) / taken)
        self.steps.append(step)
        self.memory.append(resident())
        self.since = time.process_time()

    def on_evaluation(self, evaluation) -> None:  # noqa: ARG002
        """Time goes on after what is no step."""
        self.since = time.process_time()

    on_start = on_addition = on_evaluation

    def on_considerations(self, considerations, reason: str) -> None:  # noqa: ARG002
        """Likewise."""
        self.since = time.process_time()


def run(steps: int, seed: int) -> tuple[Log, senn.nn.MLP, senn.History]:
    """So many steps with a consideration every 50."""
    x, y = make_moons(n_samples=1000, noise=0.3, random_state=seed)
    log = Log()
    network, history = senn.fit(
        senn.nn.MLP(2, 2, (4,), key=jax.random.key(seed), capacity=SLOTS),
        (x.astype(np.float32), y.astype(np.int32)),
        policy=senn.Policy(
            depth=False, every=EVERY, additions_at_once=1, backoff=1.0, alpha=3e-3,
            patience=steps, plateau=steps, max_units=SLOTS, prune=0.0, swap=None, prefer="grown",
        ),
        schedule=senn.Schedule(
            max_steps=steps, batch_size=100, evaluate_every=EVERY, steps_per_call=PER_CALL,
            anneal_epochs=None,
        ),
        callbacks=[log],
        seed=seed,
    )  # fmt: skip
    return log, network, history


@dataclass(frozen=True)
class Tenth:
    """One tenth of the run."""

    last: int  # step
    units: int
    records: int  # in the ledger, of these steps
    size: float  # KiB of them, as JSON lines
    memory: float  # MiB resident, the median over these steps
    seconds: float  # a step, the median

    @classmethod
    def of(cls, log: Log, history: senn.History, first: int, last: int) -> "Tenth":
        """What the log and the ledger say of the steps after `first` up to `last`."""
        calls = [i for i, step in enumerate(log.steps) if first < step <= last]
        records = [r for r in history.to_records() if first < r["step"] <= last]
        sizes = [r["hidden_sizes"] for r in records if r["record"] == "evaluation"]
        return cls(
            last,
            sum(sizes[-1]),
            len(records),
            sum(len(json.dumps(r)) + 1 for r in records) / 1024,
            statistics.median(log.memory[i] for i in calls),
            statistics.median(log.seconds[i] for i in calls),
        )

    def line(self) -> str:
        """A row of the table."""
        return (
            f"| {self.last} | {self.units} | {self.records} | {self.size:.1f} "
            f"| {self.memory:.1f} | {1000 * self.seconds:.3f} |"
        )


def verdict(tenths: list[Tenth]) -> int:
    """Print the last tenth against the first; 1 if memory, ledger or time grew too much."""
    first, last = tenths[0], tenths[-1]
    grown, ratio = last.memory - first.memory, last.seconds / first.seconds
    bounded = last.records <= 1.1 * max(tenth.records for tenth in tenths[:-1])
    print(f"memory: {grown:+.1f} MiB (at most {MAX_MIB})")
    print(f"a step: {ratio:.2f} times the first tenth's (at most {MAX_RATIO})")
    print(f"records: {last.records} in the last tenth, {first.records} in the first")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process: {peak:.0f} MiB")
    return 0 if grown <= MAX_MIB and ratio <= MAX_RATIO and bounded else 1


def resident() -> float:
    """MiB of memory that the process has now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def model_size(network: senn.nn.MLP) -> int:
    """Bytes of its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.senn"
        write_model(path, network, {}, {})
        return path.stat().st_size


if __name__ == "__main__":
    sys.exit(main())
