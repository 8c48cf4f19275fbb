"""Damaged files, and whether their readers refuse them in a sentence.

    python quality/fuzz.py                       # 100,000 inputs a reader, minutes each
    python quality/fuzz.py --quick               # 300 inputs a reader
    python quality/fuzz.py --only csv model --inputs 5000 --seed 7

Every reader gets valid files, damaged at random (`mutations.py`), and must read them or raise its
own error. A finding is any other exception, a warning, a read of more than `SECONDS`, a death of
the process, a file written, a program or a connection started, and memory beyond `MEMORY`. Each
finding is printed once, and its input kept in build/fuzz. The exit code is 1 if there are any.

Every reader has a process of its own, whose address space is limited.
"""

import argparse
import json
import os
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fuzz_targets import TARGETS, Target

SECONDS = 5  # a read
KILLED_AFTER = 30  # seconds of processor time, for reads that no exception interrupts
MEMORY = 2**28  # bytes that the resident process may grow by
ADDRESSES = 2**30  # bytes that its address space may grow by
KEPT = Path("build/fuzz")
QUICK = 300
ACCEPTED, REFUSED = "accepted", "refused"


class Hang(BaseException):
    """Not an `Exception`, so that no reader catches it."""


@dataclass
class Report:
    """What became of the inputs of one reader."""

    inputs: int
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: float = 0.0  # seconds
    memory: int = 0  # bytes by which the process grew at its peak
    findings: dict[str, list] = field(default_factory=dict)  # how often, and what was said first

    def count(self, kind: str, detail: str) -> None:
        """Count one input."""
        self.accepted += kind == ACCEPTED
        self.refused += kind == REFUSED
        if kind not in (ACCEPTED, REFUSED):
            self.findings.setdefault(kind, [0, detail[:200]])[0] += 1


# --- What a read does beside reading --------------------------------------------------------------

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FORBIDDEN = (
    "os.", "shutil.", "subprocess.", "socket.connect", "pickle.find_class", "tempfile.", "urllib.",
)  # fmt: skip
_HARMLESS = ("os.listdir", "os.scandir", "os.putenv")


class _Watch:
    """Notes what no reader should do, by Python's audit events: files written, programs run."""

    def __init__(self):
        self.on, self.seen = False, []
        sys.addaudithook(self._hear)  # for good: hooks cannot be taken away

    def __enter__(self) -> list[str]:
        self.on, self.seen = True, []
        return self.seen

    def __exit__(self, *_):
        self.on = False

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.on:
            return
        if event == "open":
            written = isinstance(arguments[2], int) and arguments[2] & _WRITES
            if written and "__pycache__" not in str(arguments[0]):
                self.seen.append(f"{arguments[0]!r}")
        elif event.startswith(_FORBIDDEN) and event not in _HARMLESS:
            self.seen.append(f"{event}{arguments!r}"[:200])


# --- One reader ---------------------------------------------------------------------------------


def attack(target: Target, folder: Path, inputs: int, seed: int, kept: Path = KEPT) -> Report:
    """Give a reader so many damaged inputs; they are written into `folder`."""
    rng, report, watch = random.Random(seed), Report(inputs), _Watch()
    samples, path = valid(target, folder), folder / target.file
    before, start = _peak_memory(), time.monotonic()
    for _ in range(inputs):
        content = rng.choice(target.mutations)(rng, rng.choice(samples))
        path.write_bytes(content)
        begin = time.perf_counter()
        kind, detail = _outcome(target, path, watch)
        report.slowest = max(report.slowest, time.perf_counter() - begin)
        report.count(kind, detail)
        if report.findings.get(kind, [0])[0] == 1:
            _keep(content, kept, f"{target.name}-{len(report.findings)}{path.suffix}")
    report.seconds, report.memory = time.monotonic() - start, _peak_memory() - before
    return report


def valid(target: Target, folder: Path) -> list[bytes]:
    """The valid files; each has been read, so that what is imported late has been."""
    samples = target.samples(folder)
    for sample in samples:
        (folder / target.file).write_bytes(sample)
        target.read(folder / target.file)
    return samples


