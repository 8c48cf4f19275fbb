"""Several labels a row: an indicator matrix of 0 and 1, as scikit-learn's MLP takes it."""

import pickle
import runpy

import numpy as np
import onnxruntime
import pytest
from sklearn.metrics import accuracy_score
from sklearn.neural_network import MLPClassifier

import senn
from command import refused, run
from senn import SENNClassifier
from senn.datasets import DataError
from senn.export import to_numpy, to_onnx

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 4)).astype(np.float32)
Y = np.stack([X[:, 0] > 0, X[:, 1] + X[:, 2] > 0, X[:, 3] > 1], axis=1).astype(int)
SMALL = {"hidden_sizes": (3,), "max_units": 3, "max_iter": 30, "random_state": 0}


@pytest.fixture(scope="module")
def fitted():
    return SENNClassifier(**SMALL, n_estimators=2).fit(X, Y)


def test_predictions_are_indicators_of_independent_labels(fitted):
    p, labels = fitted.predict_proba(X), fitted.predict(X)
    assert p.shape == labels.shape == Y.shape
    np.testing.assert_array_equal(labels, p > 0.5)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-fitted._outputs(X))))
    np.testing.assert_allclose(fitted.predict_log_proba(X), np.log(p), rtol=1e-9, atol=1e-12)
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.score(X, Y) == accuracy_score(Y, labels) > 0.85
    peer = MLPClassifier(random_state=0).partial_fit(X, Y, classes=[0, 1, 2])
    assert peer.predict(X).shape == labels.shape
    assert peer.predict_proba(X).shape == p.shape


def test_files_pickles_and_exports_say_the_same(fitted, tmp_path):
    p, labels = fitted.predict_proba(X), fitted.predict(X)
    fitted.save(tmp_path / "m.senn")
    for other in (senn.load(tmp_path / "m.senn"), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(other.predict_proba(X), p)
        np.testing.assert_array_equal(other.predict(X), labels)
    to_numpy(fitted, tmp_path / "m.npz")
    program = runpy.run_path(str(tmp_path / "m_predict.py"))
    model = program["load"](tmp_path / "m.npz")
    np.testing.assert_array_equal(program["predict_proba"](model, X), p)
    np.testing.assert_array_equal(program["predict"](model, X), labels)
    to_onnx(fitted, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    found, chances = session.run(["label", "probabilities"], {"X": X})
    np.testing.assert_allclose(chances, p, atol=2e-6)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, labels)


def test_the_command_predicts_them(fitted, tmp_path):
    fitted.save(tmp_path / "m.senn")
    table = (
        ",".join(fitted.feature_names_)
        + "\n"
        + "\n".join(",".join(map(str, row)) for row in X[:5].tolist())
    )
    (tmp_path / "rows.csv").write_text(table)
    words = ["predict", tmp_path / "m.senn", tmp_path / "rows.csv"]
    code, out, _ = run(*words)
    assert code == 0
    header, *rows = [line.split(",") for line in out.splitlines()]
    assert header[4:] == [f"{what}_{k}" for what in ("prediction", "probability") for k in range(3)]
    told = np.array([row[4:] for row in rows], float)
    np.testing.assert_array_equal(told[:, :3], fitted.predict(X[:5]))
    np.testing.assert_allclose(told[:, 3:], fitted.predict_proba(X[:5]), rtol=1e-6)
    refused([*words, "--target", "x0"], "is one column, but the model says of 3 labels")


def test_calls_go_on_and_a_smaller_one_is_left():
    model = SENNClassifier(**{**SMALL, "hidden_sizes": (4,), "max_units": 4, "batch_size": 60})
    for _ in range(20):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    assert model.score(X, Y) > 0.6
    smaller = senn.shrink(model, X, Y, max_units=3)
    assert smaller.hidden_sizes_ == (3,)
    assert smaller.score(X, Y) > 0.6
    with pytest.raises(DataError, match=r"y has one label a row, but .* learned 3"):
        model.partial_fit(X, Y[:, 0])
    with pytest.raises(DataError, match="2 labels a row, but there were 3"):
        model.partial_fit(X, Y[:, :2])
    with pytest.raises(DataError, match=r"are not those of y, .* leave classes out"):
        model.partial_fit(X, Y, classes=["a", "b", "c"])


@pytest.mark.parametrize(
    ("settings", "y", "message"),
    [
        ({}, Y + 1, "each 0 or 1, but row 0 has 2"),
        ({}, Y / 2, "each 0 or 1, but row 0 has 0.5"),
        ({}, Y.astype(str), "text"),
        ({"class_weight": "balanced"}, Y, "class_weight='balanced' is for one label a row"),
        ({"label_smoothing": 0.1}, Y, "label_smoothing=0.1 is for one label a row"),
    ],
)
def test_mistakes(settings, y, message):
    with pytest.raises(ValueError, match=message):
        SENNClassifier(**SMALL, **settings).fit(X, y)
