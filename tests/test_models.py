import json
import struct
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save

import senn
from senn import models
from senn.expand import add_width, insert_layer
from senn.models import ModelFileError, read_model, write_model
from senn.nn import MLP
from senn.nn.activation import ACTIVATIONS
from senn.nn.stored import network_arrays

X = jnp.asarray(np.random.default_rng(0).normal(size=(7, 5)))
KEY = jax.random.key(0)


def network(sizes=(3,), activation="rational", dtype=None) -> MLP:
    return MLP(5, 2, sizes, key=KEY, activation=activation, dtype=dtype)


def with_residual_layers(activation: str) -> MLP:
    """Layers beside their inputs, before the first and before the last map, and one unit more."""
    grown = network((3,), activation)
    for position in (0, 2):
        rng = np.random.default_rng(position)
        weight = rng.normal(size=(grown.n_inputs(position), 2))
        theta = rng.normal(size=(3, 2)) if activation == "rational" else None
        grown = insert_layer(grown, position, weight, rng.normal(size=2), "residual", theta)
    weight = np.ones((grown.n_inputs(0), 1))
    return add_width(grown, 0, weight, np.ones(1), theta[:, :1] if theta is not None else None)


CASES = {
    "linear": lambda: network(()),
    **{name: lambda name=name: network((3, 4), name) for name in ACTIVATIONS},
    **{f"{name}, grown": lambda name=name: with_residual_layers(name) for name in ACTIVATIONS},
    "more units than first slots": lambda: network((100,)),
    "identity layer": lambda: insert_layer(network(), 1, np.eye(3), np.zeros(3), "identity"),
    "float32": lambda: network((3,), dtype=jnp.float32),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_read_computes_what_was_written(case, tmp_path):
    written = CASES[case]()
    write_model(tmp_path / "m", written, {"note": [1, "a"]}, {"mean": np.arange(4.0)[::2]})
    read, header, arrays = read_model(tmp_path / "m")
    x = X.astype(written.readout.bias.dtype)
    np.testing.assert_array_equal(read(x), written(x))
    assert read.readout.bias.dtype == written.readout.bias.dtype
    assert read.hidden_sizes == written.hidden_sizes
    assert read.n_parameters == written.n_parameters
    assert read.sources == written.sources
    assert header["note"] == [1, "a"]
    np.testing.assert_array_equal(arrays["mean"], [0.0, 2.0])


def test_what_is_read_can_grow(tmp_path):
    write_model(tmp_path / "m", with_residual_layers("rational"), {}, {})
    read = read_model(tmp_path / "m")[0]
    grown = add_width(read, 1, np.ones((read.n_inputs(1), 1)), np.ones(1), np.ones((3, 1)))
    np.testing.assert_array_equal(grown(X), read(X))


def test_the_header_says_how_the_arrays_fit_together(tmp_path):
    write_model(tmp_path / "m", with_residual_layers("rational"), {}, {})
    header = read_model(tmp_path / "m")[1]
    assert header == {
        "format": "senn-model", "version": 3, "in_size": 5, "out_size": 2,
        "hidden_sizes": [3, 3, 2], "residual": [True, False, True], "activation": "rational",
        "born": [[1, 1, 3], [0, 0, 0], [2, 2]],
    }  # fmt: skip


def test_only_active_units_are_stored(tmp_path):
    written = network((3,))
    assert written.capacities == (64,)
    arrays = network_arrays(written)
    assert {name: array.shape for name, array in arrays.items()} == {
        "map0.weight": (5, 3), "map0.bias": (3,), "theta0": (3, 3),
        "map1.weight": (3, 2), "map1.bias": (2,),
    }  # fmt: skip
    assert sum(array.size for array in arrays.values()) == written.n_parameters


def spoiled(change, weight=None) -> bytes:
    """A model file of version 1, which has no checksum, whose header or weight was changed."""
    made = network((3,))
    arrays = network_arrays(made)
    if weight is not None:
        arrays["map0.weight"] = np.where(np.eye(5, 3), weight, arrays["map0.weight"])
    header = {"format": "senn-model", "version": 1, "in_size": 5, "out_size": 2,
              "hidden_sizes": [3], "residual": [False], "activation": "rational"}  # fmt: skip
    return save(arrays, {"senn": json.dumps({**header, **change})})


UNREADABLE = {
    "empty": (b"", "is no senn model"),
    "garbage": (b"garbage" * 100, "is no senn model"),
    "truncated": (spoiled({})[:-10], "is no senn model"),
    "header truncated": (spoiled({})[:40], "is no senn model"),
    "header too long": (struct.pack("<Q", 2**62) + b"{}", "is no senn model"),
    "no header of ours": (save({"a": np.ones(2)}), "its header does not say so"),
    "header no JSON": (save({"a": np.ones(2)}, {"senn": "{"}), "is no senn model"),
    "header no object": (save({"a": np.ones(2)}, {"senn": "[1]"}), "its header does not say so"),
    "another format": (spoiled({"format": "other"}), "its header does not say so"),
    "a newer version": (spoiled({"version": 5}), "format 5, and this senn reads up to 4; upgrade"),
    "no checksum": (spoiled({"version": 2}), "damaged: its checksum"),
    "a version in words": (spoiled({"version": "one"}), "format one, and"),
    "lacks arrays": (spoiled({"hidden_sizes": [3, 3], "residual": [False, False]}), "damaged"),
    "other sizes": (spoiled({"hidden_sizes": [4]}), "damaged"),
    "fewer inputs": (spoiled({"in_size": 4}), "damaged"),
    "more outputs": (spoiled({"out_size": 3}), "damaged"),
    "negative size": (spoiled({"hidden_sizes": [-3]}), "damaged"),
    "unknown activation": (spoiled({"activation": "magic"}), "damaged"),
    "lists of unequal length": (spoiled({"residual": []}), "damaged"),
    "a size of nothing": (
        save(
            {"map0.weight": np.ones((10**9, 0)), "map0.bias": np.ones(0)},
            {
                "senn": json.dumps(
                    {
                        "format": "senn-model",
                        "version": 1,
                        "in_size": 10**9,
                        "out_size": 2,
                        "hidden_sizes": [0],
                        "residual": [False],
                        "activation": "relu",
                    }
                )
            },
        ),
        "not all whole numbers above 0",
    ),
    "sizes no numbers": (spoiled({"out_size": True}), "not all whole numbers above 0"),
    "residual no truth values": (spoiled({"residual": [[1]]}), "not true or false each"),
    "weights that are NaN": (spoiled({}, np.nan), "other values than finite"),
    "a header nested without end": (
        save({"a": np.ones(2)}, {"senn": "[" * 100_000}),
        "is no senn model",
    ),
    "a version without end": (
        spoiled({"version": "x" * 10_000}),
        "format xxxxxxxxxxxxxxxxxxxx, and",
    ),
    "sizes no list": (spoiled({"hidden_sizes": 3}), "damaged"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_files_that_are_no_models(case, tmp_path):
    content, message = UNREADABLE[case]
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ModelFileError, match=message) as caught:
        read_model(tmp_path / "m")
    assert "\n" not in str(caught.value)


def test_a_missing_field_of_the_header(tmp_path):
    content = save(network_arrays(network()), {"senn": '{"format": "senn-model"}'})
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ModelFileError, match="format None"):
        read_model(tmp_path / "m")


def test_there_is_no_such_file(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ModelFileError, match="no model file at"):
            read_model(path)


# --- files of earlier versions ----------------------------------------------------------------

FILES = Path(__file__).parent / "files"
MODELS = sorted(FILES.glob("model-v*.senn"))  # the last is of images: tests/test_images.py


def test_there_is_a_file_of_every_version():
    versions = [int(path.stem.removeprefix("model-v")) for path in MODELS]
    assert versions == list(range(1, models.MODEL_FORMAT.version + 1))


WANTED = dict.fromkeys(MODELS[:-1], "models.json") | {FILES / "coded-v3.senn": "coded.json"}


@pytest.mark.parametrize("path", WANTED, ids=lambda path: path.stem)
def test_files_of_every_version_are_read(path):
    model = senn.load(path)
    wanted = json.loads((FILES / WANTED[path]).read_text())
    assert list(model.hidden_sizes_) == wanted["hidden_sizes"]
    assert list(model.classes_) == wanted["classes"]
    got = model.predict_proba(np.asarray(wanted["rows"]))
    np.testing.assert_allclose(got, wanted["probabilities"], rtol=1e-4)
