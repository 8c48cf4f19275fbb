"""How the learners of `senn.learner` train. This loads JAX; predictions do without."""

import sys
import warnings
from dataclasses import replace
from numbers import Integral
from typing import Any

import jax.numpy as jnp
import numpy as np

from senn import settings
from senn.arrays import key_of
from senn.batches import Batch
from senn.callbacks.progress import Progress
from senn.checkpoints import Checkpoint
from senn.datasets import DataError, check_targets
from senn.expand import add_outputs
from senn.history import Ending, History
from senn.losses import AbstractLoss, SoftmaxCrossEntropy, SquaredError
from senn.nn import MLP
from senn.nn.network import next_capacity
from senn.online import OnlineTraining
from senn.optimizers import make_optimizer
from senn.policy import Policy
from senn.prediction import ClassPredictor, Scale
from senn.preparation import (
    Rows,
    check_labels,
    class_weights,
    merged_classes,
    scale_of,
    scaled,
    split,
)
from senn.training import Schedule, fit


def fit_anew(
    estimator: Any, X: Any, y: Any, sample_weight: Any, checkpoint: Checkpoint | None = None
) -> Any:
    """`fit`, or `resume` from a checkpoint; the estimator, fitted."""
    train = _fit_labels if _classifies(estimator) else _fit_numbers
    train(estimator, X, y, sample_weight, checkpoint)
    return estimator


def _fit_labels(
    estimator: Any, X: Any, y: Any, sample_weight: Any, checkpoint: Checkpoint | None
) -> None:
    warm = _continues(estimator)
    rows = estimator._rows(X, sample_weight, first=not warm)
    labels, classes = check_labels(y, rows, min_classes=1 if warm else 2)
    rows = rows._replace(weight=rows.weight * class_weights(estimator.class_weight, labels))
    if warm:
        _add_classes(estimator, merged_classes(estimator.classes_, classes), rows)
    else:
        estimator.classes_ = classes
    codes = _codes(estimator, labels)
    _fit(estimator, rows, codes, SoftmaxCrossEntropy(), len(estimator.classes_), checkpoint)


def _fit_numbers(
    estimator: Any, X: Any, y: Any, sample_weight: Any, checkpoint: Checkpoint | None
) -> None:
    warm = _continues(estimator)
    rows = estimator._rows(X, sample_weight, first=not warm)
    targets = _targets(estimator, y, rows, first=not warm)
    _fit(estimator, rows, targets, SquaredError(), targets.shape[1], checkpoint)


def go_on_with_labels(estimator: Any, X: Any, y: Any, classes: Any, sample_weight: Any) -> Any:
    """`partial_fit` of a classifier; the estimator."""
    if isinstance(estimator.class_weight, str):
        raise ValueError(
            f"class_weight={estimator.class_weight!r} needs all rows at once; give partial_fit "
            "{label: weight} or sample_weight."
        )
    first = not estimator.__sklearn_is_fitted__()
    rows = estimator._rows(X, sample_weight, first=first, at_once=False)
    labels, found = check_labels(y, rows, min_classes=1)
    rows = rows._replace(weight=rows.weight * class_weights(estimator.class_weight, labels))
    merged = merged_classes(None if first else estimator.classes_, found, classes)
    if first:
        _start(estimator, rows, len(merged))
        estimator.classes_ = merged
    _add_classes(estimator, merged, rows)
    learn(estimator, rows, _codes(estimator, labels), SoftmaxCrossEntropy())
    return estimator


