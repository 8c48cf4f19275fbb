"""The report holds what the ledger holds, needs no network, and opens without an error."""

import base64
import html.parser
import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jax
import matplotlib.image
import numpy as np
import pytest

import senn
from senn import words
from senn.cli import main
from senn.history import Addition, Consideration, Evaluation, History, Removal
from senn.lineage import lineage
from senn.models import write_model
from senn.nn.edits import write
from senn.report import render
from senn.report.pictures import coloured
from senn.report.png import data_uri
from senn.runs import PREDICTIONS, Predictions, read_run, write_run

RNG = np.random.default_rng(0)
HOSTILE = """</script></style><img src=x onerror="alert('x')">&amp;"'"""
SUMMARY = {"task": "classification", "seed": 3, "metric": "accuracy", "test_score": 0.9512,
           "seconds": 12.0, "version": senn.__version__}  # fmt: skip
VOID = {"meta", "link", "img", "br"}


class FakeEstimator:
    """All that a run asks of an estimator."""

    def __init__(self, network, history, extra):
        self.network, self.history_, self.extra = network, history, extra

    def save(self, path):
        write_model(path, born_as_told(self.network, self.history_), self.extra, {})


def born_as_told(network, history):
    """A network whose units were born with the additions of a made ledger."""
    layers = lineage(history, network.hidden_sizes).layers
    for space, numbers in zip(network.graph.hidden, layers, strict=True):
        for slot, number in enumerate(numbers):
            network = write(network, space, slot, {}, born=number + 1)
    return network


def network_of(in_size, out_size, sizes, activation="rational"):
    key = jax.random.key(0)
    return senn.nn.MLP(in_size, out_size, sizes, key=key, activation=activation, capacity=8)


def history_of(network, *, layer=False) -> History:
    """Two units, then perhaps a layer, then one unit more lead to the network; then nothing."""
    last, *deeper = network.hidden_sizes
    made = [("width", 0, 2, (last - 1, *deeper[1:]))]
    made += [("layer", 1, deeper[0], (last - 1, *deeper))] if layer else []
    made += [("width", 0, 1, (last, *deeper))]
    records, step = [], 0
    for number, (kind, position, units, sizes) in enumerate(made):
        step = 20 * (number + 1)
        reason = f"a unit gains {number}.5% of what is left"
        for place, accepted in ((position, True), (len(sizes), False)):
            kind_here = kind if accepted else "layer"
            records.append(
                Consideration(step, kind_here, place, words.place(kind_here, place), units,
                              0.3, 0.02, 0.01, 1.0, 2.0, 2.0, 0.015 / units,
                              accepted, *(("added", reason) if accepted else
                                          ("noise", "gains nothing <here>")))
            )  # fmt: skip
        records.append(
            Addition(step, kind, position, words.place(kind, position), units, 0.02, 0.01,
                     0.9 - 0.2 * number, 0.9 - 0.2 * number, sizes, 99, reason, 1.0 + number)
        )  # fmt: skip
        records.append(
            Evaluation(step + 10, 1.5 * number, 1.5 + number, 1 / (number + 1), 0.9 / (number + 1),
                       0.8, 0.1, None, sizes, 99)
        )  # fmt: skip
    return History(records, 2.0, 3.0, 4.0, 17, step + 20, step + 10, "the budgets are used up")


def silent(network) -> History:
    first = Evaluation(10, 1.0, 1.0, np.nan, None, None, None, None, network.hidden_sizes, 99)
    return History([first], 1.0, steps=10, returned_step=10, stop_reason="10 steps done")


def classes(names, n=200) -> Predictions:
    targets = RNG.integers(len(names), size=n).astype(np.int32)
    wrong = RNG.random(n) < 0.2
    other = RNG.integers(len(names), size=n).astype(np.int32)
    return Predictions(targets, np.where(wrong, other, targets), tuple(names))


def numbers(names, n=2000) -> Predictions:
    targets = RNG.normal(size=(n, len(names))).astype(np.float32)
    return Predictions(targets, targets + np.float32(0.1), tuple(names))


DIGITS = [str(d) for d in range(10)]


def images():
    network = network_of(64, 10, (6,))
    extra = {"classes": DIGITS, "feature_names": [f"p{i}" for i in range(64)]}
    return network, history_of(network), extra, "digits", classes(DIGITS)


def deep():
    network = network_of(3, 3, (7, 2), "tanh")
    names = [HOSTILE, "b", "c"]
    extra = {"classes": names, "feature_names": [HOSTILE, "x", "y" * 40]}
    return network, history_of(network, layer=True), extra, f"{HOSTILE}.csv", classes(names)


