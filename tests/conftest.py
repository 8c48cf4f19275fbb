"""Shared settings: every test runs in float64 unless it asks for float32."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from mnist import folder_with_mnist
from senn.compilation import QUICK, forget_programs
from senn.machine import keep_compilations_unless_told

jax.config.update("jax_enable_x64", True)

# What tests compile beside the library's programs is run once or twice, as most of those are: a
# fifth of its time is saved. XLA ends a process that names a flag that it does not know.
if "XLA_FLAGS" not in os.environ:
    flags = " ".join(f"--{name}={str(value).lower()}" for name, value in QUICK.items())
    start_xla = [sys.executable, "-c", "import jax; jax.devices()"]
    env = os.environ | {"XLA_FLAGS": flags}
    known = not subprocess.run(start_xla, env=env, capture_output=True, check=False).returncode
    os.environ["XLA_FLAGS"] = flags if known else ""  # workers inherit it

# Workers compile much that another has, and a second run of the suite all that the first did.
keep_compilations_unless_told()

# Linux gives a process 65,530 mappings of memory, and every program that XLA compiles takes
# several. A worker that keeps them all dies of a segmentation fault towards the end of the suite.
MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = 20_000


def pytest_collection_modifyitems(items):
    """Modules with slow tests first, so that no worker is left with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def mnist_folder(tmp_path_factory):
    """A folder in which there is one of MNIST's files, or of files like them."""
    return folder_with_mnist(tmp_path_factory.mktemp("data"))


@pytest.fixture
def interrupted_annealing(monkeypatch):
    """All that trains on after training says that it was interrupted."""
    # Here, not above: what this file imports is not checked by jaxtyping.
    from senn import annealing
    from senn.history import Ending
    from senn.training import fit

    def interrupted(*args, **settings):
        network, own = fit(*args, **settings)
        own.ended_by, own.stop_reason = str(Ending.INTERRUPTED), "interrupted"
        return network, own

    monkeypatch.setattr(annealing, "fit", interrupted)


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Drop those of the modules before, when they have become many."""
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
        forget_programs()
        jax.clear_caches()
