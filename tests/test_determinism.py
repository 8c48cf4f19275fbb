"""The same seed, machine and threads: the same result, bit for bit, in another process."""

import json
import os
import subprocess
import sys

import pytest

from senn.runs import LEDGER, MODEL

TIMES = {"seconds", "training_seconds", "growth_seconds", "compile_seconds", "n_compilations"}
WORDS = ("digits", "--max-iter", "40", "--max-units", "24", "--quiet")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train in a process of its own; the model and the ledger without its times."""
    folder = tmp_path_factory.mktemp("runs")

    def train(name: str, *words: str, hash_seed: str = "0") -> tuple[bytes, list[dict]]:
        command = [sys.executable, "-m", "senn", "train", *WORDS, *words, "--out", folder / name]
        # Compiled by the first process and taken from the cache by the second.
        env = {"SENN_CACHE_DIR": str(folder / "cache"), "PYTHONHASHSEED": hash_seed}
        subprocess.run(command, env={**os.environ, **env}, check=True, capture_output=True)
        lines = (folder / name / LEDGER).read_text().splitlines()
        rows = [{k: v for k, v in json.loads(r).items() if k not in TIMES} for r in lines]
        return (folder / name / MODEL).read_bytes(), rows

    return train


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
def test_another_process_ends_with_the_same_bits(trained, threads):
    model, ledger = trained(f"first-{threads}", "--threads", threads)
    again, same_ledger = trained(f"second-{threads}", "--threads", threads, hash_seed="1")
    assert any(row["record"] == "addition" for row in ledger)
    assert same_ledger == ledger
    assert again == model
