"""The readers that are fuzzed: valid files, ways to damage them, and the error each promises.

A new reader is one more row of `TARGETS`.
"""

import contextlib
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from mutations import (
    Mutation,
    damage,
    in_footer,
    in_gzip,
    in_json,
    in_json_lines,
    in_npy,
    in_npz,
    in_safetensors,
    in_tensors,
    in_zip,
)
from PIL import Image
from safetensors.numpy import save

import senn
from senn.checkpoints import FORMAT, CheckpointError, read_checkpoint
from senn.columns import Table, learn
from senn.datasets import DataError, image_files, read_idx
from senn.datasets.cifar_files import ARCHIVE, BATCHES, RECORD
from senn.datasets.parquet_blocks import parquet_blocks
from senn.files import HEADER, read_file, write_file
from senn.history import Addition, Consideration, Evaluation, Recovery
from senn.models import MODEL_FORMAT, ModelFileError, write_model
from senn.nn import MLP
from senn.rows import open_rows
from senn.runs import CONFIG, LEDGER, PREDICTIONS, RunFolderError, read_run


@dataclass(frozen=True)
class Target:
    """A reader of one file in a folder that it has for itself."""

    name: str
    file: str
    samples: Callable[[Path], list[bytes]]  # valid contents; may write what else the folder needs
    mutations: Sequence[Mutation]
    read: Callable[[Path], Any]  # reads, and uses what it has read
    error: type[Exception]  # the only one that it may raise


# --- Tables -----------------------------------------------------------------------------------

_CSV = (
    "a,b,label\n" + "1.5,2,x\n-3,0.25,y\n" * 6,
    "0.5;1;0\n1e-3;2;1\n" * 6,
    ',height,"the, target"\n' + "".join(f"{i},{i / 7},{i * i}\n" for i in range(12)),
    "a\tb\r\n" + "1\t2\r\n3\t4\r\n" * 5,
    'sep=|\nday|town|"a|b"|y|\n' + "2020-01-02|Bonn|1,5|3|\n2021-03-04|Köln|?|7|\n" * 8,
    "Betrag;Datum;Anteil\n" + "1.234,50 €;01.02.2003 10:30;5 %\n-3,5;;7,5 %\n" * 6,
)


def _csv(_: Path) -> list[bytes]:
    return [*(text.encode() for text in _CSV), *(t.encode("cp1252", "replace") for t in _CSV)]


def _gzipped(_: Path) -> list[bytes]:
    return [gzip.compress(text.encode()) for text in _CSV]


def _zipped(_: Path) -> list[bytes]:
    files = []
    for text in _CSV:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("t.csv", text)
        files.append(file.getvalue())
    return files


def _excel(folder: Path) -> list[bytes]:
    frame = _frame()
    files = []
    for table in (frame, frame[["n", "label"]]):
        table.to_excel(folder / "sample.xlsx", index=False)
        files.append((folder / "sample.xlsx").read_bytes())
    return files


def _feather(folder: Path) -> list[bytes]:
    files = []
    for compression in ("lz4", "zstd", "uncompressed"):
        _frame().to_feather(folder / "sample.feather", compression=compression)
        files.append((folder / "sample.feather").read_bytes())
    return files


def _npy(_: Path) -> list[bytes]:
    fields = np.zeros(12, [("a", float), ("b", "U3"), ("y", int)])
    fields["a"], fields["y"] = np.arange(12), np.arange(12) % 2
    files = []
    for array in (np.random.default_rng(0).normal(size=(12, 3)), fields, np.eye(6, dtype=np.int16)):
        file = io.BytesIO()
        np.save(file, array)
        files.append(file.getvalue())
    return files


def _frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "n": [1.5, None, *range(10)],
            "day": pd.date_range("2020-01-01", periods=12),
            "sort": pd.Categorical(["a", "b", None] * 4),
            "label": ["no", "yes"] * 6,
        }
    )


def _use_table(path: Path) -> None:
    """Read as `senn train` does and as `senn predict` does, and make inputs."""
    data = senn.datasets.load(path)
    if isinstance(data.x, Table):
        columns = learn(data.x)
        assert np.isfinite(columns.encode(data.x)).all()
    for chunk in open_rows(str(path), data.feature_names).chunks():
        assert len(chunk.cells)


