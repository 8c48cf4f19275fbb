"""What `senn train` says before and after, and the figures that it gives."""

import argparse
import math
from typing import Any

from rich.console import Console
from rich.table import Table

from senn import __version__
from senn.callbacks.progress import sizes_in_words
from senn.history import Ending

SCORES = {"classification": "accuracy", "regression": "r2"}
# Of a run that was made smaller, what is told beside what came of it.
COMPARED = (
    "hidden_sizes", "n_parameters", "train_score", "validation_score", "test_score",
)  # fmt: skip
WORDS = {"accuracy": "accuracy", "r2": "R²"}


def targets(data: Any, y: Any) -> Any:
    """Labels [N], numbers [N], or [N, O] if there is more than one output."""
    if data.classes is not None:
        return data.classes[y]
    return y[:, 0] if y.shape[1] == 1 else y


def predictions(estimator: Any, data: Any) -> Any:
    """What was wanted of the test rows and what is predicted, or None if there are none."""
    import numpy as np

    from senn.runs import Predictions

    if not len(data.x_test):
        return None
    predicted = estimator.predict(data.x_test)
    if data.classes is not None:  # which are sorted
        codes = np.searchsorted(data.classes, predicted).astype(np.int32)
        return Predictions(data.y_test, codes, tuple(map(str, data.classes.tolist())))
    predicted = predicted.reshape(data.y_test.shape).astype(np.float32)
    return Predictions(data.y_test, predicted, _output_names(data))


def _of_what(shape: tuple[int, ...]) -> str:
    """What a row is."""
    if len(shape) == 1:
        return f"{shape[0]} features"
    return f"images of {shape[0]} × {shape[1]} pixels"


def _output_names(data: Any) -> tuple[str, ...]:
    n = data.y_test.shape[1]
    return (data.target_name,) if n == 1 else tuple(f"{data.target_name} {i}" for i in range(n))


def shares(data: Any) -> tuple[int, int]:
    """How many rows are to train and to validate on, and how many to test."""
    stream = getattr(data, "stream", None)
    if stream is None:
        return len(data.x), len(data.x_test)
    return stream.rows + stream.n_validation, stream.found.n_test


def _test_score(estimator: Any, data: Any) -> float | None:
    """On all test rows: those of a stream pass by, and only sums of them are kept."""
    stream = getattr(data, "stream", None)
    if stream is None:
        return _score(estimator, data, data.x_test, data.y_test)
    import numpy as np

    n, right, error, sums, squares = 0, 0, 0.0, 0.0, 0.0
    for x, y in stream.tested():
        predicted = estimator.predict(x)
        n += len(y)
        if data.classes is not None:
            right += int(np.sum(predicted == data.classes[y]))
            continue
        centred = y[:, 0] - estimator._target_scale[0][0]  # lest squares cancel
        error += float(np.sum((y[:, 0] - predicted) ** 2))
        sums, squares = sums + float(centred.sum()), squares + float(centred @ centred)
    if data.classes is not None:
        return right / n
    spread = squares - sums**2 / n
    return 1 - error / spread if n > 1 and spread > 0 else None


def introduction(
    arguments: argparse.Namespace, data: Any, estimator: Any, checkpoint: Any
) -> list[str]:
    """What was loaded, and where training starts."""
    n_train, n_test = shares(data)
    rows = f"{n_train:,} training and {n_test:,} test rows"
    target = f"{data.task} of {data.target_name!r}"
    if data.classes is not None:
        target += f" into {len(data.classes)} classes"
    inputs = "Inputs are left as they are."
    conv = estimator.network == "conv"
    if conv and estimator.standardize:
        inputs = "Pixels get the mean and the variance of each channel as their unit."
    elif estimator.standardize:
        inputs = "Inputs are rescaled by their quartiles, and coded by their quantiles."
    elif data.images:
        inputs = "Pixels stay in [0, 1]."
    if conv and estimator.augment:
        inputs += f" For every step images are changed at random: {estimator.augment}."
    budgets = [
        f"{name.replace('_', ' ')} {getattr(arguments, name):,.10g}"
        for name in ("max_units", "max_layers", "max_parameters", "max_seconds")
        if getattr(arguments, name) is not None
    ]
    several = f"{estimator.n_estimators} networks, each " if estimator.n_estimators > 1 else ""
    sizes = tuple(estimator.channels if conv else estimator.hidden_sizes)
    start = f"{several}starting with {sizes_in_words(sizes)}"
    start = start[0].upper() + start[1:]
    if checkpoint is not None:
        sizes = sizes_in_words(tuple(checkpoint.header["network"]["hidden_sizes"]))
        start = f"Going on at step {checkpoint.header['step']:,} with {sizes}"
    return [
        f"{data.name}: {rows}, {_of_what(data.x.shape[1:])}, {target}.",
        *data.notes,
        inputs,
        f"{', '.join([start, *budgets])}; seed {arguments.seed}.",
    ]


