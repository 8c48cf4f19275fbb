from dataclasses import replace

import pytest

from senn.history import Addition, Evaluation, History, Removal
from senn.lineage import lineage, sizes_before, sizes_over_time, starting_sizes
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


def removal(step, position, slots, *sizes) -> Removal:
    where = place("width", position)
    return Removal(
        step, "removal", position, where, len(slots), slots, 0.1, 1.0, 1.0, sizes, 99, "dear", 1.0
    )


WITH_REMOVALS = [
    *ADDITIONS[:2],  # (5, 1), of which the last two of the first layer are of addition 0
    removal(25, 0, (3, 0), 3, 1),
    addition(30, "width", 0, 3, 6, 1),  # into slots 0 and 3, and one behind
    removal(35, 0, (1,), 5, 1),
    addition(40, "layer", 0, 2, 2, 5, 1),
]


def test_new_units_take_the_slots_of_those_that_left():
    grown = lineage(History(records=WITH_REMOVALS))
    assert grown.layers == ((3, 3), (2, -1, 2, 0, 2), (1,))
    assert [a.step for a in grown.additions] == [10, 20, 30, 40]
    assert lineage(History(records=WITH_REMOVALS), (3, 1)).layers == ((-1, -1, 0), (1,))


def test_sizes_are_told_over_time_for_the_layers_of_the_end():
    assert sizes_over_time(History(records=WITH_REMOVALS)) == {
        0: (0, 3, 0), 10: (0, 5, 0), 20: (0, 5, 1), 25: (0, 3, 1), 30: (0, 6, 1), 35: (0, 5, 1),
        40: (2, 5, 1),
    }  # fmt: skip
    assert sizes_over_time(HISTORY)[40] == (2, 5, 4)
    assert sizes_over_time(History(), (4, 2)) == {0: (4, 2)}
    assert [sizes_before(r) for r in WITH_REMOVALS[2:5]] == [(5, 1), (3, 1), (6, 1)]


def test_a_layer_that_left_is_told_of_behind_those_of_the_end():
    whole = replace(removal(60, 1, (), 1, 4), kind="layer removal")
    left = History(
        records=[
            *ADDITIONS[:4],
            removal(50, 0, (0,), 1, 5, 4),
            removal(60, 1, (0, 1, 2, 3, 4), 1, 0, 4),
            whole,
            addition(70, "layer", 0, 2, 2, 1, 4),
        ]
    )
    assert lineage(left).layers == ((4, 4), (3,), (1, 2, 2, 2))
    assert sizes_before(left.removals[-1]) == (1, 0, 4)
    assert sizes_over_time(left) == {
        0: (0, 0, 0, 3), 10: (0, 0, 0, 5), 20: (0, 0, 1, 5), 30: (0, 0, 4, 5), 40: (0, 2, 4, 5),
        50: (0, 1, 4, 5), 60: (0, 1, 4, 0), 70: (2, 1, 4, 0),
    }  # fmt: skip


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
