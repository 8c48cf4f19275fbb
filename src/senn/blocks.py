"""Rows in blocks inside a program, as far as there are any that have a weight.

Samples of few and of many rows then share a program, and few rows take little time.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

ROWS = 256  # of a block; samples of any other size than a multiple of it are one block


def blocks_of(n: int, rows: int = ROWS) -> int:
    """The blocks of so many rows that n rows make."""
    return n // rows if n % rows == 0 and n else 1


def in_use(weight: Float[Array, " N"], rows: int = ROWS) -> Int[Array, ""]:
    """The blocks up to the last row that has a weight."""
    n = weight.shape[0]
    last = jnp.max(jnp.where(weight > 0, jnp.arange(1, n + 1), 0))
    size = n // blocks_of(n, rows)
    return jax.lax.div(last + size - 1, size)


def walk(
    function: Callable,
    rows: Any,
    used: Int[Array, ""] | int,
    size: int = ROWS,
    blank: Any = None,
) -> tuple[Any, Any]:
    """What a function finds in each block of rows, side by side, and the mean over all blocks.

    Args:
        function: takes a block of `rows` and its number, and returns what belongs to the block,
            and what is averaged.
        rows: a tree of arrays [N, ...].
        used: the first so many blocks are looked at; for the others everything is 0.
        size: rows in a block; rows of another number than a multiple of it are one block.
        blank: zeros of what the function returns; None traces it once more to know them.

    Returns:
        Trees of arrays [blocks, ...] and [...].
    """
    count = blocks_of(jax.tree.leaves(rows)[0].shape[0], size)
    if count == 1:
        own, mean = function(rows, 0)
        return jax.tree.map(lambda v: v[None], own), mean
    blocks = jax.tree.map(lambda v: v.reshape(count, -1, *v.shape[1:]), rows)

    def block(i):
        return function(numbered(blocks, i), i)

    def step(i, carry):
        found, total = carry
        own, mean = block(i)
        return (
            jax.tree.map(
                lambda all_, v: jax.lax.dynamic_update_index_in_dim(all_, v, i, 0), found, own
            ),
            jax.tree.map(jnp.add, total, mean),
        )

    own, mean = jax.eval_shape(block, 0) if blank is None else blank
    start = (
        jax.tree.map(lambda s: jnp.zeros((count, *s.shape), s.dtype), own),
        jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), mean),
    )
    found, total = jax.lax.fori_loop(0, used, step, start)
    return found, jax.tree.map(lambda v: v / count, total)


def numbered(blocks: Any, i: Int[Array, ""] | int) -> Any:
    """Block i of each array; without the checks of indices that `[i]` compiles to."""
    return jax.tree.map(lambda v: jax.lax.dynamic_index_in_dim(v, i, keepdims=False), blocks)


def joined(of_blocks: Float[Array, "blocks n *s"]) -> Float[Array, "N *s"]:
    """Blocks of rows as one."""
    return of_blocks.reshape(-1, *of_blocks.shape[2:])
