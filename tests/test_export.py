"""Exports predict what the estimator predicts, and need nothing of ours."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.preprocessing import StandardScaler

import senn
from senn.export.parts import parts_of
from senn.nn import ACTIVATIONS
from strategies import random_network

RNG = np.random.default_rng(0)
STRUCTURES = {  # sizes, and the residual layers
    "linear": ((5, 3), ()),
    "one layer": ((5, 4, 3), ()),
    "three layers": ((5, 4, 3, 2, 3), ()),
    "residual first": ((5, 4, 3, 3), (0,)),
    "all residual": ((5, 4, 3, 2, 3), (0, 1, 2)),
}
LABELS = {
    "integers": [3, 1, 7],
    "text": ["rot", "grün", "blau"],
    "numbers": [0.5, 1.5, 2.5],
    "objects": np.array(["a", "bc", "d"], object),
}


def scaler(mean, scale) -> StandardScaler:
    made = StandardScaler()
    made.mean_, made.scale_ = np.array(mean, float), np.array(scale, float)
    made.var_, made.n_features_in_ = made.scale_**2, len(made.mean_)
    return made


def classifier(sizes=(5, 4, 3), activation="rational", residual=(), classes=(0, 1, 2), scaled=True):
    """A classifier that was not trained, but looks as if."""
    made = senn.SENNClassifier(hidden_sizes=sizes[1:-1], activation=activation)
    made.network_ = random_network(sizes, activation, residual, dtype=np.float32)
    made.n_features_in_ = sizes[0]
    made.feature_names_ = [f"x{i}" for i in range(sizes[0])]
    made.n_samples_seen_ = 0
    made.scaler_ = (
        scaler(RNG.normal(size=sizes[0]), RNG.uniform(1, 3, sizes[0])) if scaled else None
    )
    made.classes_ = np.array(classes)
    return made


def regressor(n_outputs=1, one_output=True, mean=0.0, scaled=True):
    """A regressor that was not trained, but looks as if."""
    made = senn.SENNRegressor(hidden_sizes=(4,))
    made.network_ = random_network((5, 4, n_outputs), dtype=np.float32)
    made.n_features_in_, made.feature_names_ = 5, list("abcde")
    made.scaler_ = scaler([mean] * 5, [2.0] * 5) if scaled else None
    made.target_scaler_ = scaler(np.arange(n_outputs) + 100, np.arange(n_outputs) + 5)
    made._one_output = one_output
    return made


def rows(n=64, n_features=5, mean=0.0) -> np.ndarray:
    return (mean + 3 * RNG.normal(size=(n, n_features))).astype(np.float32)


def onnx_outputs(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": x}), strict=True))


def numpy_functions(path: Path):
    """What was written beside the arrays."""
    namespace: dict = {}
    exec(path.with_name(f"{path.stem}_predict.py").read_text("utf-8"), namespace)
    return namespace


def assert_parity(model, folder: Path, x: np.ndarray) -> None:
    """Both exports of a classifier give its probabilities and its labels."""
    model_onnx, model_npz = folder / "model.onnx", folder / "model.npz"
    senn.export.to_onnx(model, model_onnx)
    senn.export.to_numpy(model, model_npz)
    wanted, labels = model.predict_proba(x), model.predict(x)
    clear = np.sort(wanted, axis=1)[:, -1] - np.sort(wanted, axis=1)[:, -2] > 1e-5
    found = onnx_outputs(model_onnx, x)
    assert list(found) == ["label", "probabilities"]
    np.testing.assert_allclose(found["probabilities"], wanted, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found["label"][clear], labels[clear])
    plain = numpy_functions(model_npz)
    loaded = plain["load"](model_npz)
    np.testing.assert_allclose(plain["predict_proba"](loaded, x), wanted, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(plain["predict"](loaded, x)[clear], labels[clear])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation, tmp_path):
    assert_parity(classifier((5, 4, 3, 3), activation, (0,)), tmp_path, rows())


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure(name, tmp_path):
    sizes, residual = STRUCTURES[name]
    assert_parity(classifier(sizes, residual=residual), tmp_path, rows())


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_kind(kind, tmp_path):
    assert_parity(classifier(classes=LABELS[kind]), tmp_path, rows())


@pytest.mark.parametrize("n", [1, 7])
def test_any_number_of_rows(n, tmp_path):
    assert_parity(classifier(scaled=False), tmp_path, rows()[:n])


@pytest.mark.parametrize(("n_outputs", "one"), [(1, True), (1, False), (3, False)])
def test_regressions_in_their_own_units_and_shape(n_outputs, one, tmp_path):
    model, x = regressor(n_outputs, one), rows()
    senn.export.to_onnx(model, tmp_path / "m.onnx")
    senn.export.to_numpy(model, tmp_path / "m.npz")
    wanted = model.predict(x)
    (found,) = onnx_outputs(tmp_path / "m.onnx", x).values()
    plain = numpy_functions(tmp_path / "m.npz")
    for predicted in (found, plain["predict"](plain["load"](tmp_path / "m.npz"), x)):
        assert predicted.shape == wanted.shape
        np.testing.assert_allclose(predicted, wanted, rtol=1e-5)


@pytest.mark.parametrize(("mean", "dtype"), [(1e4, np.float32), (1e9, np.float64)])
def test_inputs_far_from_zero_keep_their_digits(mean, dtype, tmp_path):
    model, x = regressor(mean=mean), rows(mean=mean).astype(np.float64)
    senn.export.to_onnx(model, tmp_path / "m.onnx")
    (found,) = onnx_outputs(tmp_path / "m.onnx", x.astype(dtype)).values()
    np.testing.assert_allclose(found, model.predict(x.astype(dtype)), rtol=1e-5)


@pytest.mark.parametrize("opset", range(13, 25))
def test_standard_operators_of_many_opsets(opset, tmp_path):
    model, x = classifier((5, 4, 3, 3), residual=(0,)), rows()
    senn.export.to_onnx(model, tmp_path / "m.onnx", opset=opset)
    stored = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(stored, full_check=True)
    assert [(used.domain, used.version) for used in stored.opset_import] == [("", opset)]
    assert {node.domain for node in stored.graph.node} == {""}
    found = onnx_outputs(tmp_path / "m.onnx", x)["probabilities"]
    np.testing.assert_allclose(found, model.predict_proba(x), rtol=0, atol=1e-5)


def test_active_units_only_and_what_they_are_is_told(tmp_path):
    model = classifier((5, 4, 3, 3))
    assert model.network_.capacities == (6, 6)
    senn.export.to_onnx(model, tmp_path / "m.onnx")
    stored = onnx.load(tmp_path / "m.onnx")
    told = {entry.key: entry.value for entry in stored.metadata_props}
    assert told["senn_version"] == senn.__version__
    assert json.loads(told["hidden_sizes"]) == [4, 3]
    assert json.loads(told["feature_names"]) == model.feature_names_
    floats = [c for c in stored.graph.initializer if c.data_type == onnx.TensorProto.FLOAT]
    assert sum(int(np.prod(c.dims)) for c in floats) == model.n_parameters_ + 1  # the 1 of 1 + z²
    assert len(stored.graph.node) == 4 + 2 * (1 + 7) + 4
    senn.export.to_numpy(model, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as arrays:
        sizes = Counter(
            {k: arrays[k].size for k in arrays if k.startswith(("weight", "bias", "th"))}
        )
    assert sizes.total() == model.n_parameters_


def test_the_mnist_test_set(mnist_folder, tmp_path):
    """All 10,000 rows, by networks grown by a layer but not trained: parity needs no good model."""
    data = senn.datasets.load("mnist", data_dir=mnist_folder)
    model = classifier((784, 20, 10, 10), residual=(0,), classes=range(10), scaled=False)
    assert len(data.x_test) == 10_000
    assert_parity(model, tmp_path, data.x_test)
    model.scaler_ = StandardScaler().fit(data.x[::10].astype(float))
    assert_parity(model, tmp_path, data.x_test)


def test_numpy_alone_is_enough(tmp_path):
    """In a process that can import NumPy, and nothing else that is installed."""
    model, x = classifier(classes=["a", "b", "c"]), rows()
    senn.export.to_numpy(model, tmp_path / "model.npz")
    np.save(tmp_path / "x.npy", x)
    program = f"""
