"""SENN for people who know scikit-learn: what learns, as scikit-learn's own estimators do."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import validate_data

from senn.learner import PARAMETERS, ClassLearner, Learner, NumberLearner
from senn.loaded import load as load
from senn.loading import Stored


class _Estimator(BaseEstimator, Learner):
    """A learner whose columns and parameters scikit-learn looks after."""

    def _checked(self, X: Any, *, first: bool, min_rows: int = 1) -> np.ndarray:
        """X as an array, once its values, and the number and names of its columns, are right."""
        named = hasattr(X, "columns")
        if named:  # before all else: columns that are missing may be why values are
            validate_data(self, X, reset=first, skip_check_array=True)
        x = super()._checked(X, first=first, min_rows=min_rows)
        if not named:
            validate_data(self, X, reset=first, skip_check_array=True)
        return x


class SENNClassifier(ClassifierMixin, _Estimator, ClassLearner):  # noqa: D101  it is composed
    __doc__ = f"""A classifier that chooses its own size: it starts small and grows as it trains.

    {PARAMETERS}
    class_weight : dict, "balanced" or None, default=None
        What the rows of each class weigh, by label, and 1 for those left out; "balanced" makes
        all classes weigh alike.
    label_smoothing : float, default=None
        Share of each label that is spread over all classes alike in `fit`. Probabilities are
        those of the labels as they are: afterwards logits are divided by a temperature, chosen on
        the rows kept apart. None is 0.1 for inputs prepared robustly, else 0.

    Attributes
    ----------
    classes_ : labels, in the order of `predict_proba`'s columns.
    hidden_sizes_, n_parameters_ : what it grew to.
    history_ : the ledger, a `senn.History`; of an ensemble that of the first of `histories_`.
    n_features_in_, feature_names_in_ : columns of X, and their names if X was a DataFrame.
    n_iter_ : passes over the data.
    n_samples_seen_ : rows learned from.
    network_ : the `senn.nn.MLP`.
    inputs_ : what the network reads of rows, `inputs_(X)`; None if that is X itself.
    scaler_ : the `StandardScaler` of the inputs, if that is all (`standardize=True`), or None.
    validation_rows_ : numbers of the rows kept apart for early stopping; only after `fit`.
    """


class SENNRegressor(RegressorMixin, _Estimator, NumberLearner):  # noqa: D101  it is composed
    __doc__ = f"""A regressor that chooses its own size: it starts small and grows as it trains.

    Targets are standardised for training, so that thresholds and rates mean the same for all.

    {PARAMETERS}

    Attributes
    ----------
    hidden_sizes_, n_parameters_ : what it grew to.
    history_ : the ledger, a `senn.History`; its losses are of standardised targets. Of an
        ensemble that of the first of `histories_`.
    n_features_in_, feature_names_in_ : columns of X, and their names if X was a DataFrame.
    n_iter_ : passes over the data.
    n_samples_seen_ : rows learned from.
    network_ : the `senn.nn.MLP`; its outputs are standardised.
    inputs_ : what the network reads of rows, `inputs_(X)`; None if that is X itself.
    scaler_ : the `StandardScaler` of the inputs, if that is all (`standardize=True`), or None.
    target_scaler_ : the `StandardScaler` of the targets.
    validation_rows_ : numbers of the rows kept apart for early stopping; only after `fit`.
    """

    def __sklearn_tags__(self):  # noqa: D105
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


ESTIMATORS = {cls.__name__: cls for cls in (SENNClassifier, SENNRegressor)}


def restored(stored: Stored) -> SENNClassifier | SENNRegressor:
    """The estimator that a file describes."""
    cls = ESTIMATORS[stored.kind]
    names = cls._get_param_names()
    estimator = cls(**{k: v for k, v in stored.params.items() if k in names})
    vars(estimator).update(stored.fitted)
    return estimator
