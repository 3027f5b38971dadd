"""The cells of a table, from a file as other programs export it or from a DataFrame.

Read are commas, semicolons, tabs and blanks between cells; comment lines, which begin with ``#``, as the line of names
may too (COPASI, numpy); Excel's first line ``sep=;`` and its encodings; the row numbers that pandas and R put first.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sbmlgrad.errors import TableError
from sbmlgrad.files import read_bytes

_SEPARATORS = ",;\t"  # what spreadsheets export under the name of CSV
_DIRECTIVE = re.compile(r'\s*"?sep=(.)"?\s*')
_REPORT = "Time-Course Result:"  # COPASI says before how it simulated
_NUMBERED = re.compile(r"(Unnamed: 0)?")  # what pandas calls a column of row numbers when it reads its own table
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class Table:
    """Names of the columns, and rows of as many cells, each with the words for where it stands.

    Cells are text, "" where blank, or whatever a DataFrame holds. ``decimal_comma`` says that a comma between digits
    is a decimal one, since it cannot separate cells.
    """

    source: str
    header: list[str]
    rows: list[Sequence[Any]]
    locations: list[str]
    decimal_comma: bool = False

    def error(self, row: int, column: int, problem: str) -> TableError:
        """The error for one cell."""
        return TableError(f"{self.source}: {self.locations[row]}, column {self.header[column]!r}: {problem}")


def is_time(name: str) -> bool:
    """Whether a column is the time: ``time``, ``Time`` (COPASI), ``# time`` (numpy)."""
    return name.lstrip("# ").casefold() == "time"


def label_of(cell: Hashable) -> str:
    """A label as text."""
    # pandas turns whole numbers into floats where a cell of the column was blank
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


# ---- files ---------------------------------------------------------------------------------------------


def read_file(path: str) -> Table:
    """The cells of a file; raises :class:`TableError` for what is no table."""
    try:
        lines = list(io.StringIO(_decoded(read_bytes(path), path), newline=None))
        head = _head(lines, path)
        header, rows = _rows(lines, head, path)
    except FileNotFoundError:
        raise TableError(f"{path}: there is no such file; give the path of a table of measurements") from None
    except IsADirectoryError:
        raise TableError(f"{path}: this is a folder; give the path of a table in it") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path}: this is not CSV ({error}); export the table as CSV in UTF-8") from None
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read ({error}); check its name and permissions") from None
    cells = [_fitted(row, header, path) for row in rows]
    named = [i for i, name in enumerate(header) if name or any(row[i] for row in cells)]  # spreadsheets add empty ones
    named = named[_numbers_rows([header[i] for i in named]) :]
    return Table(
        path,
        [header[i] for i in named],
        [[row[i] for i in named] for row in cells],
        [f"line {row.line}" for row in rows],
        decimal_comma=head.separator != ",",
    )


