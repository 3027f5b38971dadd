"""Where simulated moments and their derivatives come from: counts that jump, or whatever flows and jumps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np

from sbmlgrad.errors import FitError
from sbmlgrad.fitting.checkpoint import Memory
from sbmlgrad.fitting.loss import Target
from sbmlgrad.fitting.trials import Trial
from sbmlgrad.gradient import hybrid_sensitivity
from sbmlgrad.gradient.automatic import Automatic
from sbmlgrad.gradient.estimator import Estimate, Estimator, Task
from sbmlgrad.gradient.exact import Exact
from sbmlgrad.gradient.observables import Moment, Observable
from sbmlgrad.gradient.problem import Problem, differentiable, once
from sbmlgrad.model.model import Model
from sbmlgrad.network import DiscreteModel, ReactionNetwork
from sbmlgrad.network.discretise import only_counts
from sbmlgrad.simulation.ensemble import Ensemble, run
from sbmlgrad.simulation.experiment import MAX_EVENTS, Experiment
from sbmlgrad.simulation.forecast import NETWORK, look_ahead_at_network, look_ahead_at_process
from sbmlgrad.simulation.fractions import fractional, warn_of_fractions
from sbmlgrad.simulation.hybrid_ensemble import prepare_hybrid, run_hybrid
from sbmlgrad.simulation.methods import SSA
from sbmlgrad.simulation.path import Settings
from sbmlgrad.simulation.prepare import discretised, prepare

Made = TypeVar("Made")


class Source(Protocol):
    """Moments of a model's exact trajectories at any values (P,) of the fitted parameters."""

    @property
    def quantities(self) -> Mapping[str, float]:
        """What can be fitted, with the model's values."""
        ...

    def reaches(self, values: np.ndarray) -> list[bool]:
        """Whether anything simulated depends on each parameter."""
        ...

    def estimate(self, task: Task, descending: bool) -> Estimate:
        """Moments and their derivatives, from the start of the model on; with more bias and less noise while
        ``descending``, given a choice."""
        ...

    def simulated(self, values: np.ndarray, times: np.ndarray, n: int, seed: int) -> np.ndarray:
        """What is seen (observables, times, n) along trajectories."""
        ...

    def look_ahead(self, values: np.ndarray, times: np.ndarray, n: int) -> None:
        """Raise :class:`TruncationError` where more reactions would fire than are allowed; warn where it takes long."""
        ...

    def warn(self) -> None:
        """Name what starts from, or is set to, fractions of molecules."""
        ...


def source(
    trials: Sequence[Trial], target: Target, estimator: Estimator, method: SSA, max_events: int = MAX_EVENTS
) -> Source:
    """That of all conditions, made once for each model, so that compiled loops are found again.

    A trajectory in which more than ``max_events`` reactions fire raises :class:`TruncationError`.
    """
    if isinstance(estimator, Exact):
        raise FitError("estimator 'exact': draws nothing, and a fit goes by the noise it sees; use 'auto'")
    parts = []
    for index, trial in enumerate(trials):
        seen = [function for function, own in zip(target.functions, target.trials, strict=True) if own == index]
        functions = _Functions(seen, [Moment(*f.of, *f.of) for f in seen] if target.squares else [])
        begun = _Begun(trial.model, trial.names, trial.start)
        parts.append(_source(begun, functions, estimator, method, max_events))
    if len(parts) == 1 and len(trials[0].names) == 1 + max(trials[0].places, default=-1):
        return parts[0]
    return _OfTrials(parts, trials, target)


def means(
    model: Model,
    names: Sequence[str],
    observables: Sequence[str],
    estimator: Estimator,
    method: SSA,
    start: float = 0.0,
    max_events: int = MAX_EVENTS,
) -> Source:
    """That of the means of a model's variables alone, from the time ``start`` on, by its quantities ``names``."""
    functions = _Functions([Moment(name) for name in observables], [])
    return _source(_Begun(model, tuple(names), start), functions, estimator, method, max_events)


@dataclass(frozen=True)
class _Begun:
    """A model, its quantities to differentiate by, and when it begins."""

    model: Model | ReactionNetwork
    names: tuple[str, ...]
    start: float


def _source(begun: _Begun, functions: _Functions, estimator: Estimator, method: SSA, max_events: int) -> Source:
    if isinstance(begun.model, Model) and not only_counts(begun.model, functions.variables):
        return _OfProcess(begun, functions, estimator.name, method.settings, max_events)
    return _OfCounts(begun, functions, estimator, max_events)


def simulated(
    model: Model | ReactionNetwork, values: Mapping[str, float], observables: Sequence[str], experiment: Experiment
) -> np.ndarray:
    """Observables (observables, times, n) along exact trajectories of a model of counts alone, or a network."""
    prepared = prepare(model, values, observables)
    ensemble = Ensemble(
        prepared.network,
        prepared.counts,
        prepared.coefficients,
        experiment.times,
        experiment.n,
        experiment.seed,
        start=experiment.start,
        max_events=experiment.max_events,
    )
    return np.concatenate([prepared.observe(chunk.records) for chunk in run(ensemble)], axis=-1)


