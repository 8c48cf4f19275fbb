"""Every source gives arrays of the promised shapes; everything unusable gives one sentence."""

import gzip
import os
import re
import sys
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import scipy.sparse
from sklearn.datasets import load_digits, make_moons

from mnist import PARTS, write_idx
from senn import readers
from senn.columns import Table
from senn.datasets import DataError, check_features, check_targets, infer_task, load, split_rows
from senn.datasets.digits import digits_arrays
from senn.datasets.moons import half_moons

ROWS = "".join(f"{i * 0.5},{i % 7},{'ab'[i % 2]}\n" for i in range(40))
TABLE = "f,g,c\n" + ROWS
X = np.random.default_rng(0).normal(size=(30, 3))
Y = np.arange(30) % 3


def assert_one_sentence(message: str) -> None:
    assert message.endswith(".")
    assert "\n" not in message
    assert "Traceback" not in message


def csv_file(folder: Path, content: str | bytes, name: str = "t.csv") -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def npz_file(folder: Path, **arrays) -> str:
    np.savez(folder / "t.npz", **arrays)
    return str(folder / "t.npz")


def idx_folder(folder: Path, first_labels: str = "0123456789", **changes: np.ndarray) -> Path:
    """A data set of 20 training and 10 test images as four gzipped IDX files."""
    rng = np.random.default_rng(0)
    labels = np.array([int(c) for c in first_labels])
    arrays = {
        "train_images": rng.integers(0, 256, (20, 28, 28)),
        "train_labels": np.tile(labels, 2),
        "test_images": rng.integers(0, 256, (10, 28, 28)),
        "test_labels": labels,
        **changes,
    }
    write_idx(folder, list(arrays.values()))
    return folder


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No data folder is known, and OpenML cannot be reached."""

    def unreachable(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.delenv("SENN_DATA", raising=False)
    monkeypatch.setattr("senn.datasets.mnist.SYSTEM_FOLDER", tmp_path / "nothing")
    monkeypatch.setattr("sklearn.datasets.fetch_openml", unreachable)


# --- Named data sets -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "train", "test", "n_classes", "images"),
    [
        ("digits", (1438, 64), (359, 64), 10, True),
        ("moons", (2000, 2), (10_000, 2), 2, False),
    ],
)
def test_generated_sets(name, train, test, n_classes, images):
    data = load(name)
    assert (data.x.shape, data.x_test.shape) == (train, test)
    assert (data.y.shape, data.y_test.shape) == (train[:1], test[:1])
    assert (data.name, data.task, data.images) == (name, "classification", images)
    assert data.x.dtype == data.x_test.dtype == np.float32
    assert data.y.dtype == data.y_test.dtype == np.int32
    assert data.classes is not None
    np.testing.assert_array_equal(data.classes, np.arange(n_classes))
    assert set(data.y) == set(data.y_test) == set(range(n_classes))
    assert len(data.feature_names) == train[1]
    if images:
        assert data.x.min() == 0.0
        assert data.x.max() == 1.0


@pytest.mark.parametrize("name", ["digits", "moons", "Digits"])
def test_seed_decides(name):
    first, again, other = load(name, seed=3), load(name, seed=3), load(name, seed=4)
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.y_test, again.y_test)
    assert not np.array_equal(first.x, other.x)
    assert not np.array_equal(first.x_test, other.x_test)


def test_digits_are_stratified():
    data = load("digits")
    everything = np.bincount(np.concatenate([data.y, data.y_test]))
    assert np.abs(np.bincount(data.y_test) - 0.2 * everything).max() < 1.5


def test_moons_train_and_test_are_independent():
    data = load("moons")
    assert not set(map(tuple, data.x)) & set(map(tuple, data.x_test))
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(data.x, data.x_test[:2000])


@pytest.mark.parametrize("folder", ["", "mnist"])
def test_mnist_in_full(folder, mnist_folder):
    data = load("mnist", data_dir=mnist_folder / folder)
    assert data.x.shape == (60_000, 784)
    assert data.x_test.shape == (10_000, 784)
    assert data.x.dtype == np.float32
    assert (data.x.min(), data.x.max()) == (0.0, 1.0)
    assert data.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(data.y_test).tolist() == [
        *(980, 1135, 1032, 1010, 982),
        *(892, 958, 1028, 974, 1009),
    ]
    assert data.images
    assert data.target_name == "digit"


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("place", ["data_dir", "environment", "system"])
def test_idx_sets_are_found(name, nested, place, tmp_path, monkeypatch, offline):
    idx_folder(tmp_path / "data" / name if nested else tmp_path / "data")
    if place == "environment":
        monkeypatch.setenv("SENN_DATA", str(tmp_path / "data"))
    if place == "system":
        monkeypatch.setenv("SENN_DATA", str(tmp_path / "elsewhere"))
        monkeypatch.setattr("senn.datasets.mnist.SYSTEM_FOLDER", tmp_path / "data")
    data = load(name, data_dir=tmp_path / "data" if place == "data_dir" else None)
    assert data.x.shape == (20, 784)
    assert data.x_test.shape == (10, 784)
    assert "data" in data.notes[0]


def test_unzipped_idx_files_are_read(tmp_path):
    idx_folder(tmp_path)
    for part in PARTS:
        zipped = tmp_path / f"{part}.gz"
        (tmp_path / part).write_bytes(gzip.decompress(zipped.read_bytes()))
        zipped.unlink()
    assert load("mnist", data_dir=tmp_path).x.shape == (20, 784)


def test_a_set_is_not_taken_for_the_other(tmp_path, offline):
    idx_folder(tmp_path / "mnist")
    with pytest.raises(DataError, match="does not hold the files of fashion-mnist"):
        load("fashion-mnist", data_dir=tmp_path / "mnist")
    idx_folder(tmp_path / "data", first_labels="5041921314")
    with pytest.raises(DataError, match="holds mnist, not fashion-mnist"):
        load("fashion-mnist", data_dir=tmp_path / "data")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda zipped: zipped[:200], "Compressed file ended"),
        (lambda zipped: b"garbage" + zipped, "Not a gzipped file"),
        (lambda zipped: zipped[:0], "starts with nothing, not with 000008"),
        (lambda zipped: gzip.compress(gzip.decompress(zipped)[:-1]), "holds 15679 bytes"),
        (lambda zipped: gzip.compress(gzip.decompress(zipped) + b"0"), r"shape \(20, 28, 28\)"),
        (b"\0\0\x0d\x03" + b"\0" * 20, "starts with 00000d03"),
        (b"\0\0\x08\x03\0\0", "not with 000008 and a shape"),
        (b"\0\0\x08\x00" + b"\0" * 9, "not with 000008 and a shape"),
    ],
)
def test_damaged_idx_files(damage, message, tmp_path):
    file = idx_folder(tmp_path) / f"{PARTS[0]}.gz"
    content = damage(file.read_bytes()) if callable(damage) else gzip.compress(damage)
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load("mnist", data_dir=tmp_path)
    assert PARTS[0] in str(caught.value)
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": np.zeros((20, 24, 24))}, r"training set .* shape \(20, 24, 24\)"),
        ({"train_labels": np.zeros(19)}, r"labels of shape \(19,\)"),
        ({"test_labels": np.full(10, 11)}, "test set .* up to 11"),
        ({"test_images": np.zeros((0, 28, 28)), "test_labels": np.zeros(0)}, r"test set .* \(0,\)"),
    ],
)
def test_idx_sets_that_do_not_fit(changes, message, tmp_path):
    with pytest.raises(DataError, match=message):
        load("mnist", data_dir=idx_folder(tmp_path, **changes))


def test_a_missing_idx_file_is_named(tmp_path):
    (idx_folder(tmp_path) / f"{PARTS[3]}.gz").unlink()
    with pytest.raises(DataError, match=f"lacks '{PARTS[3]}.gz'"):
        load("mnist", data_dir=tmp_path)


def test_mnist_that_is_nowhere(tmp_path, offline):
    with pytest.raises(DataError, match="Name or service not known") as caught:
        load("mnist")
    assert "--data-dir" in str(caught.value)
    assert "SENN_DATA" in str(caught.value)
    with pytest.raises(DataError, match="is no folder with the files of mnist"):
        load("mnist", data_dir=tmp_path / "typo")


@pytest.mark.parametrize(("first", "fits"), [("5041921314", True), ("9999999999", False)])
def test_mnist_from_openml(first, fits, monkeypatch, offline):
    labels = np.array(list(first) * 7000)
    pixels = np.zeros((70_000, 784), dtype=np.uint8)
    pixels[60_000:] = 255
    bunch = type("Bunch", (), {"data": pixels, "target": labels})()
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *_, **__: bunch)
    if not fits:
        with pytest.raises(DataError, match="not in the official order"):
            load("mnist")
        return
    data = load("mnist")
    assert data.x.shape == (60_000, 784)
    assert (data.x.max(), data.x_test.min()) == (0.0, 1.0)
    assert data.notes == ("Read from OpenML.",)


# --- Tables --------------------------------------------------------------------------------


def test_csv(tmp_path):
    data = load(csv_file(tmp_path, TABLE))
    assert (data.name, data.task, data.target_name) == ("t.csv", "classification", "c")
    assert data.feature_names == ("f", "g")
    assert data.x.shape == (32, 2)
    assert data.x_test.shape == (8, 2)
    assert data.classes is not None
    assert data.classes.tolist() == ["a", "b"]
    assert data.notes == ("Taken as a classification, because the target 'c' holds text.",)


@pytest.mark.parametrize("suffix", [".parquet", ".PARQUET"])
def test_parquet_equals_csv(suffix, tmp_path):
    source = csv_file(tmp_path, TABLE)
    pd.read_csv(source).to_parquet(tmp_path / f"t{suffix}")
    data, same = load(source), load(str(tmp_path / f"t{suffix}"))
    np.testing.assert_array_equal(data.x, same.x)
    np.testing.assert_array_equal(data.y_test, same.y_test)
    assert data.notes == same.notes


def test_target_by_name(tmp_path):
    source = csv_file(tmp_path, "price,size\n" + "".join(f"{i}.5,{i}\n" for i in range(30)))
    data = load(source, target="price")
    assert (data.task, data.target_name, data.feature_names) == ("regression", "price", ("size",))
    assert data.y.shape == (24, 1)
    assert data.y.dtype == np.float32
    assert data.classes is None
    np.testing.assert_allclose(data.y, data.x + 0.5)


def test_the_task_can_be_said(tmp_path):
    source = csv_file(tmp_path, "a,b\n" + "".join(f"{i},{i % 2}.0\n" for i in range(30)))
    told = load(source)
    assert told.task == "regression"
    assert 'task="classification" if they are classes' in told.notes[0]
    said = load(source, task="classification")
    assert said.notes == ()
    assert said.classes is not None
    assert said.classes.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_rows_are_split_without_overlap(suffix, tmp_path):
    if suffix == "csv":
        rows = "".join(f"{i},{i * 0.5}\n" for i in range(50))
        source = csv_file(tmp_path, "a,b\n" + rows)
    else:
        source = npz_file(tmp_path, X=np.arange(50.0)[:, None], y=np.arange(50.0) / 2)
    data, again = load(source, seed=1), load(source, seed=1)
    other = load(source, seed=2, test_fraction=0.5)
    np.testing.assert_array_equal(data.x, again.x)
    assert not np.array_equal(data.x_test, other.x_test[:10])
    assert len(other.x_test) == 25
    assert sorted([*data.x[:, 0], *data.x_test[:, 0]]) == list(range(50))
    np.testing.assert_array_equal(data.x_test, 2 * data.y_test)


@pytest.mark.parametrize(
    ("content", "names", "note"),
    [
        (TABLE.replace(",", ";"), ("f", "g"), "separated by ';'"),
        (TABLE.replace(",", "\t"), ("f", "g"), r"separated by '\\t'"),
        (TABLE.replace(",", ", "), ("f", "g"), None),
        ("\ufeff" + TABLE, ("f", "g"), None),
        ("\n\n" + TABLE, ("f", "g"), None),
        (TABLE.replace("\n", "\r\n"), ("f", "g"), None),
        (ROWS, ("column_0", "column_1"), "first row looks like data"),
        ("1.5,2,3\n" * 4 + "2,1,4\n" * 4, ("column_0", "column_1"), "first row looks like data"),
        ("0,1,2\n" + ROWS, ("0", "1"), "is taken for the names"),
        ("2019,2020,c\n" + ROWS, ("2019", "2020"), None),
        (",f,c\n" + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(9)), ("f",), "counts the rows"),
        (",f,c\n" + "".join(f"{i},{i},{i % 2}\n" for i in range(5, 9)) * 2, None, None),
        ("f,f,c\n" + ROWS, ("f", "f.1"), None),
        ("f,g,c\n" + "true,1,x\nfalse,1,y\n" * 5, ("f", "g"), "a single value in column 'g'"),
        (
            "f,g,c\n" + "".join(f"{1.7e9 + i},{i},{i % 2}\n" for i in range(9)),
            ("f", "g"),
            "Float64 is used, for column 'f' needs it",
        ),
    ],
)
def test_csv_dialects(content, names, note, tmp_path):
    data = load(csv_file(tmp_path, content))
    assert data.feature_names == (names or ("Unnamed: 0", "f"))
    expected = len(content.replace("\r", "").strip().splitlines())
    expected -= 0 if names == ("column_0", "column_1") else 1
    assert len(data.x) + len(data.x_test) == expected
    said, *more = data.notes
    assert said.startswith("Taken as a classification")
    assert [bool(re.search(note or "", words)) for words in more] == [True] * (note is not None)


BAD_TABLES = {
    "empty": ("", "t.csv: it is empty"),
    "blank": ("\n \n", "t.csv: it is empty"),
    "header only": ("a,b\n", "it has 2 columns and 0 rows"),
    "one row": ("a,b\n1,2\n", r"Found 1 row \(n_samples=1\) while a minimum of 5"),
    "few rows": ("a,b\n1,2\n3,4\n5,6\n", "Found 3 rows .* give more rows"),
    "ragged": ("a,b\n1,2\n3,4,5\n", "row 2 has 3 fields where there are 2 columns"),
    "wide": ("a,b\n" + "1,2,3\n" * 6, "row 1 has 3 fields where there are 2 columns"),
    "open quote": ('a,b\n1,"2\n3,4\n', "a quote is never closed"),
    "binary": (b"\x89PNG\x00\x00", "binary, or UTF-16"),
    "long field": ('"' + "x" * 140_000 + '",b\n1,2\n', "field larger than field limit"),
    "target only": ("a\n" + "1\n2\n" * 9, "it has 1 column and 18 rows"),
    "one class": ("a,b\n" + "1,x\n" * 9, "'b' has only one class, 'x'"),
    "all classes": ("a,b\n" + "".join(f"1,n{i}\n" for i in range(9)), "9 rows of 9 classes"),
    "infinity": (
        "a,b\n" + "1,2\n-inf,3\n" * 4,
        r"have infinity in column 'a' \(4 of 8 rows\): drop those rows or fill them in \(impute\)",
    ),
    "nothing at all": ("a,b\n" + ",\n?,?\n,NA\n" * 4, "the target 'b' is empty: choose another"),
    "odd target": (
        "a,b\n" + "".join(f"{i},{i}\n" for i in range(20)) + "3,abc\n",
        r"the target 'b' holds numbers, but 'abc' in row 21 \(1 such row of 21\): .*--task class",
    ),
    "target infinity": ("a,b\n" + "1,2.5\n2,inf\n" * 4, r"target has infinity in column 'b' \(4"),
    "overflow": (
        "a,b,c\n" + "1,1e200,x\n2,3,y\n" * 4,
        r"values up to 1e\+200 in column 'b', beyond the 3.4e\+38 of float32",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_tables(content, message, tmp_path):
    with pytest.raises(DataError, match=message) as caught:
        load(csv_file(tmp_path, content))
    assert str(caught.value).startswith(str(tmp_path / "t.csv"))
    assert_one_sentence(str(caught.value))


def test_unknown_target_column(tmp_path):
    source = csv_file(tmp_path, "age,size,kind\n1,2,x\n")
    with pytest.raises(DataError, match="no column is called 'knd', did you mean 'kind'") as caught:
        load(source, target="knd")
    assert "the columns are 'age', 'size' and 'kind'." in str(caught.value)


def test_parquet_keeps_the_types_of_columns(tmp_path):
    frame = pd.DataFrame(
        {
            "day": pd.date_range("2020-01-01", periods=9),
            "sort": pd.Categorical(list("abc") * 3),
            "list": [[1, 2]] * 9,
            "flag": [True, False, True] * 3,
            "y": list("uvuvuvuvu"),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    data = load(str(tmp_path / "t.parquet"), drop=["list"])
    assert isinstance(data.x, Table)
    assert data.x.names == ("day", "sort", "flag")
    assert data.x.categorical == (False, True, False)
    assert [column.dtype.kind for column in data.x.columns] == ["M", "O", "b"]


def test_unreadable_parquet(tmp_path):
    (tmp_path / "t.parquet").write_text("no parquet")
    with pytest.raises(DataError, match=r"this is no readable \.parquet file") as caught:
        load(str(tmp_path / "t.parquet"))
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("pandas", "t.parquet"),
        ("pyarrow", "t.parquet"),
        ("openpyxl", "t.xlsx"),
        ("pandas", "t.feather"),
    ],
)
def test_tables_without_the_extra(module, name, tmp_path, monkeypatch):
    frame = pd.DataFrame({"a": range(9), "y": range(9)})
    write = {".xlsx": frame.to_excel, ".parquet": frame.to_parquet, ".feather": frame.to_feather}
    write[Path(name).suffix](tmp_path / name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=r"pip install 'senn\[tables\]'") as caught:
        load(str(tmp_path / name))
    assert_one_sentence(str(caught.value))


# --- Arrays in files -----------------------------------------------------------------------


@pytest.mark.parametrize("keys", [("X", "y"), ("x", "y"), ("x_train", "y_train"), ("X", "label")])
def test_npz(keys, tmp_path):
    x_key, y_key = keys
    source = npz_file(tmp_path, **{x_key: X, y_key: Y})
    data = load(source, target="label" if y_key == "label" else None)
    assert (data.task, data.target_name) == ("classification", y_key)
    assert data.feature_names == ("column_0", "column_1", "column_2")
    assert data.x.shape == (24, 3)
    assert data.x.dtype == np.float32


def test_npz_with_its_own_test_set(tmp_path):
    names = np.array(["no", "yes", "maybe"])
    data = load(npz_file(tmp_path, X=X, y=names[Y], X_test=X[:4], y_test=names[Y[:4]]))
    np.testing.assert_array_equal(data.x, X.astype(np.float32))
    np.testing.assert_array_equal(data.x_test, data.x[:4])
    np.testing.assert_array_equal(data.y_test, data.y[:4])
    assert data.classes is not None
    assert data.classes.tolist() == ["maybe", "no", "yes"]


def test_npz_with_several_outputs(tmp_path):
    data = load(npz_file(tmp_path, X=X, y=X[:, :2]))
    assert (data.task, data.y.shape, data.y_test.shape) == ("regression", (24, 2), (6, 2))
    assert "has 2 columns" in data.notes[0]


BAD_ARRAYS = {
    "no y": (
        {"X": X},
        "no array is called 'y' or 'Y' or 'y_train' or 'Y_train' for .*; the arrays are 'X'",
    ),
    "no X": ({"y": Y}, "no array is called 'X' or 'x'"),
    "nothing": ({}, "the arrays are none at all"),
    "y longer": ({"X": X, "y": np.arange(31)}, "y has 31 values but X has 30 rows"),
    "5-D": ({"X": X[:, None, None, None], "y": Y}, r"got 5 \(shape=.*: .* X.reshape\(len\(X\), -1"),
    "complex": ({"X": X + 1j, "y": Y}, "Complex data not supported"),
    "objects": ({"X": X.astype(object), "y": Y}, "it holds objects"),
    "no rows": ({"X": X[:0], "y": Y[:0]}, "Found 0 rows"),
    "no columns": ({"X": X[:, :0], "y": Y}, r"Found 0 feature\(s\)"),
    "NaN in y": ({"X": X, "y": X[:, 0] * np.nan}, r"target has missing .* 'y' \(30 of 30 rows\)"),
    "half a test": ({"X": X, "y": Y, "X_test": X}, "it has 'X_test' but no 'y_test'"),
    "no test rows": (
        {"X": X, "y": Y, "X_test": X[:0], "y_test": Y[:0]},
        "30 rows to train on and 0 to test with",
    ),
    "narrow test": (
        {"X": X, "y": Y, "X_test": X[:, 1:], "y_test": Y},
        r"'X_test' has shape \(30, 2\) but its training array \(30, 3\)",
    ),
    "test of another kind": (
        {"X": X, "y": Y, "X_test": X.astype("datetime64[s]"), "y_test": Y},
        r"'X_test' holds datetime64\[s\] but its training array float64",
    ),
    "short test": (
        {"X": X, "y": Y, "X_test": X, "y_test": Y[:4]},
        "y_test has 4 values but X_test has 30 rows",
    ),
    "unseen class": (
        {"X": X, "y": Y, "X_test": X, "y_test": Y + 1},
        "the test rows hold classes that 'y' never has, '3'",
    ),
}


@pytest.mark.parametrize(("arrays", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_bad_npz(arrays, message, tmp_path):
    with pytest.raises(DataError, match=message) as caught:
        load(npz_file(tmp_path, **arrays))
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 garbage", "cut"])
def test_unreadable_npz(content, tmp_path):
    source = Path(npz_file(tmp_path, X=X, y=Y))
    source.write_bytes(source.read_bytes()[:300] if content == "cut" else content)
    with pytest.raises(DataError, match="no npz file of plain arrays") as caught:
        load(str(source))
    assert_one_sentence(str(caught.value))


def test_long_names_are_cut(tmp_path):
    (tmp_path / "t.csv").write_text(f"{'a' * 9000},{'b' * 9000},y\n" + "1,inf,0\n2,3,1\n" * 9)
    with pytest.raises(DataError, match=r"'b{57}\.\.\.' \(9 of 18 rows\)") as caught:
        load(str(tmp_path / "t.csv"))
    assert_one_sentence(str(caught.value))
    assert len(str(caught.value)) < 500


def test_an_npz_file_with_a_member_that_is_no_array(tmp_path):
    source = npz_file(tmp_path, X=X, y=Y)
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("notes.txt", "text")
    with pytest.raises(DataError, match=r"'notes\.txt' in it is no array"):
        load(source)


def test_an_idx_file_of_more_dimensions_than_images_have(tmp_path):
    (tmp_path / "images").write_bytes(b"\0\0\x08\xff" + b"\xff" * 4 * 255)
    with pytest.raises(DataError, match="is no IDX file of bytes") as caught:
        readers.read_idx(tmp_path / "images")
    assert_one_sentence(str(caught.value))


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(readers, "_machine_memory", lambda: 2 * 2**20)


def test_an_archive_that_unpacks_to_more_than_memory_holds(tmp_path, little_memory):
    np.savez_compressed(tmp_path / "bomb.npz", X=np.zeros((2**18, 1)), y=np.zeros(2**18))
    assert (tmp_path / "bomb.npz").stat().st_size < 2**14
    with pytest.raises(
        DataError, match=r"0\.00391 GiB of memory, more than half of this machine's"
    ):
        load(str(tmp_path / "bomb.npz"))


def test_a_table_that_is_filled_up_to_more_than_memory_holds(tmp_path, little_memory):
    names = ",".join(f"c{k}" for k in range(2000))
    (tmp_path / "short.csv").write_text(names + "\n" + "1\n" * 1000)
    with pytest.raises(DataError, match="more than half of this machine's"):
        load(str(tmp_path / "short.csv"))


def test_a_parquet_file_of_few_bytes_a_row(tmp_path, little_memory):
    pd.DataFrame({"a": np.zeros(2**20), "y": 0}).to_parquet(tmp_path / "long.parquet")
    assert (tmp_path / "long.parquet").stat().st_size < 2**14
    with pytest.raises(DataError, match="more than half of this machine's"):
        load(str(tmp_path / "long.parquet"))


def test_a_parquet_file_whose_text_is_none(tmp_path):
    text = pyarrow.array([b"\xff\xfe"] * 10).cast(pyarrow.string(), safe=False)
    table = pyarrow.table({"a": np.arange(10.0), "y": text})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match="A column cannot be read") as caught:
        load(str(tmp_path / "t.parquet"))
    assert_one_sentence(str(caught.value))


def test_an_idx_file_that_unpacks_without_end_is_not_read_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MOST_IDX_BYTES", 2**16)
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x01\xff\xff\xff\xff" + bytes(2**20)))
    with pytest.raises(DataError, match="holds 65529 bytes of data but its header says"):
        readers.read_idx(path)


def test_npz_never_unpickles(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    with pytest.raises(DataError):
        load(npz_file(tmp_path, X=np.array([Bomb()], dtype=object), y=Y))
    assert not (tmp_path / "exploded").exists()


# --- Sources and options -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mnst", "There are no data called 'mnst', did you mean 'mnist': choose one of digits"),
        ("fashion", "did you mean 'fashion-mnist'"),
        ("wine", "There are no data called 'wine': choose one of digits, moons, mnist, fashion-"),
        ("", "There are no data called ''"),
        ("sheet.ods", r"unknown kind \(\.ods\): .* ending in \.csv, \.tsv, .*\.parquet"),
        ("t.json.gz", r"unknown kind \(\.gz\)"),
        ("sales.csv", "There is no file 'sales.csv'"),
        ("a\0.csv", "There is no file"),
        ("x" * 5000 + ".npz", "There is no file"),
    ],
)
def test_unknown_sources(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        load(source)
    assert_one_sentence(str(caught.value))


def test_near_misses_and_folders(tmp_path):
    csv_file(tmp_path, TABLE, "sales.csv")
    with pytest.raises(DataError, match=r"did you mean 'sales\.csv'"):
        load(str(tmp_path / "sale.csv"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="is a folder that holds no images, where data are"):
        load(tmp_path / "folder.csv")
    (tmp_path / "plain").write_text("x")
    with pytest.raises(DataError, match=r"of an unknown kind \(no ending\)"):
        load(str(tmp_path / "plain"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_fraction": 0.0}, "test_fraction=0.0 is not between 0 and 1"),
        ({"test_fraction": 1.0}, "test_fraction=1.0 is not"),
        ({"test_fraction": float("nan")}, "test_fraction=nan is not"),
        ({"seed": -1}, "seed=-1 is not a whole number from 0"),
        ({"seed": 2**32}, "seed=4294967296 is not"),
        ({"task": "cluster"}, "task='cluster' is not known: choose 'classification' or"),
        ({"task": "regression"}, "digits is a classification .* leave another task out"),
        ({"target": "x"}, "leave target='x' out"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(DataError, match=message):
        load("digits", **options)


# --- Checks of arrays ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "x",
    [
        [[1, 2], [3, 4]],
        np.array([[1, 2], [3, 4]], dtype=np.uint8),
        np.array([[1, 2], [3, 4]], dtype=object),
        pd.DataFrame({"column_0": [1, 3], "column_1": pd.array([2, 4], dtype="Int64")}),
        pd.DataFrame({"column_0": [1.0, 3.0], "column_1": pd.Series([2, 4], dtype=object)}),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_features_of_any_kind(x, dtype):
    features = check_features(x, dtype=dtype)
    np.testing.assert_array_equal(features.x, [[1, 2], [3, 4]])
    assert features.x.dtype == dtype
    assert features.names == ("column_0", "column_1")
    assert features.notes == ()


def test_booleans_are_numbers():
    frame = pd.DataFrame({"a": [True, False], "b": pd.array([False, True], dtype="boolean"), 3: 5})
    features = check_features(frame)
    np.testing.assert_array_equal(features.x, [[1, 0, 5], [0, 1, 5]])
    assert features.names == ("a", "b", "3")
    assert features.notes == ("The features have a single value in column '3'.",)


def test_features_are_not_copied_needlessly():
    x = X.astype(np.float32)
    assert check_features(x).x is x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1, 2], r"got 1 \(shape=\(2,\)\): Reshape your data with X.reshape\(-1, 1\)"),
        (None, "Expected X with 2 dimensions"),
        ([[1, 2], [3]], "X is no array .*: give rows of equal length"),
        ([[1, "a"], [2, "b"]], "text in column 'column_1'"),
        (np.array([["1.5", "2"]]), "text in columns 'column_0' and 'column_1'"),
        ([[None, 1], [2, 3]], r"missing values \(NaN\) in column 'column_0' \(1 of 2 rows\)"),
        (
            [[np.inf, 1], [-np.inf, np.nan]],
            r"in column 'column_1' .* and infinity in column 'col",
        ),
        ([[1, 2 + 1j]], "Complex data not supported"),
        ([[{}, 1], [2, 3]], r"objects in column 'column_0' \(such as '\{\}'\)"),
        ([[10**400, 1], [2, 3]], "objects in column 'column_0'"),
        ([[-(10**400), 1], [None, 3]], "infinity in column 'column_0'"),
        ([[10**400, 1], [1j, 3]], "Complex data not supported"),
        (np.full((2, 1), 1e39), r"values up to 1e\+39 in column 'column_0'"),
        (np.full((3, 20), np.nan), r"'column_7' \(3 of 3 rows\) and 12 more: drop"),
        (scipy.sparse.eye_array(3), "sparse matrix: make it dense"),
        (pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), r"'a' \(1 of 2 rows\)"),
        (pd.DataFrame({"a": pd.array([True, None], dtype="boolean")}), r"'a' \(1 of 2 rows\)"),
        (pd.DataFrame({"a": pd.to_timedelta([1, 2])}), "dates in column 'a'"),
        (pd.Series([1, 2]), "got 1"),
    ],
)
def test_bad_features(x, message):
    with pytest.raises(DataError, match=message) as caught:
        check_features(x)
    assert_one_sentence(str(caught.value))


def test_names_and_rows_are_checked():
    assert check_features(X, ["a", "b", "c"]).names == ("a", "b", "c")
    with pytest.raises(DataError, match="There are 2 feature names for 3 columns of X"):
        check_features(X, ["a", "b"])
    with pytest.raises(DataError, match=r"Found 1 row \(n_samples=1\) while a minimum of 2"):
        check_features(X[:1], min_rows=2)


@pytest.mark.parametrize(
    ("y", "task", "why"),
    [
        (["a", "b"] * 3, "classification", "holds text"),
        ([True, False] * 3, "classification", "holds booleans"),
        (pd.Series(["a", "b"] * 3), "classification", "holds text"),
        (pd.Series(pd.Categorical([1.5, 2.5] * 3)), "classification", "holds categories"),
        (pd.Series([True, False] * 3, dtype="boolean"), "classification", "holds booleans"),
        ([0, 1, 1], "classification", "whole numbers with 2 distinct values"),
        (np.arange(40) % 20, "classification", "whole numbers with 20 distinct values"),
        (np.arange(42) % 21, "regression", "whole numbers with 21 distinct values"),
        (np.arange(9), "regression", "whole numbers with 9 distinct values"),
        (np.array([1, 2, 1, 2], dtype=object), "classification", "whole numbers"),
        ([0.0, 1.0] * 5, "regression", 'say task="classification" if they are classes'),
        ([0.5, 1.0] * 5, "regression", "floating-point numbers with 2 distinct values."),
        (X, "regression", "has 3 columns"),
    ],
)
def test_the_task_is_told_from_the_target(y, task, why):
    found, note = infer_task(y, "kind")
    assert found == task
    assert why in note
    assert note.startswith(f"Taken as a {task}, because the target 'kind'")
    assert check_targets(y, name="kind").notes[0] == note


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([[3], [1], [3]], [1, 3]),
        (pd.DataFrame({"y": [True, False, True]}), [False, True]),
        (np.array([2.0, 1.0, 2.0]), [1.0, 2.0]),
    ],
)
def test_class_codes(y, classes):
    targets = check_targets(y, 3, task="classification")
    assert targets.y.tolist() == [1, 0, 1]
    assert targets.y.dtype == np.int32
    assert targets.classes is not None
    assert targets.classes.tolist() == classes


@pytest.mark.parametrize("y", [[1, 2, 4], [1.0, 2.0, 4.0], [[1], [2], [4]], pd.Series([1, 2, 4])])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_regression_targets(y, dtype):
    targets = check_targets(y, 3, task="regression", dtype=dtype)
    assert targets.y.tolist() == [[1.0], [2.0], [4.0]]
    assert targets.y.dtype == dtype
    assert targets.classes is None


@pytest.mark.parametrize(
    ("y", "task", "message"),
    [
        (None, None, "requires y to be passed, but the target y is None"),
        ([], None, r"y is empty \(shape=\(0,\)\)"),
        (5, None, "got 0 dimensions"),
        (np.zeros((2, 2, 2)), None, "got 3 dimensions"),
        ([1, 2, 3], None, "y has 3 values but X has 2 rows"),
        ([1], None, "y has 1 value but X has 2 rows"),
        (["a", None], None, r"missing values \(NaN\) in column 'y' \(1 of 2 rows\)"),
        ([np.nan, 1.0], None, r"missing values \(NaN\) in column 'y'"),
        ([[1.0, np.inf], [2.0, 3.0]], None, r"infinity in column 'y_1' \(1 of 2 rows\)"),
        ([1, "a"], None, "mixes values of different types"),
        (["a", "a"], None, "only one class, 'a'"),
        ([0.5, 1.0], "classification", "fractional numbers such as 0.5 .Unknown label type: cont"),
        ([[0, 1], [1, 0]], "classification", "has 2 columns: give labels"),
        (["a", "b"], "regression", r"text in column 'y' \(such as 'a'\): a regression needs"),
        (np.array(["2020-01-01"] * 2, "M8[D]"), None, "dates in column 'y'"),
        ([{}, {}], None, "objects in column 'y'"),
        ([1j, 2j], None, "Complex data not supported"),
        ([1e300, 1.0], None, r"The target has values up to 1e\+300"),
        (scipy.sparse.eye_array(2), None, "sparse"),
    ],
)
def test_bad_targets(y, task, message):
    with pytest.raises(DataError, match=message) as caught:
        check_targets(y, 2, task=task)
    assert_one_sentence(str(caught.value))


def test_odd_targets_are_noted():
    assert "a single value in column 'y'" in check_targets([2.5, 2.5]).notes[1]
    assert "5 classes in 6 rows" in check_targets(list("abcdea")).notes[1]


# --- Splitting -----------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [2, 5, 17, 200])
@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.99])
@pytest.mark.parametrize("n_classes", [None, 1, 2, 7])
@pytest.mark.parametrize("seed", [0, 1])
def test_splits(n_rows, fraction, n_classes, seed):
    codes = None if n_classes is None else np.arange(n_rows) ** 2 % n_classes
    n_present = 1 if codes is None else len(np.unique(codes))
    if n_present == n_rows:
        with pytest.raises(DataError, match=f"{n_rows} rows of {n_rows} classes cannot be split"):
            split_rows(n_rows, fraction, seed, codes)
        return
    kept, held_out = split_rows(n_rows, fraction, seed, codes)
    assert sorted([*kept, *held_out]) == list(range(n_rows))
    assert len(held_out) == min(max(1, round(fraction * n_rows)), n_rows - n_present)
    if codes is not None:
        assert set(codes[kept]) == set(codes)


def test_splits_are_stratified():
    codes = np.repeat([0, 1, 2, 3], [500, 300, 190, 10])
    for seed in range(20):
        _, held_out = split_rows(1000, 0.2, seed, codes)
        assert np.abs(np.bincount(codes[held_out], minlength=4) - [100, 60, 38, 2]).max() <= 2


def test_rows_are_held_out_equally_often():
    codes = np.repeat([0, 1, 2], [1, 12, 27])
    counts = np.zeros(40)
    for seed in range(1000):
        counts[split_rows(40, 0.25, seed, codes)[1]] += 1
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:] / 1000, 10 / 39, atol=0.06)


# --- scikit-learn's data, without importing it --------------------------------------------------


@pytest.mark.parametrize("n", [2, 7, 100])
def test_half_moons_are_those_of_scikit_learn(n):
    for seed in (0, 5):
        found = half_moons(n, 0.3, seed)
        for array, wanted in zip(found, make_moons(n, noise=0.3, random_state=seed), strict=True):
            np.testing.assert_allclose(array, wanted, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("there", [True, False])
def test_digits_are_those_of_scikit_learn(there, monkeypatch):
    """Also where its file is not where it was."""
    if not there:
        monkeypatch.setattr("senn.datasets.digits.find_spec", lambda _: None)
    for array, wanted in zip(digits_arrays(), load_digits(return_X_y=True), strict=True):
        np.testing.assert_array_equal(array, wanted)
