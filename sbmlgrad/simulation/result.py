"""What a simulation gives: moments as tables, counts, trajectories, pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from sbmlgrad.errors import SimulationError
from sbmlgrad.headers import column
from sbmlgrad.markup import counted, html_table
from sbmlgrad.model.labels import Labels

if TYPE_CHECKING:
    import pandas
    import xarray

    from sbmlgrad.report.plots import Picture

_MOST_BARS = 1000  # different values of a histogram; more are put into bins


class Counts(np.ndarray):
    """An array (..., species) that a species' id looks into, too: ``counts["A"]`` is (...)."""

    species: tuple[str, ...] = ()

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return np.asarray(self)[key]
        if key not in self.species:
            raise SimulationError(f"there are no counts of {key!r}; there are {', '.join(self.species)}")
        return np.asarray(self)[..., self.species.index(key)]

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)  # what is computed of counts is a plain array


@dataclass(frozen=True, eq=False)
class Simulation:
    """An ensemble of exact trajectories at given times, or the solution of rate equations.

    Attributes
    ----------
    mean, sd
        DataFrames with index ``time`` and a column for each species (amount) or other observable; ``sd`` is the
        sample standard deviation, nan for one trajectory.
    n, seed, events
        Trajectories, the seed, and how many reactions fired in all of them.
    species
        The species of ``counts``: those that reactions change.
    method, labels
        What it was simulated by, and what pictures call things.
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
    method: str = "ssa"
    labels: Labels = field(repr=False, default_factory=Labels)
    _observe: Callable[[], np.ndarray] | None = field(repr=False, default=None)
    """Gives the observables (n, times, observables) of the trajectories that were kept."""

    @property
    def counts(self) -> Counts:
        """Molecule counts, int64 array (n, times, species); ``counts["A"]`` is that of a species, (n, times)."""
        named = self._all_counts.view(Counts)
        named.species = self.species
        return named

    @cached_property
    def _all_counts(self) -> np.ndarray:
        if self._counts is None:
            raise SimulationError("there are no counts: they are kept with keep_counts=True, and by method 'ssa' only")
        if len(self._counts) == 1:
            return self._counts[0].astype(np.int64, copy=False)
        return np.concatenate(self._counts, dtype=np.int64)

    @cached_property
    def values(self) -> np.ndarray:
        """What was observed along each trajectory, array (n, times, observables), as the columns of ``mean`` mean it.

        Raises :class:`SimulationError` where trajectories were not kept, or were left behind by pickling.
        """
        if self._observe is None:
            raise SimulationError("there are no trajectories: they are kept with keep_counts=True")
        return self._observe()

    def trajectories(self) -> pandas.DataFrame:
        """Columns ``trajectory`` (from 0), ``time``, and one for each observable, named as in tables."""
        import pandas

        n, times, observables = self.values.shape
        index = {"trajectory": np.repeat(np.arange(n), times), "time": np.tile(self.times, n)}
        rows = self.values.reshape(-1, observables)
        return pandas.DataFrame({**index, **{column(name): rows[:, i] for i, name in enumerate(self.mean.columns)}})

    def histogram(self, time: float) -> pandas.DataFrame:
        """How many trajectories have which value at one of the times: ``time, observable, value, trajectories, share``.

        Where there are more than 1,000 different values, ``value`` is the middle of a bin. Raises
        :class:`SimulationError` for a time that was not observed.
        """
        import pandas

        places = np.flatnonzero(np.isclose(self.times, time, rtol=1e-12, atol=0))
        if not len(places):
            raise SimulationError(f"time {time:g} was not observed; take one of those that were, or simulate it too")
        tables = []
        for i, name in enumerate(self.mean.columns):
            values, numbers = np.unique(self.values[:, places[0], i], return_counts=True)
            if len(values) > _MOST_BARS:
                numbers, edges = np.histogram(self.values[:, places[0], i], "auto")
                values = (edges[1:] + edges[:-1]) / 2
            columns = {"time": time, "observable": name, "value": values, "trajectories": numbers}
            tables.append(pandas.DataFrame({**columns, "share": numbers / self.n}))
        return pandas.concat(tables, ignore_index=True)

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

    def to_xarray(self) -> xarray.Dataset:
        """A Dataset of ``mean`` and ``sd`` (time, observable), and ``counts`` (trajectory, time, species) if kept.

        Raises :class:`SimulationError` where xarray is not installed.
        """
        try:
            import xarray
        except ImportError:
            raise SimulationError("xarray is not installed; install it: pip install 'sbmlgrad[xarray]'") from None
        data: dict[str, Any] = {
            "mean": (("time", "observable"), self.mean.to_numpy()),
            "sd": (("time", "observable"), self.sd.to_numpy()),
        }
        coordinates: dict[str, Any] = {"time": self.times, "observable": list(self.mean.columns)}
        if self._counts is not None:
            data["counts"] = (("trajectory", "time", "species"), self._all_counts)
            coordinates |= {"trajectory": np.arange(self.n), "species": list(self.species)}
        about = {"n": self.n, "seed": self.seed, "events": self.events, "method": self.method}
        return xarray.Dataset(data, coordinates, attrs=about)

    def plot(self) -> Picture:
        """A picture of the means over time, with bands of one standard deviation; a notebook shows it."""
        from sbmlgrad.report.plots import plot_simulation

        return plot_simulation(self.mean, self.sd if self.n > 1 else None, self.labels, caption=self._caption)

    @property
    def _caption(self) -> str:
        if self.n > 1:
            return f"means of {self.n:,} trajectories; bands: ± sd of single ones"
        return "solution of the rate equations" if self.method == "ode" else "one trajectory"

    def __repr__(self) -> str:
        of = f" of {self.labels.title!r}" if self.labels.title else ""
        first, last = self.times[[0, -1]]
        return (
            f"<Simulation{of} by {self.method!r}: {self.n} x {counted(len(self.times), 'time')} ({first:g} to "
            f"{last:g}) x {counted(len(self.mean.columns), 'observable')}, seed {self.seed}>"
        )

    def _repr_html_(self) -> str:
        table = self.to_table()
        caption = "means and standard deviations" if self.n > 1 else self._caption
        return f"<p>{escape(repr(self))}</p>" + html_table(caption, list(table.columns), table.itertuples(index=False))

    def __getstate__(self) -> dict[str, Any]:
        # what observes is compiled for this process; values that were asked for before go along
        return {**self.__dict__, "_observe": None}


def by_time(times: np.ndarray, names: Sequence[str], values: np.ndarray) -> pandas.DataFrame:
    """A table (time, names) of values (names, times)."""
    import pandas

    return pandas.DataFrame(values.T, index=pandas.Index(times, name="time"), columns=list(names))
