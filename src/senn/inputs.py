"""Whatever people have as X, as the inputs of a network: learned from the first rows, then kept."""

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np

from senn.columns import Columns, Table, Wishes, is_table, learn, table_of, treatments
from senn.columns.encoder import plain_columns
from senn.columns.shape import check_shape
from senn.columns.table import as_rows
from senn.datasets.features import check_features
from senn.images import NETWORKS, check_images, check_same
from senn.preparation import check_array, check_weights
from senn.readers import DataError
from senn.words import quoted

ROWS_FOR_FILLS = 1000  # of which the median fills gaps that training did not have


class TableInputs:
    """What of an estimator turns X into inputs [N, I]; a dataclass mixes it in."""

    categorical_features: Any
    network: Any
    _image_shape: tuple[int, ...]
    n_features_in_: int
    feature_names_: list[str]
    _columns: Columns | None

    @property
    def columns_(self) -> list[dict[str, Any]]:
        """Of each column its name and kind, how many inputs it became, and how, in words."""
        self._check_fitted()  # pyright: ignore[reportAttributeAccessIssue]
        return [] if self._columns is None else treatments(self._columns)

    def _checked(
        self, X: Any, *, first: bool, min_rows: int = 1, at_once: bool = True,
        sample_weight: Any = None,
    ) -> np.ndarray:  # fmt: skip
        """X as inputs, once its values, and the number of its columns, are right."""
        if self._reads_images(first):
            return self._checked_images(X, first=first, min_rows=min_rows)
        self._image_shape = ()
        numbers = self._as_numbers(X)
        if numbers is None:
            table = table_of(X)
            check_shape(table.shape, min_rows)
            if first:
                self._learn(table, Wishes(self._categories(table), at_once), sample_weight)
            self._check_count(table.shape[1])
            assert self._columns is not None
            return self._columns.encode(table)
        x, names = check_array(numbers, min_rows)
        if first and np.isnan(x).any():
            self._learn(table_of(x), Wishes(at_once=at_once), sample_weight)
        elif first:
            self._keep_plain(x, names, sample_weight)
        self._check_count(x.shape[1])
        return self._from_numbers(x)

    def _reads_images(self, first: bool) -> bool:
        """Whether X is to be images: the first ever, or such as the network knows."""
        if first and self.network not in NETWORKS:
            raise ValueError(f'network must be "mlp" or "conv"; got {self.network!r}.')
        return self.network == "conv" if first else bool(self._image_shape)

    def _checked_images(self, X: Any, *, first: bool, min_rows: int) -> np.ndarray:
        """X as images [N, H, W, C]; the first say of what shape others are to be."""
        x = check_images(X, min_rows)
        if first:
            self._image_shape, self._columns = tuple(np.shape(X)[1:]), None
            self.n_features_in_ = x.shape[3]
            self.feature_names_ = [f"channel {c}" for c in range(x.shape[3])]
        check_same(x, (*self._image_shape, 1)[:3])
        return x

    def _from_numbers(self, x: np.ndarray) -> np.ndarray:
        """Inputs for rows of numbers, with gaps perhaps."""
        if self._columns is None:  # of a file from before there were any
            return check_features(x, self.feature_names_, dtype=x.dtype.type).x
        if self._columns.are_plain:
            return self._columns.filled(x)
        return self._columns.encode(table_of(x))

    def _as_numbers(self, X: Any) -> Any:
        """X if it is an array of numbers, of which no column was said to hold categories."""
        if is_table(X):
            return None
        array = as_rows(X)
        if array.dtype.kind not in "biuf" or self._said_categories():
            return None
        return X if not hasattr(X, "toarray") else array

    def _said_categories(self) -> bool:
        given = self.categorical_features
        return not (given is None or (isinstance(given, str) and given == "from_dtype"))

    def _learn(self, table: Table, wishes: Wishes, sample_weight: Any) -> None:
        if sample_weight is not None:
            table = table[np.flatnonzero(check_weights(sample_weight, len(table)))]
        self._columns = learn(table, wishes)
        self.n_features_in_, self.feature_names_ = table.shape[1], list(table.names)

    def _keep_plain(self, x: np.ndarray, names: Iterable[str], sample_weight: Any) -> None:
        self.n_features_in_, self.feature_names_ = x.shape[1], list(names)
        kept = x
        if sample_weight is not None:
            kept = x[np.flatnonzero(check_weights(sample_weight, len(x)))]
        fills = np.median(kept[:: -(-len(kept) // ROWS_FOR_FILLS)], axis=0)
        self._columns = plain_columns(self.feature_names_, fills, x.dtype == np.float32)

    def name_columns(self, names: Iterable[str]) -> None:
        """Say what the columns are called, of which X had no names; not of images."""
        if self._image_shape:
            return
        self.feature_names_ = list(names)
        if self._columns is not None:
            self._columns = self._columns.named(self.feature_names_)

    def _check_count(self, n_columns: int) -> None:
        if n_columns != self.n_features_in_:
            raise DataError(
                f"X has {n_columns} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )

    def _categories(self, table: Table) -> frozenset[int] | None:
        """The positions of the columns that `categorical_features` names."""
        given, n = self.categorical_features, table.shape[1]
        if given is None:
            return None
        if isinstance(given, str):
            given = () if given == "from_dtype" else (given,)
        chosen = np.atleast_1d(np.array(given)).tolist()
        if len(chosen) == n and all(isinstance(value, bool) for value in chosen):
            return frozenset(np.flatnonzero(chosen).tolist())
        places = {name: place for place, name in enumerate(table.names)}
        whole = [isinstance(v, Integral) and not isinstance(v, bool) for v in chosen]
        unknown = [
            value for value, is_whole in zip(chosen, whole, strict=True)
            if not (is_whole and -n <= value < n) and value not in places
        ]  # fmt: skip
        if unknown:
            raise DataError(
                f"categorical_features names {quoted(unknown)}, but the {n} columns of X are "
                f"{quoted(table.names)}."
            )
        return frozenset(places[v] if v in places else int(v) % n for v in chosen)
