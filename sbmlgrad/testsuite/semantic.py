"""The semantic cases of the SBML Test Suite: are the values of a deterministic simulation the right ones?

Each case is a folder with a model, the settings of a run and the values at each time. The criterion and the
files are those of the README of the semantic cases, "Tolerances and errors for TimeCourse tests".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
import pandas as pd

from sbmlgrad.errors import SbmlgradError, UnsupportedError
from sbmlgrad.files import write_text
from sbmlgrad.model import Model
from sbmlgrad.sbml.read import read_sbml
from sbmlgrad.testsuite.cases import (
    CaseResult,
    Status,
    TimeCourse,
    all_reasons,
    case_folders,
    number,
    one_line,
    read_description,
    read_expected,
    read_settings,
    read_time_course,
    settings_path,
)
from sbmlgrad.testsuite.workers import Lost, in_workers

SETTINGS = ("start", "duration", "steps", "variables", "absolute", "relative", "amount", "concentration")


class Course(Protocol):
    """What is asked of a simulation: a table, index time, a column for each selected id."""

    @property
    def mean(self) -> pd.DataFrame: ...


class Simulate(Protocol):
    """The part of ``sbmlgrad.simulate`` that the cases need."""

    def __call__(self, model: Model, times: np.ndarray, /, *, method: str, select: list[str]) -> Course: ...


@dataclass(frozen=True)
class Case(TimeCourse):
    """One case: what to run, what to report and how far values may be from the expected ones.

    A species is listed in ``amount`` or in ``concentration``, as the README promises; whatever stands in neither
    is reported under its own id.
    """

    absolute: float
    relative: float


def read_case(folder: str | Path, document: tuple[int, int] | None = None) -> Case:
    """Read the settings of one case and find its newest model, or that of a ``document`` (level, version).

    Raises
    ------
    TableError
        if a file is missing or a setting is not what the suite's format says.
    UnsupportedError
        if the case is no time course.
    """
    folder = Path(folder)
    settings = read_settings(folder, SETTINGS)
    kind = read_description(folder).test_type
    if kind not in ("", "TimeCourse"):
        raise UnsupportedError(str(folder), [f"it is a test of type {kind} (only time courses are supported)"])
    path = settings_path(folder)
    return Case(
        **vars(read_time_course(folder, settings, document)),
        absolute=number(settings["absolute"], path),
        relative=number(settings["relative"], path),
    )


def simulate_case(case: Case, simulate: Simulate) -> pd.DataFrame:
    """The variables of the case at its times, under their names in the settings and in that order."""
    columns = {variable: case.column(variable) for variable in case.variables}
    # a model begins at time 0, also where the output begins later
    mean = simulate(read_sbml(case.model), case.times, method="ode", select=list(columns.values())).mean
    values = {variable: case.values(mean, column) for variable, column in columns.items()}
    return pd.DataFrame(values, index=pd.Index(case.times, name="time"))


def excess(expected: np.ndarray, values: np.ndarray, absolute: float, relative: float) -> np.ndarray:
    """How far values are from the expected ones, as a multiple of what is allowed: up to 1 is right.

    Allowed is ``absolute`` + ``relative`` times the size of the expected value (README). Where one of the two is
    infinite or not a number the other must be the same, for 0; otherwise the excess is infinite.
    """
    same = (values == expected) | (np.isnan(values) & np.isnan(expected))
    finite = np.isfinite(values) & np.isfinite(expected)
    with np.errstate(all="ignore"):
        ratio = np.abs(expected - values) / (absolute + relative * np.abs(expected))
    return np.where(same, 0.0, np.where(finite, ratio, np.inf))


def judge(case: Case, expected: pd.DataFrame, actual: pd.DataFrame) -> tuple[bool, str]:
    """Whether all values of a case are right, and where the largest deviation is.

    Raises
    ------
    TableError
        if a variable or a time of the case is missing in one of the tables.
    """
    if not case.variables:
        return True, "it asks for no variables"
    pairs = {name: (case.values(expected, name), case.values(actual, name)) for name in case.variables}
    sizes = np.array([excess(*pair, case.absolute, case.relative) for pair in pairs.values()])
    column, row = np.unravel_index(sizes.argmax(), sizes.shape)
    name = case.variables[column]
    right, value = (table[row] for table in pairs[name])
    detail = (
        f"largest deviation {sizes[column, row]:.2g} times the allowed ({name}, t={case.times[row]:g}: "
        f"{value:.6g} instead of {right:.6g}), {np.count_nonzero(sizes > 1)} of {sizes.size} outside"
    )
    return bool(sizes.max() <= 1), detail


def run_case(folder: Path, simulate: Simulate) -> CaseResult:
    """Run and judge one case; a refused model skips it, any other error of this package fails it."""
    began, tags = perf_counter(), read_description(folder).tags
    status: Status
    try:
        case = read_case(folder)
        good, detail = judge(case, read_expected(folder), simulate_case(case, simulate))
        status = "passed" if good else "failed"
    except UnsupportedError as error:
        status, detail = "skipped", all_reasons(error)
    except SbmlgradError as error:
        status, detail = "failed", str(error)
    return CaseResult(folder.name, status, one_line(detail), "semantic", tags, perf_counter() - began)


def run_cases(
    folder: str | Path,
    cases: Sequence[str] | None,
    simulate: Simulate,
    limit: float = 60.0,
    processes: int | None = None,
) -> Iterator[CaseResult]:
    """Run the named cases in ``folder``, or all of them, and judge them; results come in the order of the cases.

    Cases run in other processes, which must be able to import ``simulate``. A case that takes longer than
    ``limit`` seconds fails, and so does one whose process crashes; the others go on.

    Raises
    ------
    TableError
        if ``folder`` holds no cases, or not one that is named.
    """
    folders = case_folders(folder, cases)
    outcomes = in_workers(partial(run_case, simulate=simulate), folders, limit, processes)
    for path, outcome in zip(folders, outcomes, strict=True):
        if isinstance(outcome, Lost):
            tags = read_description(path).tags
            yield CaseResult(path.name, "failed", one_line(outcome.reason), "semantic", tags, outcome.seconds)
        else:
            yield outcome


def write_course(folder: Path, output: str | Path, document: tuple[int, int], simulate: Simulate) -> None:
    """Simulate the model of one level and version of a case, and write the values in the suite's format.

    Raises
    ------
    SbmlgradError
        for anything that keeps the case from being simulated; then nothing is written.
    """
    table = simulate_case(read_case(folder, document), simulate)
    rows = [",".join(map(_cell, row)) for row in np.column_stack([table.index, table])]
    write_text(output, "\n".join([",".join(["time", *table.columns]), *rows, ""]))


def _cell(value: float) -> str:
    """A number as the suite writes it: NaN, INF or -INF where it is not finite."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "INF" if value > 0 else "-INF"
    return repr(float(value))