def _use_parquet(path: Path) -> None:
    """Likewise, once it was read a block at a time, as `senn predict` does, or refused so."""
    with contextlib.suppress(DataError):
        for table in parquet_blocks([path]).blocks():
            assert len(table)
    _use_table(path)


def _arrays(labels: bool, test: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 2)), rng.normal(size=12)
    y = np.array(["no", "yes"] * 6) if labels else y
    return {"X": x, "y": y, **({"X_test": x[:6], "y_test": y[:6]} if test else {})}


def _npz(_: Path) -> list[bytes]:
    files = []
    for write in (np.savez, np.savez_compressed):
        for labels, test in ((False, False), (True, False), (True, True)):
            file = io.BytesIO()
            write(file, **_arrays(labels, test))
            files.append(file.getvalue())
        file = io.BytesIO()
        write(file, x_train=np.zeros((12, 2, 3), np.uint8), y_train=np.arange(12) % 2)
        files.append(file.getvalue())
    return files


def _parquet(_: Path) -> list[bytes]:
    arrays = _arrays(labels=True, test=False)
    frame = pd.DataFrame(arrays["X"], columns=["a", "b"]).assign(label=arrays["y"])
    counts = pd.DataFrame({"n": range(40), "even": [True, False] * 20})
    return [
        table.to_parquet(compression=compression)
        for table in (frame, counts)
        for compression in (None, "snappy", "zstd")
    ]


def _idx(_: Path) -> list[bytes]:
    images = bytes([0, 0, 8, 3, *(0, 0, 0, 2) * 3]) + bytes(range(8))
    labels = bytes([0, 0, 8, 1, 0, 0, 0, 5]) + bytes(range(5))
    return [images, labels]


# --- Images -----------------------------------------------------------------------------------


