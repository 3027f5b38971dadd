"""One condition of a fit by likelihood: its records, and which likelihood they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sbmlgrad.errors import SimulationError, TableError
from sbmlgrad.fitting.exactness import Exactness
from sbmlgrad.fitting.moments import simulated
from sbmlgrad.fitting.outcome import curves, curves_of_trajectories, dense
from sbmlgrad.fitting.switching import by_dwells, dwell_record, without_dwells
from sbmlgrad.fitting.trials import Trial
from sbmlgrad.gradient.problem import Problem, differentiable, once
from sbmlgrad.likelihood.cells import ProjectedCells
from sbmlgrad.likelihood.dwells import Dwells
from sbmlgrad.likelihood.kalman import LinearNoisePaths
from sbmlgrad.likelihood.likelihood import Expected, Likelihood
from sbmlgrad.likelihood.noisy_cells import NoisyCells
from sbmlgrad.likelihood.particles import ParticlePaths, few_molecules
from sbmlgrad.likelihood.paths import ProjectedPaths
from sbmlgrad.likelihood.projection import Projected
from sbmlgrad.likelihood.records import Snapshots, Trajectories
from sbmlgrad.model.model import Model
from sbmlgrad.network.discretise import beyond_counts_in_time, only_counts
from sbmlgrad.simulation.experiment import Experiment
from sbmlgrad.simulation.fractions import fractional, warn_of_fractions
from sbmlgrad.simulation.prepare import discretised

if TYPE_CHECKING:
    import pandas

_SHOWN_TRAJECTORIES = 2000  # for the curves of the report
_SHOWN_SEED = 1
_ROUNDED = 1e-6  # molecules


class Study:
    """The records of one condition, and its model made ready to be differentiated."""

    def __init__(self, trial: Trial, seed: int = 0):
        self.trial, self._seed, model, names = trial, seed, trial.model, trial.names
        self.data = _records(trial)
        variables = (law.parameter for law in trial.laws.values() if law.parameter)
        observables = (*self.data.observables, *variables)
        if isinstance(model, Model):
            discrete = discretised(model, observables, timed=not only_counts(model, observables))
            self.quantities: Mapping[str, float] = discrete.quantities
            self.problem: Problem = once(
                model.derived, ("likelihood", names, observables), lambda: differentiable(discrete, names)
            )
        else:
            self.quantities = {name: float(model.parameters[name]) for name in names}
            self.problem = once(
                model.compiled, ("likelihood", names, observables), lambda: differentiable(model, names)
            )

    def reaches(self, values: np.ndarray) -> list[bool]:
        """Whether anything depends on each parameter (own,) of the condition."""
        tangents = self.problem.at(values).tangents
        return [tangents.moves_counts(index) or tangents.moves_rates(index) for index in range(len(values))]

    def likelihood(self, loss: str, values: np.ndarray) -> Likelihood:
        """The one to follow from these values (own,); raises :class:`SimulationError` where there is none."""
        data = self.data
        if by_dwells(self.trial, loss):
            dwells = Dwells(self.problem, dwell_record(self.trial))
            dwells.prepare(values)
            return dwells
        if isinstance(data, Snapshots):
            laws = self.trial.laws
            cells = NoisyCells(self.problem, data, laws) if laws else ProjectedCells(self.problem, data)
            cells.prepare(values)
            return cells
        self._check_counted(data, values)
        self._check_start(data, values)
        if loss == "particles":
            return self.by_particles()
        if loss != "linear_noise":
            exact = ProjectedPaths(self.problem, data, self.trial.laws)
            try:
                exact.prepare(values)
            except SimulationError:
                if loss == "projection" or self.problem.clock is not None:
                    raise
            else:
                certain = loss == "projection" or self.problem.clock is not None
                if certain or np.isfinite(exact.evaluate(values).value):
                    return exact
        normal = all(law.law == "normal" for law in self.trial.laws.values())
        most = self.by_linear_noise() if normal else self.by_particles()
        most.prepare(values)
        return most

    def refined(self, rough: Likelihood, values: np.ndarray) -> Likelihood:
        """In the place of the linear noise approximation, the exact likelihood where the states are few enough here, or
        particle filters where molecules are too few for it."""
        if not isinstance(rough, LinearNoisePaths):
            return rough
        exact = ProjectedPaths(self.problem, rough.data, self.trial.laws)
        try:
            exact.prepare(values)
            if np.isfinite(exact.evaluate(values).value):
                return exact
        except SimulationError:
            pass
        particles = self.by_particles()
        try:
            if few_molecules(self.problem, rough.data, values):
                particles.prepare(values)
                return particles
        except SimulationError:
            pass
        return rough

    def by_linear_noise(self) -> LinearNoisePaths:
        """The approximation of trajectories."""
        assert isinstance(self.data, Trajectories)
        return LinearNoisePaths(self.problem, self.data, self.trial.laws)

    def by_particles(self) -> ParticlePaths:
        """The estimate of trajectories by particle filters."""
        assert isinstance(self.data, Trajectories)
        return ParticlePaths(self.problem, self.data, self._seed, laws=self.trial.laws)

    def warn(self) -> None:
        """Name what starts from fractions of molecules."""
        network = self.problem.network
        warn_of_fractions(self.trial.source, fractional(network.species, network.x0))

    def _check_counted(self, data: Trajectories, values: np.ndarray) -> None:
        """Raise :class:`SimulationError` where numbers without errors are of no whole numbers of molecules."""
        point = self.problem.at(values)
        states = np.arange(1.0, 1.0 + len(point.counts)) + np.arange(3.0)[:, None]
        for index, name in enumerate(data.observables):
            if name in self.trial.laws:
                continue
            exact = (data.variance[:, index] == 0) & ~np.isnan(data.values[:, index])
            variable = self.problem.variables.index(name)
            seen = [float(np.asarray(self.problem.observe(tuple(x), point.coefficients)[variable])) for x in states]
            if exact.any() and not np.allclose(seen, np.round(seen), rtol=0, atol=_ROUNDED):
                raise SimulationError(
                    f"{name!r} is not a number of molecules, so that a value of it is never exact; say in a column "
                    f"'{name}-error' how exact it is"
                )

    def _check_start(self, data: Trajectories, values: np.ndarray) -> None:
        """Raise :class:`SimulationError` for exact numbers at the start that the model does not start from."""
        if data.times[0] > data.start:
            return
        point = self.problem.at(values)
        for index, name in enumerate(data.observables):
            if name in self.trial.laws:
                continue
            seen, variance = data.values[:, index, 0], data.variance[:, index, 0]
            exact = seen[(variance == 0) & ~np.isnan(seen)]
            variable = self.problem.variables.index(name)
            sides = [
                self.problem.observe(tuple(side(point.counts)), point.coefficients) for side in (np.floor, np.ceil)
            ]
            low, high = (float(np.asarray(side[variable])) for side in sides)
            off = exact[(exact < low - _ROUNDED) | (exact > high + _ROUNDED)]
            if len(off):
                raise SimulationError(
                    f"{name!r} is {off[0]:g} at time {data.start:g} in the data and starts from {low:g} in the model; "
                    f"give the model that start, remove the row, or say in a column '{name}-error' how exact it is"
                )

    def measured(self, expected: Expected) -> pandas.DataFrame:
        """What was measured beside what the model says of it."""
        return compared(self.trial.condition, self.data.observables, expected)

    def curves(self, part: Likelihood, values: np.ndarray) -> pandas.DataFrame:
        """Means and sds of the model at these values (own,) on a dense grid of times."""
        data, grid = self.data, dense(self.data.times)
        if isinstance(part, Dwells):
            mean, sd = (np.full((1, len(grid)), level) for level in part.at_rest(values))
            return curves(data.observables, grid, mean, sd, np.zeros_like(sd), self.trial.condition)
        if self.problem.clock is not None:
            assert isinstance(part, Projected)
            places = [self.problem.variables.index(name) for name in data.observables]
            mean, sd = part.moments(values, places, grid)
            return curves(data.observables, grid, mean, sd, np.zeros_like(sd), self.trial.condition)
        named = dict(zip(self.trial.names, values.tolist(), strict=True))
        experiment = Experiment(grid, n=_SHOWN_TRAJECTORIES, seed=_SHOWN_SEED, start=data.start)
        seen = simulated(self.trial.model, named, data.observables, experiment)
        return curves_of_trajectories(data.observables, grid, seen, self.trial.condition)


def compared(condition: str, observables: Sequence[str], expected: Expected) -> pandas.DataFrame:
    """What was measured beside what is expected of it, as a report shows it."""
    import pandas

    with np.errstate(divide="ignore", invalid="ignore"):
        residual = (expected.predicted - expected.measured) / expected.sd
    named = {"condition": condition} if condition else {}
    return pandas.DataFrame(
        {
            **named,
            "observable": [observables[i] for i in expected.observable],
            "statistic": expected.statistic,
            "time": expected.time,
            "measured": expected.measured,
            "predicted": expected.predicted,
            "error": expected.sd,
            "residual": np.where(expected.measured == expected.predicted, 0.0, residual),
        }
    )


def without_likelihood(trial: Trial, loss: str) -> str:
    """Why single cells or trajectories have no likelihood here; "" where they have one."""
    if by_dwells(trial, loss):
        return without_dwells(trial)
    model, measurements = trial.model, trial.measurements
    observables = tuple(dict.fromkeys(s.observable for s in measurements.series))
    if measurements.cells is None:
        moments = [s for s in measurements.series if s.statistic not in ("value", "error")]
        if moments:
            return f"is of single cells or trajectories, and column {moments[0].column!r} is of many"
    elif loss in ("linear_noise", "particles"):
        return "is of trajectories, and the table has other cells at each time"
    unlike = next((law.law for law in trial.laws.values() if law.law != "normal"), "")
    if loss == "linear_noise" and unlike:
        return f"is of normal noise, and this is {unlike}"
    if isinstance(model, Model) and not only_counts(model, observables):
        if loss in ("linear_noise", "particles"):
            return "is of models in which reactions alone change anything, at rates that do not follow the time"
        more = beyond_counts_in_time(model, observables)
        if more:
            return f"is of models in which reactions alone change anything: {more[0].partition(': ')[0]}"
    if measurements.cells is None:
        exact = {(s.observable, s.replicate) for s in measurements.series if s.statistic == "error"}
        for series in measurements.series:
            told = (series.observable, series.replicate) in exact or series.observable in trial.laws
            rough = series.statistic == "value" and not told
            if rough and np.any(series.values != np.round(series.values)):
                return (
                    f"column {series.column!r} has numbers that are not whole, so that they are no counts, and no "
                    f"column '{series.observable}-error' that says how exact they are"
                )
    return ""


def _records(trial: Trial) -> Snapshots | Trajectories:
    """Measurements as arrays."""
    cells = trial.measurements.cells
    if cells is not None:
        return Snapshots.of(cells.observables, cells.times, cells.values, trial.start)
    return trajectories_of(trial)


def trajectories_of(trial: Trial, statistics: Sequence[str] = ("value",)) -> Trajectories:
    """Values over time, with the variances of errors that the table states, 0 where it states none."""
    measurements = trial.measurements
    series = [s for s in measurements.series if s.statistic in statistics]
    exactness = Exactness.of(measurements)
    observables = tuple(dict.fromkeys(s.observable for s in series))
    labels = list(dict.fromkeys(s.replicate for s in series))
    times = np.unique(np.concatenate([s.times for s in series]))
    values = np.full((len(labels), len(observables), len(times)), np.nan)
    variance = np.zeros_like(values)
    for s in series:
        cell = labels.index(s.replicate), observables.index(s.observable)
        here = np.searchsorted(times, s.times)
        values[cell][here] = s.values
        errors = exactness.errors(s.observable, "error", s.replicate, s.times)
        if s.statistic == "mean" and np.all(np.isnan(errors)):
            errors = exactness.errors(s.observable, "sem", s.replicate, s.times)
        blank = np.isnan(errors)
        if blank.any() and not blank.all():
            raise TableError(
                f"{measurements.source}: column '{s.observable}-error' is blank at time {s.times[blank][0]:g}, where "
                f"{s.column!r} has a value; fill it in"
            )
        variance[cell][here] = np.square(np.nan_to_num(errors))
    return Trajectories(observables, times, values, variance, trial.start)
