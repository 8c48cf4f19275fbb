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


def two(start, *words):
    """Two processes, of which the second is silent."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        start(*words, "--processes", "2", "--process", str(i), "--coordinator", at)
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
