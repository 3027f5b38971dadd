"""Fits of rate equations: nonlinear least squares with exact derivatives, by scipy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import least_squares
from tqdm import tqdm

from sbmlgrad.errors import FitError, SimulationError
from sbmlgrad.fitting.loss import Target
from sbmlgrad.fitting.optimise import Path, Row
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.fitting.uncertainty import covariance
from sbmlgrad.model.model import Model
from sbmlgrad.simulation.deterministic import prepare_equations, sensitivities, solve

if TYPE_CHECKING:
    import pandas

_HOPELESS = 1e8  # the weighted residual of a point at which the equations cannot be solved
_MOST_LOOKS = 200


class EquationFit:
    """The least-squares problem of a model's rate equations and measured values.

    Measured standard deviations weigh the means beside them, and are not predicted.
    """

    n = 1

    def __init__(self, model: Model, parameters: Parameters, target: Target, source: str):
        self.equations, self.quantities = prepare_equations(model, None, target.observables)
        self.parameters, self.target, self.source = parameters, target, source
        names = list(self.equations.quantities)
        self.places = [names.index(name) for name in parameters.names]
        self.path = Path(parameters.to_scale(parameters.start), target)
        self._jacobian = np.zeros((len(target.value), len(parameters.names)))

    def run(self, bar: tqdm[Any]) -> Path:
        """Follow the residuals downhill to their end."""
        bounds = tuple(self.parameters.to_scale(side) for side in (self.parameters.lower, self.parameters.upper))
        start = self.path.point
        self._check(start)
        inside = np.clip(start, *bounds)
        result = least_squares(
            lambda point: self._residuals(point, bar),
            inside,
            jac=lambda _: self._jacobian,
            bounds=bounds,
            x_scale="jac",
            xtol=1e-10,
            ftol=1e-10,
            gtol=1e-12,
            max_nfev=_MOST_LOOKS,
        )
        path = self.path
        path.point, path.residuals, path.jacobian = result.x, result.fun, result.jac
        path.looks, path.converged = result.nfev, result.status > 0
        path.message = f"least squares ended after {result.nfev} looks: {result.message.rstrip('.')}"
        return path

    def covariance(self, path: Path) -> np.ndarray:
        """The covariance of the estimates, from the scatter of the residuals."""
        measured, fitted = path.jacobian.shape
        spare = measured - fitted
        variance = float(np.sum(np.square(path.residuals))) / spare if spare > 0 else np.inf
        return covariance(np.eye(measured), path.jacobian, np.full(measured, variance))

    def curves(self, path: Path) -> pandas.DataFrame:
        """The fitted solution on a dense grid of times."""
        import pandas

        known = self.target.times
        times = np.union1d(known, np.linspace(known[0], known[-1], 101))
        values = solve(self.equations, self._values(path.point), times, min(0.0, float(times[0])))
        return pandas.concat(
            [
                pandas.DataFrame({"observable": name, "time": times, "mean": row, "mean_stderr": 0.0, "sd": 0.0})
                for name, row in zip(self.target.observables, values, strict=True)
            ],
            ignore_index=True,
        )

    def _values(self, point: np.ndarray) -> np.ndarray:
        values = self.quantities.copy()
        values[self.places] = self.parameters.from_scale(point)
        return values

    def _residuals(self, point: np.ndarray, bar: tqdm[Any]) -> np.ndarray:
        """Weighted residuals (m,); their derivatives are kept for whoever asks next."""
        target, shape = self.target, self.target.value.shape
        values = self.parameters.from_scale(point)
        begin = min(0.0, float(target.times[0]))
        try:
            levels, slopes = sensitivities(self.equations, self._values(point), self.places, target.times, begin)
        except SimulationError:
            return np.full(shape, _HOPELESS)  # so that the step is taken back
        residuals = (levels[target.observable, target.time] - target.value) / target.error
        jacobian = slopes[:, target.observable, target.time].T * self.parameters.slope(values) / target.error[:, None]
        if not (np.all(np.isfinite(residuals)) and np.all(np.isfinite(jacobian))):
            return np.full(shape, _HOPELESS)
        self._jacobian = jacobian
        loss = float(np.sum(np.square(residuals)))
        self.path.rows.append(Row("search", loss, 0.0, values))
        bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
        bar.update()
        return residuals

    def _check(self, start: np.ndarray) -> None:
        """Refuse a start from which nothing can be learnt, and parameters that nothing depends on."""
        begin = min(0.0, float(self.target.times[0]))
        _, slopes = sensitivities(self.equations, self._values(start), self.places, self.target.times, begin)
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


def without_spread(target: Target) -> Target:
    """The target without standard deviations, which rate equations do not predict."""
    kept = ~target.spread
    if not kept.any():
        raise FitError("method 'ode': the data hold standard deviations only; give means, or use method 'ssa'")
    columns = ("observable", "time", "spread", "value", "error", "trajectory", "group", "floor")
    return replace(target, **{name: getattr(target, name)[kept] for name in columns})
