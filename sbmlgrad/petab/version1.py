"""PEtab 1: tables of conditions with a column for each thing they set, and pre-equilibration beside simulation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas
import sympy
from petab import v1
from petab.v1.core import concat_tables
from petab.v1.measurements import split_parameter_replacement_list

from sbmlgrad.errors import PetabError
from sbmlgrad.model.elements import Elements
from sbmlgrad.model.functions import number
from sbmlgrad.model.model import Model
from sbmlgrad.petab.counts import known_to_petab
from sbmlgrad.petab.definition import (
    STEADY,
    Definition,
    Experiment,
    Measurement,
    Observable,
    Parameter,
    Period,
    Prior,
    Scale,
)
from sbmlgrad.petab.formulas import parse
from sbmlgrad.petab.library import asking_libpetab, beside, check_formulas, text_table
from sbmlgrad.petab.likelihood import transformed
from sbmlgrad.sbml.read import read_sbml

Row = Mapping[Any, Any] | Any  # of a table: a Series or a dict by column

_MODEL = "model"


def read(source: str, config: Mapping[str, Any], molecules_per_unit: float | None) -> Definition:
    """The problem that a YAML file with this content describes; raises :class:`PetabError`."""
    if len(config["problems"]) != 1 or len(config["problems"][0]["sbml_files"]) != 1:
        raise PetabError(
            f"{source}: has several problems or models, which PEtab 1 leaves undefined; split it, or use PEtab 2"
        )
    files = config["problems"][0]
    table = partial(_table, source)
    observables = table(files["observable_files"], v1.get_observable_df, _check_observables)
    check = partial(v1.check_measurement_df, observable_df=observables)
    measurements = table(files["measurement_files"], v1.get_measurement_df, check)
    if measurements.empty:
        raise PetabError(f"{source}: there are no measurements; name their table under measurement_files")
    conditions = table(files["condition_files"], v1.get_condition_df, v1.check_condition_df)
    names = config["parameter_file"]
    names = [names] if isinstance(names, str) else names
    parameters = table(names, v1.get_parameter_df, v1.check_parameter_df)
    model = read_sbml(Path(beside(source, files["sbml_files"][0])), molecules_per_unit)
    by_id = {str(name): _observable(source, str(name), row) for name, row in observables.iterrows()}
    rows = tuple(
        _measurement(source, row_number, row) for row_number, row in enumerate(measurements.to_dict("records"))
    )
    return Definition(
        source=source,
        version="1",
        models={_MODEL: model},
        parameters={str(name): _parameter(source, str(name), row) for name, row in parameters.iterrows()},
        observables=by_id,
        experiments=_experiments(source, measurements, conditions, model),
        measurements=rows,
        table=measurements,
        parameter_table=pandas.concat([text_table(beside(source, name)) for name in names], ignore_index=True),
        aliases={},
    )


def _table(source: str, names: list[str], get: Any, check: Any) -> pandas.DataFrame:
    """The table in some files, as libpetab reads and checks it."""
    paths = [beside(source, name) for name in names]
    for path in paths:
        check_formulas(path)
    with asking_libpetab(", ".join(paths)):
        table = concat_tables(paths, get)
        check(table)
    return table


def _check_observables(table: pandas.DataFrame) -> None:
    v1.check_observable_df(known_to_petab(table)[0])


def _parameter(source: str, name: str, row: Row) -> Parameter:
    where = f"{source}: parameter {name!r}"
    return Parameter(
        id=name,
        nominal=_number(row, "nominalValue", where),
        lower=_number(row, "lowerBound", where),
        upper=_number(row, "upperBound", where),
        scale=row["parameterScale"],
        estimated=bool(int(row["estimate"])),
        prior=_prior(row, "objective", where),
        start=_prior(row, "initialization", where),
    )


def _prior(row: Row, kind: str, where: str) -> Prior | None:
    """A prior of this kind; PEtab 1 has some of the parameter on its scale, which are densities there."""
    name = _text(row, f"{kind}PriorType")
    if not name:
        return None
    scale: Scale = row["parameterScale"] if name.startswith("parameterScale") else "lin"
    distribution = _PRIORS.get(name.removeprefix("parameterScale").lower())
    texts = _text(row, f"{kind}PriorParameters")
    if distribution is None:
        raise PetabError(f"{where}: there is no prior {name!r}; correct {kind}PriorType")
    if not texts and distribution == "uniform":
        bounds = (_number(row, "lowerBound", where), _number(row, "upperBound", where))
        return Prior(distribution, (transformed(bounds[0], scale), transformed(bounds[1], scale)), scale)
    try:
        first, second = (float(text) for text in texts.split(";"))
    except ValueError:
        raise PetabError(f"{where}: {kind}PriorParameters is {texts!r}; write two numbers, as in 0;1") from None
    return Prior(distribution, (first, second), scale)


_PRIORS = {
    "uniform": "uniform",
    "normal": "normal",
    "laplace": "laplace",
    "lognormal": "log-normal",
    "loglaplace": "log-laplace",
}


def _number(row: Row, column: str, where: str) -> float:
    """A cell as a number, nan for one that is empty or missing."""
    value = row.get(column, math.nan)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise PetabError(f"{where}: {column} is {value!r}, which is no number; correct it") from None


def _observable(source: str, name: str, row: Row) -> Observable:
    where = f"{source}: observable {name!r}"
    formula = parse(row["observableFormula"], where)
    noise = parse(row["noiseFormula"], f"{where}: noise")
    return Observable(
        id=name,
        formula=formula,
        noise=noise,
        scale=_text(row, "observableTransformation") or "lin",  # type: ignore[arg-type]  # libpetab has checked it
        distribution=_text(row, "noiseDistribution") or "normal",  # type: ignore[arg-type]
        placeholders=_placeholders("observableParameter", name, formula),
        noise_placeholders=_placeholders("noiseParameter", name, noise),
    )


def _text(row: Row, column: str) -> str:
    """A cell as text, "" for an empty or missing one."""
    value = row.get(column)
    return "" if value is None or value != value else str(value)


def _placeholders(kind: str, observable: str, formula: sympy.Basic) -> tuple[str, ...]:
    """The placeholders of a formula, which PEtab 1 tells by their names: numbered from 1 without a gap."""
    used = {symbol.name for symbol in formula.free_symbols}
    names = (f"{kind}{number}_{observable}" for number in range(1, len(used) + 1))
    return tuple(name for name in names if name in used)


def _measurement(source: str, row_number: int, row: Row) -> Measurement:
    observable = str(row["observableId"])
    where = f"{source}: measurement of {observable!r} in row {row_number + 1}"
    return Measurement(
        observable=observable,
        experiment=_experiment_id(row),
        model=_MODEL,
        time=_number(row, "time", where),
        value=_number(row, "measurement", where),
        overrides=_overrides(row.get("observableParameters"), where),
        noise_overrides=_overrides(row.get("noiseParameters"), where),
        row=row_number,
    )


def _overrides(cell: Any, where: str) -> tuple[sympy.Basic, ...]:
    with asking_libpetab(where):
        items = split_parameter_replacement_list(cell)
    return tuple(parse(item, where) for item in items)


def _experiment_id(row: Row) -> str:
    """What an experiment of PEtab 1 is told by: its conditions for pre-equilibration, if any, and simulation."""
    before = _text(row, "preequilibrationConditionId")
    simulation = _text(row, "simulationConditionId")
    return f"{before}, {simulation}" if before else simulation


# ---- conditions ----------------------------------------------------------------------------------------


def _experiments(
    source: str, measurements: pandas.DataFrame, conditions: pandas.DataFrame, model: Model
) -> dict[str, Experiment]:
    """Those that were measured, and one for each condition, measured or not."""
    experiments: dict[str, Experiment] = {}
    for row in measurements.to_dict("records"):
        name, before = _experiment_id(row), _text(row, "preequilibrationConditionId")
        if before and name not in experiments:
            first = Period(STEADY, _changes(source, conditions, before, {}))
            left = _left_to_the_model(model)
            last = Period(0.0, _changes(source, conditions, _text(row, "simulationConditionId"), left))
            experiments[name] = Experiment(name, (first, last))
    measured = [_text(row, "simulationConditionId") for row in measurements.to_dict("records")]
    for condition in dict.fromkeys([*measured, *map(str, conditions.index)]):
        experiments[condition] = Experiment(condition, (Period(0.0, _changes(source, conditions, condition, {})),))
    return experiments


def _changes(
    source: str, conditions: pandas.DataFrame, condition: str, left: Mapping[str, sympy.Basic]
) -> dict[str, sympy.Basic]:
    """What a condition changes; an empty cell gives what is ``left`` to the model, if that is to be set again."""
    if condition not in conditions.index:
        raise PetabError(f"{source}: there is no condition {condition!r} in the condition table; add a row for it")
    changes: dict[str, sympy.Basic] = {}
    for column, value in conditions.loc[condition].items():
        target = str(column)
        if target == "conditionName":
            continue
        if value is not None and value == value:
            changes[target] = parse(value, f"{source}: condition {condition!r}, column {target!r}")
        elif target in left:
            changes[target] = left[target]
    return changes


def _left_to_the_model(model: Model) -> dict[str, sympy.Basic]:
    """What the model says of constants; an empty cell after a pre-equilibration keeps what has moved."""
    elements: Elements = model.elements
    moving = {*elements.species, *elements.rate_rules, *elements.set_by_events, *elements.assignment_rules}
    values = model.initial_values()
    constants = [name for name in (*elements.parameters, *elements.compartments) if name not in moving]
    return {name: elements.initial_assignments.get(name, number(values[name])) for name in constants}
