"""Searches for new units, and what they are made of."""

from senn.proposals.ascent import GradientAscent as GradientAscent
from senn.proposals.base import AbstractMaximizer as AbstractMaximizer
from senn.proposals.base import AbstractProposer as AbstractProposer
from senn.proposals.langevin import Langevin as Langevin
from senn.proposals.problem import Found as Found
from senn.proposals.problem import Problem as Problem
from senn.proposals.problem import Units as Units
from senn.proposals.projection import Projection as Projection
from senn.proposals.proposal import Proposal as Proposal
from senn.proposals.random import Random as Random
from senn.proposals.units import draw_units as draw_units
