"""Other ways to grow: each does what its paper says, and all follow SENN's plan to the letter."""

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from scipy import stats

import reference
from senn import Batch, History, Policy, Schedule, growth
from senn.actions import Beside, Widen
from senn.cli import main
from senn.evaluation import outputs
from senn.history import Evaluation
from senn.losses import Fisher, SquaredError
from senn.nn import MLP
from senn.proposals import Projection
from senn.proposals.proposal import join
from senn.studies import ablation, automatic_size, oracle, tasks
from senn.studies.ablation import SENN, arms, loss_after
from senn.studies.arms import Draw, GradMax, Split, Tiny, top_directions
from senn.studies.command import STUDIES, reproduce
from senn.studies.intervals import against, half_width, over_seeds
from senn.studies.options import Options
from senn.studies.replay import Planned, Replay, drawn_anew, evenly, first_units, full_size

key = jax.random.key(0)
N, IN, OUT, SIZE = 60, 3, 2, 4
WIDTH, LAYER = Widen(0), Beside(1)
POLICY = Policy(unit_scale=0.3)
RULES = {"random": Draw(), "GradMax": GradMax(), "TINY": Tiny(), "splitting": Split()}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


@pytest.fixture(scope="module")
def network():
    return MLP(IN, OUT, (SIZE,), key=key, capacity=24)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, IN))
    return Batch.of(x, np.stack([np.sin(2 * x[:, 0]), x[:, 1] * x[:, 2]], axis=1))


@pytest.fixture(scope="module")
def seen(network, data):
    loss = SquaredError()
    return growth.look(network, loss, Fisher(loss), data, data, key)


@pytest.fixture(scope="module")
def proposed(network, seen):
    """The units of a rule for a place; each search runs once."""
    made = {}

    def make(rule, place=WIDTH):
        name = (str(rule), place)
        if name not in made:
            made[name] = growth.propose_at(network, seen, rule, POLICY, place, key)
        return made[name]

    return make


def directions(proposals):
    """Incoming weights and biases [P, I + 1], each of length 1."""
    w = np.array([[*p.weight[:, 0], *p.bias] for p in proposals])
    return w / np.linalg.norm(w, axis=1, keepdims=True)


def moments_of(seen, position):
    """Of a map, without the slots that `look` fills it up with; the constant stays last."""
    a, g, S, _ = (np.asarray(v) for v in seen.fit.maps[position])
    used = np.flatnonzero(np.diagonal(a.T @ a))
    return a[:, used], g[:, : np.count_nonzero(np.diagonal(S))], S


# --- the units --------------------------------------------------------------------------------


def test_gradmax_takes_the_top_singular_directions_of_the_gradient(seen, proposed):
    (a, *_), (_, g, _) = moments_of(seen, 0), moments_of(seen, 1)
    U = np.linalg.svd(a.T @ g / N)[0]
    found = directions(proposed(GradMax()))
    assert np.abs(np.sum(found[:OUT] * U.T[:OUT], axis=1)) == pytest.approx(1, rel=1e-9)


def test_gradmax_directions_maximise_the_gradient_of_a_linear_unit(seen, proposed):
    (a, *_), (_, g, _) = moments_of(seen, 0), moments_of(seen, 1)
    rng = np.random.default_rng(1)
    others = rng.normal(size=(1000, IN + 1))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    best = directions(proposed(GradMax()))[:1]
    gradient = [np.linalg.norm((a @ w.T).T @ g / N, axis=1) for w in (best, others)]
    assert gradient[0][0] > gradient[1].max()


def test_tiny_takes_the_whitened_singular_directions_of_the_residual_gradient(seen, proposed):
    (a, *_), (b, g, _) = moments_of(seen, 0), moments_of(seen, 1)
    A, B = a.T @ a / N, b.T @ b / N
    fit = np.linalg.solve(B + reference.ridge(B, POLICY.damping) * np.eye(len(B)), b.T @ g / N)
    values, vectors = np.linalg.eigh(A + reference.ridge(A, Tiny().damping) * np.eye(len(A)))
    root = vectors / np.sqrt(values) @ vectors.T  # symmetric
    U = np.linalg.svd(root @ a.T @ (g - b @ fit) / N)[0]
    wanted = (root @ U[:, :OUT]).T
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    found = directions(proposed(Tiny()))[:OUT]
    assert np.abs(np.sum(found * wanted, axis=1)) == pytest.approx(1, rel=1e-9)


