"""The table of conditions: what was done in each experiment, and when.

Columns are ``condition``, ``time`` if anything changes on the way, and ids (``k1``, ``S``, ``[S]``, compartments) with
their values; blank means as before. Several rows of a condition are its periods, by time; blank is the start, and -inf
what held for so long before it that the model had come to rest.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from sbmlgrad.errors import TableError
from sbmlgrad.tables import numbers
from sbmlgrad.tables.cells import Table, is_time, label_of, of_frame, read_file


@dataclass(frozen=True)
class Change:
    """The text or number of a cell, and the words for where it stands."""

    value: float | str
    where: str


@dataclass(frozen=True)
class ConditionRow:
    """What changes at a time, by id; a time of None is the start, one of minus infinity long before it."""

    time: float | None
    changes: Mapping[str, Change]


@dataclass(frozen=True)
class Conditions:
    """The periods of each condition, by its name; ``source`` is the path of the table."""

    source: str
    periods: Mapping[str, tuple[ConditionRow, ...]]


def read_conditions(data: str | os.PathLike[str] | pd.DataFrame) -> Conditions:
    """Read a table of conditions.

    Raises
    ------
    TableError
        for what is no such table; the message names file, line, column and remedy.
    """
    table = (
        replace(of_frame(data), source="conditions") if isinstance(data, pd.DataFrame) else read_file(os.fspath(data))
    )
    label, time, ids = _columns(table)
    rows: dict[str, dict[float | None, dict[str, Change]]] = {}
    times = [math.nan if time is None else _time(table, row, time) for row in range(len(table.rows))]
    for row, cells in enumerate(table.rows):
        name = label_of(cells[label])
        if not name:
            raise table.error(row, label, "it is blank; name the condition")
        at = None if math.isnan(times[row]) else times[row]
        periods = rows.setdefault(name, {})
        if at in periods:
            when = "the start" if at is None else f"time {at:g}"
            raise table.error(row, label, f"{name!r} has two rows for {when}; put them in one, or give a time")
        periods[at] = {
            header: Change(_value(table, row, i), f"{table.source}: {table.locations[row]}, column {header!r}")
            for i, header in ids
            if not numbers.is_missing(cells[i])
        }
    ordered = {
        name: tuple(ConditionRow(at, periods[at]) for at in sorted(periods, key=_order))
        for name, periods in rows.items()
    }
    return Conditions(table.source, ordered)


def _columns(table: Table) -> tuple[int, int | None, list[tuple[int, str]]]:
    """The positions of the name and of the time, and (position, id) of the rest."""
    labels = [i for i, name in enumerate(table.header) if name == "condition"]
    if len(labels) != 1:
        raise TableError(
            f"{table.source}: a table of conditions needs one column 'condition', which names them; then come 'time' "
            "if anything changes on the way, and the ids that change"
        )
    times = [i for i, name in enumerate(table.header) if is_time(name)]
    if len(times) > 1:
        raise TableError(f"{table.source}: there are two columns of time; remove one of them")
    ids = [(i, name) for i, name in enumerate(table.header) if i not in (*labels, *times)]
    for i, name in ids:
        if not name:
            raise TableError(f"{table.source}: column {i + 1} has no name; name what it changes, or remove it")
        if table.header.index(name) != i:
            raise TableError(f"{table.source}: there are two columns {name!r}; remove one of them")
    if not ids:
        raise TableError(f"{table.source}: no column names anything that changes; add one for each id")
    if not table.rows:
        raise TableError(f"{table.source}: there are no rows under the columns' names; add one for each condition")
    return labels[0], times[0] if times else None, ids


def _time(table: Table, row: int, column: int) -> float:
    """A time, minus infinity, or nan where it is blank."""
    cell = table.rows[row][column]
    if numbers.as_number(table, cell) == -math.inf:
        return -math.inf
    return numbers.column_number(table, row, column)


def _order(time: float | None) -> tuple[int, float]:
    """Minus infinity, the start, and the times after it."""
    return (1, 0.0) if time is None else (0, 0.0) if time == -math.inf else (2, time)


def _value(table: Table, row: int, column: int) -> float | str:
    """A number, or the text of a formula."""
    cell = table.rows[row][column]
    value = numbers.as_number(table, cell)
    if math.isinf(value) or (math.isnan(value) and not isinstance(cell, str)):
        raise table.error(row, column, f"{cell!r} is no finite number; correct it, or leave it blank")
    return str(cell).strip() if math.isnan(value) else value
