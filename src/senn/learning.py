"""How the learners of `senn.learner` train. This loads JAX; predictions do without."""

import sys
import warnings
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

from senn import goals, imaging, settings, streaming, tables
from senn.annealing import rules_for
from senn.arrays import key_of
from senn.batches import Batch
from senn.callbacks.progress import Progress
from senn.checkpoints import Checkpoint
from senn.devices import mesh_of
from senn.ensemble import joined
from senn.finishing import Finish, finished
from senn.history import Ending, History
from senn.losses import AbstractLoss, BinaryCrossEntropy, SoftmaxCrossEntropy, SquaredError
from senn.nn import MLP, ConvNet
from senn.nn.network import next_capacity
from senn.nn.stored import plain
from senn.online import OnlineTraining
from senn.optimizers import AbstractOptimizer, make_optimizer
from senn.policy import Policy
from senn.prediction import ClassPredictor
from senn.preparation import Rows, merged_classes, split
from senn.rescaling import Inputs, most_inputs, robust, seen, standardised, width_of
from senn.training import Schedule, fit


def fit_anew(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    checkpoint: Checkpoint | None = None,
    stream: Any = None,
) -> Any:
    """`fit`, or `resume` from a checkpoint; the estimator, fitted.

    With a `stream` (`senn.datasets.streamed`) X and y are its sample, and the steps see all rows.
    """
    train = _fit_labels if _classifies(estimator) else _fit_numbers
    train(estimator, X, y, sample_weight, checkpoint, stream)
    return estimator


def _fit_labels(
    estimator: Any, X: Any, y: Any, sample_weight: Any, checkpoint: Checkpoint | None, stream: Any
) -> None:
    warm = _continues(estimator)
    rows = estimator._rows(X, sample_weight, first=not warm)
    if goals.are_several(y):
        targets = goals.indicators(estimator, y, rows, first=not warm)
    else:
        labels, found, rows = goals.one_label(
            estimator, y, rows, first=not warm, min_classes=1 if warm else 2
        )
        if warm:
            goals.add_classes(estimator, merged_classes(estimator.classes_, found), rows)
        else:
            estimator.classes_ = found
        targets = goals.codes(estimator, labels)
    loss = goals.loss_of_classes(estimator)
    _fit(estimator, rows, targets, loss, len(estimator.classes_), checkpoint, stream)


def _fit_numbers(
    estimator: Any, X: Any, y: Any, sample_weight: Any, checkpoint: Checkpoint | None, stream: Any
) -> None:
    warm = _continues(estimator)
    rows = estimator._rows(X, sample_weight, first=not warm)
    targets = goals.numbers(estimator, y, rows, first=not warm)
    _fit(estimator, rows, targets, SquaredError(), targets.shape[1], checkpoint, stream)


def go_on_with_labels(estimator: Any, X: Any, y: Any, classes: Any, sample_weight: Any) -> Any:
    """`partial_fit` of a classifier; the estimator."""
    if isinstance(estimator.class_weight, str):
        raise ValueError(
            f"class_weight={estimator.class_weight!r} needs all rows at once; give partial_fit "
            "{label: weight} or sample_weight."
        )
    imaging.refuse_streams(estimator)
    first = not estimator.__sklearn_is_fitted__()
    rows = estimator._rows(X, sample_weight, first=first, at_once=False)
    if goals.are_several(y):
        targets = goals.indicators(estimator, y, rows, first=first, announced=classes)
        if first:
            _start(estimator, rows, targets.shape[1])
        learn(estimator, rows, targets, BinaryCrossEntropy())
        return estimator
    labels, found, rows = goals.one_label(estimator, y, rows, first=first, min_classes=1)
    merged = merged_classes(None if first else estimator.classes_, found, classes)
    if first:
        _start(estimator, rows, len(merged))
        estimator.classes_ = merged
    goals.add_classes(estimator, merged, rows)
    learn(estimator, rows, goals.codes(estimator, labels), SoftmaxCrossEntropy())
    return estimator


def go_on_with_numbers(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Any:
    """`partial_fit` of a regressor; the estimator."""
    imaging.refuse_streams(estimator)
    first = not estimator.__sklearn_is_fitted__()
    rows = estimator._rows(X, sample_weight, first=first, at_once=False)
    targets = goals.numbers(estimator, y, rows, first=first)
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
    stream: Any,
) -> None:
    """Train on checked targets: class codes [N] or standardised numbers [N, O]."""
    warm, seed = _continues(estimator), _seed(estimator)
    _check_members(estimator, warm or checkpoint is not None)
    imaging.check_settings(estimator)
    weight = (rows.weight / rows.weight.mean()).astype(goals.training_dtype())
    if estimator.n_estimators > 1:  # members read the same inputs, and keep apart other rows
        estimator._inputs = _inputs(estimator, rows.x, weight)
    more = np.random.default_rng(seed).integers(2**31 - 1, size=estimator.n_estimators - 1)
    members, estimator.histories_ = [], []
    for k, own_seed in enumerate([seed, *more.tolist()]):
        network, history, held_out = _fit_one(
            estimator, (rows.x, targets, weight), loss, out_size, own_seed, checkpoint, stream
        )
        members.append(network)
        estimator.histories_.append(history)
        if k == 0:
            estimator.validation_rows_ = rows.kept[held_out]
        if history.ended_by == Ending.INTERRUPTED:
            break
    seen_before = estimator.n_samples_seen_ if warm else 0
    estimator.history_, estimator._online = estimator.histories_[0], None
    apart = 0 if estimator.history_.refit_steps else len(estimator.validation_rows_)
    n_seen = len(targets) - apart if stream is None else stream.rows
    estimator.n_samples_seen_ = seen_before + n_seen
    if len(members) == 1:
        estimator.network_ = members[0]
    else:
        estimator._plain = joined([plain(network) for network in members])
    _warn_of_loss(estimator.histories_)


