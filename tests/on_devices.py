"""Runs on one device and on several, compared; a process of its own, for devices are told to XLA.

It prints a JSON object: what `tests/test_devices.py` looks at.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import numpy as np

import senn
from senn.batches import Passes, PassSource
from senn.checkpoints import read_checkpoint, write_checkpoint
from senn.devices import mesh_of
from senn.optimizers import make_optimizer
from senn.policy import Policy
from senn.training import Schedule

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(610, 5))
Y = (np.abs(X[:, 0]) + X[:, 1] * X[:, 2] > 0.8).astype(np.int32) + (X[:, 3] > 1)
TRAIN, KEPT = (X[:530], Y[:530]), (X[530:], Y[530:])
GROW = Policy(max_units=8, every=6, depth=False, prune=False)
STAY = Policy(width=False, depth=False)


class Kept(senn.Callback):
    """Writes the state of a run as it is after so many steps."""

    def __init__(self, path: Path, step: int):
        self.path, self.step = path, step

    def on_pause(self, state):
        if state.step == self.step:
            write_checkpoint(self.path, state)


def streamed() -> PassSource:
    """The rows to train on, read anew in every pass."""
    passes = Passes(
        530, lambda _, start: iter([(X[start:530], Y[start:530])]), lambda x: x, TRAIN, ""
    )
    return PassSource(passes, 100, seed=0)


def trained(optimizer, policy, devices, data=lambda: TRAIN, **settings):
    """The arrays of a network, what growth decided, and where the arrays lie."""
    network = senn.nn.MLP(5, 3, (3,), key=jax.random.key(0))
    schedule = Schedule(
        max_steps=24, batch_size=100, steps_per_call=6, anneal_epochs=None, stop_after=99
    )
    network, history = senn.fit(
        network, data(), validation=KEPT, optimizer=optimizer, policy=policy, schedule=schedule,
        mesh=mesh_of(devices), **settings,
    )  # fmt: skip
    decided = [
        (r.step, r.place, r.units, getattr(r, "accepted", None))
        for r in [*history.considerations, *history.additions]
    ]
    return network, decided, history.evaluations[-1].validation_loss


def compared(optimizer, policy, devices, *data, **settings):
    """How far several devices are from one."""
    runs = [trained(optimizer, policy, n, *data, **settings) for n in (1, devices)]
    return beside(*runs)


def beside(one, other):
    """What differs."""
    arrays = [list(map(np.asarray, jax.tree.leaves(run[0]))) for run in (one, other)]
    return {
        "far": max(float(np.max(np.abs(p - q), initial=0)) for p, q in zip(*arrays, strict=True)),
        "decided": other[1],
        "alike": one[1] == other[1],
        "losses": [one[2], other[2]],
        "home": all(len(leaf.sharding.device_set) == 1 for leaf in jax.tree.leaves(other[0])),
    }


def resumed():
    """A run of eight devices, gone on with on one."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "state")
        whole = trained("kfac", GROW, 8, callbacks=[Kept(path, 10)])
        state = read_checkpoint(path).state(make_optimizer("kfac"))
    return beside(whole, trained("kfac", GROW, 1, resume=state))


def estimated():
    """Accuracies of estimators that differ in their devices."""
    given = {"optimizer": "adam", "policy": STAY, "max_iter": 2, "random_state": 0, "bins": 0}
    several = [senn.SENNClassifier(devices=n, **given).fit(*TRAIN) for n in (None, 8)]
    first, other = (clf.predict_proba(KEPT[0]) for clf in several)
    return float(np.max(np.abs(first - other)))


if __name__ == "__main__":
    print(
        json.dumps(
            {
                "kfac": compared("kfac", GROW, 8),
                "natural_gradient": compared("natural_gradient", STAY, 8),
                "adam": compared("adam", STAY, 8),
                "three": compared("adam", STAY, 3),
                "streamed": compared("adam", STAY, 8, streamed),
                "resumed": resumed(),
                "estimated": estimated(),
            }
        )
    )
