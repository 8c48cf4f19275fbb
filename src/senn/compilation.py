"""Programs: functions compiled once for each set of shapes, ahead of time if need be.

`jax.jit` would do, but for four things. A program is compiled with options of its own, by how
often it runs. It can be prepared in the background, while others run. What has not been used
for long is let go, so that memory stays bounded over hundreds of fits. And it is known whether it
was compiled on this machine before, so that a user can be told what there is to wait for.
"""

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

from senn import __version__, devices
from senn.machine import keep_compilations_unless_told

# For programs that run for a fraction of what they take to compile. Measured on an Intel Xeon:
# XLA's newer emitters of fused loops take twice as long to compile, and LLVM's later passes gain
# nothing here (docs/design/programs.md). Level 0 would have gradients of convolutions wrong.
QUICK: dict[str, Any] = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_backend_optimization_level": 1,
}
KEPT = 20  # programs in memory, of 5 MB each; a fit uses six, and three more for each layer


class Compilations(NamedTuple):
    """Totals since this module was imported."""

    programs: int = 0  # compiled, or read from the cache on disk
    seconds: float = 0.0  # waited for them

    def since(self, before: "Compilations") -> "Compilations":
        """What was compiled after `before`."""
        return Compilations(self.programs - before.programs, self.seconds - before.seconds)


_COMPILING = "/jax/core/compile/backend_compile_duration"
_LOWERING = "/jax/core/compile/jaxpr_to_mlir_module_duration"
_total = Compilations()
_lock = threading.RLock()
_here = threading.local()  # whether time is being counted by what surrounds a compilation


def compilations() -> Compilations:
    """The totals; differences of two calls tell what happened in between."""
    return _total


def _add(programs: int, seconds: float) -> None:
    global _total  # noqa: PLW0603  JAX's listeners are global, and so is their sum
    with _lock:
        _total = Compilations(_total.programs + programs, _total.seconds + seconds)


def _listen(event: str, duration: float, **_: str | int) -> None:
    if event in (_COMPILING, _LOWERING):
        counted = getattr(_here, "counted", False)
        _add(event == _COMPILING, 0.0 if counted else duration)


jax.monitoring.register_event_duration_secs_listener(_listen)  # pyright: ignore[reportArgumentType]


@contextmanager
def _counted(waiting: bool) -> Iterator[None]:
    """Count the time of what is inside as a whole, if anyone waits for it."""
    start, _here.counted = time.monotonic(), True
    try:
        yield
    finally:
        _here.counted = False
        _add(0, time.monotonic() - start if waiting else 0.0)


class Program:
    """A function of trees of arrays, and of anything hashable beside them.

    Args:
        function: pure.
        options: XLA's, for `jax.jit(compiler_options=...)`; of the outermost program alone.
    """

    def __init__(self, function: Callable, options: Mapping[str, Any] | None = None):  # noqa: D107
        self.__wrapped__, self.options = function, dict(options or {})
        self.__name__, self.__doc__ = function.__name__, function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns; compiled, if that has not been done for these shapes.

        Inside another program it is a part of that one.
        """
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((args, kwargs))):
            return self.__wrapped__(*args, **kwargs)
        return _entry(self, args, kwargs).call()

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Compile in the background for arguments like these; arrays may be mere shapes.

        With a single core there is nothing to gain, and nothing is done; nor for several devices,
        where it is not known before how arrays will lie on them.
        """
        if _cores() > 1 and devices.in_use() is None:
            _entry(self, args, kwargs).prepare()

    def shapes(self, *args: Any, **kwargs: Any) -> Any:
        """The shapes of what the function returns."""
        entry = _entry(self, args, kwargs)
        shapes = jax.eval_shape(entry.compiled.jit, entry.arrays)
        return eqx.combine(shapes, entry.compiled.beside[0])


def program(options: Mapping[str, Any] | None = None) -> Callable[[Callable], Program]:
    """`Program` as a decorator."""
    return lambda function: Program(function, options)


