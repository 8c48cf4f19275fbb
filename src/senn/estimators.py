"""SENN for people who know scikit-learn."""

import os
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from senn.callbacks import Callback
from senn.callbacks.progress import Progress
from senn.checkpoint import ModelFileError, read_model, write_model
from senn.datasets import DataError, Features, check_features, check_targets
from senn.evaluation import outputs
from senn.history import History
from senn.losses import SoftmaxCrossEntropy, SquaredError
from senn.nn import MLP
from senn.nn.network import next_capacity
from senn.optimizers import make_optimizer
from senn.policy import Policy
from senn.readers import first_sentence
from senn.resume import Checkpoint
from senn.training import NOT_FINITE, Schedule, fit

MIN_ROWS = 2
LARGEST_RAW = 1e18  # of inputs that are not standardised; float32 holds the squares up to 1.8e19
MIN_VALIDATION_ROWS = 10  # a smaller split tells too little to stop by


class _BaseSENN(BaseEstimator):
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
        learning rate is annealed, and training stops. None is the policy's (5).
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
    random_state : int, RandomState or None, default=None
        Seed of the start, the split, the order of the data and the search.
    """

    def __init__(
        self,
        hidden_sizes: Sequence[int] = (10,),
        *,
        activation: str = "rational",
        max_units: int | None = None,
        max_layers: int | None = None,
        max_parameters: int | None = None,
        max_seconds: float | None = None,
        optimizer: Any = "kfac",
        metric: str | None = None,
        proposer: Any = None,
        policy: Policy | None = None,
        batch_size: int = 512,
        max_iter: int | None = None,
        n_iter_no_change: int | None = None,
        tol: float = 1e-3,
        validation_fraction: float = 0.1,
        standardize: bool = True,
        verbose: int = 0,
        callbacks: Sequence[Callback] = (),
        random_state: Any = None,
    ):
        self.hidden_sizes = hidden_sizes
        self.activation = activation
        self.max_units = max_units
        self.max_layers = max_layers
        self.max_parameters = max_parameters
        self.max_seconds = max_seconds
        self.optimizer = optimizer
        self.metric = metric
        self.proposer = proposer
        self.policy = policy
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.validation_fraction = validation_fraction
        self.standardize = standardize
        self.verbose = verbose
        self.callbacks = callbacks
        self.random_state = random_state

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

    def resume(self, checkpoint: Checkpoint, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Go on with a run of `fit` that was ended early, and end as it would have ended.

        `senn.runs.RunWriter`, as one of the `callbacks`, keeps checkpoints of a run, and
        `senn.runs.last_checkpoint` reads them. Parameters and data must be those of the run,
        with a whole number as `random_state`; a `senn.state.ResumeError` says so of other data.
        """
        return self._learn(X, y, sample_weight, checkpoint)

    @abstractmethod
    def _learn(
        self, x: Any, y: Any, sample_weight: Any, checkpoint: Checkpoint | None = None
    ) -> Any:
        """`fit`, or `resume` from a checkpoint."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file (safetensors with a JSON header; no pickle)."""
        check_is_fitted(self)
        extra = {
            "estimator": type(self).__name__,
            "params": _json_params(self),
            "feature_names": self.feature_names_,
            "standardize": self.scaler_ is not None,
            **self._extra(),
        }
        arrays = {} if self.scaler_ is None else _scaler_arrays("input", self.scaler_)
        write_model(path, self.network_, extra, {**arrays, **self._extra_arrays()})

    def _fit(
        self,
        x: Any,
        targets: np.ndarray,
        loss,
        out_size: int,
        sample_weight,
        checkpoint: Checkpoint | None,
        stratify,
    ):
        """Train on checked targets: classes [N] or standardised numbers [N, O]."""
        policy, schedule = self._policy(), self._schedule()
        features = check_features(x, min_rows=MIN_ROWS)
        if not self.standardize:
            _refuse_huge(features)
        rng = check_random_state(self.random_state)
        seed = int(rng.randint(2**31 - 1))
        weight = _weights(sample_weight, len(features.x))
        train, held_out = _split(self.validation_fraction, targets, stratify, seed)
        self.validation_rows_ = held_out
        self.scaler_ = None
        if self.standardize:
            self.scaler_ = StandardScaler().fit(
                features.x[train].astype(np.float64), sample_weight=weight[train]
            )
        self.n_features_in_ = features.x.shape[1]
        self.feature_names_ = list(features.names)
        data = [(self._inputs(features.x[r]), targets[r], weight[r]) for r in (train, held_out)]
        sizes = tuple(self.hidden_sizes)
        network = MLP(
            self.n_features_in_,
            out_size,
            sizes,
            key=jax.random.key(seed),
            activation=self.activation,
            capacity=next_capacity(max(sizes, default=1), limit=policy.max_units),
        )
        callbacks = [*self.callbacks, *self._progress()]
        self.network_, self.history_ = fit(
            network,
            data[0],
            validation=data[1] if len(held_out) else None,
            loss=loss,
            metric=self.metric,
            optimizer=self.optimizer,
            proposer=self.proposer,
            policy=policy,
            schedule=schedule,
            callbacks=callbacks,
            seed=seed,
            resume=checkpoint and checkpoint.state(make_optimizer(self.optimizer)),
        )
        if self.history_.stop_reason.startswith(NOT_FINITE):
            warnings.warn(
                f"Training ended early, at the last good network: {self.history_.stop_reason}. "
                "Rescale the data (standardize=True) or lower the learning rate.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

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

    def _inputs(self, x: np.ndarray) -> np.ndarray:
        """Inputs as the network sees them, float32."""
        if self.scaler_ is None or len(x) == 0:
            return x
        return np.asarray(self.scaler_.transform(x.astype(np.float64)), np.float32)

    def _outputs(self, x: Any) -> np.ndarray:
        check_is_fitted(self)
        features = check_features(x)
        if features.x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {features.x.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        y = outputs(self.network_, self._inputs(features.x)).astype(np.float64)
        overflow = ~np.isfinite(y).all(axis=1)
        if overflow.any():
            raise DataError(
                f"The outputs for {overflow.sum()} of {len(y)} rows overflow, the first of them "
                f"row {overflow.argmax()}: its features are too large, or the model is damaged."
            )
        return y

    def _extra(self) -> dict[str, Any]:
        return {}

    def _extra_arrays(self) -> dict[str, np.ndarray]:
        return {}

    def _restore(self, network: MLP, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.network_, self.history_ = network, History(stop_reason="loaded from a file")
        self.n_features_in_ = network.in_size
        self.feature_names_ = header["feature_names"]
        if [type(name) for name in self.feature_names_] != [str] * network.in_size:
            raise ValueError(f"its feature names are not {network.in_size} texts")
        scaled = header["standardize"]
        self.scaler_ = _scaler("input", arrays, network.in_size) if scaled else None


class SENNClassifier(ClassifierMixin, _BaseSENN):  # noqa: D101  it is composed
    __doc__ = f"""A classifier that chooses its own size: it starts small and grows as it trains.

    {(_BaseSENN.__doc__ or "").split(chr(10), 2)[2].strip()}

    Attributes
    ----------
    classes_ : labels, in the order of `predict_proba`'s columns.
    hidden_sizes_, n_parameters_ : what it grew to.
    history_ : the ledger, a `senn.History`.
    network_ : the `senn.nn.MLP`.
    scaler_ : the `StandardScaler` of the inputs, or None.
    validation_rows_ : numbers of the rows kept apart for early stopping; only after `fit`.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SENNClassifier":
        """Train on X [N, I] and labels y [N] of any kind. Ctrl-C ends it early, fitted."""
        return self._learn(X, y, sample_weight)

    def _learn(self, x: Any, y: Any, sample_weight: Any, checkpoint=None) -> "SENNClassifier":
        targets = check_targets(y, len(x) if hasattr(x, "__len__") else None, task="classification")
        assert targets.classes is not None
        self.classes_ = targets.classes
        loss, out_size = SoftmaxCrossEntropy(), len(self.classes_)
        return self._fit(x, targets.y, loss, out_size, sample_weight, checkpoint, stratify=True)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [N, classes], columns in the order of `classes_`."""
        return softmax(self._outputs(X), axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row [N]."""
        y = self._outputs(X)
        return self.classes_[y.argmax(axis=1)]

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
    network_ : the `senn.nn.MLP`; its outputs are standardised.
    scaler_, target_scaler_ : the `StandardScaler` of inputs (or None) and of targets.
    validation_rows_ : numbers of the rows kept apart for early stopping; only after `fit`.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SENNRegressor":
        """Train on X [N, I] and numbers y [N] or [N, O]. Ctrl-C ends it early, fitted."""
        return self._learn(X, y, sample_weight)

    def _learn(self, x: Any, y: Any, sample_weight: Any, checkpoint=None) -> "SENNRegressor":
        targets = check_targets(y, len(x) if hasattr(x, "__len__") else None, task="regression")
        values = targets.y.reshape(len(targets.y), -1).astype(np.float64)
        weight = _weights(sample_weight, len(values))
        self.target_scaler_ = StandardScaler().fit(values, sample_weight=weight)
        self._one_output = np.ndim(y) == 1
        scaled = np.asarray(self.target_scaler_.transform(values), np.float32)
        loss, out_size = SquaredError(), scaled.shape[1]
        return self._fit(x, scaled, loss, out_size, sample_weight, checkpoint, stratify=False)

    def predict(self, X: Any) -> np.ndarray:
        """Predictions [N], or [N, O] if `fit` got targets of that shape."""
        y = self._outputs(X)
        values = self.target_scaler_.inverse_transform(y)
        return values[:, 0] if self._one_output else values

    def _extra(self) -> dict[str, Any]:
        return {"one_output": self._one_output}

    def _extra_arrays(self) -> dict[str, np.ndarray]:
        return _scaler_arrays("target", self.target_scaler_)

    def _restore(self, network, header, arrays) -> None:
        super()._restore(network, header, arrays)
        self.target_scaler_ = _scaler("target", arrays, network.out_size)
        self._one_output = header["one_output"]


ESTIMATORS = {cls.__name__: cls for cls in (SENNClassifier, SENNRegressor)}


def load(path: str | os.PathLike[str]) -> SENNClassifier | SENNRegressor:
    """The estimator that `save` wrote to `path`.

    Raises a `senn.checkpoint.ModelFileError` if the file is no model. Parameters that are
    objects (an optimiser, a policy) come back as their defaults; they matter for `fit` alone.
    """
    network, header, arrays = read_model(path)
    cls = ESTIMATORS.get(str(header.get("estimator")))
    if cls is None:
        raise ModelFileError(f"{str(path)!r} holds a network, but no estimator.")
    try:
        names = cls._get_param_names()
        estimator = cls(**{k: v for k, v in header["params"].items() if k in names})
        estimator._restore(network, header, arrays)
    except KeyError as error:
        raise ModelFileError(f"{str(path)!r} is damaged: it lacks {error}.") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelFileError(f"{str(path)!r} is damaged ({first_sentence(error)}).") from error
    return estimator


def _refuse_huge(features: Features) -> None:
    """Refuse inputs that are used as they are and whose squares come near to overflow."""
    size = np.abs(features.x).max(axis=0)
    if size.max() > LARGEST_RAW:
        raise DataError(
            f"The features have values up to {size.max():.3g} in column "
            f"{features.names[size.argmax()]!r}, of which the squares overflow: "
            "say standardize=True, or rescale first."
        )


def _float(value: float | int | None) -> float | None:
    return None if value is None else float(value)


def _json_params(estimator: _BaseSENN) -> dict[str, Any]:
    params = estimator.get_params(deep=False)
    params["hidden_sizes"] = [int(n) for n in params["hidden_sizes"]]
    plain = (str, int, float, bool, list, type(None))
    return {k: v for k, v in params.items() if isinstance(v, plain)}


def _weights(sample_weight: Any, n: int) -> np.ndarray:
    """Weights [N] float32 with mean one."""
    if sample_weight is None:
        return np.ones(n, np.float32)
    weight = np.asarray(sample_weight, np.float64)
    if weight.shape != (n,) or not np.isfinite(weight).all() or (weight < 0).any():
        raise DataError(
            f"sample_weight must be {n} finite numbers of 0 or above, one a row; "
            f"got shape {weight.shape}."
        )
    if not weight.sum() > 0:
        raise DataError("sample_weight is zero for every row; leave some rows to learn from.")
    return (weight / weight.mean()).astype(np.float32)


def _split(fraction: float, targets: np.ndarray, stratify: bool, seed: int):
    """Row numbers for training and for validation."""
    rows = np.arange(len(targets))
    if round(fraction * len(rows)) < MIN_VALIDATION_ROWS:
        return rows, rows[:0]
    classes = targets if stratify and np.bincount(targets).min() >= 2 else None
    if classes is not None and round(fraction * len(rows)) < len(np.unique(classes)):
        classes = None
    return train_test_split(rows, test_size=fraction, random_state=seed, stratify=classes)


def _scaler_arrays(name: str, scaler: StandardScaler) -> dict[str, np.ndarray]:
    return {f"{name}_mean": scaler.mean_, f"{name}_scale": scaler.scale_}  # pyright: ignore[reportReturnType]


def _scaler(name: str, arrays: dict[str, np.ndarray], size: int) -> StandardScaler:
    scaler = StandardScaler()
    scaler.mean_, scaler.scale_ = arrays[f"{name}_mean"], arrays[f"{name}_scale"]
    for array in (scaler.mean_, scaler.scale_):
        if array.shape != (size,) or array.dtype != float or not np.isfinite(array).all():
            raise ValueError(f"its {name} scaler is not {size} finite numbers each")
    if not (scaler.scale_ > 0).all():
        raise ValueError(f"its {name} scaler divides by what is not above 0")
    with np.errstate(over="ignore"):
        scaler.var_ = scaler.scale_**2
    scaler.n_features_in_ = len(scaler.mean_)  # pyright: ignore[reportAttributeAccessIssue]
    return scaler
