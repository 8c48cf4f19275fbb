"""What happens to a run of two processes of which one is killed.

    python quality/process_faults.py           ten kills; writes the table into docs/reliability.md
    python quality/process_faults.py --quick   two, without the table

At a random moment, before they have found each other, while they train or towards the end, one of
the two processes of a real `senn train` gets SIGKILL. The other must end within a minute, with one
sentence that says how to go on. That is done, in turn by two processes and by one. Two must end as
the undisturbed two, bit for bit but for times; one, whose sums are taken in another order, with the
same decisions, and with predictions that differ little.
"""

import argparse
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fault_runs import PATIENCE, Case, Lab, Lost, Run, measured_with, until, write_table

WORDS = ("moons", "--hidden-sizes", "2", "--alpha", "1e-4", "--max-units", "16", "--no-depth")
CASES = tuple(Case(name, name, WORDS) for name in ("kfac", "adam"))
ITERATIONS = 24
KILLS = 10
MINUTE = 60.0  # seconds within which the other is to end
CLOSE = 1e-3  # of what one process ends with, for another order of sums: differences of outputs
SENTENCE = re.compile(r"senn: .*: (senn train --resume \S+ goes on|start all of them).*\.\n")
# The decisions of a ledger: what was looked at and done, and when.
DECISIONS = "record", "step", "place", "kind", "units", "hidden_sizes", "accepted", "verdict"


