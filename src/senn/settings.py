"""The parameters of the estimators as people give them, checked, and in one form."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

from senn.plain import LEARNED

BATCH_SIZE, IMAGES_A_STEP = 512, 128  # "auto"


class SettingError(ValueError):
    """Settings that do not go together, or not with the data; the message is one sentence."""


def hidden_sizes(given: Any) -> tuple[int, ...]:
    """Units per hidden layer; one number is one layer, as for scikit-learn's networks."""
    sizes = (given,) if isinstance(given, Integral) else given
    try:
        found = None if isinstance(sizes, str | bytes) else tuple(sizes)
    except TypeError:
        found = None
    if found is None or not all(isinstance(n, Integral) and int(n) > 0 for n in found):
        raise ValueError(
            f"hidden_sizes={given!r}: each size must be a whole number above 0, such as (10,), "
            "or () to start from a linear model."
        )
    return tuple(int(n) for n in found)


def batch_size(given: Any, *, images: bool = False) -> int:
    """Examples per step; "auto", as scikit-learn has it, is our default."""
    if isinstance(given, str) and given == "auto":
        return IMAGES_A_STEP if images else BATCH_SIZE
    if not isinstance(given, Integral) or isinstance(given, bool) or int(given) < 1:
        raise ValueError(f'batch_size={given!r} must be a whole number above 0, or "auto".')
    return int(given)


def activation(given: Any, *, images: bool = False) -> Any:
    """Of the units; "auto" goes by the kind of network."""
    if isinstance(given, str) and given == "auto":
        return "silu" if images else "rational"
    return given


def callbacks(given: Any) -> list[Any]:
    """A list of callbacks, of which there may be one or none."""
    if given is None:
        return []
    found = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    wrong = [callback for callback in found if not hasattr(callback, "on_start")]
    if wrong:
        raise ValueError(
            f"callbacks={given!r}: {wrong[0]!r} is no senn.Callback; give a list of such."
        )
    return found


def within_budgets(
    sizes: Sequence[int], policy: Any, activation: str, in_size: int, out_size: int
) -> tuple[int, ...]:
    """Units per hidden layer to start with, fewer where the policy's budgets allow no more.

    A `SettingError` for a budget of parameters that not even a linear model keeps.
    """
    sizes = list(sizes)
    if policy.max_layers is not None:
        sizes = sizes[: policy.max_layers]
    if policy.max_units is not None:
        while sum(sizes) > policy.max_units:
            _shrink(sizes)
    if policy.max_parameters is not None:
        learned = LEARNED.get(activation, 0)
        while parameters(sizes, learned, in_size, out_size) > policy.max_parameters:
            if not sizes:
                least = parameters((), learned, in_size, out_size)
                raise SettingError(
                    f"max_parameters={policy.max_parameters} is less than the {least} of a linear "
                    "model: raise it."
                )
            _shrink(sizes)
    return tuple(sizes)


def parameters(sizes: Sequence[int], learned: int, in_size: int, out_size: int) -> int:
    """Weights, biases and what units learn, of layers one behind the other."""
    nodes = [in_size, *sizes, out_size]
    return sum((a + 1) * b for a, b in pairwise(nodes)) + learned * sum(sizes)


def _shrink(sizes: list[int]) -> None:
    """Take a unit from the widest layer, and the layer with its last one."""
    widest = sizes.index(max(sizes))
    sizes[widest] -= 1
    if not sizes[widest]:
        del sizes[widest]
