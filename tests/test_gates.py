"""The comparison of two commits: what it sees, and that what it runs says the same twice."""

import argparse

import gates
import pytest

SAME = {"parameters": "0a", "sizes": [4], "ledger": [{"step": 1, "eta": 0.5}]}


def found(case, new, capsys):
    differing = list(gates.differences({"case": case}, {"case": new}))
    return differing, capsys.readouterr().out


def test_what_is_the_same_and_what_is_not(capsys):
    assert found(SAME, dict(SAME), capsys) == ([], "case: the same\n")
    differing, said = found(SAME, {**SAME, "parameters": "0b", "sizes": [5]}, capsys)
    assert differing == ["case"]
    assert "parameters, sizes differ" in said
    assert "parameters was 0a, is 0b" in said
    assert "sizes was 4, is 5 (number 0)" in said
    assert found(SAME, {}, capsys)[0] == ["case"]


def test_ledgers_may_come_to_say_more_but_nothing_else(capsys):
    more = {**SAME, "ledger": [{"step": 1, "eta": 0.5, "place": "here"}]}
    assert found(SAME, more, capsys)[0] == []
    other = {**SAME, "ledger": [{"step": 1, "eta": 0.25, "place": "here"}]}
    assert found(SAME, other, capsys)[0] == ["case"]
    longer = {**SAME, "ledger": SAME["ledger"] * 2}
    assert found(SAME, longer, capsys)[0] == ["case"]


def test_cases_are_named_with_their_commas():
    assert gates.names("kfac, classes;files") == "kfac, classes;files"
    with pytest.raises(argparse.ArgumentTypeError, match=r"'kfac' is no case; .*adam, numbers"):
        gates.names("kfac")


@pytest.mark.parametrize("words", [[], ["--cases", ""]])
def test_without_words_it_runs_every_case(words):
    given = gates.arguments(words)
    assert (given.cases, given.known) == ("", "")


def test_a_run_says_the_same_twice_and_another_does_not(tmp_path):
    case = "adam, numbers"
    first, again = (gates.work(tmp_path, case)[case] for _ in range(2))
    assert first == again
    assert {"parameters", "sizes", "ledger", "end"} <= set(first)
    other = gates.told(*gates.grown(gates._adam(), "numbers", alpha=0.5))
    assert list(gates.differences({case: first}, {case: other})) == [case]
