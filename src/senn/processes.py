"""Several processes that train one network, each with devices of its own (`jax.distributed`).

All of them run the same program on the same rows, of which each computes its part. They must
decide alike, so what one of them alone can know, the time and the wishes of whoever looks on, is
said by the first and told to the others (`told`); the first alone writes.
"""

import ctypes
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

MESSAGE = 512  # bytes
HEARTBEAT = 20  # seconds without a sign of life, after which a process counts as dead
ARRIVAL = 50  # seconds within which all are to be there
OF_CONNECTIONS = "Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED"  # in JAX's words

_apart: list[bool] = []  # true once this process goes its own way, to its end


class JoiningError(RuntimeError):
    """Processes that do not find each other; the message is one sentence."""


def join(coordinator: str, processes: int, process: int) -> None:
    """Become one of so many processes; the first, 0, is at the address HOST:PORT of all.

    To be called before JAX computes.
    """
    try:
        jax.distributed.initialize(
            coordinator, processes, process,
            heartbeat_timeout_seconds=HEARTBEAT, initialization_timeout=ARRIVAL,
        )  # fmt: skip
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise JoiningError(not_found(process, processes, coordinator, reason)) from error
    with _silenced():
        told(process)  # so that they are connected


def not_found(process: int, processes: int, coordinator: str, reason: str) -> str:
    """A sentence for a process that does not find the others."""
    return (
        f"process {process} of {processes} did not find the others at {coordinator} within "
        f"{ARRIVAL} seconds ({reason}): start all of them, each with a number of its own from 0, "
        "and with the address of the first."
    )


@contextmanager
def _silenced() -> Iterator[None]:
    """Gloo greets on standard output, which is for results."""
    sys.stdout.flush()
    before, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what is still buffered goes nowhere, too
        os.dup2(before, 1)
        os.close(before)
        os.close(nowhere)


def count() -> int:
    """How many processes train together."""
    return jax.process_count()


def told(value: Any) -> Any:
    """What the first process says, a number or words; all of them must ask at the same point."""
    if _apart or count() == 1:
        return value
    from jax.experimental import multihost_utils

    said = json.dumps(value).encode()
    if len(said) > MESSAGE:
        said = json.dumps(str(value)[: MESSAGE // 8]).encode()
    heard = multihost_utils.broadcast_one_to_all(
        np.frombuffer(said.ljust(MESSAGE), np.uint8).astype(np.int32)
    )
    return json.loads(bytes(np.asarray(heard).astype(np.uint8)).decode())


def part() -> None:
    """Ask the others nothing more: what happened here they do not know of."""
    if count() > 1:
        _apart.append(True)


def disband() -> None:
    """The end of all that processes do together: none waits for what another does alone."""
    if count() > 1:
        part()
        jax.distributed.shutdown()


def gathered(array: Any) -> np.ndarray:
    """An array on the host, of whose rows this process may hold a part."""
    if count() == 1 or not isinstance(array, jax.Array) or array.is_fully_replicated:
        return np.asarray(array)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def have_joined() -> bool:
    """Whether this process still is one of several."""
    return jax.distributed.is_initialized()


def comes_of_others(error: BaseException) -> bool:
    """Whether it is of a connection to another process, by JAX's words: its types are several."""
    return isinstance(error, Exception) and any(word in str(error) for word in OF_CONNECTIONS)


def leave(code: int) -> None:
    """End at once: a process that waits for others on its way out would wait for the dead."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
