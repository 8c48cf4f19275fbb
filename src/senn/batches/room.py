"""The network that batches are made for."""

from typing import NamedTuple

import numpy as np

from senn.losses import AbstractLoss

FEWEST_IN_SAMPLE, FEWEST_IN_BLOCKS = 2048, 8192  # the last if a search looks at rows in blocks


class Room(NamedTuple):
    """What batches are made for: slots of the network's inputs and outputs, and its loss."""

    inputs: int
    outputs: int
    loss: AbstractLoss
    in_size: int  # in use
    out_size: int
    sample: int = FEWEST_IN_SAMPLE  # rows of a sample of growth, at least
    grid: tuple[int, ...] = ()  # the positions at which an example has inputs
    numbers: int = 0  # that a look holds of an example, if its maps have positions

    def x(self, x: np.ndarray) -> np.ndarray:
        """Inputs [N, …, I], zeros in the spare slots."""
        self.check(x)
        spare = self.inputs - x.shape[-1]
        return np.pad(x, [*[(0, 0)] * (x.ndim - 1), (0, spare)]) if spare else x

    def y(self, y: np.ndarray) -> np.ndarray:
        """Targets [N, ...] of all the slots; a `ValueError` for some that the loss cannot take."""
        self.loss.check(y, self.out_size)
        return self.loss.spread(y, self.out_size, self.outputs)

    def check(self, x: np.ndarray) -> None:
        """Raise a `ValueError` for other inputs than the network's: zeros would stand for them."""
        if x.shape[1:] != (*self.grid, self.in_size):
            wanted = ", ".join(map(str, (*self.grid, self.in_size)))
            raise ValueError(f"The network needs x [N, {wanted}]; got shape {x.shape}.")
