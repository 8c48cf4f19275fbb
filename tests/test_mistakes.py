"""Small inputs that went wrong once, each with what is right; and others of its kind."""

import datetime
import decimal
import io
import zipfile

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import senn
from command import refused, run
from senn import tables
from senn.columns import table_of
from senn.datasets import DataError, check_targets, load
from senn.datasets.options import Options
from senn.datasets.splitting import random_rows
from senn.export import to_numpy, to_onnx
from senn.rows import open_rows

RNG = np.random.default_rng(0)
N = 60
X = RNG.normal(size=(N, 2))
FIXED = senn.Policy(width=False, depth=False)
SMALL = {
    "hidden_sizes": (3,), "max_iter": 2, "optimizer": "adam", "policy": FIXED, "random_state": 0,
}  # fmt: skip
QUICK = ["--max-iter", "1", "--no-width", "--no-depth", "--hidden-sizes", "none", "--optimizer",
         "adam", "--quiet"]  # fmt: skip


def classifier(**settings) -> senn.SENNClassifier:
    return senn.SENNClassifier(**{**SMALL, **settings})


# --- Labels of any kind ----------------------------------------------------------------------

LABELS = {
    "bytes": np.array([b"no", b"yes"]),
    "dates": np.array(["2020-01-01", "2021-01-01"], "M8[D]"),
    "moments": np.array(["2020-01-01", "2021-01-01"], "M8[ns]"),
    "booleans": np.array([False, True]),
    "text": np.array(["no", "ja"]),
    "objects": np.array(["no", "ja"], object),
    "large": np.array([2**63 + 5, 7], np.uint64),
    "small": np.array([1, 2], np.uint8),
    "numbers": np.array([-1.0, 3.0]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_come_back_as_they_were(kind, tmp_path):
    labels = np.sort(LABELS[kind])[(X[:, 0] > 0).astype(int)]
    made = classifier().fit(X, labels)
    made.save(tmp_path / "m.senn")
    loaded = senn.load(tmp_path / "m.senn")
    found, wanted = loaded.predict(X), made.predict(X)
    np.testing.assert_array_equal(found, wanted)
    assert set(wanted) <= set(np.unique(labels))
    if kind != "bytes":  # of which scikit-learn makes no score
        assert loaded.score(X, labels) == made.score(X, labels)
    made.partial_fit(X, labels)
    to_numpy(made, tmp_path / "m.npz")
    if kind in ("bytes", "dates", "moments", "large"):
        with pytest.raises(ValueError, match=r"ONNX.*: train with"):
            to_onnx(made, tmp_path / "m.onnx")
        return
    to_onnx(made, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    (label,) = session.run(["label"], {"X": X.astype(np.float32)})
    assert label.tolist() == made.predict(X.astype(np.float32)).tolist()


@pytest.mark.parametrize(
    "pair",
    [((1, 2), (3, 4)), ({"a"}, {"b"}), (decimal.Decimal, float), (None, "x"), (object(), object())],
)
def test_labels_that_no_file_holds_are_refused_before_training(pair):
    labels = np.empty(N, object)
    labels[:] = [pair[i % 2] for i in range(N)]
    with pytest.raises(DataError):
        classifier().fit(X, labels)


# --- Tables ----------------------------------------------------------------------------------


def test_the_names_of_an_arrow_table_are_kept(tmp_path):
    table = pa.table({"a": X[:, 0], "b": X[:, 1]})
    made = classifier().fit(table, X[:, 0] > 0)
    made.save(tmp_path / "m.senn")
    loaded = senn.load(tmp_path / "m.senn")
    assert loaded.feature_names_ == ["a", "b"]
    np.testing.assert_array_equal(loaded.predict(table), made.predict(table))


ROWS = [(20 + i, 100 * i % 700, "xy"[i % 2]) for i in range(30)]


def lines(separator: str, end: str = "", head: str = "a,b,y", rows=ROWS) -> str:
    text = [head.replace(",", separator)]
    text += [separator.join(map(str, row)) + end for row in rows]
    return "\n".join(text) + "\n"


DIALECTS = {
    "commas in quoted names": lines(";", head='"Area, m2";"Price, EUR";y').replace('";"', '";"'),
    "semicolons in quotes": lines(",", head='"a;b;c;d",b,y'),
    "tabs": lines("\t"),
    "bars": lines("|"),
    "blanks": lines(" "),
    "many blanks": lines("   "),
    "a line that says so": "sep=|\n" + lines("|"),
    "a quoted line that says so": '"sep=;"\n' + lines(";"),
    "ends of lines": lines(",", end=","),
    "ends of all lines": lines(",", end=",", head="a,b,y,"),
    "several ends": lines(";", end=";;", head="a;b;y;;"),
    "a last line of blanks": lines(",") + "   \n \n\n",
    "blank lines between": lines(",").replace("\n", "\n\n"),
    "a separator within words": lines(",", rows=[(a, b, f'"{y}, {y}"') for a, b, y in ROWS]),
    "line ends of Windows": lines(",").replace("\n", "\r\n"),
    "line ends of old": lines(",").replace("\n", "\r"),
    "no end": lines(",").rstrip("\n"),
    "short rows": lines(",") + "5,6\n",
    "names of rows": lines(",", rows=[(f"r{i}", *row) for i, row in enumerate(ROWS)]),
    "a broken quote mark": lines(",", rows=[(a, b, f'{y}"') for a, b, y in ROWS]),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_one_rule_of_reading_for_both_commands(name, tmp_path):
    (tmp_path / "t.csv").write_text(DIALECTS[name], newline="")
    code, _, err = run("train", tmp_path / "t.csv", *QUICK, "--out", tmp_path / "run")
    assert code == 0, err
    loaded = senn.load(tmp_path / "run" / "model.senn")
    assert loaded.n_features_in_ == 2
    code, out, err = run("predict", tmp_path / "run", tmp_path / "t.csv")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1 + len(ROWS) + (name == "short rows")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
def test_encodings_are_told_from_the_file(encoding, tmp_path):
    text = lines(",", head="größe,b,y").replace("x", "schön")
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    data = load(tmp_path / "t.csv")
    assert data.feature_names == ("größe", "b")
    assert data.classes is not None
    assert data.classes.tolist() == ["schön", "y"]
    assert any("Windows-1252" in note for note in data.notes) == (encoding in ("cp1252", "latin-1"))
    said = {"utf-8-sig": "utf-8"}.get(encoding, encoding)
    assert load(tmp_path / "t.csv", encoding=said).feature_names == ("größe", "b")


def test_another_encoding_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "t.csv").write_bytes(lines(",", head="größe,b,y").encode("cp1252"))
    refused(["train", tmp_path / "t.csv", "--encoding", "utf-8"], "no text of encoding utf-8")


RARE = {
    "a line of sums": ("a", "Total", "number"),
    "a word among flags": ("flag", "maybe", "category"),
    "a letter among codes": ("code", "3A", "category"),
    "a day beyond the months": ("day", "25/01/2021", "date"),
    "bytes in a number": ("a", "ÿþ", "number"),
}


@pytest.mark.parametrize("case", RARE)
def test_a_cell_unlike_the_others_is_read_alike_wherever_it_stands(case, tmp_path):
    column, odd, kind = RARE[case]
    frame = pd.DataFrame(
        {
            "a": [f"{i / 7:.2f}" for i in range(60)],
            "flag": ["true", "false"] * 30,
            "code": ["1", "2", "2"] * 20,
            "day": [f"{1 + i % 12}/{1 + i % 11}/2021" for i in range(60)],
            "y": ["no", "yes", "yes"] * 20,
        }
    )
    test = random_rows(check_targets(frame["y"]), Options(None, None, None, 0.2, 0))[1]
    frame.loc[test[0], column] = odd  # where training does not see it
    frame.to_csv(tmp_path / "t.csv", index=False)
    code, out, err = run("train", tmp_path / "t.csv", *QUICK[:-1], "--out", tmp_path / "run")
    assert code == 0, err
    loaded = senn.load(tmp_path / "run" / "model.senn")
    assert {c["name"]: c["kind"] for c in loaded.columns_}[column] == kind
    if kind == "number":
        assert f"such as {odd!r} in row {test[0] + 1}" in out
    for words in (["predict", tmp_path / "run", tmp_path / "t.csv"], ["report", tmp_path / "run"]):
        code, _, err = run(*words)
        assert (code, err) == (0, "")


TITLED = {
    "one line": "Report of 2024\n\n" + lines(","),
    "two lines": "Umsatz\nStand: heute\n" + lines(";"),
    "remarks": "# made by a program\n# 2024-01-01\n" + lines("\t"),
}


@pytest.mark.parametrize("case", TITLED)
def test_lines_above_the_names(case, tmp_path):
    (tmp_path / "t.csv").write_text(TITLED[case])
    data = load(tmp_path / "t.csv")
    assert data.feature_names == ("a", "b")
    assert len(data.x) + len(data.x_test) == len(ROWS)
    assert any("above the names of the columns" in note for note in data.notes)
    rows = open_rows(str(tmp_path / "t.csv"), ["a", "b"])
    assert rows.names == ("a", "b", "y")
    assert sum(len(chunk.cells) for chunk in rows.chunks()) == len(ROWS)


@pytest.mark.parametrize("how", [{"startrow": 3, "startcol": 2}, {"startrow": 2}, {"index": True}])
def test_a_table_that_stands_somewhere_in_its_sheet(how, tmp_path):
    frame = pd.DataFrame(ROWS, columns=["a", "b", "y"])
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        frame.to_excel(book, **{"index": False, **how})
        if how == {"startrow": 2}:
            book.sheets["Sheet1"]["A1"] = "A title"
    data = load(tmp_path / "t.xlsx")
    assert data.feature_names == ("a", "b")
    assert data.x.dtype.kind == "f"
    assert sorted(data.classes) == ["x", "y"]


def test_a_sheet_that_claims_endless_rows(tmp_path):
    pd.DataFrame(ROWS, columns=["a", "b", "y"]).to_excel(tmp_path / "t.xlsx", index=False)
    with zipfile.ZipFile(tmp_path / "t.xlsx") as book:
        members = {name: book.read(name) for name in book.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    members[sheet] = members[sheet].replace(b'<row r="9"', b'<row r="2147483648"')
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as book:
        for name, content in members.items():
            book.writestr(name, content)
    refused(["train", tmp_path / "t.xlsx"], "it claims a row 2147483648, and sheets have 1,048,576")


def test_times_and_durations_in_a_file(tmp_path):
    pa.parquet.write_table(
        pa.table(
            {
                "time": [datetime.time(i % 24) for i in range(N)],
                "span": [datetime.timedelta(hours=i) for i in range(N)],
                "y": [i % 2 for i in range(N)],
            }
        ),
        tmp_path / "t.parquet",
    )
    code, _, err = run("train", tmp_path / "t.parquet", *QUICK, "--out", tmp_path / "run")
    assert code == 0, err
    loaded = senn.load(tmp_path / "run" / "model.senn")
    assert [(c["kind"], c["inputs"]) for c in loaded.columns_] == [("date", 3), ("number", 1)]
    code, out, err = run("predict", tmp_path / "run", tmp_path / "t.parquet")
    assert (code, err) == (0, "")
    found = pd.read_csv(io.StringIO(out))["probability_1"]
    table = table_of(pa.parquet.read_table(tmp_path / "t.parquet").drop_columns("y"))
    np.testing.assert_allclose(found, loaded.predict_proba(table)[:, 1], atol=1e-8)


@pytest.mark.parametrize("table", [
    pd.DataFrame(X, columns=["a", "a"]), pa.table([X[:, 0], X[:, 1]], names=["a", "a"]),
])  # fmt: skip
def test_two_columns_of_one_name(table):
    with pytest.raises(DataError, match="several columns called 'a': give each"):
        classifier().fit(table, X[:, 0] > 0)


def test_intervals_are_categories():
    table = pd.DataFrame({"a": X[:, 1], "range": pd.cut(X[:, 0], [-9, -1, 0, 1])})
    made = classifier().fit(table, X[:, 0] > 0)
    assert made.columns_[1]["kind"] == "category"
    assert made.columns_[1]["inputs"] == 4  # gaps are one more
    np.testing.assert_array_equal(made.predict(table.astype({"range": str})), made.predict(table))


def test_fields_without_any_row(tmp_path):
    np.save(tmp_path / "t.npy", np.zeros(0, [("a", float), ("y", int)]))
    refused(["train", tmp_path / "t.npy"], "2 columns and 0 rows")


def test_bytes_that_are_no_text_after_the_first_lines(tmp_path):
    (tmp_path / "t.csv").write_text(lines(",") + "\n" * 9000 + "1,2,\0x\n")
    refused(["train", tmp_path / "t.csv"], "binary after its first lines")


def test_names_of_thousands_of_characters_are_cut_in_messages(tmp_path):
    path = target(tmp_path, [*NUMBERS[:16], "abc", *NUMBERS[17:]])
    path.write_text(path.read_text().replace("y", "y" * 5000, 1))
    with pytest.raises(DataError, match=r"the target 'y+\.\.\.' holds numbers") as caught:
        load(path)
    assert len(str(caught.value)) < 500


# --- Targets ---------------------------------------------------------------------------------


def target(tmp_path, values, separator=","):
    text = "a" + separator + "y\n"
    text += "".join(f"{i}{separator}{value}\n" for i, value in enumerate(values))
    (tmp_path / "t.csv").write_text(text)
    return tmp_path / "t.csv"


NUMBERS = [f"{v:.2f}" for v in np.linspace(1, 99, 75)]


def test_one_question_mark_in_a_target_of_numbers(tmp_path):
    data = load(target(tmp_path, [*NUMBERS[:16], "?", *NUMBERS[17:]]))
    assert data.task == "regression"
    assert len(data.x) + len(data.x_test) == 74
    assert any("1 row without a target" in n and "row 17 ('?')" in n for n in data.notes)


@pytest.mark.parametrize("word", ["abc", "12.5.3", "n/b", "see note"])
def test_one_odd_word_in_a_target_of_numbers(word, tmp_path):
    path = target(tmp_path, [*NUMBERS[:16], word, *NUMBERS[17:]])
    refused(["train", path], f"'{word}' in row 17 .*mend or drop it, or say --task classification")


@pytest.mark.parametrize("write", [
    lambda v: f"{v:.2f}".replace(".", ","), lambda v: f"{1000 * v:,.1f}", lambda v: f"${v:.2f}",
    lambda v: f"{v:.1f} %", lambda v: f"{v:.2f} €".replace(".", ","), lambda v: f"{v:.3e}",
])  # fmt: skip
def test_numbers_as_people_write_them_are_a_regression(write, tmp_path):
    values = np.linspace(1, 99, 75)
    data = load(target(tmp_path, map(write, values), ";"))
    assert data.task == "regression"
    found = np.sort(np.concatenate([data.y, data.y_test])[:, 0])
    np.testing.assert_allclose(found / found[-1], values / values[-1], atol=0.002)


def test_dates_are_no_target(tmp_path):
    days = pd.date_range("2020-01-01", periods=75).astype(str)
    refused(["train", target(tmp_path, days)], "holds dates, such as '2020-01-01'.*--target")


def test_an_empty_last_column_is_no_target(tmp_path):
    (tmp_path / "t.csv").write_text("a,y,z\n" + "".join(f"{i},{i % 2},\n" for i in range(30)))
    data = load(tmp_path / "t.csv")
    assert data.target_name == "y"
    assert any("The target is 'y', for all columns after it are empty" in n for n in data.notes)


# --- Numbers ---------------------------------------------------------------------------------


def test_integers_of_26_digits():
    table = pd.DataFrame({"a": [10**25 + i * 10**23 for i in range(N)], "b": X[:, 0]})
    assert np.isfinite(classifier().fit(table, X[:, 0] > 0).predict_proba(table)).all()
    text = table.astype({"a": str})
    made = classifier().fit(text, X[:, 0] > 0)
    np.testing.assert_array_equal(made.predict_proba(text), made.predict_proba(table))


def test_seconds_since_1970_keep_their_digits(tmp_path):
    seconds = 1_700_000_000 + np.arange(400)
    pd.DataFrame({"t": seconds, "y": seconds - 1_700_000_200.5}).to_csv(
        tmp_path / "t.csv", index=False
    )
    data = load(tmp_path / "t.csv")
    assert data.x.dtype == np.float64
    words = ["--max-iter", "400", "--no-width", "--no-depth", "--hidden-sizes", "none", "--quiet"]
    code, out, err = run("train", tmp_path / "t.csv", *words, "--out", tmp_path / "run")
    assert code == 0, err
    score = float(out.partition("test R²: ")[2].split()[0])
    assert score > 0.99
    code, out, err = run("predict", tmp_path / "run", tmp_path / "t.csv", "--target", "y")
    assert float(err.split()[1]) > 0.99
    to_onnx(senn.load(tmp_path / "run" / "model.senn"), tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    (found,) = session.run(None, {"X": seconds[:, None].astype(float)})
    predicted = pd.read_csv(io.StringIO(out))["prediction"]
    np.testing.assert_allclose(found, predicted, rtol=1e-4, atol=1e-3)


# --- Parameters ------------------------------------------------------------------------------


class Stop(senn.Callback):
    def on_evaluation(self, evaluation):  # noqa: ARG002
        raise KeyboardInterrupt


SEARCHES = {
    "a search": lambda made: GridSearchCV(made, {"tol": [1e-3, 1e-2]}, cv=2).fit(X, X[:, 0] > 0),
    "cross-validation": lambda made: cross_val_score(made, X, X[:, 0] > 0, cv=2),
    "a pipeline": lambda made: make_pipeline(StandardScaler(), made).fit(X, X[:, 0] > 0),
}


@pytest.mark.parametrize("case", SEARCHES)
def test_an_interrupt_ends_whoever_called_fit_for_more(case):
    with pytest.raises(KeyboardInterrupt):
        SEARCHES[case](classifier(callbacks=[Stop()]))


def test_an_interrupt_of_fit_itself_keeps_what_was_learned():
    made = classifier(callbacks=[Stop()]).fit(X, X[:, 0] > 0)
    assert made.history_.stop_reason == "interrupted"
    assert made.predict(X).shape == (N,)


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({"hidden_sizes": 5}, (5,)),
        ({"hidden_sizes": np.int64(5)}, (5,)),
        ({"hidden_sizes": [4, 2]}, (4, 2)),
        ({"batch_size": "auto"}, (3,)),
        ({"callbacks": None}, (3,)),
        ({"callbacks": senn.Callback()}, (3,)),
        ({"hidden_sizes": 10, "max_units": 2}, (2,)),
        ({"hidden_sizes": (10, 4), "max_units": 8}, (4, 4)),
        ({"max_units": 0}, ()),
        ({"hidden_sizes": (4, 4), "max_layers": 1}, (4,)),
        ({"max_layers": 0}, ()),
        ({"hidden_sizes": 10, "max_parameters": 30, "activation": "relu", "bins": 0}, (5,)),
    ],
)
def test_settings_as_people_give_them(settings, sizes, tmp_path):
    made = classifier(**settings).fit(X, X[:, 0] > 0)
    assert made.hidden_sizes_ == sizes
    if "max_parameters" in settings:
        assert made.n_parameters_ <= settings["max_parameters"]
    made.save(tmp_path / "m.senn")
    assert senn.load(tmp_path / "m.senn").hidden_sizes_ == sizes
    made.partial_fit(X, X[:, 0] > 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_sizes": "10"}, "hidden_sizes='10': each size must be a whole number"),
        ({"hidden_sizes": (2.5,)}, "each size must be a whole number"),
        ({"hidden_sizes": None}, "hidden_sizes=None"),
        ({"hidden_sizes": (0,)}, "each size must be a whole number above 0"),
        ({"batch_size": "large"}, "batch_size='large' must be a whole number"),
        ({"batch_size": 0}, "batch_size=0 must be"),
        ({"callbacks": "verbose"}, "'verbose' is no senn.Callback"),
        ({"callbacks": [print]}, "is no senn.Callback"),
        ({"max_parameters": 2, "bins": 0}, "max_parameters=2 is less than the 6 of a linear model"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        classifier(**settings).fit(X, X[:, 0] > 0)
    assert "\n" not in str(caught.value)


def test_fields_of_the_policy_can_be_searched():
    plain = senn.SENNClassifier(**{**SMALL, "policy": None})
    assert plain.get_params()["policy__alpha"] == tables.POLICY.alpha
    raw = senn.SENNClassifier(**{**SMALL, "policy": None}, standardize=True)
    assert raw.get_params()["policy__alpha"] == senn.Policy().alpha
    assert "policy__alpha" not in plain.get_params(deep=False)
    grid = {"policy__alpha": [1e-3, 1e-2], "policy__width": [False], "policy__depth": [False]}
    search = GridSearchCV(plain, grid, cv=2).fit(X, X[:, 0] > 0)
    assert search.best_estimator_.policy.alpha in (1e-3, 1e-2)
    assert plain.policy is None
    made = classifier().set_params(policy__tau=1.5, tol=0.1)
    assert (made.policy.tau, made.policy.width, made.tol) == (1.5, False, 0.1)
    assert FIXED.tau == senn.Policy().tau
    assert clone(made).policy.tau == 1.5
    with pytest.raises(ValueError, match="Invalid parameter 'policy__magic'"):
        made.set_params(policy__magic=1)
    nested = make_pipeline(StandardScaler(), classifier())
    nested.set_params(sennclassifier__policy__alpha=0.5)
    assert nested[-1].policy.alpha == 0.5
