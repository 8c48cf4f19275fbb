"""One model of a table of everything predicts the same by every way there is."""

import csv
import io
import json
import pickle
import subprocess
import sys

import any_table
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

import senn
from command import refused, run
from senn.datasets import DataError
from senn.export import to_numpy, to_onnx
from senn.report.story import read_story
from senn.runs import read_run

RNG = np.random.default_rng(0)
N = 150
FIXED = senn.Policy(width=False, depth=False)
SMALL = {
    "hidden_sizes": (3,), "max_iter": 2, "optimizer": "adam", "policy": FIXED,
    "random_state": 0,
}  # fmt: skip


def euros(value: float) -> str:
    return f"{value:,.2f} €".translate(str.maketrans(",.", ".,"))


def a_table(n=N) -> pd.DataFrame:
    holes = RNG.random(n) < 0.2
    return pd.DataFrame(
        {
            "area, m²": np.round(RNG.uniform(20, 300, n), 1),
            "town": RNG.choice(["Bonn", "Köln", "a;b", 'say "x"'], n),
            "built": RNG.choice(pd.date_range("1990-01-01", periods=9000), n).astype(str),
            "rooms": np.where(holes, np.nan, RNG.integers(1, 9, n)),
            "pool": np.where(holes, None, RNG.choice([True, False], n)),
            "rent": [euros(value) for value in RNG.uniform(500, 5000, n)],
            "seen": 1.7e9 + RNG.integers(0, 10**6, n),
            "label": RNG.normal(size=n),
            "country": "DE",
            "note": None,
            "id": [f"house {i} {RNG.integers(10**9)}" for i in range(n)],
        }
    )  # fmt: skip


TABLE = a_table()
LABELS = np.where(TABLE["town"] == "Bonn", "dear", np.where(TABLE["label"] > 0, "fair", "cheap"))


@pytest.fixture(scope="module")
def model():
    return senn.SENNClassifier(**SMALL).fit(TABLE, LABELS)


def test_what_became_of_every_column(model):
    kinds = [column["kind"] for column in model.columns_]
    assert kinds == ["number", "category", "date", "number", "flag", "number", "number", "number",
                     "constant", "empty", "text"]  # fmt: skip
    assert model.n_features_in_ == len(TABLE.columns)
    assert list(model.feature_names_in_) == list(TABLE.columns)
    assert sum(column["inputs"] for column in model.columns_) == model.network_.in_size


