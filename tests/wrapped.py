"""Small modules of Equinox, wrapped: rows of the tables of properties."""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp

import senn
from senn.nn.edits import resize

nn = eqx.nn


def keys(seed=0):
    return iter(jax.random.split(jax.random.key(seed), 9))


def tanh_layers(sizes, seed=0):
    """A chain of linear layers, one without bias."""
    key, layers = keys(seed), []
    for n, (i, o) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(i, o, use_bias=n != 1, key=next(key)), nn.Lambda(jnp.tanh)]
    return nn.Sequential(layers[:-1])


class Residual(eqx.Module):
    """Convolutions around a stream that does not grow, and a layer behind them that does."""

    stem: nn.Conv2d
    inner: nn.Conv2d
    norm: nn.GroupNorm
    back: nn.Conv2d
    pool: nn.MaxPool2d
    wide: nn.Linear
    head: nn.Linear

    def __init__(self, shape, out_size, sizes, seed=0):
        key, (channels, height, width) = keys(seed), shape
        inner, wide = sizes
        self.stem = nn.Conv2d(channels, 2, 3, 1, 1, key=next(key))
        self.inner = nn.Conv2d(2, inner, (2, 1), 1, ((1, 1), (0, 0)), key=next(key))
        self.norm = nn.GroupNorm(inner, inner)
        self.pool = nn.MaxPool2d((2, 1))
        self.back = nn.Conv2d(inner, 2, 1, use_bias=False, key=next(key))
        self.wide = nn.Linear(2 * height * width, wide, key=next(key))
        self.head = nn.Linear(wide, out_size, key=next(key))

    def __call__(self, x):
        x = self.stem(x)
        x = x + self.back(self.pool(jax.nn.silu(self.norm(self.inner(x)))))
        return self.head(jax.nn.sigmoid(self.wide(x.reshape(-1))))


class Channels(eqx.Module):
    """A convolution, a pool, and a linear map of all that is left; of one hidden space's size."""

    inner: nn.Conv2d
    pool: nn.MaxPool2d
    head: nn.Linear

    def __init__(self, shape, out_size, sizes, seed=0):
        key, (channels, height, width), (inner,) = keys(seed), shape, sizes
        self.inner = nn.Conv2d(channels, inner, (1, width), key=next(key))
        self.pool = nn.MaxPool2d((2, 1))
        self.head = nn.Linear(inner * (height - 1), out_size, key=next(key))

    def __call__(self, x):
        return self.head(self.pool(jax.nn.silu(self.inner(x))).reshape(-1))


class Attention(eqx.Module):
    """A block of a transformer of tokens [T, D]; its stream and its heads are rigid."""

    norm: nn.LayerNorm
    attention: nn.MultiheadAttention
    up: nn.Linear
    down: nn.Linear
    head: nn.Linear

    def __init__(self, dim, out_size, width, seed=0):
        key = keys(seed)
        self.norm = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(2, dim, use_value_bias=True, key=next(key))
        self.up = nn.Linear(dim, width, key=next(key))
        self.down = nn.Linear(width, dim, key=next(key))
        self.head = nn.Linear(dim, out_size, key=next(key))

    def __call__(self, tokens):
        h = jax.vmap(self.norm)(tokens)
        tokens = tokens + self.attention(h, h, h)
        tokens = tokens + jax.vmap(lambda t: self.down(jax.nn.gelu(self.up(t))))(tokens)
        return self.head(jnp.mean(tokens, axis=0))


class Normed(eqx.Module):
    """A norm between two layers."""

    first: nn.Linear
    norm: eqx.Module
    second: nn.Linear

    def __call__(self, x):
        return self.second(jnp.tanh(self.norm(self.first(x))))


def normed(norm, size=4, seed=0):
    """Of three inputs, and so many units behind them."""
    key = keys(seed)
    first = nn.Linear(3, size, key=next(key))
    return Normed(first, norm, nn.Linear(size, 2, key=next(key)))


class Tokens(eqx.Module):
    """A causal block of a transformer, of one head, with its norms ahead; of tokens [T, D].

    Its hidden spaces are the stream, of D, the head's values and the perceptron's units.
    """

    norms: tuple[nn.LayerNorm, ...]
    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    out: nn.Linear
    up: nn.Linear
    down: nn.Linear
    head: nn.Linear

    def __init__(self, shape, out_size, sizes, seed=0):
        key, (_, dim), (value, up) = keys(seed), shape, sizes
        self.norms = nn.LayerNorm(dim), nn.LayerNorm(dim, use_weight=False, use_bias=False)
        self.query = nn.Linear(dim, 2, use_bias=False, key=next(key))
        self.key = nn.Linear(dim, 2, use_bias=False, key=next(key))
        self.value = nn.Linear(dim, value, key=next(key))
        self.out = nn.Linear(value, dim, use_bias=False, key=next(key))
        self.up = nn.Linear(dim, up, key=next(key))
        self.down = nn.Linear(up, dim, key=next(key))
        self.head = nn.Linear(dim, out_size, key=next(key))

    def __call__(self, x):
        h = jax.vmap(self.norms[0])(x)
        queries, keys, values = (jax.vmap(f)(h) for f in (self.query, self.key, self.value))
        scores = queries @ keys.T / self.query.out_features**0.5
        seen = jnp.tril(jnp.ones(scores.shape, bool))
        mixed = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf)) @ values
        x = x + jax.vmap(self.out)(mixed)
        h = jax.vmap(self.norms[1])(x)
        x = x + jax.vmap(lambda t: self.down(jax.nn.gelu(self.up(t))))(h)
        return self.head(x[-1])


def wrapped(module, shape, capacity=None):
    """With so many slots where it may grow."""
    network = senn.wrap(module, jnp.zeros(shape))
    for space in network.graph.hidden:
        if capacity and not space.rigid:
            network = resize(network, space, capacity)
    return network
