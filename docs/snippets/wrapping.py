"""A residual network of Equinox, wrapped and grown."""

import equinox as eqx
import jax
import numpy as np
from sklearn.datasets import load_digits

import senn

nn = eqx.nn


class Block(eqx.Module):
    """x + back(silu(norm(inner(x)))), all of them images of C channels."""

    inner: nn.Conv2d
    norm: nn.GroupNorm
    back: nn.Conv2d

    def __init__(self, channels, inner, key):
        first, second = jax.random.split(key)
        self.inner = nn.Conv2d(channels, inner, 3, padding=1, key=first)
        self.norm = nn.GroupNorm(inner, inner)  # every channel by itself
        self.back = nn.Conv2d(inner, channels, 3, padding=1, key=second)

    def __call__(self, x):
        """Of an image [C, H, W]."""
        return x + self.back(jax.nn.silu(self.norm(self.inner(x))))


class Residual(eqx.Module):
    """A convolution, blocks, and a linear map of the mean of every channel."""

    stem: nn.Conv2d
    blocks: tuple[Block, ...]
    head: nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.stem = nn.Conv2d(1, 6, 3, stride=2, padding=1, key=keys[0])
        self.blocks = tuple(Block(6, 2, key) for key in keys[1:3])
        self.head = nn.Linear(6, 10, key=keys[3])

    def __call__(self, x):
        """Of an image [1, H, W]."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(axis=(1, 2)))


X, y = load_digits(return_X_y=True)
X = (X.reshape(-1, 1, 8, 8) / 16).astype(np.float32)  # images [C, H, W], as Equinox has them

module = Residual(jax.random.key(0))
network = senn.wrap(module, X[0])
print(network)
table = str(network)

network, history = senn.fit(
    network,
    (X[300:], y[300:]),
    validation=(X[:300], y[:300]),
    proposer=senn.proposals.Random(candidates=32),
    policy=senn.Policy(every=20, additions_at_once=4, max_units=40),
    schedule=senn.Schedule(max_steps=60, batch_size=128, sample_size=256),
)
module = network.unwrap()  # a `Residual` again
print([block.inner.out_channels for block in module.blocks], history.stop_reason)
