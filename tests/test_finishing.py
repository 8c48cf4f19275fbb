"""Rows that were kept apart are learned from at the end, once they have told when to stop."""

from types import SimpleNamespace

import numpy as np
import pytest

from senn import Policy, SENNClassifier, SENNRegressor
from senn.commands.summary import validation_score
from senn.compilation import compilations
from senn.history import Ending, History

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 3))
NUMBERS = X[:, 0] - np.abs(X[:, 1]) + 0.1 * rng.normal(size=200)
BRIEF = {"n_iter_no_change": 2, "random_state": 0, "policy": Policy(depth=False, every=20)}


def fitted(refit_steps=None, y=NUMBERS, make=SENNRegressor, **settings):
    return make(refit_steps=refit_steps, **{**BRIEF, **settings}).fit(X, y)


@pytest.fixture(scope="module")
def without():
    return fitted(0)


def test_rows_kept_apart_are_learned_from_at_the_end_alone(without):
    assert without.history_.ended_by == Ending.ANNEALED
    other = NUMBERS.copy()
    other[without.validation_rows_[0]] += 1e-3  # too little to change what the rows say
    before = compilations()
    refitted, others = fitted(7), fitted(7, other)
    assert compilations().since(before).programs == 0
    assert refitted.history_.refit_steps == 7
    assert refitted.hidden_sizes_ == others.hidden_sizes_ == without.hidden_sizes_
    at_first = fitted(0, other).predict(X) - without.predict(X)
    at_last = others.predict(X) - refitted.predict(X)
    assert np.abs(at_last).max() > 10 * np.abs(at_first).max()
    assert np.abs(refitted.predict(X) - without.predict(X)).max() > 1e-4
    assert (without.n_samples_seen_, refitted.n_samples_seen_) == (180, 200)


def test_the_validation_score_is_that_of_before(without):
    rows = without.validation_rows_
    data = SimpleNamespace(x=X, y=NUMBERS, classes=None)
    held_out = np.isin(np.arange(len(X)), rows)
    told = [validation_score(model, data, held_out) for model in (without, fitted(7))]
    assert told == pytest.approx([without.score(X[rows], NUMBERS[rows])] * 2, abs=1e-3)
    assert fitted(7).score(X[rows], NUMBERS[rows]) != pytest.approx(told[1], abs=1e-3)


@pytest.mark.usefixtures("interrupted_annealing")
def test_an_interruption_at_the_end_keeps_what_was_learned_and_is_told(without):
    model = fitted(7)
    np.testing.assert_array_equal(model.predict(X), without.predict(X))
    assert (model.history_.ended_by, model.history_.refit_steps) == (Ending.INTERRUPTED, 0)
    assert len(fitted(7, n_estimators=3).histories_) == 1


def test_how_many_steps_by_default(without):
    assert fitted().history_.refit_steps == 60
    assert fitted(standardize=True).history_.refit_steps == 0
    labels = fitted(y=NUMBERS > 0, make=SENNClassifier)
    assert labels.history_.refit_steps == 20
    assert labels.history_.end.endswith("and 20 steps were taken on all rows")
    assert without.history_.end == without.history_.stop_reason


@pytest.mark.parametrize("told", [{"max_iter": 3}, {"validation_fraction": 0}])
def test_none_where_training_was_told_its_end_or_nothing_was_kept_apart(told):
    assert fitted(7, **told).history_.refit_steps == 0


@pytest.mark.parametrize("wrong", [-1, 2.5, "many"])
def test_what_is_no_number_of_steps_is_refused(wrong):
    with pytest.raises(ValueError, match="refit_steps must be a whole number of at least 0; got"):
        fitted(wrong)


def test_ledgers_of_before_there_were_any_are_read(tmp_path):
    History(steps=3, stop_reason="done").to_json_lines(tmp_path / "a.jsonl")
    text = (tmp_path / "a.jsonl").read_text("utf-8")
    assert ', "refit_steps": 0' in text
    (tmp_path / "b.jsonl").write_text(text.replace(', "refit_steps": 0', ""), "utf-8")
    assert History.from_json_lines(tmp_path / "b.jsonl").refit_steps == 0
