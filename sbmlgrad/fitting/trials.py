"""What was measured in which condition, and the model of each: what a fit is of."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas
import sympy

from sbmlgrad.errors import FitError, TableError
from sbmlgrad.fitting.measured import check_values, with_noise
from sbmlgrad.fitting.parameters import Bounds
from sbmlgrad.fitting.settling import MARGIN, settling_time
from sbmlgrad.likelihood.measurement import Laws
from sbmlgrad.model.derive import Period, in_condition, with_constants, with_observables
from sbmlgrad.model.evaluate import symbol_ids
from sbmlgrad.model.model import Model
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.sbml.formula import read_formula
from sbmlgrad.tables.columns import listing
from sbmlgrad.tables.conditions import ConditionRow, Conditions, read_conditions
from sbmlgrad.tables.measurements import Measurements, match, read_measurements

Fitted = Model | ReactionNetwork
Table = str | os.PathLike[str] | pandas.DataFrame

_ID = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, eq=False)
class Trial:
    """One condition.

    Attributes
    ----------
    model
        The model, or network, with what is done to it.
    names, places
        The fitted parameters that are numbers of it, and their indices among all.
    measurements
        What was measured.
    laws
        Of measured values around what the model has; what has none is exact, but for errors in the data.
    start
        When the model begins: at 0, before the first measurement, or so long before that it comes to rest first.
    periods
        What is done to it, of which what has no time is from its start on.
    resting
        The model that comes to rest before the experiment; None where that is not asked for.
    """

    model: Fitted
    names: tuple[str, ...]
    places: np.ndarray
    measurements: Measurements
    laws: Laws
    start: float = 0.0
    periods: tuple[Period, ...] = ()
    resting: Model | None = None

    @property
    def condition(self) -> str:
        """Its name, "" where there is none."""
        return self.measurements.condition

    @property
    def source(self) -> str:
        """Where the model is from, for messages."""
        return self.model.elements.source.path if isinstance(self.model, Model) else "the network"

    @property
    def first_time(self) -> float:
        """When the experiment begins."""
        return _first_time(self.measurements)

    def rests(self, values: Mapping[str, float]) -> bool:
        """Whether the model, with these values of the fitted parameters, comes to rest before the experiment."""
        if self.resting is None:
            return True
        own = {name: values[name] for name in self.names if plain_id(name) in self.resting.quantities()}
        return settling_time(self.resting, own) <= self.first_time - self.start


@dataclass(frozen=True, eq=False)
class _Arranged:
    """A model for a condition, the fitted parameters that are its numbers, when it begins, what is done to it, and what
    rests before."""

    model: Fitted
    names: tuple[str, ...]
    start: float
    periods: tuple[Period, ...] = ()
    resting: Model | None = None


@dataclass(frozen=True, eq=False)
class Trials:
    """All conditions, and the ``model`` as it was given with start values put in."""

    model: Fitted
    every: tuple[Trial, ...]
    conditions: str = ""
    """The path of their table, if there is one."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The paths of all that was read, or words for what has none."""
        return (self.source, *self.data, *([self.conditions] if self.conditions else []))

    @property
    def source(self) -> str:
        """Where the model is from, for messages."""
        return self.every[0].source

    @property
    def data(self) -> tuple[str, ...]:
        """The paths of the tables."""
        return tuple(dict.fromkeys(trial.measurements.source for trial in self.every))


def set_up(
    model: Fitted,
    data: Table | Sequence[Table],
    parameters: Mapping[str, Bounds],
    init: Mapping[str, float],
    conditions: Table | None,
    observables: Mapping[str, str],
    noise: Mapping[str, str],
) -> Trials:
    """Read the tables, and make the model of each condition.

    Raises :class:`TableError`, :class:`UnknownIdError`, :class:`FitError` or :class:`SbmlError` for what does not fit
    together.
    """
    measured = [one for table in _tables(data) for one in read_measurements(table)]
    table = None if conditions is None else read_conditions(conditions)
    return _kept(model, parameters, init, table, Formulas(observables, noise)).trials(measured)


