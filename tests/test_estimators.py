import pickle
import subprocess
import sys
from pathlib import Path

import jax
import joblib
import numpy as np
import optax
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import senn
import senn.learning
from senn import Policy, SENNClassifier, SENNRegressor
from senn.checkpoints import read_checkpoint, write_checkpoint
from senn.datasets import DataError
from senn.models import ModelFileError, write_model
from senn.optimizers import NaturalGradient
from senn.proposals import Random
from senn.training import ResumeError

# One shape for all, so that little is compiled.
N, I = 120, 3  # noqa: E741
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, I)) * [1.0, 10.0, 0.1] + [0.0, 5.0, 0.0]
CODES = (X[:, 0] > 0).astype(int) + (X[:, 1] > 5)
LABELS = np.array(["low", "middle", "high"])[CODES]
NUMBERS = 3 * X[:, 0] - 0.2 * X[:, 1] + 100
Y2 = np.stack([NUMBERS, -NUMBERS], axis=1)
FILES = Path(__file__).parent / "files"
ADAM = optax.adam(1e-3)  # one object for all: what is compiled for it is used again
FIXED = Policy(width=False, depth=False)
SMALL = {"hidden_sizes": (3,), "max_iter": 3, "optimizer": ADAM, "policy": FIXED, "random_state": 0}


def classifier(**settings) -> SENNClassifier:
    return SENNClassifier(**{**SMALL, **settings})


def regressor(**settings) -> SENNRegressor:
    return SENNRegressor(**{**SMALL, **settings})


class Interrupt(senn.Callback):
    def on_evaluation(self, evaluation):  # noqa: ARG002
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def fitted() -> SENNClassifier:
    """By conjugate gradients, with growth."""
    growth = Policy(every=10, depth=False, confidence=0.0, alpha=1e-6, tau=1.0001)
    settings = {"max_iter": 40, "max_units": 6, "optimizer": NaturalGradient(max_steps=10),
                "random_state": 2}  # fmt: skip
    return classifier(
        **settings, metric="fisher", policy=growth, proposer=Random(candidates=8)
    ).fit(X, LABELS)


@pytest.fixture(scope="module")
def fitted_regressor() -> SENNRegressor:
    settings = {"max_iter": 200, "optimizer": NaturalGradient(learning_rate=0.5, damping=0.01)}
    return regressor(**settings, hidden_sizes=()).fit(X, NUMBERS)


# --- What comes out ------------------------------------------------------------------------


def test_a_classifier_predicts_labels_as_given(fitted):
    assert set(fitted.predict(X)) <= set(LABELS)
    assert list(fitted.classes_) == ["high", "low", "middle"]
    assert fitted.score(X, LABELS) > 0.8
    assert fitted.n_features_in_ == I


def test_probabilities_are_in_the_order_of_the_classes(fitted):
    p = fitted.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(fitted.classes_[p.argmax(axis=1)], fitted.predict(X))


def test_a_classifier_grows_within_its_budget(fitted):
    assert 3 < sum(fitted.hidden_sizes_) <= 6
    assert fitted.history_.additions
    last = fitted.history_.evaluations[-1]
    assert last.hidden_sizes == fitted.network_.hidden_sizes or fitted.history_.additions
    assert fitted.n_parameters_ == fitted.network_.n_parameters


@pytest.mark.parametrize(
    "labels", [CODES, CODES.astype(float), CODES > 0, LABELS, LABELS.astype(object), list(LABELS)]
)
def test_labels_of_any_kind(labels):
    found = classifier().fit(X, labels).predict(X)
    assert found.dtype.kind == np.unique(labels).dtype.kind or found.dtype.kind in "UO"
    assert set(found) <= set(np.unique(labels))


def test_numbers_are_predicted_in_their_own_scale(fitted_regressor):
    assert fitted_regressor.hidden_sizes_ == ()
    assert fitted_regressor.predict(X).shape == (N,)
    np.testing.assert_allclose(fitted_regressor.predict(X), NUMBERS, atol=0.3)
    assert fitted_regressor.score(X, NUMBERS) > 0.99


