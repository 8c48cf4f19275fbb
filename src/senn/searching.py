"""A search at one place, and the programs that it runs."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from senn.arrays import key_of
from senn.compilation import QUICK, program
from senn.devices import same
from senn.proposals import AbstractProposer
from senn.proposals.base import found_by, outputs, read_by, search_keys
from senn.proposals.choice import Choice
from senn.proposals.problem import Found, Problem, Units
from senn.proposals.spread import SpreadProblem
from senn.proposals.units import rescale


class Task(NamedTuple):
    """A search at one place."""

    search: AbstractProposer
    problem: Problem | SpreadProblem
    inputs: np.ndarray  # which of the problem's are in use
    units: int
    unit_scale: float


def find(task: Task, key: PRNGKeyArray) -> Found:
    """What `AbstractProposer.propose` finds, at the scale that new units are to have; on the host.

    Single units are searched for by one program, and chosen by another that serves all places.
    """
    search, problem = task.search, task.problem
    search_key, keys = search_keys(key, task.units)
    if isinstance(problem, SpreadProblem):
        units, choice = _search_spread(search, problem, search_key, keys)
        found = found_by(*jax.tree.map(np.asarray, (choice, units)))
        return rescale(problem, found, task.unit_scale)
    if problem.square:  # the units of an identity layer must keep the scale of their inputs
        return jax.tree.map(np.asarray, _search_square(search, problem, search_key, keys))
    units, seen = _search(search, problem, search_key)
    choice = _choose(search, *read_by(problem, seen), problem.ridge, keys)
    found = found_by(*jax.tree.map(np.asarray, (choice, units)))
    return rescale(problem, found, task.unit_scale)


def prepare_search(task: Task) -> None:
    """Compile in the background what `find` will run."""
    search, problem = task.search, task.problem
    key, keys = search_keys(key_of(0), task.units)
    if isinstance(problem, SpreadProblem):
        _search_spread.prepare(search, problem, key, keys)
        return
    if problem.square:
        _search_square.prepare(search, problem, key, keys)
        return
    _search.prepare(search, problem, key)
    _, seen = _search.shapes(search, problem, key)
    _choose.prepare(search, *read_by(problem, seen), problem.ridge, keys)


@program(QUICK)
def _search(
    proposer: AbstractProposer, problem: Problem, key: PRNGKeyArray
) -> tuple[Units, tuple[Array, Array]]:
    """Single units, and what a map sees that reads them."""
    units = proposer.search(problem, key)
    return same(units), outputs(problem, units)


@program(QUICK)
def _choose(proposer: AbstractProposer, *given: Any) -> Choice:
    return same(proposer.choose(*given))


@program(QUICK)
def _search_square(proposer: AbstractProposer, *given: Any) -> Found:
    return same(proposer.found(*given))


@program(QUICK)
def _search_spread(
    proposer: AbstractProposer, problem: SpreadProblem, key: PRNGKeyArray, keys: Array
) -> tuple[Units, Choice]:
    units = proposer.search(problem, key)
    return same((units, problem.choice(proposer.select, units, keys)))
