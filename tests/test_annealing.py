"""Classes of tables are annealed once more, under priors of which the rows kept apart choose."""

from typing import Any

import numpy as np
import pytest

from senn import Policy, SENNClassifier, SENNRegressor, annealing, finishing, tables
from senn.history import Ending
from senn.losses import SoftmaxCrossEntropy
from senn.optimizers import KFAC
from senn.training import Schedule
from senn.training.state import described

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 12))
LABELS = X[:, 0] > np.abs(X[:, 1])  # ten columns say nothing
BRIEF = {"n_iter_no_change": 2, "random_state": 0, "policy": Policy(depth=False, every=20)}


def fitted(make: Any = SENNClassifier, y: Any = LABELS, **settings):
    return make(**{"refit_steps": 0, **BRIEF, **settings}).fit(X, y)


@pytest.fixture(scope="module")
def under():
    """Fitted with priors to choose from: none, one, another, both."""
    few, many = tables.PRIORS[1], {**tables.PRIORS[0], "prior": 30.0}
    models = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, priors in {
            "none": (),
            "few": (few,),
            "many": (many,),
            "both": (many, few),
        }.items():
            patch.setattr(tables, "PRIORS", priors)
            models[name] = fitted()
    return models


def best(model):
    history = model.history_
    return next(e for e in history.evaluations if e.step == history.returned_step)


def test_the_prior_is_chosen_by_the_rows_kept_apart(under):
    few, many, both = (under[name] for name in ("few", "many", "both"))
    lower = min(few, many, key=lambda model: best(model).validation_loss)
    np.testing.assert_array_equal(both.predict_proba(X), lower.predict_proba(X))
    assert np.abs(few.predict_proba(X) - many.predict_proba(X)).max() > 1e-3


def test_the_ledger_goes_on(under):
    none, both = under["none"].history_, under["both"].history_
    assert none.ended_by == both.ended_by == Ending.ANNEALED
    usual = Schedule().anneal_steps
    assert both.steps == none.steps - usual + tables.FIRST_ANNEALED + tables.ANNEALED_AGAIN
    before = [e for e in both.evaluations if e.step <= none.growth_ended]
    assert [e.loss for e in before] == [
        e.loss for e in none.evaluations if e.step <= none.growth_ended
    ]
    for name in ("step", "epoch", "seconds"):
        told = [getattr(e, name) for e in both.evaluations]
        assert told == sorted(told)
    assert both.returned_step > both.steps - tables.ANNEALED_AGAIN
    held_out = under["both"].validation_rows_
    score = under["both"].score(X[held_out], LABELS[held_out])
    assert best(under["both"]).validation_score == pytest.approx(score)


def test_many_rows_are_annealed_for_long_before_that(under, monkeypatch):
    monkeypatch.setattr(tables, "FEW_ROWS", 100)
    assert fitted().history_.steps == under["none"].history_.steps + tables.ANNEALED_AGAIN


def test_a_prior_with_tails_keeps_out_what_says_nothing(under):
    def noise(model):
        weights = np.abs(model._plain.arrays["map0.weight"]).sum(axis=1)
        of = np.concatenate([np.arange(12), model.inputs_.column])
        return weights[of > 1].sum() / weights.sum()

    assert noise(under["many"]) < 0.8 * noise(under["few"])


@pytest.mark.parametrize(
    "told",
    [{"max_iter": 3}, {"max_seconds": 100}, {"validation_fraction": 0}, {"standardize": True},
     {"optimizer": KFAC(prior=0.1)}, {"make": SENNRegressor, "y": X[:, 0]}],
)  # fmt: skip
def test_none_where_training_was_told_otherwise(told, monkeypatch):
    def refuse(*args, **settings):
        raise AssertionError

    monkeypatch.setattr(finishing, "annealed_again", refuse)
    fitted(**told)


@pytest.mark.usefixtures("interrupted_annealing")
def test_an_interruption_keeps_what_was_there_and_is_told(under):
    model = fitted(refit_steps=5)
    np.testing.assert_array_equal(model.predict_proba(X), under["none"].predict_proba(X))
    assert (model.history_.ended_by, model.history_.refit_steps) == (Ending.INTERRUPTED, 0)


def test_one_program_serves_all_priors(under):
    """It is that of the training before, whose rule has a prior as well."""
    later = [under[name].history_ for name in ("few", "many", "both")]
    first, *others = (history.n_compilations for history in later)
    assert first <= 1  # of steps with room for priors, which the fit without them had no use for
    assert others == [0, 0]
    first, (many, few) = annealing.rules_for("kfac", tables.PRIORS, np.float32)
    loss = SoftmaxCrossEntropy()
    programs = {str(rule.as_arguments(loss, np.float32)) for rule in (first, many, few)}
    assert len(programs) == 1  # arrays alike, no constants
    assert (many.tails, few.tails) == (1.0, 0.0)
    assert described(first) == described(KFAC())  # its checkpoints are resumed as such
    assert annealing.rules_for("adam", tables.PRIORS, np.float32)[1] == []
