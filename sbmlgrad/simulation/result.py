"""What a simulation gives: moments as tables, and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sbmlgrad.errors import SimulationError
from sbmlgrad.headers import column

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Simulation:
    """An ensemble of exact trajectories at given times.

    Attributes
    ----------
    mean, sd
        DataFrames with index ``time`` and a column for each species (amount) or other observable; ``sd`` is the
        sample standard deviation, nan for one trajectory.
    n, seed, events
        Trajectories, the seed, and how many reactions fired in all of them.
    species
        The species of ``counts``: those that reactions change.
    """

    times: np.ndarray
    mean: pandas.DataFrame
    sd: pandas.DataFrame
    n: int
    seed: int
    events: int
    species: tuple[str, ...]
    _counts: Sequence[np.ndarray] | None = field(repr=False, default=None)
    """Counts of consecutive trajectories, in an integer type that may be narrower."""

    @cached_property
    def counts(self) -> np.ndarray:
        """Molecule counts, int64 array (n, times, species)."""
        if self._counts is None:
            raise SimulationError("there are no counts: they are kept with keep_counts=True, and by method 'ssa' only")
        if len(self._counts) == 1:
            return self._counts[0].astype(np.int64, copy=False)
        return np.concatenate(self._counts, dtype=np.int64)

    def to_table(self) -> pandas.DataFrame:
        """Columns ``time, S-mean, S-sd``, or ``time, S`` for a single trajectory, as CSV files have them.

        An id that means something else in a table, such as ``time``, is ``time-value`` where it would stand alone.
        """
        columns = {}
        for name in self.mean.columns:
            if self.n == 1:
                columns[column(name)] = self.mean[name]
            else:
                columns[column(name, "mean")] = self.mean[name]
                columns[column(name, "sd")] = self.sd[name]
        import pandas

        return pandas.DataFrame(columns).rename_axis("time").reset_index()


def by_time(times: np.ndarray, names: Sequence[str], values: np.ndarray) -> pandas.DataFrame:
    """A table (time, names) of values (names, times)."""
    import pandas

    return pandas.DataFrame(values.T, index=pandas.Index(times, name="time"), columns=list(names))
