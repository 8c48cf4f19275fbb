"""Runs of `senn train` that faults befall, and how they would have ended undisturbed."""

import contextlib
import json
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

REPORT = Path(__file__).parents[1] / "docs" / "reliability.md"
# What a finished run leaves.
FINISHED = {"model.senn", "history.jsonl", "predictions.npz", "config.json"}
TIMES = {"seconds", "training_seconds", "growth_seconds", "compile_seconds", "n_compilations"}
PATIENCE = 300.0  # seconds for any process


class Case(NamedTuple):
    """What is trained, and how."""

    name: str
    optimizer: str
    words: tuple[str, ...]


class Lost(Exception):  # noqa: N818  the finding, not a mishap
    """What a fault has cost."""


# --- runs ---------------------------------------------------------------------------------


@dataclass
class Lab:
    """Where runs take place, and how the undisturbed ones ended."""

    folder: Path
    iterations: int
    undisturbed: dict[Case, tuple[bytes, list]] = field(default_factory=dict)
    count: int = 0

    def run(self, case: Case, folder: Path | None = None) -> "Run":
        """A new run, by default in a folder of its own."""
        self.count += 1
        return Run(self, case, folder or self.folder / f"run-{self.count}")

    def learn(self, case: Case) -> None:
        """Let one run be undisturbed."""
        run = self.run(case)
        run.end(run.start(), 0)
        self.undisturbed[case] = run.result()

    def steps(self, case: Case) -> int:
        """Of the undisturbed run."""
        return self.undisturbed[case][1][0]["steps"]

    def changes(self, case: Case, record: str) -> list[dict]:
        """Of the undisturbed run, what was added ("addition") or left ("removal")."""
        return [row for row in self.undisturbed[case][1] if row["record"] == record]


@dataclass
class Run:
    """One run of the command, which may take several processes."""

    lab: Lab
    case: Case
    folder: Path

    def start(
        self, *more: str, resume: bool = False, python: tuple[str, ...] = ("-m", "senn")
    ) -> subprocess.Popen:
        """A process that begins the run or goes on with it, with more options perhaps."""
        what = ("--resume", str(self.folder))
        if not resume:
            iterations = str(self.lab.iterations)
            what = (*self.case.words, "--optimizer", self.case.optimizer, "--max-iter", iterations,
                    "--out", str(self.folder))  # fmt: skip
        command = [sys.executable, *python, "train", *what, "--checkpoint-seconds", "0.01", *more]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self, process: subprocess.Popen, *codes: int) -> str:
        """Wait for the end, which must be with one of these codes; what it said of errors."""
        _, said = process.communicate(timeout=PATIENCE)
        if "Traceback" in said:
            raise Lost(f"a traceback: {said.strip().splitlines()[-1]}")
        if process.returncode not in codes:
            raise Lost(f"exit code {process.returncode}, not {codes}: {said.strip()[-200:]}")
        return said

    def go_on(self) -> None:
        """Resume until the run is finished; begin anew if it was killed before it began."""
        process = self.start(resume=True)
        said = self.end(process, 0, 2)
        if process.returncode == 2:
            nothing = "holds no checkpoint to go on from.", "No such file or directory"
            if not any(words in said for words in nothing):
                raise Lost(f"cannot be resumed: {said.strip()}")
            self.end(self.start(), 0)

    def result(self) -> tuple[bytes, list]:
        """The model, and the ledger without its times."""
        model = (self.folder / "model.senn").read_bytes()
        lines = (self.folder / "history.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        return model, [{k: v for k, v in row.items() if k not in TIMES} for row in rows]

    def compare(self) -> None:
        """Raise `Lost` unless the run has ended as the undisturbed one."""
        model, ledger = self.result()
        wanted, rows = self.lab.undisturbed[self.case]
        if ledger != rows:
            raise Lost("another ledger")
        if model != wanted:
            raise Lost("other parameters")
        if not self.is_over():
            raise Lost(f"files left over: {self.files()}")

    def files(self) -> set[str]:
        """The names of what is in the folder."""
        return {path.name for path in self.folder.iterdir()}

    def is_over(self) -> bool:
        """Whether the run has been saved to its end: one that can go on keeps checkpoints."""
        return self.folder.exists() and self.files() == FINISHED

    def checkpoints(self) -> list[Path]:
        """The newest last."""
        return sorted(self.folder.glob("checkpoint-*.senn"))

    def step(self) -> int:
        """Of the newest checkpoint; -1 before the first."""
        newest = self.checkpoints()[-1:]
        return int(newest[0].stem.removeprefix("checkpoint-")) if newest else -1

    def start_until(self, step: int) -> subprocess.Popen:
        """A process that stands still once it has written two checkpoints, one of this step on.

        It stops by itself: on a fast machine one that waits for a moment from outside is late.
        """
        process = self.start(python=("-c", STOPPING, str(step)))
        until(lambda: stands_still(process) or process.poll() is not None)
        return process

    def await_step(self, process: subprocess.Popen, step: int) -> None:
        """Wait until there is a checkpoint of this step or a later one."""
        until(lambda: self.step() >= step or process.poll() is not None)

    def await_moment(self, process: subprocess.Popen, rng: random.Random) -> None:
        """Wait until a random step that is still to come, and a little longer."""
        last = self.lab.steps(self.case)
        self.await_step(process, rng.randrange(max(self.step(), 0), last))
        time.sleep(rng.uniform(0, 0.1))


STOPPING = """
import os, signal, sys
from pathlib import Path
from senn.cli import main
step, replace, written = int(sys.argv.pop(1)), os.replace, []
def replace_and_stop(aside, path):
    replace(aside, path)
    name = Path(path).stem
    if name.startswith("checkpoint-"):
        written.append(int(name.removeprefix("checkpoint-")))
        if len(written) > 1 and written[-1] >= step:
            os.kill(os.getpid(), signal.SIGSTOP)
            os.replace = replace
os.replace = replace_and_stop
sys.exit(main(sys.argv[1:]))
"""


def stands_still(process: subprocess.Popen) -> bool:
    """Whether it has been stopped by a signal that lets it go on later."""
    with contextlib.suppress(OSError):  # it is over
        return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")")[-1].split()[0] == "T"
    return False


def until(done: Callable[[], object]) -> None:
    """Wait for something that will be soon."""
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise Lost("nothing happened for too long")
        time.sleep(0.001)


# --- the report ---------------------------------------------------------------------------


def write_table(text: str, name: str) -> None:
    """Put a table where the report has it, between two comments."""
    begin, end = f"<!-- {name} begins -->", f"<!-- {name} ends -->"
    before, rest = REPORT.read_text("utf-8").split(begin)
    REPORT.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}", "utf-8")


def measured_with() -> str:
    """What a table was measured with."""
    return (
        f"Python {platform.python_version()}, jaxlib {version('jaxlib')}, "
        f"{platform.system()} on {platform.machine()}."
    )