import sys
sys.path.append({str(Path(np.__file__).parents[1])!r})
for name in ("senn", "jax", "scipy", "sklearn", "onnx"):
    sys.modules[name] = None
import numpy as np
import model_predict
model = model_predict.load("model.npz")
x = np.load("x.npy")
np.save("p.npy", model_predict.predict_proba(model, x))
np.save("y.npy", model_predict.predict(model, x))
standard = set(sys.stdlib_module_names) | {{"__main__", "numpy", "model_predict"}}
real = {{name.split(".")[0] for name, module in sys.modules.items() if module is not None}}
print(sorted(name for name in real - standard if not name.startswith("_")))
"""
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", program],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), model.predict_proba(x), atol=1e-5)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), model.predict(x))


def test_the_numpy_function_refuses_other_columns(tmp_path):
    senn.export.to_numpy(classifier(), tmp_path / "model.npz")
    plain = numpy_functions(tmp_path / "model.npz")
    with pytest.raises(ValueError, match=r"X must be \[rows, 5\]; got \(64, 4\)"):
        plain["outputs"](plain["load"](tmp_path / "model.npz"), rows(n_features=4))


def test_a_saved_estimator_exports_alike(tmp_path):
    model = classifier((5, 4, 3, 3), residual=(0,))
    before = parts_of(model)
    model.save(tmp_path / "m.senn")
    after = parts_of(senn.load(tmp_path / "m.senn"))
    for a, b in zip(before.weights, after.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (before.sources, before.feature_names) == (after.sources, after.feature_names)


def test_what_is_no_estimator_of_ours_is_refused(tmp_path):
    with pytest.raises(TypeError, match="got StandardScaler"):
        senn.export.to_numpy(StandardScaler(), tmp_path / "m.npz")
    assert not list(tmp_path.iterdir())
