"""Shared settings: every test runs in float64 unless it asks for float32."""

from pathlib import Path

import jax
import pytest

jax.config.update("jax_enable_x64", True)

# Linux gives a process 65,530 mappings of memory, and every program that XLA compiles takes
# several. A worker that keeps them all dies of a segmentation fault towards the end of the suite.
MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = 20_000


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Drop those of the modules before, when they have become many."""
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()
