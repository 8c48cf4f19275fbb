"""SENN for people who know scikit-learn."""

import os
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from senn.arrays import key_of
from senn.batches import Batch
from senn.callbacks import Callback
from senn.callbacks.progress import Progress
from senn.datasets import DataError, check_targets
from senn.evaluation import predict
from senn.expand import add_outputs
from senn.history import History
from senn.losses import AbstractLoss, SoftmaxCrossEntropy, SquaredError
from senn.nn import MLP
from senn.nn.network import next_capacity
from senn.online import OnlineTraining
from senn.optimizers import make_optimizer
from senn.persistence import Persistent, read_estimator
from senn.policy import Policy
from senn.preparation import (
    Rows,
    check_array,
    check_labels,
    class_weights,
    merged_classes,
    refuse_huge,
    scaled,
    scaler_arrays,
    scaler_from,
    split,
    training_dtype,
)
from senn.resume import Checkpoint
from senn.training import NOT_FINITE, Schedule, fit

MIN_ROWS = 2


@dataclass(eq=False, repr=False)
class _BaseSENN(Persistent):
    """What classifier and regressor share.

    Parameters
    ----------
    hidden_sizes : tuple of int, default=(10,)
        Units per hidden layer to start with; `()` starts from a linear model.
    activation : {"rational", "relu", "silu", "gelu", "tanh"}, default="rational"
        Activation of the hidden units.
    max_units, max_layers, max_parameters, max_seconds : default=None
        Budgets: hidden units and layers in all, active parameters, and seconds of training.
        None is without limit; growth then ends when nothing more is worth adding.
    optimizer : str, `senn.optimizers` object or optax transformation, default="kfac"
        How parameters are trained; "natural_gradient" is exactly the paper's, at a constant rate.
    metric : {"fisher", "euclidean"}, default=None
        Output metric of the natural gradient. None is the paper's "euclidean" for
        "natural_gradient", else "fisher".
    proposer : `senn.proposals` object, default=None
        The search for new units; None is `Projection()`.
    policy : `senn.Policy`, default=None
        Thresholds and cadence of growth; the budgets above and `n_iter_no_change` overrule its
        own.
    batch_size : int, default=512
        Examples per step, fewer if there are fewer.
    max_iter : int, default=None
        Most passes over the data; None leaves it to `n_iter_no_change`.
    n_iter_no_change : int, default=None
        Evaluations without a better loss after which growth ends, if it has not before; then the
        learning rate is annealed, and training stops. None is the policy's (10).
    tol : float, default=1e-3
        Relative improvement of the loss that counts as better.
    validation_fraction : float, default=0.1
        Share of the rows kept apart for early stopping; 0 stops by the training loss. With
        fewer than 100 rows in all none are kept apart.
    standardize : bool, default=True
        Shift and scale each input to mean 0 and variance 1 (zero variance aside). Say False for
        images whose pixels are in [0, 1].
    verbose : int, default=0
        1 shows progress: a live display on a terminal, lines elsewhere.
    callbacks : sequence of `senn.Callback`, default=()
        Told what happens during training.
    warm_start : bool, default=False
        Let `fit` start from the network of the `fit` before, grown as it is, with its scaling of
        inputs and targets; classes that are new are added.
    random_state : int, RandomState or None, default=None
        Seed of the start, the split, the order of the data and the search.
    """

    hidden_sizes: Sequence[int] = (10,)
    _: KW_ONLY
    activation: str = "rational"
    max_units: int | None = None
    max_layers: int | None = None
    max_parameters: int | None = None
    max_seconds: float | None = None
    optimizer: Any = "kfac"
    metric: str | None = None
    proposer: Any = None
    policy: Policy | None = None
    batch_size: int = 512
    max_iter: int | None = None
    n_iter_no_change: int | None = None
    tol: float = 1e-3
    validation_fraction: float = 0.1
    standardize: bool = True
    verbose: int = 0
    callbacks: Sequence[Callback] = ()
    warm_start: bool = False
    random_state: Any = None

    @property
    def hidden_sizes_(self) -> tuple[int, ...]:
        """Units per hidden layer, as grown."""
        check_is_fitted(self)
        return self.network_.hidden_sizes

    @property
    def n_parameters_(self) -> int:
        """Active parameters of the network."""
        check_is_fitted(self)
        return self.network_.n_parameters

    @property
    def n_iter_(self) -> int:
        """Passes over the data, the last perhaps in part; of `partial_fit` the calls."""
        check_is_fitted(self)
        if self._online is not None:
            return self._online.calls
        return int(np.ceil(max((e.epoch for e in self.history_.evaluations), default=0)))

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a network to predict with."""
        return hasattr(self, "network_")

    # --- training -------------------------------------------------------------------------

    def resume(self, checkpoint: Checkpoint, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Go on with a run of `fit` that was ended early, and end as it would have ended.

        `senn.runs.RunWriter`, as one of the `callbacks`, keeps checkpoints of a run, and
        `senn.runs.last_checkpoint` reads them. Parameters and data must be those of the run,
        with a whole number as `random_state`; a `senn.state.ResumeError` says so of other data.
        """
        return self._train(X, y, sample_weight, checkpoint)

    @abstractmethod
    def _train(
        self, X: Any, y: Any, sample_weight: Any, checkpoint: Checkpoint | None = None
    ) -> Any:
        """`fit`, or `resume` from a checkpoint."""

    def _rows(self, X: Any, sample_weight: Any, *, first: bool, min_rows: int = MIN_ROWS) -> Rows:
        """Rows to learn from: the first that this estimator sees, or such as it knows."""
        x = self._checked(X, first=first, min_rows=min_rows)
        if not self.standardize:
            refuse_huge(x, self.feature_names_)
        return Rows.of(x, sample_weight)

    def _checked(self, X: Any, *, first: bool, min_rows: int = 1) -> np.ndarray:
        """X as an array, once its values, and the number and names of its columns, are right."""
        named = hasattr(X, "columns")
        if named:  # before all else: columns that are missing may be why values are
            validate_data(self, X, reset=first, skip_check_array=True)
        x, names = check_array(X, min_rows)
        if not named:
            validate_data(self, X, reset=first, skip_check_array=True)
        if first:
            self.feature_names_ = list(names)
        return x

    def _continues(self) -> bool:
        return self.warm_start and self.__sklearn_is_fitted__()

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _fit(
        self,
        rows: Rows,
        targets: np.ndarray,
        loss: AbstractLoss,
        out_size: int,
        checkpoint: Checkpoint | None,
        stratify: bool,
    ) -> None:
        """Train on checked targets: class codes [N] or standardised numbers [N, O]."""
        policy, schedule, seed = self._policy(), self._schedule(), self._seed()
        warm, dtype = self._continues(), training_dtype()
        weight = (rows.weight / rows.weight.mean()).astype(dtype)
        classes = targets if stratify else None
        train, held_out = split(self.validation_fraction, classes, len(targets), seed)
        if not warm:
            self.scaler_ = self._scaler(rows.x[train], weight[train])
        data = [  # batches at once: no second copy of a large table is kept
            Batch.on_host(scaled(self.scaler_, rows.x[part], dtype), targets[part], weight[part])
            for part in (train, held_out)
        ]
        self.network_, self.history_ = fit(
            self.network_ if warm else self._network(out_size, seed, policy),
            data[0],
            validation=data[1] if len(held_out) else None,
            loss=loss,
            metric=self.metric,
            optimizer=self.optimizer,
            proposer=self.proposer,
            policy=policy,
            schedule=schedule,
            callbacks=[*self.callbacks, *self._progress()],
            seed=seed,
            resume=checkpoint and checkpoint.state(make_optimizer(self.optimizer)),
        )
        self.validation_rows_ = rows.kept[held_out]
        self.n_samples_seen_ = len(train) + (self.n_samples_seen_ if warm else 0)
        self._online = None
        if self.history_.stop_reason.startswith(NOT_FINITE):
            warnings.warn(
                f"Training ended early, at the last good network: {self.history_.stop_reason}. "
                "Rescale the data (standardize=True) or lower the learning rate.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _learn(self, rows: Rows, targets: np.ndarray, loss: AbstractLoss) -> None:
        """Go on training, with one pass over these rows."""
        online = self._online or OnlineTraining(self.network_, self._seed(), self.n_samples_seen_)
        dtype = training_dtype()
        self._online = online
        self.network_, self.history_ = online.learn(
            (scaled(self.scaler_, rows.x, dtype), targets, rows.weight.astype(dtype)),
            loss=loss,
            metric=self.metric,
            optimizer=make_optimizer(self.optimizer),
            proposer=self.proposer,
            policy=self._policy(),
            batch_size=self.batch_size,
            callbacks=[*self.callbacks, *self._progress()],
        )
        self.n_samples_seen_ += len(rows.x)

    def _start(self, rows: Rows, out_size: int) -> None:
        """A network that has seen nothing yet; the first rows set the scale of the inputs."""
        self.scaler_ = self._scaler(rows.x, rows.weight)
        self.network_ = self._network(out_size, self._seed(), self._policy())
        self.history_, self.n_samples_seen_, self._online = History(), 0, None

    def _scaler(self, x: np.ndarray, weight: np.ndarray) -> StandardScaler | None:
        if not self.standardize:
            return None
        return StandardScaler().fit(x.astype(np.float64, copy=False), sample_weight=weight)

    def _network(self, out_size: int, seed: int, policy: Policy) -> MLP:
        sizes = tuple(self.hidden_sizes)
        return MLP(
            self.n_features_in_,
            out_size,
            sizes,
            key=key_of(seed),
            activation=self.activation,
            capacity=next_capacity(max(sizes, default=1), limit=policy.max_units),
        )

    def _policy(self) -> Policy:
        given = {
            "max_units": self.max_units,
            "max_layers": self.max_layers,
            "max_parameters": self.max_parameters,
            "max_seconds": _float(self.max_seconds),
            "plateau": self.n_iter_no_change,
        }
        given = {name: value for name, value in given.items() if value is not None}
        return replace(self.policy or Policy(), **given)

    def _progress(self) -> list[Progress]:
        score = "accuracy" if is_classifier(self) else "R²"
        shown = Progress(score=score, max_seconds=_float(self.max_seconds))
        return [shown] if self.verbose else []

    def _schedule(self) -> Schedule:
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must be in [0, 1); got {self.validation_fraction!r}."
            )
        schedule = Schedule(
            max_epochs=_float(self.max_iter),
            max_seconds=_float(self.max_seconds),
            batch_size=self.batch_size,
            tolerance=float(self.tol),
        )
        if self.optimizer == "natural_gradient":  # the paper keeps its rate, a low one
            return replace(schedule, anneal_epochs=None)
        return schedule

    # --- prediction -----------------------------------------------------------------------

    def _outputs(self, X: Any) -> np.ndarray:
        """The network's outputs in float64, computed in the type of X (see `check_array`)."""
        check_is_fitted(self)
        x = self._checked(X, first=False)
        y = predict(self.network_, scaled(self.scaler_, x, x.dtype))
        overflow = ~np.isfinite(y).all(axis=1)
        if overflow.any():
            raise DataError(
                f"The outputs for {overflow.sum()} of {len(y)} rows overflow, the first of them "
                f"row {overflow.argmax()}: its features are too large, or the model is damaged."
            )
        return y


