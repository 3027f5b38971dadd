"""Means over exact trajectories with derivatives by the parameters of a fit, by the estimators of gradients.

Estimators differentiate by the numbers of an experiment's model, initial values among them; how these move with the
parameters of the fit is known exactly, so that the chain rule does the rest.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sbmlgrad.errors import PetabError, SbmlgradError, SimulationError, UnsupportedError
from sbmlgrad.fitting.moments import Source, means
from sbmlgrad.gradient.estimator import Estimator, Task
from sbmlgrad.gradient.problem import once
from sbmlgrad.model.model import Model
from sbmlgrad.petab.course import Surroundings
from sbmlgrad.petab.definition import Measurement
from sbmlgrad.petab.evaluate import Evaluator
from sbmlgrad.petab.formulas import Known, Slopes
from sbmlgrad.petab.observe import Simulated
from sbmlgrad.petab.stochastic import Begun, Means, Run, Seen, drawn_means, runs_of
from sbmlgrad.simulation.methods import SSA

_HALVES = 2


@dataclass(frozen=True)
class Sampling:
    """How trajectories are drawn for derivatives: the method, and how many reactions may fire in one."""

    method: SSA
    estimator: Estimator
    max_events: int


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was simulated in place of measurements, by two independent halves of all trajectories; ``errors`` (n,) are
    standard errors of the values by both."""

    first: Simulated
    second: Simulated
    errors: np.ndarray


