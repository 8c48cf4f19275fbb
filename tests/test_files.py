import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from senn import files
from senn.files import FileError, Format, read_file, write_atomically, write_file


class NoSuchError(FileError):
    pass


KIND = Format("test", "thing", 3, NoSuchError, checked_from=2)
ARRAYS = {
    "scalar": np.float32(0.5), "strided": np.arange(12.0).reshape(3, 4)[:, ::2], "none": np.ones(0),
    "transposed": np.arange(6).reshape(2, 3).T, "bits": np.array([True, False]),
    "subnormal": np.array([5e-324, -0.0, np.nan, np.inf]),
}  # fmt: skip
HEADER = {"note": [1, "ä", None], "deep": {"a": 0.1}}


@pytest.fixture
def path(tmp_path):
    write_file(tmp_path / "deep" / "f", KIND, HEADER, ARRAYS)
    return tmp_path / "deep" / "f"


def test_what_is_read_is_what_was_written(path):
    header, arrays = read_file(path, KIND)
    assert header == {"format": "test", "version": 3, **HEADER}
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


def test_the_same_content_is_the_same_file(path, tmp_path):
    for n in range(20):
        write_file(tmp_path / str(n), KIND, HEADER, dict(reversed(ARRAYS.items())))
        assert (tmp_path / str(n)).read_bytes() == path.read_bytes()


def test_every_flipped_bit_is_noticed(path, tmp_path):
    content = path.read_bytes()
    rng, broken = np.random.default_rng(0), tmp_path / "broken"
    for bit in [*range(64), *rng.integers(0, 8 * len(content), 1000).tolist()]:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        broken.write_bytes(changed)
        with pytest.raises(NoSuchError) as caught:
            read_file(broken, KIND)
        assert "\n" not in str(caught.value)


def test_every_cut_is_noticed(path, tmp_path):
    content, broken = path.read_bytes(), tmp_path / "broken"
    for length in [*range(0, len(content), 37), len(content) - 1]:
        broken.write_bytes(content[:length])
        with pytest.raises(NoSuchError, match="is no senn thing"):
            read_file(broken, KIND)


def stored(header: dict, *, checksum: bool = False) -> bytes:
    text, arrays = json.dumps(header), {"a": np.ones(2)}
    if checksum:
        arrays["sha256"] = files._checksum(text, arrays)
    return save(arrays, {"senn": text})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no senn thing"),
        (b"garbage" * 100, "is no senn thing"),
        (struct.pack("<Q", 2**62) + b"{}", "is no senn thing"),
        (save({"a": np.ones(2)}), "its header does not say so"),
        (save({"a": np.ones(2)}, {"senn": "{"}), "is no senn thing"),
        (save({"a": np.ones(2)}, {"senn": "[" * 10000}), "is no senn thing"),
        (stored({"format": "other", "version": 1}), "its header does not say so"),
        (stored({"format": "test", "version": 4}), "format 4, and .* up to 3; upgrade senn"),
        (stored({"format": "test", "version": 0}), "format 0"),
        (stored({"format": "test"}), "format None"),
        (stored({"format": "test", "version": True}), "format True"),
        (stored({"format": "test", "version": "x" * 10_000}), "format x{20}, and"),
        (stored({"format": "test", "version": 2}), "damaged: its checksum"),
        (stored({"format": "test", "version": 3}), "damaged: its checksum"),
    ],
)
def test_files_that_are_none_of_ours(tmp_path, content, message):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(NoSuchError, match=message):
        read_file(tmp_path / "f", KIND)


def test_versions_before_the_checksum_do_without(tmp_path):
    (tmp_path / "f").write_bytes(stored({"format": "test", "version": 1}))
    assert read_file(tmp_path / "f", KIND)[0]["version"] == 1
    (tmp_path / "f").write_bytes(stored({"format": "test", "version": 2}, checksum=True))
    assert read_file(tmp_path / "f", KIND)[0]["version"] == 2


def test_there_is_no_such_file(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(NoSuchError, match="no thing file at"):
            read_file(path, KIND)


def test_arrays_that_files_cannot_hold(tmp_path):
    for array in (np.array(["a"]), np.array([None]), np.array([1j])):
        with pytest.raises(TypeError, match="which files cannot hold"):
            write_file(tmp_path / "f", KIND, {}, {"a": array})
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_the_old_file_stays_when_writing_fails(tmp_path, monkeypatch, call, error):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(files.os, call, fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]  # nothing is left aside