LIBRARIES = {
    "pandas": lambda frame: frame,
    "pyarrow": pa.Table.from_pandas,
    "polars": lambda frame: pl.from_arrow(pa.Table.from_pandas(frame)),
    "old strings": lambda frame: frame.astype({"town": object, "built": object}),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_predictions_of_every_library_and_of_what_was_saved(library, model, tmp_path):
    table = LIBRARIES[library](TABLE)
    wanted = model.predict_proba(TABLE)
    model.save(tmp_path / "m.senn")
    for known in (model, senn.load(tmp_path / "m.senn"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(known.predict_proba(table), wanted)
    assert senn.load(tmp_path / "m.senn").columns_ == model.columns_


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_names_are_names_whatever_table_was_learned(library, tmp_path):
    table = LIBRARIES[library](TABLE)
    made = senn.SENNClassifier(**SMALL).fit(table, LABELS)
    assert list(made.feature_names_in_) == made.feature_names_ == list(TABLE.columns)
    made.save(tmp_path / "m.senn")
    np.testing.assert_array_equal(
        senn.load(tmp_path / "m.senn").predict(table), made.predict(TABLE)
    )


def test_gaps_and_levels_that_training_did_not_have(model):
    new = TABLE.head(4).copy()
    new["area, m²"] = [np.nan, 30, 40, 50]
    new["town"] = ["Paris", None, "Bonn", "Köln"]
    new["country"] = "FR"
    probabilities = model.predict_proba(new)
    assert np.isfinite(probabilities).all()
    assert (probabilities[1:2] != probabilities[:1]).any()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_command_predicts_the_same(separator, model, tmp_path):
    model.save(tmp_path / "m.senn")
    TABLE.assign(target=LABELS).to_csv(tmp_path / "t.csv", index=False, sep=separator)
    code, out, err = run("predict", tmp_path / "m.senn", tmp_path / "t.csv", "--target", "target")
    assert code == 0, err
    assert err == f"accuracy {model.score(TABLE, LABELS):.4f} on {N} rows\n"
    rows = list(csv.reader(io.StringIO(out), delimiter=separator))
    found = np.array([row[-3:] for row in rows[1:]], float)
    np.testing.assert_allclose(found, model.predict_proba(TABLE), atol=1e-8)


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".xlsx", ".csv.gz", ".zip"])
def test_the_command_predicts_the_same_of_any_file(suffix, model, tmp_path):
    model.save(tmp_path / "m.senn")
    path = tmp_path / f"t{suffix}"
    write = {".parquet": TABLE.to_parquet, ".feather": TABLE.to_feather}
    if suffix == ".xlsx":
        TABLE.to_excel(path, index=False)
    elif suffix == ".zip":
        TABLE.to_csv(path, index=False, compression={"method": "zip", "archive_name": "t.csv"})
    else:
        write.get(suffix, lambda path: TABLE.to_csv(path, index=False))(path)
    code, out, err = run("predict", tmp_path / "m.senn", path)
    assert (code, err) == (0, "")
    found = pd.read_csv(io.StringIO(out)).iloc[:, -3:]
    np.testing.assert_allclose(found, model.predict_proba(TABLE), atol=1e-8)


def feeds() -> dict[str, np.ndarray]:
    days = pd.to_datetime(TABLE["built"]).to_numpy().astype("M8[s]").astype(float) / 86400
    euros = TABLE["rent"].str.translate(str.maketrans({".": "", ",": ".", "€": "", " ": ""}))
    columns = {
        "area, m²": TABLE["area, m²"], "town": TABLE["town"].to_numpy(object), "built": days,
        "rooms": TABLE["rooms"], "pool": TABLE["pool"].astype(float), "rent": euros.astype(float),
        "seen": TABLE["seen"].astype(float), "column label": TABLE["label"],
    }  # fmt: skip
    return {name: np.array(values)[:, None] for name, values in columns.items()}


def test_onnx_predicts_the_same(model, tmp_path):
    to_onnx(model, tmp_path / "m.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    label, found = session.run(None, feeds())
    np.testing.assert_allclose(found, model.predict_proba(TABLE), atol=2e-6)
    assert label.tolist() == model.predict(TABLE).tolist()
    told = json.loads(session.get_modelmeta().custom_metadata_map["columns"])
    assert told == model.columns_
    changed = feeds()
    changed["town"][:2] = [["Paris"], [""]]
    changed["area, m²"][0] = np.nan
    new = TABLE.copy()
    new.loc[:1, "town"] = ["Paris", None]
    new.loc[0, "area, m²"] = np.nan
    np.testing.assert_allclose(session.run(None, changed)[1], model.predict_proba(new), atol=2e-6)


def test_numpy_alone_predicts_the_same(model, tmp_path):
    to_numpy(model, tmp_path / "m.npz")
    rows = [[None if pd.isna(v) else v for v in row] for row in TABLE.values.tolist()]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    code = (
        "import sys, json; sys.path.insert(0, '.'); import m_predict as m; import numpy as np\n"
        "p = m.predict_proba(m.load('m.npz'), json.load(open('rows.json')))\n"
        "assert not [n for n in ('senn', 'pandas', 'jax', 'sklearn') if n in sys.modules]\n"
        "np.save('p.npy', p)"
    )
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True)
    # Tests train in float64, and exports hold float32.
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), model.predict_proba(TABLE), atol=1e-6)


