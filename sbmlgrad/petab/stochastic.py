"""A problem by exact stochastic simulation: what is measured is the mean over trajectories of molecules.

An experiment becomes a model: its start is computed as for rate equations, later periods are events, and what is
measured are variables of it. A pre-equilibration, or a measurement at time infinity, is a stretch of time: long enough
for rate equations to forget where they came from, and looked at whether means still change in its second half.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from sbmlgrad.errors import PetabError, SimulationError, UnsupportedError
from sbmlgrad.model.derive import Period, in_condition, with_constants, with_observables
from sbmlgrad.model.elements import TIME, Elements, symbol
from sbmlgrad.model.evaluate import evaluate, symbol_ids
from sbmlgrad.model.functions import build, substitute
from sbmlgrad.model.model import Model
from sbmlgrad.petab.course import Course, Surroundings
from sbmlgrad.petab.definition import STEADY, Definition, Experiment, Measurement
from sbmlgrad.petab.evaluate import Evaluation, Evaluator, parameter_values
from sbmlgrad.petab.formulas import symbols, value_of
from sbmlgrad.petab.restart import Equations, State, column_of
from sbmlgrad.petab.steady import SteadyStates, relaxation_time
from sbmlgrad.simulation.experiment import Experiment as Runs
from sbmlgrad.simulation.experiment import next_seed
from sbmlgrad.simulation.methods import Method

if TYPE_CHECKING:
    import pandas

_RELAXATIONS = 3.0  # how often a stretch holds the time in which all but a thousandth is forgotten
_APART = 5.0  # standard errors: means that differ by more have not settled
_ROUNDED = 1e-6  # relative: what a solver may change where nothing is left to chance
_MOMENT = 1e-9  # of a stretch, and of a period's time: just before


@dataclass(frozen=True)
class Ensembles:
    """How trajectories are drawn: by a method, how many for each experiment, and from which seed."""

    method: Method
    n: int
    seed: int

    def evaluate(self, evaluator: Evaluator, changes: Mapping[str, float]) -> Evaluation:
        """Simulate all experiments and compare; see :meth:`Problem.evaluate`."""
        definition = evaluator.definition
        surroundings = Surroundings(parameter_values(definition, changes), definition.aliases)
        observed: dict[int, tuple[float, float]] = {}
        stderr = np.zeros(len(definition.measurements))
        for number, ((model, name), items) in enumerate(evaluator.runs.items()):
            run = _Run(evaluator, evaluator.equations[model], definition.experiments[name], surroundings, items)
            for item, value, noise, error in run.observed(self.method, self.n, next_seed(self.seed, number)):
                observed[item.row], stderr[item.row] = (value, noise), error
        rows = [observed[item.row] for item in definition.measurements]
        return evaluator.compared(surroundings.parameters, rows, stderr)


class _Run:
    """One experiment with its measurements, as a model that is simulated at once."""

    def __init__(
        self,
        evaluator: Evaluator,
        equations: Equations,
        experiment: Experiment,
        surroundings: Surroundings,
        items: Sequence[Measurement],
    ):
        self.definition, self.settings = evaluator.definition, evaluator.settings
        self.equations, self.experiment, self.items = equations, experiment, items
        self.where = f"{self.definition.source}: experiment {experiment.id!r}"
        steady = SteadyStates(self.settings)
        self.course = Course(equations, experiment, surroundings, steady, self.definition.source)
        self.words = _Words(self.definition, equations.elements)

    def observed(self, method: Method, n: int, seed: int) -> Iterable[tuple[Measurement, float, float, float]]:
        """Each measurement with what is simulated in its place, the noise, and the standard error of the first."""
        state = self.course.start()
        begin, end, stretches = self._stretches(state)
        model = self._model(state)
        formulas, needed = self._formulas()
        names = {formula: f"<measured {number}>" for number, formula in enumerate(dict.fromkeys(formulas))}
        seen = {name: f"<value of {name}>" for name in needed}
        variables = {
            **{name: formula for formula, name in names.items()},
            **{own: self.words.translated(symbol(name), {}) for name, own in seen.items()},
        }
        asked = [end if math.isinf(item.time) else item.time for item in self.items]
        self._check_times(asked)
        times = np.unique([*asked, *(time for pair in stretches for time in pair)])
        runs = Runs(times, tuple(variables), n=n, seed=seed, start=begin)
        try:
            result = method.simulate(with_observables(model, variables), runs, keep_counts=False)
        except SimulationError as error:
            raise type(error)(f"{self.where}: {error}") from None
        errors = result.sd / math.sqrt(n)
        measured = list(names.values())
        self._check_settled(result.mean[measured], errors[measured], stretches)
        for item, formula, time in zip(self.items, formulas, asked, strict=True):
            mean, spread = (dict(table.loc[time].items()) for table in (result.mean, errors))
            value, known = float(mean[names[formula]]), {name: float(mean[own]) for name, own in seen.items()}
            yield item, value, self._noise(item, value, {**known, "time": time}), float(spread[names[formula]])

    # ---- the model -------------------------------------------------------------------------------------

    def _model(self, state: State) -> Model:
        """The model of the experiment, with what is done to it after its start, and what only the problem knows."""
        elements, outside = self.equations.elements, dict(self.course.surroundings.parameters)
        _, *later = self.experiment.periods
        for period in later:
            unset = {name for name in period.changes if self.words.name(name) not in self.equations.ids}
            outside = {**dict.fromkeys(unset, math.nan), **outside}
        more = {k: v for k, v in outside.items() if k not in self.equations.ids and k not in self.definition.aliases}
        values = {column_of(elements, name): state.values[name] for name in self.equations.bare.quantities()}
        model = with_constants(self.equations.bare.with_parameters(values), more)
        return in_condition(model, [self._period(period.time, period.changes, state) for period in later])

    def _period(self, time: float, changes: Mapping[str, Any], state: State) -> Period:
        """A period as changes by what species are called here: ``S`` amounts, ``[S]`` concentrations."""
        elements = self.equations.elements
        self._check_events(time, state)
        new = {self.words.name(target): self.words.translated(formula, {}) for target, formula in changes.items()}
        for name in new:
            if name in elements.assignment_rules:
                raise PetabError(f"{self.where}: {name!r} is set by an assignment rule; change what that depends on")
        new = {**new, **_resized(elements, new)}
        return Period(time, {column_of(elements, name): value for name, value in new.items()})

    def _check_events(self, time: float, state: State) -> None:
        """Raise for an event at the very time at which a period begins: it would not see what the period sets."""
        fixed = self.equations.ids - set(self.equations.moving) - self.equations.elements.assignment_rules.keys()
        for event in self.equations.elements.events:
            if set(symbol_ids(event.trigger)) <= fixed | {TIME.name}:
                before, at = (
                    evaluate(event.trigger, {**state.values, TIME.name: moment})
                    for moment in (time - _MOMENT * max(1.0, abs(time)), time)
                )
                if before != at:
                    text = f"event {event.id!r} comes at time {time:g}, just as a period begins; move one of the two"
                    raise UnsupportedError(self.where, [text])

    def _formulas(self) -> tuple[list[Any], list[str]]:
        """What each measurement is of, of symbols of the model, and the ids whose values the noise needs."""
        formulas, needed = [], set[str]()
        for item in self.items:
            observable = self.definition.observables[item.observable]
            given = dict(zip(observable.placeholders, item.overrides, strict=True))
            formulas.append(self.words.translated(observable.formula, given))
            needed |= symbols([observable.noise, *item.noise_overrides, *item.overrides])
            needed -= {observable.id, *observable.placeholders, *observable.noise_placeholders}
        return formulas, sorted(needed - {"time"})

    def _noise(self, item: Measurement, value: float, known: Mapping[str, float]) -> float:
        """The noise formula at the means."""
        observable, values = self.definition.observables[item.observable], dict(known)
        where = f"{self.definition.source}: observable {observable.id!r}: noise"
        placeholders = (*observable.placeholders, *observable.noise_placeholders)
        for name, formula in zip(placeholders, (*item.overrides, *item.noise_overrides), strict=True):
            values[name] = value_of(formula, known, where)
        return value_of(observable.noise, {**values, observable.id: value}, where)

    # ---- time ------------------------------------------------------------------------------------------

    def _stretches(self, state: State) -> tuple[float, float, list[tuple[float, float]]]:
        """When trajectories begin, when infinity is, and pairs of times between which nothing may change."""
        begin = zero = self._zero
        end, pairs = math.inf, []
        if self.experiment.periods[0].time == STEADY:
            stretch = self._stretch(state)
            begin = zero - stretch
            pairs.append((zero - stretch / 2, zero - _MOMENT * stretch))
        if any(math.isinf(item.time) for item in self.items):
            last = self.course.last_start()
            latest = max([last.time, *(item.time for item in self.items if math.isfinite(item.time))])
            stretch = self._stretch(last)
            end = latest + stretch
            pairs.append((end - stretch / 2, end))
        return begin, end, pairs

    def _stretch(self, state: State) -> float:
        if self.equations.follows_time:
            text = (
                "molecules come to rest over a stretch of time, which events and formulas of time do not allow to be "
                "any; begin with a period of the length that is meant (PEtab 2), or measure at a time"
            )
            raise UnsupportedError(self.where, [text])
        time = relaxation_time(self.equations, state, self.settings)
        return _RELAXATIONS * time or 1.0

    def _check_settled(
        self, mean: pandas.DataFrame, errors: pandas.DataFrame, stretches: Sequence[tuple[float, float]]
    ) -> None:
        for pair in stretches:
            middle, last = (mean.loc[time].to_numpy() for time in pair)
            error = np.hypot(*(errors.loc[time].to_numpy() for time in pair))
            if np.any(np.abs(last - middle) > _APART * error + _ROUNDED * np.abs(last)):
                raise SimulationError(
                    f"{self.where}: means still change where the rate equations have long come to rest; begin with a "
                    "period that is long enough (PEtab 2), measure at a time, or use method 'ode'"
                )

    def _check_times(self, asked: Sequence[float]) -> None:
        if min(asked) < self._zero:
            raise PetabError(
                f"{self.where}: a measurement at time {min(asked):g} lies before its start at {self._zero:g}"
            )

    @property
    def _zero(self) -> float:
        """When the experiment begins, a pre-equilibration apart."""
        return next((period.time for period in self.experiment.periods if period.time != STEADY), 0.0)


class _Words:
    """Formulas of a problem as the model has them."""

    def __init__(self, definition: Definition, elements: Elements):
        self.aliases, self.elements = definition.aliases, elements

    def name(self, name: str) -> str:
        """What the model calls it."""
        return self.aliases.get(name, name)

    def translated(self, formula: Any, placeholders: Mapping[str, Any]) -> Any:
        """A formula of symbols of the model, with values in the place of placeholders."""
        new = {}
        for item in formula.free_symbols:
            name = self.name(item.name)
            if item.name in placeholders:
                new[item] = self.translated(placeholders[item.name], {})
            elif name in self.elements.reactions:
                new[item] = self.elements.reactions[name].kinetic_law
            else:
                new[item] = TIME if name == "time" else symbol(name)
        return substitute(formula, new)


def _resized(elements: Elements, values: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be assigned to species in a compartment that is resized at once, so that PEtab's meaning is kept.

    What symbols of species mean stays as it is, where SBML would keep amounts; and what is set is a concentration in
    the new compartment, where an event of SBML takes the old one.
    """
    result: dict[str, Any] = {}
    for name, species in elements.species.items():
        own = species.compartment
        if own in values and name not in elements.assignment_rules:
            value = values.get(name, symbol(name))
            grown = build(sympy.Mul, value, values[own], build(sympy.Pow, symbol(own), sympy.Integer(-1)))
            result[name] = value if elements.means_amount(name) else grown
    return result
