"""Where simulated moments and their derivatives come from: counts that jump, or whatever flows and jumps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np

from sbmlgrad.errors import FitError
from sbmlgrad.fitting.loss import Target
from sbmlgrad.gradient import hybrid_sensitivity
from sbmlgrad.gradient.automatic import Automatic
from sbmlgrad.gradient.estimator import Estimate, Estimator, Task
from sbmlgrad.gradient.exact import Exact
from sbmlgrad.gradient.observables import Moment
from sbmlgrad.gradient.problem import Problem, differentiable, once
from sbmlgrad.model.model import Model
from sbmlgrad.network import DiscreteModel, ReactionNetwork
from sbmlgrad.network.discretise import only_counts
from sbmlgrad.simulation.ensemble import Ensemble, run
from sbmlgrad.simulation.experiment import Experiment
from sbmlgrad.simulation.fractions import fractional, warn_of_fractions
from sbmlgrad.simulation.hybrid_ensemble import prepare_hybrid, run_hybrid
from sbmlgrad.simulation.methods import SSA
from sbmlgrad.simulation.path import Settings
from sbmlgrad.simulation.prepare import discretised, prepare


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
        """Moments and their derivatives; with more bias and less noise while ``descending``, given a choice."""
        ...

    def simulated(self, values: np.ndarray, times: np.ndarray, n: int, seed: int) -> np.ndarray:
        """Observables (observables, times, n) along trajectories."""
        ...

    def warn(self) -> None:
        """Name what starts from, or is set to, fractions of molecules."""
        ...


def source(
    model: Model | ReactionNetwork, names: Sequence[str], target: Target, estimator: Estimator, method: SSA
) -> Source:
    """That of a model, made once for it, so that compiled loops are found again."""
    if isinstance(estimator, Exact):
        raise FitError("estimator 'exact': draws nothing, and a fit goes by the noise it sees; use 'auto'")
    if isinstance(model, Model) and not only_counts(model, target.observables):
        return _OfProcess(model, tuple(names), target, estimator.name, method.settings)
    return _OfCounts(model, tuple(names), target, estimator)


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
    )
    return np.concatenate([prepared.observe(chunk.records) for chunk in run(ensemble)], axis=-1)


def _start(times: np.ndarray) -> float:
    """When trajectories begin."""
    return min(0.0, float(times[0]))


def _functions(target: Target) -> list[Moment]:
    squares = [Moment(name, name) for name in target.observables] if target.squares else []
    return [*(Moment(name) for name in target.observables), *squares]


class _OfCounts:
    """A model in which reactions alone change anything, or a network."""

    def __init__(self, model: Model | ReactionNetwork, names: tuple[str, ...], target: Target, chosen: Estimator):
        self.model, self.names, self.observables, self._target = model, names, target.observables, target
        if isinstance(model, Model):
            self._differentiated: DiscreteModel | ReactionNetwork = discretised(model, target.observables)
            self.quantities, self._network = self._differentiated.quantities, self._differentiated.network
        else:
            self._differentiated = self._network = model
            self.quantities = {name: float(model.parameters[name]) for name in names}
        for_descent: Estimator = Automatic(descending=True) if isinstance(chosen, Automatic) else chosen
        self._estimators = {True: for_descent, False: chosen}

    @cached_property
    def problem(self) -> Problem:
        key = ("moments", self.names, self.observables, self._target.squares)
        cache = self.model.derived if isinstance(self.model, Model) else self.model.compiled
        return once(cache, key, lambda: differentiable(self._differentiated, self.names, _functions(self._target)))

    def reaches(self, values: np.ndarray) -> list[bool]:
        tangents = self.problem.at(values).tangents
        return [tangents.moves_counts(index) or tangents.moves_rates(index) for index in range(len(self.names))]

    def estimate(self, task: Task, descending: bool) -> Estimate:
        gradient = self._estimators[descending]
        if isinstance(gradient, Automatic):  # what there is to choose is chosen where it is first asked
            gradient = self._estimators[descending] = gradient.with_choice(self.problem, task)
        return gradient.estimate(self.problem, task)

    def simulated(self, values: np.ndarray, times: np.ndarray, n: int, seed: int) -> np.ndarray:
        named = dict(zip(self.names, values.tolist(), strict=True))
        return simulated(self.model, named, self.observables, Experiment(times, n=n, seed=seed, start=_start(times)))

    def warn(self) -> None:
        path = self.model.elements.source.path if isinstance(self.model, Model) else "the network"
        warn_of_fractions(path, fractional(self._network.species, self._network.x0))


class _OfProcess:
    """A model in which events, rate rules or the time change something, too."""

    def __init__(self, model: Model, names: tuple[str, ...], target: Target, estimator: str, settings: Settings):
        self.model, self.names, self.observables, self._target = model, names, target.observables, target
        self._estimator, self._settings = estimator, settings
        self.quantities = prepare_hybrid(model, None, target.observables)[0].quantities

    @cached_property
    def process(self) -> hybrid_sensitivity.Process:
        key = ("moments", self.names, self.observables, self._target.squares, self._settings)
        return once(
            self.model.derived,
            key,
            lambda: hybrid_sensitivity.Process(self.model, self.names, _functions(self._target), self._settings),
        )

    def reaches(self, values: np.ndarray) -> list[bool]:
        return [True] * len(self.names)  # what depends on a parameter is not known before it is simulated

    def estimate(self, task: Task, descending: bool) -> Estimate:
        return hybrid_sensitivity.estimate(self.process, task, self._estimator)

    def simulated(self, values: np.ndarray, times: np.ndarray, n: int, seed: int) -> np.ndarray:
        experiment = Experiment(times, n=n, seed=seed, start=_start(times))
        chunks = run_hybrid(self.process.process, self.process.at(values), experiment, self._settings)
        return np.concatenate([chunk.observed for chunk in chunks], axis=-1)

    def warn(self) -> None:
        self.process.warn()