def _images(_: Path) -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    files = []
    for kind, mode in (
        ("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("GIF", "P"),
        ("BMP", "RGB"), ("TIFF", "RGB"), ("TIFF", "L"), ("WEBP", "RGB"), ("PPM", "L"),
    ):  # fmt: skip
        file = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(file, kind)
        files.append(file.getvalue())
    return files


def _use_image(path: Path) -> None:
    """Read as a folder's images are, whatever the name of the file says of its kind."""
    assert min(image_files.look(path).shape) > 0
    assert image_files.pixels(path, (5, 6, 3)).shape == (5, 6, 3)


def _cifar(_: Path) -> list[bytes]:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for part in BATCHES:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{part}.bin")
            member.size = 2 * RECORD
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return [file.getvalue()]


# --- What we write ourselves --------------------------------------------------------------------


def _model(folder: Path) -> list[bytes]:
    scaler = {"input_mean": np.zeros(2), "input_scale": np.ones(2)}
    target = {"target_mean": np.zeros(1), "target_scale": np.ones(1)}
    shared = {"feature_names": ["a", "b"], "params": {"hidden_sizes": [3]}, "standardize": True}
    kinds = (
        ("rational", (3,), 2, {"estimator": "SENNClassifier", "classes": ["no", "yes"]}, scaler),
        ("relu", (2, 3), 1, {"estimator": "SENNRegressor", "one_output": True}, scaler | target),
        ("tanh", (), 3, {"estimator": "SENNClassifier", "classes": [0, 1, 5]}, scaler),
    )
    files = []
    for activation, sizes, outputs, extra, arrays in kinds:
        network = MLP(2, outputs, sizes, key=jax.random.key(0), activation=activation)
        path = folder / "sample.senn"
        write_model(path, network, shared | extra, arrays)
        files += [path.read_bytes(), _without_checksum(path)]
    return files


def _without_checksum(path: Path) -> bytes:
    """The same as version 1 wrote it, so that damage comes as far as what follows the checksum."""
    header, arrays = read_file(path, MODEL_FORMAT)
    return save(arrays, {HEADER: json.dumps(header | {"version": 1})})


def _use_model(path: Path) -> None:
    estimator = senn.load(path)
    # Numbers may be any where the file has no checksum: their outputs may overflow.
    with np.errstate(all="ignore"), contextlib.suppress(DataError):
        estimator.predict(np.zeros((3, estimator.n_features_in_)))


_RECORDS = (
    Evaluation(30, 1.0, 2.0, 0.5, 0.6, 0.9, None, None, (4, 2), 99),
    Consideration(
        30,
        "width",
        0,
        "hidden layer 0",
        1,
        0.1,
        0.2,
        0.01,
        1.0,
        2.0,
        3.0,
        0.19,
        True,
        "added",
        "passes",
    ),
    Addition(30, "width", 0, "hidden layer 0", 1, 0.2, 0.01, 0.5, 0.5, (5, 2), 110, "passes", 3.0),
    Recovery(30, 0.1, "the loss was not finite"),
)


def _config_text() -> bytes:
    settings = {"data": "digits", "hidden_sizes": [4], "seed": 0, "max_units": None}
    summary = {"test_score": 0.5, "hidden_sizes": [5, 2], "stop_reason": "30 steps done"}
    config = {"format": "senn-run", "version": 1, "settings": settings, "summary": summary}
    return json.dumps(config, indent=2).encode()


def _ledger_text() -> bytes:
    history = senn.History(records=list(_RECORDS), steps=30, stop_reason="30 steps done")
    return history.json_lines().encode()


def _config(folder: Path) -> list[bytes]:
    (folder / LEDGER).write_bytes(_ledger_text())
    return [_config_text()]


def _ledger(folder: Path) -> list[bytes]:
    (folder / CONFIG).write_bytes(_config_text())
    return [_ledger_text()]


def _predictions(folder: Path) -> list[bytes]:
    (folder / CONFIG).write_bytes(_config_text())
    (folder / LEDGER).write_bytes(_ledger_text())
    codes, numbers = np.arange(12, dtype=np.int32) % 2, np.linspace(0, 1, 12, dtype=np.float32)
    files = []
    for values, names in ((codes, ["no", "yes"]), (numbers[:, None], ["y"])):
        file = io.BytesIO()
        np.savez_compressed(file, targets=values, predicted=values[::-1], names=np.array(names))
        files.append(file.getvalue())
    return files


def _use_run(path: Path) -> None:
    run = read_run(path.parent)
    history = run.history
    assert all(isinstance(part, dict) for part in (run.settings, run.summary, history.summary()))
    json.dumps([asdict(record) for record in history.records])
    if run.test is not None:
        np.testing.assert_equal(run.test.targets.shape, run.test.predicted.shape)


def _checkpoint(folder: Path) -> list[bytes]:
    header = {"step": 3, "about": {"seed": 0}, "ledger": [{"record": "summary", "steps": 3}]}
    write_file(folder / "sample.senn", FORMAT, header, _arrays(labels=False, test=True))
    return [(folder / "sample.senn").read_bytes()]


# --- The table ------------------------------------------------------------------------------------


def _mostly(*mutations: Mutation) -> tuple[Mutation, ...]:
    """Plain damage to one input in four, and the others in turn for the rest."""
    return (damage, *mutations * (3 // len(mutations)))


TARGETS = {
    target.name: target
    for target in (
        Target("csv", "t.csv", _csv, (damage,), _use_table, DataError),
        Target("gzip", "t.csv.gz", _gzipped, _mostly(in_gzip), _use_table, DataError),
        Target("zip", "t.zip", _zipped, _mostly(in_zip), _use_table, DataError),
        Target("excel", "t.xlsx", _excel, _mostly(in_zip), _use_table, DataError),
        Target("feather", "t.feather", _feather, (damage,), _use_table, DataError),
        Target("npy", "t.npy", _npy, _mostly(in_npy), _use_table, DataError),
        Target("npz", "t.npz", _npz, _mostly(in_npz), senn.datasets.load, DataError),
        Target("parquet", "t.parquet", _parquet, _mostly(in_footer), _use_parquet, DataError),
        Target("idx", "t", _idx, (damage,), read_idx, DataError),
        Target("image", "t.png", _images, (damage,), _use_image, DataError),
        Target("cifar", ARCHIVE, _cifar, _mostly(in_gzip),
               lambda path: senn.datasets.load("cifar10", data_dir=path.parent), DataError),
        Target("model", "m.senn", _model, _mostly(in_safetensors, in_safetensors, in_tensors),
               _use_model, ModelFileError),
        Target("config", CONFIG, _config, _mostly(in_json), _use_run, RunFolderError),
        Target("ledger", LEDGER, _ledger, _mostly(in_json_lines), _use_run, RunFolderError),
        Target("predictions", PREDICTIONS, _predictions, _mostly(in_npz), _use_run, RunFolderError),
        Target("checkpoint", "c.senn", _checkpoint, _mostly(in_safetensors, in_tensors, in_tensors),
               read_checkpoint, CheckpointError),
    )
}  # fmt: skip
