"""A fit as a PEtab problem: the tables and the model that other tools go on with.

PEtab 1 is what most tools read, so it is written wherever it can say everything. What it cannot say, a change on the
way, or an initial value by a formula, takes PEtab 2.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from sbmlgrad.errors import FitError, SbmlgradError, warn_user
from sbmlgrad.files import write_text
from sbmlgrad.fitting.petab_conditions import Changes, Words
from sbmlgrad.fitting.petab_formulas import petab_formula
from sbmlgrad.fitting.petab_measurements import Measured, measured
from sbmlgrad.fitting.trials import Fitted, Trials
from sbmlgrad.likelihood.measurement import COUNTS, LAWS
from sbmlgrad.model.model import Model
from sbmlgrad.sbml.write import FitRecord, write_sbml

if TYPE_CHECKING:
    import pandas

_MODEL = "model"
_WIDE = 1e3  # times an estimate: bounds where the fit had none, which tools draw starts between

_OF_MOMENTS = (
    "was fitted by exact simulation, and tools simulate PEtab problems by rate equations, whose solution may differ "
    "from its means; sbmlgrad petab --method ssa takes these"
)
_DISTRIBUTIONS = {law: law.replace("_", "-") for law in LAWS} | {"lognormal": "log-normal"}
"""What PEtab calls a law; counts are an extension."""

_Table = Sequence[Mapping[str, Any]]
"""Rows by column; what a row does not have is blank."""


class Origin(Enum):
    """What a fit was of: rate equations, moments of exact simulation, or the likelihood of jumps."""

    EQUATIONS = 1
    MOMENTS = 2
    JUMPS = 3


def write_problem(
    model: Fitted,
    trials: Trials,
    parameters: pandas.DataFrame,
    origin: Origin,
    record: FitRecord,
    folder: str | os.PathLike[str],
) -> Path:
    """Write the problem of a fit, its ``parameters`` with estimates and bounds, into a folder; the path of its YAML.

    Raises
    ------
    FitError
        for what PEtab has no words for, before anything is written.
    SbmlgradError
        where a file cannot be written.
    """
    if not isinstance(model, Model):
        raise FitError("PEtab needs an SBML model, and this is a network from Python; fit an SBML model to write one")
    if origin is Origin.JUMPS:
        raise FitError(
            f"{trials.source}: PEtab has no words for the likelihood of molecules that react at random; fit with "
            "method 'ode', or means with loss 'moments'"
        )
    problem = _Problem.of(model, trials, parameters)
    files = problem.files()
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SbmlgradError(f"{folder}: cannot be written: {error.strerror}; choose another folder") from None
    write_sbml(model, target / "model.xml", fit=record)  # first, since a document is what may be refused
    for name, text in files.items():
        write_text(target / name, text)
    for text in (*problem.remarks(), *((_OF_MOMENTS,) if origin is Origin.MOMENTS else ())):
        warn_user(f"{trials.source}: {text}")
    return target / "problem.yaml"


@dataclass(frozen=True, eq=False)
class _Problem:
    """What is to be written."""

    words: Words
    measured: Sequence[Measured]
    parameters: pandas.DataFrame
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, model: Model, trials: Trials, parameters: pandas.DataFrame) -> _Problem:
        words = Words(model, trials, map(str, parameters.index))
        estimates = {str(name): float(value) for name, value in parameters["estimate"].items()}
        every, left_out = measured(trials, words, estimates)
        return cls(words, every, parameters, left_out)

    def remarks(self) -> list[str]:
        """What to know of the problem."""
        texts = []
        if self.left_out:
            texts.append(f"PEtab has no words for standard deviations: {', '.join(self.left_out)} are left out")
        counts = dict.fromkeys(_DISTRIBUTIONS[one.law] for one in self.measured if one.law in COUNTS)
        if counts:
            texts.append(f"{', '.join(counts)} noise is an extension of PEtab that other tools may not read")
        return texts

    def files(self) -> dict[str, str]:
        """Texts by file name, the YAML file last."""
        starts = {key: self.words.start(trial, self.words.targets) for key, trial in self.words.conditions.items()}
        periods = {key: self.words.periods(trial) for key, trial in self.words.conditions.items()}
        if self._fits_version_1(starts, periods):
            tables = {**self._conditions_1(starts), **self._measurements("simulationConditionId")}
            tables |= {"observables": self._observables_1(), "parameters": self._parameters_1()}
            yaml = _YAML_1
        else:
            tables = {**self._conditions_2(periods), **self._measurements("experimentId")}
            tables |= {"observables": self._observables_2(), "parameters": self._parameters_2()}
            yaml = _YAML_2
            if self.words.aliases:
                aliases = self.words.aliases.items()
                tables["mapping"] = [{"petabEntityId": alias, "modelEntityId": name} for name, alias in aliases]
                yaml += "mapping_files: [mapping.tsv]\n"
        return {**{f"{name}.tsv": _text(table) for name, table in tables.items()}, "problem.yaml": yaml}

    def _fits_version_1(
        self, starts: Mapping[str, Mapping[str, Any]], periods: Mapping[str, Sequence[Changes]]
    ) -> bool:
        formulas = [formula for values in starts.values() for formula in values.values()]
        simple = all(formula.is_Number or isinstance(formula, sympy.Symbol) for formula in formulas)
        at_once = all(len(changes) == 1 and changes[0].time == 0 for changes in periods.values())
        return simple and at_once and not self.words.aliases

    # ---- conditions ------------------------------------------------------------------------------------

    def _conditions_1(self, starts: Mapping[str, Mapping[str, Any]]) -> dict[str, _Table]:
        rows = [
            {"conditionId": key, "conditionName": self.words.conditions[key].condition or key, **_texts(values, key)}
            for key, values in starts.items()
        ]
        return {"conditions": rows}

    def _conditions_2(self, periods: Mapping[str, Sequence[Changes]]) -> dict[str, _Table]:
        conditions: list[dict[str, Any]] = []
        experiments: list[dict[str, Any]] = []
        for key, changes in periods.items():
            for number, change in enumerate(changes):
                own = f"{key}_{number}" if change.values else ""
                experiments.append({"experimentId": key, "time": repr(change.time), "conditionId": own})
                texts = _texts(change.values, key).items()
                conditions += [{"conditionId": own, "targetId": k, "targetValue": v} for k, v in texts]
        return {"conditions": conditions, "experiments": experiments}

    # ---- measurements ----------------------------------------------------------------------------------

    def _measurements(self, condition: str) -> dict[str, _Table]:
        """The tables of measurements and of simulations."""
        rows, simulated = [], []
        for one in self.measured:
            for row in one.rows:
                named = {
                    "observableId": one.id,
                    condition: self.words.condition_of(row.trial),
                    "time": repr(row.time),
                }
                noise = {}
                if one.states_errors:
                    noise = {"noiseParameters": repr(row.error) if np.isfinite(row.error) else one.sigma}
                rows.append({**named, "measurement": repr(row.value), **noise})
                simulated.append({**named, "simulation": repr(row.simulated), **noise})
        return {"measurements": rows, "simulations": simulated}

    def _observables_1(self) -> _Table:
        return [
            {
                **_observable(one),
                "observableTransformation": "log" if one.law == "lognormal" else "lin",
                "noiseDistribution": "normal" if one.law == "lognormal" else _DISTRIBUTIONS[one.law],
            }
            for one in self.measured
        ]

    def _observables_2(self) -> _Table:
        return [
            {
                **_observable(one),
                "noiseDistribution": _DISTRIBUTIONS[one.law],
                "noisePlaceholders": _placeholder(one) if one.states_errors else "",
            }
            for one in self.measured
        ]

    # ---- parameters ------------------------------------------------------------------------------------

    def _parameters_1(self) -> _Table:
        rows = self._parameters_2()
        return [
            {
                "parameterId": row["parameterId"],
                "parameterScale": "log10" if float(row["lowerBound"]) > 0 else "lin",
                **row,
                "estimate": "1",
            }
            for row in rows
        ]

    def _parameters_2(self) -> _Table:
        rows = [
            _parameter(
                self.words.parameters[str(name)], float(row["estimate"]), float(row["lower"]), float(row["upper"])
            )
            for name, row in self.parameters.iterrows()
        ]
        sigmas = [(one.sigma, one.spread) for one in self.measured if one.sigma]
        return rows + [_parameter(name, spread, 0.0, np.inf) for name, spread in sigmas]


def _observable(one: Measured) -> dict[str, str]:
    noise = _placeholder(one) if one.states_errors else one.sigma
    if one.noise is not None:
        noise = petab_formula(one.noise, f"noise of {one.name!r}")
    return {
        "observableId": one.id,
        "observableName": one.name,
        "observableFormula": petab_formula(one.formula, f"observable {one.name!r}"),
        "noiseFormula": noise,
    }


def _placeholder(one: Measured) -> str:
    return f"noiseParameter1_{one.id}"


def _parameter(name: str, estimate: float, lower: float, upper: float) -> dict[str, str]:
    """A row of the table, with bounds where there were none."""
    if lower == 0 and np.isinf(upper) and estimate > 0:
        lower, upper = estimate / _WIDE, estimate * _WIDE
    far = _WIDE * (abs(estimate) or 1.0)
    lower, upper = lower if np.isfinite(lower) else estimate - far, upper if np.isfinite(upper) else estimate + far
    numbers = {"lowerBound": lower, "upperBound": upper, "nominalValue": float(np.clip(estimate, lower, upper))}
    return {"parameterId": name, **{column: repr(value) for column, value in numbers.items()}, "estimate": "true"}


def _texts(values: Mapping[str, Any], condition: str) -> dict[str, str]:
    return {name: petab_formula(formula, f"condition {condition!r}") for name, formula in values.items()}


def _text(table: _Table) -> str:
    """The lines of a table, cells separated by tabs."""
    import pandas

    return str(pandas.DataFrame(table, dtype=str).fillna("").to_csv(sep="\t", index=False, lineterminator="\n"))


_YAML_1 = """format_version: 1
parameter_file: parameters.tsv
problems:
- condition_files: [conditions.tsv]
  measurement_files: [measurements.tsv]
  observable_files: [observables.tsv]
  sbml_files: [model.xml]
"""
_YAML_2 = f"""format_version: 2.0.0
parameter_files: [parameters.tsv]
condition_files: [conditions.tsv]
experiment_files: [experiments.tsv]
measurement_files: [measurements.tsv]
observable_files: [observables.tsv]
model_files:
  {_MODEL}:
    language: sbml
    location: model.xml
"""