def regression():
    network = network_of(30, 2, (4,))
    return network, history_of(network), {"feature_names": []}, "t.npz", numbers([HOSTILE, "b"])


def many_classes():
    names = [f"class {c}" for c in range(40)]
    network = network_of(2, 40, (5,))
    return network, history_of(network), {"classes": names}, "many.csv", classes(names)


def linear():
    network = network_of(2, 2, ())
    return network, silent(network), {"classes": ["a", "b"]}, "moons", None


CASES = [images, deep, regression, many_classes, linear]


def saved(folder: Path, case) -> Path:
    network, history, extra, data, test = case()
    settings = {"data": data, "hidden_sizes": [3], "alpha": 1e-3, "target": HOSTILE}
    write_run(folder, FakeEstimator(network, history, extra), settings, SUMMARY, test)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    return {case.__name__: saved(root / case.__name__, case) for case in CASES}


@pytest.fixture(scope="module")
def pages(runs) -> dict[str, str]:
    return {name: render(read_run(folder)) for name, folder in runs.items()}


class Reader(html.parser.HTMLParser):
    """Elements with their attributes, text by element, and whether all are closed in turn."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def of_class(self, name) -> list[dict]:
        return [a for _, a in self.elements if name in (a.get("class") or "").split()]


@pytest.mark.parametrize("name", [case.__name__ for case in CASES])
def test_a_page_is_well_formed_and_needs_nothing_from_elsewhere(pages, name):
    read = Reader(pages[name])
    tags = Counter(tag for tag, _ in read.elements)
    assert tags["main"] == tags["h1"] == tags["style"] == 1
    for _, attributes in read.elements:
        for key in ("src", "href", "xlink:href"):
            assert attributes.get(key, "data:").startswith("data:")
        assert not any(key.startswith("on") for key in attributes)
    assert "http://" not in pages[name]
    assert "https://" not in pages[name]
    assert "url(" not in re.sub(r"url\(#time\)", "", pages[name])
    policy = next(a["content"] for _, a in read.elements if "http-equiv" in a)
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("name", ["deep", "regression"])
def test_names_from_the_user_are_text(pages, name):
    assert HOSTILE not in pages[name]
    read = Reader(pages[name])
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in read.elements)
    assert any(HOSTILE in text for _, text in read.texts)
    assert {tag for tag, text in read.texts if "gains nothing <here>" in text} == {"title"}


@pytest.mark.parametrize("name", [case.__name__ for case in CASES])
def test_embedded_data_are_json(pages, name):
    (text,) = (t for a, t in re.findall(r"<script([^>]*)>(.*?)</script>", pages[name], re.DOTALL)
               if "application/json" in a)  # fmt: skip
    moments = json.loads(text)
    assert moments
    assert all(isinstance(at, int | float) and words for at, words in moments)


@pytest.mark.parametrize("name", [case.__name__ for case in CASES])
def test_every_unit_and_every_decision_has_its_mark(runs, pages, name):
    run, read = read_run(runs[name]), Reader(pages[name])
    sizes = run.history.evaluations[-1].hidden_sizes
    assert len([a for a in read.of_class("node") if "data-node" in a and "fill" in a]) == sum(sizes)
    # each consideration in the timeline and in its lane, and the two keys of the legend
    n = len(run.history.considerations)
    legend = 2 if n else 0
    assert len(read.of_class("decision")) == 2 * n + legend
    # each addition in the timeline, and above the lanes
    assert len(read.of_class("addition")) == 2 * len(run.history.additions)
    reasons = Counter(text for tag, text in read.texts if tag == "td")
    for addition in run.history.additions:
        assert reasons[addition.reason] == 1


def test_units_have_the_colour_of_their_time(pages):
    read = Reader(pages["deep"])
    units = [a for a in read.of_class("node") if "unit" in a["class"].split()]
    fills = Counter(a["fill"] for a in units)
    assert fills["var(--start)"] == 4
    assert sorted(v for k, v in fills.items() if k.startswith("#")) == [1, 2, 2]


def test_the_confusion_matrix_counts_the_test_rows(runs, pages):
    test = read_run(runs["images"]).test
    cells = [a["title"] for a in Reader(pages["images"]).of_class("right")
             if "title" in a]  # fmt: skip
    counts = [int(c.split(" of ")[0]) for c in cells]
    assert len(counts) == 10
    assert sum(counts) == (test.targets == test.predicted).sum()


def test_many_classes_are_told_by_their_worst_pairs(runs, pages):
    test = read_run(runs["many_classes"]).test
    wrong = Counter(
        (f"class {t}", f"class {p}")
        for t, p in zip(test.targets, test.predicted, strict=True)
        if t != p
    )
    most = max(wrong.values())
    first = next(pair for pair, count in wrong.items() if count == most)
    assert "confusion" not in {a.get("class") for _, a in Reader(pages["many_classes"]).elements}
    assert f"<td>{first[0]}</td><td>{first[1]}</td>" in pages["many_classes"]


def test_residuals_are_drawn_for_every_output(pages):
    read = Reader(pages["regression"])
    captions = [text for tag, text in read.texts if tag == "figcaption"]
    assert len(captions) == 2
    assert all("residuals 0.1; 1,500 of the points are drawn" in c for c in captions)
    assert len(read.of_class("point")) == 3000


def test_without_predictions_the_report_says_so(runs, tmp_path):
    assert "saved without the predictions" in render(read_run(runs["linear"]))
    folder = tmp_path / "images"
    shutil.copytree(runs["images"], folder)
    (folder / PREDICTIONS).unlink()
    assert "saved without the predictions" in render(read_run(folder))


def test_images_show_the_incoming_weights(pages):
    pictures = [a["src"] for tag, a in Reader(pages["images"]).elements if tag == "img"]
    assert len(pictures) == 6
    assert len(set(pictures)) == 6
    assert "img" not in {tag for tag, _ in Reader(pages["deep"]).elements}


def test_pictures_are_what_they_were_made_from(tmp_path):
    weight = RNG.normal(size=(5, 7))
    pixels = coloured(weight)
    _, encoded = data_uri(pixels).split(",")
    (tmp_path / "w.png").write_bytes(base64.b64decode(encoded))
    read = matplotlib.image.imread(tmp_path / "w.png")
    np.testing.assert_array_equal(np.round(255 * read).astype(np.uint8), pixels)
    row, column = np.unravel_index(np.abs(weight).argmax(), weight.shape)
    assert pixels[row, column, 3] == 255
    positive = pixels[weight > 0][:, :3]
    assert (positive == positive[0]).all()
    assert (pixels[weight < 0][:, :3] != positive[0]).any(axis=1).all()


def test_a_run_that_returned_an_earlier_network_is_told(tmp_path):
    """Its units are those of that network; additions after it are in the table all the same."""
    network, history, extra, data, test = images()
    later = replace(history.additions[-1], step=70, hidden_sizes=(8,), units=2, reason="later")
    history.records.append(later)
    write_run(tmp_path / "run", FakeEstimator(network, history, extra), {"data": data}, SUMMARY,
              test)  # fmt: skip
    read = Reader(render(read_run(tmp_path / "run")))
    assert len([a for a in read.of_class("node") if "fill" in a]) == 6
    assert any("later" in text for tag, text in read.texts if tag == "td")


def test_removals_are_told_with_their_price(tmp_path):
    network, history, extra, data, test = images()
    left = Removal(60, "removal", 0, "hidden layer 0", 3, (5, 0, 2), 1.25e-3, 0.5, 0.5015, (3,), 77,
                   "3 units <cost> little", 4.0)  # fmt: skip
    history.records.append(left)
    write_run(tmp_path / "run", FakeEstimator(network, history, extra), {"data": data}, SUMMARY,
              test)  # fmt: skip
    page = render(read_run(tmp_path / "run"))
    read = Reader(page)
    cells = [text for tag, text in read.texts if tag == "td"]
    for told in ("3 units, hidden layer 0", "0.00125", "0.5", "0.5015", "3 units <cost> little"):
        assert told in cells
    assert len(read.of_class("removal")) == 2  # in the timeline, and above the lanes
    assert "What left, and why" in page
    assert "What left, and why" not in render(read_run(saved(tmp_path / "other", images)))


def test_what_became_of_the_columns_is_told(tmp_path):
    network, history, extra, data, test = images()
    told = [
        {"name": HOSTILE, "kind": "number", "inputs": 2,
         "treatment": "numbers, gaps filled with 3 and told by an input"},
        {"name": "town", "kind": "category", "inputs": 1200, "treatment": "1,200 categories"},
        {"name": "id", "kind": "text", "inputs": 0, "treatment": "left out: text"},
    ]  # fmt: skip
    for name, known, heading in (
        ("table", told, "What 3 columns became: 1,202 inputs"),
        ("numbers", [{**told[0], "treatment": "numbers"}], None),
    ):
        summary = {**SUMMARY, "columns": known}
        run = tmp_path / name
        write_run(run, FakeEstimator(network, history, extra), {"data": data}, summary, test)
        read = Reader(render(read_run(run)))
        cells = [text for tag, text in read.texts if tag == "td"]
        assert (heading in [text for tag, text in read.texts if tag == "h2"]) == bool(heading)
        for column in told if heading else ():
            for value in (column["name"], column["kind"], f"{column['inputs']:,}",
                          column["treatment"]):  # fmt: skip
                assert value in cells
        assert any("1 was left out" in text for _, text in read.texts) == bool(heading)


# --- the command -------------------------------------------------------------------------------


def test_the_command_writes_the_page_into_the_run(runs, pages, capsys):
    assert main(["report", str(runs["images"])]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == runs["images"] / "report.html"
    assert path.read_text("utf-8") == pages["images"]


def test_the_command_writes_where_it_is_told(runs, tmp_path, capsys):
    out = tmp_path / "deep" / "page.html"
    assert main(["report", str(runs["deep"]), "--out", str(out)]) == 0
    assert out.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report"], "say which run"),
        (["report", "nowhere"], "'nowhere' holds no run"),
        (["report", "RUN", "--out", "."], "'.' is a folder, where a file is wanted"),
        (["report", "RUN", "--out", "/dev/null/page.html"], "cannot be written"),
        (["report", "BROKEN"], "is no senn model"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(runs, tmp_path, capsys, words, message):
    shutil.copytree(runs["linear"], tmp_path / "broken")
    (tmp_path / "broken" / "model.senn").write_bytes(b"nothing")
    known = {"RUN": runs["linear"], "BROKEN": tmp_path / "broken"}
    assert main([str(known.get(word, word)) for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


# --- in a browser ------------------------------------------------------------------------------

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium here: apt-get install chromium"
)
# Counts errors, points at a unit, at the timeline and at a cell, and writes down what is shown.
PROBE = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
addEventListener("securitypolicyviolation", (event) => errors.push(event.violatedDirective));
addEventListener("load", () => {
  const said = [".architecture .unit", ".timeline", "td.right"].map((where) => {
    const element = document.querySelector(where);
    const box = element.getBoundingClientRect();
    const at = { bubbles: true, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
    element.dispatchEvent(new PointerEvent("pointerover", at));
    element.dispatchEvent(new PointerEvent("pointermove", at));
    return document.getElementById("tip").textContent;
  });
  const lit = document.querySelectorAll(".edge.on").length;
  const wide = document.documentElement.scrollWidth - innerWidth;
  document.body.dataset.probe = JSON.stringify({ errors, said, lit, wide });
});
</script>"""


