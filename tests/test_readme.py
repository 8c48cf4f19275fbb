"""What the README and the pages around it show works.

Examples run, with less training than a reader would give them; commands, names, files and links
exist; and figures are those that the benchmarks wrote.
"""

import dataclasses
import importlib
import json
import re
import shlex
import statistics
from pathlib import Path

import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import senn
import senn.learning
import senn.training
from senn.cli import build_parser

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
WRITTEN = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in DOCS.rglob("*.md") if "gallery" not in path.parts),
)
PAGES = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in WRITTEN}
README = PAGES["README.md"]
BENCHMARKS = PAGES["docs/benchmarks.md"]
# These say what their data are; the other pages go on from there.
COMPLETE = ("README.md", "docs/guide/estimators.md")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
REAL_FIT = senn.training.fit


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)


EXAMPLES = [(page, n) for page in PAGES for n in range(len(blocks(page, "python")))]
SHOWN = [
    line.removeprefix("$ ")
    for page in PAGES
    for language in ("sh", "console")
    for block in blocks(page, language)
    for line in block.splitlines()
    if line and not line.startswith("#") and (language == "sh" or line.startswith("$ "))
]
COMMANDS = [shlex.split(line, comments=True) for line in dict.fromkeys(SHOWN)]


def hurried_fit(*args, **settings):
    """`senn.fit`, with a few steps on small batches, and growth that is not thorough."""
    policy = dataclasses.replace(settings.get("policy") or senn.Policy(), every=2, depth=False)
    hurry = {
        "policy": policy,
        "proposer": senn.proposals.Random(),
        "schedule": senn.Schedule(max_steps=3, batch_size=64, evaluate_every=3, sample_size=64),
    }
    return REAL_FIT(*args, **{**settings, **hurry})


def digits() -> dict:
    X, y = load_digits(return_X_y=True)
    names = ("X_train", "X_test", "y_train", "y_test")
    parts = train_test_split(X / 16, y, stratify=y, random_state=0)
    return {"X": X, "y": y, **dict(zip(names, parts, strict=True))}


