import csv
import datetime
import decimal
import io
import os
import re
import sys

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from sklearn.metrics import r2_score

import senn
from command import refused, run
from senn import rows
from senn.cli import main
from senn.datasets import parquet_blocks
from senn.table_files import read_table
from strategies import random_network

RNG = np.random.default_rng(0)
NAMES = ["x0", "x1", "x2"]


@pytest.fixture(scope="module")
def model():
    """A classifier of three named columns, not trained, but as if."""
    made = senn.SENNClassifier(hidden_sizes=(4,), standardize=False)
    made.network_ = random_network((3, 4, 2), dtype=np.float32)
    made.n_features_in_, made.feature_names_, made.scaler_ = 3, NAMES, None
    made.n_samples_seen_ = 0
    made.classes_ = np.array(["no", "yes"])
    return made


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.senn"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    """The run of a regression of x0 and x1, trained for a moment, and its table."""
    folder = tmp_path_factory.mktemp("regression")
    table = folder / "houses.csv"
    x = RNG.normal(size=(40, 2))
    frame(x, ["x1", "x0"], price=x @ [1.0, 3.0] + 7).to_csv(table, index=False)
    code, _, err = run(
        "train", table, "--out", folder / "run", "--max-iter", "2", "--quiet", "--no-width",
        "--no-depth", "--hidden-sizes", "none", "--optimizer", "adam",
    )  # fmt: skip
    assert code == 0, err
    return folder / "run", table


def frame(x, names=NAMES, **others) -> pandas.DataFrame:
    return pandas.DataFrame(x, columns=names).assign(**others)


def x_of(n=6) -> np.ndarray:
    return RNG.normal(size=(n, 3)).astype(np.float32)


def read(text: str, separator: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text), delimiter=separator))


def expected(model, x) -> tuple[list[str], np.ndarray]:
    return model.predict(x).tolist(), model.predict_proba(x)


def assert_predicted(cells: list[list[str]], model, x) -> None:
    """The last three columns are the prediction and its probabilities."""
    labels, probabilities = expected(model, x)
    assert cells[0][-3:] == ["prediction", "probability_no", "probability_yes"]
    assert [row[-3] for row in cells[1:]] == labels
    found = np.array([row[-2:] for row in cells[1:]], float)
    np.testing.assert_allclose(found, probabilities, atol=1e-7)


def test_csv_in_csv_out(model, saved, tmp_path):
    x = x_of()
    table = frame(x, town=["007", "a,b", 'say "x"', "", "NA", "é"])[["x2", "town", "x0", "x1"]]
    table.to_csv(tmp_path / "new.csv", index=False)
    code, out, err = run("predict", saved, tmp_path / "new.csv")
    assert (code, err) == (0, "")
    cells = read(out)
    assert_predicted(cells, model, x)
    assert [row[:-3] for row in cells] == read((tmp_path / "new.csv").read_text("utf-8"))


@pytest.mark.parametrize("kind", ["parquet", "npz", "semicolons", "headless", "again", "upper"])
def test_every_kind_of_file(kind, model, tmp_path):
    x, separator, suffix = x_of(), ",", "csv"
    names = ["column_0", "column_1", "column_2"] if kind == "headless" else NAMES
    if kind == "again":
        names = ["x", "x.1", "Unnamed: 2"]
    model.feature_names_ = names
    model.save(tmp_path / "m.senn")
    model.feature_names_ = NAMES
    if kind == "parquet":
        suffix = "parquet"
        frame(x, y=[1] * 6).to_parquet(tmp_path / "new.parquet")
    elif kind == "npz":
        suffix = "npz"
        np.savez(tmp_path / "new.npz", X=x, y=np.ones(6))
    elif kind == "semicolons":
        separator = ";"
        frame(x).to_csv(tmp_path / "new.csv", index=False, sep=";")
    elif kind == "headless":
        frame(x).to_csv(tmp_path / "new.csv", index=False, header=False)
    elif kind == "again":
        text = frame(x).to_csv(index=False, header=False)
        (tmp_path / "new.csv").write_text("x,x,\n" + text)
    else:
        suffix = "CSV"
        (tmp_path / "new.CSV").write_text("\ufeff" + frame(x).to_csv(index=False), "utf-8")
    code, out, err = run("predict", tmp_path / "m.senn", tmp_path / f"new.{suffix}")
    assert (code, err) == (0, "")
    assert_predicted(read(out, separator), model, x)


def test_in_chunks_as_at_once(model, saved, tmp_path, monkeypatch):
    x = x_of(11)
    frame(x).to_csv(tmp_path / "new.csv", index=False)
    monkeypatch.setattr(rows, "ROWS_AT_ONCE", 6)
    code, out, _ = run("predict", saved, tmp_path / "new.csv")
    assert code == 0
    assert_predicted(read(out), model, x)


def test_a_regression_by_the_run_s_folder_and_how_good_it_is(regression, tmp_path):
    folder, table = regression
    out = tmp_path / "deep" / "predicted.csv"
    words = ("predict", folder, table, "--out", out)
    code, said, err = run(*words, "--target", "price")
    assert (code, said) == (0, "")
    found = pandas.read_csv(out)
    assert list(found) == ["x1", "x0", "price", "prediction"]
    fitted = senn.load(folder / "model.senn")
    given = pandas.read_csv(table)[["x1", "x0"]].to_numpy(np.float32)
    np.testing.assert_allclose(found["prediction"], fitted.predict(given), rtol=1e-6)
    score = fitted.score(given, found["price"])
    assert err == f"R² {score:.4f} on 40 rows\n"
    refused(words, r"predicted.csv' exists already: .*--overwrite")
    assert run(*words, "--overwrite")[0] == 0
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize("labels", [["no", "yes"], [False, True], [0, 1]])
def test_accuracy_of_labels_of_any_kind(labels, model, tmp_path):
    x = x_of()
    model.classes_ = np.array(labels)
    model.save(tmp_path / "m.senn")
    wanted = model.predict(x)
    wanted[0] = labels[0] if wanted[0] == labels[1] else labels[1]
    model.classes_ = np.array(["no", "yes"])
    frame(x, y=wanted).to_csv(tmp_path / "new.csv", index=False)
    code, _, err = run("predict", tmp_path / "m.senn", tmp_path / "new.csv", "--target", "y")
    assert (code, err) == (0, "accuracy 0.8333 on 6 rows\n")


def test_a_named_data_set_by_its_test_rows(tmp_path):
    data = senn.datasets.load("digits")
    made = senn.SENNClassifier(standardize=False)
    made.network_ = random_network((64, 4, 10), dtype=np.float32)
    made.n_features_in_, made.scaler_, made.classes_ = 64, None, np.arange(10)
    made.feature_names_ = list(data.feature_names)
    made.n_samples_seen_ = 0
    made.save(tmp_path / "m.senn")
    code, out, err = run("predict", tmp_path / "m.senn", "digits", "--target", "digit")
    assert code == 0
    cells = read(out)
    assert len(cells) == 1 + len(data.x_test)
    assert [int(row[-11]) for row in cells[1:]] == made.predict(data.x_test).tolist()
    assert (
        err == f"accuracy {made.score(data.x_test, data.y_test):.4f} on {len(data.x_test)} rows\n"
    )


def test_a_closed_pipe_ends_quietly(saved, tmp_path, monkeypatch, capfd):
    frame(x_of(2000)).to_csv(tmp_path / "new.csv", index=False)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = main(["predict", str(saved), str(tmp_path / "new.csv")])
        monkeypatch.undo()
    assert (code, capfd.readouterr().err) == (141, "")


def test_what_cannot_be_finished_leaves_no_file(saved, tmp_path):
    table = frame(x_of())
    table.loc[4, "x1"] = np.nan
    table.to_csv(tmp_path / "new.csv", index=False)
    refused(
        ["predict", saved, tmp_path / "new.csv", "--out", tmp_path / "out.csv"],
        r"new.csv: row 5 has a missing value \(NaN\) in column 'x1'",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def table(text: str):
    return lambda path: (path / "t.csv").write_text(text) and path / "t.csv"


def array(**arrays):
    return lambda path: np.savez(path / "t.npz", **arrays) or path / "t.npz"


def written(name: str, content: bytes):
    return lambda path: (path / name).write_bytes(content) and path / name


HEAD = "x0,x1,x2,y\n"
BAD_DATA = {
    "no such file": (lambda path: path / "t.csv", "there is no such file"),
    "no data": (lambda _: "digitz", "digitz: these are no data: choose one of digits,"),
    "empty": (lambda path: (path / "t.csv").touch() or path / "t.csv", "it is empty"),
    "binary": (
        written("t.csv", b"\xff\xfe\x00"),
        "it is binary, or no text of encoding utf-16",
    ),
    "no parquet": (written("t.parquet", b"PAR"), "no readable .parquet file"),
    "no npz": (written("t.npz", b"PK"), "no npz file of plain arrays"),
    "a column missing": (table("x0,x2\n1,2\n"), "there is no column 'x1', which the model needs"),
    "two missing": (
        table("x2,y\n1,2\n"),
        r"no column 'x0' and 'x1'.*; the columns are 'x2' and 'y'\.",
    ),
    "missing": (table(HEAD + "1,2,3,4\n1,,3,4\n"), r"row 2 has a missing value \(NaN\).* 'x1'"),
    "NaN": (table(HEAD + "1,2,NaN,4\n"), r"row 1 has a missing value \(NaN\) in column 'x2'"),
    "infinite": (table(HEAD + "1,inf,3,4\n"), "row 1 has 'inf' in column 'x1'"),
    "large": (table(HEAD + "1,1e99,3,4\n"), "row 1 has '1e99' in column 'x1'"),
    "text": (table(HEAD + "1,2,3,4\n1,red,3,4\n"), "row 2 has 'red' in column 'x1'"),
    "long row": (table(HEAD + "1,2,3,4\n1,2,3,4,5\n"), "row 2 has 5 fields where there are 4 col"),
    "prediction": (table("x0,x1,x2,prediction\n1,2,3,4\n"), "a column 'prediction' already"),
    "probability": (table("x0,x1,x2,probability_no\n"), "a column 'probability_no' already"),
    "other features": (array(X=np.ones((2, 4))), r"X \[rows, 3\].*its shape is \(2, 4\)"),
    "no X": (array(A=np.ones((2, 3))), "but there is none"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(case, saved, tmp_path):
    make, message = BAD_DATA[case]
    source = make(tmp_path)
    code, _, err = run("predict", saved, source)
    assert code == 2
    assert re.fullmatch(rf"senn: {re.escape(str(source))}: .*\.\n", err), err
    assert re.search(message, err), err


def test_a_row_of_true_and_false_counts_as_one_and_zero(model, saved, tmp_path):
    (tmp_path / "t.csv").write_text("x0,x1,x2\nTrue,false,2\n")
    code, out, _ = run("predict", saved, tmp_path / "t.csv")
    assert code == 0
    assert_predicted(read(out), model, np.array([[1, 0, 2]], np.float32))


def test_no_rows_are_no_predictions(saved, tmp_path):
    (tmp_path / "t.csv").write_text("x0,x1,x2\n")
    words = ("predict", saved, tmp_path / "t.csv")
    head = "x0,x1,x2,prediction,probability_no,probability_yes\n"
    assert run(*words) == (0, head, "")
    assert run(*words, "--target", "x0") == (0, head, "no rows to compare\n")


BAD_RUNS = {
    "nothing there": (lambda path: path / "run", "There is no model file at"),
    "no run": (lambda path: path, "holds no run: name a folder of senn train --out"),
    "no model": (written("t.csv", b"x0"), "is no senn model"),
}


@pytest.mark.parametrize("case", BAD_RUNS)
def test_bad_runs(case, tmp_path):
    make, message = BAD_RUNS[case]
    refused(["predict", make(tmp_path), "moons"], message)


def test_what_is_left_out_is_said(saved):
    refused(["predict"], "say which run and which data, such as senn predict run new.csv")
    refused(["predict", saved], "say which run and which data")
    refused(["predict", saved, "moons", "--outt", "a"], "--outt a; did you mean --out")
    refused(["predict", saved, "moons", "--out", saved.parent], "is a folder")


# --- tables larger than memory ---------------------------------------------------------------


def odd_columns(n: int = 40) -> dict:
    """Columns of every type, in which a gap stands far behind, if at all."""
    late = [None if k == n - 3 else k for k in range(n)]
    day = datetime.datetime(2020, 1, 31, 12, 30, 15, 123456)
    days = [None if k is None else day + datetime.timedelta(days=k, microseconds=k) for k in late]
    return {
        "whole": list(range(n)),
        "large": pa.array([2**63 + k for k in range(n)], pa.uint64()),
        "gaps": late,
        "large with gaps": [None if k is None else 2**53 + k for k in late],
        "levels": pa.array(late).dictionary_encode(),
        "words": pa.array([f"w{k}" for k in range(n)]).dictionary_encode(),
        "flag": [None if k is None else k % 2 == 0 for k in late],
        "half": np.linspace(0, 1, n).astype(np.float16),
        "single": np.linspace(0, 1, n).astype(np.float32),
        "money": [None if k is None else decimal.Decimal(k) / 4 for k in late],
        "time": pa.array(days, pa.timestamp("ns")),
        "zone": pa.array(days, pa.timestamp("ms", "Europe/Berlin")),
        "day": [None if d is None else d.date() for d in days],
        "clock": [None if d is None else d.time() for d in days],
        "span": [None if k is None else datetime.timedelta(hours=k) for k in late],
        "list": [[k, k + 1] for k in range(n)],
        "nothing": [None] * n,
    }


def test_parquet_read_in_blocks_is_what_it_is_as_a_whole(tmp_path, monkeypatch):
    made = pa.table(odd_columns())
    frame = pandas.DataFrame({"Int64": pandas.array([1, None] * 20, "Int64")}, range(7, 47))
    frame = frame.rename_axis("number").astype({"Int64": "Int64"})
    frame["level"] = pandas.Categorical([1.5, None] * 20)
    tables = {"odd": made, "frame": pa.Table.from_pandas(frame, preserve_index=True)}
    monkeypatch.setattr(parquet_blocks, "ROWS_AT_ONCE", 3)
    for name, table in tables.items():
        path = tmp_path / f"{name}.parquet"
        pa_parquet.write_table(table, path, row_group_size=16)
        whole, _ = read_table(path)
        found = rows.open_rows(str(path), [])
        assert found.names == whole.names
        assert list(found.rows) == list(rows._cells(whole))
        blocks = parquet_blocks.parquet_blocks([path]).blocks()
        assert max(map(len, blocks)) == 3


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The rows of some files, of .parquet and of .csv, and all of them in one."""
    folder = tmp_path_factory.mktemp("large")
    x = RNG.normal(size=(50, 3)).astype(np.float32)
    table = frame(x, town=[f"t{k}" for k in range(50)], y=RNG.choice(["no", "yes"], 50))
    table["count"] = [None if k == 44 else k for k in range(50)]
    for kind in ("parquet", "csv"):
        (folder / kind).mkdir()
    for k in range(3):
        part = table[17 * k : 17 * (k + 1)].convert_dtypes(dtype_backend="numpy_nullable")
        part = part if k == 2 else part.astype({"count": int})
        part.to_parquet(folder / "parquet" / f"{k}.parquet", row_group_size=5)
        part.to_csv(folder / "csv" / f"{k}.csv", index=False)
    table.to_parquet(folder / "all.parquet")
    return folder


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_folder_of_tables_is_predicted_as_one_file(kind, large, saved, monkeypatch):
    whole = run("predict", saved, large / "all.parquet", "--target", "y")
    monkeypatch.setattr(parquet_blocks, "ROWS_AT_ONCE", 4)
    monkeypatch.setattr(rows, "ROWS_AT_ONCE", 7)
    code, out, err = run("predict", saved, large / kind, "--target", "y")
    assert (code, err) == (0, whole[2])
    assert re.fullmatch(r"accuracy 0\.\d{4} on 50 rows\n", err)
    if kind == "parquet":
        assert out == whole[1]
    one, other = (np.array(read(text))[:, [0, 1, 2, -3, -2, -1]] for text in (out, whole[1]))
    np.testing.assert_array_equal(one[:, 3:], other[:, 3:])  # of csv numbers are in other words