def go_on_with_numbers(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Any:
    """`partial_fit` of a regressor; the estimator."""
    first = not estimator.__sklearn_is_fitted__()
    rows = estimator._rows(X, sample_weight, first=first, at_once=False)
    targets = _targets(estimator, y, rows, first=first)
    if first:
        _start(estimator, rows, targets.shape[1])
    learn(estimator, rows, targets, SquaredError())
    return estimator


# --- steps of training ---------------------------------------------------------------------


def _fit(
    estimator: Any,
    rows: Rows,
    targets: np.ndarray,
    loss: AbstractLoss,
    out_size: int,
    checkpoint: Checkpoint | None,
) -> None:
    """Train on checked targets: class codes [N] or standardised numbers [N, O]."""
    policy, schedule, seed = _policy(estimator), _schedule(estimator), _seed(estimator)
    warm, dtype = _continues(estimator), _training_dtype()
    weight = (rows.weight / rows.weight.mean()).astype(dtype)
    classes = targets if _classifies(estimator) else None
    train, held_out = split(estimator.validation_fraction, classes, len(targets), seed)
    if not warm:
        estimator.scaler_ = _scale(estimator, rows.x[train], weight[train])
    data = [  # batches at once: no second copy of a large table is kept
        Batch.on_host(
            scaled(estimator._input_scale, rows.x[part], dtype), targets[part], weight[part]
        )
        for part in (train, held_out)
    ]
    estimator.network_, estimator.history_ = fit(
        estimator.network_ if warm else _network(estimator, rows, out_size, seed, policy),
        data.pop(0),  # not held here any more: `fit` makes a copy of its own
        validation=data[0] if len(held_out) else None,
        loss=loss,
        metric=estimator.metric,
        optimizer=estimator.optimizer,
        proposer=estimator.proposer,
        policy=policy,
        schedule=schedule,
        callbacks=[*settings.callbacks(estimator.callbacks), *_progress(estimator)],
        seed=seed,
        resume=checkpoint and checkpoint.state(make_optimizer(estimator.optimizer)),
    )
    estimator.validation_rows_ = rows.kept[held_out]
    estimator.n_samples_seen_ = len(train) + (estimator.n_samples_seen_ if warm else 0)
    estimator._online = None
    if estimator.history_.ended_by == Ending.INTERRUPTED and _is_part_of_more():
        raise KeyboardInterrupt
    if estimator.history_.ended_by == Ending.NOT_FINITE:
        from sklearn.exceptions import ConvergenceWarning  # loads scikit-learn

        warnings.warn(
            f"Training ended early, at the last good network: {estimator.history_.stop_reason}. "
            "Rescale the data (standardize=True) or lower the learning rate.",
            ConvergenceWarning,
            stacklevel=5,
        )


def _is_part_of_more() -> bool:
    """Whether scikit-learn or joblib called, which have more to do: Ctrl-C is to end that too.

    A search would go on with the next candidate, and take the score of a half-trained one for its
    own. Whoever calls `fit` themselves keeps what was learned.
    """
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in ("sklearn", "joblib"):
            return True
        frame = frame.f_back
    return False


def learn(estimator: Any, rows: Rows, targets: np.ndarray, loss: AbstractLoss) -> None:
    """Go on training, with one pass over these rows."""
    online = estimator._online or OnlineTraining(
        estimator.network_, _seed(estimator), estimator.n_samples_seen_
    )
    dtype = _training_dtype()
    estimator._online = online
    estimator.network_, estimator.history_ = online.learn(
        (scaled(estimator._input_scale, rows.x, dtype), targets, rows.weight.astype(dtype)),
        loss=loss,
        metric=estimator.metric,
        optimizer=make_optimizer(estimator.optimizer),
        proposer=estimator.proposer,
        policy=_policy(estimator),
        batch_size=settings.batch_size(estimator.batch_size),
        callbacks=[*settings.callbacks(estimator.callbacks), *_progress(estimator)],
    )
    estimator.n_samples_seen_ += len(rows.x)


def _start(estimator: Any, rows: Rows, out_size: int) -> None:
    """A network that has seen nothing yet; the first rows set the scale of the inputs."""
    estimator.scaler_ = _scale(estimator, rows.x, rows.weight)
    estimator.network_ = _network(estimator, rows, out_size, _seed(estimator), _policy(estimator))
    estimator.history_, estimator.n_samples_seen_, estimator._online = History(), 0, None


def _scale(estimator: Any, x: np.ndarray, weight: np.ndarray) -> Scale | None:
    return scale_of(x, weight) if estimator.standardize else None


def _network(estimator: Any, rows: Rows, out_size: int, seed: int, policy: Policy) -> MLP:
    in_size, activation = rows.x.shape[1], estimator.activation
    sizes = settings.hidden_sizes(estimator.hidden_sizes)
    sizes = settings.within_budgets(sizes, policy, activation, in_size, out_size)
    return MLP(
        in_size,
        out_size,
        sizes,
        key=key_of(seed),
        activation=activation,
        capacity=next_capacity(max(sizes, default=1), limit=policy.max_units),
    )


def _policy(estimator: Any) -> Policy:
    given = {
        "max_units": estimator.max_units,
        "max_layers": estimator.max_layers,
        "max_parameters": estimator.max_parameters,
        "max_seconds": _float(estimator.max_seconds),
        "plateau": estimator.n_iter_no_change,
    }
    given = {name: value for name, value in given.items() if value is not None}
    return replace(estimator.policy or Policy(), **given)


def _progress(estimator: Any) -> list[Progress]:
    score = "accuracy" if _classifies(estimator) else "R²"
    shown = Progress(score=score, max_seconds=_float(estimator.max_seconds))
    return [shown] if estimator.verbose else []


def _schedule(estimator: Any) -> Schedule:
    if not 0 <= estimator.validation_fraction < 1:
        raise ValueError(
            f"validation_fraction must be in [0, 1); got {estimator.validation_fraction!r}."
        )
    schedule = Schedule(
        max_epochs=_float(estimator.max_iter),
        max_seconds=_float(estimator.max_seconds),
        batch_size=settings.batch_size(estimator.batch_size),
        tolerance=float(estimator.tol),
    )
    if estimator.optimizer == "natural_gradient":  # the paper keeps its rate, a low one
        return replace(schedule, anneal_epochs=None)
    return schedule


def _continues(estimator: Any) -> bool:
    return estimator.warm_start and estimator.__sklearn_is_fitted__()


def _seed(estimator: Any) -> int:
    state = estimator.random_state
    if isinstance(state, Integral):
        return int(np.random.RandomState(int(state)).randint(2**31 - 1))
    from sklearn.utils import check_random_state  # loads scikit-learn

    return int(check_random_state(state).randint(2**31 - 1))


def _classifies(estimator: Any) -> bool:
    return isinstance(estimator, ClassPredictor)


def _training_dtype() -> Any:
    """JAX's floating type: float32, or float64 where its `jax_enable_x64` is on."""
    return jnp.result_type(float)


# --- targets -------------------------------------------------------------------------------


def _codes(estimator: Any, labels: np.ndarray) -> np.ndarray:
    return np.searchsorted(estimator.classes_, labels).astype(np.int32)


def _add_classes(estimator: Any, classes: np.ndarray, rows: Rows) -> None:
    """An output for each of `classes` that has none, improbable on the rows at hand."""
    new = np.flatnonzero(~np.isin(classes, estimator.classes_)).tolist()
    estimator.classes_ = classes
    if not new:
        return
    y = estimator._plain.outputs(rows.x, estimator._input_scale)
    least = np.logaddexp.reduce(y, axis=1).min()
    bias = float(least - np.log(max(estimator.n_samples_seen_, 1)))
    if estimator._online is None:
        estimator.network_ = add_outputs(estimator.network_, new, bias)
        return
    estimator._online.add_outputs(new, bias, make_optimizer(estimator.optimizer))
    estimator.network_ = estimator._online.network


def _targets(estimator: Any, y: Any, rows: Rows, *, first: bool) -> np.ndarray:
    """Standardised numbers [N, O]; the first rows that are seen set the scale."""
    checked = check_targets(y, rows.n_given, task="regression", dtype=np.float64)
    values = checked.y.reshape(rows.n_given, -1)[rows.kept]
    if first:
        estimator.target_scaler_ = scale_of(values, rows.weight)
        estimator._one_output = np.asarray(y).ndim == 1
    known = len(estimator._target_scale[0])
    if values.shape[1] != known:
        raise DataError(f"y has {values.shape[1]} outputs, but there were {known} before.")
    return scaled(estimator._target_scale, values, _training_dtype())


def _float(value: float | int | None) -> float | None:
    return None if value is None else float(value)
