import pickle

import numpy as np
import optax
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import senn
import senn.estimators
from senn import Policy, SENNClassifier, SENNRegressor
from senn.checkpoint import ModelFileError, write_model
from senn.datasets import DataError
from senn.optimizers import NaturalGradient
from senn.proposals import Random

# One shape for all, so that little is compiled.
N, I = 120, 3  # noqa: E741
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, I)) * [1.0, 10.0, 0.1] + [0.0, 5.0, 0.0]
CODES = (X[:, 0] > 0).astype(int) + (X[:, 1] > 5)
LABELS = np.array(["low", "middle", "high"])[CODES]
NUMBERS = 3 * X[:, 0] - 0.2 * X[:, 1] + 100
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
    settings = {"max_iter": 40, "max_units": 6, "optimizer": NaturalGradient(max_steps=10)}
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
    kept = np.setdiff1d(np.arange(N), one.validation_rows_)
    np.testing.assert_allclose(one.scaler_.mean_, X[kept].mean(axis=0), rtol=1e-5)


def test_inputs_are_left_as_they_are_when_that_is_said():
    model = classifier(standardize=False).fit(X, LABELS)
    assert model.scaler_ is None
    assert not np.allclose(model.predict_proba(X), classifier().fit(X, LABELS).predict_proba(X))


def test_constant_columns_are_allowed():
    x = np.column_stack([X[:, :2], np.full(N, 5.0)])
    assert np.isfinite(classifier().fit(x, LABELS).predict_proba(x)).all()


@pytest.mark.parametrize(("optimizer", "epochs"), [("natural_gradient", None), ("kfac", 30)])
def test_the_papers_optimiser_keeps_its_rate(monkeypatch, optimizer, epochs):
    def fit(*_, schedule, **__):
        seen.append(schedule.anneal_epochs)
        raise KeyboardInterrupt

    seen = []
    monkeypatch.setattr(senn.estimators, "fit", fit)
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


def test_data_frames(fitted):
    import pandas as pd

    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = classifier().fit(frame, pd.Series(LABELS))
    assert model.feature_names_ == ["a", "b", "c"]
    np.testing.assert_array_equal(model.predict(frame), classifier().fit(X, LABELS).predict(X))


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


INPUTS = len(X[0])
HEADER = {
    "estimator": "SENNClassifier", "params": {}, "standardize": True,
    "feature_names": [f"f{k}" for k in range(INPUTS)],
}  # fmt: skip
SCALER = {"input_mean": np.zeros(INPUTS), "input_scale": np.ones(INPUTS)}
DAMAGED = {
    "no scaler": ({}, {}, "lacks 'input_mean'"),
    "no parameters": ({"params": []}, SCALER, "damaged"),
    "names no list": ({"feature_names": None}, SCALER, "damaged"),
    "too few names": ({"feature_names": ["a"]}, SCALER, f"not {INPUTS} texts"),
    "too many classes": ({"classes": list(range(99))}, SCALER, r"classes have shape \(99,\)"),
    "a narrow scaler": ({}, {**SCALER, "input_mean": np.zeros(1)}, "finite numbers each"),
    "a scaler of NaN": ({}, {**SCALER, "input_mean": np.full(INPUTS, np.nan)}, "finite numbers"),
    "division by zero": ({}, {**SCALER, "input_scale": np.zeros(INPUTS)}, "not above 0"),
    "no such estimator": ({"estimator": ["SENNClassifier"]}, SCALER, "no estimator"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_file_that_is_no_whole_estimator(case, fitted, tmp_path):
    header, arrays, message = DAMAGED[case]
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

    monkeypatch.setattr(senn.training._Run, "run", run)


def spoiled(value) -> np.ndarray:
    x = X.astype(object if isinstance(value, str) else float)
    x[3, 1] = value
    return x


BAD_DATA = {
    "NaN": (spoiled(np.nan), LABELS, "missing values.*column_1"),
    "infinity": (spoiled(np.inf), LABELS, "infinity.*column_1"),
    "text": (spoiled("much"), LABELS, "text.*column_1.*get_dummies"),
    "one class": (X, np.zeros(N, int), "only one class"),
    "y too long": (X[:-1], LABELS, "120 values but X has 119 rows"),
    "y too short": (X, LABELS[:-1], "119 values but X has 120 rows"),
    "no features": (X[:, :0], LABELS, "0 feature"),
    "no rows": (X[:0], LABELS[:0], "empty"),
    "one row": (X[:1], LABELS[:1], "one class"),
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
    with pytest.raises(DataError, match="missing values"):
        fitted.predict(spoiled(np.nan))
