"""The ledger: its views, and its file."""

import dataclasses
import json
import math
import sys

import numpy as np
import pytest

from senn.history import RECORDS, Addition, Consideration, Evaluation, History, Recovery, Removal

EVALUATION = Evaluation(30, 1.5, 0.25, 0.125, 0.5, None, 1e-300, 7.5, (3, 4), 31)
SCORES = {
    "fit_score": 0.5, "score": 0.25, "stderr": 0.125, "eta": 2.0, "limit": 3.0, "reach": 1.5,
}  # fmt: skip
REFUSED = Consideration(
    step=30, kind="width", position=0, place="hidden layer 0", units=1, **SCORES, worth=0.1875,
    accepted=False, verdict="tau", reason="τ: 1.1",
)  # fmt: skip
ACCEPTED = dataclasses.replace(
    REFUSED, kind="layer", place="new layer before map 0", accepted=True, verdict="added",
    reason="a line\nbreak",
)  # fmt: skip
ADDITION = Addition(
    30, "layer", 1, "new layer before map 1", 4, 0.25, 0.125, 0.7, 0.7, (3, 4, 4), 55, "yes", 0.5
)
REMOVAL = Removal(
    30, "removal", 0, "hidden layer 0", 2, (4, 1), 1e-9, 0.7, 0.71, (1, 4, 4), 44, "dear", 0.5
)
RECOVERY = Recovery(30, 0.1, "not finite")
OTHER = Evaluation(60, 3.0, 0.5, 0.1, None, None, None, None, (), 3)


def make(*records):
    return History(list(records), 1.5, 0.25, 0.125, 3, 60, 50, "60 steps done")


FULL = make(EVALUATION, REFUSED, ACCEPTED, ADDITION, REMOVAL, RECOVERY, OTHER)


def strict_lines(path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return [
        json.loads(line, parse_constant=refuse) for line in path.read_text("utf-8").splitlines()
    ]


def test_views_and_summary():
    assert FULL.evaluations == [EVALUATION, OTHER]
    assert FULL.considerations == [REFUSED, ACCEPTED]
    assert FULL.additions == [ADDITION]
    assert FULL.removals == [REMOVAL]
    assert FULL.recoveries == [RECOVERY]
    assert FULL.seconds == 1.875
    summary = FULL.summary()
    assert "records" not in summary
    assert summary["stop_reason"] == "60 steps done"
    assert summary["steps"] == 60


def test_records_are_plain_and_in_order():
    records = FULL.to_records()
    assert [r["record"] for r in records] == [
        "evaluation", "consideration", "consideration", "addition", "removal", "recovery",
        "evaluation",
    ]  # fmt: skip
    assert {r["record"] for r in records} == set(RECORDS)
    assert records[0]["hidden_sizes"] == (3, 4)
    assert records[2]["reason"] == "a line\nbreak"


@pytest.mark.parametrize("history", [FULL, make(), History()], ids=["full", "bare", "new"])
def test_json_lines_bring_everything_back(tmp_path, history):
    path = tmp_path / "history.jsonl"
    history.to_json_lines(path)
    assert History.from_json_lines(path) == history
    first, *others = strict_lines(path)
    assert first["record"] == "summary"
    assert len(others) == len(history.records)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_values_that_are_not_finite_are_null(tmp_path, value):
    path = tmp_path / "history.jsonl"
    bad = Evaluation(1, 0.1, 0.1, value, value, None, 1.0, 2.0, (2,), 7)
    make(bad, RECOVERY).to_json_lines(path)
    assert strict_lines(path)[1]["loss"] is None
    found, recovery = History.from_json_lines(path).records
    assert math.isnan(found.loss)
    assert dataclasses.replace(found, loss=0.0) == dataclasses.replace(
        bad, loss=0.0, validation_loss=None
    )
    assert recovery == RECOVERY


@pytest.mark.parametrize("record", RECORDS)
def test_frames_have_the_records_fields_as_columns(record):
    frame = FULL.to_frame(record)
    assert list(frame.columns) == list(RECORDS[record].__dataclass_fields__)
    assert len(frame) == len([r for r in FULL.records if type(r) is RECORDS[record]])
    assert (frame["step"] > 0).all()
    empty = History().to_frame(record)
    assert list(empty.columns) == list(frame.columns)
    assert len(empty) == 0


def test_frame_errors(monkeypatch):
    with pytest.raises(ValueError, match=r"additions.*choose one of evaluation"):
        FULL.to_frame("additions")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'senn\[tables\]'"):
        FULL.to_frame()


SUMMARY = json.dumps({"record": "summary", "steps": 3})
SPOILED = {
    "nothing": ("", "no ledger"),
    "nothing whole": (SUMMARY[:9], "no ledger"),
    "no JSON": (SUMMARY + "\n{\n", "line 2"),
    "no object": (SUMMARY + "\n3\n", "line 2"),
    "an unknown record": (SUMMARY + '\n{"record": "poem"}\n', "line 2 .* 'poem'"),
    "a record without its fields": (SUMMARY + '\n{"record": "recovery"}\n', "line 2 .* missing"),
    "text for a number": (
        '{"record": "summary", "steps": "three"}\n',
        "line 1 .* steps is 'three'",
    ),
    "no number of steps": ('{"record": "summary", "steps": null}\n', "steps is None"),
    "a field that no summary has": ('{"record": "summary", "records": []}\n', "line 1"),
    "nested without end": ("[" * 100_000 + "\n", "line 1"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_spoiled_ledger_is_told_by_its_line(case, tmp_path):
    text, message = SPOILED[case]
    (tmp_path / "h").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        History.from_json_lines(tmp_path / "h")
    assert len(str(caught.value)) < 300


# What ledgers said of places before they named them.
OLD = {
    "record": "consideration", "step": 30, "kind": "layer", "position": 1, "reader": 1, "units": 4,
    **SCORES, "accepted": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        ("gains nothing on held-out data (-0.1 ± 0)", "noise"),
        ("a unit gains 0.99% of what is left, α asks 1.00%", "alpha"),
        ("a unit raises η_c 1.05-fold, τ asks 1.1", "tau"),
        ("passes, but hidden layer 0 is worth more a unit", "elsewhere"),
    ],
)
def test_old_ledgers_are_read_as_if_they_had_named_places(reason, verdict):
    old = History.from_rows([{**OLD, "reason": reason}]).considerations[0]
    assert (old.place, old.verdict) == ("new layer before map 1", verdict)
    assert old.worth == pytest.approx((0.25 - 0.5 * 0.125) / 60)
    assert old.share == pytest.approx(old.worth / 1.5)
    width = {**OLD, "kind": "width", "accepted": True, "reason": reason}
    added = History.from_rows([width]).considerations[0]
    assert (added.place, added.verdict) == ("hidden layer 1", "added")
    assert added.worth == pytest.approx((0.25 - 0.5 * 0.125) / 4)
    row = {k: v for k, v in dataclasses.asdict(ADDITION).items() if k != "place"}
    row["hidden_sizes"] = list(row["hidden_sizes"])
    assert History.from_rows([{"record": "addition", **row}]).additions == [ADDITION]


@pytest.mark.parametrize(
    "spoiled", [{"units": 0, "kind": "width"}, {"score": 10**400}, {"kind": []}]
)
def test_old_ledgers_with_nonsense_are_told_of(spoiled):
    with pytest.raises(ValueError, match="line 1 of the ledger cannot be read"):
        History.from_rows([{**OLD, "reason": "passes", **spoiled}])