def test_numbers_with_gaps_where_training_had_none(tmp_path):
    x = RNG.normal(size=(N, 3))
    made = senn.SENNClassifier(**SMALL).fit(x, LABELS)
    gappy = x.copy()
    gappy[3, 1] = np.nan
    filled = x.copy()
    filled[3, 1] = np.median(x[:, 1])
    wanted = made.predict_proba(filled)
    np.testing.assert_array_equal(made.predict_proba(gappy), wanted)
    to_onnx(made, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    found = session.run(["probabilities"], {"X": gappy.astype(np.float32)})[0]
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    to_numpy(made, tmp_path / "m.npz")
    program = {"__name__": "program"}
    exec((tmp_path / "m_predict.py").read_text(), program)
    found = program["predict_proba"](program["load"](tmp_path / "m.npz"), gappy)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_sparse_rows_are_the_same_as_dense_ones():
    x = scipy.sparse.random_array((N, 6), density=0.3, rng=0, format="csr")
    made = senn.SENNClassifier(**SMALL).fit(x, LABELS)
    dense = senn.SENNClassifier(**SMALL).fit(x.toarray(), LABELS)
    np.testing.assert_array_equal(made.predict_proba(x), dense.predict_proba(x.toarray()))
    for form in ("csc", "coo", "lil", "dok"):
        np.testing.assert_array_equal(made.predict(x.asformat(form)), made.predict(x))


@pytest.mark.parametrize(
    "given", [["code"], "code", [1], [-1], [False, True], np.array([False, True])]
)
def test_categories_by_name_position_or_mask(given):
    frame = pd.DataFrame({"x": RNG.normal(size=N), "code": RNG.integers(0, 5, N)})
    made = senn.SENNClassifier(**SMALL, categorical_features=given).fit(frame, LABELS)
    assert [column["kind"] for column in made.columns_] == ["number", "category"]
    assert made.columns_[1]["inputs"] == 5


def test_positions_of_an_array_are_categories():
    x = np.column_stack([RNG.normal(size=N), RNG.integers(0, 3, N)])
    made = senn.SENNClassifier(**SMALL, categorical_features=[1]).fit(x, LABELS)
    assert [column["inputs"] for column in made.columns_] == [1, 3]
    new = x.copy()
    new[:, 1] = 7  # never seen
    assert np.isfinite(made.predict_proba(new)).all()


@pytest.mark.parametrize("given", [["no"], [2], [-3], [True, False, True], 1.5])
def test_categories_that_are_not_there(given):
    frame = pd.DataFrame({"x": RNG.normal(size=N), "code": RNG.integers(0, 5, N)})
    with pytest.raises(DataError, match="categorical_features names"):
        senn.SENNClassifier(**SMALL, categorical_features=given).fit(frame, LABELS)


def test_no_categories_at_all():
    with pytest.raises(DataError, match=r"text.*categorical_features"):
        senn.SENNClassifier(**SMALL, categorical_features=None).fit(TABLE[["town"]], LABELS)


def test_sparse_rows_are_made_dense_a_few_at_a_time(monkeypatch):
    x = scipy.sparse.random_array((N, 6), density=0.3, rng=0, format="coo")
    made = senn.SENNClassifier(**SMALL).fit(x, LABELS)
    wanted, seen = made.predict_proba(x.toarray()), []
    real = type(made)._rows_to_predict
    monkeypatch.setattr(senn.columns.table, "NUMBERS_AT_ONCE", 7 * 6)
    monkeypatch.setattr(
        type(made), "_rows_to_predict", lambda self, X: seen.append(len(X)) or real(self, X)
    )
    np.testing.assert_array_equal(made.predict_proba(x), wanted)
    assert sum(seen) == N
    assert max(seen) == 7
    monkeypatch.setattr(senn.readers, "_machine_memory", lambda: 8 * N * 6)
    np.testing.assert_array_equal(made.predict_proba(x), wanted)
    said = r"X is sparse, .* shape \(\d+, 6\) would take .* some rows at a time to partial_fit"
    with pytest.raises(senn.datasets.DataError, match=said):
        made.fit(x, LABELS)


def test_partial_fit_keeps_what_the_first_rows_told():
    made = senn.SENNClassifier(**SMALL)
    for start in range(0, N, 50):
        made.partial_fit(TABLE.iloc[start : start + 50], LABELS[start : start + 50])
    size = made.network_.in_size
    made.partial_fit(TABLE.head(5).assign(town="elsewhere"), LABELS[:5])
    assert made.network_.in_size == size


def test_the_run_keeps_and_tells_what_was_done(tmp_path):
    TABLE.assign(target=LABELS).to_csv(tmp_path / "t.csv", index=False)
    words = ["train", tmp_path / "t.csv", "--max-iter", "1", "--hidden-sizes", "2", "--no-width",
             "--no-depth", "--out", tmp_path / "run", "--drop", "seen,label",
             "--categorical", "rooms"]  # fmt: skip
    code, out, err = run(*words)
    assert code == 0, err
    assert "left out: empty: note\n" in out
    assert "left out: a single value: country\n" in out
    assert "numbers, decimal commas: rent\n" in out
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    told = {column["name"]: column for column in config["summary"]["columns"]}
    assert "seen" not in told
    assert told["rooms"]["kind"] == "category"
    code, out, err = run("predict", tmp_path / "run", tmp_path / "t.csv")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == N + 1
    assert run("report", tmp_path / "run")[0] == 0
    told = read_story(read_run(tmp_path / "run"))
    assert len(told.features) == told.network.in_size
    names = {"town = Bonn", "built: cosine of the year", "pool: a gap", "rooms: a gap", "rooms = 3"}
    assert names < set(told.features)
    for name in ("m.onnx", "m.npz"):
        assert run("export", tmp_path / "run", tmp_path / name)[0] == 0


def test_the_quick_form_of_the_check_on_tables_as_they_are(tmp_path, capsys):
    for file in any_table.made_up(tmp_path):
        assert any_table.attempt(file, tmp_path, any_table.QUICK), capsys.readouterr().out


def test_what_cannot_be_learned_from_ends_the_command(tmp_path):
    pd.DataFrame({"a": ["x"] * 30, "y": range(30)}).to_csv(tmp_path / "t.csv", index=False)
    refused(["train", tmp_path / "t.csv"], "No column tells rows apart")