class _Compiled:
    """A program for one set of shapes."""

    def __init__(self, owner: Program, structure: Any, others: tuple):
        # Not of `self`: without a cycle, all goes as soon as the program is let go.
        beside = self.beside = [None]  # what is returned beside arrays

        def flat(arrays: list) -> Any:
            args, kwargs = jax.tree.unflatten(structure, _merged(arrays, others))
            dynamic, beside[0] = eqx.partition(owner.__wrapped__(*args, **kwargs), eqx.is_array)
            return dynamic

        flat.__name__ = owner.__name__
        self.flat = flat
        self.options = owner.options if jax.default_backend() == "cpu" else {}
        self.jit = jax.jit(flat, compiler_options=self.options or None)
        self.future: Future | None = None
        self.ready = False

    def compile(self, arrays: list) -> None:
        """Compile; without options that the XLA that is installed does not know."""
        try:
            self.jit.lower(arrays).compile()
        except Exception as error:
            if not self.options or "compile option" not in str(error):
                raise
            self.options, self.jit = {}, jax.jit(self.flat)
            self.jit.lower(arrays).compile()


class _Entry(NamedTuple):
    """A call of a program."""

    compiled: _Compiled
    arrays: list
    mark: Path | None  # where it says that this machine has compiled it, if the cache is in use
    name: str

    def call(self) -> Any:
        if not self.compiled.ready:
            self._compile()
        result = self.compiled.jit(self.arrays)
        return eqx.combine(result, self.compiled.beside[0])

    def _compile(self) -> None:
        with _counted(waiting=True):
            if self.compiled.future is not None:
                self.compiled.future.result()
                self.compiled.future = None
            else:
                self._tell()
            self.compiled.compile(self.arrays)
            self._remember()
        self.compiled.ready = True

    def prepare(self) -> None:
        if self.compiled.ready or self.compiled.future is not None:
            return
        self._tell()
        # Traced here: threads would only wait for each other, as Python runs one at a time.
        with suppress(Exception), _counted(waiting=True):  # the call will raise it
            lowered = self.compiled.jit.lower(self.arrays)
            self.compiled.future = _pool().submit(self._compile_beside, lowered)

    def _compile_beside(self, lowered: Any) -> None:
        with suppress(Exception), _counted(waiting=False):  # likewise
            lowered.compile()
            self._remember()

    def _tell(self) -> None:
        if self.mark is not None and not self.mark.exists():
            for listener in tuple(_listeners):
                listener(self.name)

    def _remember(self) -> None:
        if self.mark is not None and not self.mark.exists():
            try:
                self.mark.parent.mkdir(parents=True, exist_ok=True)
                self.mark.touch()
            except OSError:
                pass


_programs: OrderedDict[Any, _Compiled] = OrderedDict()
_listeners: list[Callable[[str], None]] = []


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Tell `listener` the name of each program that this machine compiles for the first time."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def forget_programs() -> None:
    """Let go of all programs in memory."""
    with _lock:
        _programs.clear()


def _entry(owner: Program, args: tuple, kwargs: dict[str, Any]) -> _Entry:
    leaves, structure = jax.tree.flatten((args, kwargs))
    arrays = [devices.everywhere(leaf) for leaf in leaves if _is_array(leaf)]
    others = tuple(_ARRAY if _is_array(leaf) else leaf for leaf in leaves)
    kinds = tuple((a.shape, a.dtype, getattr(a, "weak_type", False)) for a in arrays)
    key = (owner, structure, others, kinds, _context())
    with _lock:
        compiled = _programs.get(key)
        if compiled is None:
            compiled = _programs[key] = _Compiled(owner, structure, others)
            if len(_programs) > KEPT:
                _programs.popitem(last=False)
        else:
            _programs.move_to_end(key)
    mark = None if compiled.ready else _mark(owner, structure, others, kinds)
    return _Entry(compiled, arrays, mark, owner.__name__)


def _context() -> Any:
    config: Any = jax.config
    return config.jax_enable_x64, config.jax_default_device, devices.in_use()


def _mark(owner: Program, *kind: Any) -> Path | None:
    folder = keep_compilations_unless_told()
    if folder is None:
        return None
    told = repr((__version__, owner.__name__, owner.options, *kind, _context()))
    return folder / "known" / hashlib.sha256(told.encode()).hexdigest()[:24]


class _Array:
    """Where an array stands among what is not one."""

    def __repr__(self) -> str:
        return "array"


_ARRAY = _Array()


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def _merged(arrays: list, others: tuple) -> list:
    of_arrays = iter(arrays)
    return [next(of_arrays) if other is _ARRAY else other for other in others]


_workers: ThreadPoolExecutor | None = None


def _pool() -> ThreadPoolExecutor:
    global _workers  # noqa: PLW0603  one for the process
    with _lock:
        _workers = _workers or ThreadPoolExecutor(_cores(), "senn-compiles")
        return _workers


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
