"""What is installed, what is imported, and how long that takes."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CORE = {
    "jax", "equinox", "jaxtyping", "lazy-loader", "numpy", "optax", "rich", "safetensors",
    "scikit-learn", "scipy", "threadpoolctl",
}  # fmt: skip
EXTRAS = {
    "completion": {"shtab"},
    "images": {"pillow"},
    "onnx": {"onnx"},
    "skl2onnx": {"skl2onnx"},
    "plot": {"matplotlib"},
    "tables": {"openpyxl", "pandas", "pyarrow"},
    "tensorboard": {"tensorboardX"},
}
# Where they differ.
MODULES = {"scikit-learn": "sklearn", "lazy-loader": "lazy_loader", "pillow": "PIL"}
# Modules of ours that an extra is for, and that only they who have it import.
FOR_EXTRAS = re.compile(
    r"senn\.plot|senn\.export\.(onnx_(file|columns|graph|images)|pipelines)|"
    r"senn\.studies\.(?!command|options)\w+"
)


def names(requirements: list[str]) -> set[str]:
    """Distributions; extras that are made of others name senn itself, which does not count."""
    return {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements} - {"senn"}


def modules(distributions) -> set[str]:
    return {MODULES.get(name, name) for name in distributions}


def own_modules() -> dict[str, Path]:
    source = ROOT / "src"
    paths = {path.relative_to(source).with_suffix(""): path for path in source.rglob("*.py")}
    return {".".join(path.parts).removesuffix(".__init__"): file for path, file in paths.items()}


def imported(tree: ast.AST) -> set[str]:
    """The top-level packages that a piece of code imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"senn"}


def test_the_core_is_what_it_was():
    assert names(PROJECT["dependencies"]) == CORE


def test_an_extra_has_its_own_packages_and_none_of_another():
    found = {extra: names(needed) for extra, needed in PROJECT["optional-dependencies"].items()}
    assert found.items() >= EXTRAS.items()
    for extra, needed in found.items():
        others = set().union(*(own for other, own in found.items() if other != extra))
        assert not needed & (CORE | others), extra


def test_all_that_is_imported_is_declared():
    extras = set().union(*map(names, PROJECT["optional-dependencies"].values()))
    for name, path in own_modules().items():
        undeclared = imported(ast.parse(path.read_text("utf-8"))) - modules(CORE | extras)
        assert not undeclared, name


def test_everything_but_the_extras_works_without_them(tmp_path):
    """All other modules import, all other names are there, with all extras' packages missing."""
    needed = {**PROJECT["optional-dependencies"]}
    del needed["docs"]  # no module of ours is for them, and SciPy looks for sphinx
    extras = modules(set().union(*map(names, needed.values())))
    ours = sorted(n for n in own_modules() if not FOR_EXTRAS.fullmatch(n) and n != "senn.__main__")
    program = f"""
import sys
for name in {sorted(extras)}:
    sys.modules[name] = None
import importlib
for name in {ours}:
    importlib.import_module(name)
import senn
for name in set(senn.__all__) - {{"plot"}}:
    getattr(senn, name)
from senn.cli import main
for words in (["--help"], ["train", "--help"]):
    assert main(words) == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


SECONDS = """
import time
start = time.perf_counter()
import {modules}
print(time.perf_counter() - start)
"""


def import_seconds(modules: str) -> float:
    """Of processor time, in a fresh process: other work on the machine does not count."""
    program = SECONDS.replace("perf_counter", "process_time").format(modules=modules)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@pytest.mark.slow
def test_importing_takes_less_than_one_and_a_half_times_what_it_rests_on():
    """Names of the library are imported when they are first used: this is next to none."""
    base = min(import_seconds("jax, equinox, optax") for _ in range(3))
    ours = min(import_seconds("senn") for _ in range(3))
    assert ours < 1.5 * base


def test_help_needs_no_jax(tmp_path):
    program = (
        "import sys; from senn.cli import main; main(['--help']); "
        "assert not {'jax', 'sklearn', 'numpy', 'shtab', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=tmp_path)
