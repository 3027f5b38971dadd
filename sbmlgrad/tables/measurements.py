"""Measurements over time, from a CSV file or a DataFrame.

A table has a column ``time`` and a column for each thing measured: an id as it is (``S``, ``[S]``) for one trajectory,
or ``S-mean`` and ``S-sd`` for the moments of many; ``S-sem``, ``S-n`` and ``S-error`` say how exact a mean or value is,
``S-resolution`` how long a stay is that is just seen. A column ``replicate``, ``cell`` or ``trajectory`` says which of
several tracked trajectories a row belongs to. Blank cells are missing values. Rows that share a time, without such a
column, are single cells, others at each time (snapshots). A column ``condition`` says which experiment a row is of.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sbmlgrad.errors import TableError
from sbmlgrad.files import write_text
from sbmlgrad.headers import column, factors
from sbmlgrad.tables import numbers
from sbmlgrad.tables.cells import Table, label_of, of_frame, read_file
from sbmlgrad.tables.columns import Layout, Statistic, listing


@dataclass(frozen=True, eq=False)
class Series:
    """One thing measured over time: ``values`` (m,) at increasing ``times`` (m,), without missing values.

    Attributes
    ----------
    observable, statistic
        The id (``[S]`` for a concentration), and what the values are: its own, means (``mean``) or standard deviations
        (``sd``) of many, covariances of ``A:B`` (``cov``), standard errors of means (``sem``), cells behind a mean
        (``n``), measurement errors, one standard deviation of the value or mean (``error``), or the shortest time at a
        level that is seen (``resolution``).
    replicates
        How many trajectories stand behind each value: 1 for a trajectory, None where the table does not say.
    replicate
        The label of the trajectory in a table of several.
    """

    observable: str
    statistic: Statistic
    times: np.ndarray
    values: np.ndarray
    replicates: int | None = None
    replicate: str | None = None

    @property
    def column(self) -> str:
        """The column of the table that the series comes from."""
        return column(self.observable, self.statistic)


@dataclass(frozen=True, eq=False)
class Cells:
    """Snapshots: one row a cell, ``times`` (cells,) and ``values`` (cells, observables), nan where one is blank."""

    observables: tuple[str, ...]
    times: np.ndarray
    values: np.ndarray

    def of(self, observable: str) -> np.ndarray:
        """The values of one observable, without those that are missing."""
        values = self.values[:, self.observables.index(observable)]
        return values[~np.isnan(values)]

    @property
    def series(self) -> tuple[Series, ...]:
        """Means, standard deviations and numbers of the cells of each time."""
        grid = np.unique(self.times)
        result = []
        for index, name in enumerate(self.observables):
            groups = [self.values[self.times == time, index] for time in grid]
            groups = [group[~np.isnan(group)] for group in groups]
            many = np.array([len(group) for group in groups])
            for statistic, (least, compute) in _OF_CELLS.items():
                here = many >= least
                values = [compute(group) for group, there in zip(groups, here, strict=True) if there]
                if values:
                    result.append(Series(name, statistic, grid[here], np.array(values)))
        return tuple(result)


_OF_CELLS: Mapping[Statistic, tuple[int, Callable[[np.ndarray], float]]] = {
    "mean": (1, lambda group: float(group.mean())),
    "sd": (2, lambda group: float(group.std(ddof=1))),
    "n": (1, lambda group: float(len(group))),
}
"""Moments by the least number of cells that have one."""


@dataclass(frozen=True)
class Measurements:
    """What a table says, one series a column (and trajectory); ``source`` is the path, for messages.

    Of snapshots, ``series`` are the moments, and ``cells`` the cells themselves. ``condition`` is the name of the
    experiment, "" where the table names none.
    """

    source: str
    series: tuple[Series, ...]
    cells: Cells | None = None
    condition: str = ""


def read_measurements(data: str | os.PathLike[str] | pd.DataFrame) -> tuple[Measurements, ...]:
    """Read a table of trajectories (``time,S``) or moments (``time,S-mean,S-sd``): what was measured in each condition.

    Parameters
    ----------
    data
        The path of a table as COPASI, tellurium, R, pandas or Excel export it (see
        :mod:`sbmlgrad.tables.cells`), or a DataFrame with ``time`` as a column or index. Rows may come in any order.
        Of trajectories and moments identical ones count once; where most times have several rows of values, without
        labels, these are cells.

    Raises
    ------
    TableError
        for what is not such a table; the message names file, line, column and remedy.
    """
    table = of_frame(data) if isinstance(data, pd.DataFrame) else read_file(os.fspath(data))
    _refuse_long(table)
    layout = Layout.of(table)
    if not table.rows:
        raise TableError(f"{table.source}: there are no rows under the columns' names; add one for each time")
    times, labels = numbers.times(table, layout), _labels(table, layout.label, "trajectory")
    values, conditions = numbers.values(table, layout), _labels(table, layout.condition, "condition")
    rows_of: dict[str | None, list[int]] = {}
    for row, condition in enumerate(conditions):
        rows_of.setdefault(condition, []).append(row)
    result = [
        _of_condition(table, layout, condition or "", np.array(rows), times, labels, values)
        for condition, rows in rows_of.items()
    ]
    if not any(one.series for one in result):
        raise TableError(
            f"{table.source}: all cells beside {table.header[layout.time]!r} are blank; fill in what was measured"
        )
    return tuple(one for one in result if one.series)


def _refuse_long(table: Table) -> None:
    """Raise for a table that names in each row what was measured: a histogram, or what programs call long or tidy."""
    header = [name.casefold() for name in table.header]
    for named in sorted({"observable", "observableid", "variable", "species"} & set(header)):
        index = header.index(named)
        value = next((name for name in ("value", "measurement", "share") if name in header), None)
        if value is None or not all(numbers.is_word(table, row[index]) for row in table.rows):
            continue
        what = f"columns {table.header[index]!r} and {table.header[header.index(value)]!r}"
        if {"trajectories", "share"} & set(header):
            raise TableError(
                f"{table.source}: this is a histogram ({what}), and a table of measurements has cells, one a row, or "
                "moments; write the cells (simulate --snapshots), or a row for each cell that was counted"
            )
        raise TableError(
            f"{table.source}: this table is long ({what}), and a table of measurements has a column for each thing "
            "measured; pivot it to columns named after those things, or give a PEtab problem to sbmlgrad petab"
        )


def _of_condition(
    table: Table,
    layout: Layout,
    condition: str,
    own: np.ndarray,
    times: np.ndarray,
    labels: Sequence[str | None],
    values: Mapping[int, np.ndarray],
) -> Measurements:
    """What the rows of one condition say."""
    if _are_cells(layout, times[own], {column: values[column][own] for column in values}):
        columns = [index for index, _, _ in layout.measured]
        names = tuple(name for _, name, _ in layout.measured)
        cells = Cells(names, times[own], np.stack([values[column][own] for column in columns], 1))
        return Measurements(table.source, cells.series, cells, condition)
    trajectories: dict[str | None, list[int]] = {}
    for row in own[np.argsort(times[own], kind="stable")].tolist():
        trajectories.setdefault(labels[row], []).append(row)
    series = []
    for position, observable, statistic in layout.measured:
        for label in dict.fromkeys(labels[row] for row in own):  # in the order of the file
            rows = [row for row in trajectories[label] if not math.isnan(values[position][row])]
            kept = _without_repeats(table, position, times, values[position], rows, statistic, label)
            if kept:
                behind = 1 if statistic == "value" else None
                series.append(Series(observable, statistic, times[kept], values[position][kept], behind, label))
    return Measurements(table.source, tuple(series), condition=condition)


def match(
    measurements: Measurements, known_ids: Collection[str], names: Mapping[str, Collection[str]] | None = None
) -> Measurements:
    """The measurements with ids of the model; raises :class:`TableError` for a column that measures nothing in it.

    ``known_ids`` are the ids that can be looked at; ``[S]`` is known where ``S`` is. ``names`` are ids by the names
    that the model gives to things, as COPASI calls its columns: a name that is no id stands for the only id it belongs
    to.
    """
    ids = {name for identifier in known_ids for name in (identifier, f"[{identifier}]")} | set(known_ids)
    by_meaning: dict[tuple[str, Statistic, str | None], Series] = {}
    cells = measurements.cells
    for series in measurements.series:
        identifier = _identified(series, ids, names or {})
        shown = series if cells is None else replace(series, statistic="value")
        where = f"{measurements.source}: column {shown.column!r}"
        if not identifier:
            raise TableError(f"{where} matches nothing in the model; {_hint(shown, ids, known_ids)}")
        other = by_meaning.setdefault((identifier, series.statistic, series.replicate), series)
        if other is not series:
            raise TableError(f"{where} and column {other.column!r} are both of {identifier!r}; remove one of them")
    if cells is not None:
        meant = {s.observable: key[0] for key, s in by_meaning.items()}
        cells = replace(cells, observables=tuple(meant.get(name, name) for name in cells.observables))
    series_of_ids = tuple(replace(s, observable=key[0]) for key, s in by_meaning.items())
    return replace(measurements, series=series_of_ids, cells=cells)


def _identified(series: Series, ids: Collection[str], names: Mapping[str, Collection[str]]) -> str:
    """The id of an observable, two with a colon for a covariance; "" where there is none."""
    whole = series.observable if series.observable in ids else _named(series.observable, names)
    if series.statistic != "cov" and (whole or series.statistic != "n"):
        return whole
    every = [part if part in ids else _named(part, names) for part in factors(series.observable)]
    return ":".join(every) if len(every) == 2 and all(every) else ""


def _named(observable: str, names: Mapping[str, Collection[str]]) -> str:
    """The id of what has this name, in brackets where the name is; "" where there is none, or there are several."""
    bracketed = observable.startswith("[") and observable.endswith("]")
    identifiers = names.get(observable[1:-1] if bracketed else observable, ())
    if len(identifiers) != 1:
        return ""
    (identifier,) = identifiers
    return f"[{identifier}]" if bracketed else identifier


def _hint(series: Series, ids: Collection[str], known_ids: Collection[str]) -> str:
    columns = [column(name, statistic) for name in sorted(ids) for statistic in ("value", "mean", "sd")]
    close = difflib.get_close_matches(series.column, columns, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"it has {listing(sorted(known_ids))}"
    return f"{hint}; rename the column or remove it"


def write_table(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write the columns of a DataFrame as CSV, completely or not at all; raises :class:`SbmlgradError`."""
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def _are_cells(layout: Layout, times: np.ndarray, values: Mapping[int, np.ndarray]) -> bool:
    """Whether rows are single cells: values without labels, of which most times have several that differ."""
    if layout.label is not None or any(statistic != "value" for _, _, statistic in layout.measured):
        return False
    grid, index = np.unique(times, return_inverse=True)
    several = np.zeros(len(grid), bool)
    for position, _, _ in layout.measured:
        here = ~np.isnan(values[position])
        low, high = np.full(len(grid), np.inf), np.full(len(grid), -np.inf)
        np.minimum.at(low, index[here], values[position][here])
        np.maximum.at(high, index[here], values[position][here])
        several |= high > low
    return bool(2 * several.sum() > len(grid))


