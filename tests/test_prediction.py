"""Predictions by NumPy: those of the network, row by row alike, in every process, without JAX."""

import copy
import json
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

import senn
from senn import Policy, SENNClassifier, SENNRegressor
from senn.loaded import LoadedClassifier
from senn.models import plain
from senn.nn.activation import ACTIVATIONS
from senn.standalone import numpy_predict
from strategies import random_network

FILES = Path(__file__).parent / "files"
MODEL = FILES / "classifier-format-1.senn"
X = np.random.default_rng(0).normal(size=(60, 3))
LABELS = np.where(X[:, 0] > 0, "yes", "no")
SMALL = {
    "hidden_sizes": (3,), "max_iter": 2, "optimizer": optax.adam(1e-3), "random_state": 0,
    "policy": Policy(width=False, depth=False),
}  # fmt: skip
DTYPES = (np.float32, np.float64)


def in_double(network):
    return jax.tree.map(lambda p: p.astype(float) if eqx.is_inexact_array(p) else p, network)


def random_case(rng: np.random.Generator):
    """Sizes, activation and residual layers of a network, odd widths among them."""
    widths = (1, 2, 3, 7, 8, 15, 31, 32, 33, 50, 65, 127, 200)
    inputs = (1, 2, 3, 5, 8, 17, 64, 257, 784, 1023, 1025, 1500)
    hidden = [int(n) for n in rng.choice(widths, rng.integers(0, 4))]
    sizes = (int(rng.choice(inputs)), *hidden, int(rng.choice((1, 2, 3, 10, 16, 31, 33, 100))))
    residual = tuple(m for m in range(len(hidden)) if rng.random() < 0.4)
    return sizes, str(rng.choice(list(ACTIVATIONS))), residual


# --- What is computed ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_the_outputs_are_the_networks(seed):
    rng = np.random.default_rng(seed)
    sizes, activation, residual = random_case(rng)
    network = random_network(sizes, activation, residual, capacity=40, dtype=np.float32, seed=seed)
    x = 2 * rng.normal(size=(11, sizes[0]))
    wanted = in_double(network)(jnp.asarray(x))
    np.testing.assert_allclose(plain(network).outputs(x), wanted, rtol=1e-12, atol=1e-12)
    found = plain(network).outputs(x.astype(np.float32))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert found.dtype == np.float64


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", [(), (0,), (0, 1)], ids=str)
def test_every_activation_beside_every_layer(activation, residual):
    network = random_network((5, 4, 3, 2), activation, residual)
    x = np.random.default_rng(1).normal(size=(9, 5)) * 10.0 ** np.arange(-4, 5)[:, None]
    wanted = network(jnp.asarray(x))
    np.testing.assert_allclose(plain(network).outputs(x), wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_large_numbers_are_finite_where_the_network_has_them_finite(activation):
    network = random_network((2, 3, 1), activation, dtype=np.float32)
    x = np.array([[1e30, -1e30], [-3e37, 1e37], [1e19, 1e19]], np.float32)
    np.testing.assert_allclose(plain(network).outputs(x), network(jnp.asarray(x)), rtol=1e-4)


def test_scaling_is_that_of_scikit_learn():
    model = SENNClassifier(**SMALL).fit(X * 3 + 1e6, LABELS)
    scaled = model.scaler_.transform(X * 3 + 1e6)
    np.testing.assert_array_equal(model._outputs(X * 3 + 1e6), model._plain.outputs(scaled))


def test_the_exported_function_gives_the_same_bits(tmp_path):
    with jax.enable_x64(False):  # exports are float32
        model = SENNClassifier(**SMALL).fit(X, LABELS)
    senn.export.to_numpy(model, tmp_path / "m.npz")
    exported = numpy_predict.load(tmp_path / "m.npz")
    for x in (X.astype(np.float32), X.astype(np.float32).astype(float)):
        np.testing.assert_array_equal(
            numpy_predict.predict_proba(exported, x), model.predict_proba(x)
        )


# --- Every row for itself ------------------------------------------------------------------


def assert_rows_alike(network, x):
    """Outputs and probabilities do not depend on the rows beside, their number, or the threads."""
    whole = network.outputs(x)
    for threads in (1, 2, 5):
        with threadpool_limits(threads):
            np.testing.assert_array_equal(network.outputs(x), whole)
            for start in (0, 1, 7, len(x) - 1):
                np.testing.assert_array_equal(network.outputs(x[start:]), whole[start:])
                alone = network.outputs(x[start : start + 1])
                np.testing.assert_array_equal(alone[0], whole[start])
                for function in (numpy_predict.softmax, numpy_predict.log_softmax):
                    np.testing.assert_array_equal(function(alone)[0], function(whole)[start])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(20))
