"""Real tables: SENN by its defaults beside scikit-learn's, RealMLP's and CatBoost's.

The thirteen tables that shared/tables/make_tables.py writes (`--folder` names a folder that has
them), with its split into training and test rows. In one process a seed, from an empty cache, and
table after table: `SENNClassifier(random_state=seed)` or `SENNRegressor`, and of scikit-learn an
MLP behind a `StandardScaler`, of the targets too, and histogram gradient boosting; in a process of
its own likewise SENN with `n_estimators=4`, which becomes one network. Scores of
RealMLP and CatBoost (one seed, other hours) are read from `peers.jsonl` beside make_tables.py.

An error is 1.01 less the mean over seeds of the accuracy or R² on test rows, on which nothing is
chosen. Ratios are geometric means over tables. Seconds are of `fit`, compilation included.

With `--without PART`, or `each` of them in turn, nothing is fitted but SENN, as it is and with a
part left out, on three quarters of the training rows (another split a seed), and scores are of the
other quarter.
"""

import argparse
import itertools
import json
import math
import statistics
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import waiting

PEERS = waiting.MAKE_TABLES.with_name("peers.jsonl")
PARTS = ("smoothing", "codes", "scaling", "prior", "policy", "again", "brief", "refit")
OWN = {"senn": 1, "senn of 4": 4}  # networks
RIVALS = ("skmlp", "hgb")  # fitted here, called as peers.jsonl calls them
READ = ("realmlp", "catboost")
Fit = dict[str, Any]


def main() -> None:
    """Run, print and write."""
    given = harness.arguments(__doc__, extra=_options)
    report = harness.Report("tables", given, scores="accuracy or R², means of seeds")
    with tempfile.TemporaryDirectory() as folder:
        files = _files(given, folder)
        if given.without:
            parts = PARTS if "each" in given.without else given.without
            report.finish(left_out=leave_out(files, parts, given))
            return
        fits = [fit for seed in range(given.repeats) for fit in _one_seed(files, seed, given)]
    peers = [json.loads(line) for line in given.peers.read_text("utf-8").splitlines()] if (
        given.peers.exists()) else []  # fmt: skip
    rows = [row_of(name, fits, peers) for name in dict.fromkeys(fit["data"] for fit in fits)]
    harness.table(f"means of {given.repeats} seeds", rows)
    told = summary(rows)
    harness.table("senn's over theirs", told)
    report.finish(fits=fits, rows=rows, summary=told)


def _options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--folder", type=Path, help="where the tables' .npz files are (default: made)")
    add("--peers", type=Path, default=PEERS, help="other programs' scores")
    add("--without", action="append", choices=[*PARTS, "each"],
        help="leave a part out, or each of them in turn; once or more")  # fmt: skip


def _files(given: argparse.Namespace, folder: str) -> list[str]:
    """The tables; a sentence on what is missing ends it."""
    if given.quick:
        waiting.small_tables(folder)
    elif given.folder:
        folder = str(given.folder)
    elif missing := waiting.make_tables(folder):
        sys.exit(f"tables: {missing}; or name a folder of the .npz files by --folder.")
    files = sorted(map(str, Path(folder).glob("*.npz")))
    return files or sys.exit(f"tables: {folder} holds no .npz files.")


def _one_seed(files: list[str], seed: int, given: argparse.Namespace) -> list[Fit]:
    """Every model of every table, SENN's in processes of their own."""
    fits = []
    for name, networks in OWN.items():
        with harness.empty_cache() as cold:
            own, process = harness.fresh(
                fit_senn, env=cold, files=files, seed=seed, quick=given.quick, networks=networks
            )
        print(f"seed {seed}: {name} needed {process.seconds:.0f} s and {process.peak_mb:.0f} MB")
        fits += [{**fit, "model": name} for fit in own]
    theirs, _ = harness.fresh(fit_rivals, files=files, seed=seed)
    return [*fits, *theirs]


# --- Fits, each in a process that harness.fresh starts -------------------------------------


