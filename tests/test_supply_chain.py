"""No code from data, no writes beside the given folders, checked downloads, locked tools."""

import ast
import io
import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.response
from email.message import Message
from pathlib import Path

import pytest
import sklearn.datasets._openml as openml

from senn import datasets
from senn.datasets import DataError

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))

# --- No code from data ----------------------------------------------------------------------------

RUNS_CODE = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "read_pickle",
    "system",
    "popen",
    "unsafe_load",
}
UNPICKLE = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy",
    "subprocess", "ctypes", "code",
}  # fmt: skip
# Each calls a function of the C library that the process runs on anyway, and sees no data.
CALLS_C = ("machine", "processes")
ARGUED = {f"src/senn/{name}.py": {"ctypes"} for name in CALLS_C}
WITH_LOADER = {"yaml", "torch", "np", "numpy", "jnp"}  # whose `load` may unpickle


def dangers(source: str) -> set[str]:
    """The calls and imports of a piece of code that could run code found in data."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names} & UNPICKLE
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").split(".")[0]} & UNPICKLE
        elif isinstance(node, ast.Call):
            found |= _danger_of(node)
    return found


def _danger_of(call: ast.Call) -> set[str]:
    *owner, name = ast.unparse(call.func).split(".")
    pickles = {k.arg: ast.unparse(k.value) for k in call.keywords}.get("allow_pickle")
    if pickles not in (None, "False"):
        return {"allow_pickle"}
    if name == "load" and set(owner[:1]) & WITH_LOADER and pickles is None:
        return {f"{owner[0]}.load"}
    return {name} & RUNS_CODE if not (owner and name == "compile") else set()  # as re.compile


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_nothing_runs_code_found_in_data(path):
    argued = ARGUED.get(path.relative_to(ROOT).as_posix(), set())
    assert dangers(path.read_text("utf-8")) == argued


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from joblib import load", "import marshal as m", "eval(text)",
        "exec(text)", "frame.eval(text)", "np.load(path)", "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)", "pandas.read_pickle(path)", "yaml.load(text)",
        "os.system(text)", "compile(text, '', 'exec')", "from subprocess import run",
    ],
)  # fmt: skip
def test_such_code_would_be_found(source):
    assert dangers(source)


@pytest.mark.parametrize("source", ["np.load(path, allow_pickle=False)", "re.compile(x)", "fit(x)"])
def test_other_code_is_left_alone(source):
    assert not dangers(source)


# --- Writes ---------------------------------------------------------------------------------------

WATCHED = """
import json, os, sys

written = []

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and isinstance(arguments[2], int):
        writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        if arguments[0] != os.devnull and arguments[2] & writes:
            written.append(str(arguments[0]))
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink"):
        written.extend(str(a) for a in arguments[:2] if isinstance(a, (str, bytes, os.PathLike)))

sys.addaudithook(hook)
from senn.cli import main

code = main(sys.argv[1:])
print(json.dumps(written), file=sys.stderr)
sys.exit(code)
"""


def test_training_writes_in_the_folders_it_was_given_and_nowhere_else(tmp_path):
    rows = "".join(f"{k},{k * k % 7},{k % 2}\n" for k in range(40))
    (tmp_path / "table.csv").write_text("a,b,label\n" + rows)
    run, cache = tmp_path / "run", tmp_path / "cache"
    words = ["train", "table.csv", "--no-width", "--no-depth", "--optimizer", "adam"]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *words, "--max-seconds", "1", "--out", str(run)],
        env={**os.environ, "SENN_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = [Path(path) for path in json.loads(done.stderr.splitlines()[-1])]
    assert run / "model.senn" in written
    assert any(path.is_relative_to(cache) for path in written)
    beside = [p for p in written if not (p.is_relative_to(run) or p.is_relative_to(cache))]
    assert not beside
    assert {p.name for p in tmp_path.iterdir()} == {"table.csv", "run", "cache"}


# --- Downloads ------------------------------------------------------------------------------------

ARFF = b"@RELATION mnist\n@ATTRIBUTE pixel REAL\n@ATTRIBUTE class {0,1}\n@DATA\n1,0\n2,1\n"
ANSWERS = {  # by the part of the address after `json/data/`
    r"list/": {"data": {"dataset": [{"did": 554, "version": 1, "status": "active"}]}},
    r"features/": {
        "data_features": {
            "feature": [
                {"index": str(k), "name": name, "data_type": kind, "is_target": target,
                 "is_ignore": "false", "is_row_identifier": "false",
                 "number_of_missing_values": "0"}
                for k, (name, kind, target) in enumerate(
                    [("pixel", "numeric", "false"), ("class", "nominal", "true")]
                )
            ]
        }
    },
    r"qualities/": {"data_qualities": {"quality": []}},
    r"\d+$": {
        "data_set_description": {
            "name": "mnist_784", "version": "1", "status": "active", "format": "ARFF",
            "description": "", "url": "https://www.openml.org/data/v1/download/1/m.arff",
            "md5_checksum": "0" * 32,
        }
    },
}  # fmt: skip


@pytest.fixture
def addresses(monkeypatch, tmp_path):
    """OpenML as it would answer, but for data of another checksum; the addresses asked for."""
    asked = []

    def answer(request, *_, **__):
        asked.append(request.full_url)
        path = request.full_url.partition("json/data/")[2]
        found = [a for pattern, a in ANSWERS.items() if path and re.match(pattern, path)]
        content = json.dumps(found[0]).encode() if found else ARFF
        return urllib.response.addinfourl(io.BytesIO(content), Message(), request.full_url)

    monkeypatch.setattr(openml, "urlopen", answer)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.delenv("SENN_DATA", raising=False)
    monkeypatch.setattr("senn.datasets.mnist.SYSTEM_FOLDER", tmp_path / "nothing")
    return asked


def test_a_download_with_a_wrong_checksum_is_refused_and_all_are_by_https(addresses):
    with pytest.raises(DataError, match=r"cannot be had from OpenML .*md5 checksum"):
        datasets.load("mnist")
    assert any(address.endswith(".arff") for address in addresses)
    assert all(address.startswith("https://") for address in addresses)


# --- Locked tools ---------------------------------------------------------------------------------

LOCK = ROOT / "requirements-dev.lock"
APART = {"audit", "docs"}  # installed by `make audit` and `make docs`, not by `make setup`


def _canonical(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_every_dependency_is_locked_with_its_checksums():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    optional = project["project"]["optional-dependencies"] | project["dependency-groups"]
    lists = [
        project["project"]["dependencies"],
        *(needs for name, needs in optional.items() if name not in APART),
    ]
    wanted = {_canonical(r) for part in lists for r in part if isinstance(r, str)} - {"senn"}
    entries = re.split(r"\n(?=[\w.-]+==)", LOCK.read_text("utf-8"))[1:]
    assert not wanted - {_canonical(entry) for entry in entries}, "run `make lock`"
    assert all("--hash=sha256:" in entry for entry in entries)
