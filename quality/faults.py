"""What happens to a run that is killed, starved of disk, or finds its files damaged.

    python quality/faults.py               all faults; writes the table into docs/reliability.md
    python quality/faults.py --quick       a few of each, without the table

Every fault befalls a real process of `senn train`, a run that grows. Then `senn train --resume`
goes on, and what it ends with, the model and the ledger (times aside), must be bit for bit what
the undisturbed run ended with.
"""

import argparse
import contextlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

REPORT = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- the table begins -->", "<!-- the table ends -->"
OPTIMIZERS = ("kfac", "natural-gradient", "adam")
WORDS = ("moons", "--hidden-sizes", "2", "--alpha", "1e-4", "--max-units", "24", "--no-depth")
# What a finished run leaves.
FINISHED = {"model.senn", "history.jsonl", "predictions.npz", "config.json"}
TIMES = {"seconds", "training_seconds", "growth_seconds", "compile_seconds", "n_compilations"}
PATIENCE = 300.0  # seconds for any process


class Lost(Exception):  # noqa: N818  the finding, not a mishap
    """What a fault has cost."""


# --- runs ---------------------------------------------------------------------------------


@dataclass
class Lab:
    """Where runs take place, and how the undisturbed ones ended."""

    folder: Path
    iterations: int
    undisturbed: dict[str, tuple[bytes, list]] = field(default_factory=dict)
    count: int = 0

    def run(self, optimizer: str, folder: Path | None = None) -> "Run":
        """A new run, by default in a folder of its own."""
        self.count += 1
        return Run(self, optimizer, folder or self.folder / f"run-{self.count}")

    def learn(self, optimizer: str) -> None:
        """Let one run be undisturbed."""
        run = self.run(optimizer)
        run.end(run.start(), 0)
        self.undisturbed[optimizer] = run.result()

    def steps(self, optimizer: str) -> int:
        """Of the undisturbed run."""
        return self.undisturbed[optimizer][1][0]["steps"]


@dataclass
class Run:
    """One run of the command, which may take several processes."""

    lab: Lab
    optimizer: str
    folder: Path

    def start(self, *, resume: bool = False, python: tuple[str, ...] = ("-m", "senn")):
        """A process that begins the run or goes on with it."""
        what = ("--resume", str(self.folder))
        if not resume:
            iterations = str(self.lab.iterations)
            what = (*WORDS, "--optimizer", self.optimizer, "--max-iter", iterations,
                    "--out", str(self.folder))  # fmt: skip
        command = [sys.executable, *python, "train", *what, "--checkpoint-seconds", "0.01"]
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
        wanted, rows = self.lab.undisturbed[self.optimizer]
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
        last = self.lab.steps(self.optimizer)
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


# --- faults -------------------------------------------------------------------------------


def kill(run: Run, rng: random.Random) -> None:
    """SIGKILL at a random moment of training."""
    end_it(run.start(), run, rng)


def end_it(process: subprocess.Popen, run: Run, rng: random.Random) -> None:
    """SIGKILL to this process at a random moment."""
    run.await_moment(process, rng)
    process.kill()
    process.communicate()


def kill_before_the_first_step(run: Run, rng: random.Random) -> None:
    """SIGKILL while it imports, loads or compiles."""
    process = run.start()
    time.sleep(rng.uniform(0, 5))
    process.kill()
    process.communicate()


def kill_again_and_again(run: Run, rng: random.Random) -> None:
    """SIGKILL, and again at each of three attempts to go on."""
    kill(run, rng)
    for _ in range(3):
        end_it(run.start(resume=True), run, rng)