@dataclass(frozen=True)
class Formulas:
    """What is looked at, and the noise around it, as text by name."""

    observables: Mapping[str, str]
    noise: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.observables or self.noise)


class Bench:
    """A model made ready for measurements: with start values, observables, and a model for each condition."""

    def __init__(
        self,
        model: Fitted,
        parameters: Mapping[str, Bounds],
        init: Mapping[str, float],
        conditions: Conditions | None,
        formulas: Formulas,
    ):
        self.parameters, self.conditions = tuple(parameters), conditions
        self.laws: Laws = {}
        if not isinstance(model, Model):
            if formulas:
                raise FitError("observables, noise: a network from Python has no formulas; look at its species")
            model.check_names(parameters, ())
            model.check_numbers(parameters)
            self.model: Fitted = model.with_parameters(init) if init else model
            self.base: Fitted = self.model
        else:
            own = numbers_of(model)
            more = [name for name in parameters if plain_id(name) not in own]
            self.model = model.with_parameters({k: v for k, v in init.items() if plain_id(k) in own})
            self.base = _with_observables(self.model, more, formulas.observables)
            self.base, self.laws = with_noise(self.base, formulas.noise, _observable_ids(self.base))
            self._check_used(more, formulas.observables)
            starts = {name: init.get(name, _middle(parameters[name])) for name in more}
            for name, value in starts.items():
                if not np.isfinite(value):
                    raise FitError(
                        f"{name!r} is no number of the model, so it has no value to start from; give bounds, or one "
                        f"with init={{{name!r}: value}}"
                    )
            self.base = self.base.with_parameters(starts)
        self._models: dict[tuple[str, float], _Arranged] = {}

    def trials(self, measured: Sequence[Measurements]) -> Trials:
        """What was measured, with the model of each condition."""
        matched = [match(one, _observable_ids(self.base), _ids_by_name(self.base)) for one in measured]
        if self.conditions is not None:
            matched = _named(matched, self.conditions)
        every = []
        for one in matched:
            _check_columns(one, self.base, self.parameters)
            check_values(one, self.laws)
            own = self._arranged(one.condition, _first_time(one))
            places = np.array([self.parameters.index(name) for name in own.names], int)
            laws = {s.observable: self.laws[s.observable] for s in one.series if s.observable in self.laws}
            every.append(Trial(own.model, own.names, places, one, laws, own.start, own.periods, own.resting))
        for name in self.laws:
            if not any(name in trial.laws for trial in every):
                raise FitError(f"noise of {name!r}: nothing in the data is called that; correct the name")
        for name in self.parameters:
            if not any(name in trial.names for trial in every):
                raise FitError(f"{name!r} is to be fitted, but every condition sets it; take it out of one of the two")
        return Trials(self.model, tuple(every), self.conditions.source if self.conditions is not None else "")

    def _arranged(self, condition: str, first_time: float) -> _Arranged:
        key = condition, first_time
        if key not in self._models:
            rows = self.conditions.periods[condition] if self.conditions is not None else ()
            self._models[key] = self._changed(rows, first_time)
        return self._models[key]

    def _changed(self, rows: Sequence[ConditionRow], first_time: float) -> _Arranged:
        if not isinstance(self.base, Model):
            return _network_in(self.base, rows, self.parameters, first_time)
        start = min([first_time, *(row.time for row in rows if row.time is not None and np.isfinite(row.time))])
        before = [_period(self.base, row, None) for row in rows if row.time == -np.inf]
        after = [
            _period(self.base, row, start if row.time is None else row.time) for row in rows if row.time != -np.inf
        ]
        resting = None
        if before:
            resting, experiment = in_condition(self.base, before), start
            start = experiment - MARGIN * settling_time(resting, {})
            if start == experiment:
                raise FitError(f"{self.base.elements.source.path}: nothing ever changes before the experiment")
        periods = [*before, *(replace(p, time=None) if p.time is not None and p.time <= start else p for p in after)]
        fixed = {plain_id(name) for period in periods if period.time is None for name in period.changes}
        model = in_condition(self.base, periods)
        quantities = model.quantities()
        names = tuple(n for n in self.parameters if plain_id(n) not in fixed and plain_id(n) in quantities)
        return _Arranged(model.by_name(names), names, start, tuple(periods), resting)

    def _check_used(self, more: Sequence[str], observables: Iterable[str]) -> None:
        """Raise for parameters that neither the model nor a formula has, and for starts that are not fitted."""
        assert isinstance(self.base, Model)
        assert isinstance(self.model, Model)
        formulas = [*observables, *(law.parameter for law in self.laws.values() if law.parameter)]
        used = {name for key in formulas for name in symbol_ids(self.base.elements.assignment_rules[key])}
        for rows in self.conditions.periods.values() if self.conditions is not None else ():
            for change in (change for row in rows for change in row.changes.values()):
                if isinstance(change.value, str):
                    used |= set(symbol_ids(read_formula(change.value, self.base, where=change.where)))
        for name in more:
            if name not in used:
                self.model.with_parameters({name: 1.0})  # which says what there is
        for name in self.parameters:
            if name not in more:
                self.model.with_parameters({name: self.model.quantities().get(name, 1.0)})


