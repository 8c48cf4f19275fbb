"""Readers survive the quick form of `make fuzz`, and the fuzzer finds what is planted."""

import random
import warnings
from pathlib import Path

import fuzz
import mutations
import pytest
from fuzz import attack
from fuzz_targets import TARGETS, Target

from senn.datasets import DataError


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused_in_a_sentence(name, tmp_path):
    report = attack(TARGETS[name], tmp_path, fuzz.QUICK, seed=1, kept=tmp_path / "kept")
    assert report.findings == {}
    assert report.accepted + report.refused == fuzz.QUICK
    assert report.refused > fuzz.QUICK / 10  # the damage is such that readers see it


def _hang(_: Path) -> None:
    while True:
        pass


def _two_lines(_: Path) -> None:
    raise DataError("one\ntwo")


PLANTED = {
    "another exception": (lambda path: {}[path], "KeyError at test_fuzz.py"),
    "a hang": (_hang, "Hang at"),
    "a file written": (lambda path: (path.parent / "other").write_text(""), "touched"),
    "a warning": (lambda _: warnings.warn("careful", stacklevel=1), "UserWarning at"),
    "no sentence": (_two_lines, "no sentence"),
}


@pytest.mark.parametrize("case", PLANTED)
def test_what_is_planted_is_found_and_kept(case, tmp_path, monkeypatch):
    bug, kind = PLANTED[case]
    monkeypatch.setattr(fuzz, "SECONDS", 0.1)
    sample = b"a sample"

    def read(path: Path) -> None:
        if path.read_bytes() != sample:
            bug(path)

    target = Target("planted", "t.bin", lambda _: [sample], (mutations.flip,), read, DataError)
    report = attack(target, tmp_path, 3, seed=0, kept=tmp_path / "kept")
    ((found, (times, _)),) = report.findings.items()
    assert found.startswith(kind)
    assert times == 3
    assert (tmp_path / "kept" / "planted-1.bin").read_bytes() != sample


@pytest.mark.parametrize("name", TARGETS)
def test_the_same_seed_makes_the_same_damage(name, tmp_path):
    target = TARGETS[name]
    samples = target.samples(tmp_path)

    def damaged(seed: int) -> list[bytes]:
        rng = random.Random(seed)
        return [rng.choice(target.mutations)(rng, rng.choice(samples)) for _ in range(50)]

    assert damaged(3) == damaged(3) != damaged(4)
