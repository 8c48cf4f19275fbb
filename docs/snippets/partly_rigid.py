"""A block of a transformer: what may grow in it, and what may not."""

import equinox as eqx
import jax
import jax.numpy as jnp

import senn

nn = eqx.nn


class Transformer(eqx.Module):
    """Of tokens [T, D]."""

    norm: nn.LayerNorm
    attention: nn.MultiheadAttention
    up: nn.Linear
    down: nn.Linear
    head: nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(2, 8, key=keys[0])
        self.up = nn.Linear(8, 16, key=keys[1])
        self.down = nn.Linear(16, 8, key=keys[2])
        self.head = nn.Linear(8, 10, key=keys[3])

    def __call__(self, tokens):
        """Ten numbers about them."""
        x = jax.vmap(self.norm)(tokens)
        tokens = tokens + self.attention(x, x, x)
        wide = jax.vmap(self.up)(tokens)
        tokens = tokens + jax.vmap(self.down)(jax.nn.gelu(wide))
        return self.head(tokens.mean(axis=0))


network = senn.wrap(Transformer(jax.random.key(0)), jnp.zeros((5, 8)))
print(network)
