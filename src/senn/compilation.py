"""How often and how long JAX has compiled, by its own events."""

from typing import NamedTuple

import jax


class Compilations(NamedTuple):
    """Totals since this module was imported."""

    programs: int = 0  # compiled
    seconds: float = 0.0  # spent on lowering and compiling them

    def since(self, before: "Compilations") -> "Compilations":
        """What was compiled after `before`."""
        return Compilations(self.programs - before.programs, self.seconds - before.seconds)


_COMPILING = "/jax/core/compile/backend_compile_duration"
_LOWERING = "/jax/core/compile/jaxpr_to_mlir_module_duration"
_total = Compilations()


def compilations() -> Compilations:
    """The totals; differences of two calls tell what happened in between."""
    return _total


def _listen(event: str, duration: float, **_: str | int) -> None:
    global _total  # noqa: PLW0603  JAX's listeners are global, and so is their sum
    if event in (_COMPILING, _LOWERING):
        _total = Compilations(_total.programs + (event == _COMPILING), _total.seconds + duration)


jax.monitoring.register_event_duration_secs_listener(_listen)  # pyright: ignore[reportArgumentType]
