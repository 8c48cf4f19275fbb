"""What a search proposes for one place."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from senn.actions import AbstractAction


@dataclass(frozen=True)
class Proposal:
    """K units for one place, active inputs only, with their scores in units of η."""

    action: AbstractAction
    weight: np.ndarray  # [I, K]
    bias: np.ndarray  # [K]
    theta: np.ndarray | None  # [F, K]
    fit_score: float  # Δη′ on the sample that the units were optimised on
    score: float  # on the held-out sample
    stderr: float  # standard error of `score`
    eta: float  # η_c of the reading maps together
    limit: float  # λ
    reach: float  # what α is relative to: λ, or for the Fisher metric twice the loss
    expected: float | None = None  # what each is expected to score once trained, if that counts

    @property
    def units(self) -> int:
        """K, the units proposed."""
        return self.bias.shape[0]


def join(proposals: Sequence[Proposal]) -> Proposal:
    """Proposals for one place, each scored beside those before it, as one of all their units."""
    thetas = [p.theta for p in proposals if p.theta is not None]
    return replace(
        proposals[0],
        weight=np.concatenate([p.weight for p in proposals], axis=1),
        bias=np.concatenate([p.bias for p in proposals]),
        theta=np.concatenate(thetas, axis=1) if thetas else None,
        fit_score=sum(p.fit_score for p in proposals),
        score=sum(p.score for p in proposals),
        stderr=sum(p.stderr**2 for p in proposals) ** 0.5,
    )
