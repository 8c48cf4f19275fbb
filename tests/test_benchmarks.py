"""The benchmarks run in their quick forms, and what they write holds together."""

import json
import math
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path, pytestconfig):
    """Run the quick form of a benchmark; its JSON."""

    def run(name: str, *options: str) -> dict:
        out = tmp_path / f"{name}.json"
        kept = pytestconfig.cache.mkdir("benchmarks")  # compiled once for many runs of the tests
        done = subprocess.run(
            [sys.executable, str(FOLDER / f"{name}.py"), "--quick", "--out", str(out), *options],
            env={
                **os.environ,
                "JAX_COMPILATION_CACHE_DIR": str(kept),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            },
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        told = json.loads(out.read_text("utf-8"))
        assert told["benchmark"] == name
        assert told["quick"]
        assert {"cpu", "cores", "python", "jax", "scikit-learn", "date"} <= set(told["machine"])
        assert told["machine"]["cpu"] in done.stdout
        return told

    return run


def test_mnist(run):
    found = run("mnist")["data"]["digits"]
    (one,) = found["runs"]
    search = sum(fit["seconds"] for fit in one["sklearn"])
    assert [fit["units"] for fit in one["sklearn"]] == [50, 100, 200]
    for cache in ("cold", "warm"):
        senn = one[cache]
        assert sum(senn["hidden_sizes"]) <= found["max_units"]
        assert senn["test_score"] > 0.9
        assert 0 < senn["seconds"] < senn["process_seconds"]
        assert 50 < senn["peak_mb"] < 2000
        ratio = found["ratios"][f"{cache}_to_search"]
        assert math.isclose(ratio, senn["process_seconds"] / search)
    assert one["warm"]["compile_seconds"] < one["cold"]["compile_seconds"]
    assert one["warm"]["hidden_sizes"] == one["cold"]["hidden_sizes"]


def test_unlimited(run):
    found = run("unlimited")
    (one,) = found["runs"]
    assert sum(one["hidden_sizes"]) > 4
    assert found["lowest_test_score"] == found["mean_test_score"] == one["test_score"] > 0.8
    assert 100 < found["peak_mb"] == one["peak_mb"]


def test_overhead(run):
    (one,) = run("overhead")["runs"]
    for cache in ("cold", "warm"):
        grown, fixed = one[cache]["grown"], one[cache]["fixed"]
        assert grown["n_additions"] > 0 == fixed["n_additions"]
        assert (grown["steps"], grown["hidden_sizes"]) == (fixed["steps"], fixed["hidden_sizes"])
        assert math.isclose(one[cache]["ratio"], grown["seconds"] / fixed["seconds"])
        assert min(grown["test_score"], fixed["test_score"]) > 0.9
    for who in ("grown", "fixed"):
        assert one["warm"][who]["compile_seconds"] < one["cold"][who]["compile_seconds"]


def test_search(run):
    told = run("search")
    results = {(r["search"], r["candidates"]): r for r in told["results"]}
    names = [name for name, _ in results]
    assert names == ["Projection", "GradientAscent", "Langevin", "Random", "Random"]
    assert all(r["seconds"] > 0 for r in told["results"])
    projection, ascent = told["results"][:2]
    assert ascent["steps"] == 300
    assert projection["score"] > results["Random", 1]["score"]
    protocol = ascent["seconds"] * 10_000 / ascent["candidates"]
    assert math.isclose(told["paper_seconds_extrapolated"], protocol)
    ratio = told["ratios"]["projection_to_paper_protocol"]
    assert math.isclose(ratio, projection["seconds"] / protocol)


def test_optimizers(run):
    told = run("optimizers")
    assert set(told["adam"]["tried"]) == {"0.003", "0.01"}
    assert len(told["runs"]) == 4
    for name, (one,) in told["runs"].items():
        assert one["reached"] == (one["accuracy"] >= told["task"]["mark"]), name
        assert one["reached"] or one["seconds"] >= told["task"]["seconds"], name
        assert min(one["seconds"], one["compile_seconds"], one["evaluation_seconds"]) > 0, name
    kfac = told["runs"]["K-FAC"][0]
    assert kfac["reached"]
    for name, ratio in told["ratios_to_kfac"].items():
        assert math.isclose(ratio, told["runs"][name][0]["seconds"] / kfac["seconds"])


def test_scaling(run):
    told = run("scaling")
    one, many = told["threads"].values()
    for found in (one, many):
        assert found["gflops"] > 0
        for row in found["rows"]:
            assert row["ms a step"] > 0 < row["seconds an event"]
            assert math.isclose(row["share of the rate"], row["GFLOP/s"] / found["gflops"])
            assert 0 < row["share of the rate"] < 1
    for a, b, ratio in zip(one["rows"], many["rows"], told["speedup"], strict=True):
        assert math.isclose(ratio["a step"], a["ms a step"] / b["ms a step"])
    assert told["crossover"]
    assert told["memory"]["data_mb"] < told["memory"]["peak_mb"] < 2000
    assert told["memory"]["steps"] > 0


def test_the_step_s_operations_are_counted_as_they_are_documented(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import scaling

    # 7 inputs, all 8 eigenvectors kept; 3 units; 10 outputs; 5 rows
    first = 4 * 5 * 7 * 3 + 2 * 5 * 3**2 + 4 * 8 * 8 * 3 + 2 * 8 * 3**2 + 2 * 3**3 / 5
    last = 8 * 5 * 3 * 10 + 2 * 5 * 10**2 + 2 * 5 * 4**2
    last += 2 * 4**2 * 10 + 2 * 4 * 10**2 + 2 * (4**3 + 10**3) / 5
    counted = scaling.step_flops({"inputs": 7, "width": 3, "depth": 1, "rows": 5})
    assert math.isclose(counted, first + last)


def test_sizes(run):
    told = run("sizes")
    assert set(told["data"]) == {"moons", "diabetes"}
    for name, found in told["data"].items():
        (one,) = found["runs"]
        tried = one["sklearn"]["tried"]
        assert [fit["units"] for fit in tried] == [8, 16, 32, 64, 128, 256]
        best = max(tried, key=lambda fit: fit["validation_score"])
        assert one["sklearn"]["test_score"] == best["test_score"]
        assert math.isclose(one["sklearn"]["seconds"], sum(fit["seconds"] for fit in tried))
        gap = one["senn"]["test_score"] - best["test_score"]
        assert math.isclose(found["row"]["difference"], gap), name
        assert math.isclose(
            found["ratios"]["cold"], one["senn"]["seconds"] / one["sklearn"]["seconds"]
        )


def test_tables(run):
    told = run("tables")
    assert {(fit["data"], fit["model"]) for fit in told["fits"]} == {
        (name, model)
        for name in ("c_one", "r_two")
        for model in ("senn", "senn of 4", "skmlp", "hgb")
    }
    for own, who in product(("senn", "senn of 4"), ("skmlp", "hgb")):
        (ratio,) = [r for r in told["summary"] if (r["of"], r["to"]) == (own, who)]
        errors = [(1.01 - row[own]) / (1.01 - row[who]) for row in told["rows"]]
        assert math.isclose(ratio["error"], math.sqrt(math.prod(errors)))
        assert ratio["senn s"] > 0 < ratio["their s"]
    assert all(fit["inputs"] > 3 for fit in told["fits"] if fit["model"] == "senn")  # codes


def test_tables_with_a_part_left_out(run):
    (without,) = run("tables", "--without", "codes")["left_out"]
    assert without["without"] == "codes"
    assert without["error"] > 0 < without["log-loss"]
    assert without["parameters"] < 1  # fewer inputs


def test_export(run):
    told = run("export")
    assert set(told["ways"]) == {"estimator", "onnxruntime", "numpy"}
    for name, found in told["ways"].items():
        assert found["difference"] < 1e-5, name
        one, many = found["milliseconds"].values()
        assert 0 < one < many, name
        assert 0 < found["first_seconds"] < found["process_seconds"], name
    assert told["ways"]["numpy"]["peak_mb"] < told["ways"]["estimator"]["peak_mb"]
    n_parameters = 64 * 8 + 8 + 3 * 8 + 8 * 10 + 10
    for name in ("model.onnx", "model.npz", "model.senn"):
        assert 4 * n_parameters < told["files"][name] < 4 * n_parameters + 12_000


def test_waiting(run):
    told = run("waiting")
    (fits,), (tables,) = told["fits"]["runs"]["now"], told["tables"]["runs"]["now"]
    assert [line["what"] for line in fits] == ["50 rows", "98 rows", "2-fold of 98", "grid of 2 α"]
    assert [line["table"] for line in tables] == ["one", "two"]
    for first, *later in (fits, tables):
        assert first["compiled"] > 0 < first["compile_seconds"]
        assert all(line["seconds"] > 0 <= line["compile_seconds"] for line in later)
    (cold_and_warm,) = told["command"]["runs"]["iris"]["now"]
    assert len(cold_and_warm) == 2
    assert min(cold_and_warm) > 0
    first, *later = told["predict"]["table"]
    if told["base"]:  # there is none without git, or without that commit
        assert math.isclose(first["ratio"], first["now"] / first["base"])
    assert all(row["now"] > 0 for row in (first, *later))
    (fit,) = told["warm"]["runs"]["moons"]["now"][0]
    assert fit["seconds"] > 0 < fit["steps"]
    goals = [goal for part in ("fits", "tables", "command", "predict", "warm")
             for goal in told[part]["goals"]]  # fmt: skip
    for goal in goals:
        if goal["met"] is not None:
            assert goal["met"] == (goal["found"] <= goal["wanted"]), goal["what"]


def test_waiting_refuses_parts_that_it_does_not_have():
    done = subprocess.run(
        [sys.executable, str(FOLDER / "waiting.py"), "--parts", "fits,fit"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "must be of fits,tables,command,predict,warm; got 'fit'" in done.stderr


def test_peers_say_in_a_sentence_that_they_are_missing(tmp_path):
    done = subprocess.run(
        [sys.executable, str(FOLDER / "peers.py"), "--quick", "--python", "false",
         "--out", str(tmp_path / "peers.json")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "not installed" in done.stdout
    assert not list(tmp_path.iterdir())


def test_conv(run):
    (one,) = run("conv")["data"]["digits"]["runs"]
    grown, started = one["grown"], one["from_the_start"]
    assert grown["hidden_sizes"] == started["hidden_sizes"]
    assert grown["n_parameters"] == started["n_parameters"] <= 1000
    assert started["n_additions"] == 0


def test_devices(run):
    told = run("devices")
    for one, eight in zip(told["table"][::2], told["table"][1::2], strict=True):
        assert (one["devices"], one["bytes"], one["of its share"]) == (1, 0, 1)
        assert eight["bytes"] > 0
        assert math.isclose(eight["of its share"], 8 * eight["operations"] / one["operations"])
        # Few inputs and narrow: of a step what is done on every device is a larger share.
        assert 1 <= eight["of its share"] < (1.15 if eight["what"] == "look" else 1.8)
        if eight["what"] == "kfac":
            assert math.isclose(one["operations"], one["by formula"], rel_tol=0.15)
    assert all(0 < row["8"] < 1 for rows in told["plan"].values() for row in rows)
