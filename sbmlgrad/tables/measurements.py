"""Measurements over time, from a CSV file or a DataFrame.

A table has a column ``time`` and a column for each thing measured: an id as it is (``S``, ``[S]``) for one
trajectory, or ``S-mean`` and ``S-sd`` for the moments of many. A column ``replicate`` or ``cell`` says which
of several tracked trajectories a row belongs to. Blank cells are missing values.
"""

from __future__ import annotations

import csv
import difflib
import math
import os
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from sbmlgrad.errors import TableError
from sbmlgrad.files import write_text

Statistic = Literal["value", "mean", "sd"]

_LABELS = ("replicate", "cell")
_SEPARATORS = ",;\t"  # what spreadsheets export under the name of CSV
_MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class Series:
    """One thing measured over time: ``values`` (m,) at increasing ``times`` (m,), without missing values.

    Attributes
    ----------
    observable, statistic
        The id (``[S]`` for a concentration), and whether the values are its own, its means or its sds.
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
        return self.observable if self.statistic == "value" else f"{self.observable}-{self.statistic}"


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
        The path of a CSV file (separated by commas, semicolons or tabs), or a DataFrame with ``time`` as a
        column or index. Rows may come in any order, and identical ones count once.

    Raises
    ------
    TableError
        for what is not such a table; the message names file, line, column and remedy.
    """
    table = _of_frame(data) if isinstance(data, pd.DataFrame) else _read_csv(os.fspath(data))
    layout = _Layout.of(table)
    if not table.rows:
        raise TableError(f"{table.source}: there are no rows under the columns' names; add one for each time")
    times, labels = _times(table, layout), _labels(table, layout)
    trajectories: dict[str | None, list[int]] = {}
    for row in np.argsort(times, kind="stable").tolist():
        trajectories.setdefault(labels[row], []).append(row)
    series = []
    for place, observable, statistic in layout.measured:
        values = _values(table, place, statistic)
        for label in dict.fromkeys(labels):  # in the order of the file
            rows = [row for row in trajectories[label] if not math.isnan(values[row])]
            kept = _without_repeats(table, place, times, values, rows, statistic, label)
            if kept:
                behind = 1 if statistic == "value" else None
                series.append(Series(observable, statistic, times[kept], values[kept], behind, label))
    if not series:
        raise TableError(f"{table.source}: all cells beside 'time' are blank; fill in what was measured")
    return Measurements(table.source, tuple(series))


