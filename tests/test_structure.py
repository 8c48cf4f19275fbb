"""The house in order: small files and functions, and no architecture where none belongs.

Which way imports go is a contract of import-linter, in pyproject.toml, which `make lint` checks.
"""

import ast
import tokenize
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "senn"
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 400, 60  # lines; docstrings of functions apart

# Perceptrons by name: the networks themselves, what makes or writes them, and the paper's figures.
KNOW_PERCEPTRONS = ("nn/", "learning.py", "export/", "studies/")
# Ledgers hold the kind of an action as a word, and tell what it means.
READ_WORDS = ("history.py",)

every_file = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))


def place(path):
    return path.relative_to(SOURCE).as_posix()


@every_file
def test_files_and_functions_are_short(path):
    text = path.read_text("utf-8")
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            said = ast.get_docstring(node, clean=False)
            lines = node.end_lineno - node.lineno + 1 - (said.count("\n") + 1 if said else 0)
            assert lines <= LONGEST_FUNCTION, node.name


@every_file
def test_perceptrons_are_named_only_where_they_are_made(path):
    if place(path).startswith(KNOW_PERCEPTRONS):
        return
    with path.open("rb") as file:
        names = {t.string for t in tokenize.tokenize(file.readline) if t.type == tokenize.NAME}
    assert "MLP" not in names


@every_file
def test_actions_are_not_told_apart_by_words(path):
    if place(path) in READ_WORDS:
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            named = {n.attr for n in sides if isinstance(n, ast.Attribute) and not of_type(n)}
            words = any(isinstance(n, ast.Constant) and isinstance(n.value, str) for n in sides)
            assert not (words and named & {"kind", "layer_kind", "how", "place"}), ast.unparse(node)


def of_type(attribute):
    """Whether it is the `kind` of a NumPy type."""
    return ast.unparse(attribute).endswith("dtype.kind")


def test_the_gates_see_what_they_are_for():
    """Each of them would fail somewhere it does not look."""
    learning = (SOURCE / "learning.py").read_text("utf-8")
    assert "MLP(" in learning
    assert '.kind == "layer"' in (SOURCE / "history.py").read_text("utf-8")
