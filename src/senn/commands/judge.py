"""How well rows were predicted, by sums alone: the rows themselves may be too many to keep."""

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

from senn.commands.errors import UsageError


def classifies(estimator: Any) -> bool:
    """Whether it predicts classes."""
    # Its type, not what it has: to be asked for what it lacks makes a loaded one load scikit-learn.
    from senn.prediction import ClassPredictor

    return issubclass(type(estimator), ClassPredictor)


def judge_of(estimator: Any, table: Any, target: str) -> "Judge":
    """Who compares predictions with what a column of the table says."""
    if classifies(estimator):
        if estimator._multi_label:
            raise UsageError(
                f"--target {target} is one column, but the model says of "
                f"{len(estimator.classes_)} labels whether a row has them: leave --target out."
            )
        return _JudgeOfClasses(table, target, estimator.classes_.dtype.kind not in "biuf")
    if estimator._plain.out_size > 1:
        raise UsageError(
            f"--target {target} is one column, but the model predicts "
            f"{estimator._plain.out_size} numbers: leave --target out."
        )
    return _JudgeOfNumbers(table, target, text=False)


class Judge(ABC):
    """Sees some rows at a time; `verdict` is of all of them."""

    def __init__(self, table: Any, target: str, text: bool):  # noqa: D107
        (self.place,) = table.positions([target])
        self.target, self.text, self.n = target, text, 0

    def see(self, chunk: Any, predicted: Any) -> None:
        """Compare, where the column says what was to be predicted."""
        import numpy as np

        words = chunk.words(self.place)
        said = [word for word in words if word is not None]
        if said:
            wanted = np.array(said if self.text else [self._number(word) for word in said])
            self.compare(wanted, predicted[np.array([word is not None for word in words])])
            self.n += len(said)

    @abstractmethod
    def compare(self, wanted: Any, predicted: Any) -> None:
        """Take some rows into the sums, before they are counted."""

    @abstractmethod
    def score(self) -> str:
        """Accuracy or R², in words."""

    def verdict(self) -> str:
        """The score, and of how many rows."""
        return f"{self.score()} on {self.n:,} rows" if self.n else "no rows to compare"

    def _number(self, word: str) -> float:
        from senn.readers import DataError
        from senn.standalone.numpy_columns import MARKS, number
        from senn.words import short

        for mark in MARKS:
            with suppress(ValueError):
                return number(word, mark)
        raise DataError(f"column {short(self.target)} has {word[:40]!r}, where a number is wanted.")


class _JudgeOfClasses(Judge):
    right = 0

    def compare(self, wanted: Any, predicted: Any) -> None:
        self.right += int((wanted == predicted).sum())

    def score(self) -> str:
        return f"accuracy {self.right / self.n:.4f}"


class _JudgeOfNumbers(Judge):
    mean, spread, error = 0.0, 0.0, 0.0  # spread and error are sums of squares

    def compare(self, wanted: Any, predicted: Any) -> None:
        """The spread of all is that within parts and between their means (Chan et al., 1979)."""
        n, mean = len(wanted), float(wanted.mean())
        apart, share = mean - self.mean, n / (self.n + n)
        self.spread += float(((wanted - mean) ** 2).sum()) + apart**2 * self.n * share
        self.mean += apart * share
        self.error += float(((wanted - predicted) ** 2).sum())

    def score(self) -> str:
        """R² as scikit-learn has it."""
        if self.n < 2:
            return "R² nan"
        if self.spread == 0:
            return f"R² {float(self.error == 0):.4f}"
        return f"R² {1 - self.error / self.spread:.4f}"
