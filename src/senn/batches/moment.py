"""The second moment of the inputs, accumulated in pieces."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from senn.batches.batch import Batch

ROWS_AT_ONCE = 8192  # of a product over all the data


class InputMoment(NamedTuple):
    """E[w · (x, 1)(x, 1)ᵀ], the second moment of the inputs and the constant, over `rows` rows.

    Rows that are not finite, or whose squares are not, are left out. Examples that have inputs at
    several positions count by the mean over these.
    """

    matrix: np.ndarray  # [I + 1, I + 1]
    rows: int

    def with_more(self, batch: Batch) -> "InputMoment":
        """Of these rows and those of a batch, accumulated in pieces."""
        x, weight = np.asarray(batch.x), np.asarray(batch.weight)
        if x.ndim > 2:
            return self._with_positions(x.reshape(len(x), -1, x.shape[-1]), weight)
        total, rows = self.matrix * self.rows, self.rows
        for start in range(0, len(x), ROWS_AT_ONCE):
            piece = slice(start, start + ROWS_AT_ONCE)
            root = np.sqrt(weight[piece, None])
            a = np.concatenate([x[piece] * root, root], axis=1)
            with np.errstate(over="ignore", invalid="ignore"):
                product = a.T @ a
                if not np.isfinite(product).all():
                    a = a[np.isfinite(a * a * len(a)).all(axis=1)]
                    product = a.T @ a
            total, rows = total + product, rows + len(a)
        return InputMoment(total / max(rows, 1), rows)

    def turned(self, matrix: np.ndarray) -> "InputMoment":
        """Of inputs of which (x, 1) is now matrix (x, 1)."""
        if not self.rows:
            return self
        return self._replace(matrix=(matrix @ self.matrix @ matrix.T).astype(self.matrix.dtype))

    def _with_positions(self, x: np.ndarray, weight: np.ndarray) -> "InputMoment":
        """Of these examples [N, T, I], too."""
        T = x.shape[1]
        at = Batch(x.reshape(-1, x.shape[-1]), np.empty(0), np.repeat(weight, T))  # pyright: ignore[reportArgumentType]
        found = InputMoment(self.matrix, self.rows * T).with_more(at)
        return InputMoment(found.matrix, found.rows // T)


def no_moment(x: Float[np.ndarray, "N ... I"]) -> InputMoment:
    """Of no rows, for inputs as wide as these."""
    return InputMoment(np.zeros((x.shape[-1] + 1,) * 2, x.dtype), 0)
