"""What a fit makes small: minus the log of likelihood times prior, with exact gradient and Fisher information."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sbmlgrad.errors import SimulationError
from sbmlgrad.fitting.box_search import Local
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.petab.definition import Definition
from sbmlgrad.petab.evaluate import Evaluator
from sbmlgrad.petab.formulas import Slopes
from sbmlgrad.petab.likelihood import told_by_all
from sbmlgrad.petab.observe import Simulated
from sbmlgrad.petab.priors import log_prior, slope_of_log_prior, support
from sbmlgrad.simulation.path import Settings

_STEP = 1e-4  # on the scale of a parameter, of the differences of a prior's slope


@dataclass(frozen=True, eq=False)
class Posterior(Local):
    """Minus the log posterior density at a point, up to a constant, and what it is made of.

    The curvature is the Fisher information, and what the prior adds to it.

    Attributes
    ----------
    llh
        Log of the likelihood.
    simulated
        What was simulated in place of the measurements.
    residuals
        Simulated minus measured (n,), on the scale of each observable and in units of its noise.
    """

    llh: float
    simulated: Simulated
    residuals: np.ndarray


def coordinates(definition: Definition) -> Parameters:
    """The estimated parameters with their bounds and scale; each starts at its nominal value.

    Uniform priors narrow the bounds. On a logarithmic scale if the table says so, or if the lower bound is positive
    where the format has no scales.
    """
    rows = [row for row in definition.parameters.values() if row.estimated]
    scales = definition.version.startswith("1")
    log = [row.scale != "lin" or (not scales and row.lower > 0) for row in rows]
    lower, upper = np.array([support(row) for row in rows], dtype=float).reshape(-1, 2).T
    with np.errstate(invalid="ignore"):
        width = np.where(np.isfinite(upper - lower), (upper - lower) / 10.0, 1.0)
    start = np.array([row.nominal for row in rows], dtype=float)
    upper = np.where(np.array(log, bool) & np.isinf(upper), 1e300, upper)
    return Parameters(tuple(row.id for row in rows), start, lower, upper, np.array(log, bool), width)


class Objective:
    """The function of a point on the parameters' scales (P,) that a fit makes small."""

    def __init__(self, evaluator: Evaluator, parameters: Parameters, fixed: Mapping[str, float], settings: Settings):
        self.evaluator, self.definition, self.settings = evaluator, evaluator.definition, settings
        self.parameters, self.fixed = parameters, fixed
        self.prior = [self.definition.parameters[name] for name in parameters.names]

    def __call__(self, point: np.ndarray) -> Posterior:
        """The value at a point.

        Raises
        ------
        SimulationError, PetabError
            where it cannot be computed.
        """
        return self.posterior(point, self.evaluator.simulate(*self.moving(point), self.settings))

    def moving(self, point: np.ndarray) -> tuple[dict[str, float], Slopes]:
        """Values of all parameters by id, and how they move with the coordinates of the point (P,)."""
        values = self.parameters.from_scale(point)
        slopes = dict(zip(self.parameters.names, np.diag(self.parameters.slope(values)), strict=True))
        return {**self.fixed, **dict(zip(self.parameters.names, values.tolist(), strict=True))}, slopes

    def posterior(self, point: np.ndarray, simulated: Simulated) -> Posterior:
        """The value at a point at which this was simulated; raises :class:`SimulationError` where it is not finite."""
        values, (at, _) = self.parameters.from_scale(point), self.moving(point)
        llh, residuals, gradient, fisher = self._likelihood(simulated)
        density = log_prior(self.definition.parameters, at, self.definition.source)
        value = llh + (0.0 if density is None else sum(density.values()))
        gradient, fisher = gradient + self._pull(values), fisher + np.diag(self._stiffness(point))
        if not (np.isfinite(value) and np.all(np.isfinite(gradient)) and np.all(np.isfinite(fisher))):
            raise SimulationError(f"{self.definition.source}: the likelihood or its gradient is not finite here")
        return Posterior(-value, -gradient, fisher, llh, simulated, residuals)

    def _likelihood(self, simulated: Simulated) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Its log, residuals (n,), gradient (P,) and Fisher information (P, P)."""
        found = told_by_all(self.definition, simulated.values, simulated.noise)
        slopes, noises = simulated.slopes, simulated.noise_slopes
        gradient = found.by_value @ slopes + found.by_noise @ noises
        crossed = (found.of_both[:, None] * slopes).T @ noises
        fisher = (found.of_value[:, None] * slopes).T @ slopes + (found.of_noise[:, None] * noises).T @ noises
        return float(found.density.sum()), found.residuals, gradient, fisher + crossed + crossed.T

    def _pull(self, values: np.ndarray) -> np.ndarray:
        """The gradient (P,) of the log prior on the scale."""
        slopes = [slope_of_log_prior(row, float(value)) for row, value in zip(self.prior, values, strict=True)]
        return np.array(slopes) * self.parameters.slope(values)

    def _stiffness(self, point: np.ndarray) -> np.ndarray:
        """How far the log prior bends down (P,) on the scale."""
        ahead, behind = (self._pull(self.parameters.from_scale(point + step)) for step in (_STEP, -_STEP))
        return np.maximum((behind - ahead) / (2 * _STEP), 0.0)