@dataclass(eq=False, repr=False, kw_only=True)
class SENNClassifier(ClassifierMixin, _BaseSENN):  # noqa: D101  it is composed
    __doc__ = f"""A classifier that chooses its own size: it starts small and grows as it trains.

    {(_BaseSENN.__doc__ or "").split(chr(10), 2)[2].strip()}
    class_weight : dict, "balanced" or None, default=None
        What the rows of each class weigh, by label, and 1 for those left out; "balanced" makes
        all classes weigh alike.

    Attributes
    ----------
    classes_ : labels, in the order of `predict_proba`'s columns.
    hidden_sizes_, n_parameters_ : what it grew to.
    history_ : the ledger, a `senn.History`.
    n_features_in_, feature_names_in_ : columns of X, and their names if X was a DataFrame.
    n_iter_ : passes over the data.
    n_samples_seen_ : rows learned from.
    network_ : the `senn.nn.MLP`.
    scaler_ : the `StandardScaler` of the inputs, or None.
    validation_rows_ : numbers of the rows kept apart for early stopping; only after `fit`.
    """

    class_weight: Mapping[Any, float] | str | None = None

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SENNClassifier":
        """Train on X [N, I] and labels y [N] of any kind. Ctrl-C ends it early, fitted.

        Rows whose weight in `sample_weight` [N] is 0 are left out.
        """
        return self._train(X, y, sample_weight)

    def _train(self, X: Any, y: Any, sample_weight: Any, checkpoint=None) -> "SENNClassifier":
        warm = self._continues()
        rows = self._rows(X, sample_weight, first=not warm)
        labels, classes = check_labels(y, rows, min_classes=1 if warm else 2)
        rows = rows._replace(weight=rows.weight * class_weights(self.class_weight, labels))
        if warm:
            self._add_classes(merged_classes(self.classes_, classes), rows)
        else:
            self.classes_ = classes
        codes, loss = self._codes(labels), SoftmaxCrossEntropy()
        self._fit(rows, codes, loss, len(self.classes_), checkpoint, stratify=True)
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> "SENNClassifier":
        """Go on training, and growing, with one pass over X [N, I] and labels y [N].

        Optimiser, running mean and the cadence of growth are as the call before left them; after
        `fit` or `senn.load` the optimiser starts anew. Classes never seen before are welcome in
        any call, and may be announced as `classes`; the network gets an output for each, and
        those of the others stay as they are, bit for bit. To begin with, no row at hand gives a
        new class a probability above 1 / (rows seen before + 1): nothing speaks for it yet, and
        natural gradient does not take longer for starting low.

        The scale of the inputs is that of the first call, whose rows should be like those to
        come. Weights are taken as they are. `max_iter`, `max_seconds`, `n_iter_no_change`,
        `tol` and `validation_fraction` are for `fit` alone.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} needs all rows at once; give partial_fit "
                "{label: weight} or sample_weight."
            )
        first = not self.__sklearn_is_fitted__()
        rows = self._rows(X, sample_weight, first=first, min_rows=1)
        labels, found = check_labels(y, rows, min_classes=1)
        rows = rows._replace(weight=rows.weight * class_weights(self.class_weight, labels))
        merged = merged_classes(None if first else self.classes_, found, classes)
        if first:
            self._start(rows, len(merged))
            self.classes_ = merged
        self._add_classes(merged, rows)
        self._learn(rows, self._codes(labels), SoftmaxCrossEntropy())
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [N, classes], columns in the order of `classes_`."""
        return softmax(self._outputs(X), axis=1)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities [N, classes]."""
        return log_softmax(self._outputs(X), axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row [N]."""
        y = self._outputs(X)
        return self.classes_[y.argmax(axis=1)]

    def _codes(self, labels: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.classes_, labels).astype(np.int32)

    def _add_classes(self, classes: np.ndarray, rows: Rows) -> None:
        """An output for each of `classes` that has none, improbable on the rows at hand."""
        new = np.flatnonzero(~np.isin(classes, self.classes_)).tolist()
        self.classes_ = classes
        if not new:
            return
        y = predict(self.network_, scaled(self.scaler_, rows.x, rows.x.dtype))
        least = np.logaddexp.reduce(y, axis=1).min()
        bias = float(least - np.log(max(self.n_samples_seen_, 1)))
        if self._online is None:
            self.network_ = add_outputs(self.network_, new, bias)
            return
        self._online.add_outputs(new, bias, make_optimizer(self.optimizer))
        self.network_ = self._online.network

    def _extra(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist()}

    def _restore(self, network, header, arrays) -> None:
        super()._restore(network, header, arrays)
        self.classes_ = np.array(header["classes"])
        if self.classes_.shape != (network.out_size,):
            raise ValueError(f"its classes have shape {self.classes_.shape}")


