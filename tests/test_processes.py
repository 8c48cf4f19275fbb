"""Several processes on one machine: one network, told and written by the first."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from command import refused
from senn.processes import gathered, told

TRAIN = ["digits", "--max-units", "8", "--max-iter", "14", "--seed", "1", "--json"]
SAME = ("hidden_sizes", "n_parameters", "test_score", "validation_score", "n_additions", "steps")
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Start `senn train` with some words, in a folder of its own for runs."""
    folder = tmp_path_factory.mktemp("processes")
    env = {**os.environ, "PJRT_NPROC": "1"}

    def start(*words: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "senn", "train", *words],
            cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    start.folder = folder
    return start


def two(start, *words, data=(None, None)):
    """Two processes, of which the second is silent; of data of their own, perhaps."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        start(
            *filter(None, [data[i] and str(data[i])]),
            *words,
            "--processes",
            "2",
            "--process",
            str(i),
            "--coordinator",
            at,
        )
        for i in range(2)
    ]


def ended(process):
    """The exit code, standard output and standard error."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def alone(start):
    """What one process says of the run."""
    code, out, err = ended(start(*TRAIN))
    assert code == 0, err
    return json.loads(out)


def like(found, alone):
    return {key: found[key] for key in SAME} == {key: alone[key] for key in SAME}


@slow
def test_two_processes_train_the_network_of_one(start, alone):
    first, other = map(ended, two(start, *TRAIN, "--out", "both"))
    assert first[0] == 0, first[2]
    assert other == (0, "", "")
    found = json.loads(first[1])
    assert found["n_additions"] > 0
    assert like(found, alone)
    assert (start.folder / "both" / "model.senn").exists()


@slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_dies_ends_the_other_and_the_run_goes_on(start, alone, killed):
    out = f"killed-{killed}"
    processes = two(start, *TRAIN, "--out", out, "--checkpoint-seconds", "0.1")
    checkpoint(start.folder / out, processes[0])
    os.kill(processes[killed].pid, signal.SIGKILL)
    begin = time.monotonic()
    code, said, err = ended(processes[1 - killed])
    ended(processes[killed])
    assert time.monotonic() - begin < 60
    assert (code, said) == (1, "")
    assert re.search(
        rf"^senn: another of the 2 processes has ended, so this one does, too \(.*\): senn train "
        rf"--resume {out} goes on, with as many or fewer\.\n\Z", err, re.MULTILINE,
    ), err  # fmt: skip
    if killed:  # it goes on alike, whoever it was
        return
    code, said, err = ended(start("--resume", out, "--json"))
    assert code == 0, err
    assert like(json.loads(said), alone)


ROWS = ["--max-iter", "4", "--batch-size", "50", "--hidden-sizes", "2", "--no-depth", "--optimizer",
        "adam", "--bins", "0", "--max-units", "2", "--json", "--quiet"]  # fmt: skip


def table(path: Path, seed: int) -> Path:
    """A file of 400 rows."""
    x = np.random.default_rng(seed).normal(size=(400, 2))
    path.parent.mkdir(exist_ok=True)
    pa_csv.write_csv(pa.table({"a": x[:, 0], "b": x[:, 1], "y": x[:, 0] > x[:, 1]}), path)
    return path


@slow
def test_two_processes_stream_the_rows_of_one(start):
    paths = [table(start.folder / "tables" / f"{k}.csv", k) for k in range(2)]
    words = [str(paths[0].parent), *ROWS]
    first, other = map(ended, two(start, *words))
    assert first[0] == 0, first[2]
    assert other == (0, "", "")
    alone = ended(start(*words))
    assert json.loads(first[1])["test_score"] == json.loads(alone[1])["test_score"]


@slow
def test_a_process_that_cannot_go_on_keeps_nobody_waiting(start):
    """Here because it has other rows; whatever the reason, it says so, and so do the others."""
    paths = [table(start.folder / f"rows-{k}.csv", k) for k in range(2)]
    processes = two(start, *ROWS, data=paths)
    other, begin = ended(processes[1]), time.monotonic()
    first = ended(processes[0])
    assert time.monotonic() - begin < 60
    assert other[0] == 2
    assert other[2].startswith("senn: rows-1.csv: This process does not have the rows that process")
    assert first[0] == 1
    assert re.fullmatch(
        r"senn: another of the 2 processes has ended, .*: start all of them anew, with as many or "
        r"fewer\.\n", first[2],
    ), first[2]  # fmt: skip


def guarded(code: str, **given) -> subprocess.Popen:
    """A process that goes on in a child, and does something there."""
    guard = (
        "import os, signal, sys, time\n"
        "from senn.commands.guard import go_on_in_a_child\n"
        "go_on_in_a_child(lambda words: ('lost.\\n', 2), lambda: 'go on')\n"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", guard + code], **pipes, **given)


@pytest.mark.parametrize(
    ("code", "ends"),
    [
        ("print('own', file=sys.stderr); os.write(2, b'other'); sys.exit(3)", (3, "ownother")),
        ("os.write(2, b'the distributed service'); os.abort()", (2, "lost.")),
        ("os.write(2, b'the distributed service'); sys.exit(4)", (4, "")),
        ("os.kill(os.getpid(), 9)", (137, "senn: this process was ended by SIGKILL: go on.")),
    ],
)
def test_what_becomes_of_a_process_is_told(code, ends):
    code, _, err = ended(guarded(code))
    assert (code, err.replace("\n", "")) == ends


def test_a_guarded_process_hears_one_signal_once_and_ends_with_its_guard():
    waits = (
        "signal.signal(signal.SIGINT, lambda *_: print('heard', flush=True))\n"
        "print('here', flush=True)\n"
        "while True: time.sleep(0.05)"
    )
    process = guarded(waits, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.stdout.readline() == "heard\n"
    process.kill()
    assert process.stdout.read() == ""  # until the child has ended, too
    process.communicate()


def test_processes_that_do_not_come_are_told_of(start):
    code = "from senn import cli, processes; processes.ARRIVAL = 1; raise SystemExit(cli.main())"
    alone = "--processes", "2", "--process", "0", "--coordinator", "127.0.0.1:0"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "moons", *alone],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert re.fullmatch(r"senn: process 0 of 2 did not find the others at .*\.\n", done.stderr)


def checkpoint(folder: Path, process: subprocess.Popen) -> None:
    """Wait for a checkpoint after the first step."""
    for _ in range(3000):
        if any(int(path.stem.split("-")[1]) for path in folder.glob("checkpoint-*.senn")):
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise AssertionError("there was no checkpoint")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--processes", "2"], r"need --processes, --process, --coordinator: add --process and "),
        (
            ["--processes", "2", "--process", "2", "--coordinator", "a:1"],
            "--process 2 must be from 0 to 1, for there are 2 processes",
        ),
        (
            ["--processes", "2", "--process", "1", "--coordinator", "a"],
            "--coordinator must be HOST:PORT, such as 10.0.0.1:4321; got 'a'",
        ),
        (
            ["--processes", "2", "--process", "1", "--coordinator", "a:1", "--devices", "1"],
            "--devices is for one process",
        ),
        (
            ["--processes", "2", "--process", "1", "--coordinator", "a:1", "--n-estimators", "2"],
            "--n-estimators is for one process",
        ),
    ],
)
def test_processes_that_cannot_be(words, message):
    refused(["train", "digits", *words], message)


def test_one_process_tells_itself():
    value = ["as it is"]
    assert told(value) is value
    assert gathered([1, 2]).tolist() == [1, 2]