def _kept(
    model: Fitted,
    parameters: Mapping[str, Bounds],
    init: Mapping[str, float],
    conditions: Conditions | None,
    formulas: Formulas,
) -> Bench:
    """The bench of a model; the same one where it is fitted again, with all that was compiled for it."""
    rows = repr(conditions.periods) if conditions is not None else ""
    key = tuple(parameters.items()), tuple(init.items()), repr(formulas), rows
    kept = model.derived if isinstance(model, Model) else model.compiled
    entry = kept.get("bench")
    if entry is None or entry[0] != key:
        entry = kept["bench"] = key, Bench(model, parameters, init, conditions, formulas)
    bench: Bench = entry[1]
    return bench


def _with_observables(model: Model, more: Iterable[str], observables: Mapping[str, str]) -> Model:
    """The model with more parameters, and observables that are formulas."""
    path, taken = model.elements.source.path, {*numbers_of(model), *model.elements.reactions}
    for name in more:
        if not _ID.fullmatch(name) or name in taken:
            model.with_parameters({name: 1.0})  # which says what there is
    extended = with_constants(model, dict.fromkeys(more, np.nan))
    formulas: dict[str, sympy.Expr] = {}
    for name, text in observables.items():
        if not _ID.fullmatch(name):
            raise FitError(f"observable {name!r}: is no id; use letters, digits and _, as in 'signal'")
        if name in taken or name in extended.elements.parameters:
            raise FitError(f"observable {name!r}: {path} has that id; choose another name for the observable")
        formulas[name] = read_formula(text, extended, where=f"observable {name!r}")
    return with_observables(extended, formulas)


def _first_time(measurements: Measurements) -> float:
    """When an experiment begins: at 0, or with its first measurement where that is earlier."""
    times = measurements.cells.times if measurements.cells is not None else None
    every = [times] if times is not None else [series.times for series in measurements.series]
    return min([0.0, *(float(own.min()) for own in every if len(own))])


def _period(model: Model, row: ConditionRow, time: float | None) -> Period:
    """A row of the table with its formulas read, and the time from which it holds."""
    changes: dict[str, sympy.Expr] = {}
    for name, change in row.changes.items():
        if plain_id(name) not in {*model.elements.species, *model.elements.parameters, *model.elements.compartments}:
            known = sorted(numbers_of(model))
            raise TableError(f"{change.where}: the model has no {name!r} to be changed; it has {listing(known)}")
        if name != plain_id(name) and plain_id(name) not in model.elements.species:
            raise TableError(f"{change.where}: {name!r} is no concentration; only species have one")
        if plain_id(name) in model.elements.assignment_rules:
            raise TableError(f"{change.where}: a rule sets {plain_id(name)!r}; change what it depends on instead")
        if isinstance(change.value, str):
            changes[name] = read_formula(change.value, model, where=change.where)
        else:
            changes[name] = sympy.Float(change.value, 17)
    return Period(time, changes)