@pytest.mark.parametrize(
    ("y", "shape"),
    [
        (NUMBERS, (N,)),
        (NUMBERS[:, None], (N, 1)),
        (np.stack([NUMBERS, -NUMBERS], axis=1), (N, 2)),
        (list(NUMBERS), (N,)),
    ],
)
def test_predictions_have_the_shape_of_the_targets(y, shape):
    model = regressor().fit(X, y)
    assert model.predict(X).shape == shape
    assert np.isfinite(model.score(X, y))


def test_a_constant_target_is_allowed():
    assert np.isfinite(regressor().fit(X, np.full(N, 7.0)).predict(X)).all()


def test_predictions_for_no_rows(fitted, fitted_regressor):
    for model in (fitted, fitted_regressor):
        with pytest.raises(DataError, match="0 rows"):
            model.predict(np.empty((0, I)))


# --- Inputs --------------------------------------------------------------------------------


def test_standardising_makes_units_of_measurement_immaterial():
    one, other = (classifier().fit(X * scale, LABELS) for scale in (1.0, 1000.0))
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X * 1000), rtol=1e-3)
    one, other = (classifier(standardize=True).fit(X * scale, LABELS) for scale in (1.0, 1000.0))
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X * 1000), rtol=1e-3)
    kept = np.setdiff1d(np.arange(N), one.validation_rows_)
    np.testing.assert_allclose(one.scaler_.mean_, X[kept].mean(axis=0), rtol=1e-5)


def test_inputs_are_left_as_they_are_when_that_is_said():
    model = classifier(standardize=False).fit(X, LABELS)
    assert model.scaler_ is None
    assert model.inputs_ is None
    assert not np.allclose(model.predict_proba(X), classifier().fit(X, LABELS).predict_proba(X))


def test_constant_columns_are_allowed():
    x = np.column_stack([X[:, :2], np.full(N, 5.0)])
    assert np.isfinite(classifier().fit(x, LABELS).predict_proba(x)).all()


