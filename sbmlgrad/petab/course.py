"""The course of an experiment through its periods, by rate equations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sbmlgrad.errors import PetabError, SimulationError
from sbmlgrad.model.elements import TIME
from sbmlgrad.petab.definition import STEADY, Experiment, Period
from sbmlgrad.petab.formulas import Known, Slopes, slope_of, value_of
from sbmlgrad.petab.restart import Equations, State
from sbmlgrad.petab.steady import SteadyStates, settled

_JUST_BEFORE = 1e-12  # of the time: where a period ends, before what happens at its end


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What formulas of a problem see beside the model: parameters, aliases, and what conditions set of neither."""

    parameters: Mapping[str, float]
    aliases: Mapping[str, str]
    slopes: Slopes = field(default_factory=dict)
    """How the parameters move with those of a fit, if there is one."""

    def around(self, state: State, time: float) -> Known:
        """All ids, with those of a model at a time."""
        named = {alias: state.values[name] for alias, name in self.aliases.items() if name in state.values}
        values = {**self.parameters, **state.values, **named, "time": time}
        outside = {name: slope for name, slope in self.slopes.items() if name not in state.values}
        moved = {alias: state.slopes[name] for alias, name in self.aliases.items() if name in state.slopes}
        return Known(values, {**outside, **state.slopes, **moved})


def course(
    equations: Equations,
    experiment: Experiment,
    times: Iterable[float],
    surroundings: Surroundings,
    steady: SteadyStates,
    source: str,
) -> dict[float, Known]:
    """All ids, and how they move, at each of some times, infinity among them for the steady state at the end.

    Changes are made in the order of PEtab 2: their values are taken just before, all are made at once, concentrations
    in a compartment that is resized are kept, and only then events are looked at.

    Raises
    ------
    PetabError
        if a change cannot be made, or a time lies before the start.
    SimulationError
        if the equations cannot be followed, or there is no steady state where one is needed.
    """
    try:
        return Course(equations, experiment, surroundings, steady, source).at(sorted(set(times)))
    except SimulationError as error:
        raise type(error)(f"{source}: experiment {experiment.id!r}: {error}") from None


class Course:
    """One experiment on its way: the state of the model, and what formulas see around it."""

    def __init__(
        self,
        equations: Equations,
        experiment: Experiment,
        surroundings: Surroundings,
        steady: SteadyStates,
        source: str,
    ):
        self.equations, self.experiment, self.steady = equations, experiment, steady
        self.surroundings = surroundings
        self.where = f"{source}: experiment {experiment.id!r}"
        self.seen_at: dict[float, Known] = {}
        if len(experiment.periods) > 1 or experiment.periods[0].time == STEADY:
            equations.check_restarts()

    def at(self, times: list[float]) -> dict[float, Known]:
        """What is known at increasing times; see :func:`course`."""
        begin = self._through(times)[0]
        missing = [time for time in times if time not in self.seen_at]
        if missing:
            raise PetabError(f"{self.where}: a measurement at time {missing[0]:g} lies before its start at {begin:g}")
        return self.seen_at

    def last_start(self) -> State:
        """The state with which the last period begins."""
        return self._through([])[1]

    def _through(self, times: list[float]) -> tuple[float, State]:
        """Pass through all periods; the time at which the first one begins, and the state after the last of the times.

        Of the last period, nothing is followed where no time asks for it.
        """
        first, *others = self.experiment.periods
        state = self.start()
        if first.time == STEADY:
            state = self.steady.after(self.equations, state)
            state = replace(state, time=others[0].time if others else 0.0)
        begin = state.time
        for index, period in enumerate(self.experiment.periods):
            if period is not first:
                state = self._change(state, period)
            later = self.experiment.periods[index + 1 :]
            if period.time != STEADY or not later:
                state = self._follow(state, times, later[0].time if later else math.inf)
        return begin, state

    def start(self) -> State:
        """The state with which the first period begins, a pre-equilibration at time 0."""
        period = self.experiment.periods[0]
        start = 0.0 if period.time == STEADY else period.time
        own = Known(self.surroundings.parameters, self.surroundings.slopes)
        inside, outside = self._targets(period, own)
        names = {name: name for name in self.equations.ids & own.values.keys()}
        names |= {name: alias for alias, name in self.surroundings.aliases.items() if alias in own.values}
        given = {name: own.values[alias] for name, alias in names.items()}
        slopes = {name: own.slopes[alias] for name, alias in names.items() if alias in own.slopes}
        self._surround(outside)
        return self.equations.initial(_with(Known(given, slopes), inside), start)

    def _change(self, state: State, period: Period) -> State:
        inside, outside = self._targets(period, self.surroundings.around(state, period.time))
        self._surround(outside)
        for name in inside.values.keys() & self.equations.elements.assignment_rules.keys():
            raise PetabError(f"{self.where}: {name!r} is set by an assignment rule; change what that depends on")
        new = _with(Known(state.values, state.slopes), inside)
        return replace(state, time=period.time, values={**new.values, TIME.name: period.time}, slopes=new.slopes)

    def _targets(self, period: Period, known: Known) -> tuple[Known, Known]:
        """New values of what is in the model, and of what is not."""
        inside, outside = Known({}, {}), Known({}, {})
        known = Known({"time": period.time, **known.values}, known.slopes)
        for target, formula in period.changes.items():
            where = f"{self.where}: change of {target!r}"
            name = self.surroundings.aliases.get(target, target)
            slope = slope_of(formula, known, where)
            change = Known({name: value_of(formula, known.values, where)}, {} if slope is None else {name: slope})
            if name in self.equations.ids:
                inside = _with(inside, change)
            else:
                outside = _with(outside, change)
        return inside, outside

    def _surround(self, outside: Known) -> None:
        new = _with(Known(self.surroundings.parameters, self.surroundings.slopes), outside)
        self.surroundings = replace(self.surroundings, parameters=new.values, slopes=new.slopes)

    def _follow(self, state: State, times: list[float], end: float) -> State:
        """Follow a period to just before its end, or to the last of the times, and keep what is seen at times."""
        asked = [time for time in times if state.time <= time < end and math.isfinite(time)]
        stops = asked if math.isinf(end) else [*asked, end - _JUST_BEFORE * max(abs(end), end - state.time)]
        if stops:
            states = self.equations.follow(state, stops, self.steady.settings)
            for time, seen in zip(asked, states, strict=False):
                self.seen_at[time] = self.surroundings.around(seen, time)
            state = states[-1]
        if math.isinf(end) and math.inf in times:
            state = settled(self.equations, state, self.steady.settings)
            self.seen_at[math.inf] = self.surroundings.around(state, state.time)
        return state


def _with(known: Known, changes: Known) -> Known:
    """What is known with some of it changed; what was set to what does not move does not move either."""
    kept = {name: slope for name, slope in known.slopes.items() if name not in changes.values}
    return Known({**known.values, **changes.values}, {**kept, **changes.slopes})