# ---- rows ----------------------------------------------------------------------------------------------


def _labels(table: Table, position: int | None, kind: str) -> list[str | None]:
    if position is None:
        return [None] * len(table.rows)
    for row, cells in enumerate(table.rows):
        if cells[position] == "":
            raise table.error(row, position, f"it is blank; say which {kind} the row belongs to")
    return [label_of(cells[position]) for cells in table.rows]


def _without_repeats(
    table: Table,
    position: int,
    times: np.ndarray,
    values: np.ndarray,
    rows: Sequence[int],
    statistic: Statistic,
    label: str | None,
) -> list[int]:
    """The rows, in order of time, with one for each time; raises where two rows of a time disagree."""
    kept: list[int] = []
    for row in rows:
        if not kept or times[row] != times[kept[-1]]:
            kept.append(row)
        elif values[row] != values[kept[-1]]:
            raise table.error(
                row,
                position,
                f"time {times[row]:g} is there twice, with {values[kept[-1]]:g} ({table.locations[kept[-1]]}) "
                f"and {values[row]:g}; {_remedy(table.header[position], statistic, label)}",
            )
    return kept


def _remedy(name: str, statistic: Statistic, label: str | None) -> str:
    if statistic != "value":
        return "keep one row for each time"
    if label is not None:
        return f"keep one row for each time of trajectory {label!r}"
    return f"keep one of them, or number tracked trajectories of {name!r} in a column 'replicate'"
