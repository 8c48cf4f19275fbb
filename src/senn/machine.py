"""How a process of ours uses the machine: threads, memory, and compilations kept for the next one.

These are settings for a whole process, so only the command makes them; but for the cache, which
the library sets up too when it first compiles, unless it was told otherwise.
"""

import ctypes
import gc
import hashlib
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

CACHE_VARIABLE = "SENN_CACHE_DIR"
THREADS_VARIABLE = "PJRT_NPROC"  # read by XLA's CPU client when it starts
LARGE = 8 * 2**20  # bytes, from which a freed array goes back to the system
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # options of glibc's mallopt


def use_threads(threads: int) -> None:
    """Let XLA use so many threads of the processor; to be called before JAX computes."""
    os.environ[THREADS_VARIABLE] = str(threads)


def give_memory_back() -> None:
    """Let glibc give large arrays back to the system as soon as they are freed.

    Left to itself it raises the size that counts as large to 32 MiB and keeps smaller blocks, which
    arrays of other sizes, as a growing network has, leave in pieces. Elsewhere nothing is done.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            libc.mallopt(option, LARGE)


@contextmanager
def made_to_stay() -> Iterator[None]:
    """Keep Python's search for garbage from what is made inside, once in a process.

    JAX makes a quarter of a million objects as it is imported. None of them ever goes, and to look
    through them again and again is a tenth of a cold run on a small table.
    """
    if gc.get_freeze_count() or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def trim_memory() -> None:
    """Let glibc give back now what has been freed; compiling leaves a lot. Elsewhere nothing."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def keep_compilations(folder: Path | None = None) -> Path:
    """Keep what JAX compiles in a folder, and take from it what is there; the folder in use.

    By default `SENN_CACHE_DIR`, else `senn` in the user's folder for caches. XLA may refuse
    what another kind of processor compiled, so every kind has a folder of its own. A folder
    that cannot be used costs compilations anew, and nothing else.
    """
    import jax

    path = (folder or cache_folder()) / f"jaxlib-{version('jaxlib')}-{_processor()}"
    jax.config.update("jax_compilation_cache_dir", str(path))
    # Small programs too: there are dozens, each several times slower to compile than to read.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    _kept.append(path)
    return path


def keep_no_compilations() -> None:
    """Keep nothing in this process, unless JAX's own settings say so."""
    _kept.append(None)


def keep_compilations_unless_told() -> Path | None:
    """The folder in use; ours, unless the user has said no, or has set up a cache of JAX's own.

    No is `SENN_CACHE_DIR=off`, `keep_no_compilations`, or JAX's `jax_enable_compilation_cache`.
    """
    import jax

    if not _kept:
        own = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
        enabled = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
        if own is not None:
            _kept.append(Path(own))
        elif not enabled or os.environ.get(CACHE_VARIABLE, "").lower() == "off":
            keep_no_compilations()
        else:
            warnings.filterwarnings("ignore", message=".*persistent compilation cache.*")
            keep_compilations()
    return _kept[-1]


_kept: list[Path | None] = []  # where compilations are kept, decided once


def cache_folder() -> Path:
    """Where compilations are kept unless told otherwise."""
    named = os.environ.get(CACHE_VARIABLE, "")
    if named and named.lower() != "off":
        return Path(named)
    user = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(user) if user else Path.home() / ".cache") / "senn"


def _processor() -> str:
    """A short name for this kind of processor and what it can do."""
    told = [platform.machine(), platform.processor()]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        told += sorted({line for line in lines if line.startswith(("model name", "flags"))})
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
