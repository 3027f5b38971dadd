"""Measurements over time, from a CSV file or a DataFrame.

A table has a column ``time`` and a column for each thing measured: an id as it is (``S``, ``[S]``) for one
trajectory, or ``S-mean`` and ``S-sd`` for the moments of many; ``S-sem``, ``S-n`` and ``S-error`` say how exact a mean
or value is. A column ``replicate`` or ``cell`` says which of several tracked trajectories a row belongs to. Blank cells
are missing values.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sbmlgrad.errors import TableError
from sbmlgrad.files import write_text
from sbmlgrad.headers import column
from sbmlgrad.tables import numbers
from sbmlgrad.tables.cells import Table, of_frame, read_file
from sbmlgrad.tables.columns import Layout, Statistic, listing


@dataclass(frozen=True, eq=False)
class Series:
    """One thing measured over time: ``values`` (m,) at increasing ``times`` (m,), without missing values.

    Attributes
    ----------
    observable, statistic
        The id (``[S]`` for a concentration), and what the values are: its own, means (``mean``) or standard deviations
        (``sd``) of many, standard errors of means (``sem``), cells behind a mean (``n``), or measurement errors, one
        standard deviation of the value or mean (``error``).
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


@dataclass(frozen=True)
class Measurements:
    """What a table says, one series a column (and trajectory); ``source`` is the path, for messages."""

    source: str
    series: tuple[Series, ...]


def read_measurements(data: str | os.PathLike[str] | pd.DataFrame) -> Measurements:
    """Read a table of trajectories (``time,S``) or moments (``time,S-mean,S-sd``).

    Parameters
    ----------
    data
        The path of a table as COPASI, tellurium, R, pandas or Excel export it (see
        :mod:`sbmlgrad.tables.cells`), or a DataFrame with ``time`` as a column or index. Rows may come in any order,
        and identical ones count once.

    Raises
    ------
    TableError
        for what is not such a table; the message names file, line, column and remedy.
    """
    table = of_frame(data) if isinstance(data, pd.DataFrame) else read_file(os.fspath(data))
    layout = Layout.of(table)
    if not table.rows:
        raise TableError(f"{table.source}: there are no rows under the columns' names; add one for each time")
    times, labels = numbers.times(table, layout), _labels(table, layout)
    values = numbers.values(table, layout)
    trajectories: dict[str | None, list[int]] = {}
    for row in np.argsort(times, kind="stable").tolist():
        trajectories.setdefault(labels[row], []).append(row)
    series = []
    for position, observable, statistic in layout.measured:
        for label in dict.fromkeys(labels):  # in the order of the file
            rows = [row for row in trajectories[label] if not math.isnan(values[position][row])]
            kept = _without_repeats(table, position, times, values[position], rows, statistic, label)
            if kept:
                behind = 1 if statistic == "value" else None
                series.append(Series(observable, statistic, times[kept], values[position][kept], behind, label))
    if not series:
        raise TableError(
            f"{table.source}: all cells beside {table.header[layout.time]!r} are blank; fill in what was measured"
        )
    return Measurements(table.source, tuple(series))


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
    for series in measurements.series:
        identifier = series.observable if series.observable in ids else _named(series.observable, names or {})
        where = f"{measurements.source}: column {series.column!r}"
        if identifier not in ids:
            raise TableError(f"{where} matches nothing in the model; {_hint(series, ids, known_ids)}")
        other = by_meaning.setdefault((identifier, series.statistic, series.replicate), series)
        if other is not series:
            raise TableError(f"{where} and column {other.column!r} are both of {identifier!r}; remove one of them")
    return replace(measurements, series=tuple(replace(s, observable=key[0]) for key, s in by_meaning.items()))


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


# ---- rows ----------------------------------------------------------------------------------------------


def _labels(table: Table, layout: Layout) -> list[str | None]:
    if layout.label is None:
        return [None] * len(table.rows)
    position = layout.label
    for row, cells in enumerate(table.rows):
        if cells[position] == "":
            raise table.error(row, position, "it is blank; say which trajectory the row belongs to")
    return [_label(cells[position]) for cells in table.rows]


def _label(cell: Hashable) -> str:
    # pandas turns whole numbers into floats where a cell of the column was blank
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


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
    bare = name.removesuffix("-value")
    return (
        "keep one of them, or number tracked trajectories in a column 'replicate'; snapshots of single cells "
        f"cannot be read yet: give their moments as '{bare}-mean' and '{bare}-sd'"
    )
