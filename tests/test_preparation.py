"""Splits of what training gets."""

import numpy as np
import pytest

from senn.preparation import split


@pytest.mark.parametrize("classes", [None, np.repeat([0, 1, 2], [150, 45, 5])])
def test_rows_held_out_are_a_tenth_of_each_class(classes):
    train, held_out = split(0.1, classes, 200, seed=3)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), np.arange(200))
    assert len(held_out) == 20
    if classes is not None:
        found = np.bincount(classes[held_out], minlength=3)
        assert (np.abs(found - [15, 4.5, 0.5]) <= 1).all()
    again = split(0.1, classes, 200, seed=3)
    np.testing.assert_array_equal(again[0], train)
    assert (split(0.1, classes, 200, seed=4)[1] != held_out).any()


def test_few_rows_are_all_learned_from():
    train, held_out = split(0.1, None, 94, seed=0)
    assert (len(train), len(held_out)) == (94, 0)
