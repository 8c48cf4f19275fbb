"""What a wrapped module is beside its parameters, and its program for any sizes of these."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from senn.nn.wrapping.layers import sized
from senn.nn.wrapping.tracing import Trace, trace


class Rest:
    """All of a module that is not trained, and how its parameters stand in it.

    Two are the same if what they hold is.
    """

    def __init__(self, module: Any, trained: Any):  # noqa: D107
        rest = jax.tree.map(lambda leaf, mine: None if mine else leaf, module, trained)
        self.leaves, self.structure = jax.tree.flatten(rest)
        self.params = jax.tree.structure(eqx.filter(module, trained))
        self._said = tuple(map(_said, self.leaves))

    def __eq__(self, other: object) -> bool:  # noqa: D105
        if not isinstance(other, Rest):
            return False
        mine, theirs = ((r.params, r.structure, r._said) for r in (self, other))
        return mine == theirs

    def __hash__(self) -> int:  # noqa: D105
        return hash((self.params, self._said))

    def __repr__(self) -> str:  # noqa: D105
        return str(self.params)  # the same in every process, by which programs are known

    def module(self, params: Any) -> Any:
        """The module with these parameters."""
        return sized(eqx.combine(params, jax.tree.unflatten(self.structure, self.leaves)))

    def program(self, arrays: Sequence[Any], shape: Sequence[int], dtype: Any) -> Trace:
        """What the module does with an example of that shape; arrays are its parameters."""
        known = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays)
        return _program(self, known, jax.ShapeDtypeStruct(tuple(shape), dtype))


@lru_cache(maxsize=64)
def _program(rest: Rest, arrays: tuple[Any, ...], x: Any) -> Trace:
    def call(arrays: list[Any], x: Any) -> Any:
        return rest.module(jax.tree.unflatten(rest.params, arrays))(x)

    return trace(call, arrays, x)


def _said(leaf: Any) -> Any:
    """A leaf as what can be compared."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(leaf.dtype), *_said(jax.random.key_data(leaf))
    if isinstance(leaf, np.ndarray | np.generic | jax.Array):
        array = np.asarray(leaf)
        return array.shape, str(array.dtype), array.tobytes()
    return leaf