@pytest.mark.parametrize(
    ("optimizer", "epochs"), [("natural_gradient", None), ("adam", 30), ("kfac", 0)]
)
def test_the_papers_optimiser_keeps_its_rate(monkeypatch, optimizer, epochs):
    def fit(*_, schedule, **__):
        seen.append(schedule.anneal_epochs)
        raise KeyboardInterrupt

    seen = []
    monkeypatch.setattr(senn.learning, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        classifier(optimizer=optimizer).fit(X, LABELS)
    assert seen == [epochs]


def test_rows_are_kept_apart_for_validation_where_there_are_enough():
    assert len(classifier().fit(X, LABELS).validation_rows_) == 12
    assert len(classifier(validation_fraction=0.0).fit(X, LABELS).validation_rows_) == 0
    few = classifier(max_iter=1).fit(X[:60], LABELS[:60])
    assert len(few.validation_rows_) == 0
    assert few.history_.evaluations[-1].validation_loss is None


def test_two_rows_are_enough():
    two = [0, int(np.argmax(LABELS[0] != LABELS))]
    assert classifier(max_iter=1).fit(X[two], LABELS[two]).predict(X).shape == (N,)


def test_rows_without_weight_teach_nothing():
    wrong = np.arange(N) % 2 == 0
    labels = np.where(wrong, "low", LABELS)
    settings = {"max_iter": 120, "validation_fraction": 0.0, "optimizer": NaturalGradient()}
    model = classifier(**settings, metric="fisher").fit(
        X, labels, sample_weight=np.where(wrong, 0, 3)
    )
    assert model.score(X, LABELS) > 0.9


def test_weights_of_one_change_nothing():
    one = classifier().fit(X, LABELS).predict_proba(X)
    np.testing.assert_array_equal(
        one, classifier().fit(X, LABELS, sample_weight=np.full(N, 2.0)).predict_proba(X)
    )


# --- scikit-learn's ways -------------------------------------------------------------------


def test_the_same_seed_gives_the_same_model():
    one, again, other = (
        classifier(random_state=seed).fit(X, LABELS).predict_proba(X) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("seed", [None, np.random.RandomState(0)])
def test_other_seeds(seed):
    assert classifier(random_state=seed, max_iter=1).fit(X, LABELS).predict(X).shape == (N,)


@pytest.mark.parametrize("make", [SENNClassifier, SENNRegressor])
def test_clones_have_the_same_parameters(make):
    made = make((2, 3), optimizer=optax.sgd(0.1), policy=Policy(tau=2.0), callbacks=(Interrupt(),))
    params = clone(made).get_params()
    assert params["hidden_sizes"] == (2, 3)
    assert params["policy"] == Policy(tau=2.0)
    assert made.set_params(max_units=7).get_params()["max_units"] == 7
    with pytest.raises(ValueError, match="max_unit"):
        made.set_params(max_unit=7)


@pytest.mark.parametrize("make", [SENNClassifier, SENNRegressor])
def test_before_fitting(make, tmp_path):
    for use in (
        lambda m: m.predict(X),
        lambda m: m.score(X, NUMBERS),
        lambda m: m.hidden_sizes_,
        lambda m: m.n_parameters_,
        lambda m: m.save(tmp_path / "m"),
    ):
        with pytest.raises(NotFittedError):
            use(make())


FRAME = pd.DataFrame(X, columns=["a", "b", "c"])


def test_data_frames(tmp_path):
    model = classifier().fit(FRAME, pd.Series(LABELS))
    assert model.feature_names_ == ["a", "b", "c"]
    np.testing.assert_array_equal(model.predict(FRAME), classifier().fit(X, LABELS).predict(X))
    model.save(tmp_path / "m")
    for known in (model, senn.load(tmp_path / "m")):
        assert known.feature_names_in_.tolist() == ["a", "b", "c"]
        with pytest.raises(ValueError, match="must be in the same order"):
            known.predict(FRAME[["b", "a", "c"]])
        with pytest.raises(ValueError, match="unseen at fit time"):
            known.partial_fit(FRAME.rename(columns={"a": "z"}), LABELS)
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            known.predict(X)
    assert not hasattr(model.fit(X, LABELS), "feature_names_in_")


def table_of_mixed_quality():
    """Text, and gaps."""
    frame = FRAME.assign(place=np.where(X[:, 0] > 0, "north", "south"))
    return frame.mask(np.arange(frame.size).reshape(frame.shape) % 11 == 3)


def test_a_pipeline_with_text_and_gaps():
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["place"]), remainder=SimpleImputer()
    )
    model = make_pipeline(encode, classifier(max_iter=60, optimizer="kfac"))
    table = table_of_mixed_quality()
    assert model.fit(table, LABELS).score(table, LABELS) > 0.8
    assert model[-1].n_features_in_ == 6
    again = clone(model).fit(table, LABELS)
    np.testing.assert_array_equal(again.predict_proba(table), model.predict_proba(table))


def test_cross_validation():
    learner = classifier(max_iter=60, optimizer="kfac", hidden_sizes=())
    scores = cross_val_score(learner, X, LABELS, cv=3)
    assert scores.shape == (3,)
    assert scores.min() > 0.6
    p = cross_val_predict(classifier(), X, LABELS, cv=3, method="predict_proba")
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_a_grid_search_in_two_processes():
    adam = "adam"  # by name: a transformation of optax holds functions that cannot be pickled
    search = GridSearchCV(
        classifier(optimizer=adam, random_state=3), {"hidden_sizes": [(), (3,)]}, cv=2, n_jobs=2
    ).fit(X, LABELS)
    assert search.best_params_["hidden_sizes"] in [(), (3,)]
    alone = classifier(optimizer=adam, random_state=3, **search.best_params_).fit(X, LABELS)
    np.testing.assert_array_equal(search.predict_proba(X), alone.predict_proba(X))