def test_scores_are_of_all_rows_whatever_their_blocks(regression, monkeypatch):
    model, table = regression
    whole = run("predict", model, table, "--target", "price")
    monkeypatch.setattr(rows, "ROWS_AT_ONCE", 3)
    assert run("predict", model, table, "--target", "price") == whole
    found = pandas.read_csv(io.StringIO(whole[1]))
    assert whole[2] == f"R² {r2_score(found.price, found.prediction):.4f} on 40 rows\n"


def test_folders_that_cannot_be_predicted_are_refused(saved, tmp_path):
    def asked(folder, message):
        refused(["predict", saved, folder], message)

    asked(tmp_path, "this is a folder, where the model reads rows of a table: name a file, or a")
    (tmp_path / "a.csv").write_text("x0,x1,x2\n1,2,3\n")
    (tmp_path / "b.csv").write_text("x0,x1,other\n1,2,3\n")
    code, out, err = run("predict", saved, tmp_path)
    assert (code, out.count("\n")) == (2, 1)
    assert "'b.csv' has columns 'x0', 'x1' and 'other', and 'a.csv' has" in err
    frame(x_of()).to_parquet(tmp_path / "c.parquet")
    asked(tmp_path, "this is a folder of '.csv' and '.parquet', where")
    damaged = tmp_path / "new" / "0.parquet"
    damaged.parent.mkdir()
    damaged.write_bytes((tmp_path / "c.parquet").read_bytes()[:-20])
    (tmp_path / "c.parquet").rename(damaged.with_name("1.parquet"))
    asked(damaged.parent, "'0.parquet' is no readable .parquet file")