def fit_senn(
    files: list[str],
    seed: int,
    quick: bool,
    without: Sequence[str] = (),
    inside: bool = False,
    networks: int = 1,
) -> list[Fit]:
    """SENN on one table after another, perhaps with parts left out."""
    import senn
    from senn import tables

    if "again" in without:  # annealing under priors to choose from
        tables.PRIORS = ()
    if "brief" in without:  # the annealing before that, of few rows
        tables.FEW_ROWS = 0
    fits = []
    for file in files:
        name, classes, data = read(file, seed if inside else None)
        make = senn.SENNClassifier if classes else senn.SENNRegressor
        settings = {"max_iter": 10} if quick else {}
        settings |= {"n_estimators": networks, "random_state": seed}
        model = make(**settings, **left_out(without, classes))
        fit = measured(model, data, classes)
        fits.append({
            "data": name, "model": "senn", "seed": seed, **fit,
            "n_parameters": model.n_parameters_, "hidden_sizes": list(model.hidden_sizes_),
            "inputs": model.network_.in_size,
            "compile_seconds": sum(history.compile_seconds for history in model.histories_),
            "stop_reason": model.history_.end,
        })  # fmt: skip
        print(fits[-1], flush=True)
    return fits


def left_out(parts: Sequence[str], classes: bool) -> dict[str, Any]:
    """Settings that take parts of what tables get back to what other inputs get."""
    from senn import Policy, tables
    from senn.optimizers import KFAC

    settings: dict[str, Any] = {}
    if "scaling" in parts:  # and codes, which stand on it
        steps = tables.REFIT_OF_CLASSES if classes else tables.REFIT_OF_NUMBERS
        settings |= {"standardize": True, "policy": tables.POLICY, "refit_steps": steps}
        settings |= {"label_smoothing": tables.SMOOTHING} if classes else {}
    if "smoothing" in parts and classes:
        settings["label_smoothing"] = 0.0
    if "codes" in parts:
        settings["bins"] = 0
    if "prior" in parts and not classes:
        settings["optimizer"] = KFAC(prior=1.0)
    if "refit" in parts:
        settings["refit_steps"] = 0
    if "policy" in parts:
        settings["policy"] = Policy()
    return settings


def fit_rivals(files: list[str], seed: int) -> list[Fit]:
    """scikit-learn's MLP and its boosting."""
    from sklearn import compose, ensemble, neural_network
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fits = []
    for file in files:
        name, classes, data = read(file, None)
        kind = "Classifier" if classes else "Regressor"
        mlp = getattr(neural_network, f"MLP{kind}")(early_stopping=True, random_state=seed)
        if not classes:  # as SENN does itself
            mlp = compose.TransformedTargetRegressor(mlp, transformer=StandardScaler())
        models = {
            "skmlp": make_pipeline(StandardScaler(), mlp),
            "hgb": getattr(ensemble, f"HistGradientBoosting{kind}")(random_state=seed),
        }
        for called, model in models.items():
            fit = measured(model, data, classes)
            fits.append({"data": name, "model": called, "seed": seed, **fit})
    return fits


def read(file: str, split: int | None) -> tuple[str, bool, tuple]:
    """A table's name, whether it is of classes, and its rows: training X and y, test X and y.

    With a split those are of the training rows alone.
    """
    import numpy as np
    from sklearn.model_selection import train_test_split

    name = Path(file).stem
    classes = name.startswith("c_")
    with np.load(file) as data:
        X, y, x, z = (data[key] for key in ("Xtr", "ytr", "Xte", "yte"))
    if split is not None:
        labels = y if classes else None
        X, x, y, z = train_test_split(X, y, test_size=0.25, random_state=split, stratify=labels)
    return name, classes, (X, y, x, z)


def measured(model: Any, data: tuple, classes: bool) -> Fit:
    """Fit, and score the rows kept apart."""
    from sklearn.metrics import log_loss

    X, y, x, z = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of iterations used up
        _, seconds = harness.timed(lambda: model.fit(X, y))
    fit = {"sec": seconds, "score": float(model.score(x, z))}
    return {**fit, "logloss": float(log_loss(z, model.predict_proba(x)))} if classes else fit


