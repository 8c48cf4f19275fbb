"""The experiments' scripts run, in their smallest form."""

import re
import runpy
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "experiments"


def test_a_linear_model_grows_to_fit_the_moons(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seeds.py", "moons", "--seeds", "1", "--max-units", "8"])
    runpy.run_path(str(SCRIPTS / "seeds.py"), run_name="__main__")
    found = re.search(r"^ +0 +(0\.\d+) +(\d+) ", capsys.readouterr().out, re.MULTILINE)
    assert found
    assert float(found[1]) > 0.9
    assert 1 < int(found[2]) <= 8
