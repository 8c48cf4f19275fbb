"""Compilations are counted, and growth within capacity causes none."""

import os
import subprocess
import sys
import weakref
from collections import OrderedDict

import jax
import numpy as np
import optax
import pytest

from senn import compilation, machine, training
from senn.callbacks import Callback
from senn.compilation import Compilations, Program, compilations
from senn.nn import MLP
from senn.optimizers import KFAC, NaturalGradient
from senn.policy import Policy
from senn.proposals import Random
from senn.training import Schedule, fit


def test_compilations_are_counted_once_each():
    before = compilations()
    f = jax.jit(lambda v: v * 3 + 1)
    f(np.ones(3))
    first = compilations().since(before)
    assert first.programs == 1
    assert first.seconds > 0
    f(np.zeros(3))
    assert compilations().since(before) == first
    f(np.ones(4))
    assert compilations().since(before).programs == 2
    assert Compilations(5, 2.0).since(Compilations(3, 0.5)) == (2, 1.5)


class Count(Callback):
    """Compilations so far, after every addition and removal and at the end."""

    def __init__(self):
        self.counts = []

    def on_addition(self, _):
        self.counts.append(compilations().programs)

    def on_removal(self, _):
        self.counts.append(compilations().programs)

    def on_stop(self, _):
        self.counts.append(compilations().programs)


@pytest.mark.parametrize(
    ("optimizer", "at_once"),
    [
        (NaturalGradient(learning_rate=0.01, max_steps=3), 1),
        (optax.adam(1e-3), 1),
        (KFAC(learning_rate=0.01), 3),
    ],
    ids=["cg", "adam", "kfac, several at once"],
)
def test_growing_from_10_to_40_units_and_down_again_compiles_nothing_more(optimizer, at_once):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(48, 2))
    y = np.sin(3 * x[:, 0]) * x[:, 1]
    count = Count()
    _, history = fit(
        MLP(2, 1, (10,), key=jax.random.key(0), capacity=64),
        (x, y),
        validation=(x[:16], y[:16]),
        optimizer=optimizer,
        proposer=Random(candidates=8),
        policy=Policy(
            tau=1 + 1e-9,
            alpha=1e-12,
            confidence=0.0,
            depth=False,
            every=1,
            max_units=40,
            patience=99,
            backoff=1.0,
            additions_at_once=at_once,
            plateau=999,
            prune=0.0,
            swap=1.0,
            trial=4,
        ),
        schedule=Schedule(
            max_steps=150,
            batch_size=24,
            evaluate_every=1,
            steps_per_call=2,
            sample_size=24,
            anneal_epochs=None,
        ),
        callbacks=[count],
    )
    assert max(a.hidden_sizes for a in history.additions) == (40,)
    assert history.removals
    assert len({a.step for a in history.additions}) == len(history.additions)
    assert max(a.units for a in history.additions) == at_once
    # The first addition ends the first event of its kind.
    assert set(count.counts) == {count.counts[0]}
    assert history.n_compilations > 0
    assert history.compile_seconds > 0


# --- programs ---------------------------------------------------------------------------------


@pytest.fixture
def alone(monkeypatch):
    """No programs of others, and none left behind."""
    monkeypatch.setattr(compilation, "_programs", OrderedDict())


def doubled(x, twice=True):
    return {"sum": 2 * x if twice else x, "word": "kept"}


def test_a_program_is_compiled_once_for_shapes_and_settings(alone):
    double, before = Program(doubled), compilations()
    for x in (np.ones(3), np.zeros(3), np.ones(4), np.ones(3, np.float32)):
        found = double(x)
        np.testing.assert_array_equal(found["sum"], 2 * x)
        assert found["word"] == "kept"
    np.testing.assert_array_equal(double(np.ones(3), twice=False)["sum"], np.ones(3))
    assert compilations().since(before).programs == 4
    assert compilations().since(before).seconds > 0


def test_inside_another_program_it_is_a_part_of_that(alone):
    double, before = Program(doubled), compilations()
    np.testing.assert_array_equal(jax.jit(lambda x: double(x)["sum"])(np.ones(5)), 2 * np.ones(5))
    assert compilations().since(before).programs == 1
    assert not compilation._programs


