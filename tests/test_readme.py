"""The README's examples run, with less training than a reader would give them."""

import dataclasses
import re
import shlex
from pathlib import Path

import pytest

import senn
import senn.learning
import senn.training
from senn.cli import build_parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
REAL_FIT = senn.training.fit


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


COMMANDS = [
    shlex.split(line, comments=True)
    for block in blocks("sh")
    for line in block.splitlines()
    if line and not line.startswith("#")
]


def hurried_fit(*args, **settings):
    """`senn.fit`, with a few steps on small batches, and growth that is not thorough."""
    policy = dataclasses.replace(settings.get("policy") or senn.Policy(), every=2, depth=False)
    hurry = {
        "policy": policy,
        "proposer": senn.proposals.Random(),
        "schedule": senn.Schedule(max_steps=3, batch_size=64, evaluate_every=3, sample_size=64),
    }
    return REAL_FIT(*args, **{**settings, **hurry})


@pytest.fixture(scope="module")
def namespace(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("readme"))
        patch.setattr(senn, "fit", hurried_fit)
        patch.setattr(senn.learning, "fit", hurried_fit)
        yield {}


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_examples_run_one_after_another(number, namespace):
    code = blocks("python")[number]
    exec(compile(code, f"README.md, python example {number}", "exec"), namespace)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_are_understood(words):
    if words[:2] == ["senn", "--print-completion"]:
        with pytest.raises(SystemExit, match=r"^0$"):
            build_parser().parse_args(words[1:])
    elif words[0] == "senn":
        build_parser().parse_args(words[1:])
    elif words[0] == "make":
        assert words[1] in TARGETS
    else:
        assert words[:2] == ["pip", "install"]


def test_an_example_is_within_the_first_lines():
    first = "\n".join(README.splitlines()[:30])
    assert "SENNClassifier" in first
    assert ".score(" in first
    assert "senn train" in first


def test_every_name_of_the_library_exists():
    for name in re.findall(r"`(senn(?:\.\w+)+)", README):
        found = senn
        for part in name.split(".")[1:]:
            found = getattr(found, part)
