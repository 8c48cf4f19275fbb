"""Compilations are counted, and growth within capacity causes none."""

import jax
import numpy as np
import optax
import pytest

from senn.callbacks import Callback
from senn.compilation import Compilations, compilations
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
    """Compilations so far, after every addition and at the end."""

    def __init__(self):
        self.counts = []

    def on_addition(self, _):
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
def test_growing_from_10_to_40_units_compiles_nothing_more(optimizer, at_once):
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
    sizes = 10 + np.cumsum([a.units for a in history.additions])
    assert [a.hidden_sizes for a in history.additions] == [(n,) for n in sizes]
    assert len({a.step for a in history.additions}) == len(history.additions)
    assert max(a.units for a in history.additions) == at_once
    # The first addition ends the first event of its kind.
    assert set(count.counts) == {count.counts[0]}
    assert history.n_compilations > 0
    assert history.compile_seconds > 0
    assert history.additions[-1].hidden_sizes == (40,)