def test_classes_can_be_weighed():
    """Labels that say nothing of X, one in four "rare"."""
    labels = np.where(np.arange(N) % 4 == 0, "rare", "common")
    settings = {"max_iter": 200, "optimizer": "kfac", "validation_fraction": 0.0,
                "standardize": True}  # fmt: skip

    def share(class_weight, **more):
        model = classifier(**settings, hidden_sizes=(), class_weight=class_weight)
        return model.fit(X, labels, **more).predict_proba(X)[:, 1].mean()

    weighed = share({"rare": 3})
    assert share(None) == pytest.approx(0.25, abs=0.03)
    assert weighed == pytest.approx(0.5, abs=0.03)
    assert share("balanced") == pytest.approx(weighed, abs=1e-6)
    by_row = np.where(labels == "rare", 3, 1)
    assert share(None, sample_weight=by_row) == pytest.approx(weighed, abs=1e-6)
    with pytest.raises(ValueError, match="class_weight must be None"):
        share("even")


def test_rows_without_weight_are_left_out():
    kept = np.arange(N) % 3 > 0
    weight = kept * np.linspace(1, 2, N)
    one = classifier().fit(X, LABELS, sample_weight=weight)
    other = classifier().fit(X[kept], LABELS[kept], sample_weight=weight[kept])
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    for a, b in zip(one.inputs_, other.inputs_, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(DataError, match="only one class"):
        classifier().fit(X, LABELS, sample_weight=LABELS == "low")
    two = classifier().fit(X, LABELS, sample_weight=(LABELS != "low") * 1.0)
    assert two.classes_.tolist() == ["high", "middle"]


def test_validation_rows_are_numbers_in_all_of_x():
    weight = np.arange(N) < 110
    rows = classifier().fit(X[::-1], LABELS[::-1], sample_weight=weight[::-1]).validation_rows_
    assert len(rows) == 11
    assert rows.min() >= 10


def test_double_precision_in_and_out():
    """A large constant beside a small variation, which float32 cannot hold."""
    far = X + 1e9
    with jax.enable_x64(False):
        near, model = classifier().fit(X, LABELS), classifier().fit(far, LABELS)
        assert model.network_.readout.bias.dtype == np.float32
        np.testing.assert_allclose(model.predict_proba(far), near.predict_proba(X), atol=1e-3)
        assert model.predict_proba(far).dtype == np.float64
        rows = np.concatenate([model.predict_proba(far[i : i + 1]) for i in range(5)])
        np.testing.assert_allclose(rows, model.predict_proba(far[:5]), rtol=1e-12)
        coarse = near.predict_proba(X.astype(np.float32))
        assert coarse.dtype == np.float64
        np.testing.assert_allclose(coarse, near.predict_proba(X), atol=1e-5)


def test_targets_in_double_precision():
    model = regressor(hidden_sizes=(), max_iter=300, optimizer="kfac", standardize=True)
    found = model.fit(X, NUMBERS + 1e10).predict(X) - 1e10
    np.testing.assert_allclose(found, NUMBERS, atol=0.5)


def test_labels_in_a_column_are_a_likely_mistake():
    with pytest.warns(DataConversionWarning, match="column-vector"):
        model = classifier().fit(X, LABELS[:, None])
    assert model.predict(X).shape == (N,)


def test_passes_over_the_data_are_counted():
    assert classifier(max_iter=3).fit(X, LABELS).n_iter_ == 3
    assert classifier(max_iter=3, batch_size=60).fit(X, LABELS).n_iter_ == 3


def test_ctrl_c_leaves_the_estimator_fitted():
    model = classifier(max_iter=None, callbacks=[Interrupt()]).fit(X, LABELS)
    assert model.history_.stop_reason == "interrupted"
    assert model.predict(X).shape == (N,)


def test_verbose_shows_progress(capsys):
    classifier(verbose=1).fit(X, LABELS)
    out, err = capsys.readouterr()
    assert out == ""
    assert "stop: 3 steps done" in err


# --- Keeping -------------------------------------------------------------------------------


FRESH = """
import pickle
import sys
from pathlib import Path

import joblib
import numpy as np

X, labels, expected, later = joblib.load(sys.argv[1])
for model in (joblib.load(sys.argv[2]), pickle.loads(Path(sys.argv[3]).read_bytes())):
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-5)
    model.partial_fit(X, labels)
    np.testing.assert_allclose(model.predict_proba(X), later, atol=1e-4)
print("alike")
"""


def test_in_a_fresh_process(tmp_path):
    """What a stream has taught so far, dumped, goes on elsewhere as it would have here."""
    files = [str(tmp_path / name) for name in ("data", "joblib", "pickle")]
    with jax.enable_x64(False):
        model = classifier(optimizer="kfac", hidden_sizes=()).partial_fit(X, LABELS)
        joblib.dump(model, files[1])
        Path(files[2]).write_bytes(pickle.dumps(model))
        expected = model.predict_proba(X)
        later = model.partial_fit(X, LABELS).predict_proba(X)
    joblib.dump((X, LABELS, expected, later), files[0])
    command = [sys.executable, "-c", FRESH, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "alike\n", done.stderr


def test_pickling(fitted, fitted_regressor):
    for model in (fitted, fitted_regressor):
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        assert again.history_.summary() == model.history_.summary()


def test_a_saved_classifier(fitted, tmp_path):
    fitted.save(tmp_path / "m.senn")
    again = senn.load(tmp_path / "m.senn")
    assert isinstance(again, SENNClassifier)
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again.hidden_sizes_ == fitted.hidden_sizes_
    assert again.n_parameters_ == fitted.n_parameters_
    assert again.get_params()["max_units"] == 6


@pytest.mark.parametrize("y", [NUMBERS, np.stack([NUMBERS, -NUMBERS], axis=1)])
def test_a_saved_regressor(y, tmp_path):
    model = regressor(standardize=False).fit(X, y)
    model.save(tmp_path / "m.senn")
    again = senn.load(tmp_path / "m.senn")
    assert isinstance(again, SENNRegressor)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("labels", [CODES, CODES * 1.0, CODES > 0, LABELS.astype(object)])
def test_saved_labels_keep_their_type(labels, tmp_path):
    model = classifier().fit(X, labels)
    model.save(tmp_path / "m.senn")
    again = senn.load(tmp_path / "m.senn")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert type(again.classes_.tolist()[0]) is type(model.classes_.tolist()[0])


@pytest.mark.parametrize("name", ["classifier", "regressor"])
def test_files_of_format_1_stay_readable(name):
    """Written by the code of November 2026, and what it predicted."""
    model = senn.load(FILES / f"{name}-format-1.senn")
    predict = model.predict_proba if name == "classifier" else model.predict
    with np.load(FILES / f"{name}-format-1.npz") as expected:
        found = predict(expected["x"])
        np.testing.assert_allclose(found, expected["outputs"], rtol=1e-4, atol=1e-5)
        assert list(model.hidden_sizes_) == expected["hidden_sizes"].tolist()
        assert any(layer.residual for layer in model.network_.hidden)
        x = expected["x"]
    if name == "classifier":
        assert model.classes_.tolist() == ["high", "low", "middle"]
    assert model.feature_names_ == ["a", "b", "c"]
    model.set_params(**SMALL).partial_fit(x, LABELS if name == "classifier" else Y2)
    assert model.n_samples_seen_ == N


class Keeper(senn.Callback):
    """Keeps the checkpoint of the third pause."""

    def __init__(self, path: Path):
        self.path, self.pauses = path, 0

    def on_pause(self, state):
        self.pauses += 1
        if self.pauses == 3:
            write_checkpoint(self.path, state)


@pytest.mark.parametrize(("make", "y"), [(classifier, LABELS), (regressor, Y2)])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_resumed_fit_ends_as_if_undisturbed(make, y, weighted, tmp_path):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    weight = np.where(np.arange(N) < 20, 0.0, 1.0 + np.arange(N) % 3) if weighted else None
    settings = {"max_iter": 9, "batch_size": 40}
    keeper = Keeper(tmp_path / "checkpoint")
    whole = make(**settings, callbacks=[keeper]).fit(frame, y, weight)
    checkpoint = read_checkpoint(keeper.path)
    again = make(**settings)
    assert again.resume(checkpoint, frame, y, weight) is again
    assert 0 < checkpoint.header["step"] < again.history_.steps == whole.history_.steps
    np.testing.assert_array_equal(again._outputs(frame), whole._outputs(frame))
    np.testing.assert_array_equal(again.predict(frame), whole.predict(frame))
    assert again.feature_names_in_.tolist() == ["a", "b", "c"]
    assert again.n_samples_seen_ == whole.n_samples_seen_
    np.testing.assert_array_equal(again.validation_rows_, whole.validation_rows_)
    with pytest.raises(ResumeError, match="not those of the run"):
        make(**settings).resume(checkpoint, frame + 1e-3 * X, y, weight)


def test_a_loaded_estimator_can_be_saved_and_fitted_again(fitted, tmp_path):
    fitted.save(tmp_path / "one")
    senn.load(tmp_path / "one").save(tmp_path / "two")
    again = senn.load(tmp_path / "two")
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    again.set_params(**{**SMALL, "max_units": None}).fit(X, CODES)
    assert list(again.classes_) == [0, 1, 2]


def test_a_network_is_no_estimator(fitted, tmp_path):
    write_model(tmp_path / "m", fitted.network_, {}, {})
    with pytest.raises(ModelFileError, match="no estimator"):
        senn.load(tmp_path / "m")


HEADER = {
    "estimator": "SENNClassifier", "params": {}, "standardize": True,
    "feature_names": [f"f{k}" for k in range(I)],
}  # fmt: skip
N_CODES = 15  # of three columns of 120 rows
DAMAGED = {  # what differs from a whole file; arrays that are None are left out
    "no scaler": ({}, {"input_mean": None}, "lacks 'input_mean'"),
    "no codes": ({}, {"input_left": None}, "lacks 'input_left'"),
    "no parameters": ({"params": []}, {}, "damaged"),
    "names no list": ({"feature_names": None}, {}, "damaged"),
    "too few names": ({"feature_names": ["a"]}, {}, "its input scaler is not 1 finite numbers"),
    "numbers for names": ({"feature_names": [1] * I}, {}, f"not {I} texts"),
    "an older file of codes": ({}, {"input_bound": None}, "feature names are not"),
    "too many classes": ({"classes": list(range(99))}, {}, r"classes have shape \(99,\)"),
    "a narrow scaler": ({}, {"input_mean": np.zeros(1)}, "finite numbers each"),
    "a scaler of NaN": ({}, {"input_mean": np.full(I, np.nan)}, "finite numbers"),
    "division by zero": ({}, {"input_scale": np.zeros(I)}, "not above 0"),
    "no bound": ({}, {"input_bound": np.zeros(())}, "bounded by one number"),
    "codes of no column": ({}, {"input_column": np.array([I])}, f"not all of {I} columns"),
    "codes of halves": ({}, {"input_column": np.array([0.5])}, f"not all of {I} columns"),
    "few codes": ({}, {"input_left": np.zeros(1)}, "not as many finite numbers"),
    "flat codes": ({}, {"input_width": np.zeros(N_CODES)}, "divide by what is not above 0"),
    "codes of no spread": (
        {},
        {"input_code_scale": np.zeros(N_CODES)},
        "divide by what is not above 0",
    ),
    "no such estimator": ({"estimator": ["SENNClassifier"]}, {}, "no estimator"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_file_that_is_no_whole_estimator(case, fitted, tmp_path):
    header, changed, message = DAMAGED[case]
    whole = {f"input_{name}": array for name, array in fitted.inputs_._asdict().items()}
    arrays = {name: array for name, array in (whole | changed).items() if array is not None}
    classes = {"classes": fitted.classes_.tolist()}
    write_model(tmp_path / "m", fitted.network_, {**HEADER, **classes, **header}, arrays)
    with pytest.raises(ModelFileError, match=message):
        senn.load(tmp_path / "m")


# --- Mistakes ------------------------------------------------------------------------------


@pytest.fixture
def no_training(monkeypatch):
    """Whatever is wrong must be told before training starts."""

    def run(_):
        raise AssertionError("training started")

    monkeypatch.setattr(senn.training.fitting, "run_through", run)


def spoiled(value) -> np.ndarray:
    x = X.astype(object if isinstance(value, str) else float)
    x[3, 1] = value
    return x


def spoiled_by_object(value):
    x = X.astype(object)
    x[3, 1] = value
    return x


BAD_DATA = {
    "infinity": (spoiled(np.inf), LABELS, "infinity.*column_1"),
    "objects": (spoiled_by_object({}), LABELS, "objects in column 'column_1' .*row 4.*leave"),
    "no column that tells": (np.full((N, 2), "a", object), LABELS, "No column tells rows apart"),
    "one class": (X, np.zeros(N, int), "only one class"),
    "y too long": (X[:-1], LABELS, "120 values but X has 119 rows"),
    "y too short": (X, LABELS[:-1], "119 values but X has 120 rows"),
    "no features": (X[:, :0], LABELS, "0 feature"),
    "no rows": (X[:0], LABELS[:0], "Found 0 rows"),
    "one row": (X[:1], LABELS[:1], "Found 1 row"),
    "beyond float32": (X * 1e300, LABELS, "beyond the 3.4e.38 of float32.*rescale"),
    "a vector": (X[:, 0], LABELS, "2 dimensions"),
    "fractions as classes": (X, NUMBERS, "fractional"),
    "no y": (X, None, "y is None"),
    "missing label": (X, np.array([None, *LABELS[1:]], object), "missing values"),
}


@pytest.mark.parametrize("case", BAD_DATA)
@pytest.mark.usefixtures("no_training")
def test_bad_data(case):
    x, y, message = BAD_DATA[case]
    with pytest.raises(DataError, match=message):
        classifier().fit(x, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (LABELS, "text"),
        (np.where(np.arange(N) == 5, np.nan, NUMBERS), "missing values"),
        (np.where(np.arange(N) == 5, np.inf, NUMBERS), "infinity"),
    ],
)
@pytest.mark.usefixtures("no_training")
def test_bad_numbers(y, message):
    with pytest.raises(DataError, match=message):
        regressor().fit(X, y)


@pytest.mark.parametrize("make", [classifier, regressor])
@pytest.mark.parametrize(
    "weight", [np.ones(N - 1), np.zeros(N), -np.ones(N), np.full(N, np.nan), np.ones((N, 1))]
)
@pytest.mark.usefixtures("no_training")
def test_bad_weights(make, weight):
    with pytest.raises(DataError, match="sample_weight"):
        make().fit(X, CODES, sample_weight=weight)


@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "magic"},
        {"optimizer": "magic"},
        {"metric": "magic"},
        {"validation_fraction": 1.0},
        {"validation_fraction": -0.1},
        {"batch_size": 0},
        {"max_iter": -1},
        {"max_units": -1},
        {"max_seconds": -1.0},
        {"n_iter_no_change": 0},
        {"hidden_sizes": (0,)},
        {"tol": -1.0},
    ],
)
@pytest.mark.usefixtures("no_training")
def test_bad_settings(settings):
    names = {"max_iter": "max_epochs", "n_iter_no_change": "plateau", "tol": "tolerance",
             "hidden_sizes": "size"}  # fmt: skip
    (name,) = settings
    with pytest.raises(ValueError, match=names.get(name, name)) as caught:
        classifier(**settings).fit(X, LABELS)
    assert "\n" not in str(caught.value)


def test_other_features_than_those_of_fit(fitted):
    with pytest.raises(ValueError, match=r"4 features.*expecting 3"):
        fitted.predict(np.ones((2, 4)))
    with pytest.raises(DataError, match=r"row 4 has 'much' in column 'column_1', where .* number"):
        fitted.predict(spoiled("much"))
    with pytest.raises(DataError, match="infinity"):
        fitted.predict(spoiled(np.inf))