def _network_in(
    network: ReactionNetwork, rows: Sequence[ConditionRow], parameters: Sequence[str], start: float
) -> _Arranged:
    """A network from Python takes numbers from the start on."""
    values: dict[str, float] = {}
    for row in rows:
        for name, change in row.changes.items():
            if row.time is not None or isinstance(change.value, str):
                raise TableError(
                    f"{change.where}: a network from Python takes numbers from the start on; fit an SBML model"
                )
            if name not in network.parameters:
                raise TableError(f"{change.where}: the network has no parameter {name!r}")
            values[name] = change.value
    changed = network.with_parameters(values) if values else network
    return _Arranged(changed, tuple(name for name in parameters if name not in values), start)


def _named(measured: Sequence[Measurements], conditions: Conditions) -> list[Measurements]:
    """The measurements with names of conditions, each of which is in the table, and has data."""
    known = tuple(conditions.periods)
    if len(known) == 1:
        measured = [replace(one, condition=one.condition or known[0]) for one in measured]
    for one in measured:
        if not one.condition:
            raise TableError(
                f"{one.source}: there is no column 'condition', and {conditions.source} has {listing(known)}; add one"
            )
        if one.condition not in known:
            raise TableError(
                f"{one.source}: condition {one.condition!r} is not in {conditions.source}, which has {listing(known)}; "
                "add a row for it, or correct the name"
            )
    for name in known:
        if all(one.condition != name for one in measured):
            raise TableError(f"{conditions.source}: condition {name!r} has no data; give some, or remove its rows")
    return list(measured)


def _tables(data: Table | Sequence[Table]) -> Sequence[Table]:
    if isinstance(data, str | os.PathLike | pandas.DataFrame):
        return [data]
    if not data:
        raise FitError("data: give at least one table")
    return data


def plain_id(name: str) -> str:
    """The id of ``S`` and ``[S]``."""
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def numbers_of(model: Model) -> set[str]:
    """What may have a value in a model: species, parameters, compartments, local parameters."""
    elements = model.elements
    local = (p.id for reaction in elements.reactions.values() for p in reaction.local_parameters)
    return {*elements.species, *elements.parameters, *elements.compartments, *local}


def _middle(bounds: Bounds) -> float:
    """Where to begin between bounds; nan where these do not say."""
    if bounds is None or not np.all(np.isfinite(bounds)):
        return np.nan
    lower, upper = bounds
    return float(np.sqrt(lower * upper)) if lower > 0 else (lower + upper) / 2


def _observable_ids(model: Fitted) -> Collection[str]:
    if not isinstance(model, Model):
        return set(model.species)
    species = model.elements.species
    return {*model.initial_values(), *(f"[{s}]" for s in species)} - {"<time>"}


def _ids_by_name(model: Fitted) -> Mapping[str, Collection[str]]:
    """Ids by the names that a model gives to what can be looked at."""
    names: dict[str, set[str]] = {}
    if isinstance(model, Model):
        elements = model.elements
        for kind in (elements.species, elements.parameters, elements.compartments):
            for item in kind.values():
                names.setdefault(item.name, set()).add(item.id)
    return names


def _check_columns(measurements: Measurements, model: Fitted, parameters: Collection[str]) -> None:
    """Raise :class:`TableError` for a constant that is to be fitted, which programs export beside what varies."""
    if not isinstance(model, Model):
        return
    elements = model.elements
    constants = {*elements.parameters, *elements.compartments} - elements.rate_rules.keys() - elements.set_by_events
    for series in measurements.series:
        if series.observable in constants and series.observable in parameters:
            raise TableError(
                f"{measurements.source}: column {series.column!r} is no measurement: {series.observable!r} is to be "
                "fitted; remove the column"
            )