@dataclass
class Together(Run):
    """A run of two processes."""

    def begin(self, *, resume: bool = False) -> list[subprocess.Popen]:
        """Both of them."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            at = f"127.0.0.1:{free.getsockname()[1]}"
        shared = "--processes", "2", "--coordinator", at, "--process"
        return [self.start(*shared, str(i), resume=resume) for i in range(2)]

    def finish(self, *, resume: bool = False) -> None:
        """Both, to their end."""
        for process in self.begin(resume=resume):
            self.end(process, 0)


@dataclass
class Pairs(Lab):
    """Where they take place.

    Of undisturbed runs it knows the seconds that they take, and what their networks say.
    """

    lengths: dict[Case, float] = field(default_factory=dict)
    predicted: dict[Case, np.ndarray] = field(default_factory=dict)

    def run(self, case: Case, folder: Path | None = None) -> Together:
        """A new run of two."""
        self.count += 1
        return Together(self, case, folder or self.folder / f"run-{self.count}")

    def learn(self, case: Case) -> None:
        """Let two be undisturbed; once before, so that what they compile is there."""
        self.run(case).finish()
        run, begin = self.run(case), time.monotonic()
        run.finish()
        self.lengths[case] = time.monotonic() - begin
        self.undisturbed[case] = run.result()
        self.predicted[case] = outputs(run)


@dataclass
class Kill:
    """What became of one of them."""

    case: Case
    killed: int
    resumed_by: int
    moment: str = ""
    seconds: float = 0.0  # until the other ended
    said: str = ""
    far: float = 0.0
    lost: str = ""


def outputs(run: Run) -> np.ndarray:
    """What the network of a run says of some rows [N, O]."""
    import senn

    rows = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    return senn.load(run.folder / "model.senn").predict_proba(rows)


def one_kill(pairs: Pairs, found: Kill, number: int, rng: random.Random) -> None:
    """Kill one, see how the other ends, go on as it says, and compare."""
    run = pairs.run(found.case)
    processes = run.begin()
    await_any_moment(pairs, run, processes[0], found, number % 2 == 1, rng)
    killed, other = processes[found.killed], processes[1 - found.killed]
    killed.send_signal(signal.SIGKILL)
    begin = time.monotonic()
    found.said = run.end(other, 0, 1, 2)
    found.seconds = time.monotonic() - begin
    killed.communicate(timeout=PATIENCE)
    if found.seconds > MINUTE:
        raise Lost(f"the other took {found.seconds:.0f} seconds to end")
    go_on_as_told(run, other, found)
    compare(pairs, run, found)


def await_any_moment(
    pairs: Pairs, run: Together, first: subprocess.Popen, found: Kill, of_all: bool,
    rng: random.Random,
) -> None:  # fmt: skip
    """Wait for a random moment, of the whole run or of its steps."""
    if of_all:
        seconds = rng.uniform(0, pairs.lengths[run.case])
        end = time.monotonic() + seconds
        until(lambda: time.monotonic() > end or first.poll() is not None)
        found.moment = f"after {seconds:.1f} s"
    else:
        run.await_moment(first, rng)
        found.moment = f"at step {max(run.step(), 0)}"


def go_on_as_told(run: Together, other: subprocess.Popen, found: Kill) -> None:
    """What the sentence says, which is to be the only one."""
    trained = other.returncode == 0  # all steps had been taken
    if not (trained or SENTENCE.fullmatch(found.said)):
        raise Lost(f"said otherwise: {found.said!r}")
    if run.is_over():
        return
    resume = trained or "--resume" in found.said
    if found.resumed_by == 2:
        run.finish(resume=resume)
    else:
        run.end(run.start(resume=resume), 0)


def compare(pairs: Pairs, run: Together, found: Kill) -> None:
    """Raise `Lost` unless it ended as the undisturbed run of two."""
    if found.resumed_by == 2:
        run.compare()
        return
    wanted = pairs.undisturbed[run.case][1]
    if decisions(run.result()[1]) != decisions(wanted):
        raise Lost("other decisions")
    found.far = float(np.abs(outputs(run) - pairs.predicted[run.case]).max())
    if found.far > CLOSE:
        raise Lost(f"probabilities differ by {found.far:.2g}")


def decisions(ledger: list[dict]) -> list[dict]:
    """What of a ledger another order of sums is not to change."""
    return [{k: v for k, v in row.items() if k in DECISIONS} for row in ledger]


def try_all(pairs: Pairs, kills: int) -> Iterator[list[Kill]]:
    """One after another; all so far. Any two choices meet in every way."""
    rng, done = random.Random(0), []
    cases = list(pairs.undisturbed)
    for number in range(kills):
        when, how, what = (number >> place & 1 for place in range(3))
        found = Kill(cases[what % len(cases)], (when + how + what) % 2, 2 - how)
        try:
            one_kill(pairs, found, number, rng)
        except (Lost, subprocess.TimeoutExpired) as loss:
            found.lost = str(loss)
        done.append(found)
        print(line(found), found.lost, found.said, sep="\n    ", flush=True)
        yield done


def line(found: Kill) -> str:
    """A row of the table."""
    end = f"LOST: {found.lost}" if found.lost else "the same bits"
    if not found.lost and found.resumed_by == 1:
        end = f"the same decisions, probabilities within {found.far:.1g}"
    return (
        f"| {found.case.name} | {found.killed} | {found.moment} | {found.seconds:.0f} s "
        f"| {found.resumed_by} | {end} |"
    )


def table(kills: list[Kill], pairs: Pairs) -> str:
    """The table, and what it was measured with."""
    return "\n".join(
        [
            "| optimiser | killed | when | the other ends after | resumed by | ends with |",
            "|---|---|---|---|---|---|",
            *map(line, kills), "",
            f"`senn train {' '.join(WORDS)} --max-iter {pairs.iterations} --processes 2 …`. "
            f"{measured_with()}",
        ]
    )  # fmt: skip


def main() -> int:
    """Kill, go on, print the table, write it; 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two kills, and no table written")
    quick = parser.parse_args().quick
    kills: list[Kill] = []
    with tempfile.TemporaryDirectory() as folder:
        pairs = Pairs(Path(folder), ITERATIONS)
        for case in CASES[-1:] if quick else CASES:
            pairs.learn(case)
        for kills in try_all(pairs, 2 if quick else KILLS):
            if not quick:
                write_table(table(kills, pairs), "the table of processes")
    print(f"\n{table(kills, pairs)}")
    return int(any(kill.lost for kill in kills))


if __name__ == "__main__":
    sys.exit(main())