def _fit_one(
    estimator: Any,
    data: tuple[np.ndarray, np.ndarray, np.ndarray],
    loss: AbstractLoss,
    out_size: int,
    seed: int,
    checkpoint: Checkpoint | None,
    stream: Any,
) -> tuple[Any, History, np.ndarray]:
    """One network trained on X, targets and weights; its ledger, and the rows it kept apart."""
    x, targets, weight = data
    policy, warm = _policy(estimator, tables.policy_of(estimator)), _continues(estimator)
    classes = targets if _classifies(estimator) and targets.ndim == 1 else None
    if stream is None:
        train, held_out = split(estimator.validation_fraction, classes, len(targets), seed)
        rule, plan = _rule_and_finish(estimator, len(held_out))
    else:  # of many rows, a few more steps on a tenth more tell nothing
        train, held_out = streaming.parts(stream, len(targets))
        rule, plan = make_optimizer(estimator.optimizer), Finish()
    if not warm and estimator.n_estimators == 1:
        estimator._inputs = _inputs(estimator, x[train], weight[train])

    def batch(part: Any = slice(None)) -> Batch:
        rows = seen(estimator._inputs, x[part], goals.training_dtype())
        return Batch.on_host(rows, targets[part], weight[part])

    common = {
        "loss": loss, "metric": estimator.metric, "optimizer": rule, "seed": seed,
        "in_slots": _in_slots(estimator, x), "mesh": mesh_of(estimator.devices),
    }  # fmt: skip
    kept, size = batch(held_out), imaging.batch_size_of(estimator)
    schedule = _schedule(estimator, bool(plan.rules) and len(train) <= tables.FEW_ROWS)
    source = None
    if stream is not None:
        source = streaming.source_of(estimator, stream, x[train], targets[train], size)
        schedule = streaming.paced(schedule, source.steps_per_epoch)
    network, history = fit(
        estimator.network_ if warm else _network(estimator, x, out_size, seed, policy),
        # Not held here: `fit` makes a copy of its own.
        batch(train) if source is None else source,
        validation=kept if len(held_out) else None,
        proposer=estimator.proposer or (imaging.PROPOSER if estimator._image_shape else None),
        policy=policy,
        schedule=schedule,
        callbacks=[*settings.callbacks(estimator.callbacks), *_progress(estimator)],
        augment=estimator.augment,
        resume=checkpoint and checkpoint.state(make_optimizer(estimator.optimizer)),
        **common,
    )
    rows = (lambda: batch(train), kept, batch)
    network = finished(network, history, rows, plan, batch_size=size, **common)
    if history.ended_by == Ending.INTERRUPTED and _is_part_of_more():
        raise KeyboardInterrupt
    return network, history, held_out