def _outcome(target: Target, path: Path, watch: _Watch) -> tuple[str, str]:
    """`ACCEPTED`, `REFUSED`, or where something went wrong; and what was said."""
    try:
        with _Limits(), watch as touched, warnings.catch_warnings():
            warnings.simplefilter("error")
            target.read(path)
        outcome = ACCEPTED, ""
    except target.error as error:
        outcome = REFUSED if _is_sentence(str(error)) else "no sentence", str(error)
    except (Exception, Hang) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        outcome = f"{type(error).__name__} at {place}", str(error)
    return ("touched", touched[0]) if touched else outcome


def _is_sentence(message: str) -> bool:
    return bool(message.strip()) and len(message.splitlines()) == 1 and len(message) < 2000


def _keep(content: bytes, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class _Limits:
    """Raise `Hang` after `SECONDS`; where Python gets no turn, the process is killed instead."""

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, self._hang)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        signal.setitimer(signal.ITIMER_VIRTUAL, KILLED_AFTER)

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGALRM, self.before)

    @staticmethod
    def _hang(*_):
        raise Hang(f"more than {SECONDS} seconds")


# --- All of them ----------------------------------------------------------------------------------


def main() -> int:
    """Attack every reader in a process of its own; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--inputs", type=int, default=100_000, help="a reader")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} inputs a reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", choices=TARGETS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    inputs = QUICK if arguments.quick else arguments.inputs
    if arguments.child:
        return _child(TARGETS[arguments.child], inputs, arguments.seed)
    print(f"seed {arguments.seed}, {platform.machine()}, Python {platform.python_version()}\n")
    print("| reader | inputs | read | refused | findings | inputs/s | slowest, ms | memory, MiB |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    reports = {name: _in_child(name, inputs, arguments.seed) for name in arguments.only}
    findings = [
        f"{name}: {kind}, {times} times: {detail}"
        for name, found in reports.items()
        for kind, (times, detail) in found.items()
    ]
    print("\n".join(["", *findings, f"{len(findings)} findings"]))
    return 1 if findings else 0


def _in_child(name: str, inputs: int, seed: int) -> dict[str, list]:
    """Print the line of one reader, and return its findings."""
    with tempfile.TemporaryDirectory(dir=_memory_disk()) as folder:
        command = [sys.executable, __file__, "--child", name, "--inputs", str(inputs)]
        child = subprocess.run(
            [*command, "--seed", str(seed)], stdout=subprocess.PIPE, check=False,
            env={**os.environ, "TMPDIR": folder},
        )  # fmt: skip
        if child.returncode:
            last = Path(folder) / TARGETS[name].file
            if last.exists():
                KEPT.mkdir(parents=True, exist_ok=True)
                shutil.copy(last, KEPT / f"{name}-died{last.suffix}")
            return {"death": [1, f"exit code {child.returncode}"]}
    report = Report(**json.loads(child.stdout.splitlines()[-1]))
    print(
        f"| {name} | {report.inputs:,} | {report.accepted:,} | {report.refused:,} "
        f"| {sum(k for k, _ in report.findings.values())} | {report.inputs / report.seconds:,.0f} "
        f"| {1000 * report.slowest:.0f} | {report.memory / 2**20:.0f} |",
        flush=True,
    )
    return report.findings


def _child(target: Target, inputs: int, seed: int) -> int:
    """Attack one reader; the report goes to standard output as JSON."""
    folder = Path(tempfile.gettempdir())
    valid(target, folder)  # so that all is imported before memory is limited
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESSES, -1))
    report = attack(target, folder, inputs, seed)
    if report.memory > MEMORY:
        report.count("memory", f"it grew by {report.memory / 2**20:.0f} MiB")
    print(json.dumps(asdict(report)))
    return 0


def _memory_disk() -> str | None:
    """A folder that is no disk, if there is one: 100,000 files are written."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    sys.exit(main())
