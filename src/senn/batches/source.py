"""The source that suits the data."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from senn.augmentation import Augment
from senn.batches.arrays import ArraySource
from senn.batches.augmented import AugmentedSource
from senn.batches.batch import Batch
from senn.batches.passes import PassSource
from senn.batches.stream import StreamSource


def make_source(
    data: Any,
    batch_size: int,
    memory: int,
    rng: np.random.Generator,
    max_epochs: float | None = None,
    *,
    watch_inputs: bool = False,
    augment: Augment | None = None,
) -> "ArraySource | StreamSource | PassSource":
    """A source from (x, y), (x, y, weight), a `Batch`, or an iterable of such; or the given one."""
    if isinstance(data, StreamSource | PassSource):
        return data
    data = tuple(data) if isinstance(data, Batch) else data  # whose [0] is its first example
    if isinstance(data, tuple) and len(data) in (2, 3) and hasattr(data[0], "shape"):
        batch = checked(Batch.on_host(*data))
        if augment is None:
            return ArraySource(batch, batch_size, rng)
        if batch.x.ndim != 4:
            raise ValueError(f"augment is for images x [N, H, W, C]; got shape {batch.x.shape}.")
        return AugmentedSource(batch, batch_size, rng, augment)
    if augment is not None:
        raise ValueError(
            "augment is for arrays: change the batches of a stream where they are made."
        )
    if isinstance(data, Iterable):
        return StreamSource(data, batch_size, memory, max_epochs, watch_inputs=watch_inputs)
    raise TypeError(
        f"data must be (x, y) or (x, y, weight) arrays, or an iterable of such batches; "
        f"got {type(data).__name__}."
    )


def checked(batch: Batch) -> Batch:
    """The batch, if there is anything in it and its parts are as long as each other."""
    if batch.x.ndim < 2 or not len(batch.x) == len(batch.y) == len(batch.weight) > 0:
        raise ValueError(
            f"x must be [N, I], or [N, …, I], with N > 0, and y and weight as long; got shapes "
            f"{batch.x.shape}, {batch.y.shape} and {batch.weight.shape}."
        )
    return batch