class SENNRegressor(RegressorMixin, _BaseSENN):  # noqa: D101  it is composed
    __doc__ = f"""A regressor that chooses its own size: it starts small and grows as it trains.

    Targets are standardised for training, so that thresholds and rates mean the same for all.

    {(_BaseSENN.__doc__ or "").split(chr(10), 2)[2].strip()}

    Attributes
    ----------
    hidden_sizes_, n_parameters_ : what it grew to.
    history_ : the ledger, a `senn.History`; its losses are of standardised targets.
    n_features_in_, feature_names_in_ : columns of X, and their names if X was a DataFrame.
    n_iter_ : passes over the data.
    n_samples_seen_ : rows learned from.
    network_ : the `senn.nn.MLP`; its outputs are standardised.
    scaler_, target_scaler_ : the `StandardScaler` of inputs (or None) and of targets.
    validation_rows_ : numbers of the rows kept apart for early stopping; only after `fit`.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SENNRegressor":
        """Train on X [N, I] and numbers y [N] or [N, O]. Ctrl-C ends it early, fitted.

        Rows whose weight in `sample_weight` [N] is 0 are left out.
        """
        return self._train(X, y, sample_weight)

    def _train(self, X: Any, y: Any, sample_weight: Any, checkpoint=None) -> "SENNRegressor":
        warm = self._continues()
        rows = self._rows(X, sample_weight, first=not warm)
        targets = self._targets(y, rows, first=not warm)
        self._fit(rows, targets, SquaredError(), targets.shape[1], checkpoint, stratify=False)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SENNRegressor":
        """Go on training, and growing, with one pass over X [N, I] and numbers y [N] or [N, O].

        Optimiser, running mean and the cadence of growth are as the call before left them; after
        `fit` or `senn.load` the optimiser starts anew. The scale of inputs and targets is that of
        the first call, whose rows should be like those to come. Weights are taken as they are.
        `max_iter`, `max_seconds`, `n_iter_no_change`, `tol` and `validation_fraction` are for
        `fit` alone.
        """
        first = not self.__sklearn_is_fitted__()
        rows = self._rows(X, sample_weight, first=first, min_rows=1)
        targets = self._targets(y, rows, first=first)
        if first:
            self._start(rows, targets.shape[1])
        self._learn(rows, targets, SquaredError())
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predictions [N], or [N, O] if `fit` got targets of that shape."""
        y = self._outputs(X)
        values = self.target_scaler_.inverse_transform(y)
        return values[:, 0] if self._one_output else values

    def __sklearn_tags__(self):  # noqa: D105
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _targets(self, y: Any, rows: Rows, *, first: bool) -> np.ndarray:
        """Standardised numbers [N, O]; the first rows that are seen set the scale."""
        checked = check_targets(y, rows.n_given, task="regression", dtype=np.float64)
        values = checked.y.reshape(rows.n_given, -1)[rows.kept]
        if first:
            self.target_scaler_ = StandardScaler().fit(values, sample_weight=rows.weight)
            self._one_output = np.asarray(y).ndim == 1
        known = self.target_scaler_.n_features_in_  # pyright: ignore[reportAttributeAccessIssue]
        if values.shape[1] != known:
            raise DataError(f"y has {values.shape[1]} outputs, but there were {known} before.")
        return np.asarray(self.target_scaler_.transform(values), training_dtype())

    def _extra(self) -> dict[str, Any]:
        return {"one_output": self._one_output}

    def _extra_arrays(self) -> dict[str, np.ndarray]:
        return scaler_arrays("target", self.target_scaler_)

    def _restore(self, network, header, arrays) -> None:
        super()._restore(network, header, arrays)
        self.target_scaler_ = scaler_from("target", arrays, network.out_size)
        self._one_output = header["one_output"]


ESTIMATORS = {cls.__name__: cls for cls in (SENNClassifier, SENNRegressor)}


def load(path: str | os.PathLike[str]) -> SENNClassifier | SENNRegressor:
    """The estimator that `save` wrote to `path`.

    Raises a `senn.checkpoint.ModelFileError` if the file is no model. Parameters that are
    objects (an optimiser, a policy) come back as their defaults; they matter for training alone.
    """
    return read_estimator(path, ESTIMATORS)


def _float(value: float | int | None) -> float | None:
    return None if value is None else float(value)
