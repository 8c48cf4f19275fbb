"""MNIST as the paper's last experiments use it, and the settings that they share (appendix C)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from senn import Batch, Policy, datasets
from senn.losses import SoftmaxCrossEntropy
from senn.nn import MLP
from senn.optimizers import NaturalGradient
from senn.proposals import AbstractProposer
from senn.studies.growing import DAMPING, RATE, Recipe
from senn.studies.options import Options

SIDE = 24  # pixels, from 28 by bilinear interpolation
CLASSES = 10
FIRST_SIZE = 10
CAPACITY = 32  # slots of each layer to begin with; steps take twice as long at 64
BATCH_SIZE = 1024
EPOCHS_PER_LOOK = 10
WEIGHT_DECAY = 1e-3
LAYER_COST = 60.0
# The paper does not say in what unit its α are, and no hidden unit could ever gain 0.25 of λ. This
# one is ours, set by the sizes that the paper reports under an earlier search; with the present one
# α is not what ends growth: every accepted unit of fig4-growth's record gains over five times it.
ALPHA_UNIT = 1e-4
ALPHA = f"α in units of {ALPHA_UNIT} λ, λ = E‖g‖²; ours, by the paper's sizes"
LOSS = SoftmaxCrossEntropy()
WARM_STEPS, WARM_START = 10, 0.9
SOLVER = f"{WARM_STEPS} conjugate-gradient steps from {WARM_START} × the last solution, not 100"
QUICK_ROWS = 2000


class Images(NamedTuple):
    """The training and the test set."""

    train: Batch
    test: Batch


def load_images(options: Options) -> Images:
    """MNIST at 24 × 24 pixels; its first rows alone in the quick form."""
    data = datasets.load("mnist", data_dir=options.data_dir)
    rows = slice(QUICK_ROWS if options.quick else None)
    return Images(
        Batch.of(shrink(data.x[rows]), data.y[rows]),
        Batch.of(shrink(data.x_test[rows]), data.y_test[rows]),
    )


def shrink(x: np.ndarray) -> Float[Array, "N J"]:
    """Images [N, 28 · 28] at `SIDE` × `SIDE` pixels."""
    images = jnp.asarray(x).reshape(-1, 28, 28)
    return jax.image.resize(images, (len(x), SIDE, SIDE), "bilinear").reshape(len(x), -1)


def first_network(seed: int) -> MLP:
    """One hidden layer of 10."""
    key = jax.random.key(seed)
    return MLP(SIDE * SIDE, CLASSES, (FIRST_SIZE,), key=key, capacity=CAPACITY)


def image_recipe(
    options: Options, policy: Policy, proposer: AbstractProposer, layer_proposer: AbstractProposer
) -> Recipe:
    """The optimiser of both experiments, with the rest."""
    solver = (100, 0.0) if options.original else (WARM_STEPS, WARM_START)
    optimizer = NaturalGradient(
        learning_rate=RATE,
        damping=DAMPING,
        max_steps=solver[0],
        rtol=1e-3,
        warm_start=solver[1],
        weight_decay=WEIGHT_DECAY,
    )
    return Recipe(LOSS, optimizer, policy, proposer, layer_proposer, BATCH_SIZE)


def steps_per_epoch(rows: int) -> int:
    """Batches of at most `BATCH_SIZE` in so many rows."""
    return -(-rows // BATCH_SIZE)


def two_samples(data: Batch, size: int, rng: np.random.Generator) -> tuple[Batch, Batch]:
    """Two samples without a row in common: of `size`, or half of the data each if that is less."""
    n = len(data.x)
    size = min(size, n // 2)
    rows = rng.permutation(n)
    return data[rows[:size]], data[rows[size : 2 * size]]
