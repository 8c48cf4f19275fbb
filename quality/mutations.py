"""Ways to damage a file: its bytes, and what stands inside formats with lengths and checksums.

Random bytes rarely get past a checksum or the length of a header. The damage `in_…` a format is
done inside it, and what guards it is then made right again, so that readers see it.
"""

import gzip
import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

Mutation = Callable[[random.Random, bytes], bytes]

_INTEGERS = (0, 1, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_NUMBERS = ("-1", "0", "nan", "-inf", "1e999", "1e-999", "9" * 5000, "2147483648", "1_0", "0x7f")
_WORDS = tuple(
    word.encode("utf-8", "surrogatepass")
    for word in (
        *_NUMBERS, '"', "'", ",", ";", "\t", "\n", "\r", "\r\n", "\0", "\ufeff", "\ud800", "é",
        "😀", "null", "true", "[" * 3000, '{"a":' * 3000, "," * 3000, "\n" * 3000, "\\",
        "../../x", "%s",
    )
)  # fmt: skip
_VALUES = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**20, 0.5, -0.0, 1e308, float("nan"), float("inf"), "",
    "x", "x" * 10_000, "\ud800", "../../x", [], {}, [[]], [0], [0] * 1000, {"a": {"b": [None]}},
)  # fmt: skip
_SHAPES = (
    (), (0,), (-1,), (2**31,), (2**62, 2**62), (10**12,), (10**30,), (1,) * 33, (3, 0), (True,),
    "x", None, (2.0,), 5, (12, 2), (24,),
)  # fmt: skip
_TYPES = (
    "<f8", "<f4", "<f2", ">f8", "|O", "|b1", "<c16", "<U1000000000", "|S0", "|V8", "<M8[s]", "<u8",
    [("a", "<f8")], "zz", None, 3, "<f16", "|i1",
)  # fmt: skip


# --- Bytes -----------------------------------------------------------------------------------


