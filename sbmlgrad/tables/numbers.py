"""From the cells of a table to numbers, with an error that names line, column and remedy for what is none."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from sbmlgrad.tables.cells import Table
from sbmlgrad.tables.columns import Layout, Statistic

_MISSING = {"", "nan", "na", "n/a", "#n/a", "<na>", "null", "none"}  # in any case, as pandas has them
_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
_POINT = re.compile(r"[-+]?(\d+\.\d*|\.\d+)([eE][-+]?\d+)?")
_FORTRAN = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))[dD]([-+]?\d+)")
_KINDS: dict[Statistic, str] = {"sd": "standard deviation", "sem": "standard error", "error": "measurement error"}
_LARGEST = 1e100  # number whose square, times others like it, floats still hold
_MOST_CELLS = 1e15  # beyond, floats do not hold all whole numbers
_SLACK = 0.05  # relative, beside the rounding of the digits that are written


def times(table: Table, layout: Layout) -> np.ndarray:
    """The times (rows,), all of them there and none negative."""
    numbers = column_numbers(table, layout.time)
    for row, time in enumerate(numbers):
        if math.isnan(time):
            raise table.error(row, layout.time, "there is no time; fill it in or remove the row")
        if time < 0:
            raise table.error(row, layout.time, f"time {time:g} is negative; count time from 0")
    return numbers


def values(table: Table, layout: Layout) -> dict[int, np.ndarray]:
    """The numbers (rows,) of each measured column by its index, nan where missing, checked for what they mean."""
    _check_decimals(table, [layout.time, *(column for column, _, _ in layout.measured)])
    numbers = {column: column_numbers(table, column) for column, _, _ in layout.measured}
    for column, _, statistic in layout.measured:
        _check_range(table, column, statistic, numbers[column])
    by_observable: dict[str, dict[Statistic, int]] = {}
    for column, observable, statistic in layout.measured:
        by_observable.setdefault(observable, {})[statistic] = column
    for columns in by_observable.values():
        _check_agreement(table, columns, numbers)
    return numbers


def column_numbers(table: Table, column: int) -> np.ndarray:
    """The numbers of a column (rows,), nan where missing."""
    return np.array([column_number(table, row, column) for row in range(len(table.rows))])


def column_number(table: Table, row: int, column: int) -> float:
    """The number in a row of a column, nan where missing; raises :class:`TableError` for what is no finite number."""
    cell = table.rows[row][column]
    if is_missing(cell):
        return math.nan
    value = as_number(table, cell)
    if not math.isfinite(value):
        what = "finite number" if math.isinf(value) else "number"
        problem = f"{_shortened(str(cell))!r} is not a {what}; write one with a decimal point"
        raise table.error(row, column, f"{problem}, or leave the cell blank if the value is missing")
    return value


def is_missing(cell: Any) -> bool:
    """Whether a cell says that there is no value."""
    return isinstance(cell, str) and cell.strip().lower() in _MISSING


def is_word(table: Table, cell: Any) -> bool:
    """Whether a cell holds neither a number nor a missing one."""
    return isinstance(cell, str) and not is_missing(cell) and math.isnan(as_number(table, cell))


def as_number(table: Table, cell: Any) -> float:
    """The number in a cell, with the table's decimal commas and Fortran's exponents; nan where it is none."""
    value = _as_float(cell)
    if isinstance(cell, str) and not math.isfinite(value):
        text = cell.strip()
        if table.decimal_comma and _COMMA.fullmatch(text):
            value = _as_float(text.replace(",", "."))
        elif match := _FORTRAN.fullmatch(text):
            value = _as_float(f"{match[1]}e{match[2]}")
    return value


def _as_float(cell: Any) -> float:
    """The number that Python reads, nan where it reads none; not 1_000."""
    try:
        return math.nan if isinstance(cell, str) and "_" in cell else float(cell)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _shortened(text: str, most: int = 40) -> str:
    return text if len(text) <= most else text[:most] + "..."


# ---- what numbers mean ---------------------------------------------------------------------------------


def _check_decimals(table: Table, columns: Sequence[int]) -> None:
    """Raise where commas and points are both used, one of which must separate thousands."""
    if not table.decimal_comma:
        return
    cells = [(row, column, str(cells[column])) for row, cells in enumerate(table.rows) for column in columns]
    comma = next((item for item in cells if _COMMA.fullmatch(item[2])), None)
    point = next((item for item in cells if _POINT.fullmatch(item[2])), None)
    if comma and point:
        row, column, text = comma
        where = f"{table.locations[point[0]]}, column {table.header[point[1]]!r}"
        problem = f"{text!r} has a comma, but {point[2]!r} ({where}) a point; write all numbers with a decimal point"
        raise table.error(row, column, problem)


def _check_range(table: Table, column: int, statistic: Statistic, numbers: np.ndarray) -> None:
    for row, number in enumerate(numbers.tolist()):
        if abs(number) > _LARGEST or (statistic in _KINDS and 0 < number < 1 / _LARGEST):
            bound = f"above {_LARGEST:g}" if abs(number) > 1 else f"below {1 / _LARGEST:g}"
            problem = f"{number:g} is {bound}, so that its square is no number; correct it, or take another unit"
            raise table.error(row, column, problem)
        if statistic == "n" and number > _MOST_CELLS:
            problem = f"{number:g} is more cells than there can be; correct it"
            raise table.error(row, column, problem)
        if statistic in _KINDS and number < 0:
            problem = f"{number:g} is negative, which no {_KINDS[statistic]} is; correct it"
            raise table.error(row, column, problem)
        if statistic == "resolution" and number <= 0:
            problem = f"{number:g} is no resolution, which is the shortest time that is seen; give one above 0"
            raise table.error(row, column, problem)
        if statistic == "n" and (number < 1 or (not math.isnan(number) and not number.is_integer())):
            problem = f"{number:g} is no number of cells, which is whole and at least 1; correct it"
            raise table.error(row, column, problem)


def _check_agreement(table: Table, columns: Mapping[Statistic, int], numbers: Mapping[int, np.ndarray]) -> None:
    """Raise where a standard error of the mean is not the standard deviation over the root of the cells."""
    if not {"sd", "sem", "n"} <= columns.keys():
        return
    sd, sem, n = columns["sd"], columns["sem"], columns["n"]
    for row, cells in enumerate(table.rows):
        root = math.sqrt(numbers[n][row])
        expected, given = float(numbers[sd][row]) / root, float(numbers[sem][row])
        rounding = _last_digit(cells[sem], table.decimal_comma) + _last_digit(cells[sd], table.decimal_comma) / root
        if abs(given - expected) > _SLACK * expected + rounding / 2:
            problem = (
                f"{given:g} is not {numbers[sd][row]:g} ({table.header[sd]}) over the root of {numbers[n][row]:g} "
                f"({table.header[n]}), which is {expected:.3g}; correct one of the three or remove it"
            )
            raise table.error(row, sem, problem)


def _last_digit(cell: Any, decimal_comma: bool) -> float:
    """The unit of the last digit that a number is written with: 0.01 for ``0.25``."""
    text = str(cell).replace(",", ".") if decimal_comma else str(cell)
    try:
        exponent = Decimal(text).as_tuple().exponent
    except InvalidOperation:
        return 0.0
    return 10.0**exponent if isinstance(exponent, int) else 0.0
