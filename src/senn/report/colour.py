"""Colours for the time at which a unit came."""

from senn.history import Addition

# Indigo, teal, green, amber, red: told apart on light and on dark ground.
STOPS = ((76, 86, 209), (30, 140, 178), (46, 160, 103), (222, 155, 38), (214, 75, 75))
AT_START = "var(--start)"


def colour(share: float) -> str:
    """A colour between the first and the last moment, 0 and 1."""
    place = min(max(share, 0.0), 1.0) * (len(STOPS) - 1)
    left = min(int(place), len(STOPS) - 2)
    mix = place - left
    parts = (a + mix * (b - a) for a, b in zip(STOPS[left], STOPS[left + 1], strict=True))
    return "#" + "".join(f"{round(v):02x}" for v in parts)


def birth_colour(addition: Addition | None, steps: int) -> str:
    """The colour of the units of an addition, in a run that grew for so many steps."""
    return AT_START if addition is None else colour(addition.step / max(steps, 1))
