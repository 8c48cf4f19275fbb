"""SENN for people who know scikit-learn: what learns, as scikit-learn's own estimators do."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import validate_data

from senn.columns import Table
from senn.learner import PARAMETERS, ClassLearner, Learner, NumberLearner
from senn.loaded import load as load
from senn.loading import Stored
from senn.readers import DataError
from senn.words import quoted


def _value(estimator: Any, name: str) -> Any:
    """What a parameter is; of the policy, what None stands for."""
    value = getattr(estimator, name)
    if name != "policy" or value is not None:
        return value
    from senn.tables import policy_of  # loads JAX

    return policy_of(estimator)


def _refuse_twins(names: Iterable[Any]) -> None:
    """Refuse columns of one name, of which scikit-learn's own word is no sentence."""
    counts = Counter(name for name in names if isinstance(name, str))
    twins = [name for name, n in counts.items() if n > 1]
    if twins:
        raise DataError(
            f"X has several columns called {quoted(twins)}: give each a name of its own."
        )


class _Estimator(BaseEstimator, Learner):
    """A learner whose columns and parameters scikit-learn looks after."""

    def _checked(self, X: Any, *, first: bool, **rows: Any) -> np.ndarray:
        """X as inputs, once its values, and the number and names of its columns, are right."""
        if isinstance(X, Table) or self._reads_images(first):  # which scikit-learn does not know
            return super()._checked(X, first=first, **rows)
        named = hasattr(X, "columns")
        if named:  # before all else: columns that are missing may be why values are
            _refuse_twins(X.column_names if hasattr(X, "column_names") else X.columns)
            validate_data(self, X, reset=first, skip_check_array=True)
        x = super()._checked(X, first=first, **rows)
        if not named:
            validate_data(self, X, reset=first, skip_check_array=True)
        return x

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters; with `deep`, the fields of those that are dataclasses too.

        Those of the policy are `policy__tau`, `policy__alpha`, ..., also while it is None.
        """
        params = super().get_params(deep=False)
        if deep:
            for name in [*params]:
                value = _value(self, name)
                if is_dataclass(value) and not isinstance(value, type):
                    params |= {f"{name}__{f.name}": getattr(value, f.name) for f in fields(value)}
                elif hasattr(value, "get_params") and not isinstance(value, type):
                    params |= {f"{name}__{k}": v for k, v in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Any:
        """Set parameters, and as `policy__alpha` the fields of those that are dataclasses."""
        whole = {name: value for name, value in params.items() if "__" not in name}
        super().set_params(**whole)
        known = self.get_params()
        for name in params.keys() - whole.keys():
            outer, _, inner = name.partition("__")
            if name not in known:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {type(self).__name__}; valid ones "
                    f"are {quoted(sorted(known), 80)}."
                )
            value: Any = _value(self, outer)
            if is_dataclass(value) and not isinstance(value, type):  # frozen; clones share it
                changed: Any = replace(cast(Any, value), **{inner: params[name]})
                setattr(self, outer, changed)
            else:
                cast(Any, value).set_params(**{inner: params[name]})
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.sparse = True
        tags.input_tags.categorical = True
        return tags


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
    classes_ : labels, in the order of `predict_proba`'s columns; of an indicator matrix their
        numbers, from 0.
    hidden_sizes_, n_parameters_ : what it grew to.
    history_ : the ledger, a `senn.History`; of an ensemble that of the first of `histories_`.
    n_features_in_, feature_names_in_ : columns of X, and their names if X was a DataFrame.
    columns_ : of each column its name and kind, how many inputs it became, and how.
    n_iter_ : passes over the data.
    n_samples_seen_ : rows learned from.
    network_ : the `senn.nn.MLP`.
    inputs_ : what the network reads of rows, `inputs_(X)`; None if that is X itself.
    scaler_ : the `StandardScaler` of the inputs, if that is all (`standardize=True`), or None.
    validation_rows_ : numbers of the rows kept apart for early stopping, and learned from at the
        end (`refit_steps`); only after `fit`.
    """

    def __sklearn_tags__(self):  # noqa: D105
        tags = super().__sklearn_tags__()
        assert tags.classifier_tags is not None
        tags.classifier_tags.multi_label = True
        return tags


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
    columns_ : of each column its name and kind, how many inputs it became, and how.
    n_iter_ : passes over the data.
    n_samples_seen_ : rows learned from.
    network_ : the `senn.nn.MLP`; its outputs are standardised.
    inputs_ : what the network reads of rows, `inputs_(X)`; None if that is X itself.
    scaler_ : the `StandardScaler` of the inputs, if that is all (`standardize=True`), or None.
    target_scaler_ : the `StandardScaler` of the targets.
    validation_rows_ : numbers of the rows kept apart for early stopping, and learned from at the
        end (`refit_steps`); only after `fit`.
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
