"""What convolutions read of images, and their products. This file needs NumPy alone.

Images have their channels before height and width, [N, C, H, W]: what NumPy goes over is long then.
"""

from typing import NamedTuple

import numpy as np

# Of one product: OpenBLAS takes several threads from more multiplications on.
MOST_HIGH, MOST_DEEP, MOST_MULTIPLIED = 32, 1024, 2**18


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


def patches_of(a, cut):
    """Patches [N, J, h, w] of images [N, C, H, W]: place by place in the kernel, all channels."""
    pooled, s, (h, w) = _pooled(a, cut), cut.stride, cut.out_shape
    (top, bottom), (left, right) = cut.padding
    n, c, high, wide = pooled.shape
    padded = pooled
    if top or bottom or left or right:
        padded = np.zeros((n, c, top + high + bottom, left + wide + right), a.dtype)
        padded[:, :, top : top + high, left : left + wide] = pooled
    made = np.empty((n, cut.kernel[0] * cut.kernel[1], c, h, w), a.dtype)
    for place, (i, j) in enumerate(np.ndindex(*cut.kernel)):
        made[:, place] = padded[:, :, i : i + s * (h - 1) + 1 : s, j : j + s * (w - 1) + 1 : s]
    return made.reshape(n, -1, h, w)


def _pooled(a, cut):
    if cut.average:  # added up place by place: in the same order, however many images there are
        total = np.zeros((*a.shape[:2], 1, 1), a.dtype)
        for i, j in np.ndindex(*cut.shape):
            total[:, :, 0, 0] += a[:, :, i, j]
        return total / a.dtype.type(cut.shape[0] * cut.shape[1])
    p, (h, w) = cut.pool, cut.pooled_shape
    rows = a[:, :, : p * h : p, : p * w]
    for i in range(1, p):
        rows = np.maximum(rows, a[:, :, i : p * h : p, : p * w])
    pooled = rows[..., ::p]
    for j in range(1, p):
        pooled = np.maximum(pooled, rows[..., j::p])
    return pooled


def products(weight, patches):
    """The product [N, O, T] of weights [O, J] and patches [N, J, T], image by image.

    BLAS gets one image at a time, in pieces that are the same for every one: how it rounds does
    not depend on the images beside it. All are small enough for one of its threads.
    """
    (size, deep), places = weight.shape, patches.shape[2]
    high, long = min(size, MOST_HIGH), min(deep, MOST_DEEP)
    wide = max(8, MOST_MULTIPLIED // (high * long))
    z = np.empty((len(patches), size, places), patches.dtype)
    for o in range(0, size, high):
        for t in range(0, places, wide):
            some, there = slice(o, o + high), slice(t, t + wide)
            part = z[:, some, there]
            np.matmul(weight[some, :long], patches[:, :long, there], out=part)
            for j in range(long, deep, long):
                part += weight[some, j : j + long] @ patches[:, j : j + long, there]
    return z
