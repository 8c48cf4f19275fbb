"""The same seed, machine and threads: the same result, bit for bit, in another process."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from senn.runs import LEDGER, MODEL

TIMES = {"seconds", "training_seconds", "growth_seconds", "compile_seconds", "n_compilations"}
WORDS = ("digits", "--max-iter", "40", "--max-units", "24", "--quiet")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of a run that was trained in a process of its own, once for each call."""
    folder = tmp_path_factory.mktemp("runs")

    @functools.cache
    def train(threads: int, hash_seed: str) -> Path:
        run = folder / f"{threads}-{hash_seed}"
        command = [sys.executable, "-m", "senn", "train", *WORDS, "--threads", str(threads)]
        # Compiled by the first process and taken from the cache by the second.
        env = {"SENN_CACHE_DIR": str(folder / "cache"), "PYTHONHASHSEED": hash_seed}
        subprocess.run(
            [*command, "--out", run], env={**os.environ, **env}, check=True, capture_output=True
        )
        return run

    return train


def ledger(run: Path) -> list[dict]:
    rows = [json.loads(line) for line in (run / LEDGER).read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def decisions(run: Path) -> list[tuple]:
    rows = [row for row in ledger(run) if row["record"] == "consideration"]
    return [(row["step"], row["kind"], row["position"], row["accepted"]) for row in rows]


@pytest.mark.parametrize("threads", [1, 2])
def test_another_process_ends_with_the_same_bits(trained, threads):
    first, second = (trained(threads, seed) for seed in "01")
    assert any(accepted for *_, accepted in decisions(first))
    assert ledger(second) == ledger(first)
    assert (second / MODEL).read_bytes() == (first / MODEL).read_bytes()


def test_another_number_of_threads_decides_alike(trained):
    one, two = (trained(threads, "0") for threads in (1, 2))
    assert decisions(one) == decisions(two)
    arrays, others = (load_file(run / MODEL) for run in (one, two))
    for name in arrays.keys() - {"sha256"}:
        np.testing.assert_allclose(arrays[name], others[name], atol=1e-3)