def test_directions_beyond_the_rank_are_left_to_chance(proposed):
    """GradMax and TINY are random where they have nothing to say, and then alike."""
    gradmax, tiny, drawn = (directions(proposed(rule)) for rule in (GradMax(), Tiny(), Draw()))
    assert gradmax[OUT:] == pytest.approx(drawn[OUT:])
    assert tiny[OUT:] == pytest.approx(drawn[OUT:])
    assert np.abs(np.sum(gradmax[:OUT] * drawn[:OUT], axis=1)).max() < 0.999


def test_top_directions_are_zero_beyond_the_rank():
    rng = np.random.default_rng(2)
    C = np.outer(rng.normal(size=5), rng.normal(size=3))
    u, usable = top_directions(jnp.asarray(C), 4)
    assert usable.tolist() == [1, 0, 0, 0]
    assert u.shape == (5, 4)
    assert not np.asarray(u[:, 1:]).any()


def test_splitting_copies_every_unit_before_one_twice(network, proposed):
    dense = network.hidden[0].dense
    own = np.concatenate([dense.weight, dense.bias[None]])[:, :SIZE].T
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    match = directions(proposed(Split(noise=0.0))) @ own.T  # [P, SIZE]
    assert match.max(axis=1) == pytest.approx(1)
    assert sorted(match[:SIZE].argmax(axis=1)) == list(range(SIZE))


def test_splitting_keeps_the_activation_and_disturbs_the_weights_a_little(network, proposed):
    theta = np.asarray(network.hidden[0].activation.theta)[:, :SIZE]
    theta = theta / np.linalg.norm(theta, axis=0)
    exact, noisy = proposed(Split(noise=0.0)), proposed(Split())
    for proposal in noisy:
        own = proposal.theta[:, 0] / np.linalg.norm(proposal.theta)
        assert (own @ theta).max() == pytest.approx(1)
    cosine = np.sum(directions(exact) * directions(noisy), axis=1)
    assert (cosine < 1).all()
    assert cosine.min() > 0.9


@every_rule
def test_outputs_stay_the_same_bit_for_bit(rule, network, data, proposed):
    for place in (WIDTH, LAYER):
        grown, _ = growth.add(network, None, join(proposed(rule, place)), POLICY)
        assert sum(grown.hidden_sizes) > SIZE
        assert np.array_equal(outputs(grown, data.x), outputs(network, data.x))


@every_rule
def test_activations_have_the_scale_of_the_policy(rule, network, data, proposed):
    reads = network.hidden[0]((data.x,))[:, :SIZE]
    wanted = POLICY.unit_scale * np.sqrt(np.mean(np.asarray(reads) ** 2))
    for proposal in proposed(rule):
        z = np.asarray(data.x) @ proposal.weight + proposal.bias
        a = reference.sigma("rational", z, proposal.theta)
        assert np.sqrt(np.mean(a**2)) == pytest.approx(wanted)


@every_rule
def test_units_come_in_order_and_not_by_their_score(rule):
    scores = jnp.array([-jnp.inf, 0.1, 5.0])
    index, judged, weights = rule.select(scores, key)
    assert (index, judged.tolist(), weights.tolist()) == (1, [1], [1])


# --- the plan ---------------------------------------------------------------------------------

PLAN = (Planned(20, WIDTH, 3, 4), Planned(50, LAYER, 1, 7), Planned(60, WIDTH, 2, 8))


def of_size(*sizes):
    return MLP(IN, OUT, sizes, key=key)


def test_a_replay_knows_from_the_size_what_is_next():
    rule = Replay(plan=PLAN, end=90)
    assert [rule.due(of_size(*s)) for s in ((4,), (7,), (4, 4))] == list(PLAN)
    assert rule.due(of_size(10)) is None
    assert [rule.next_look(step, 1, 0) for step in (0, 20, 50, 60, 90)] == [20, 50, 60, 90, 91]
    assert rule.actions(of_size(7)) == (LAYER,)


def test_a_replay_takes_as_many_units_as_planned(network, proposed):
    rule = Replay(plan=PLAN, end=90)
    decision = rule.decide([proposed(Draw())], network)
    (accepted,) = decision.accepted
    assert accepted.units == 3
    assert np.array_equal(accepted.weight, join(proposed(Draw())[:3]).weight)
    over = rule.decide([proposed(Draw())], of_size(10))
    assert over.exhausted
    assert not over.accepted


def test_a_plan_is_shared_out_evenly():
    widen = [Widen(n) for n in range(3)]
    assert evenly(PLAN, (4,), 3) == (
        Planned(20, widen[0], 1, 4), Planned(21, Beside(1), 1, 5), Planned(22, Beside(2), 1, 6),
        Planned(50, widen[0], 1, 7),
        Planned(60, widen[1], 1, 8), Planned(61, widen[2], 1, 9),
    )  # fmt: skip
    (whole,) = evenly(PLAN[:1], (4,), 1)
    assert whole == PLAN[0]


