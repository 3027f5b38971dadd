"""A problem by exact stochastic simulation: what is measured is the mean over trajectories of molecules.

An experiment becomes a model: its start is computed as for rate equations, later periods are events, and what is
measured are variables of it. A pre-equilibration, or a measurement at time infinity, is a stretch of time: long enough
for rate equations to forget where they came from, and looked at whether means still change in its second half.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from sbmlgrad.petab.formulas import Known, slope_of, symbols, value_of
from sbmlgrad.petab.restart import Equations, State, column_of
from sbmlgrad.petab.steady import SteadyStates, relaxation_time
from sbmlgrad.simulation.experiment import Experiment as Runs
from sbmlgrad.simulation.experiment import next_seed
from sbmlgrad.simulation.methods import Method

_RELAXATIONS = 3.0  # how often a stretch holds the time in which all but a thousandth is forgotten
_APART = 5.0  # standard errors: means that differ by more have not settled
_ROUNDED = 1e-6  # relative: what a solver may change where nothing is left to chance
_MOMENT = 1e-9  # of a stretch, and of a period's time: just before


@dataclass(frozen=True, eq=False)
class Means:
    """Means over trajectories of variables by name (variables, times), their standard errors, and how they move with
    the parameters of a fit (P, variables, times), if there is one."""

    names: Sequence[str]
    times: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    slopes: np.ndarray | None = None

    def at(self, name: str, time: float) -> tuple[float, float, np.ndarray | None]:
        """One of them: mean, standard error, slopes (P,)."""
        row, column = list(self.names).index(name), int(np.searchsorted(self.times, time))
        slopes = None if self.slopes is None else self.slopes[:, row, column]
        return float(self.values[row, column]), float(self.errors[row, column]), slopes


@dataclass(frozen=True)
class Seen:
    """What is simulated in place of a measurement: the mean with its standard error, the noise around it, and how both
    move with the parameters of a fit, if there is one."""

    value: float
    noise: float
    error: float
    slope: np.ndarray | None
    noise_slope: np.ndarray | None


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
        for number, run in enumerate(runs_of(evaluator)):
            begun = run.begin(surroundings)
            means = drawn_means(run, begun, self.method, self.n, next_seed(self.seed, number))
            run.check_settled(means, begun.stretches)
            for item, seen in run.compared(begun, means):
                observed[item.row], stderr[item.row] = (seen.value, seen.noise), seen.error
        rows = [observed[item.row] for item in definition.measurements]
        return evaluator.compared(surroundings.parameters, rows, stderr)


def runs_of(evaluator: Evaluator, whole_powers: bool = False) -> list[Run]:
    """A run for each experiment of a model with its measurements."""
    experiments, equations = evaluator.definition.experiments, evaluator.equations
    return [
        Run(evaluator, equations[model], experiments[name], items, whole_powers)
        for (model, name), items in evaluator.runs.items()
    ]


def drawn_means(run: Run, begun: Begun, method: Method, n: int, seed: int) -> Means:
    """The means of ``n`` trajectories; raises :class:`SimulationError` where they cannot be simulated."""
    experiment = Runs(begun.times, tuple(run.variables), n=n, seed=seed, start=begun.start)
    try:
        result = method.simulate(run.model(begun), experiment, keep_counts=False)
    except SimulationError as error:
        raise type(error)(f"{run.where}: {error}") from None
    names = list(run.variables)
    errors = result.sd[names].to_numpy().T / math.sqrt(n)
    return Means(names, begun.times, result.mean[names].to_numpy().T, errors)


@dataclass(frozen=True, eq=False)
class Begun:
    """An experiment at its start, at values of the parameters.

    Attributes
    ----------
    state
        With which it starts.
    outside
        What formulas see that is not in the model.
    start, infinity
        When trajectories begin, and which time stands for infinity.
    stretches
        Pairs of times between which means may not change.
    times
        At which trajectories are looked at.
    """

    state: State
    outside: Known
    start: float
    infinity: float
    stretches: Sequence[tuple[float, float]]
    times: np.ndarray

    def time(self, item: Measurement) -> float:
        """When a measurement is made."""
        return self.infinity if math.isinf(item.time) else item.time


class Run:
    """One experiment with its measurements, as a model that is simulated at once.

    ``whole_powers`` is for fits: pre-equilibrations then last for a power of two, so that the random numbers of
    trajectories are the same where parameters hardly differ.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        equations: Equations,
        experiment: Experiment,
        items: Sequence[Measurement],
        whole_powers: bool = False,
    ):
        self.definition, self.settings = evaluator.definition, evaluator.settings
        self.equations, self.experiment, self.items = equations, experiment, items
        self.where = f"{self.definition.source}: experiment {experiment.id!r}"
        self.words = _Words(self.definition, equations.elements)
        self._whole_powers = whole_powers
        formulas, needed = self._formulas()
        self._measured = dict(zip((item.row for item in items), formulas, strict=True))
        names = {formula: f"<measured {number}>" for number, formula in enumerate(dict.fromkeys(formulas))}
        self._names = names
        self._seen = {name: f"<value of {name}>" for name in needed}
        self.variables = {
            **{name: formula for formula, name in names.items()},
            **{own: self.words.translated(symbol(name), {}) for name, own in self._seen.items()},
        }
        """What trajectories are looked at for: formulas by name."""

    def begin(self, surroundings: Surroundings) -> Begun:
        """The experiment at its start.

        Raises
        ------
        PetabError
            for a measurement before it.
        SimulationError, UnsupportedError
            where there is no steady state to begin with or to come to, or molecules do not come to rest in some time.
        """
        steady = SteadyStates(self.settings)
        course = Course(self.equations, self.experiment, surroundings, steady, self.definition.source)
        state = course.start()
        known = course.surroundings
        start, infinity, stretches = self._stretches(state, course)
        asked = [infinity if math.isinf(item.time) else item.time for item in self.items]
        self._check_times(asked)
        times = np.unique([*asked, *(time for pair in stretches for time in pair)])
        return Begun(state, Known(known.parameters, known.slopes), start, infinity, stretches, times)

    def compared(self, begun: Begun, means: Means) -> Iterable[tuple[Measurement, Seen]]:
        """Each measurement with what is simulated in its place."""
        for item in self.items:
            time = begun.time(item)
            value, error, slope = means.at(self._names[self._measured[item.row]], time)
            values, slopes = {**begun.outside.values, "time": time}, dict(begun.outside.slopes)
            for name, own in self._seen.items():
                values[name], _, moved = means.at(own, time)
                slopes.pop(name, None)
                if moved is not None:
                    slopes[name] = moved
            noise, noise_slope = self._noise(item, value, slope, Known(values, slopes))
            yield item, Seen(value, noise, error, slope, noise_slope)

    # ---- the model -------------------------------------------------------------------------------------

    def model(self, begun: Begun) -> Model:
        """The model of the experiment, with what is done to it after its start, and what is looked at."""
        _, *later = self.experiment.periods
        known = self.quantities(begun)
        own = self.equations.bare.quantities()
        values = {name: value for name, value in known.values.items() if _plain(name) in own}
        more = {name: value for name, value in known.values.items() if _plain(name) not in own}
        model = with_constants(self.equations.bare.with_parameters(values), more)
        model = in_condition(model, [self._period(period.time, period.changes, begun.state) for period in later])
        return with_observables(model, self.variables)

    def quantities(self, begun: Begun) -> Known:
        """The numbers of the model, by what it calls them: initial values, and what only the problem knows."""
        elements, state = self.equations.elements, begun.state
        outside = {**dict.fromkeys(self._unset, math.nan), **begun.outside.values}
        more = {k: v for k, v in outside.items() if k not in self.equations.ids and k not in self.definition.aliases}
        columns = {name: column_of(elements, name) for name in self.equations.bare.quantities()}
        slopes = {column: state.slopes[name] for name, column in columns.items() if name in state.slopes}
        slopes |= {name: slope for name, slope in begun.outside.slopes.items() if name in more}
        return Known({**{column: state.values[name] for name, column in columns.items()}, **more}, slopes)

    @property
    def _unset(self) -> set[str]:
        """What later periods set that is not in the model."""
        _, *later = self.experiment.periods
        return {name for p in later for name in p.changes if self.words.name(name) not in self.equations.ids}

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
        """What each measurement is of, of symbols of the model, and the ids whose values the noise needs that may
        change on the way."""
        formulas, needed = [], set[str]()
        for item in self.items:
            observable = self.definition.observables[item.observable]
            given = dict(zip(observable.placeholders, item.overrides, strict=True))
            formulas.append(self.words.translated(observable.formula, given))
            needed |= symbols([observable.noise, *item.noise_overrides, *item.overrides])
            needed -= {observable.id, *observable.placeholders, *observable.noise_placeholders}
        inside = self.equations.ids | self.equations.elements.reactions.keys()
        moving = {name for name in needed if self.words.name(name) in inside} | (needed & self._unset)
        return formulas, sorted(moving - {"time"})

    def _noise(
        self, item: Measurement, value: float, slope: np.ndarray | None, known: Known
    ) -> tuple[float, np.ndarray | None]:
        """The noise formula at the means, and how it moves."""
        observable, values, slopes = self.definition.observables[item.observable], dict(known.values), {**known.slopes}
        where = f"{self.definition.source}: observable {observable.id!r}: noise"
        placeholders = (*observable.placeholders, *observable.noise_placeholders)
        own = dict(zip(placeholders, (*item.overrides, *item.noise_overrides), strict=True))
        moved = {name: slope_of(formula, known, where) for name, formula in own.items()} | {observable.id: slope}
        values |= {name: value_of(formula, known.values, where) for name, formula in own.items()}
        values[observable.id] = value
        for name, change in moved.items():
            slopes.pop(name, None)
            if change is not None:
                slopes[name] = change
        return value_of(observable.noise, values, where), slope_of(observable.noise, Known(values, slopes), where)

    # ---- time ------------------------------------------------------------------------------------------

    def _stretches(self, state: State, course: Course) -> tuple[float, float, list[tuple[float, float]]]:
        """When trajectories begin, when infinity is, and pairs of times between which nothing may change."""
        begin = zero = self._zero
        end, pairs = math.inf, []
        if self.experiment.periods[0].time == STEADY:
            stretch = self._stretch(state)
            begin = zero - stretch
            pairs.append((zero - stretch / 2, zero - _MOMENT * stretch))
        if any(math.isinf(item.time) for item in self.items):
            last = course.last_start()
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
        stretch = _RELAXATIONS * time or 1.0
        return 2.0 ** math.ceil(math.log2(stretch)) if self._whole_powers else stretch

    def check_settled(self, means: Means, stretches: Sequence[tuple[float, float]]) -> None:
        """Raise :class:`SimulationError` for means that have not come to rest."""
        rows = slice(len(self._names))
        for pair in stretches:
            columns = np.searchsorted(means.times, pair)
            (middle, last), error = means.values[rows, columns].T, np.hypot(*means.errors[rows, columns].T)
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


def _plain(column: str) -> str:
    return column[1:-1] if column.startswith("[") else column


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