def browse(*words: str) -> subprocess.CompletedProcess:
    command = [
        str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--enable-logging=stderr", "--virtual-time-budget=2000", *words,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture(scope="module")
def opened(pages, tmp_path_factory):
    path = tmp_path_factory.mktemp("opened") / "images.html"
    path.write_text(pages["images"].replace("<head>", f"<head>{PROBE}"), "utf-8")
    return browse("--window-size=1200,900", "--dump-dom", path.as_uri())


@needs_browser
def test_it_opens_without_an_error(opened):
    probe = json.loads(dict(Reader(opened.stdout).elements)["body"]["data-probe"])
    assert probe["errors"] == []
    assert [line for line in opened.stderr.splitlines() if "CONSOLE" in line] == []
    assert probe["wide"] <= 0  # nothing is cut off on the right


@needs_browser
def test_hovering_explains(opened):
    probe = json.loads(dict(Reader(opened.stdout).elements)["body"]["data-probe"])
    unit, moment, cell = probe["said"]
    assert unit.startswith("hidden layer 0, unit 0\nthere from the start\nσ(z) = ")
    assert "validation loss" in moment
    assert "were recognised" in cell
    assert probe["lit"] > 0


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_screenshot_is_not_blank(runs, pages, tmp_path, dark):
    path, picture = tmp_path / "page.html", tmp_path / "page.png"
    path.write_text(pages["images"], "utf-8")
    words = ["--blink-settings=preferredColorScheme=0"] if dark else []
    browse(f"--screenshot={picture}", "--window-size=1200,2400", *words, path.as_uri())
    pixels = matplotlib.image.imread(picture)[..., :3]
    ground = pixels[5, 5]
    assert (ground.mean() < 0.2) == dark
    for band in np.array_split(pixels, 6):  # something is drawn from top to bottom
        assert (np.abs(band - ground).max(axis=2) > 0.1).mean() > 0.01
    assert len(np.unique((255 * pixels).astype(int).reshape(-1, 3), axis=0)) > 50