def test_first_units_keep_the_scores(proposed):
    whole = join(proposed(Draw()))
    two = first_units(whole, 2)
    assert two.theta.shape == (3, 2)
    assert two.score == whole.score


def test_random_places_are_among_the_possible_ones_and_repeatable():
    rule = Replay(plan=tuple(Planned(n, WIDTH, 1, n) for n in range(4, 40)), places_seed=1)
    networks = [of_size(2, n) for n in range(2, 38)]
    drawn = [rule.actions(network) for network in networks]
    assert drawn == [rule.actions(network) for network in networks]
    assert all(len(places) == 1 for places in drawn)
    assert {places[0] for places in drawn} == set(Policy().actions(networks[0]))
    one_layer = [rule.actions(network, layers_allowed=False)[0].inserts for network in networks]
    assert set(one_layer) == {False}


def test_drawing_anew_is_how_a_network_is_made_at_first(network):
    again = drawn_anew(of_size(4, 5), jax.random.key(3))
    direct = MLP(IN, OUT, (4, 5), key=jax.random.key(3))
    for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(direct), strict=True):
        assert np.array_equal(ours, theirs)


def test_the_full_size_is_that_after_the_plan(network, data):
    full = full_size(network, PLAN, Policy(), jax.random.key(5))
    assert full.hidden_sizes == (9, 1)
    assert [layer.residual for layer in full.hidden] == [False, True]
    for position, dense in enumerate(full.maps):
        used = np.asarray(full.active_inputs(position))
        assert not np.asarray(dense.weight)[~used].any()
        assert np.asarray(dense.weight)[used].any(axis=1).all()
    assert np.std(outputs(full, data.x)) > 0.1


# --- the studies ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The record of a study and its folder; each is made once."""
    folder, made = tmp_path_factory.mktemp("studies"), {}

    def make(name):
        if name not in made:
            made[name] = reproduce(name, Options(out=folder, seeds=1, quick=True))
        return made[name], folder

    return make


@pytest.fixture(scope="module")
def runs(quick):
    """The quick ablation of one seed, by data set."""
    return {run["task"]: run for run in quick("ablation")[0]["runs"]}


@pytest.mark.parametrize("name", STUDIES)
def test_the_record_is_saved_with_a_figure(name, quick):
    record, folder = quick(name)
    assert json.loads((folder / f"{name}.json").read_text("utf-8")) == record
    assert set(record["claims"]) == set(tasks.QUICK_TASKS)
    pixels = matplotlib.image.imread(folder / f"{name}.png")
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10


def test_every_arm_adds_when_and_as_many_as_senn(runs):
    for task in runs.values():
        plan = [(p["step"], p["units"]) for p in task["plan"]]
        assert sum(units for _, units in plan) > 0
        for name, arm in task["arms"].items():
            added = [(step, units) for step, _, _, units in arm["additions"]]
            if name.startswith("uniform"):  # at steps in a row, from each of the plan's on
                shared = [sum(n for at, n in added if 0 <= at - s < 2) for s, _ in plan]
                assert shared == [units for _, units in plan]
            else:
                assert added == ([] if name == "full size from the start" else plan)


def test_places_are_senns_or_random(runs):
    for task in runs.values():
        places = {name: [a[1:3] for a in arm["additions"]] for name, arm in task["arms"].items()}
        for name in ("random units", "GradMax", "TINY", "splitting"):
            assert places[name] == places[SENN]
    assert any(
        task["arms"]["random place"]["additions"] != task["arms"][SENN]["additions"]
        for task in runs.values()
    )


def test_every_arm_ends_at_the_same_size_after_the_same_steps(runs):
    for task in runs.values():
        senn = task["arms"][SENN]
        for name, arm in task["arms"].items():
            assert sum(arm["hidden_sizes"]) == sum(senn["hidden_sizes"])
            later = 1 if name.startswith("uniform") else 0  # what is shared out comes in a row
            assert 0 <= arm["growth_ended"] - task["growth_ended"] <= later
            assert arm["steps"] == senn["steps"] == tasks.QUICK_STEPS
            assert arm["curve"]["step"] == senn["curve"]["step"]
            if name.startswith("uniform"):
                grown = np.subtract(arm["hidden_sizes"], [1, 0])  # 1 to start with
                assert np.ptp(grown) <= 1
            elif name != "random place":
                assert arm["hidden_sizes"] == senn["hidden_sizes"]


