"""Run cases of the PEtab test suite: chi-squared, likelihood, prior and simulations as their solutions have them.

A folder of the suite is one version of the format, or holds several. Each case is a folder NNNN with the problem
``_NNNN.yaml`` and its solution ``_NNNN_solution.yaml``; a file ``math_tests.yaml`` is one case, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas
from petab.v1.yaml import load_yaml

from sbmlgrad.errors import PetabError, SbmlgradError, UnsupportedError
from sbmlgrad.petab.evaluate import Evaluation
from sbmlgrad.petab.formulas import parse, value_of
from sbmlgrad.petab.library import asking_libpetab, beside
from sbmlgrad.petab.read import read_petab

Status = Literal["passed", "failed", "skipped"]

_MATH = "math_tests.yaml"
_EXACT = 1e-12  # relative, of formulas; symbolic ones are compared at the values below
_KEYS = ("observableId", "simulationConditionId", "preequilibrationConditionId", "experimentId", "time")


@dataclass(frozen=True)
class CaseResult:
    """How a case ended; ``detail`` is one line: what deviates, or the largest deviation of the simulations."""

    case: str
    status: Status
    detail: str


def run_cases(folder: str | Path) -> Iterator[CaseResult]:
    """Run all cases in a folder, in the order of their names.

    Raises
    ------
    PetabError
        if the folder holds no cases.
    """
    folder = Path(folder)
    files = sorted([*folder.rglob("_*_solution.yaml"), *folder.rglob(_MATH)])
    if not files:
        raise PetabError(f"{folder}: no cases here; give the folder that holds 0001, 0002, ...")
    for file in files:
        name = str(file.parent.relative_to(folder)) if file.parent != folder else folder.resolve().name
        yield _ended(name, file, _check_math if file.name == _MATH else _check_case)


def _ended(name: str, file: Path, check: Callable[[Path], str]) -> CaseResult:
    try:
        return CaseResult(name, "passed", check(file))
    except _Deviates as deviation:
        return CaseResult(name, "failed", str(deviation))
    except UnsupportedError as error:
        return CaseResult(name, "skipped", " | ".join(error.reasons))
    except SbmlgradError as error:
        return CaseResult(name, "failed", str(error))


class _Deviates(Exception):
    """A result is not what the solution has."""


def _check_case(solution: Path) -> str:
    problem = read_petab(solution.with_name(solution.name.replace("_solution", "")))
    with asking_libpetab(str(solution)):
        expected = load_yaml(str(solution))
    evaluation = problem.evaluate()
    numbers = {"chi2": evaluation.chi2, "llh": evaluation.llh}
    if "unnorm_log_posterior" in expected:
        numbers["unnorm_log_posterior"] = math.nan if evaluation.log_posterior is None else evaluation.log_posterior
    for name, value in numbers.items():
        _compare(name, value, expected[name], expected[f"tol_{name}"])
    for name, value in expected.get("log_prior", {}).items():
        # the solutions have been written with 14 digits after the point
        _compare(
            f"log_prior of {name}", (evaluation.log_prior or {}).get(name, math.nan), value, expected["tol_log_prior"]
        )
    files = [beside(str(solution), name) for name in expected["simulation_files"]]
    table = pandas.concat([pandas.read_csv(file, sep="\t") for file in files], ignore_index=True)
    largest = _compare_simulations(evaluation, table, expected["tol_simulations"])
    return f"chi2 {evaluation.chi2:.6g}, llh {evaluation.llh:.6g}, simulations within {largest:.1e}"


def _compare(name: str, value: float, expected: float, tolerance: float) -> None:
    if not abs(value - expected) <= tolerance:
        raise _Deviates(f"{name} is {value:.15g}, not {expected:.15g}")


def _compare_simulations(evaluation: Evaluation, expected: pandas.DataFrame, tolerance: float) -> float:
    """The largest deviation; rows are matched by what they are of, and by their order among equals."""
    keys = [key for key in _KEYS if key in expected.columns and key in evaluation.simulations.columns]
    columns = [table.sort_values(keys, kind="stable") for table in (evaluation.simulations, expected)]
    if not columns[0][keys].reset_index(drop=True).equals(columns[1][keys].reset_index(drop=True)):
        raise _Deviates("the simulations are not of the same observables, experiments and times as the solution")
    gaps = np.abs(columns[0]["simulation"].to_numpy(float) - columns[1]["simulation"].to_numpy(float))
    worst = int(np.argmax(np.where(np.isnan(gaps), np.inf, gaps)))
    if not gaps[worst] <= tolerance:
        row = columns[1].iloc[worst]
        raise _Deviates(
            f"the simulation of {row['observableId']!r} at time {row['time']:g} is "
            f"{columns[0]['simulation'].iloc[worst]:.9g}, not {row['simulation']:.9g}"
        )
    return float(gaps[worst])


def _check_math(file: Path) -> str:
    with asking_libpetab(str(file)):
        cases = load_yaml(str(file))["cases"]
    for case in cases:
        formula, expected = (parse(case[part], str(file)) for part in ("expression", "expected"))
        names = sorted({symbol.name for symbol in (formula.free_symbols | expected.free_symbols)})
        values: Mapping[str, float] = {name: 0.3 + 0.2 * index for index, name in enumerate(names)}
        value, right = value_of(formula, values, str(file)), value_of(expected, values, str(file))
        if value != right and not math.isclose(value, right, rel_tol=_EXACT, abs_tol=_EXACT):
            raise _Deviates(f"{case['expression']} is {value:.15g}, not {right:.15g}")
    return f"{len(cases)} formulas"
