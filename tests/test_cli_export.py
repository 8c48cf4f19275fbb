import sys

import numpy as np
import onnx
import pytest
from sklearn.preprocessing import StandardScaler

import senn
from command import refused, run
from strategies import random_network


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A regression that was not trained, but looks as if."""
    made = senn.SENNRegressor(standardize=False)
    made.network_ = random_network((3, 4, 1), dtype=np.float32)
    made.n_features_in_, made.feature_names_, made.scaler_ = 3, ["a", "b", "c"], None
    made.n_samples_seen_ = 0
    made.target_scaler_ = StandardScaler().fit([[1.0], [5.0]])
    made._one_output = True
    path = tmp_path_factory.mktemp("model") / "model.senn"
    made.save(path)
    return path


def test_onnx(saved, tmp_path):
    path = tmp_path / "new" / "model.onnx"
    code, out, err = run("export", saved, path)
    assert (code, err) == (0, "")
    assert out == f"{path}: {path.stat().st_size:,} bytes\n"
    assert [output.name for output in onnx.load(path).graph.output] == ["prediction"]


def test_numpy(saved, tmp_path):
    path = tmp_path / "my-model.npz"
    code, out, err = run("export", saved, path)
    assert (code, err) == (0, "")
    assert [line.split(": ")[0] for line in out.splitlines()] == [
        str(path), str(tmp_path / "my_model_predict.py")
    ]  # fmt: skip
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["feature_names"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["model.onnx", "model.npz", "model_predict.py"])
def test_nothing_is_replaced_unless_that_is_said(name, saved, tmp_path):
    (tmp_path / name).write_text("years of work")
    target = tmp_path / name if name != "model_predict.py" else tmp_path / "model.npz"
    refused(["export", saved, target], rf"{name}' exists already: .*--overwrite")
    assert (tmp_path / name).read_text() == "years of work"
    assert run("export", saved, target, "--overwrite")[0] == 0
    assert (tmp_path / name).read_bytes() != b"years of work"


def test_mistakes(saved, tmp_path):
    refused(["export"], "say which run and which file, such as senn export run model.onnx")
    refused(["export", saved, "model.pt"], r"must end in \.onnx or \.npz; got 'model.pt'")
    refused(["export", tmp_path, "model.onnx"], "holds no run")
    (tmp_path / "file").touch()
    refused(["export", saved, tmp_path / "file" / "m.onnx"], "cannot be written")


def test_without_onnx_numpy_is_left(saved, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "senn.export.onnx_file", raising=False)
    monkeypatch.delattr(senn.export, "onnx_file", raising=False)
    monkeypatch.delitem(vars(senn.export), "to_onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused(["export", saved, tmp_path / "m.onnx"], r"pip install 'senn\[onnx\]'")
    assert run("export", saved, tmp_path / "m.npz")[0] == 0
