"""Settings of a process: memory given back, and what stays kept from the search for garbage."""

import gc
import platform
import subprocess
import sys

import pytest

from senn.machine import made_to_stay

# Arrays freed below one that stays: the heap cannot shrink, so what is free in it is kept.
FREED = """
import resource, sys
import numpy as np
from senn.machine import give_memory_back

def used():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

if "give" in sys.argv:
    give_memory_back()
for _ in range(2):
    np.ones(31 * 2**17)  # 31 MiB: from now on glibc thinks nothing smaller large
arrays = [np.ones(16 * 2**17) for _ in range(10)]
before = used()
del arrays[:9]
print(before - used())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is a setting of glibc")
def test_freed_arrays_are_given_back():
    kept, given = (
        float(subprocess.check_output([sys.executable, "-c", FREED, *words], text=True))
        for words in ((), ("give",))
    )
    assert kept < 72 < given  # of 144 MiB


@pytest.fixture
def nothing_stays():
    gc.unfreeze()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.usefixtures("nothing_stays")
def test_what_stays_is_kept_from_the_search_for_garbage_once():
    with made_to_stay():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert made[0] is not None
    assert (kept := gc.get_freeze_count()) > 1000
    with made_to_stay():
        assert gc.isenabled()
        later = [[] for _ in range(1000)]
    assert later is not None
    assert gc.get_freeze_count() <= kept + 10


@pytest.mark.usefixtures("nothing_stays")
def test_who_turned_the_search_for_garbage_off_finds_it_off():
    gc.disable()
    with made_to_stay():
        pass
    assert not gc.isenabled()
    assert gc.get_freeze_count() == 0
