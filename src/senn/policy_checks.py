"""What a policy may be told: thresholds and budgets out of range are refused in one sentence."""

from collections.abc import Mapping
from typing import Any

CHOICES = {
    "layer_kind": ("residual", "identity"),
    "prefer": ("small", "best", "grown"),
    "expect": ("score", "price"),
}
LEAST: dict[str, int] = dict.fromkeys(
    (
        "layer_units", "every", "backoff", "layer_every", "additions_at_once", "patience",
        "plateau", "swap", "swap_patience",
    ),
    1,
)  # fmt: skip
ABOVE_ZERO = ("alpha", "damping", "unit_scale", "layer_cost")


def check_policy(given: Mapping[str, Any]) -> None:
    """Raise a `ValueError` that names the first setting that cannot be."""
    if not given["tau"] > 1:
        raise ValueError(f"tau must be above 1; got {given['tau']!r}.")
    for name, known in CHOICES.items():
        if given[name] not in known:
            *first, last = (f'"{choice}"' for choice in known)
            choices = f"{', '.join(first)} or {last}"
            raise ValueError(f"{name}={given[name]!r} is not known; choose {choices}.")
    if not given["prune"] <= 1:
        raise ValueError(
            f"prune must be at most 1, or what leaves would be added again; got {given['prune']!r}."
        )
    for name, value in given.items():
        if isinstance(value, int | float) and not value >= LEAST.get(name, 0):
            raise ValueError(f"{name} must be at least {LEAST.get(name, 0)}; got {value!r}.")
    for name in ABOVE_ZERO:
        if given[name] is not None and not given[name] > 0:
            raise ValueError(f"{name} must be above 0; got {given[name]!r}.")