def summarise(
    arguments: argparse.Namespace, data: Any, estimator: Any, seconds: float
) -> dict[str, Any]:
    """All of the result that is worth a line, or a key in JSON."""
    import numpy as np

    histories = estimator.histories_
    held_out = np.zeros(len(data.x), bool)
    if estimator.n_estimators == 1:  # of an ensemble, what one keeps apart others learn from
        held_out[estimator.validation_rows_] = True
    scores = {
        "train_score": _score(estimator, data, data.x[~held_out], data.y[~held_out]),
        "validation_score": validation_score(estimator, data, held_out),
        "test_score": _test_score(estimator, data),
    }
    return {
        "data": arguments.data,
        "task": data.task,
        "seed": arguments.seed,
        "hidden_sizes": list(estimator.hidden_sizes_),
        "n_parameters": estimator.n_parameters_,
        "metric": SCORES[data.task],
        **scores,
        "seconds": seconds,
        **{
            name: sum(getattr(h, name) for h in histories)
            for name in ("training_seconds", "growth_seconds", "compile_seconds", "n_compilations")
        },
        "n_additions": sum(len(h.additions) for h in histories),
        "n_removals": sum(len(h.removals) for h in histories),
        "steps": sum(h.steps for h in histories),
        "stop_reason": histories[-1].end,
        "interrupted": any(h.ended_by == Ending.INTERRUPTED for h in histories),
        "n_estimators": estimator.n_estimators,
        "columns": estimator.columns_,
        "version": __version__,
    }


def validation_score(estimator: Any, data: Any, held_out: Any) -> float | None:
    """On the rows kept apart, as it was before they were learned from."""
    history = estimator.history_
    if not history.refit_steps:
        return _score(estimator, data, data.x[held_out], data.y[held_out])
    found = (e.validation_score for e in history.evaluations if e.step == history.returned_step)
    return next(found, None)


def _score(estimator: Any, data: Any, x: Any, y: Any) -> float | None:
    """Accuracy or R², or None where it means nothing: for no rows, or R² of one row."""
    if len(x) < (1 if data.classes is not None else 2):
        return None
    import numpy as np

    from senn.evaluation import r_squared

    predicted = estimator.predict(x)
    if data.classes is not None:
        return float(np.mean(predicted == targets(data, y)))
    score = r_squared(y, predicted.reshape(y.shape), np.ones(len(y)))
    return score if math.isfinite(score) else None


def report(console: Console, summary: dict[str, Any], out: str | None) -> None:
    """The summary: a table on a terminal, plain lines elsewhere."""
    rows = _report_rows(summary, out)
    if not console.is_terminal:
        for name, value in rows:
            tell(console, f"{name}: {value}")
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in rows:
        table.add_row(name, value, style="bold" if name.startswith("test") else None)
    console.print()
    console.print(table)


def _report_rows(summary: dict[str, Any], out: str | None) -> list[tuple[str, str]]:
    word, before = WORDS[summary["metric"]], summary.get("before", {})
    was, alone = before.get("hidden_sizes"), summary["n_estimators"] == 1 and not before
    resumable = out and summary["interrupted"] and alone
    scores = [
        (f"{part} {word}", _beside(f"{summary[key]:.4f}", before.get(key), "{:.4f}"))
        for part in ("train", "validation", "test")
        if summary[key := f"{part}_score"] is not None
    ]
    parts = ", ".join(
        f"{name} {summary[f'{key}_seconds']:.1f}"
        for name, key in (
            ("training", "training"),
            ("growth", "growth"),
            ("compilation", "compile"),
        )
    )
    return [
        (
            "hidden sizes",
            _beside(_sizes(summary["hidden_sizes"]), None if was is None else _sizes(was)),
        ),
        ("parameters", _beside(f"{summary['n_parameters']:,}", before.get("n_parameters"), "{:,}")),
        *scores,
        ("seconds", f"{summary['seconds']:.1f} ({parts})"),
        ("additions", str(summary["n_additions"])),
        *([("removals", str(summary["n_removals"]))] if summary["n_removals"] else []),
        ("steps", f"{summary['steps']:,}"),
        ("stopped", summary["stop_reason"]),
        *([("saved in", out)] if out is not None else []),
        *([("to go on", f"senn train --resume {out}")] if resumable else []),
    ]


def _sizes(sizes: Any) -> str:
    return ", ".join(map(str, sizes)) or "none (linear)"


def _beside(now: Any, before: Any, form: str = "{}") -> str:
    """What there is, and what there was if there was something else."""
    return str(now) if before is None else f"{now}, before {form.format(before)}"


def tell(console: Console, line: str) -> None:
    """Print a line, however long, as one."""
    console.print(line, soft_wrap=True)
