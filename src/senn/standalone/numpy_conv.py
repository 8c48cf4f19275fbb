"""How convolutions cut rows out of images. This file needs NumPy alone.

Arrays have their channels last, [N, H, W, C].
"""

from typing import NamedTuple

import numpy as np


class Cut(NamedTuple):
    """How the rows of a convolution are cut out of what it reads, channel by channel."""

    shape: tuple[int, int]  # height and width of what is read
    kernel: tuple[int, int]
    stride: int = 1
    same: bool = True  # zeros around it, as many outputs as the stride leaves; else none
    pool: int = 1  # the largest of so many by so many comes first; what is left over is not read
    average: bool = False  # instead, the mean over all

    @property
    def pooled_shape(self):
        """Height and width after pooling."""
        if self.average:
            return 1, 1
        return self.shape[0] // self.pool, self.shape[1] // self.pool

    @property
    def out_shape(self):
        """Height and width of the outputs."""
        (h, w), (down, across), s = self.pooled_shape, self.kernel, self.stride
        if self.same:
            return -(-h // s), -(-w // s)
        return (h - down) // s + 1, (w - across) // s + 1

    @property
    def padding(self):
        """Zeros around it, as XLA's "SAME" has them: (top, bottom), (left, right)."""
        return self._around(0), self._around(1)

    def _around(self, axis):
        n, k, outs = (pair[axis] for pair in (self.pooled_shape, self.kernel, self.out_shape))
        total = max((outs - 1) * self.stride + k - n, 0) if self.same else 0
        return total // 2, total - total // 2

    @property
    def numbers(self):
        """All of it as one row of whole numbers."""
        return [*self.shape, *self.kernel, self.stride, int(self.same), self.pool,
                int(self.average)]  # fmt: skip


def cut_of(numbers):
    """The inverse of `Cut.numbers`."""
    h, w, down, across, stride, same, pool, average = (int(n) for n in numbers)
    return Cut((h, w), (down, across), stride, bool(same), pool, bool(average))


def cut_rows(a, cut):
    """Patches [N, h, w, J] of images [N, H, W, C]: place by place in the kernel, all channels."""
    pooled, s, (h, w) = _pooled(a, cut), cut.stride, cut.out_shape
    padded = np.pad(pooled, ((0, 0), *cut.padding, (0, 0)))
    return np.concatenate(
        [padded[:, i : i + s * (h - 1) + 1 : s, j : j + s * (w - 1) + 1 : s]
         for i, j in np.ndindex(*cut.kernel)], axis=-1,
    )  # fmt: skip


def _pooled(a, cut):
    if cut.average:  # added up place by place: in the same order, however many images there are
        total = np.zeros((len(a), 1, 1, a.shape[-1]), a.dtype)
        for i, j in np.ndindex(*cut.shape):
            total[:, 0, 0] += a[:, i, j]
        return total / a.dtype.type(cut.shape[0] * cut.shape[1])
    p, (h, w) = cut.pool, cut.pooled_shape
    pooled = a[:, : p * h : p, : p * w : p]
    for i, j in np.ndindex(p, p):
        pooled = np.maximum(pooled, a[:, i : p * h : p, j : p * w : p])
    return pooled