def test_until_the_first_addition_all_are_the_same_run(runs):
    for task in runs.values():
        first = task["plan"][0]["step"]
        n = sum(step < first for step in task["arms"][SENN]["curve"]["step"])
        seen = {
            name: arm["curve"]["loss"][: n + 1]  # training losses, up to that step
            for name, arm in task["arms"].items()
            if name != "full size from the start"
        }
        assert all(losses == seen[SENN] for losses in seen.values())


def test_the_ablations_claims_are_those_of_its_seeds(quick):
    record, _ = quick("ablation")
    found = record["claims"]["teacher"]["test_score"]
    (arm,) = (run["arms"] for run in record["runs"] if run["task"] == "teacher")
    assert set(found) == {SENN, *(a.name for a in arms(Options()))}
    assert found["TINY"]["mean"] == arm["TINY"]["test_score"]
    off = arm["TINY"]["test_score"] - arm[SENN]["test_score"]
    assert found["TINY"]["against"] == {"difference": pytest.approx(off), "ci95": None, "p": None}


SCORES = {
    "ablation": lambda found: f"| {found['test_score']['SENN']['mean']:.4g} |",
    "automatic-size": lambda found: f"| {found['senn_test_score']['mean']:.4g} |",
    "oracle": lambda found: f"| {found[-1]['correlation'][0]['mean']:.2f} |",
    "shrink": lambda found: f"| {found['shrunk']['magnitude']['mean']:.4g} (price ",
}


@pytest.mark.parametrize("name", STUDIES)
def test_the_tables_are_those_of_the_record(name, quick, monkeypatch, capsys):
    record, folder = quick(name)
    script = Path(__file__).parents[1] / "experiments" / "tables.py"
    monkeypatch.setattr(sys, "argv", ["tables.py", str(folder / f"{name}.json")])
    runpy.run_path(str(script), run_name="__main__")
    told = capsys.readouterr().out
    for task, found in record["claims"].items():
        assert task in told
        assert SCORES[name](found) in told


def test_automatic_size_places_senn_on_the_curve(quick):
    record, _ = quick("automatic-size")
    for seed in record["runs"]:
        place = record["claims"][seed["task"]]
        assert place["fixed_units"] == list(automatic_size.QUICK_SIZES)
        assert place["senn_units"]["mean"] == sum(seed["senn"]["hidden_sizes"])
        assert place["knee_units"] in place["fixed_units"]
        fixed = sum(run["seconds"] for run in seed["fixed"])
        assert place["share_of_sweep_seconds"] == pytest.approx(seed["senn"]["seconds"] / fixed)
        assert [run["units"] for run in seed["fixed"]] == place["fixed_units"]


def test_the_oracle_trains_every_candidate_on(quick):
    record, _ = quick("oracle")
    for seed in record["runs"]:
        for n, at in enumerate(seed["states"]):
            (first,), (second,) = at["gained"]  # one horizon each
            assert len(at["score"]) == len(first) == oracle.QUICK_CANDIDATES
            assert np.ptp(first) > 0
            assert first == pytest.approx(second)  # all 50 rows are one batch
            found = record["claims"][seed["task"]][n]
            wanted = stats.spearmanr(at["score"], first).statistic
            assert found["correlation"][0]["mean"] == pytest.approx(wanted)
            assert found["repeatability"][0]["mean"] == pytest.approx(1)
        first, last = (at["hidden_sizes"] for at in (seed["states"][0], seed["states"][-1]))
        assert first == list(tasks.load_task(0, Options(tasks=("teacher",))).first_sizes)
        assert sum(last) > sum(first)


def test_rank_correlations_and_gains_by_horizon():
    at = {"how": ["drawn", "searched"] * 2, "score": [1, 9, 2, 8],
          "validation_loss_without": [[2.0, 1.0], [2.0, 3.0]],
          "gained": [[[1, 9, 2, 8], [0, 1, 2, 3]], [[1, 8, 2, 9], [3, 2, 1, 0]]]}  # fmt: skip
    assert oracle.correlation(at, "score", 0) == pytest.approx((1 + 0.8) / 2)
    assert oracle.correlation(at, "gained", 0) == pytest.approx(0.8)
    assert oracle.correlation(at, "gained", 1) == pytest.approx(-1)
    assert oracle.share_gained(at, "drawn", 0) == pytest.approx(1.5 / 2)
    assert oracle.share_gained(at, "searched", 1) == pytest.approx(1.5 / 2)
    assert np.isnan(oracle.spearman(np.ones(3), np.arange(3)))


