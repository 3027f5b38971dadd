"""What semantic and stochastic cases share: a folder of files, the settings of a run, and how a case ended."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from sbmlgrad.errors import TableError, UnsupportedError

Kind = Literal["semantic", "stochastic"]
Status = Literal["passed", "failed", "skipped"]
Moment = Literal["mean", "sd"]

# Newest first; each pair is an SBML level and a version of it.
LEVELS = ((3, 2), (3, 1), (2, 5), (2, 4), (2, 3), (2, 2), (2, 1), (1, 2))


@dataclass(frozen=True)
class CaseResult:
    """How a case ended; ``detail`` is one line: the reason, or the largest deviations and where they are.

    ``tags`` are the component tags and the test tags of its description, each once.
    """

    case: str
    status: Status
    detail: str
    kind: Kind
    tags: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class TimeCourse:
    """The part of a case that says what to run and what to report."""

    name: str
    model: Path
    start: float
    duration: float
    steps: int
    variables: tuple[str, ...]
    amount: tuple[str, ...]
    concentration: tuple[str, ...]

    @property
    def times(self) -> np.ndarray:
        """The ``steps`` + 1 times at which values are compared."""
        return np.linspace(self.start, self.start + self.duration, self.steps + 1)

    def column(self, variable: str) -> str:
        """A variable as ``simulate`` names it: ``[X]`` where the case asks for a concentration."""
        return f"[{variable}]" if variable in self.concentration else variable

    def values(self, table: pd.DataFrame, column: str) -> np.ndarray:
        """A column of a table (times,), whose index must be the times of the case."""
        if column not in table.columns:
            raise TableError(f"case {self.name}: no column {column} among {', '.join(map(str, table.columns))}")
        # expected times are rounded to as few as six digits
        if len(table) != self.steps + 1 or not np.allclose(table.index, self.times, rtol=1e-6, atol=1e-9):
            raise TableError(f"case {self.name}: {column} is not given at {self.steps + 1} times from {self.start:g}")
        return table[column].to_numpy(dtype=float)


@dataclass(frozen=True)
class MomentCase(TimeCourse):
    """A stochastic case: what to run, what to report and what must come out.

    ``output`` holds (variable, moment) pairs; ``expected`` has time as index and columns like ``X-mean``.
    """

    output: tuple[tuple[str, Moment], ...]
    mean_range: tuple[float, float]
    sd_range: tuple[float, float]
    expected: pd.DataFrame

    @property
    def observed(self) -> tuple[str, ...]:
        """The variables whose moments are asked for, each once."""
        return tuple(dict.fromkeys(variable for variable, _ in self.output))


@dataclass(frozen=True)
class Description:
    """What the file NNNNN-model.m says of a case; ``test_type`` is "" where it says nothing."""

    test_type: str
    tags: tuple[str, ...]


def case_folders(folder: str | Path, cases: Sequence[str] | None = None) -> list[Path]:
    """The folders of the named cases in ``folder``, or of all of them.

    Raises
    ------
    TableError
        if ``folder`` holds no cases, or not one that is named.
    """
    folder = Path(folder)
    folders = {path.parent.name: path.parent for path in sorted(folder.glob("*/*-settings.txt"))}
    if not folders:
        raise TableError(f"{folder}: no cases here; give the folder that holds 00001, 00002, ...")
    unknown = [case for case in cases or () if case not in folders]
    if unknown:
        raise TableError(f"{folder}: no case {', '.join(unknown)}; the cases are {min(folders)} to {max(folders)}")
    return [folders[case] for case in cases] if cases else list(folders.values())


def kind_of(folder: Path) -> Kind:
    """The kind of a case, told by its settings: only stochastic ones say which moments they want."""
    settings = read_settings(folder)
    return "stochastic" if {"output", "meanRange"} & set(settings) else "semantic"


def read_settings(folder: Path, required: Sequence[str] = ()) -> dict[str, str]:
    """The settings of a case by name; raises :class:`TableError` where one of the required is missing."""
    path = settings_path(folder)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read ({error}); each case needs its settings") from None
    pairs = (line.partition(":") for line in lines if ":" in line)
    settings = {key.strip(): value.strip() for key, _, value in pairs}
    missing = [key for key in required if key not in settings]
    if missing:
        raise TableError(f"{path}: no {', '.join(missing)}; it must have the settings of the suite's format")
    return settings


def settings_path(folder: Path) -> Path:
    """Where the settings of a case are."""
    return folder / f"{folder.name}-settings.txt"


def read_time_course(folder: Path, settings: dict[str, str], document: tuple[int, int] | None = None) -> TimeCourse:
    """What to run; the model is the newest there is, or that of a ``document`` (level, version)."""
    path = settings_path(folder)
    return TimeCourse(
        name=folder.name,
        model=_model_file(folder, document),
        start=number(settings["start"], path),
        duration=number(settings["duration"], path),
        steps=int(number(settings["steps"], path)),
        variables=words(settings["variables"]),
        amount=words(settings["amount"]),
        concentration=words(settings["concentration"]),
    )


def _model_file(folder: Path, document: tuple[int, int] | None) -> Path:
    levels = [document] if document else LEVELS
    names = [f"{folder.name}-sbml-l{level}v{version}.xml" for level, version in levels]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise TableError(f"{folder}: no model {' or '.join(names)}; add one")
    return path


def read_expected(folder: Path) -> pd.DataFrame:
    """The expected values of a case: time as index, a column for each name in the first line.

    NaN, INF and -INF are read in upper or lower case.
    """
    path = folder / f"{folder.name}-results.csv"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
        header = [cell.strip() for cell in rows[0]] if rows else []
        table = pd.DataFrame([[float(cell) for cell in row] for row in rows[1:]], columns=header, dtype=float)
    except (OSError, ValueError, csv.Error) as error:
        raise TableError(f"{path}: cannot be read as a table of expected values ({error})") from None
    if not header or header[0].lower() != "time":
        raise TableError(f"{path}: the first column is not time; the first line must name the columns")
    # by position: a variable may be called time, too
    return table.iloc[:, 1:].set_axis(pd.Index(table.iloc[:, 0], name="time"))


def read_description(folder: Path) -> Description:
    """The type of a case and its tags, in the order of the file; empty where there is no such file."""
    try:
        text = (folder / f"{folder.name}-model.m").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Description("", ())
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())  # later lines are prose
    tags = words(fields.get("componentTags", "")) + words(fields.get("testTags", ""))
    return Description(fields.get("testType", ""), tuple(dict.fromkeys(tags)))


def words(text: str) -> tuple[str, ...]:
    """Words separated by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def number(text: str, path: Path) -> float:
    """A number from a file; :class:`TableError` names the file where it is none."""
    try:
        return float(text)
    except ValueError:
        raise TableError(f"{path}: {text!r} is not a number") from None


def one_line(text: str) -> str:
    """Text without line breaks, as the ``detail`` of a result."""
    return " ".join(text.split())


def all_reasons(error: UnsupportedError) -> str:
    """The reasons for a refusal with `` | `` between them: each may itself have a semicolon before its remedy."""
    return " | ".join(error.reasons)