# --- What is told --------------------------------------------------------------------------


def row_of(name: str, fits: Sequence[Fit], peers: Sequence[Fit]) -> dict[str, Any]:
    """Means of one table."""
    row: dict[str, Any] = {"data": name}
    for who in (*OWN, *RIVALS, *READ):
        found = [f for f in (fits if who not in READ else peers)
                 if (f["data"], f["model"]) == (name, who)]  # fmt: skip
        for key, short in (("score", ""), ("logloss", " nats"), ("sec", " s")):
            values = [f[key] for f in found if key in f]
            row[f"{who}{short}"] = statistics.mean(values) if values else None
    for who in OWN:
        own = [f["n_parameters"] for f in fits if (f["data"], f["model"]) == (name, who)]
        row[f"{who} parameters"] = statistics.median(own)
    return row


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ratios to each of the others."""
    told = []
    for own, who in itertools.product(OWN, (*RIVALS, *READ)):
        errors = [(1.01 - r[own]) / (1.01 - r[who]) for r in rows if r[who] is not None]
        losses = [r[f"{own} nats"] / r[f"{who} nats"] for r in rows if r[f"{who} nats"] is not None]
        known = [r for r in rows if r[f"{who} s"] is not None]
        told.append({
            "of": own, "to": who, "tables": len(errors),
            "error": mean_of(errors), "log-loss": mean_of(losses),
            "senn s": sum(r[f"{own} s"] for r in known),
            "their s": sum(r[f"{who} s"] for r in known),
        })  # fmt: skip
    return told


def mean_of(ratios: Sequence[float]) -> float | None:
    """The geometric mean."""
    return math.exp(statistics.mean(map(math.log, ratios))) if ratios else None


def leave_out(
    files: list[str], parts: Sequence[str], given: argparse.Namespace
) -> list[dict[str, Any]]:
    """What leaving parts out multiplies errors, log-losses and seconds by."""
    fits: dict[str, list[Fit]] = {}
    with harness.empty_cache() as cache:
        for part in ("none", *parts):
            fits[part] = []
            for seed in range(given.repeats):
                found, _ = harness.fresh(
                    fit_senn, env=cache, files=files, seed=seed, quick=given.quick,
                    without=[part], inside=True,
                )  # fmt: skip
                fits[part] += found
    told = [{"without": part, **compared(fits[part], fits["none"])} for part in parts]
    harness.table("what leaving a part out multiplies by", told)
    return told


def compared(fits: Sequence[Fit], usual: Sequence[Fit]) -> dict[str, Any]:
    """Geometric means over tables of ratios, and how far those of errors vary with the seed."""

    def ratio(key: str, some: Sequence[tuple[Fit, Fit]]) -> float | None:
        names = dict.fromkeys(a["data"] for a, _ in some if key in a)
        sides = [[sum(pair[k][key] for pair in some if pair[0]["data"] == name) for k in (0, 1)]
                 for name in names]  # fmt: skip
        return mean_of([a / b for a, b in sides])

    pairs = [({**a, "error": 1.01 - a["score"]}, {**b, "error": 1.01 - b["score"]})
             for a, b in zip(fits, usual, strict=True)]  # fmt: skip
    seeds = {a["seed"] for a, _ in pairs}
    each = [ratio("error", [p for p in pairs if p[0]["seed"] == seed]) for seed in seeds]
    spread = statistics.stdev(each) / len(each) ** 0.5 if len(each) > 1 else None
    of = {task: [p for p in pairs if p[0]["data"].startswith(task)] for task in "cr"}
    return {
        "error": ratio("error", pairs), "± stderr": spread, "of classes": ratio("error", of["c"]),
        "of numbers": ratio("error", of["r"]), "log-loss": ratio("logloss", pairs),
        "seconds": ratio("sec", pairs), "parameters": ratio("n_parameters", pairs),
    }  # fmt: skip


if __name__ == "__main__":
    main()