def test_a_row_gives_the_same_bits_wherever_it_stands(seed, dtype):
    rng = np.random.default_rng(seed)
    sizes, activation, residual = random_case(rng)
    network = plain(random_network(sizes, activation, residual, dtype=np.float32, seed=seed))
    n = int(rng.choice([9, 16, 31, 40, 515]))
    assert_rows_alike(network, rng.normal(size=(n, sizes[0])).astype(dtype))


KERNELS = ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX")
ALIKE = """
import numpy as np
from senn.standalone import numpy_predict as p

rng, shape = np.random.default_rng(0), (p.ROWS, p.COLUMNS)
for dtype in (np.float32, np.float64):
    for depth in (*range(1, 40), 64, 100, 257, 784, p.DEPTH):
        row, column = rng.normal(size=(2, depth)).astype(dtype)
        product = np.tile(row, (p.ROWS, 1)) @ np.tile(column[:, None], (1, p.COLUMNS))
        assert (product == product[0, 0]).all(), (dtype, depth)
"""


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_place_of_a_product_is_alike_in_every_kernel(kernel):
    """OpenBLAS has kernels for other processors too, which those that can run them may name."""
    done = subprocess.run(
        [sys.executable, "-c", ALIKE], env={**os.environ, "OPENBLAS_CORETYPE": kernel}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode < 0:
        pytest.skip(f"this processor has not what {kernel} needs")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", DTYPES)
def test_estimators_predict_each_row_for_itself(dtype):
    x = X.astype(dtype)
    for model in (
        SENNClassifier(**SMALL).fit(x, LABELS), SENNRegressor(**SMALL).fit(x, X[:, :2])
    ):  # fmt: skip
        functions = [model.predict]
        if is_classifier(model):
            functions += [model.predict_proba, model.predict_log_proba]
        for function in functions:
            for i in (0, 5, 59):
                np.testing.assert_array_equal(function(x)[i], function(x[i : i + 1])[0])


def test_memory_is_bounded_by_blocks():
    network = plain(random_network((50, 64, 3), dtype=np.float32))
    network.outputs(np.zeros((1, 50)))
    peaks = []
    for blocks in (2, 40):
        x = np.zeros((blocks * numpy_predict.ROWS_AT_ONCE, 50))
        tracemalloc.start()
        result = network.outputs(x, (np.zeros(50), np.ones(50)))
        peaks.append(tracemalloc.get_traced_memory()[1] - result.nbytes)
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


# --- Processes and threads -----------------------------------------------------------------

FORKED = """
import multiprocessing
import sys

import numpy as np
import optax

import senn

if __name__ == "__main__":
    x = np.random.default_rng(0).normal(size=(3000, 30))
    model = senn.SENNClassifier((40,), max_iter=1, optimizer="adam").fit(x, x[:, 0] > 0)
    wanted = model.predict_proba(x)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(model.predict_proba, [x, x[::-1]])
    np.testing.assert_array_equal(found[0], wanted)
    np.testing.assert_array_equal(found[1], wanted[::-1])
    print("alike")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_predicts_after_a_fit():
    """A process of its own, so that a hang ends with it."""
    program = ["-W", "ignore", "-c", FORKED]
    done = subprocess.run(
        [sys.executable, *program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "alike\n", done.stderr


def test_threads_predict_alike():
    network = random_network((30, 40, 5), dtype=np.float32)
    x = np.random.default_rng(0).normal(size=(700, 30))
    wanted, found, shared = plain(network).outputs(x), [None] * 8, plain(network)

    def run(k):
        found[k] = shared.outputs(x)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for y in found:
        np.testing.assert_array_equal(y, wanted)


HEAVY = {"jax", "jaxlib", "equinox", "optax"}
FRESH = """
import json
import sys
import numpy as np
import senn

{body}
loaded = {{name.split(".")[0] for name in sys.modules}}
print(json.dumps(sorted(loaded & set({heavy}))), file=sys.stderr)
"""


def heavy_imports(body: str, *others: str) -> list[str]:
    """Which of JAX's and of others' packages are loaded after a program."""
    program = FRESH.format(body=body, heavy=sorted(HEAVY | set(others)))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr)


PREDICTING = {
    "an array": "model.predict(np.zeros((2, 3)))",
    "a list": "model.predict([[0, 0, 0], [1, 2, 3]])",
    "probabilities": "model.predict_proba(np.zeros((2, 3)))",
    "their logarithms": "model.predict_log_proba(np.ones((1, 3)))",
    "a score": "model.score(np.zeros((2, 3)), ['low', 'high'])",
    "its sizes": "model.hidden_sizes_, model.n_parameters_, model.scaler_, repr(model)",
}


@pytest.mark.parametrize("what", PREDICTING)
def test_a_loaded_estimator_predicts_without_jax(what):
    body = f"model = senn.load({str(MODEL)!r}); {PREDICTING[what]}"
    assert heavy_imports(body) == []


def test_a_loaded_estimator_predicts_arrays_without_scikit_learn():
    body = f"senn.load({str(MODEL)!r}).predict(np.zeros((1, 3)))"
    assert heavy_imports(body, "sklearn", "scipy", "pandas") == []


def test_senn_predict_needs_no_jax(tmp_path):
    (tmp_path / "new.csv").write_text("c,b,a\n1,2,3\n")
    words = ["predict", str(MODEL), str(tmp_path / "new.csv"), "--threads", "2"]
    assert heavy_imports(f"from senn.cli import main; assert main({words}) == 0") == []


def test_an_unpickled_estimator_predicts_without_jax(tmp_path):
    model = SENNClassifier(**{**SMALL, "optimizer": "adam", "policy": None}).fit(X, LABELS)
    (tmp_path / "pickle").write_bytes(pickle.dumps(model))
    read = f"import pickle; model = pickle.load(open({str(tmp_path / 'pickle')!r}, 'rb'))"
    assert heavy_imports(f"{read}; model.predict(np.zeros((2, 3)))") == []
    again = pickle.loads(pickle.dumps(model))
    assert again.network_.capacities == model.network_.capacities
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


# --- What `load` gives ---------------------------------------------------------------------


def test_a_loaded_estimator_becomes_what_it_is_when_more_is_asked():
    def fresh():
        model = senn.load(MODEL)
        assert type(model) is LoadedClassifier
        return model

    wanted = fresh().predict_proba(X)
    assert isinstance(fresh(), SENNClassifier)
    assert isinstance(fresh(), BaseEstimator)
    assert not isinstance(fresh(), SENNRegressor)
    assert type(clone(fresh())) is SENNClassifier
    assert is_classifier(fresh())
    check_is_fitted(fresh())
    assert repr(fresh()).startswith("SENNClassifier(")
    assert "max_units" in fresh().get_params()
    for again in (copy.copy(fresh()), copy.deepcopy(fresh()), pickle.loads(pickle.dumps(fresh()))):
        assert type(again) is SENNClassifier
        np.testing.assert_array_equal(again.predict_proba(X), wanted)
    model = fresh()
    model.max_units = 7
    assert type(model) is SENNClassifier
    assert model.get_params()["max_units"] == 7
    np.testing.assert_array_equal(model.predict_proba(X), wanted)
    with pytest.raises(AttributeError, match=r"SENNClassifier.*no_such"):
        fresh().no_such  # noqa: B018


def test_a_loaded_estimator_becomes_itself_once_in_many_threads():
    model, found = senn.load(MODEL), []
    threads = [
        threading.Thread(target=lambda: found.append(model.get_params()["max_units"]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [model.max_units] * 8


def test_what_cannot_be_predicted_is_told_as_ever():
    with pytest.raises(ValueError, match="missing values"):  # of a time that knew no gaps
        senn.load(MODEL).predict(np.full((2, 3), np.nan))
    for make in (lambda: senn.load(MODEL), lambda: SENNClassifier(**SMALL).fit(X, LABELS)):
        with pytest.raises(ValueError, match=r"4 features.*expecting 3"):
            make().predict(np.ones((2, 4)))
        with pytest.raises(ValueError, match=r"beyond the 3.4e.38"):
            make().predict(np.full((2, 3), 1e300))
        with pytest.raises(ValueError, match="2 dimensions"):
            make().predict(np.ones(3))
        with pytest.raises(ValueError, match="0 rows"):
            make().predict(np.ones((0, 3)))