@pytest.mark.skipif(compilation._cores() < 2, reason="with one core nothing is prepared")
def test_what_was_prepared_is_not_compiled_again(alone):
    double = Program(doubled)
    double.prepare(jax.ShapeDtypeStruct((6,), np.float64))
    next(iter(compilation._programs.values())).future.result()
    before = compilations()
    np.testing.assert_array_equal(double(np.ones(6))["sum"], 2 * np.ones(6))
    assert compilations().since(before).programs == 0


def test_shapes_are_told_without_compiling(alone):
    double, before = Program(doubled), compilations()
    told = double.shapes(np.ones((2, 3)))
    assert (told["sum"].shape, told["word"]) == ((2, 3), "kept")
    assert compilations().since(before).programs == 0


def test_programs_not_used_for_long_are_let_go(alone, monkeypatch):
    monkeypatch.setattr(compilation, "KEPT", 3)
    double = Program(doubled)
    for n in (1, 2, 3, 1, 4):
        double(np.ones(n))
    kept = [next(iter(key[3]))[0] for key in compilation._programs]
    assert kept == [(3,), (1,), (4,)]
    let_go = weakref.ref(next(iter(compilation._programs.values())))
    compilation.forget_programs()  # without a search for garbage, which comes late
    assert let_go() is None


def test_options_that_xla_does_not_know_are_left_out(alone):
    double = Program(doubled, {"xla_cpu_no_such_thing": True})
    np.testing.assert_array_equal(double(np.ones(3))["sum"], 2 * np.ones(3))


def test_errors_are_those_of_the_function(alone):
    def wrong(x):
        raise RuntimeError(f"nothing to do with {x.shape}")

    program = Program(wrong)
    program.prepare(np.ones(3))  # says nothing: the call does
    with pytest.raises(RuntimeError, match="nothing to do with"):
        program(np.ones(3))


def test_the_first_time_on_a_machine_is_told(alone, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_kept", [tmp_path])
    double, told = Program(doubled), []
    with compilation.listening(told.append):
        double(np.ones(3))
        double(np.ones(3))
        compilation.forget_programs()
        double(np.ones(3))
        double(np.ones(4))
    assert told == ["doubled", "doubled"]


CACHE = """
import os, sys
import jax
if "own" in sys.argv:
    jax.config.update("jax_compilation_cache_dir", os.environ["OWN"])
if "disabled" in sys.argv:
    jax.config.update("jax_enable_compilation_cache", False)
from senn.machine import keep_compilations_unless_told, keep_no_compilations
if "no" in sys.argv:
    keep_no_compilations()
print(keep_compilations_unless_told())
print(jax.config.jax_compilation_cache_dir)
"""


@pytest.mark.parametrize("say", ["", "own", "disabled", "no", "off"])
def test_the_cache_is_ours_unless_the_user_says_otherwise(say, tmp_path):
    env = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    env |= {"SENN_CACHE_DIR": "off" if say == "off" else str(tmp_path / "senn")}
    env |= {"OWN": str(tmp_path / "own")}
    command = [sys.executable, "-c", CACHE, say]
    ours, used = subprocess.check_output(command, env=env, text=True).split()
    if say in ("", "own"):
        assert ours == used
        assert ours.startswith(str(tmp_path / (say or "senn")))
    else:
        assert (ours, used) == ("None", "None")


def test_the_steps_after_a_first_layer_are_compiled_before_it_is_there(alone, monkeypatch):
    """A network without hidden layers can only grow by one, whose shapes are known."""
    ahead, prepare = [], training.train_chunk.prepare

    def noted(state, *others):
        ahead.append(state.network.capacities)
        prepare(state, *others)

    monkeypatch.setattr(training.train_chunk, "prepare", noted)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    network = MLP(2, 1, (), key=jax.random.key(0))
    grown, _ = fit(
        network, (x, x[:, 0] * x[:, 1]), policy=Policy(alpha=1e-6, every=2),
        schedule=Schedule(max_steps=6, evaluate_every=6, anneal_epochs=None),
    )  # fmt: skip
    assert set(ahead) == {(), grown.capacities}
    programs = [key for key in compilation._programs if key[0] is training.train_chunk]
    assert len(programs) == 2  # before the layer and after: the one prepared is the one used