def test_the_knee_is_the_smallest_size_with_nearly_all_of_the_gain():
    units = [2, 4, 8, 16]
    assert automatic_size.knee(units, [0.5, 0.9, 0.99, 1.0]) == 8
    assert automatic_size.knee(units, [0.5, 0.9, 0.99, 0.7]) == 8
    assert automatic_size.knee(units, [0.5, 0.5, 0.5, 0.5]) == 2
    assert automatic_size.share_of_gain(0.75, 0.5, 1.0) == 0.5


def test_losses_after_an_addition_are_of_the_next_steps_alone():
    history = History([Evaluation(s, 0, 0, 0, float(s), 0, None, None, (1,), 1)
                       for s in range(10, 110, 10)])  # fmt: skip
    assert loss_after(history, 20, 50) == 50
    assert loss_after(history, 25, 10) == 30
    assert np.isnan(loss_after(history, 100))
    assert ablation.anytime_loss(history) == 55


# --- statistics -------------------------------------------------------------------------------


def test_intervals_and_tests_are_scipys():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(2, 5)).tolist()
    wanted = stats.ttest_rel(ours, theirs)
    found = against(ours, theirs)
    low, high = wanted.confidence_interval(0.95)
    assert found["p"] == pytest.approx(wanted.pvalue)
    assert found["difference"] == pytest.approx((low + high) / 2)
    assert found["ci95"] == pytest.approx((high - low) / 2)
    low, high = stats.t.interval(0.95, 4, np.mean(ours), stats.sem(ours))
    assert over_seeds(ours)["ci95"] == pytest.approx((high - low) / 2)


def test_one_seed_and_equal_differences_have_no_test():
    assert np.isnan(half_width([1.0]))
    assert np.isnan(against([1.0], [2.0])["p"])
    same = against([1.0, 2.0], [0.0, 1.0])
    assert (same["difference"], same["ci95"]) == (1, 0)
    assert np.isnan(same["p"])
    with pytest.raises(ValueError, match="as many values as references"):
        against([1.0], [1.0, 2.0])


# --- data and mistakes ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "friedman1", "teacher", "moons"])
def test_a_task_has_three_parts_without_a_row_in_common(name):
    task = tasks.load_task(3, Options(tasks=(name,)))
    parts = [np.asarray(part.x) for part in (task.train, task.validation, task.test)]
    rows = [{tuple(row) for row in part} for part in parts]
    shared = sum(map(len, rows)) - len(rows[0] | rows[1] | rows[2])
    assert shared <= (5 if name == "digits" else 0)  # digits has doubles of its own
    assert sum(task.first_sizes) < task.max_units
    if isinstance(task.loss, SquaredError):
        assert np.mean(task.train.y) == pytest.approx(0, abs=1e-6)
        assert np.std(task.train.y) == pytest.approx(1, rel=1e-6)


def test_tasks_are_new_for_every_seed():
    first, same, other = (
        tasks.load_task(seed, Options(tasks=("teacher",))).train for seed in (0, 0, 1)
    )
    assert np.array_equal(first.y, same.y)
    assert not np.array_equal(first.y, other.y)


def test_runs_are_sorted_by_data_set():
    runs = [
        {"task": task, "seed": seed} for task, seed in (("moons", 0), ("digits", 0), ("moons", 1))
    ]
    assert tasks.by_task(runs) == {"moons": [runs[0], runs[2]], "digits": [runs[1]]}


def test_all_data_sets_are_taken_unless_some_are_named():
    assert tasks.task_names(Options()) == tuple(tasks.TASKS)
    assert tasks.task_names(Options(tasks=("moons",))) == ("moons",)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["fig2", "--optimizer", "adam"],
            "--optimizer is for ablation, automatic-size, oracle and shrink alone: "
            "leave it out for fig2.",
        ),
        (
            ["ablation", "--optimizer", "sgd"],
            "--optimizer must be one of kfac, natural_gradient, warm_natural_gradient, adam; "
            "got 'sgd'.",
        ),
        (
            ["ablation", "--tasks", "iris"],
            "--tasks must be of teacher, moons, friedman1, digits, mnist, fashion-mnist; "
            "got 'iris'.",
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(words, sentence, tmp_path, capsys):
    assert main(["reproduce", *words, "--no-cache", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"senn: {sentence}\n"


def test_senn_grows_by_default_settings_in_the_full_form():
    assert ablation.search(Options()) == Projection()
    own = {"max_layers": ablation.MAX_LAYERS, "plateau": ablation.NEVER}
    own |= {"prune": 0.0, "swap": None, "prefer": "grown"}  # nothing leaves
    assert replace(Policy(), **own) == ablation.POLICY
    assert (automatic_size.policy_for(Options()), automatic_size.schedule_for(Options())) == (
        Policy(),
        Schedule(),
    )
