"""Searches for new units."""

from senn.proposals.ascent import GradientAscent as GradientAscent
from senn.proposals.base import AbstractProposer as AbstractProposer
from senn.proposals.base import Proposal as Proposal
from senn.proposals.langevin import Langevin as Langevin
from senn.proposals.projection import Projection as Projection
from senn.proposals.random import Random as Random