def flip(rng: random.Random, data: bytes) -> bytes:
    """One bit."""
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def overwrite(rng: random.Random, data: bytes) -> bytes:
    """An integer of 1, 2, 4 or 8 bytes at the edge of some range."""
    at, size = rng.randrange(len(data)), rng.choice((1, 2, 4, 8))
    value = rng.choice(_INTEGERS) % 256**size
    return data[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def insert(rng: random.Random, data: bytes) -> bytes:
    """A word that means something to some reader."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_WORDS) + data[at:]


def delete(rng: random.Random, data: bytes) -> bytes:
    """A stretch left out."""
    start, stop = _stretch(rng, data)
    return data[:start] + data[stop:]


def repeat(rng: random.Random, data: bytes) -> bytes:
    """A stretch many times over."""
    start, stop = _stretch(rng, data)
    return data[:start] + data[start:stop] * rng.choice((2, 3, 16, 64)) + data[stop:]


def move(rng: random.Random, data: bytes) -> bytes:
    """A stretch put elsewhere."""
    start, stop = _stretch(rng, data)
    rest, at = data[:start] + data[stop:], rng.randrange(len(data))
    return rest[:at] + data[start:stop] + rest[at:]


def truncate(rng: random.Random, data: bytes) -> bytes:
    """The beginning alone."""
    return data[: rng.randrange(len(data))]


def scramble(rng: random.Random, data: bytes) -> bytes:
    """Random bytes in the place of a stretch."""
    start, stop = _stretch(rng, data)
    return data[:start] + rng.randbytes(stop - start) + data[stop:]


def number(rng: random.Random, data: bytes) -> bytes:
    """Another number in the place of one in the text."""
    found = list(re.finditer(rb"\d+", data))
    if not found:
        return insert(rng, data)
    start, stop = rng.choice(found).span()
    return data[:start] + rng.choice(_NUMBERS).encode() + data[stop:]


_PLAIN = (flip, overwrite, insert, delete, repeat, move, truncate, scramble, number)


def damage(rng: random.Random, data: bytes) -> bytes:
    """One to four of the above."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_PLAIN)(rng, data) if data else rng.choice(_WORDS)
    return data


def _stretch(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, start + 1 + int(rng.random() ** 3 * (len(data) - start))


# --- JSON --------------------------------------------------------------------------------------


def in_json(rng: random.Random, data: bytes) -> bytes:
    """A value, key or item somewhere in the tree is another, is lacking, or is there twice."""
    return json.dumps(_in_tree(rng, json.loads(data))).encode()


def in_json_lines(rng: random.Random, data: bytes) -> bytes:
    """The same in one line, or the lines in another order."""
    lines = data.splitlines()
    if rng.random() < 0.1:
        rng.shuffle(lines)
    else:
        at = rng.randrange(len(lines))
        lines[at] = in_json(rng, lines[at])
    return b"".join(line + b"\n" for line in lines)


def _in_tree(rng: random.Random, tree: Any) -> Any:
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.1:
        return rng.choice(_VALUES)
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    key, tree = rng.choice(keys), tree.copy()
    if rng.random() < 0.15:
        del tree[key]
    elif isinstance(tree, list) and rng.random() < 0.15:
        tree.insert(key, tree[key])
    elif isinstance(tree, dict) and rng.random() < 0.05:
        tree["x" + key] = tree.pop(key)
    else:
        tree[key] = _in_tree(rng, tree[key])
    return tree


# --- Containers --------------------------------------------------------------------------------


def in_npz(rng: random.Random, data: bytes) -> bytes:
    """A member of the archive is damaged, renamed or lacking; its checksum is right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    content = members.pop(name)
    head = content[:8] + damage(rng, content[8:128]) + content[128:]
    other = rng.choice(("y.npy", "X_test.npy", "../x.npy", "", "X"))
    changed = rng.choice(
        (
            {name: damage(rng, content)},
            {name: in_npy(rng, content)},
            {name: head},
            {other: content},
            {},
        )
    )
    return _zipped(members | changed, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def in_zip(rng: random.Random, data: bytes) -> bytes:
    """A member of the archive is damaged, lacking or twice there; its checksum is right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    content = members.pop(name)
    changed = rng.choice(({name: damage(rng, content)}, {f"{name}x": content}, {name: b""}, {}))
    return _zipped(members | changed, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def in_gzip(rng: random.Random, data: bytes) -> bytes:
    """What is packed is damaged; lengths and checksum are right."""
    return gzip.compress(damage(rng, gzip.decompress(data)), compresslevel=1)


def in_npy(rng: random.Random, data: bytes) -> bytes:
    """The header claims another shape, type or order, and is as long as it says."""
    (length,) = struct.unpack("<H", data[8:10])
    claims = {"descr": "<f8", "fortran_order": False, "shape": (12, 2)}
    key = rng.choice(list(claims))
    claims[key] = rng.choice({"descr": _TYPES, "shape": _SHAPES}.get(key, (True, None, 3)))
    header = repr(claims).encode().ljust(length - 1) + b"\n"
    return data[:8] + struct.pack("<H", len(header)) + header + data[10 + length :]


def in_safetensors(rng: random.Random, data: bytes) -> bytes:
    """The header says something else, in its own fields or in ours; its length is right."""
    (length,) = struct.unpack("<Q", data[:8])
    header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    if rng.random() < 0.7:
        ours = header["__metadata__"]
        key = rng.choice(list(ours))
        ours[key] = rng.choice((in_json, in_json, damage))(rng, ours[key].encode()).decode(
            errors="replace"
        )
        text = json.dumps(header).encode()
    else:
        text = in_json(rng, data[8 : 8 + length])
    return struct.pack("<Q", len(text)) + text + rest


def in_tensors(rng: random.Random, data: bytes) -> bytes:
    """The numbers alone are damaged, and are as many as before."""
    (length,) = struct.unpack("<Q", data[:8])
    rest = data[8 + length :]
    return data[: 8 + length] + rng.choice((flip, overwrite, scramble))(rng, rest)[: len(rest)]


def in_footer(rng: random.Random, data: bytes) -> bytes:
    """The footer of a parquet file is damaged; its length is right."""
    (length,) = struct.unpack("<I", data[-8:-4])
    start = len(data) - 8 - length
    footer = damage(rng, data[start:-8])
    return data[:start] + footer + struct.pack("<I", len(footer)) + data[-4:]


def _zipped(members: dict[str, bytes], method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()