@pytest.fixture(scope="module")
def namespaces(tmp_path_factory):
    """One for each page, whose examples run one after another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("pages"))
        patch.setattr(senn, "fit", hurried_fit)
        patch.setattr(senn.learning, "fit", hurried_fit)
        yield {page: {} if page in COMPLETE else digits() for page in PAGES}


@pytest.mark.parametrize(("page", "number"), EXAMPLES)
def test_python_examples_run_one_after_another(page, number, namespaces):
    code = blocks(page, "python")[number]
    exec(compile(code, f"{page}, python example {number}", "exec"), namespaces[page])


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_are_understood(words):
    if words[:2] == ["senn", "--print-completion"]:
        with pytest.raises(SystemExit, match=r"^0$"):
            build_parser().parse_args(words[1:])
    elif words[0] == "senn":
        build_parser().parse_args(words[1:])
    elif words[0] == "make":
        assert words[1] in TARGETS
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file()
    else:
        assert words[:2] == ["pip", "install"]


def test_an_example_is_within_the_first_lines():
    first = "\n".join(README.splitlines()[:30])
    assert "SENNClassifier" in first
    assert ".score(" in first
    assert "senn train" in first


def test_the_readme_is_short():
    assert len(README.splitlines()) < 150


@pytest.mark.parametrize("page", PAGES)
def test_every_name_of_the_library_exists(page):
    for name in re.findall(r"`(senn(?:\.\w+)+)", PAGES[page]):
        found, path = senn, "senn"
        for part in name.split(".")[1:]:
            path = f"{path}.{part}"
            found = getattr(found, part, None) or importlib.import_module(path)


@pytest.mark.parametrize("page", PAGES)
def test_files_and_targets_that_a_page_names_exist(page):
    folders = "benchmarks|docs|examples|experiments|quality|tests"
    for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", PAGES[page]):
        assert (ROOT / name).exists(), name
    for target in re.findall(r"`make ([a-z-]+)`", PAGES[page]):
        assert target in TARGETS
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGES[page]):
        assert ((ROOT / page).parent / link).exists(), link


def test_pictures_of_examples_are_of_examples_that_there_are():
    for page, text in PAGES.items():
        for name in re.findall(r"sphx_glr_(\w+)_\d{3}\.png", text):
            assert (ROOT / "examples" / f"{name}.py").is_file(), page


def result(name: str) -> dict:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_figures_of_small_tables_are_those_of_the_benchmark():
    for name, found in result("sizes")["data"].items():
        row = found["row"]
        scores = [f"{row['senn']:.3f}", f"{row['sklearn']:.3f}"]
        units = [str(row["units"]), str(row["their units"])]
        times = [f"{row[f'{cache}/search']:.2g} ×" for cache in ("cold", "warm")]
        assert [name, *scores, *units, *times] in rows(README)
        assert [name, *scores, row["so senn"], ", ".join(units), *times] in rows(BENCHMARKS)


def test_figures_of_images_are_those_of_the_benchmark():
    told = {"MNIST": "mnist", "Fashion-MNIST": "fashion-mnist"}
    search, largest = ["the whole search"], ["the fit of 200 units alone"]
    for name, key in told.items():
        found = result("mnist")["data"][key]
        table, ratios = {row["who"]: row for row in found["table"]}, found["ratios"]
        ours, theirs = table["senn, cold"], table["sklearn, search"]
        scores = [f"{of['mean test accuracy']:.3f}" for of in (ours, theirs)]
        units = [" to ".join(dict.fromkeys(str(of["units"]).split("–"))) for of in (ours, theirs)]
        times = [f"{ratios[f'{cache}_to_search']:.2f}" for cache in ("cold", "warm")]
        budget = f"{name}, at most {found['max_units']} units"
        assert [budget, *scores, *units, *(f"{time} ×" for time in times)] in rows(README)
        search += times
        largest += [f"{ratios[f'{cache}_to_largest_fit']:.2f}" for cache in ("cold", "warm")]
        grown = next(row for row in rows(BENCHMARKS) if row[0] == name)
        assert grown[3] == f"{ours['parameters']:,}"
        assert grown[4] == f"{scores[0]} mean, {ours['lowest']:.3f} lowest"
        assert grown[5] == str(len(found["runs"]))
        seconds = {
            cache: sorted(run[cache]["process_seconds"] for run in found["runs"])
            for cache in ("cold", "warm")
        }
        spans = [f"{of[0]:.0f} to {of[-1]:.0f} {cache}" for cache, of in seconds.items()]
        assert grown[6] == ", ".join(spans)
    assert search in rows(BENCHMARKS)
    assert largest in rows(BENCHMARKS)


def flowing(text: str) -> str:
    return " ".join(text.split())


def test_other_figures_are_those_of_their_benchmarks():
    text = flowing(BENCHMARKS)
    cold, warm = result("overhead")["table"]
    assert f"{cold['ratio']:.2f} times the seconds" in text
    assert f"{cold['ratio']:.2f} times its seconds" in flowing(README)
    assert f"{warm['ratio']:.2f} times after; {warm['of it growth']:.1f} of its" in text
    search = result("search")
    projection, ascent, langevin, *_ = search["results"]
    assert f"was {projection['score']:.4f} in {projection['seconds']:.2f} s" in text
    assert f"reached {ascent['score']:.4f} in {ascent['seconds']:.0f} s" in text
    assert f"nothing in {langevin['seconds']:.0f} s" in text
    assert f"take {search['paper_seconds_extrapolated']:,.0f} s" in text
    ours, tutorial, adam = result("peers")["table"]
    for row in (tutorial, adam, ours):
        assert f"{row['mean test accuracy']:.3f} after {row['seconds']:.0f} s" in text
    runs = result("unlimited")["runs"]
    sizes = sorted(run["hidden_sizes"][0] for run in runs)
    (grown,) = (row for row in rows(BENCHMARKS) if row[0] == "MNIST, no budget")
    assert grown[2] == ", ".join(map(str, sizes))
    score = statistics.mean(run["test_score"] for run in runs)
    assert grown[4].startswith(f"{score:.3f} mean")


def test_figures_of_exports_are_those_of_the_benchmark():
    told = {row[0]: row for row in rows(BENCHMARKS)}
    names = {"estimator": "`predict_proba`", "numpy": "the NumPy function"}
    for way, found in result("export")["ways"].items():
        _, first, one, many, _, difference = told[names.get(way, way)]
        assert float(first.split()[0]) == float(f"{found['first_seconds']:.1g}")
        milliseconds = found["milliseconds"]
        assert one == f"{milliseconds['one row']:.2g} ms"
        assert many == f"{milliseconds['10,000 rows']:.0f} ms"
        assert float(difference or 0) == float(f"{found['difference']:.1e}")
