"""What was observed of single cells, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Observables followed over time in some cells or experiments.

    Attributes
    ----------
    observables
        Their ids.
    times
        Increasing (times,).
    values
        (replicates, observables, times), nan where nothing was measured.
    variance
        Of measurement errors, of the same shape; 0 where a value is what it says, exactly.
    start
        When the trajectories begin, at the model's initial amounts; not after the first time.
    """

    observables: tuple[str, ...]
    times: np.ndarray
    values: np.ndarray
    variance: np.ndarray
    start: float = 0.0

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(np.sum(~np.isnan(self.values)))

    @property
    def by_time(self) -> tuple[np.ndarray, np.ndarray]:
        """Values and variances (times, replicates, observables)."""
        return self.values.transpose(2, 0, 1), self.variance.transpose(2, 0, 1)


@dataclass(frozen=True, eq=False)
class Snapshots:
    """Counts in single cells, other cells at each time.

    Attributes
    ----------
    observables
        Their ids.
    times
        Increasing (times,).
    values
        For each time the different rows of counts (rows, observables) that were seen, nan where one was not counted.
    cells
        For each time how many cells (rows,) had them.
    start
        When the cells begin, at the model's initial amounts; not after the first time.
    """

    observables: tuple[str, ...]
    times: np.ndarray
    values: tuple[np.ndarray, ...]
    cells: tuple[np.ndarray, ...]
    start: float = 0.0

    @cached_property
    def size(self) -> int:
        """How many cells there are."""
        return int(sum(cells.sum() for cells in self.cells))

    @classmethod
    def of(cls, observables: tuple[str, ...], times: np.ndarray, values: np.ndarray, start: float = 0.0) -> Snapshots:
        """Those of one row (cells, observables) a cell, at ``times`` (cells,)."""
        grid = np.unique(times)
        rows = [np.unique(values[times == time], axis=0, return_counts=True) for time in grid]
        return cls(observables, grid, tuple(row for row, _ in rows), tuple(count for _, count in rows), start)
