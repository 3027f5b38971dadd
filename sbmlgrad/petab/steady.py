"""Steady states of rate equations, found by following them for longer and longer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sbmlgrad.errors import SimulationError, TruncationError
from sbmlgrad.petab.restart import Equations, State
from sbmlgrad.simulation.path import Settings

_CHANGE = 1e-7  # relative, over the second half of a span: from there on, a value counts as constant
_NOTHING = 1e-12  # of the largest value a variable has had
_CHANGE_OF_SLOPE, _NO_SLOPE = 1e-5, 1e-8  # the same for derivatives, which carry larger errors
_SOON, _LATE = 1e1, 1e6  # in the model's unit of time: the first span that is tried
_LONGEST = 1e12
_MOST_STEPS = 200_000
_GONE = 1e-3  # of a deviation, or of a slope by where a solution starts: what is left of it when it counts as gone
_HALVINGS = 60  # of the time until a steady state: where it is looked for when it was near


class SteadyStates:
    """The steady states that were found, by where they were looked for from: conditions often share one."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._states: dict[tuple[int, tuple[float, ...], tuple[bytes, ...]], State] = {}

    def after(self, equations: Equations, start: State) -> State:
        """The steady state from the start of a simulation; raises as :func:`settled` does."""
        slopes = tuple(name.encode() + start.slopes[name].tobytes() for name in sorted(start.slopes))
        key = id(equations), tuple(start.values.values()), slopes
        if key not in self._states:
            self._states[key] = settled(equations, start, self.settings)
        return self._states[key]


def settled(equations: Equations, state: State, settings: Settings) -> State:
    """The state in which nothing changes any more, from a state on.

    The equations are followed over spans that grow tenfold, until no variable changes over the second half of one by
    more than a part in 10 million, and derivatives by a part in 100,000. Where time alone changes nothing, the first
    span is a million units of time, so that what is slow is not taken for what is still; a solver crosses it in a few
    steps once it is.

    Raises
    ------
    SimulationError
        if there is none: something grows without end, or oscillates.
    """
    settings = replace(settings, most_steps=min(settings.most_steps, _MOST_STEPS))
    begin, span = state.time, _SOON if equations.follows_time else _LATE
    largest = {name: abs(state.values[name]) for name in equations.moving}
    steepest = {name: _steepness(state, name) for name in equations.moving}
    restless = list(equations.moving)
    while span <= _LONGEST:
        end = begin + span
        try:
            middle, state = equations.follow(state, [state.time + (end - state.time) / 2, end], settings)
        except TruncationError:
            break
        for name in equations.moving:
            largest[name] = max(largest[name], abs(middle.values[name]), abs(state.values[name]))
            steepest[name] = max(steepest[name], _steepness(middle, name), _steepness(state, name))
        restless = [name for name in equations.moving if not _rests(name, middle, state, largest, steepest)]
        if not restless:
            return state
        span *= 10.0
    moving = f" ({', '.join(restless[:3])} still changes)" if restless else ""
    raise SimulationError(
        f"{equations.elements.source.path}: no steady state was reached by time {state.time:g}{moving}; a "
        "pre-equilibration or a measurement at time inf needs one: change the model or the parameters, or give a time"
    )


def relaxation_time(equations: Equations, state: State, settings: Settings) -> float:
    """How long, from a state on, until nothing tells of it any more: what it was, and small deviations from it.

    To one part in a thousand, of the rate equations and of the derivatives of their solution by where it starts.

    Raises
    ------
    SimulationError
        as :func:`settled` does.
    """
    names = equations.moving
    unit = dict(zip(names, np.eye(len(names)), strict=True))
    end = settled(equations, state, settings)
    shares = 2.0 ** -np.arange(_HALVINGS, -1.0, -1.0)
    times = state.time + (end.time - state.time) * shares
    states = equations.follow(replace(state, slopes=unit), times.tolist(), settings)
    values = np.array([[one.values[name] for name in names] for one in states])
    slopes = np.array([[one.slopes[name] for name in names] for one in states])
    largest = np.maximum(np.abs(values).max(axis=0), [abs(state.values[name]) for name in names])
    near = _GONE * np.maximum(np.abs(values[-1]), _GONE * largest)
    off = np.any(np.abs(values - values[-1]) > near, axis=1) | np.any(np.abs(slopes - slopes[-1]) > _GONE, axis=(1, 2))
    index = int(np.flatnonzero(off)[-1]) + 1 if off.any() else 0
    return float(times[index] - state.time)


def _rests(name: str, middle: State, last: State, largest: Mapping[str, float], steepest: Mapping[str, float]) -> bool:
    """Whether a variable and its derivatives do not change any more."""
    before, after = middle.values[name], last.values[name]
    if not math.isclose(before, after, rel_tol=_CHANGE, abs_tol=_NOTHING * largest[name]):
        return False
    if name not in last.slopes or name not in middle.slopes:
        return True
    gap = np.max(np.abs(last.slopes[name] - middle.slopes[name]), initial=0.0)
    return bool(gap <= _CHANGE_OF_SLOPE * _steepness(last, name) + _NO_SLOPE * steepest[name])


def _steepness(state: State, name: str) -> float:
    """The largest derivative of a variable."""
    return float(np.max(np.abs(state.slopes[name]), initial=0.0)) if name in state.slopes else 0.0
