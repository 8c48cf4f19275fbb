"""Numbers and names in words, for messages and reports."""

from collections.abc import Iterable, Sequence
from typing import Any

MOST_NAMED = 8  # of many names in one message
LONGEST = 60  # characters of a name that a reader wants


def quoted(names: Iterable[object], most: int = MOST_NAMED) -> str:
    """`'a', 'b' and 3 more`."""
    return joined([short(name) for name in names], most)


def columns_phrase(names: Sequence[str], mask: Any = None) -> str:
    """`column 'a'` or `columns 'a' and 'b'`: all names, or those where the mask is true."""
    if mask is not None:
        names = [name for name, chosen in zip(names, mask, strict=True) if chosen]
    return f"column{'s' if len(names) > 1 else ''} {quoted(names)}"


def short(name: object) -> str:
    """A name in quotes, cut where no reader wants the rest."""
    text = str(name)
    return repr(text if len(text) <= LONGEST else text[: LONGEST - 3] + "...")


def joined(parts: Sequence[str], most: int = MOST_NAMED) -> str:
    """`a, b and c`, and no more than a reader wants."""
    if len(parts) > most + 1:
        parts = [*parts[:most], f"{len(parts) - most} more"]
    return " and ".join([part for part in (", ".join(parts[:-1]), *parts[-1:]) if part])


def counted(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`, `3 classes`."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def place(kind: str, position: int) -> str:
    """Where units go: `hidden layer 0`, `new layer before map 1`."""
    return f"hidden layer {position}" if kind == "width" else f"new layer before map {position}"


def duration(seconds: float) -> str:
    """`5.2 s`, `75 s`, `4:05 min`, `2:04 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 100:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // 60}:{minutes % 60:02} h"
