"""Matrices of jumps: few of a network's species change when a reaction fires, and only those are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Columns(NamedTuple):
    """A matrix of ``size`` rows, column by column: column ``j`` has ``values[starts[j]:starts[j + 1]]`` in those
    ``rows``, in rising order, and 0 elsewhere."""

    size: int
    starts: np.ndarray
    rows: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, size: int, columns: Iterable[Mapping[int, int]]) -> Columns:
        """One column for each of these, from rows to values."""
        entries = [sorted(column.items()) for column in columns]
        starts = np.cumsum([0, *map(len, entries)], dtype=np.int64)
        flat = np.array([entry for column in entries for entry in column], np.int64).reshape(-1, 2)
        return cls(size, starts, flat[:, 0].copy(), flat[:, 1].copy())

    @classmethod
    def of_matrix(cls, matrix: np.ndarray) -> Columns:
        """Those of an array (rows, columns)."""
        columns, rows = np.nonzero(matrix.T)
        starts = np.searchsorted(columns, np.arange(matrix.shape[1] + 1))
        return cls(matrix.shape[0], starts, rows, matrix[rows, columns])

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return self.size, len(self.starts) - 1

    @property
    def owners(self) -> np.ndarray:
        """The column of each value (values,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def matrix(self, dtype: Any) -> np.ndarray:
        """All of it as an array (rows, columns)."""
        matrix = np.zeros(self.shape, dtype)
        matrix[self.rows, self.owners] = self.values
        return matrix

    def of_rows(self, chosen: np.ndarray) -> Columns:
        """The same columns of some rows alone, which are rising."""
        index = np.full(self.size, -1)
        index[chosen] = np.arange(len(chosen))
        kept = index[self.rows] >= 0
        starts = np.concatenate([[0], np.cumsum(kept)])[self.starts]
        return Columns(len(chosen), starts, index[self.rows[kept]], self.values[kept])


class WrittenOut:
    """A field of a dataclass for a matrix of whole numbers; :class:`Columns` are written out when first asked for."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._given, self._name = f"_given_{name}", name

    def __get__(self, holder: Any, owner: type | None = None) -> np.ndarray:
        if holder is None:
            raise AttributeError(self._name)  # there is no default
        kept = vars(holder)
        if self._name not in kept:
            given = kept[self._given]
            kept[self._name] = given.matrix(np.int64) if isinstance(given, Columns) else given
        matrix: np.ndarray = kept[self._name]
        return matrix

    def __set__(self, holder: Any, given: Any) -> None:
        kept = vars(holder)
        kept[self._given] = given
        kept.pop(self._name, None)

    def columns(self, holder: Any) -> Columns | None:
        """The columns, where these were given."""
        given = vars(holder)[self._given]
        return given if isinstance(given, Columns) else None
