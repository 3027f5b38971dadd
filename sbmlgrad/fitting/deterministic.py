"""Fits of rate equations: nonlinear least squares with exact derivatives, by scipy, and weights made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares
from tqdm import tqdm

from sbmlgrad.errors import FitError, SbmlgradError, SimulationError
from sbmlgrad.fitting.ascent import Ascent
from sbmlgrad.fitting.checkpoint import Memory, forgetful
from sbmlgrad.fitting.loss import Target
from sbmlgrad.fitting.noise import Noise, observed, smoothed
from sbmlgrad.fitting.optimise import Descent, Evaluation, Row, descend, exact_evaluation
from sbmlgrad.fitting.outcome import Outcome, curves, dense, of_least_squares, of_squares
from sbmlgrad.fitting.parameters import Bounds, choose
from sbmlgrad.fitting.profile import Surface
from sbmlgrad.fitting.trials import Trial
from sbmlgrad.fitting.uncertainty import Verdict, judge
from sbmlgrad.likelihood.likelihood import Evaluation as LogLikelihood
from sbmlgrad.simulation.deterministic import prepare_equations, sensitivities, solve
from sbmlgrad.simulation.linear_noise import linear_noise
from sbmlgrad.simulation.path import Settings
from sbmlgrad.simulation.prepare import Prepared, prepare

if TYPE_CHECKING:
    import optax
    import pandas

_HOPELESS = 1e8  # the weighted residual of a point at which the equations cannot be solved
_MOST_EVALUATIONS = 200
_MOST_ROUNDS = 20  # of weights
_NEGLIGIBLE_SHIFT = 1e-6  # on the optimiser's scale: a shift by other weights that ends a fit
_MOST_SHARE = 4.0  # of the variance between cells: what means may be off, as sds may be standard errors here
_CLOSE = 0.002  # of its width, to which a limit of a profile is found
_MOST_SPECIES = 60  # whose covariance is worth its time


class EquationFit:
    """The least-squares problem of a model's rate equations and measured values.

    The sizes of errors, relative to each other, come from the linear noise approximation; where the model is none of
    counts alone, or too large, variances grow with the prediction. Measured standard deviations weigh the means beside
    them, smoothed as a function of the prediction, and are not predicted.
    """

    n = 1
    unit = "evaluation"

    def __init__(
        self,
        trials: Sequence[Trial],
        requests: Mapping[str, Bounds],
        init: Mapping[str, float],
        target: Target,
        settings: Settings,
        optimiser: optax.GradientTransformation | None,
        memory: Memory = forgetful,
    ):
        self._optimiser, self._memory = optimiser, memory
        self.source, self.settings = trials[0].source, settings
        self._spreads = {
            index: target.select(target.spread & (target.observable == index))
            for index in range(len(target.observables))
        }
        aim = without_spread(target)
        self._systems = [_System(trial, aim, index, settings) for index, trial in enumerate(trials)]
        quantities = {name: system.quantities[name] for system in self._systems for name in system.trial.names}
        self.parameters = choose(requests, quantities, init, self.source)
        self.descent = Descent(self.parameters.to_scale(self.parameters.start), target=aim)
        self._jacobian = np.zeros((len(aim.value), len(self.parameters.names)))
        self._noise: Noise | None = None

    def solve(self, bar: tqdm[Any]) -> Outcome:
        """Run to the end."""
        descent = self.run(bar)
        return of_least_squares(descent, self.judge(), self.parameters, self.n, self.curves())

    def run(self, bar: tqdm[Any]) -> Descent:
        """Follow the residuals downhill to their end, with weights of what was found, until neither moves."""
        descent, parameters = self.descent, self.parameters
        bounds = tuple(parameters.to_scale(side) for side in (parameters.lower, parameters.upper))
        self._check(descent.point)
        descent.point = np.clip(descent.point, *bounds)
        if self._optimiser is not None:
            for _ in descend(lambda _: self._evaluation(bar), parameters, descent, self._optimiser):
                pass
        for number in range(_MOST_ROUNDS):
            result = least_squares(
                lambda point: self._residuals(point, bar),
                descent.point,
                jac=lambda _: self._jacobian,
                bounds=bounds,
                x_scale="jac",
                xtol=1e-10,
                ftol=1e-10,
                gtol=1e-12,
                max_nfev=_MOST_EVALUATIONS,
            )
            shift = float(np.max(np.abs(result.x - descent.point)))
            descent.point, descent.residuals, descent.jacobians = result.x, result.fun, np.stack([result.jac] * 2)
            descent.evaluations, descent.converged = descent.evaluations + result.nfev, result.status > 0
            self._noise = self._predicted()
            if number and (shift <= _NEGLIGIBLE_SHIFT or not descent.converged):
                break
            descent.reweight(self._noise.errors(descent.target))
        descent.message = f"least squares ended after {descent.evaluations} evaluations: {result.message.rstrip('.')}"
        if descent.converged and shift > 1e3 * _NEGLIGIBLE_SHIFT:
            descent.converged = False
            descent.message = (
                f"weights and estimates still move each other after {_MOST_ROUNDS} rounds; start elsewhere"
            )
        return descent

    def warn(self) -> None:
        """Nothing: the rate equations take fractions of molecules as they are."""

    def surface(self, outcome: Outcome, bar: tqdm[Any]) -> Surface:
        """The weighted squares around their minimum."""
        climb = Ascent(_Squares(self), self.parameters, bar)
        inverse, margins = of_squares(outcome, self.descent.jacobians)
        best = climb.at(outcome.point).value
        return Surface(climb, outcome.point, best, inverse, margins, quantity="loss", close=_CLOSE)

    def judge(self) -> Verdict:
        """What the residuals say at the end."""
        assert self._noise is not None
        return judge(self.descent.target, self._noise, self.descent.jacobian, self.descent.residuals)

    def curves(self) -> pandas.DataFrame:
        """The fitted solution on a dense grid of times."""
        import pandas

        values = self.parameters.from_scale(self.descent.point)
        return pandas.concat([system.curves(values) for system in self._systems], ignore_index=True)

    def _residuals(self, point: np.ndarray, bar: tqdm[Any]) -> np.ndarray:
        """Weighted residuals (m,); their derivatives are kept for whoever asks next."""
        shape = self.descent.target.value.shape
        values = self.parameters.from_scale(point)
        try:
            residuals, jacobian = self.weighted(values)
        except SimulationError:
            return np.full(shape, _HOPELESS)  # so that the step is taken back
        jacobian = jacobian * self.parameters.slope(values)
        if not (np.all(np.isfinite(residuals)) and np.all(np.isfinite(jacobian))):
            return np.full(shape, _HOPELESS)
        self._jacobian = jacobian
        loss = float(np.sum(np.square(residuals)))
        self.descent.rows.append(Row("search", loss, 0.0, values))
        bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
        bar.update()
        return residuals

    def weighted(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted residuals (m,) and their derivatives (m, P) by the values (P,); :class:`SimulationError`."""
        target = self.descent.target
        levels, slopes = self._sensitivities(values)
        residuals = (levels[target.observable, target.time] - target.value) / target.error
        return residuals, slopes[:, target.observable, target.time].T / target.error[:, None]

    def _evaluation(self, bar: tqdm[Any]) -> Evaluation:
        """What an optimiser that was handed in sees of the present point."""
        residuals = self._residuals(self.descent.point, bar)
        if residuals[0] == _HOPELESS:
            raise FitError(f"{self.source}: the optimiser went where nothing can be solved; take smaller steps")
        return exact_evaluation(residuals, self._jacobian)

    def _sensitivities(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Observables (observables, times) and their derivatives (P, observables, times), 0 where nothing is seen."""
        levels, slopes = self._memory("rate equations", (values,), lambda: self._solved(values))
        return levels, slopes

    def _solved(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same, solved."""
        target = self.descent.target
        levels = np.zeros((len(target.observables), len(target.times)))
        slopes = np.zeros((len(values), *levels.shape))
        for system in self._systems:
            seen, own = system.sensitivities(values)
            levels[np.ix_(system.rows, system.columns)] = seen
            slopes[np.ix_(system.trial.places, system.rows, system.columns)] = own
        return levels, slopes

    def _predicted(self) -> Noise:
        """What the equations say of the noise at the present point."""
        target = self.descent.target
        level = target.value + self.descent.residuals * target.error
        covariance = self._along_trajectories()
        sized, has_spread = covariance is not None, covariance is not None
        sizes = np.full(len(level), sized)  # of the spread between cells, which numbers of cells need
        if covariance is None:
            covariance = np.diag(np.abs(level))
        variance = np.diag(covariance).copy()
        for index, spread in self._spreads.items():
            rows = ~target.trajectory & (target.observable == index)
            if len(spread["value"]) and rows.any():
                times = target.times[spread["time"]]
                own = np.interp(times, target.times[target.time[rows]], level[rows])
                variance[rows] = smoothed(own, np.square(spread["value"]))(level[rows])
                has_spread, sizes = True, sizes | rows
        size = np.sqrt(np.diag(covariance))
        ratio = np.where(size > 0, np.sqrt(variance) / np.where(size > 0, size, 1.0), 0.0)
        covariance = covariance * np.outer(ratio, ratio)  # correlated as before
        np.fill_diagonal(covariance, variance)
        one, floored, scatter = observed(target, covariance, level, sized)
        most_share = _MOST_SHARE if has_spread else np.inf
        sized = sized or bool(np.all(target.added[target.trajectory] > 0))
        told = target.told | (target.counted & sizes)
        return Noise(one, covariance, told, floored, sized=sized, smooth=True, most_share=most_share, scatter=scatter)

    def _along_trajectories(self) -> np.ndarray | None:
        """The covariance (m, m) of numbers along one trajectory, where there is a linear noise approximation."""
        target = self.descent.target
        values = self.parameters.from_scale(self.descent.point)
        result = np.zeros((len(target.value),) * 2)
        for system in self._systems:
            every = system.along_trajectories(values)
            if every is None:
                return None
            rows = np.flatnonzero(target.trial == system.index)
            seen, when = (
                np.searchsorted(system.rows, target.observable[rows]),
                np.searchsorted(system.columns, target.time[rows]),
            )
            result[np.ix_(rows, rows)] = every[seen, when][:, seen, when]
        return result if np.all(np.isfinite(result)) and np.all(np.diag(result) >= 0) else None

    def _check(self, start: np.ndarray) -> None:
        """Refuse a start from which nothing can be learnt, and parameters that nothing depends on."""
        _, slopes = self._sensitivities(self.parameters.from_scale(start))
        for name, slope in zip(self.parameters.names, slopes, strict=True):
            if not np.all(np.isfinite(slope)):
                raise FitError(
                    f"{self.source}: the derivatives by {name!r} are not finite at the start; start elsewhere"
                )
            if not slope.any():
                raise FitError(
                    f"{self.source}: {name!r} moves none of the observables at its start, so the data cannot tell its "
                    "value; fix it or start elsewhere"
                )


class _Squares:
    """Minus half the weighted squares of a fit, in the place of a log-likelihood."""

    def __init__(self, fit: EquationFit):
        self._fit = fit

    def prepare(self, values: np.ndarray) -> None:
        """Nothing."""

    def evaluate(self, values: np.ndarray) -> LogLikelihood:
        residuals, jacobian = self._fit.weighted(values)
        if not (np.all(np.isfinite(residuals)) and np.all(np.isfinite(jacobian))):
            raise SimulationError("the solution or its derivatives are not finite here")
        return LogLikelihood(-0.5 * float(residuals @ residuals), -jacobian.T @ residuals, jacobian.T @ jacobian)

    def widen(self, values: np.ndarray, rough: bool = False) -> bool:
        return False

    def roughly(self, values: np.ndarray) -> AbstractContextManager[None]:
        return nullcontext()


class _System:
    """The rate equations of one condition, with its observables and times among all."""

    def __init__(self, trial: Trial, target: Target, index: int, settings: Settings):
        self.trial, self.index, self._settings = trial, index, settings
        self.rows = np.flatnonzero(np.array(target.trials) == index)
        self._observables = tuple(target.observables[i] for i in self.rows)
        self.times = target.own_times(index)
        self.columns = np.searchsorted(target.times, self.times)
        self._equations, self._quantities = prepare_equations(trial.model, None, self._observables)
        self.quantities = self._equations.quantities
        names = list(self.quantities)
        self._indices = [names.index(name) for name in trial.names]
        self._start = trial.start

    def _at(self, values: np.ndarray) -> np.ndarray:
        result = self._quantities.copy()
        result[self._indices] = values[self.trial.places]
        return result

    def sensitivities(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Observables (observables, times) and their derivatives (own parameters, observables, times)."""
        every, fixed = self._at(values), (self.times, self._start)
        if not self._indices:
            levels = solve(self._equations, every, *fixed, settings=self._settings)
            return levels, np.zeros((0, *levels.shape))
        return sensitivities(self._equations, every, self._indices, *fixed, self._settings)

    def curves(self, values: np.ndarray) -> pandas.DataFrame:
        """The solution on a dense grid of times."""
        times = dense(self.times)
        levels = solve(self._equations, self._at(values), times, self._start, settings=self._settings)
        nothing = np.zeros_like(levels)
        return curves(self._observables, times, levels, nothing, nothing, self.trial.condition)

    def along_trajectories(self, values: np.ndarray) -> np.ndarray | None:
        """The covariance (observables, times, observables, times) along one trajectory; None where nothing says it."""
        named = dict(zip(self.trial.names, values[self.trial.places].tolist(), strict=True))
        try:
            prepared = prepare(self.trial.model, named, self._observables)
            if len(prepared.network.species) > _MOST_SPECIES:
                return None
            noise = linear_noise(prepared.network, prepared.counts, prepared.coefficients, self.times, self._start)
        except SbmlgradError:  # more than counts moves, or molecules are too many, or rates have no meaning here
            return None
        return noise.covariance(_slopes(prepared, noise.mean))


def without_spread(target: Target) -> Target:
    """The target without standard deviations, which rate equations do not predict."""
    if target.cross.any():
        number = int(np.argmax(target.cross))
        raise FitError(
            f"method 'ode': rate equations predict no covariances; leave out column {target.column(number)!r}, or use "
            "method 'ssa'"
        )
    kept = ~target.spread
    if not kept.any():
        raise FitError("method 'ode': the data hold standard deviations only; give means, or use method 'ssa'")
    return replace(target, **target.select(kept))


def _slopes(prepared: Prepared, mean: np.ndarray) -> np.ndarray:
    """Derivatives (times, observables, species) of the observables by counts, at mean counts (times, species)."""

    def observe(x: Any) -> Any:
        values = prepared.observe_at(tuple(x))
        return jnp.stack([jnp.broadcast_to(value, ()) for value in values])

    return np.asarray(jax.vmap(jax.jacfwd(observe))(jnp.asarray(mean)))
