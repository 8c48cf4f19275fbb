"""Pipelines that hold our estimators, converted by skl2onnx: the predictions are the same."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import skl2onnx
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import senn
from senn.export import register_skl2onnx

register_skl2onnx()

RNG = np.random.default_rng(0)
N = 60
X = RNG.normal(size=(N, 3)).astype(np.float32)
Y = np.where(X[:, 0] > 0, "yes", np.where(X[:, 1] > 0, "no", "perhaps"))
SMALL = {
    "hidden_sizes": (3,), "max_iter": 2, "optimizer": "adam", "random_state": 0,
    "policy": senn.Policy(width=False, depth=False),
}  # fmt: skip
PLAIN = {"zipmap": False}


def classifier(**settings) -> senn.SENNClassifier:
    return senn.SENNClassifier(**{**SMALL, **settings})


def predicted(model, rows, feeds=None, **settings) -> list:
    """What onnxruntime makes of rows, of a model that skl2onnx converted."""
    made = skl2onnx.to_onnx(model, rows, **settings)
    session = onnxruntime.InferenceSession(made.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: rows} if feeds is None else feeds)


def plain(model) -> dict:
    return {"options": {id(model): PLAIN}}


def check(model, rows, feeds=None) -> None:
    """Labels and probabilities are those of the model."""
    labels, chances = predicted(model, rows, feeds, **plain(model))
    np.testing.assert_allclose(chances, model.predict_proba(rows), atol=2e-6)
    assert labels.tolist() == model.predict(rows).tolist()


@pytest.fixture(scope="module")
def words():
    return make_pipeline(StandardScaler(), classifier()).fit(X, Y)


LABELS = {
    "text": Y,
    "objects": Y.astype(object),
    "numbers": (X[:, 0] > 0) * 3,
    "floats": (X[:, 0] > 0) * 3.0,
    "booleans": X[:, 0] > 0,
}


@pytest.mark.parametrize("kind", LABELS)
def test_a_pipeline_of_a_classifier(kind):
    check(make_pipeline(StandardScaler(), classifier()).fit(X, LABELS[kind]), X)


def test_probabilities_as_dictionaries(words):
    labels, chances = predicted(words, X)
    assert labels.tolist() == words.predict(X).tolist()
    assert set(chances[0]) == {"yes", "no", "perhaps"}
    found = [[row[label] for label in words.classes_] for row in chances]
    np.testing.assert_allclose(found, words.predict_proba(X), atol=2e-6)


def test_labels_as_columns_and_as_numbers(words):
    columns = predicted(words, X, options={id(words): {"zipmap": "columns"}})[1:]
    np.testing.assert_allclose(np.column_stack(columns), words.predict_proba(X), atol=2e-6)
    places, _ = predicted(words, X, options={id(words): {**PLAIN, "nocl": True}})
    assert words.classes_[places].tolist() == words.predict(X).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inputs_of_either_type(words, dtype):
    check(words, X.astype(dtype))


@pytest.mark.parametrize("targets", [X[:, 0], X[:, :2] * 50 + 100])
def test_a_pipeline_of_a_regressor(targets):
    made = make_pipeline(StandardScaler(), senn.SENNRegressor(**SMALL)).fit(X, targets)
    (found,) = predicted(made, X)
    assert found.shape == (N, targets.shape[1] if targets.ndim == 2 else 1)
    np.testing.assert_allclose(found, made.predict(X).reshape(N, -1), rtol=1e-4, atol=1e-5)


def test_several_labels_a_row():
    made = make_pipeline(StandardScaler(), classifier()).fit(X, (X > 0).astype(int))
    labels, chances = predicted(made, X, **plain(made))
    np.testing.assert_array_equal(labels, made.predict(X))
    np.testing.assert_allclose(chances, made.predict_proba(X), atol=2e-6)


def test_an_ensemble_of_networks():
    check(make_pipeline(StandardScaler(), classifier(n_estimators=2)).fit(X, Y), X)


FRAME = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "town": RNG.choice(["Bonn", "Ulm", "Köln"], N)})


def columns(frame: pd.DataFrame) -> dict:
    return {name: frame[[name]].to_numpy() for name in frame}


def test_a_transformer_of_columns():
    coded = ColumnTransformer(
        [("numbers", StandardScaler(), ["a", "b"]), ("words", OneHotEncoder(), ["town"])]
    )
    check(make_pipeline(coded, classifier()).fit(FRAME, Y), FRAME, columns(FRAME))


def test_columns_of_a_table_without_any_transformer():
    frame = FRAME.assign(code=RNG.integers(0, 4, N), same=1.0)
    frame.loc[::7, "a"] = np.nan
    made = classifier(categorical_features=["code"]).fit(frame, Y)
    assert [c["kind"] for c in made.columns_] == ["number", "number", *["category"] * 2, "constant"]
    check(made, frame, columns(frame))
    new = frame.assign(code=9, town="Paris")
    _, chances = predicted(made, frame, columns(new), **plain(made))
    np.testing.assert_allclose(chances, made.predict_proba(new), atol=2e-6)


def test_categories_among_an_array_of_numbers():
    x = np.column_stack([X[:, 0], RNG.choice([0.1, 0.7, 2], N)]).astype(np.float32)
    made = classifier(categorical_features=[1]).fit(x, Y)
    new = np.concatenate([x, [[0, 5], [np.nan, np.nan]]]).astype(np.float32)
    check(made, new)


def test_searches_and_votes():
    search = GridSearchCV(classifier(), {"tol": [1e-3]}, cv=2).fit(X, Y)
    check(search, X)
    votes = VotingClassifier(
        [("ours", classifier()), ("theirs", LogisticRegression())],
        voting="soft",
        flatten_transform=False,
    ).fit(X, Y)
    check(votes, X)


def test_what_has_no_place_is_refused():
    made = classifier().fit(FRAME, Y)
    with pytest.raises(ValueError, match="learned from text in column 'town', and skl2onnx gives"):
        predicted(made, FRAME.assign(town=1.0), **plain(made))
    halves = classifier().fit(X, np.where(X[:, 0] > 0, 0, 1) + 0.0)
    halves.classes_ = np.array([0.0, 0.5])
    with pytest.raises(ValueError, match=r"labels of whole numbers and of text, not such as 0\.5"):
        predicted(halves, X, **plain(halves))
