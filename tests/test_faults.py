"""Faults that befall real processes, a few of each kind."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "quality" / "faults.py"


@pytest.mark.slow
def test_nothing_is_lost():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick"],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    *_, total = (line for line in done.stdout.splitlines() if line.startswith("|"))
    name, tried, survived, lost = (cell.strip() for cell in total.strip("|").split("|"))
    assert name == "**all**"
    assert int(tried) == int(survived) == 8
    assert lost == "0"
