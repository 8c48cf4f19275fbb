from dataclasses import replace

import pytest

from senn.history import Addition, Evaluation, History
from senn.lineage import lineage, sizes_before, starting_sizes
from senn.words import place


def addition(step, kind, position, units, *sizes) -> Addition:
    where = place(kind, position)
    return Addition(
        step, kind, position, where, units, 0.1, 0.01, 1.0, 1.0, sizes, 99, "gains", 1.0
    )


ADDITIONS = [
    addition(10, "width", 0, 2, 5),
    addition(20, "layer", 1, 1, 5, 1),  # after the first layer
    addition(30, "width", 1, 3, 5, 4),
    addition(40, "layer", 0, 2, 2, 5, 4),  # before it
    addition(50, "width", 2, 1, 2, 5, 5),
]
HISTORY = History(records=list(ADDITIONS))
EXPECTED = [
    ((3,), ((-1, -1, -1),)),
    ((5,), ((-1, -1, -1, 0, 0),)),
    ((5, 1), ((-1, -1, -1, 0, 0), (1,))),
    ((5, 4), ((-1, -1, -1, 0, 0), (1, 2, 2, 2))),
    ((2, 5, 4), ((3, 3), (-1, -1, -1, 0, 0), (1, 2, 2, 2))),
    ((2, 5, 5), ((3, 3), (-1, -1, -1, 0, 0), (1, 2, 2, 2, 4))),
]


@pytest.mark.parametrize(("sizes", "layers"), EXPECTED)
def test_every_unit_knows_the_addition_it_came_with(sizes, layers):
    grown = lineage(HISTORY, sizes)
    assert grown.layers == layers
    assert grown.hidden_sizes == sizes
    assert grown.additions == tuple(ADDITIONS[: len(grown.additions)])


def test_without_sizes_it_is_of_the_last_network():
    assert lineage(HISTORY) == lineage(HISTORY, (2, 5, 5))


def test_an_addition_is_found_by_its_unit():
    grown = lineage(HISTORY, (2, 5, 5))
    assert grown.addition(1, 2) is None
    assert grown.addition(1, 3) is ADDITIONS[0]
    assert grown.addition(2, 4) is ADDITIONS[4]


@pytest.mark.parametrize(("before", "made"), list(zip(EXPECTED, ADDITIONS, strict=False)))
def test_additions_are_undone(before, made):
    assert sizes_before(made) == before[0]


def test_a_size_that_never_was_is_refused():
    with pytest.raises(ValueError, match=r"never comes by hidden sizes \(4,\)"):
        lineage(HISTORY, (4,))


def test_where_it_started():
    evaluation = Evaluation(3, 1.0, 1.0, 0.5, None, None, None, None, (7,), 99)
    assert starting_sizes(HISTORY) == (3,)
    assert starting_sizes(History(records=[evaluation])) == (7,)
    assert starting_sizes(History(), (4, 2)) == (4, 2)
    assert lineage(History(records=[evaluation])).layers == ((-1,) * 7,)
    linear = replace(evaluation, hidden_sizes=())
    assert lineage(History(records=[linear])).layers == ()
