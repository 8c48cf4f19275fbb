"""An ensemble is one network, whose outputs are the means of its members'."""

import numpy as np
import pytest

import senn
from senn.ensemble import joined
from senn.models import plain
from senn.nn.stored import network_of
from senn.plain import stored_network
from strategies import random_network

MEMBERS = {
    "one layer each": [((5, 4, 3), ()), ((5, 2, 3), ())],
    "one alone": [((5, 4, 3), (0,))],
    "linear, and beside": [((5, 3), ()), ((5, 4, 3), (0,)), ((5, 3), ())],
    "of different depths": [((5, 4, 3), ()), ((5, 2, 2, 3), (1,)), ((5, 2, 6, 1, 3), (0, 2))],
    "in place of each other": [((5, 4, 2, 3), ()), ((5, 3, 3, 3), ()), ((5, 3, 3), ())],
}


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("activation", ["rational", "tanh"])
def test_outputs_are_means(name, activation):
    members = [
        plain(random_network(sizes, activation, residual)) for sizes, residual in MEMBERS[name]
    ]
    x = np.random.default_rng(0).normal(size=(20, 5))
    whole = joined(members)
    wanted = np.mean([net.outputs(x) for net in members], axis=0)
    np.testing.assert_allclose(whole.outputs(x), wanted, rtol=1e-9, atol=1e-9)
    stored = stored_network(whole.architecture, whole.arrays)  # shapes fit together
    assert sum(stored.hidden_sizes) == sum(sum(net.hidden_sizes) for net in members)
    again = plain(network_of(whole))
    np.testing.assert_allclose(again.outputs(x), wanted, rtol=1e-4, atol=1e-4)


RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 3))
SMALL = {"hidden_sizes": (3,), "max_iter": 5, "random_state": 0, "max_units": 3, "n_estimators": 3}


@pytest.fixture(scope="module")
def fitted():
    return senn.SENNClassifier(**SMALL).fit(X, X[:, 0] > 0)


def test_members_differ_and_their_rows_kept_apart_too(fitted):
    weight = fitted._plain.arrays["map0.weight"]
    assert fitted.hidden_sizes_ == (9,)
    assert not np.allclose(weight[:, :3], weight[:, 3:6])
    assert len(fitted.histories_) == 3
    assert fitted.history_ is fitted.histories_[0]
    alone = senn.SENNClassifier(**{**SMALL, "n_estimators": 1}).fit(X, X[:, 0] > 0)
    np.testing.assert_array_equal(alone.validation_rows_, fitted.validation_rows_)


def test_an_ensemble_is_saved_exported_and_learns_on_as_a_network(fitted, tmp_path):
    p = fitted.predict_proba(X)
    fitted.save(tmp_path / "m")
    loaded = senn.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict_proba(X), p)
    senn.export.to_numpy(fitted, tmp_path / "m.npz")
    namespace: dict = {}
    exec((tmp_path / "m_predict.py").read_text("utf-8"), namespace)
    found = namespace["predict_proba"](namespace["load"](tmp_path / "m.npz"), X)
    np.testing.assert_allclose(found, p, atol=1e-6)  # exports are float32


def test_numbers_are_averaged():
    model = senn.SENNRegressor(**{**SMALL, "n_estimators": 2}).fit(X, X[:, 0])
    assert model.hidden_sizes_ == (6,)
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"n_estimators": 0}, "at least 1"), ({"warm_start": True}, "warm_start"),
     ({"n_estimators": 1.5}, "whole number")],
)  # fmt: skip
def test_what_an_ensemble_cannot_do_is_said(settings, message):
    model = senn.SENNClassifier(**SMALL).set_params(**settings)
    with pytest.raises(ValueError, match=message):
        model.fit(X, X[:, 0] > 0).fit(X, X[:, 0] > 0)


def test_a_smaller_one_is_left_of_an_ensemble(fitted):
    smaller = senn.shrink(fitted, X, X[:, 0] > 0, max_units=4)
    assert smaller.hidden_sizes_ == (4,)
    assert smaller.n_estimators == fitted.n_estimators == 3
    assert fitted.hidden_sizes_ == (9,)
    assert smaller.score(X, X[:, 0] > 0) > 0.8
