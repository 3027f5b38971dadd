"""Fits of single cells and trajectories by maximum likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from sbmlgrad.errors import FitError, SimulationError, TableError
from sbmlgrad.fitting.ascent import Ascent
from sbmlgrad.fitting.exactness import Exactness
from sbmlgrad.fitting.fitness import fitness
from sbmlgrad.fitting.maximum import Maximum, maximise
from sbmlgrad.fitting.moments import simulated
from sbmlgrad.fitting.outcome import Outcome, curves, history
from sbmlgrad.fitting.parameters import Bounds, Parameters, choose
from sbmlgrad.gradient.problem import Problem, differentiable, once
from sbmlgrad.likelihood.cells import ProjectedCells
from sbmlgrad.likelihood.kalman import LinearNoisePaths
from sbmlgrad.likelihood.likelihood import Likelihood
from sbmlgrad.likelihood.particles import ParticlePaths, few_molecules
from sbmlgrad.likelihood.paths import ProjectedPaths
from sbmlgrad.likelihood.records import Snapshots, Trajectories
from sbmlgrad.model.model import Model
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.network.discretise import only_counts
from sbmlgrad.simulation.experiment import Experiment
from sbmlgrad.simulation.fractions import fractional, warn_of_fractions
from sbmlgrad.simulation.prepare import discretised
from sbmlgrad.tables.measurements import Measurements

if TYPE_CHECKING:
    import optax
    import pandas

LIKELIHOODS = ("projection", "linear_noise", "particles")
LOSSES = ("auto", "moments", *LIKELIHOODS)
_SHOWN_TRAJECTORIES = 2000  # for the curves of the report
_SHOWN_SEED = 1
_ROUNDED = 1e-6  # molecules


def likelihood_fit(
    model: Model | ReactionNetwork,
    parameters: Mapping[str, Bounds],
    init: Mapping[str, float],
    measurements: Measurements,
    loss: str,
    optimiser: optax.GradientTransformation | None,
    seed: int = 0,
) -> LikelihoodFit | None:
    """The fit by likelihood that the loss asks for; None where moments are to be matched.

    Raises :class:`FitError` where a likelihood that is asked for by name cannot be computed.
    """
    if loss == "moments":
        return None
    reason = _without_likelihood(model, measurements, loss)
    if reason:
        if loss in LIKELIHOODS:
            raise FitError(f"loss {loss!r}: {reason}; use loss 'moments'")
        return None
    problem = LikelihoodFit(model, parameters, init, measurements, loss, optimiser, seed)
    try:
        problem.start()
    except SimulationError as error:
        if loss in LIKELIHOODS:
            raise FitError(f"loss {loss!r}: {error}") from error
        return None
    return problem


def _without_likelihood(model: Model | ReactionNetwork, measurements: Measurements, loss: str) -> str:
    """Why single cells or trajectories have no likelihood here; "" where they have one."""
    observables = tuple(dict.fromkeys(s.observable for s in measurements.series))
    if measurements.cells is None:
        moments = [s for s in measurements.series if s.statistic not in ("value", "error")]
        if moments:
            return f"is of single cells or trajectories, and column {moments[0].column!r} is of many"
    elif loss in ("linear_noise", "particles"):
        return "is of trajectories, and the table has other cells at each time"
    if isinstance(model, Model) and not only_counts(model, observables):
        return "is of models in which reactions alone change anything, which this one is not"
    if measurements.cells is None:
        exact = {(s.observable, s.replicate) for s in measurements.series if s.statistic == "error"}
        for series in measurements.series:
            rough = series.statistic == "value" and (series.observable, series.replicate) not in exact
            if rough and np.any(series.values != np.round(series.values)):
                return (
                    f"column {series.column!r} has numbers that are not whole, so that they are no counts, and no "
                    f"column '{series.observable}-error' that says how exact they are"
                )
    return ""


class LikelihoodFit:
    """The likelihood of single cells, or trajectories, of a model in which counts are all that moves."""

    n = 1
    unit = "evaluation"

    def __init__(
        self,
        model: Model | ReactionNetwork,
        parameters: Mapping[str, Bounds],
        init: Mapping[str, float],
        measurements: Measurements,
        loss: str,
        optimiser: optax.GradientTransformation | None,
        seed: int = 0,
    ):
        self.model, self._loss, self._optimiser, self._seed = model, loss, optimiser, seed
        self.data = _records(measurements)
        self.source = model.elements.source.path if isinstance(model, Model) else "the network"
        names, observables = tuple(parameters), self.data.observables
        if isinstance(model, Model):
            discrete = discretised(model, observables)
            quantities, kept = discrete.quantities, model.derived
            self.problem: Problem = once(
                kept, ("likelihood", names, observables), lambda: differentiable(discrete, names)
            )
        else:
            quantities, kept = {name: float(model.parameters[name]) for name in names}, model.compiled
            self.problem = once(kept, ("likelihood", names, observables), lambda: differentiable(model, names))
        self.parameters: Parameters = choose(parameters, quantities, init, self.source)
        self._likelihood: Likelihood | None = None

    def start(self) -> None:
        """Choose what to compute; raises :class:`SimulationError` where there is nothing that can be."""
        values = self.parameters.start
        tangents = self.problem.at(values).tangents
        for index, name in enumerate(self.parameters.names):
            if not (tangents.moves_counts(index) or tangents.moves_rates(index)):
                raise FitError(
                    f"{self.source}: {name!r} enters no reaction or observable, so the data cannot tell its value"
                )
        data = self.data
        if isinstance(data, Snapshots):
            self._likelihood = ProjectedCells(self.problem, data)
            self._likelihood.prepare(values)
            return
        self._check_counted(data, values)
        self._check_start(data, values)
        if self._loss == "particles":
            self._likelihood = ParticlePaths(self.problem, data, self._seed)
            return
        exact, rough = ProjectedPaths(self.problem, data), LinearNoisePaths(self.problem, data)
        if self._loss != "linear_noise":
            try:
                exact.prepare(values)
            except SimulationError:
                if self._loss == "projection":
                    raise
            else:
                if self._loss == "projection" or np.isfinite(exact.evaluate(values).value):
                    self._likelihood = exact
                    return
        rough.prepare(values)
        self._likelihood = rough

    def solve(self, bar: tqdm[Any]) -> Outcome:
        """Maximise the likelihood."""
        assert self._likelihood is not None
        if self._loss == "particles":
            best = self._by_particles(self._rough_start(bar), bar)
        else:
            best = maximise(self._likelihood, self.parameters, bar, self._optimiser)
            if isinstance(self._likelihood, LinearNoisePaths) and self._loss != "linear_noise":
                best = self._refined(best, bar)
        expected = self._likelihood.expected(self.parameters.from_scale(best.point))
        fit = fitness(expected, len(self.parameters.names))
        poor = "; but the data contradict the fitted model, see the warnings" if fit.warnings else ""
        free, size = len(self.parameters.names), self._likelihood.size
        return Outcome(
            point=best.point,
            covariance=best.covariance,
            freedom=np.inf,
            loss=-2 * best.value,
            loss_name=f"-2 log likelihood ({self._likelihood.describe()})",
            converged=best.converged,
            message=best.message + poor,
            warnings=(*(() if best.converged else (best.message,)), *fit.warnings),
            history=history(best.rows, self.parameters.names, 1),
            measured=self._measured(expected),
            curves=self._curves(best.point),
            ends=best.ends,
            goodness={
                "log_likelihood": best.value,
                "n_data": size,
                "dof": fit.dof,
                "chi2": fit.chi2,
                "p_value": fit.p_value,
                "aic": 2 * free - 2 * best.value,
                "bic": free * np.log(size) - 2 * best.value,
            },
        )

    def warn(self) -> None:
        """Name what starts from fractions of molecules."""
        warn_of_fractions(self.source, fractional(self.problem.network.species, self.problem.network.x0))

    def _check_counted(self, data: Trajectories, values: np.ndarray) -> None:
        """Raise :class:`SimulationError` where numbers without errors are of no whole numbers of molecules."""
        point = self.problem.at(values)
        states = np.arange(1.0, 1.0 + len(point.counts)) + np.arange(3.0)[:, None]
        for index, name in enumerate(data.observables):
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

    def _rough_start(self, bar: tqdm[Any]) -> Parameters:
        """The parameters from where the linear noise approximation is at its maximum, if it has one."""
        assert isinstance(self.data, Trajectories)
        rough, parameters = LinearNoisePaths(self.problem, self.data), self.parameters
        try:
            rough.prepare(parameters.start)
            search = Ascent(rough, parameters, bar)
            end = search.near(parameters.clip(parameters.to_scale(parameters.start)))
        except SimulationError:
            return parameters
        return parameters.starting_at(parameters.from_scale(end.x)) if np.isfinite(end.fun) else parameters

    def _by_particles(self, begin: Parameters, bar: tqdm[Any]) -> Maximum:
        """The maximum by particle filters; from the user's start where there is none from the other one."""
        assert isinstance(self.data, Trajectories)
        error: SimulationError | FitError | None = None
        for start in (begin, self.parameters):
            self._likelihood = ParticlePaths(self.problem, self.data, self._seed)
            try:
                self._likelihood.prepare(start.start)
                return maximise(self._likelihood, start, bar, self._optimiser)
            except (SimulationError, FitError) as found:
                error = found
        raise FitError(f"loss 'particles': {error}") from error

    def _refined(self, rough: Maximum, bar: tqdm[Any]) -> Maximum:
        """From the end of the linear noise approximation on: exactly, where the states are few enough there, or else
        by particles, where molecules are too few for the approximation."""
        assert isinstance(self.data, Trajectories)
        values = self.parameters.from_scale(rough.point)
        exact, approximate = ProjectedPaths(self.problem, self.data), self._likelihood
        try:
            exact.prepare(values)
            if np.isfinite(exact.evaluate(values).value):
                best = maximise(exact, self.parameters.starting_at(values), bar, None)
                self._likelihood = exact
                return best
        except SimulationError:
            pass
        try:
            if few_molecules(self.problem, self.data, values):
                return self._by_particles(self.parameters.starting_at(values), bar)
        except (SimulationError, FitError):
            pass
        self._likelihood = approximate
        return rough

    def _measured(self, expected: Any) -> pandas.DataFrame:
        import pandas

        with np.errstate(divide="ignore", invalid="ignore"):
            residual = (expected.predicted - expected.measured) / expected.sd
        return pandas.DataFrame(
            {
                "observable": [self.data.observables[i] for i in expected.observable],
                "statistic": expected.statistic,
                "time": expected.time,
                "measured": expected.measured,
                "predicted": expected.predicted,
                "error": expected.sd,
                "residual": np.where(expected.measured == expected.predicted, 0.0, residual),
            }
        )

    def _curves(self, point: np.ndarray) -> pandas.DataFrame:
        """Means and sds of the fitted model on a dense grid of times."""
        data = self.data
        grid = np.union1d(data.times, np.linspace(data.times[0], data.times[-1], 101))
        values = self.parameters.from_scale(point)
        seen = simulated(
            self.model,
            dict(zip(self.parameters.names, values.tolist(), strict=True)),
            data.observables,
            Experiment(grid, n=_SHOWN_TRAJECTORIES, seed=_SHOWN_SEED, start=data.start),
        )
        return curves(data.observables, grid, seen)


def _records(measurements: Measurements) -> Snapshots | Trajectories:
    """Measurements as arrays."""
    cells = measurements.cells
    if cells is not None:
        return Snapshots.of(cells.observables, cells.times, cells.values, min(0.0, float(cells.times.min())))
    series = [s for s in measurements.series if s.statistic == "value"]
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
        blank = np.isnan(errors)
        if blank.any() and not blank.all():
            raise TableError(
                f"{measurements.source}: column '{s.observable}-error' is blank at time {s.times[blank][0]:g}, where "
                f"{s.column!r} has a value; fill it in"
            )
        variance[cell][here] = np.square(np.nan_to_num(errors))
    return Trajectories(observables, times, values, variance, min(0.0, float(times[0])))
