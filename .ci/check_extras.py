"""Install senn into fresh environments: alone, and with each extra.

Alone it may bring only its dependencies and what these need; with an extra nothing more than the
packages which that extra names, and what those need. Then the command must run in each. Exit code
1 and a line for everything else. Needs PyPI; takes minutes.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# Runs in the new environment: each distribution there, and the names of those it needs.
INSTALLED = """
import json, re
from importlib.metadata import distributions
from pip._vendor.packaging.requirements import Requirement
def plain(name): return re.sub(r"[-_.]+", "-", name).lower()
def needs(d):
    parsed = map(Requirement, d.requires or ())
    return [plain(r.name) for r in parsed if not r.marker or r.marker.evaluate({"extra": ""})]
print(json.dumps({plain(d.metadata["Name"]): needs(d) for d in distributions()}))
"""
TOOLS = {"pip", "setuptools"}


def main() -> int:
    """Check all; the exit code."""
    with tempfile.TemporaryDirectory(prefix="senn-extras-") as folder:
        wheel = _wheel(Path(folder))
        problems = []
        for extra in ("", *PROJECT["optional-dependencies"]):
            found = _install(Path(folder) / f"env-{extra or 'bare'}", wheel, extra)
            problems += _judge(extra, found)
    for problem in problems:
        print(f"WRONG: {problem}")
    return 1 if problems else 0


def _wheel(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("senn-*.whl")
    return wheel


def _install(env: Path, wheel: Path, extra: str) -> dict[str, list[str]]:
    """A new environment with the wheel: the distributions in it, and what each needs."""
    subprocess.run([sys.executable, "-m", "venv", str(env)], check=True)
    python = str(env / "bin" / "python")
    what = f"{wheel}[{extra}]" if extra else str(wheel)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-compile", what], check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True, stdout=subprocess.DEVNULL)
    for words in ("--version", "train --help"):
        subprocess.run(
            [env / "bin" / "senn", *words.split()], check=True, stdout=subprocess.DEVNULL
        )
    told = subprocess.run([python, "-c", INSTALLED], check=True, capture_output=True, text=True)
    return json.loads(told.stdout)


def _judge(extra: str, found: dict[str, list[str]]) -> list[str]:
    """What is there beyond what is needed, or is not there."""
    core = _closure(PROJECT["dependencies"], found)
    own = _closure(PROJECT["optional-dependencies"][extra], found) if extra else set()
    new = ", ".join(sorted(own - core)) or f"{len(core)} distributions"
    print(f"senn[{extra}] brings {new}" if extra else f"senn brings {new}", flush=True)
    name = f"senn[{extra}]" if extra else "senn"
    wanted = core | own | TOOLS | {"senn"}
    return [f"{name} brings {which}" for which in sorted(set(found) - wanted)]


def _closure(requirements: list[str], found: dict[str, list[str]]) -> set[str]:
    """The named distributions and all that they need."""
    closed: set[str] = set()
    todo = [re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", r)[0]).lower() for r in requirements]
    while todo:
        name = todo.pop()
        if name not in closed:
            closed.add(name)
            todo += found[name]
    return closed


if __name__ == "__main__":
    sys.exit(main())
