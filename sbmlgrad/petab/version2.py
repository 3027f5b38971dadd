"""PEtab 2: long tables of conditions, and experiments of any number of periods."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas
import sympy
from petab import v2
from petab.v2 import lint

from sbmlgrad.errors import PetabError
from sbmlgrad.petab.counts import known_to_petab
from sbmlgrad.petab.definition import (
    Definition,
    Distribution,
    Experiment,
    Measurement,
    Observable,
    Parameter,
    Period,
    Prior,
    Scale,
)
from sbmlgrad.petab.library import asking_libpetab, beside, check_formulas, text_table
from sbmlgrad.sbml.read import read_sbml

_NOISE: Mapping[str, tuple[Distribution, Scale]] = {
    "normal": ("normal", "lin"),
    "laplace": ("laplace", "lin"),
    "log-normal": ("normal", "log"),
    "log-laplace": ("laplace", "log"),
}

# Those checks of libpetab that look at tables alone: others read the model again, by libpetab's own means.
_CHECKS = (
    lint.CheckUniquePrimaryKeys,
    lint.CheckMeasuredObservablesDefined,
    lint.CheckMeasuredExperimentsDefined,
    lint.CheckPosLogMeasurements,
    lint.CheckOverridesMatchPlaceholders,
    lint.CheckExperimentTable,
    lint.CheckExperimentConditionsExist,
    lint.CheckPriorDistribution,
)

_AS_IT_IS = ""
"""The experiment of measurements that name none: the model as it is, from time 0."""


def read(source: str, config: Mapping[str, Any], molecules_per_unit: float | None) -> Definition:
    """The problem that a YAML file with this content describes; raises :class:`PetabError`."""
    problem, counts = _checked(source, config)
    models = {}
    for name, model in config.get("model_files", {}).items():
        if model["language"] != "sbml":
            raise PetabError(f"{source}: model {name!r} is {model['language']}, not SBML; export it as SBML")
        models[str(name)] = read_sbml(Path(beside(source, model["location"])), molecules_per_unit)
    tables = [_raw_table(beside(source, name)) for name in _listed(config.get("measurement_files"))]
    if not tables or not problem.measurements:
        raise PetabError(f"{source}: there are no measurements; name their table under measurement_files")
    conditions = {condition.id: condition.changes for condition in problem.conditions}
    experiments = {item.id: _experiment(source, item, conditions) for item in problem.experiments}
    if any(not row.experiment_id for row in problem.measurements):
        experiments[_AS_IT_IS] = Experiment(_AS_IT_IS, (Period(0.0, {}),))
    return Definition(
        source=source,
        version=str(config["format_version"]),
        models=models,
        parameters={row.id: _parameter(row) for row in problem.parameters},
        observables={row.id: _observable(source, row, counts) for row in problem.observables},
        experiments=experiments,
        measurements=tuple(
            _measurement(source, row_number, row, list(models)) for row_number, row in enumerate(problem.measurements)
        ),
        table=pandas.concat(tables, ignore_index=True),
        parameter_table=_parameter_table(source, config),
        aliases={row.petab_id: row.model_id for row in problem.mappings if row.model_id},
    )


def _checked(source: str, config: Mapping[str, Any]) -> tuple[Any, Mapping[str, Distribution]]:
    """The tables as libpetab reads and checks them, without models; and which observables are counts."""
    counts: dict[str, Distribution] = {}

    def observables(path: str) -> Any:
        table, names = known_to_petab(pandas.read_csv(path, sep="\t"))
        counts.update(names)
        return v2.ObservableTable.from_df(table)

    kinds: dict[str, Callable[..., Any]] = {
        "parameter": v2.ParameterTable.from_tsv,
        "observable": observables,
        "measurement": v2.MeasurementTable.from_tsv,
        "condition": v2.ConditionTable.from_tsv,
        "experiment": v2.ExperimentTable.from_tsv,
        "mapping": v2.MappingTable.from_tsv,
    }
    tables = {}
    for kind, reader in kinds.items():
        paths = [beside(source, name) for name in _listed(config.get(f"{kind}_files"))]
        tables[f"{kind}_tables"] = [_asked(path, reader) for path in paths]
    with asking_libpetab(source):
        problem = v2.Problem(**tables)
        issues = [issue for check in _CHECKS if (issue := check().run(problem)) is not None]
    for issue in issues:
        if issue.level >= lint.ValidationIssueSeverity.ERROR:
            raise PetabError(f"{source}: {' '.join(issue.message.split()).rstrip('.')}; correct the tables")
    return problem, counts


def _asked(path: str, reader: Callable[..., Any]) -> Any:
    check_formulas(path)
    with asking_libpetab(path):
        return reader(path)


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


def _raw_table(path: str) -> pandas.DataFrame:
    with asking_libpetab(path):
        return v2.get_measurement_df(path)


def _parameter_table(source: str, config: Mapping[str, Any]) -> pandas.DataFrame:
    tables = [text_table(beside(source, name)) for name in _listed(config.get("parameter_files"))]
    return pandas.concat(tables, ignore_index=True) if tables else pandas.DataFrame({"parameterId": []})


def _parameter(row: Any) -> Parameter:
    prior = Prior(row.prior_distribution, tuple(row.prior_parameters)) if row.prior_distribution else None
    return Parameter(
        id=row.id,
        nominal=_or(row.nominal_value, math.nan),
        lower=_or(row.lb, -math.inf),
        upper=_or(row.ub, math.inf),
        scale="lin",
        estimated=row.estimate,
        prior=prior,
        start=prior,
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else float(value)


def _observable(source: str, row: Any, counts: Mapping[str, Distribution]) -> Observable:
    if row.formula is None or row.noise_formula is None:
        missing = "observableFormula" if row.formula is None else "noiseFormula"
        raise PetabError(f"{source}: observable {row.id!r} has no {missing}; add one")
    distribution, scale = _NOISE[row.noise_distribution.value]
    return Observable(
        id=row.id,
        formula=row.formula,
        noise=row.noise_formula,
        scale=scale,
        distribution=counts.get(row.id, distribution),
        placeholders=tuple(symbol.name for symbol in row.observable_placeholders),
        noise_placeholders=tuple(symbol.name for symbol in row.noise_placeholders),
    )


def _experiment(source: str, item: Any, conditions: Mapping[str, Iterable[Any]]) -> Experiment:
    periods = []
    for period in item.sorted_periods:
        changes: dict[str, sympy.Basic] = {}
        for condition in period.condition_ids:
            for change in conditions[condition]:
                if change.target_id in changes:
                    raise PetabError(
                        f"{source}: experiment {item.id!r} sets {change.target_id!r} twice at time {period.time:g}; "
                        "leave it to one of its conditions"
                    )
                changes[change.target_id] = change.target_value
        periods.append(Period(float(period.time), changes))
    return Experiment(item.id, tuple(periods))


def _measurement(source: str, row_number: int, row: Any, models: list[str]) -> Measurement:
    model = row.model_id or (models[0] if len(models) == 1 else None)
    if model not in models:
        raise PetabError(
            f"{source}: the measurement of {row.observable_id!r} in row {row_number + 1} is of the model "
            f"{row.model_id or ''!r}; name one of {', '.join(models)} under modelId"
        )
    return Measurement(
        observable=row.observable_id,
        experiment=row.experiment_id or _AS_IT_IS,
        model=model,
        time=float(row.time),
        value=float(row.measurement),
        overrides=tuple(row.observable_parameters),
        noise_overrides=tuple(row.noise_parameters),
        row=row_number,
    )
