"""How many reactions will fire, known before a simulation begins: the hopeless is refused, the long announced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from sbmlgrad.cores import cores
from sbmlgrad.errors import LongRunWarning, PropensityError, TruncationError, warn_user
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.network.mass_action import MassAction
from sbmlgrad.network.program import LARGE, Program
from sbmlgrad.simulation.dynamics import ROUNDING, Dynamics, of_network, of_process
from sbmlgrad.simulation.ensemble import propensities_of
from sbmlgrad.simulation.experiment import Experiment, too_many
from sbmlgrad.simulation.mean_course import follow
from sbmlgrad.simulation.pilot import Pilot, fly

_FEW = 30.0  # molecules of a species, so few that chance decides
_IN_DOUBT = 10.0  # times what is allowed, where the forecast is what was last seen
NETWORK = "the network"  # what a network from Python is called in messages
_FINER = 10  # steps of a solver that is not rough, for each rough one
_NEAR = 0.01  # of a limit: what is not even near it need not be known closely
_LAST = "the last forecast"  # its key in a cache
_SOON = 6.0  # seconds, of which it need not be known closely how many they are
_LANES = 20  # trajectories, of which a step takes as long as of fewer
_MOST_STEPS = 1e15  # that are told from more
_MOST_FIRINGS = 1e30  # of which it matters how many they are
_LONG = 60.0  # seconds that nobody should wait unwarned
_UNSURE = 3.0  # times longer than expected that a run may take


@dataclass(frozen=True)
class Forecast:
    """What is expected of a trajectory from ``start`` to ``end``.

    Attributes
    ----------
    firings
        Reactions that fire in it, by the solution of the rate equations.
    reached
        The time to which that could be followed; from there on as many are taken to fire in a time as did lately.
    limit, limit_at
        How many reactions are allowed, and when so many have fired; None if they have not by ``reached``.
    largest
        Index and number of the species of which there are most where following ended.
    steps
        How many steps of a rough solver it takes to the end, those that what follows time alone cuts short included.
    """

    start: float
    end: float
    firings: float
    reached: float
    limit: float
    limit_at: float | None
    largest: tuple[int, float]
    steps: int = 0

    @property
    def complete(self) -> bool:
        """Whether the solution could be followed to the end."""
        return self.reached >= self.end

    @property
    def hopeless(self) -> bool:
        """Whether a trajectory will need more reactions than are allowed; in doubt not."""
        above = (1.0 if self.complete else _IN_DOUBT) * self.limit < self.firings < np.inf
        return self.limit_at is not None or bool(above)


def forecast(dynamics: Dynamics, start: float, end: float, limit: float, closely: bool = True) -> Forecast:
    """What is expected of a trajectory of a process from ``start`` to ``end``, of which ``limit`` reactions may fire.

    It takes up to a second. Where molecules are few, the mean of what happens differs from what happens to the mean:
    there a few rough trajectories correct it, if it is to be known ``closely``.
    """
    if not end > start:
        return Forecast(start, end, 0.0, end, limit, None, (0, 0.0))
    # at this size, threads of OpenBLAS wait for each other ten times longer than they work, wherever cores are busy
    with _linear_algebra().limit(limits=1, user_api="blas"):
        return _forecast(dynamics, start, end, limit, closely)


@cache
def _linear_algebra() -> ThreadpoolController:
    return ThreadpoolController()  # of numpy, which is loaded


def _forecast(dynamics: Dynamics, start: float, end: float, limit: float, closely: bool) -> Forecast:
    course = follow(dynamics, start, end, limit)
    counts = np.where(dynamics.whole, np.nan_to_num(course.state), -1.0)
    largest = (int(np.argmax(counts)), float(np.max(counts))) if len(counts) else (0, 0.0)
    rest = float(course.lately) * float(end - course.reached) if course.reached < end else 0.0
    steps = course.steps
    if course.reached < end and course.limit_at is None:  # as many for the rest as for what was followed
        steps = int(min(steps * (end - start) / max(course.reached - start, 1e-300), _MOST_STEPS))
    steps += dynamics.stops(start, end) if course.limit_at is None else 0
    ahead = Forecast(start, end, course.firings + rest, course.reached, limit, course.limit_at, largest, steps)
    few = np.any(np.maximum(dynamics.state, counts)[dynamics.changing] < _FEW)
    if closely and dynamics.only_counts and (few or not ahead.complete):
        return _corrected(ahead, dynamics, fly(dynamics, start, end))
    return ahead


def impossible(dynamics: Dynamics, start: float, certain: bool = True) -> tuple[int, float] | None:
    """Index and value of a propensity that is negative or not finite at the start, which ends a simulation there.

    None if there is none, or if it is not ``certain`` where a trajectory starts: from fractions of molecules, or with
    events, it starts somewhere near.
    """
    state = np.where(dynamics.whole, np.round(dynamics.state), dynamics.state)
    if certain and (dynamics.events is not None or not np.array_equal(state, dynamics.state)):
        return None
    if not np.all(np.isfinite(state[dynamics.whole]) & (state[dynamics.whole] >= 0)):
        return None  # an error of its own
    values = replace(dynamics, state=state).propensities(start)
    bad = np.flatnonzero(~(values >= -ROUNDING) | ~np.isfinite(values))
    return (int(bad[0]), float(values[bad[0]])) if len(bad) else None


def _corrected(ahead: Forecast, dynamics: Dynamics, pilot: Pilot) -> Forecast:
    """A forecast with what some trajectories say of it."""
    if pilot.reached >= 0.5 * (ahead.start + ahead.end) or not ahead.complete:
        firings = pilot.will
    else:
        so_far = follow(dynamics, ahead.start, pilot.reached, ahead.limit).firings
        firings = ahead.firings * (pilot.firings + 1.0) / (so_far + 1.0)
    still_above = ahead.limit_at is not None and firings > ahead.limit
    return replace(ahead, firings=firings, limit_at=ahead.limit_at if still_above else None)


def look_ahead_at_network(
    source: str,
    network: ReactionNetwork,
    counts: Sequence[float] | np.ndarray,
    coefficients: Sequence[Any],
    experiment: Experiment,
    as_data: MassAction | None = None,
) -> Forecast:
    """The forecast of what an experiment asks of a network, before it is done; raises and warns as
    :func:`look_ahead_at_process` does.

    ``as_data`` is the network where the loop of sparse ones runs it.
    """
    dynamics = of_network(network, counts, coefficients, lambda x: propensities_of(network, coefficients, x))
    if as_data is not None:
        dynamics = replace(dynamics, updates=as_data.updates)
    values = np.concatenate([np.ravel(value) for value in (*counts, *coefficients, 0.0)])
    _refuse_impossible(source, network.reactions, dynamics, experiment)
    return _look_ahead(source, network.species, dynamics, experiment, _Seen(values, network.compiled))


def look_ahead_at_process(process: HybridModel, quantities: np.ndarray, experiment: Experiment) -> Forecast:
    """The forecast of what an experiment asks of a jump process, before it is done.

    Raises :class:`TruncationError` where more reactions fire in a trajectory than are allowed,
    :class:`PropensityError` where a propensity is negative or infinite at the start, and warns where it will take more
    than a minute.
    """
    seen, dynamics = _Seen(np.asarray(quantities, float), process.compiled), of_process(process, quantities)
    assert isinstance(process.start_program, Program)
    if all(node.operation != "draw" for node in process.start_program.graph.nodes):
        _refuse_impossible(process.source, process.channels, dynamics, experiment)
    return _look_ahead(process.source, process.variables, dynamics, experiment, seen)


def _refuse_impossible(source: str, channels: Sequence[str], dynamics: Dynamics, experiment: Experiment) -> None:
    start = experiment.start
    bad = impossible(dynamics, start) if experiment.times[-1] > start else None
    if bad is not None:
        raise PropensityError(
            f"{source}: reaction {channels[bad[0]]!r}: its propensity is {bad[1]:g} at time {start:g} in trajectory 0; "
            "exact simulation needs finite laws that are not negative: write a reversible law as two reactions, or "
            "check its parameters"
        )


@dataclass(frozen=True, eq=False)
class _Seen:
    """The values that a forecast is for, and the cache that keeps the last one with its values."""

    values: np.ndarray
    cache: dict[Any, Any]

    def before(self, start: float, end: float) -> tuple[Forecast, Forecast] | None:
        """The last forecast, if values were within a factor of two and the time no shorter than half of this one; and
        what it comes to if numbers grow exponentially: a rate or a time that is twice as large squares them.
        """
        values, ahead = self.cache.get(_LAST, (None, None))
        if values is None or values.shape != self.values.shape or ahead.start != start:
            return None
        small, large = np.sort(np.abs([values, self.values]), axis=0)
        alike = np.array_equal(np.sign(values), np.sign(self.values)) and bool(np.all(large <= 2 * small))
        if not alike or end - start > 2 * (ahead.end - ahead.start):
            return None
        power = float(np.max(large[small > 0] / small[small > 0], initial=1.0))
        power *= max(1.0, (end - start) / (ahead.end - ahead.start)) if end > ahead.end else 1.0
        return ahead, replace(ahead, firings=max(ahead.firings, min(ahead.firings, _MOST_FIRINGS) ** power))

    def keep(self, ahead: Forecast) -> None:
        """For the next time."""
        self.cache[_LAST] = self.values, ahead


def _look_ahead(
    source: str, variables: Sequence[str], dynamics: Dynamics, experiment: Experiment, seen: _Seen
) -> Forecast:
    e = experiment
    end, limit = float(e.times[-1]), e.max_events

    def is_near(ahead: Forecast) -> bool:
        return ahead.firings > _NEAR * limit or seconds(dynamics, ahead, e.n)[1] > _SOON

    before = seen.before(e.start, end)
    if before is not None and before[0].complete and not is_near(before[1]):
        return before[0]
    ahead = forecast(dynamics, e.start, end, limit, closely=False)
    if is_near(ahead):
        ahead = forecast(dynamics, e.start, end, limit)
    seen.keep(ahead)
    if ahead.hopeless:
        raise TruncationError(f"{source}: {_too_many(ahead, variables)}", *too_many(ahead.firings, source != NETWORK))
    compiling, running = seconds(dynamics, ahead, e.n)
    if compiling + _UNSURE * running > _LONG:
        warn_user(_long(source, ahead, e.n, compiling, running))
    return ahead


def _long(source: str, ahead: Forecast, n: int, compiling: float, running: float) -> LongRunWarning:
    keywords = options = ""
    if running > compiling:
        keywords = "fewer trajectories (n) or an earlier end take less; "
        options = "fewer trajectories (-n) or an earlier --end take less; "
    return LongRunWarning(
        f"{source}: about {ahead.firings:.2g} reactions will fire in each of {n} trajectories, which takes about "
        f"{_duration(running)} here, and compiling up to {_duration(compiling)} before that",
        f"{keywords}the rate equations (method='ode') take hardly any",
        f"{options}--method ode takes hardly any",
    )


def seconds(dynamics: Dynamics, ahead: Forecast, n: int) -> tuple[float, float]:
    """About what it takes to compile the loop of a process, and to run ``n`` trajectories of it.

    From what published models took on one core of a server (benchmarks/forecasts.py): it may be off by a factor of 3.
    """
    fused = dynamics.nodes if dynamics.is_deep else min(dynamics.nodes, LARGE)
    size = fused + 4 * dynamics.channels + 2 * len(dynamics.state)
    if dynamics.updates is not None:
        return 8.0, n / min(cores(), n) * ahead.firings * (5e-8 + 3e-9 * dynamics.updates)
    at_once = min(cores(), max(1, n // 256))
    if dynamics.only_counts and not dynamics.timed:
        return 1.0 + 0.005 * size, max(n, _LANES) / at_once * ahead.firings * (1e-8 + 1.5e-9 * size)
    steps = ahead.firings + _FINER * ahead.steps
    return 3.5 + 0.012 * size, n / at_once * steps * (6e-7 + 3e-9 * size)


def _too_many(ahead: Forecast, variables: Sequence[str]) -> str:
    index, count = ahead.largest
    by = f", and so many have fired by time {ahead.limit_at:.3g}" if ahead.limit_at is not None else ""
    followed = "" if ahead.complete else f", which could be followed to time {ahead.reached:.3g}"
    return (
        f"about {ahead.firings:.2g} reactions would fire in each trajectory from time {ahead.start:g} to {ahead.end:g} "
        f"(by the rate equations{followed}), more than the {ahead.limit:.3g} allowed; species "
        f"{variables[index]!r} comes to {count:.4g} molecules{by}"
    )


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} seconds"
