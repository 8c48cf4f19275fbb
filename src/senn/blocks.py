"""Rows in blocks inside a program, as far as there are any that have a weight.

Samples of few and of many rows then share a program, and few rows take little time.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from senn.devices import over_rows

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
    weight: Float[Array, " N"],
    size: int = ROWS,
    blank: Any = None,
    *,
    beside: Sequence[Any] = (),
    at_most: int | None = None,
) -> tuple[Any, Any]:
    """What a function finds in each block of rows, side by side, and the mean over all blocks.

    On several devices each goes over the blocks that it has been dealt (`senn.devices.dealt`).

    Args:
        function: takes a block of `rows`, its number, and what is beside it, and returns what
            belongs to the block, and what is averaged.
        rows: a tree of arrays [N, ...].
        weight: of the rows; blocks after the last that has one are not looked at: there
            everything is 0.
        size: rows in a block; rows of another number than a multiple of it are one block.
        blank: zeros of what the function returns; None traces it once more to know them.
        beside: trees of arrays [blocks, ...], as another walk has found them.
        at_most: the rows after which the others are not looked at either.

    Returns:
        Trees of arrays [blocks, ...] and [...].
    """

    def of_device(given: Any, device: Any, devices: int) -> tuple[Any, Any]:
        rows, weight, beside = given
        used = in_use(weight, size)
        if at_most is not None:
            limit = max(at_most // size, 1)
            used = jnp.minimum(used, -((device - limit) // devices))

        def at(block: Any, i: Any) -> tuple[Any, Any]:
            number = i if devices == 1 else i * devices + device
            return function(block, number, *numbered(beside, i))

        whole = at_most is None or devices == 1
        return _walked(at, rows, used, size, blank, whole=whole)

    return over_rows(of_device, (rows, weight, tuple(beside)))


def _walked(
    function: Callable, rows: Any, used: Any, size: int, blank: Any, *, whole: bool
) -> tuple[Any, Any]:
    """The blocks of one device; a single one needs no loop, if it is to be looked at at all."""
    count = blocks_of(jax.tree.leaves(rows)[0].shape[0], size)
    if count == 1 and whole:
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