def kill_while_writing(run: Run, rng: random.Random) -> None:
    """SIGKILL in the middle of writing a checkpoint."""
    process = run.start()
    run.await_step(process, rng.randrange(run.lab.steps(run.optimizer) // 2))
    until(lambda: half_written(run) or process.poll() is not None)
    process.kill()
    process.communicate()


def half_written(run: Run) -> list[Path]:
    """Checkpoints that are not whole yet."""
    return list(run.folder.glob(".checkpoint-*"))


def stop(*signals: int) -> Callable[[Run, random.Random], None]:
    """Ctrl-C or SIGTERM, one or more."""

    def fault(run: Run, rng: random.Random) -> None:
        process = run.start()
        run.await_moment(process, rng)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.01)
        said = run.end(process, 0, 130)
        warned = "once more leaves at once" in said
        if process.returncode == 130 and not warned and not run.is_over():
            raise Lost(f"no word of how to leave: {said}")

    return fault


def truncate(path: Path, rng: random.Random) -> None:
    """Cut a file at a random place."""
    os.truncate(path, rng.randrange(path.stat().st_size))


def flip(path: Path, rng: random.Random) -> None:
    """Flip one random bit of a file."""
    content = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def damage(spoil: Callable[[Path, random.Random], None]) -> Callable[[Run, random.Random], None]:
    """SIGKILL, and the newest checkpoint damaged."""

    def fault(run: Run, rng: random.Random) -> None:
        process = run.start_until(rng.randrange(run.lab.steps(run.optimizer) // 2))
        process.kill()
        process.communicate()
        if len(run.checkpoints()) < 2:
            raise Lost(f"there are no two checkpoints: {run.checkpoints()}")
        spoil(run.checkpoints()[-1], rng)

    return fault


def two_writers(run: Run, rng: random.Random) -> None:
    """A second process that begins, and one that resumes, the run of a first."""
    first = run.start_until(rng.randrange(run.lab.steps(run.optimizer) // 2))
    said = [run.end(run.start(resume=True), 2), run.end(run.start(), 2)]
    first.send_signal(signal.SIGCONT)
    if "another process" not in said[0] or "not finished" not in said[1]:
        raise Lost(f"refused in other words: {said}")
    run.end(first, 0)


JUMPING = """
import random, sys, time
real, rng = time.time, random.Random(0)
time.time = lambda: real() + rng.uniform(-1e9, 1e9)
time.time_ns = lambda: int(1e9 * time.time())
from senn.cli import main
sys.exit(main(sys.argv[1:]))
"""


def jumping_clock(run: Run, rng: random.Random) -> None:
    """A wall clock that jumps by up to thirty years whenever it is read; then SIGKILL."""
    end_it(run.start(python=("-c", JUMPING)), run, rng)


# --- faults of the disk -------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(lab: Lab) -> Iterator[Path]:
    """A file system in memory, of a few megabytes."""
    place = lab.folder / f"disk-{lab.count}"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def may_mount(lab: Lab) -> bool:
    """Whether this process may make such a disk."""
    try:
        with small_disk(lab):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        lab.count += 1


def keep_full(place: Path, process: subprocess.Popen, seconds: float) -> None:
    """Take all the room that is left, or becomes free, until the process or the time ends."""
    end, filler = time.monotonic() + seconds, place / "filler"
    with filler.open("wb", buffering=0) as file:
        while process.poll() is None and time.monotonic() < end:
            try:
                file.write(bytes(4096))
            except OSError:
                time.sleep(0.002)
    filler.unlink()


def full_disk(run: Run, rng: random.Random) -> None:
    """A disk that is full until the end: training goes on, and the end says what to do."""
    process = run.start()
    run.await_moment(process, rng)
    keep_full(run.folder.parent, process, PATIENCE)
    what_is_said_of_a_full_disk(run.end(process, 1))


def what_is_said_of_a_full_disk(said: str) -> None:
    """A sentence when a checkpoint cannot be written, one at the end, and no more."""
    if "No space left" not in said or said.count("\n") > 2:
        raise Lost(f"said in other words: {said}")


def disk_full_for_a_while(run: Run, rng: random.Random) -> None:
    """A disk that is full for a while: the run ends as if it had not been.

    If it ended meanwhile, which depends on the machine, it says what to do, as on a full disk.
    """
    process = run.start()
    run.await_step(process, rng.randrange(run.lab.steps(run.optimizer) // 2))
    keep_full(run.folder.parent, process, rng.uniform(0.05, 0.2))
    said = run.end(process, 0, 1)
    if process.returncode:
        what_is_said_of_a_full_disk(said)


def read_only_from_now_on(run: Run, rng: random.Random) -> None:
    """A folder that cannot be written any more, from the middle of a run."""
    process = run.start()
    run.await_moment(process, rng)
    place = run.folder.parent
    until(lambda: remount(place, "ro"))
    said = run.end(process, 1)
    remount(place, "rw")
    if "Read-only" not in said or said.count("\n") > 2:
        raise Lost(f"said in other words: {said}")


def read_only_from_the_start(run: Run, rng: random.Random) -> None:  # noqa: ARG001
    """A folder that cannot be written: refused before training, in one sentence."""
    place = run.folder.parent
    remount(place, "ro")
    said = run.end(run.start(), 2)
    remount(place, "rw")
    if "cannot be written" not in said or said.count("\n") != 1:
        raise Lost(f"said in other words: {said}")
    run.end(run.start(), 0)


def remount(place: Path, how: str) -> bool:
    """Let a disk be written or not; False while a file is open for writing."""
    words = ["mount", "-o", f"remount,{how}", place]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


# --- the experiment -----------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A kind of fault, and how often it is tried."""

    name: str
    act: Callable[[Run, random.Random], None]
    often: int
    quick: int
    disk: bool = False  # whether it needs a disk of its own


TERM, INT = signal.SIGTERM, signal.SIGINT
FAULTS = (
    Fault("SIGKILL at a random moment", kill, 30, 2),
    Fault("SIGKILL before the first step", kill_before_the_first_step, 2, 0),
    Fault("SIGKILL four times in one run", kill_again_and_again, 2, 0),
    Fault("SIGKILL in the middle of writing a checkpoint", kill_while_writing, 6, 1),
    Fault("SIGTERM", stop(TERM), 3, 1),
    Fault("Ctrl-C", stop(INT), 3, 0),
    Fault("Ctrl-C twice", stop(INT, INT), 3, 1),
    Fault("newest checkpoint truncated", damage(truncate), 3, 1),
    Fault("newest checkpoint with a flipped bit", damage(flip), 3, 1),
    Fault("two processes writing the same run", two_writers, 2, 1),
    Fault("wall clock that jumps, and SIGKILL", jumping_clock, 2, 0),
    Fault("disk full until the end", full_disk, 3, 0, disk=True),
    Fault("disk full for a while", disk_full_for_a_while, 2, 0, disk=True),
    Fault("folder read-only from the middle", read_only_from_now_on, 2, 0, disk=True),
    Fault("folder read-only from the start", read_only_from_the_start, 1, 0, disk=True),
)


@dataclass
class Row:
    """What became of one kind of fault."""

    name: str
    tried: int = 0
    lost: list[str] = field(default_factory=list)
    skipped: str = ""


def attempt(lab: Lab, fault: Fault, optimizer: str, rng: random.Random) -> None:
    """One fault, what follows, and the comparison; `Lost` if they differ."""
    if not fault.disk:
        return aftermath(fault, lab.run(optimizer), rng)
    with small_disk(lab) as place:
        return aftermath(fault, lab.run(optimizer, place / "run"), rng)


def aftermath(fault: Fault, run: Run, rng: random.Random) -> None:
    """The fault, and whether the run ends as if it had not been."""
    fault.act(run, rng)
    run.go_on()
    run.compare()


def try_all(lab: Lab, quick: bool) -> Iterator[list[Row]]:
    """The faults in rounds, one of each kind, over the optimisers in turn; the rows so far."""
    rng, mountable = random.Random(0), may_mount(lab)
    optimizers = list(lab.undisturbed)
    left = {fault: fault.quick if quick else fault.often for fault in FAULTS}
    rows = {fault: Row(fault.name) for fault, often in left.items() if often}
    for k in range(max(left.values())):
        for fault, row in rows.items():
            if fault.disk and not mountable:
                row.skipped = "needs the right to mount"
            elif k < left[fault]:
                try_once(lab, fault, row, optimizers[k % len(optimizers)], rng)
        yield list(rows.values())


def try_once(lab: Lab, fault: Fault, row: Row, optimizer: str, rng: random.Random) -> None:
    """One fault more in its row."""
    row.tried += 1
    try:
        attempt(lab, fault, optimizer, rng)
    except (Lost, subprocess.TimeoutExpired) as loss:
        row.lost.append(f"{optimizer}: {loss}")
    print(line(row), *row.lost, sep="\n    ", flush=True)


def line(row: Row) -> str:
    """A row of the table."""
    if row.skipped:
        return f"| {row.name} | skipped: {row.skipped} | | |"
    return f"| {row.name} | {row.tried} | {row.tried - len(row.lost)} | {len(row.lost)} |"


def table(rows: list[Row], lab: Lab) -> str:
    """The table, with its sum, and what it was measured with."""
    done = [row for row in rows if not row.skipped]
    total = Row("**all**", sum(r.tried for r in done), [x for r in done for x in r.lost])
    grown = {
        name: [row["hidden_sizes"][0] for row in rows if row["record"] == "addition"]
        for name, (_, rows) in lab.undisturbed.items()
    }
    runs = "; ".join(
        f"{name} {lab.steps(name)} steps, 2 to {', '.join(map(str, sizes))} units"
        for name, sizes in grown.items()
    )
    return "\n".join(
        [
            "| fault | tried | survived | lost |", "|---|---|---|---|",
            *map(line, [*rows, total]), "",
            f"`senn train {' '.join(WORDS)} --max-iter {lab.iterations}`, undisturbed: {runs}. "
            f"Python {platform.python_version()}, jaxlib {version('jaxlib')}, "
            f"{platform.system()} on {platform.machine()}.",
        ]
    )  # fmt: skip


def write_table(text: str) -> None:
    """Put the table where the report has it."""
    before, rest = REPORT.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    REPORT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


def main() -> int:
    """Try the faults, print the table, write it; 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few faults, and no table written")
    quick = parser.parse_args().quick
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children inherit what is ignored
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder), 20 if quick else 40)
        for optimizer in OPTIMIZERS[:1] if quick else OPTIMIZERS:
            lab.learn(optimizer)
        for rows in try_all(lab, quick):
            if not quick:
                write_table(table(rows, lab))
    print(f"\n{table(rows, lab)}")
    return int(any(row.lost for row in rows))


if __name__ == "__main__":
    sys.exit(main())
