"""What a policy says of proposals: verdicts, and what follows from them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from senn.proposals import Proposal
from senn.pruning import Going


class Outcome(StrEnum):
    """What became of a proposal."""

    ADDED = "added"
    NOISE = "noise"  # refused: nothing is gained on held-out data
    ALPHA = "alpha"  # refused by the stopping criterion
    TAU = "tau"  # refused by the expansion threshold
    SWAP = "swap"  # refused: no room, and not worth so much more than what would have to leave
    ELSEWHERE = "elsewhere"  # it passes, but another is worth more


class Verdict(NamedTuple):
    """What the policy said of one proposal, and why."""

    proposal: Proposal
    outcome: Outcome
    reason: str

    @property
    def accepted(self) -> bool:
        """Whether it is to be added."""
        return self.outcome is Outcome.ADDED


@dataclass(frozen=True)
class Decision:
    """What to add, proposals for one place, and a verdict on each that was looked at."""

    verdicts: tuple[Verdict, ...]
    reason: str
    exhausted: bool  # no proposal passes the stopping criterion α, whatever τ says
    going: Going | None = None  # the units that leave first

    @property
    def accepted(self) -> list[Proposal]:
        """The proposals to add, all for one place; empty if there is nothing to add."""
        return [v.proposal for v in self.verdicts if v.accepted]

    @property
    def leaving(self) -> bool:
        """Whether any units leave."""
        return self.going is not None and bool(self.going.departures)


def percent(part: float, whole: float) -> str:
    """A part of a whole, in words."""
    return f"{part / whole:.2%}" if whole > 0 else "0.00%"


def times(worth: float, eta: float) -> str:
    """How many times η_c there is with this, in words."""
    return f"{1 + worth / eta:.3g}" if eta > 0 else "∞"