def _check_members(estimator: Any, goes_on: bool) -> None:
    """Refuse an ensemble that there cannot be."""
    n = estimator.n_estimators
    if not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n_estimators must be a whole number of at least 1; got {n!r}.")
    if n > 1 and goes_on:
        raise ValueError(
            f"n_estimators={n} is for a fit from the start: warm_start and resume go on with one "
            "network, n_estimators=1."
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


def _warn_of_loss(histories: list[History]) -> None:
    for history in histories:
        if history.ended_by == Ending.NOT_FINITE:
            from sklearn.exceptions import ConvergenceWarning  # loads scikit-learn

            warnings.warn(
                f"Training ended early, at the last good network: {history.stop_reason}. "
                "Rescale the data (standardize=True) or lower the learning rate.",
                ConvergenceWarning,
                stacklevel=6,
            )


def learn(estimator: Any, rows: Rows, targets: np.ndarray, loss: AbstractLoss) -> None:
    """Go on training, with one pass over these rows."""
    online = estimator._online or OnlineTraining(
        estimator.network_, _seed(estimator), estimator.n_samples_seen_
    )
    dtype, optimizer = goals.training_dtype(), make_optimizer(estimator.optimizer)
    estimator._online = online
    inputs = online.prepared(estimator._inputs, rows.x, rows.weight, optimizer)
    estimator.network_, estimator._inputs = online.network, inputs
    estimator.network_, estimator.history_ = online.learn(
        (seen(inputs, rows.x, dtype), targets, rows.weight.astype(dtype)),
        loss=loss,
        metric=estimator.metric,
        optimizer=optimizer,
        proposer=estimator.proposer,
        policy=_policy(estimator, Policy()),
        batch_size=imaging.batch_size_of(estimator),
        callbacks=[*settings.callbacks(estimator.callbacks), *_progress(estimator)],
        mesh=mesh_of(estimator.devices),
    )
    estimator.n_samples_seen_ += len(rows.x)


def _start(estimator: Any, rows: Rows, out_size: int) -> None:
    """A network that has seen nothing yet; the first rows set the scale of the inputs.

    They may be few: nothing is coded, or bounded, by their quantiles.
    """
    estimator._inputs = standardised(rows.x, rows.weight) if estimator.standardize else None
    policy = _policy(estimator, Policy())
    estimator.network_ = _network(estimator, rows.x, out_size, _seed(estimator), policy)
    estimator.history_, estimator.n_samples_seen_, estimator._online = History(), 0, None


def _inputs(estimator: Any, x: np.ndarray, weight: np.ndarray) -> Inputs | None:
    """How rows are prepared, by these."""
    if not tables.is_table(estimator):  # images, too
        return standardised(x, weight) if estimator.standardize else None
    bins = _bins(estimator)
    return robust(x, weight, bins, min(tables.MOST_INPUTS, len(x) // tables.ROWS_AN_INPUT))


def _bins(estimator: Any) -> int:
    usual = tables.BINS_OF_CLASSES if _classifies(estimator) else tables.BINS_OF_NUMBERS
    return usual if estimator.bins is None else estimator.bins


def _in_slots(estimator: Any, x: np.ndarray) -> int:
    """Room for the inputs that more rows of the table would have: they share what is compiled."""
    if not tables.is_table(estimator):
        return 0
    return max(tables.ROOM, most_inputs(x, _bins(estimator), tables.MOST_INPUTS))


def _network(
    estimator: Any, x: np.ndarray, out_size: int, seed: int, policy: Policy
) -> MLP | ConvNet:
    if imaging.of_images(estimator):
        return imaging.convnet(estimator, x.shape[1:], out_size, seed, policy)
    in_size = x.shape[1] if estimator._inputs is None else width_of(estimator._inputs)
    sizes = settings.hidden_sizes(estimator.hidden_sizes)
    activation = settings.activation(estimator.activation)
    sizes = settings.within_budgets(sizes, policy, activation, in_size, out_size)
    return MLP(
        in_size,
        out_size,
        sizes,
        key=key_of(seed),
        activation=activation,
        capacity=next_capacity(max(sizes, default=1), limit=policy.max_units),
    )


def _policy(estimator: Any, usual: Policy) -> Policy:
    given = {
        "max_units": estimator.max_units,
        "max_layers": estimator.max_layers,
        "max_parameters": estimator.max_parameters,
        "max_seconds": _seconds(estimator),
        "plateau": estimator.n_iter_no_change,
    }
    given = {name: value for name, value in given.items() if value is not None}
    return replace(estimator.policy or usual, **given)


def _progress(estimator: Any) -> list[Progress]:
    score = "accuracy" if _classifies(estimator) else "R²"
    shown = Progress(score=score, max_seconds=_seconds(estimator))
    return [shown] if estimator.verbose else []


def _rule_and_finish(estimator: Any, held_out: int) -> tuple[AbstractOptimizer, Finish]:
    """How a network is trained, and what it gets after that, if so many rows were kept apart."""
    classes = _classifies(estimator)
    priors = tables.priors_of(estimator, classes)
    rule, under = rules_for(estimator.optimizer, priors, goals.training_dtype())
    # With no rows kept apart the rule is the same: it shares its program with fits to more rows.
    return rule, Finish(under if held_out else (), tables.refit_steps_of(estimator, classes))


def _schedule(estimator: Any, anneals_again: bool) -> Schedule:
    if not 0 <= estimator.validation_fraction < 1:
        raise ValueError(
            f"validation_fraction must be in [0, 1); got {estimator.validation_fraction!r}."
        )
    schedule = Schedule(
        max_epochs=_float(estimator.max_iter),
        max_seconds=_seconds(estimator),
        batch_size=imaging.batch_size_of(estimator),
        tolerance=float(estimator.tol),
    )
    if estimator.optimizer == "natural_gradient":  # the paper keeps its rate, a low one
        return replace(schedule, anneal_epochs=None)
    if imaging.of_images(estimator):
        return replace(schedule, anneal_epochs=imaging.ANNEAL_EPOCHS)
    if anneals_again:
        return replace(schedule, anneal_epochs=0, anneal_steps=tables.FIRST_ANNEALED)
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


def _seconds(estimator: Any) -> float | None:
    """What one network may take of the seconds for all."""
    limit = _float(estimator.max_seconds)
    return None if limit is None else limit / estimator.n_estimators


def _float(value: float | int | None) -> float | None:
    return None if value is None else float(value)