@dataclass(frozen=True)
class _Functions:
    """What is simulated of one condition, and the squares of it that standard deviations need."""

    seen: Sequence[Observable]
    squares: Sequence[Observable]

    @property
    def every(self) -> list[Observable]:
        """All that derivatives are needed of."""
        return [*self.seen, *self.squares]

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of what they are functions of."""
        return tuple(dict.fromkeys(name for function in self.seen for name in function.of))

    def kept(self, cache: dict[Any, Any], key: tuple[Any, ...], make: Callable[[], Made]) -> Made:
        """What is made for them: kept with the model, but for ranges, which other data hardly have again."""
        if not all(function.is_smooth for function in self.seen):
            return make()
        return once(cache, (*key, *self.every), make)

    def of(self, variables: Sequence[str], values: np.ndarray) -> np.ndarray:
        """Those that are seen (functions, times, n), of values (variables, times, n)."""
        named = dict(zip(variables, values, strict=True))
        return np.stack([np.asarray(function.value(named), float) for function in self.seen])


class Remembered:
    """A source whose estimates are kept, and not made again."""

    def __init__(self, source: Source, memory: Memory, name: str):
        self._source, self._memory, self._name = source, memory, name
        self.quantities = source.quantities

    def reaches(self, values: np.ndarray) -> list[bool]:
        return self._source.reaches(values)

    def estimate(self, task: Task, descending: bool) -> Estimate:
        def computed() -> tuple[np.ndarray, ...]:
            found = self._source.estimate(task, descending)
            kept = (found.values, found.values_stderr, found.derivatives, found.stderr, found.values_sd)
            return *kept, np.array(float(found.n))

        seed = [task.seed >> 32, task.seed & 0xFFFFFFFF]  # which a float64 holds
        arguments = (task.values, task.times, [task.n, descending, *seed])
        *arrays, n = self._memory(f"{self._name}, descending {descending}", arguments, computed)
        values, values_stderr, derivatives, stderr, values_sd = arrays
        return Estimate(values, values_stderr, derivatives, stderr, int(n), values_sd)

    def simulated(self, values: np.ndarray, times: np.ndarray, n: int, seed: int) -> np.ndarray:
        return self._source.simulated(values, times, n, seed)

    def look_ahead(self, values: np.ndarray, times: np.ndarray, n: int) -> None:
        self._source.look_ahead(values, times, n)

    def warn(self) -> None:
        self._source.warn()


class _OfTrials:
    """Several conditions, one after the other, each at its own times; there is nothing at those of others."""

    def __init__(self, parts: Sequence[Source], trials: Sequence[Trial], target: Target):
        self._parts = [
            _Part(source, trial.places, np.flatnonzero(np.array(target.trials) == index), target.own_times(index))
            for index, (source, trial) in enumerate(zip(parts, trials, strict=True))
        ]
        self._observables, self._squares = len(target.observables), target.squares
        self.quantities = {
            name: part.source.quantities[name]
            for part, trial in reversed(list(zip(self._parts, trials, strict=True)))
            for name in trial.names
        }

    def reaches(self, values: np.ndarray) -> list[bool]:
        result = np.zeros(len(values), bool)
        for part in self._parts:
            result[part.places] |= np.array(part.source.reaches(values[part.places]), bool)
        return result.tolist()

    def estimate(self, task: Task, descending: bool) -> Estimate:
        parameters, functions = len(task.values), self._observables * (2 if self._squares else 1)
        shape = functions, len(task.times)
        values, errors, sds = (np.zeros(shape) for _ in range(3))
        slopes, noise = (np.zeros((parameters, *shape)) for _ in range(2))
        every = np.asarray(task.values)
        for part, seed in zip(self._parts, self._seeds(task.seed), strict=True):
            own = Task(every[part.places], part.times, task.n, seed)
            found = part.source.estimate(own, descending)
            rows = part.observables
            if self._squares:
                rows = np.concatenate([rows, rows + self._observables])
            columns = np.searchsorted(task.times, part.times)
            here = np.ix_(rows, columns)
            values[here], errors[here], sds[here] = found.values, found.values_stderr, found.values_sd
            there = np.ix_(part.places, rows, columns)
            slopes[there], noise[there] = found.derivatives, found.stderr
        return Estimate(values, errors, slopes, noise, task.n, sds)

    def simulated(self, values: np.ndarray, times: np.ndarray, n: int, seed: int) -> np.ndarray:
        result = np.zeros((self._observables, len(times), n))
        for part, own_seed in zip(self._parts, self._seeds(seed), strict=True):
            last = np.searchsorted(times, part.times[-1], side="right")
            result[part.observables, :last] = part.source.simulated(values[part.places], times[:last], n, own_seed)
        return result

    def look_ahead(self, values: np.ndarray, times: np.ndarray, n: int) -> None:
        for part in self._parts:
            part.source.look_ahead(values[part.places], part.times, n)

    def warn(self) -> None:
        for part in self._parts:
            part.source.warn()

    def _seeds(self, seed: int) -> list[int]:
        """One for each condition."""
        return [int(np.random.SeedSequence((seed, k)).generate_state(1)[0]) for k in range(len(self._parts))]


@dataclass(frozen=True, eq=False)
class _Part:
    """One condition: its parameters and observables among all, and its times."""

    source: Source
    places: np.ndarray
    observables: np.ndarray
    times: np.ndarray


class _OfCounts:
    """A model in which reactions alone change anything, or a network."""

    def __init__(self, begun: _Begun, functions: _Functions, chosen: Estimator, max_events: int):
        model, names, self._start = begun.model, begun.names, begun.start
        self._max_events = max_events
        self.model, self.names, self._functions = model, names, functions
        if isinstance(model, Model):
            self._differentiated: DiscreteModel | ReactionNetwork = discretised(model, functions.variables)
            self.quantities, self._network = self._differentiated.quantities, self._differentiated.network
        else:
            self._differentiated = self._network = model
            self.quantities = {name: float(model.parameters[name]) for name in names}
        for_descent: Estimator = Automatic(descending=True) if isinstance(chosen, Automatic) else chosen
        self._estimators = {True: for_descent, False: chosen}

    @cached_property
    def problem(self) -> Problem:
        cache = self.model.derived if isinstance(self.model, Model) else self.model.compiled
        make = lambda: differentiable(self._differentiated, self.names, self._functions.every)  # noqa: E731
        return self._functions.kept(cache, ("moments", self.names), make)

    def reaches(self, values: np.ndarray) -> list[bool]:
        tangents = self.problem.at(values).tangents
        return [tangents.moves_counts(index) or tangents.moves_rates(index) for index in range(len(self.names))]

    def estimate(self, task: Task, descending: bool) -> Estimate:
        gradient, task = self._estimators[descending], replace(task, start=self._start, max_events=self._max_events)
        if isinstance(gradient, Automatic) and gradient.choice is None:  # what there is to choose is chosen once
            gradient = self._estimators[descending] = gradient.with_choice(self.problem, task)
        return gradient.estimate(self.problem, task)

    def simulated(self, values: np.ndarray, times: np.ndarray, n: int, seed: int) -> np.ndarray:
        named, variables = dict(zip(self.names, values.tolist(), strict=True)), self._functions.variables
        experiment = Experiment(times, n=n, seed=seed, start=self._start, max_events=self._max_events)
        return self._functions.of(variables, simulated(self.model, named, variables, experiment))

    def look_ahead(self, values: np.ndarray, times: np.ndarray, n: int) -> None:
        point = self.problem.at(values)
        experiment = Experiment(times, n=n, start=self._start, max_events=self._max_events)
        look_ahead_at_network(self._path, self.problem.network, point.counts, point.coefficients, experiment)

    def warn(self) -> None:
        warn_of_fractions(self._path, fractional(self._network.species, self._network.x0))

    @property
    def _path(self) -> str:
        return self.model.elements.source.path if isinstance(self.model, Model) else NETWORK


class _OfProcess:
    """A model in which events, rate rules or the time change something, too."""

    def __init__(self, begun: _Begun, functions: _Functions, estimator: str, settings: Settings, max_events: int):
        assert isinstance(begun.model, Model)
        self.model, self.names, self._start = begun.model, begun.names, begun.start
        self._functions, self._estimator, self._settings = functions, estimator, settings
        self._max_events = max_events
        self.quantities = prepare_hybrid(self.model, None, functions.variables)[0].quantities

    @cached_property
    def process(self) -> hybrid_sensitivity.Process:
        make = lambda: hybrid_sensitivity.Process(self.model, self.names, self._functions.every, self._settings)  # noqa: E731
        return self._functions.kept(self.model.derived, ("moments of a process", self.names, self._settings), make)

    def reaches(self, values: np.ndarray) -> list[bool]:
        return [True] * len(self.names)  # what depends on a parameter is not known before it is simulated

    def estimate(self, task: Task, descending: bool) -> Estimate:
        task = replace(task, start=self._start, max_events=self._max_events)
        return hybrid_sensitivity.estimate(self.process, task, self._estimator)

    def simulated(self, values: np.ndarray, times: np.ndarray, n: int, seed: int) -> np.ndarray:
        experiment = Experiment(times, n=n, seed=seed, start=self._start, max_events=self._max_events)
        chunks = run_hybrid(self.process.process, self.process.at(values), experiment, self._settings)
        return self._functions.of(self.process.names, np.concatenate([chunk.observed for chunk in chunks], axis=-1))

    def look_ahead(self, values: np.ndarray, times: np.ndarray, n: int) -> None:
        experiment = Experiment(times, n=n, start=self._start, max_events=self._max_events)
        look_ahead_at_process(self.process.process, self.process.at(values), experiment)

    def warn(self) -> None:
        self.process.warn()
