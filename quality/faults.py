"""What happens to a run that is killed, starved of disk, or finds its files damaged.

    python quality/faults.py               all faults; writes the table into docs/reliability.md
    python quality/faults.py --quick       a few of each, without the table

Every fault befalls a real process of `senn train`, a run that grows, or one that units leave. Then
`senn train --resume` goes on, and what it ends with, the model and the ledger (times aside), must
be bit for bit what the undisturbed run ended with.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fault_runs import PATIENCE, Case, Lab, Lost, Run, measured_with, until, write_table

OPTIMIZERS = ("kfac", "natural-gradient", "adam")
GROWN = ("moons", "--hidden-sizes", "2", "--alpha", "1e-4", "--max-units", "24", "--no-depth")
SHRUNK = ("moons", "--hidden-sizes", "10", "--alpha", "1e-3", "--max-units", "24")
CASES = (
    *(Case(name, name, GROWN) for name in OPTIMIZERS),
    # Natural gradient takes nothing out in so few steps; tests/test_pruning.py has it.
    *(Case(f"{name} with removals", name, SHRUNK) for name in ("kfac", "adam")),
)
QUICK_CASES = CASES[0], CASES[3]
ITERATIONS = 40  # in fewer none has been trained for long enough to leave


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
    run.await_step(process, rng.randrange(run.lab.steps(run.case) // 2))
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
        process = run.start_until(rng.randrange(run.lab.steps(run.case) // 2))
        process.kill()
        process.communicate()
        if len(run.checkpoints()) < 2:
            raise Lost(f"there are no two checkpoints: {run.checkpoints()}")
        spoil(run.checkpoints()[-1], rng)

    return fault


def two_writers(run: Run, rng: random.Random) -> None:
    """A second process that begins, and one that resumes, the run of a first."""
    first = run.start_until(rng.randrange(run.lab.steps(run.case) // 2))
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
    run.await_step(process, rng.randrange(run.lab.steps(run.case) // 2))
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


def attempt(lab: Lab, fault: Fault, case: Case, rng: random.Random) -> None:
    """One fault, what follows, and the comparison; `Lost` if they differ."""
    if not fault.disk:
        return aftermath(fault, lab.run(case), rng)
    with small_disk(lab) as place:
        return aftermath(fault, lab.run(case, place / "run"), rng)


def aftermath(fault: Fault, run: Run, rng: random.Random) -> None:
    """The fault, and whether the run ends as if it had not been."""
    fault.act(run, rng)
    run.go_on()
    run.compare()


def try_all(lab: Lab, quick: bool) -> Iterator[list[Row]]:
    """The faults in rounds, one of each kind, over the cases in turn; the rows so far."""
    rng, mountable = random.Random(0), may_mount(lab)
    cases = list(lab.undisturbed)
    left = {fault: fault.quick if quick else fault.often for fault in FAULTS}
    rows = {fault: Row(fault.name) for fault, often in left.items() if often}
    for k in range(max(left.values())):
        for number, (fault, row) in enumerate(rows.items()):
            if fault.disk and not mountable:
                row.skipped = "needs the right to mount"
            elif k < left[fault]:
                try_once(lab, fault, row, cases[(k + number) % len(cases)], rng)
        yield list(rows.values())


def try_once(lab: Lab, fault: Fault, row: Row, case: Case, rng: random.Random) -> None:
    """One fault more in its row."""
    row.tried += 1
    try:
        attempt(lab, fault, case, rng)
    except (Lost, subprocess.TimeoutExpired) as loss:
        row.lost.append(f"{case.name}: {loss}")
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
    runs = "; ".join(undisturbed(lab, case) for case in lab.undisturbed)
    return "\n".join(
        [
            "| fault | tried | survived | lost |", "|---|---|---|---|",
            *map(line, [*rows, total]), "",
            f"`senn train {' '.join(GROWN)} --max-iter {lab.iterations}`, and with removals "
            f"`senn train {' '.join(SHRUNK)} --max-iter {lab.iterations}`, undisturbed: {runs}. "
            f"{measured_with()}",
        ]
    )  # fmt: skip


def check_removals(lab: Lab) -> None:
    """Nothing is shown of removals where there are none."""
    for case in lab.undisturbed:
        if case.words is SHRUNK and not lab.changes(case, "removal"):
            raise SystemExit(
                f"{case.name}: nothing leaves in the undisturbed run; change its words."
            )


def undisturbed(lab: Lab, case: Case) -> str:
    """How a case ends if nothing happens to it."""
    records = [row for row in lab.undisturbed[case][1] if row["record"] in ("addition", "removal")]
    sizes = [case.words[2], *(str(sum(row["hidden_sizes"])) for row in records)]
    return f"{case.name} {lab.steps(case)} steps, {', '.join(sizes)} units"


def main() -> int:
    """Try the faults, print the table, write it; 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few faults, and no table written")
    quick = parser.parse_args().quick
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children inherit what is ignored
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder), ITERATIONS)
        for case in QUICK_CASES if quick else CASES:
            lab.learn(case)
        check_removals(lab)
        for rows in try_all(lab, quick):
            if not quick:
                write_table(table(rows, lab), "the table")
    print(f"\n{table(rows, lab)}")
    return int(any(row.lost for row in rows))


if __name__ == "__main__":
    sys.exit(main())
