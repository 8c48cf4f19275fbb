"""A long run in its quick form, and what its verdict is on."""

from dataclasses import replace

import pytest
from long_run import EVERY, Tenth, run, verdict

STEPS = 400
EVEN = [Tenth(k, 4, 50, 10.0, 500.0, 0.001) for k in range(1, 11)]


@pytest.fixture(scope="module")
def ran():
    return run(STEPS, seed=2)  # which grows


def test_it_considers_growth_to_the_end_and_stays_within_its_slots(ran):
    _, network, history = ran
    assert {c.step for c in history.considerations} == set(range(EVERY, STEPS, EVERY))
    assert network.hidden_sizes[0] > 4
    assert network.capacities == (64,)


def test_the_ledger_is_as_long_in_the_end_as_in_the_beginning(ran):
    log, _, history = ran
    first, last = (Tenth.of(log, history, stop - 100, stop) for stop in (200, STEPS))
    assert 0 < last.records <= 1.1 * first.records
    assert 0 < last.memory < 10_000
    assert 0 < last.seconds < 1


@pytest.mark.parametrize(
    ("change", "code"),
    [({}, 0), ({"memory": 520.0}, 1), ({"records": 60}, 1), ({"seconds": 0.00112}, 1)],
)
def test_the_verdict(change, code, capsys):
    assert verdict([*EVEN[:-1], replace(EVEN[-1], **change)]) == code
    assert "records" in capsys.readouterr().out
