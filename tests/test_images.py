"""Estimators of images: what they predict, files, exports, and what they say of what is none."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

import senn
from senn.models import ModelFileError, read_model, write_model
from senn.nn import ConvNet
from senn.nn.stored import plain
from senn.policy import Policy
from senn.rescaling import of_scale
from strategies import layers_beside

FILES = Path(__file__).parent / "files"
KEY = jax.random.key(0)
NETWORKS = {
    "pools": lambda: ConvNet((7, 6, 2), 3, (3, 2), key=KEY, capacity=4),
    "strides": lambda: ConvNet(
        (7, 6), 3, (3,), key=KEY, stride=2, head="flatten", activation="gelu"
    ),
    "beside": lambda: layers_beside(
        ConvNet((7, 6, 2), 3, (3,), key=KEY, head="flatten", activation="silu"), 4
    ),
}
every_network = pytest.mark.parametrize("name", NETWORKS)
network_of = cache(lambda name: NETWORKS[name]())


outputs = eqx.filter_jit(lambda network, x: network(jnp.asarray(x)))


def images(network, n=9):
    return np.random.default_rng(1).normal(size=(n, *network.in_shape))


def classifier(network):
    """A classifier that was not trained, but looks as if."""
    made = senn.SENNClassifier(network="conv")
    made.network_, channels = network, network.in_size
    made._image_shape = network.in_shape if channels > 1 else network.grid
    made._inputs = of_scale((np.full(channels, 0.5), np.full(channels, 2.0)))
    made._columns, made.n_features_in_, made.n_samples_seen_ = None, channels, 0
    made.feature_names_ = [f"channel {c}" for c in range(channels)]
    made.classes_ = np.array(["a", "b", "c"])
    return made


@every_network
def test_numpy_predicts_what_jax_does_and_each_image_by_itself(name):
    network = network_of(name)
    x, stored = images(network), plain(network)
    y = stored.outputs(x)
    np.testing.assert_allclose(y, outputs(network, x), rtol=1e-12, atol=1e-13)
    for part in (slice(3, 4), slice(0, 5)):
        np.testing.assert_array_equal(stored.outputs(x[part]), y[part])


@every_network
def test_files_say_all_that_is_to_be_known(name, tmp_path):
    network = network_of(name)
    write_model(tmp_path / "m", network, {}, {})
    stored, header, _ = read_model(tmp_path / "m")
    assert header["version"] == 4
    assert stored.hidden_sizes == network.hidden_sizes
    found, wanted = plain(stored), plain(network)
    assert found.architecture == wanted.architecture
    assert all(np.array_equal(found.arrays[k], v) for k, v in wanted.arrays.items())
    assert {space.at_once for space in stored.graph.hidden} == {8}


SPOILED = {
    "no whole numbers": {0: [7, 6, 3, 3, 1, 1, 1, 0.5]},
    "another size": {1: [9, 9, 3, 3, 1, 1, 2, 0]},
    "nothing left": {0: [7, 6, 3, 3, 1, 1, 9, 0]},
    "positions left": {2: [3, 3, 1, 1, 1, 1, 1, 0]},
    "another kernel": {0: [7, 6, 5, 5, 1, 1, 1, 0]},
}


@pytest.mark.parametrize("case", SPOILED)
def test_patches_that_do_not_fit_are_refused(case, tmp_path):
    stored = plain(network_of("pools"))
    patches = [SPOILED[case].get(m, p) for m, p in enumerate(stored.architecture["patches"])]
    stored.architecture["patches"] = patches
    senn.model_file.write_model(tmp_path / "m", stored, {}, {})
    with pytest.raises(ModelFileError, match="damaged: its arrays do not fit its header") as caught:
        read_model(tmp_path / "m")
    assert "\n" not in str(caught.value)


@every_network
def test_exports_predict_what_the_estimator_does(name, tmp_path):
    made = classifier(NETWORKS[name]())
    x = images(made.network_).reshape(9, *made._image_shape).astype(np.float32)
    p = made.predict_proba(x)
    senn.export.to_onnx(made, tmp_path / "m.onnx")
    label, found = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"X": x})
    np.testing.assert_allclose(found, p, rtol=2e-5, atol=1e-6)
    assert label.tolist() == made.predict(x).tolist()
    senn.export.to_numpy(made, tmp_path / "m.npz")
    np.save(tmp_path / "x.npy", x)
    program = (
        "import numpy as np, m_predict as m; model = m.load('m.npz'); x = np.load('x.npy');"
        "np.save('p.npy', m.predict_proba(model, x))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), p)


# --- estimators -------------------------------------------------------------------------------

X, Y = load_digits(return_X_y=True)
X = X.reshape(-1, 8, 8).astype(np.uint8)[:400]
Y = Y[:400]


@pytest.fixture(scope="module")
def fitted():
    made = senn.SENNClassifier(
        network="conv", channels=(4,), activation="silu", batch_size=128, max_iter=40,
        validation_fraction=0, policy=Policy(width=False, depth=False), random_state=0,
    )  # fmt: skip
    return made.fit(X, Y)


def test_it_learns(fitted):
    assert fitted.score(X, Y) > 0.5
    assert fitted.hidden_sizes_ == (4,)
    assert fitted.n_parameters_ == fitted.network_.n_parameters
    assert fitted.n_features_in_ == 1
    assert not clone(fitted).__sklearn_is_fitted__()


def test_images_may_come_with_their_channel_and_as_numbers_of_any_kind(fitted):
    p = fitted.predict_proba(X)
    for same in (X[..., None], X.astype(np.float32), X.astype(int), X[:20].tolist()):
        np.testing.assert_allclose(fitted.predict_proba(same), p[: len(same)], rtol=1e-4)
    np.testing.assert_array_equal(fitted.predict_proba(X[5:6])[0], p[5])


def test_a_file_holds_it(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    stored = senn.load(tmp_path / "m")
    np.testing.assert_array_equal(stored.predict_proba(X), fitted.predict_proba(X))
    assert isinstance(stored, senn.SENNClassifier)
    assert (stored.network, stored._image_shape) == ("conv", (8, 8))


def test_a_file_of_this_version_is_read():
    model, wanted = senn.load(FILES / "model-v4.senn"), json.loads((FILES / "v4.json").read_text())
    assert list(model.hidden_sizes_) == wanted["hidden_sizes"]
    got = model.predict_proba(np.asarray(wanted["images"], np.uint8))
    np.testing.assert_allclose(got, wanted["probabilities"], rtol=1e-4)


MISTAKES = {
    "rows": (X.reshape(-1, 64), r"this X has shape \(400, 64\): give X.reshape\(-1, 8, 8\)"),
    "odd rows": (np.ones((9, 5)), r'this X has shape \(9, 5\): reshape it, or take network="mlp"'),
    "sizes": ([np.ones((3, 3)), np.ones((4, 4))], "X holds images of several sizes: resize them"),
    "words": (np.full((4, 3, 3), "a"), "Images must be numbers; X holds <U1."),
    "gaps": (np.full((4, 3, 3), np.nan), "NaN or infinite pixels: fill the gaps"),
    "far": (np.full((4, 3, 3), 1e30), "pixels up to 1e"),
    "one": (X[:1], "X holds 1 images, while a minimum of 2 is required"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_what_is_no_image_is_refused_in_one_sentence(case):
    given, message = MISTAKES[case]
    with pytest.raises(ValueError, match=message):
        senn.SENNClassifier(network="conv").fit(given, np.arange(len(given)) % 2)


def test_images_of_another_size_are_refused(fitted):
    with pytest.raises(ValueError, match="7 × 8 pixels, but this model learned from 8 × 8 pixels"):
        fitted.predict(X[:, 1:])
    with pytest.raises(ValueError, match="of 3 channels, but this model"):
        fitted.predict(np.ones((2, 8, 8, 3)))


SETTINGS = {
    "network": ({"network": "cnn"}, 'network must be "mlp" or "conv"; got \'cnn\''),
    "channels": ({"channels": (4, 0)}, "each stage needs a whole number above 0"),
    "members": ({"n_estimators": 2}, 'n_estimators=2 is for network="mlp"'),
    "bins": ({"bins": 4}, 'bins=4 is for network="mlp"'),
    "stages": ({"channels": (2,) * 5}, "Nothing is left of images of 8 × 8"),
    "budget": ({"max_parameters": 50}, "more than the budgets allow: start with fewer"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_do_not_suit_images_are_refused(case):
    given, message = SETTINGS[case]
    with pytest.raises(ValueError, match=message):
        senn.SENNClassifier(**{"network": "conv", **given}).fit(X, Y)


def test_streams_of_images_are_refused(fitted):
    with pytest.raises(ValueError, match='partial_fit is for network="mlp" so far'):
        fitted.partial_fit(X, Y)