def _decoded(content: bytes, path: str) -> str:
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    if encoding != "utf-16" and b"\0" in content:
        raise TableError(f"{path}: this is not CSV (it holds zero bytes); export the table as CSV in UTF-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        # Excel's CSV is in the code page of Windows; ids are the same letters in either, only comments differ
        return content.decode("cp1252")


@dataclass(frozen=True)
class _Head:
    """The line that names the columns: its number among the lines, its text, and what separates cells."""

    number: int
    text: str
    separator: str


def _head(lines: Sequence[str], path: str) -> _Head:
    """The first line that is no comment, or else a comment before it that names a column ``time``."""
    separator, commented = None, None
    begin = next((number + 1 for number, line in enumerate(lines) if line.strip() == _REPORT), 0)
    for number, line in enumerate(lines[begin:], start=begin):
        text = line.strip(" \n")
        directive = _DIRECTIVE.fullmatch(line.rstrip("\n"))
        if directive and separator is None:
            separator = directive[1]
        elif text.startswith("#"):
            text = text.lstrip("# ")
            commented = _named(number, text, separator) or commented
        elif text.strip(_SEPARATORS + " "):
            return _named(number, text, separator) or commented or _Head(number, text, separator or _separator(text))
    if commented is None:
        raise TableError(f"{path}: the file is empty; its first line must name the columns, as in 'time,S'")
    return commented


def _named(number: int, text: str, separator: str | None) -> _Head | None:
    separator = separator or _separator(text)
    names = [name.strip(' "') for name in text.split(separator)]
    return _Head(number, text, separator) if len(names) > 1 and any(map(is_time, names)) else None


def _separator(text: str) -> str:
    """What separates the names of the columns: blanks only where there is nothing else."""
    separator = max(_SEPARATORS, key=text.count)
    return separator if separator in text else " "


@dataclass(frozen=True)
class _Row:
    """Cells of a row, with the number of its line, and whether the first of them is in quotes."""

    line: int
    cells: list[str]
    quoted: bool


def _rows(lines: Sequence[str], head: _Head, path: str) -> tuple[list[str], list[_Row]]:
    """The names of the columns, and all rows that are neither blank nor comments."""
    # a comment becomes a blank line, so that lines keep their numbers
    below = ["\n" if line.lstrip().startswith("#") else line for line in lines[head.number + 1 :]]
    reader = csv.reader([head.text, *below], delimiter=head.separator, skipinitialspace=True, strict=True)
    header = [name.strip() for name in next(reader)]
    rows = []
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        if any(stripped):
            line = head.number + reader.line_num
            rows.append(_Row(line, stripped, lines[line - 1].lstrip().startswith('"')))
    for number, text in enumerate(lines[head.number + 1 :], start=head.number + 2):
        if text.lstrip().startswith("#"):
            _check_comment(text, header, head.separator, f"{path}: line {number}")
    # R's write.table names its rows, in quotes, but not the column of their names
    if rows and all(row.quoted and len(row.cells) == len(header) + 1 for row in rows):
        rows = [_Row(row.line, row.cells[1:], False) for row in rows]
    return header, rows


def _check_comment(line: str, header: Sequence[str], separator: str, number: str) -> None:
    """Raise for a line that begins with ``#`` and may be a row: a trajectory can be called ``#1``."""
    cells = [cell.strip() for cell in line.strip().split(separator)]
    times = [i for i, name in enumerate(header) if is_time(name)]
    if len(cells) == len(header) and times and times[0] > 0 and re.fullmatch(r"[-+.,\deE]+", cells[times[0]]):
        raise TableError(
            f"{number}, column {header[0]!r}: {cells[0]!r} may be a name or begin a comment; "
            "put it in quotes, or write '# ' before a comment and no row in it"
        )


def _fitted(row: _Row, header: Sequence[str], path: str) -> list[str]:
    """As many cells as there are columns; blank ones at the end of a row, and columns without a name, come and go."""
    cells, width = row.cells, len(header)
    if len(cells) == width:
        return cells
    if (len(cells) > width and any(cells[width:])) or (len(cells) < width and any(header[len(cells) :])):
        raise TableError(
            f"{path}: line {row.line} has {len(cells)} cells, but there are {width} columns; "
            "leave a cell blank where a value is missing"
        )
    return [*cells[:width], *[""] * (width - len(cells))]


def _numbers_rows(header: Sequence[str]) -> bool:
    """Whether the first column is that of row numbers, which pandas and R write without a name."""
    return bool(header) and bool(_NUMBERED.fullmatch(header[0])) and any(map(is_time, header[1:]))


# ---- DataFrames ----------------------------------------------------------------------------------------


def of_frame(frame: pd.DataFrame) -> Table:
    """The cells of a DataFrame, with its index where that holds the time."""
    columns = [(str(name).strip(), frame.iloc[:, i].tolist()) for i, name in enumerate(frame.columns)]
    named = [(i, str(name)) for i, name in enumerate(frame.index.names) if name is not None]
    levels = [(name, frame.index.get_level_values(i).tolist()) for i, name in named]
    if any(is_time(name) for name, _ in levels):
        columns = [*levels, *(_beside(column, dict(levels)) for column in columns if column not in levels)]
    columns = columns[_numbers_rows([name for name, _ in columns]) :]
    rows: list[Sequence[Any]]
    rows = [["" if _is_missing(cell) else cell for cell in row] for row in zip(*(c for _, c in columns), strict=True)]
    return Table("table", [name for name, _ in columns], rows, [f"row {label}" for label in frame.index])


def _beside(column: tuple[str, list[Any]], levels: dict[str, list[Any]]) -> tuple[str, list[Any]]:
    """A column beside an index of its name, as simulation gives for a species called ``time``, is a value."""
    name, cells = column
    return (f"{name}-value" if name in levels else name), cells


def _is_missing(cell: Any) -> bool:
    return cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and math.isnan(cell))
