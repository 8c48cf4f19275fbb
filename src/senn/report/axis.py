"""Numbers to places in a drawing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from senn.report.markup import tag

MANY_TIMES = 8  # positive values that differ by more are shown on a logarithmic axis


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` at places from `start` to `end`; what is beyond stays inside."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    power: float = 1.0  # of the values, where the axis is not logarithmic

    def __call__(self, value: float) -> float:
        """The place of a value."""
        low, high, value = (self._scaled(v) for v in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Round values within the range."""
        if self.power != 1:
            return self._spread_ticks(most)
        if not self.log:
            step = _round_step((self.high - self.low) / most)
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            return [n * step for n in range(first, last + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        every = max(math.ceil(len(decades) / most), 1)
        digits = (1, 2, 5) if len(decades) < most - 1 else (1,)
        ticks = [d * 10.0**n for n in decades[::every] for d in digits]
        return [t for t in ticks if self.low <= t <= self.high]

    def _spread_ticks(self, most: int) -> list[float]:
        """Values of one digit, about evenly spread over the axis."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        spread = [(low + n / most * (high - low)) ** (1 / self.power) for n in range(most + 1)]
        return sorted({t for v in spread if (t := _one_digit(v)) <= self.high})

    def _scaled(self, value: float) -> float:
        return math.log(max(value, 1e-300)) if self.log else value**self.power


def axis_for(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis with some room around finite values; logarithmic if they differ many times."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low > 0 and high > MANY_TIMES * low:
        return Axis(low / 1.15, high * 1.15, start, end, log=True)
    room = 0.06 * (high - low) or 0.1 * (abs(high) or 1.0)
    return Axis(low - room, high + room, start, end)


def _one_digit(value: float) -> float:
    return float(f"{value:.0e}")


def _round_step(least: float) -> float:
    if not least > 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(least))
    return next(d * unit for d in (1, 2, 5, 10) if d * unit >= least * (1 - 1e-9))


def short(value: float) -> str:
    """A tick's label."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def percent(share: float) -> str:
    """A share with three significant digits, such as 0.0512 %."""
    return f"{100 * share:.3g} %"


def grid(x: Axis, y: Axis, label=short) -> list[Element]:
    """Horizontal lines with their values, for a panel of the extent of both axes."""
    lines = []
    for value in y.ticks(4):
        lines.append(tag("line", x1=x.start, x2=x.end, y1=y(value), y2=y(value), class_="grid"))
        lines.append(tag("text", label(value), x=x.start - 8, y=y(value) + 4, class_="tick right"))
    return lines


def bottom(x: Axis, y: float, name: str) -> list[Element]:
    """The values of the horizontal axis, below a panel."""
    values = [tag("text", short(v), x=x(v), y=y + 16, class_="tick middle") for v in x.ticks(8)]
    return [*values, tag("text", name, x=x.end, y=y + 32, class_="tick right")]
