"""Shared settings: every test runs in float64 unless it asks for float32."""

from pathlib import Path

import jax
import pytest

from mnist import folder_with_mnist
from senn.compilation import forget_programs

jax.config.update("jax_enable_x64", True)

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


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Drop those of the modules before, when they have become many."""
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
        forget_programs()
        jax.clear_caches()