def match(measurements: Measurements, known_ids: Collection[str]) -> None:
    """Raise :class:`TableError` for a column that measures nothing in the model.

    ``known_ids`` are the ids that can be looked at; ``[S]`` is known where ``S`` is.
    """
    known = {name for identifier in known_ids for name in (identifier, f"[{identifier}]")} | set(known_ids)
    for series in measurements.series:
        if series.observable in known:
            continue
        names = [f"{name}{suffix}" for name in sorted(known) for suffix in ("", "-mean", "-sd")]
        close = difflib.get_close_matches(series.column, names, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"it has {_listing(sorted(known_ids))}"
        raise TableError(
            f"{measurements.source}: column {series.column!r} matches nothing in the model; {hint}; "
            "rename the column or remove it"
        )


def write_table(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write the columns of a DataFrame as CSV, completely or not at all; raises :class:`SbmlgradError`."""
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


# ---- cells ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """Names of the columns, and rows of as many cells, each with the words for where it stands."""

    source: str
    header: list[str]
    rows: list[Sequence[Any]]
    places: list[str]

    def error(self, row: int, column: int, problem: str) -> TableError:
        return TableError(f"{self.source}: {self.places[row]}, column {self.header[column]!r}: {problem}")


def _read_csv(path: str) -> _Table:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(_lines(file))
    except FileNotFoundError:
        raise TableError(f"{path}: there is no such file; give the path of a table of measurements") from None
    except IsADirectoryError:
        raise TableError(f"{path}: this is a folder; give the path of a table in it") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path}: this is not CSV ({error}); export the table as CSV in UTF-8") from None
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read ({error}); check its name and permissions") from None
    if not lines:
        raise TableError(f"{path}: the file is empty; its first line must name the columns, as in 'time,S'")
    header, rows = lines[0][1], lines[1:]
    for line, cells in rows:
        if len(cells) != len(header):
            raise TableError(
                f"{path}: line {line} has {len(cells)} cells, but there are {len(header)} columns; "
                "leave a cell blank where a value is missing"
            )
    named = [i for i, name in enumerate(header) if name or any(cells[i] for _, cells in rows)]
    return _Table(
        path,
        [header[i] for i in named],  # spreadsheets add empty columns
        [[cells[i] for i in named] for _, cells in rows],
        [f"line {line}" for line, _ in rows],
    )


def _lines(file: Any) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells of all lines that are not blank."""
    first = next((line for line in file if line.strip()), "")
    separator = max(_SEPARATORS, key=first.count)
    file.seek(0)
    reader = csv.reader(file, delimiter=separator, strict=True)
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        if any(stripped):
            yield reader.line_num, stripped


def _of_frame(frame: pd.DataFrame) -> _Table:
    if "time" not in frame.columns and "time" in frame.index.names:
        frame = frame.reset_index()
    columns = [frame.iloc[:, i].tolist() for i in range(frame.shape[1])]
    cells: list[Sequence[Any]]
    cells = [["" if _is_missing(cell) else cell for cell in row] for row in zip(*columns, strict=True)]
    header = [str(name).strip() for name in frame.columns]
    return _Table("table", header, cells, [f"row {label}" for label in frame.index])


def _is_missing(cell: Any) -> bool:
    return cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and math.isnan(cell))


# ---- columns -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layout:
    """Which column is what: time, label of the trajectory, and (place, observable, statistic) of the rest."""

    time: int
    label: int | None
    measured: list[tuple[int, str, Statistic]]

    @classmethod
    def of(cls, table: _Table) -> _Layout:
        header = table.header
        for place, name in enumerate(header):
            if not name:
                raise TableError(f"{table.source}: column {place + 1} has no name; name it or remove it")
            if name in header[:place]:
                raise TableError(f"{table.source}: there are two columns {name!r}; rename or remove one")
        if "time" not in header:
            raise _no_time(table)
        if "condition" in header:
            raise TableError(
                f"{table.source}: column 'condition': several conditions in one table cannot be fitted yet; "
                "give the rows of one condition, without that column"
            )
        labels = [name for name in _LABELS if name in header]
        if len(labels) > 1:
            raise TableError(
                f"{table.source}: columns 'replicate' and 'cell' both number trajectories; remove one of them"
            )
        measured = [(place, *_meaning(name)) for place, name in enumerate(header) if name not in ("time", *labels)]
        if not measured:
            raise TableError(
                f"{table.source}: there is no column beside 'time'; add one for each id that was measured, "
                "such as S or S-mean"
            )
        _check_kinds(table, measured, labels)
        return cls(header.index("time"), header.index(labels[0]) if labels else None, measured)


def _meaning(name: str) -> tuple[str, Statistic]:
    observable, _, suffix = name.rpartition("-")
    if observable and suffix == "mean":
        return observable, "mean"
    if observable and suffix == "sd":
        return observable, "sd"
    return name, "value"


def _check_kinds(table: _Table, measured: list[tuple[int, str, Statistic]], labels: list[str]) -> None:
    single = {observable for _, observable, statistic in measured if statistic == "value"}
    for place, observable, statistic in measured:
        if statistic == "value":
            continue
        column = table.header[place]
        if observable in single:
            raise TableError(
                f"{table.source}: columns {observable!r} and {column!r}: one is a trajectory, the other a "
                "moment of many; keep one of them"
            )
        if labels:
            raise TableError(
                f"{table.source}: column {column!r} is a moment of many trajectories, but {labels[0]!r} "
                "marks single ones; remove one of the two"
            )


def _no_time(table: _Table) -> TableError:
    similar = [name for name in table.header if name.lower().startswith("time") or name.lower() == "t"]
    if similar:
        return TableError(f"{table.source}: there is no column 'time'; rename {similar[0]!r} to 'time'")
    return TableError(
        f"{table.source}: there is no column 'time' among {_listing(table.header)}; the first line must name "
        "the columns, one of them 'time'"
    )


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"


# ---- values --------------------------------------------------------------------------------------------


def _times(table: _Table, layout: _Layout) -> np.ndarray:
    times = _numbers(table, layout.time)
    for row, time in enumerate(times):
        if math.isnan(time):
            raise table.error(row, layout.time, "there is no time; fill it in or remove the row")
        if time < 0:
            raise table.error(row, layout.time, f"time {time:g} is negative; count time from 0")
    return times


def _labels(table: _Table, layout: _Layout) -> list[str | None]:
    if layout.label is None:
        return [None] * len(table.rows)
    place = layout.label
    for row, cells in enumerate(table.rows):
        if cells[place] == "":
            raise table.error(row, place, "it is blank; say which trajectory the row belongs to")
    return [_label(cells[place]) for cells in table.rows]


def _label(cell: Hashable) -> str:
    # pandas turns whole numbers into floats where a cell of the column was blank
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _values(table: _Table, place: int, statistic: Statistic) -> np.ndarray:
    values = _numbers(table, place)
    if statistic == "sd":
        for row in np.flatnonzero(values < 0).tolist():
            problem = f"{values[row]:g} is negative, which no standard deviation is; correct it"
            raise table.error(row, place, problem)
    return values


def _numbers(table: _Table, place: int) -> np.ndarray:
    """The numbers of a column (rows,), nan where blank."""
    return np.array([_number(table, row, place, cells[place]) for row, cells in enumerate(table.rows)])


def _number(table: _Table, row: int, place: int, cell: Any) -> float:
    if cell == "":
        return math.nan
    try:
        value = math.nan if isinstance(cell, str) and "_" in cell else float(cell)  # Python reads 1_000
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        what = "finite number" if math.isinf(value) else "number"
        problem = f"{_shortened(str(cell))!r} is not a {what}; write one with a decimal point"
        raise table.error(row, place, f"{problem}, or leave the cell blank if the value is missing")
    return value


def _shortened(text: str, most: int = 40) -> str:
    return text if len(text) <= most else text[:most] + "..."


def _without_repeats(
    table: _Table,
    place: int,
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
                place,
                f"time {times[row]:g} is there twice, with {values[kept[-1]]:g} ({table.places[kept[-1]]}) "
                f"and {values[row]:g}; {_remedy(table.header[place], statistic, label)}",
            )
    return kept


def _remedy(column: str, statistic: Statistic, label: str | None) -> str:
    if statistic != "value":
        return "keep one row for each time"
    if label is not None:
        return f"keep one row for each time of trajectory {label!r}"
    return (
        "keep one of them, or number tracked trajectories in a column 'replicate'; snapshots of single cells "
        f"cannot be read yet: give their moments as '{column}-mean' and '{column}-sd'"
    )