class MovingMeans:
    """All experiments of a problem by exact simulation; what is compiled for them is kept."""

    def __init__(self, evaluator: Evaluator, sampling: Sampling):
        self._evaluator = evaluator
        self._runs = [_MovingRun(run, sampling) for run in runs_of(evaluator, whole_powers=True)]

    def drawn(self, values: Mapping[str, float], slopes: Slopes, n: int, seed: int, descending: bool) -> Drawn:
        """Two halves of ``n`` trajectories of each experiment, at values of all parameters that move like this.

        With less noise and more bias while ``descending``, given a choice.

        Raises
        ------
        SimulationError, PetabError, UnsupportedError
            where they cannot be simulated, or have no derivatives.
        """
        surroundings = Surroundings(values, self._evaluator.definition.aliases, slopes)
        seen: list[dict[int, Seen]] = [{} for _ in range(_HALVES)]
        for number, run in enumerate(self._runs):
            seeds = np.random.SeedSequence((abs(seed), number)).generate_state(_HALVES)
            found = run.halves(surroundings, -(-n // _HALVES), seeds.tolist(), descending)
            for half, items in zip(seen, found, strict=True):
                half |= {item.row: one for item, one in items}
        width = len(next(iter(slopes.values())))
        errors = [[half[row].error for row in range(len(half))] for half in seen]
        first, second = (self._simulated(half, width) for half in seen)
        return Drawn(first, second, np.hypot(*np.array(errors)) / _HALVES)

    def warn(self) -> None:
        """Name what starts from, or is set to, fractions of molecules."""
        for run in self._runs:
            run.warn()

    def _simulated(self, seen: Mapping[int, Seen], width: int) -> Simulated:
        rows, still = [seen[row] for row in range(len(seen))], np.zeros(width)
        for item in self._evaluator.definition.measurements:
            self._evaluator.check_noise(seen[item.row].noise, item)
        return Simulated(
            values=np.array([one.value for one in rows]),
            noise=np.array([one.noise for one in rows]),
            slopes=np.array([still if one.slope is None else one.slope for one in rows]),
            noise_slopes=np.array([still if one.noise_slope is None else one.noise_slope for one in rows]),
        )


class _MovingRun:
    """One experiment. Its model is made once, and again where a number that did not move does."""

    def __init__(self, run: Run, sampling: Sampling):
        self._run, self._sampling = run, sampling
        self._moving: dict[str, None] = {}
        self._fixed: Mapping[str, float] = {}
        self._names: tuple[str, ...] = ()
        self._start = np.nan
        self._model: Model | None = None
        self._source: Source | None = None

    def halves(
        self, surroundings: Surroundings, n: int, seeds: Sequence[int], descending: bool
    ) -> list[list[tuple[Measurement, Seen]]]:
        """What is simulated in place of the measurements, by one ensemble for each seed."""
        run = self._run
        try:
            begun = run.begin(surroundings)
            known = run.quantities(begun)
            self._prepare(begun, known)
            width = len(next(iter(surroundings.slopes.values())))
            found = [self._means(begun, known, width, n, seed, descending) for seed in seeds]
            both = Means(
                found[0].names,
                begun.times,
                np.mean([one.values for one in found], axis=0),
                np.sqrt(np.sum([one.errors**2 for one in found], axis=0)) / len(found),
            )
            run.check_settled(both, begun.stretches)
            return [list(run.compared(begun, one)) for one in found]
        except UnsupportedError as error:
            text = f"{error}; or fit it with method 'ode'"
            raise SbmlgradError(text if run.where in text else f"{run.where}: {text}") from None
        except PetabError:
            raise
        except SbmlgradError as error:  # of estimators and simulations: elsewhere there may be something
            raise SimulationError(str(error) if run.where in str(error) else f"{run.where}: {error}") from None

    def warn(self) -> None:
        if self._source is not None:
            self._source.warn()

    def _prepare(self, begun: Begun, known: Known) -> None:
        """The model, and what differentiates it by the numbers that move."""
        moved = [name for name, value in known.values.items() if name in self._fixed and self._changed(name, value)]
        new = [name for name in (*known.slopes, *moved) if name not in self._moving]
        if self._model is None or new:
            self._moving |= dict.fromkeys(new)
            self._model, self._fixed, self._start = self._made_once(begun, known), known.values, np.nan
            self._names = tuple(self._moving)
        if begun.start == self._start:
            return
        self._start = begun.start
        self._source = self._made(self._names, begun) if self._names else None
        if self._source is not None:
            values = np.array([known.values[name] for name in self._names])
            reached = tuple(
                name for name, reaches in zip(self._names, self._source.reaches(values), strict=True) if reaches
            )
            if reached != self._names:
                self._names = reached
                self._source = self._made(reached, begun) if reached else None

    def _made_once(self, begun: Begun, known: Known) -> Model:
        """The model, kept with what is compiled for it for other fits of the same experiment."""
        run = self._run
        fixed = tuple((name, value) for name, value in known.values.items() if name not in self._moving)
        key = ("run", run.experiment, tuple(run.variables.items()), tuple(self._moving), fixed)
        return once(run.equations.bare.derived, repr(key), lambda: run.model(begun))

    def _made(self, names: Sequence[str], begun: Begun) -> Source:
        assert self._model is not None
        how = self._sampling
        return means(
            self._model, names, list(self._run.variables), how.estimator, how.method, begun.start, how.max_events
        )

    def _changed(self, name: str, value: float) -> bool:
        fixed = self._fixed[name]
        return name not in self._moving and fixed != value and not (np.isnan(fixed) and np.isnan(value))

    def _means(self, begun: Begun, known: Known, width: int, n: int, seed: int, descending: bool) -> Means:
        """Those of one ensemble, which move with the parameters of the fit, so many."""
        if self._source is None:
            return drawn_means(self._run, begun, self._sampling.method, n, seed)
        values = np.array([known.values[name] for name in self._names])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ensembles that take long: there are many
            self._source.look_ahead(values, begun.times, n)
        found = self._source.estimate(Task(values, begun.times, n, seed), descending)
        directions = np.array([known.slopes.get(name, np.zeros(width)) for name in self._names])
        slopes = np.einsum("qp,qft->pft", directions, found.derivatives)
        return Means(list(self._run.variables), begun.times, found.values, found.values_stderr, slopes)
