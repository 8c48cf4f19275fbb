"""Studies use public names alone, and the scripts of `experiments/` run in their smallest form."""

import ast
import re
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "experiments"


def taken(tree: ast.AST):
    """Every name that is imported, or is an attribute of something else than the object itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
            yield node.attr


def test_studies_use_public_names_alone():
    files = sorted((ROOT / "src" / "senn" / "studies").glob("*.py"))
    assert files
    for path in files:
        for name in taken(ast.parse(path.read_text("utf-8"))):
            assert not re.search(r"(^|\.)_(?!_)", name), f"{path.name} uses {name}"


def test_a_linear_model_grows_to_fit_the_moons(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seeds.py", "moons", "--seeds", "1", "--max-units", "8"])
    runpy.run_path(str(SCRIPTS / "seeds.py"), run_name="__main__")
    found = re.search(r"^ +0 +(0\.\d+) +(\d+) ", capsys.readouterr().out, re.MULTILINE)
    assert found
    assert float(found[1]) > 0.9
    assert 1 < int(found[2]) <= 8
