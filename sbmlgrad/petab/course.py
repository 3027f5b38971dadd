"""The course of an experiment through its periods, by rate equations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sbmlgrad.errors import PetabError, SimulationError
from sbmlgrad.model.elements import TIME
from sbmlgrad.petab.definition import STEADY, Experiment, Period
from sbmlgrad.petab.formulas import value_of
from sbmlgrad.petab.restart import Equations, State
from sbmlgrad.petab.steady import SteadyStates, settled

_JUST_BEFORE = 1e-12  # of the time: where a period ends, before what happens at its end


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What formulas of a problem see beside the model: parameters, aliases, and what conditions set of neither."""

    parameters: Mapping[str, float]
    aliases: Mapping[str, str]

    def around(self, values: Mapping[str, float], time: float) -> dict[str, float]:
        """The values of all ids, with those of a model at a time."""
        named = {alias: values[name] for alias, name in self.aliases.items() if name in values}
        return {**self.parameters, **values, **named, "time": time}


def course(
    equations: Equations,
    experiment: Experiment,
    times: Iterable[float],
    surroundings: Surroundings,
    steady: SteadyStates,
    source: str,
) -> dict[float, dict[str, float]]:
    """The values of all ids at each of some times, infinity among them for the steady state at the end.

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
        return _Course(equations, experiment, surroundings, steady, source).at(sorted(set(times)))
    except SimulationError as error:
        raise type(error)(f"{source}: experiment {experiment.id!r}: {error}") from None


class _Course:
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
        self.values_at: dict[float, dict[str, float]] = {}
        if len(experiment.periods) > 1 or experiment.periods[0].time == STEADY:
            equations.check_restarts()

    def at(self, times: list[float]) -> dict[float, dict[str, float]]:
        first, *others = self.experiment.periods
        state = self._start(first)
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
        missing = [time for time in times if time not in self.values_at]
        if missing:
            raise PetabError(f"{self.where}: a measurement at time {missing[0]:g} lies before its start at {begin:g}")
        return self.values_at

    def _start(self, period: Period) -> State:
        start = 0.0 if period.time == STEADY else period.time
        inside, outside = self._targets(period, self.surroundings.parameters)
        names = self.equations.ids & self.surroundings.parameters.keys()
        given = {name: self.surroundings.parameters[name] for name in names}
        given |= self._aliased(self.surroundings.parameters)
        self._surround(outside)
        return self.equations.initial({**given, **inside}, start)

    def _aliased(self, values: Mapping[str, float]) -> dict[str, float]:
        """What parameters set in the model under another name."""
        aliases = self.surroundings.aliases
        return {name: values[alias] for alias, name in aliases.items() if alias in values}

    def _change(self, state: State, period: Period) -> State:
        inside, outside = self._targets(period, self.surroundings.around(state.values, period.time))
        self._surround(outside)
        for name in inside.keys() & self.equations.elements.assignment_rules.keys():
            raise PetabError(f"{self.where}: {name!r} is set by an assignment rule; change what that depends on")
        return replace(state, time=period.time, values={**state.values, **inside, TIME.name: period.time})

    def _targets(self, period: Period, values: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
        """New values of what is in the model, and of what is not."""
        inside: dict[str, float] = {}
        outside: dict[str, float] = {}
        for target, formula in period.changes.items():
            value = value_of(formula, {"time": period.time, **values}, f"{self.where}: change of {target!r}")
            name = self.surroundings.aliases.get(target, target)
            (inside if name in self.equations.ids else outside)[name] = value
        return inside, outside

    def _surround(self, outside: Mapping[str, float]) -> None:
        parameters = {**self.surroundings.parameters, **outside}
        self.surroundings = replace(self.surroundings, parameters=parameters)

    def _follow(self, state: State, times: list[float], end: float) -> State:
        """Follow a period to just before its end, or to the last of the times, and keep what is seen at times."""
        asked = [time for time in times if state.time <= time < end and math.isfinite(time)]
        stops = asked if math.isinf(end) else [*asked, end - _JUST_BEFORE * max(abs(end), end - state.time)]
        if stops:
            seen, state = self.equations.follow(state, stops, self.steady.settings)
            for time, values in zip(asked, seen, strict=False):
                self.values_at[time] = self.surroundings.around(values, time)
        if math.isinf(end) and math.inf in times:
            state = settled(self.equations, state, self.steady.settings)
            self.values_at[math.inf] = self.surroundings.around(state.values, state.time)
        return state
