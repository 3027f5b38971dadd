"""Weighted squares of simulated moments around an estimate, by the same random numbers at every point.

What differs between two points is then less noisy than either. Residuals and their derivatives at a point are those of
the fit's end, and what the same random numbers say of the difference (Glasserman & Yao, Manag. Sci. 38, 884, 1992).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult
from tqdm import tqdm

from sbmlgrad.errors import SimulationError
from sbmlgrad.fitting.optimise import Descent, Evaluate, solve
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.likelihood.likelihood import Evaluation

_FIRST_STEP = 2**31  # numbers that no step of a fit has
_MOST_STEPS = 4
_NOTHING = 0.02  # of twice the value: a gain that needs no further step
_LARGEST_STEP = 1.0  # on the optimiser's scale
_NOISE = 0.1  # of the error that the data leave: what simulation may add to it
_FEWEST_REPEATS, _MOST_REPEATS = 4, 12


@dataclass(frozen=True, eq=False)
class _Halves:
    """Weighted residuals (2, m) and derivatives (2, m, P) by two independent halves of all trajectories."""

    residuals: np.ndarray
    jacobians: np.ndarray


class CommonNumbers:
    """Minus half the sum of weighted squares, with ``repeats`` times the trajectories of a step of the fit."""

    def __init__(self, evaluate: Evaluate, parameters: Parameters, descent: Descent, repeats: int, bar: tqdm[Any]):
        self.parameters, self.repeats = parameters, repeats
        self._evaluate, self._descent, self._bar = evaluate, descent, bar
        self._latest: tuple[bytes, _Halves] | None = None
        here = self._simulated(descent.point)
        self._missing = _Halves(descent.residuals - here.residuals, descent.jacobians - here.jacobians)

    def at(self, point: np.ndarray) -> Evaluation:
        """Value, score and curvature by the coordinates."""
        halves = self._halves(point)
        (first, second), (left, right) = halves.residuals, halves.jacobians
        cross = left.T @ right
        score = -(left.T @ second + right.T @ first) / 2
        return Evaluation(-0.5 * float(first @ second), score, (cross + cross.T) / 2)

    def near(self, begin: np.ndarray, held: int | None = None, unit: np.ndarray | float = 1.0) -> Any:
        """The best point nearby, by Gauss-Newton steps, the last of which is not looked at any more."""
        point, free = self.parameters.clip(begin), np.full(len(begin), True)
        if held is not None:
            free[held] = False
        for number in range(_MOST_STEPS):
            seen = self.at(point)
            assert seen.information is not None
            inside = free & ~self._pushed_out(point, seen.score)
            curvature = np.where(np.outer(inside, inside), seen.information, 0.0)
            step = np.clip(solve(curvature, np.where(inside, -seen.score, 0.0)), -_LARGEST_STEP, _LARGEST_STEP)
            following = self.parameters.clip(point - step)
            moved = following - point
            gain = max(float(seen.score @ moved - 0.5 * moved @ curvature @ moved), 0.0)
            point = following
            if 2 * gain < _NOTHING or number == _MOST_STEPS - 1:
                break
        return OptimizeResult(x=point, fun=-(seen.value + gain), walled=False)

    def widen(self, point: np.ndarray, rough: bool = False) -> bool:
        """Never."""
        return False

    def _pushed_out(self, point: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Which parameters (P,) stand at a bound, with more behind it."""
        lower, upper = (self.parameters.to_scale(side) for side in (self.parameters.lower, self.parameters.upper))
        return ((point <= lower) & (score < 0)) | ((point >= upper) & (score > 0))

    def _halves(self, point: np.ndarray) -> _Halves:
        key = np.asarray(point, np.float64).tobytes()
        if self._latest is None or self._latest[0] != key:
            seen = self._simulated(point)
            residuals, jacobians = seen.residuals + self._missing.residuals, seen.jacobians + self._missing.jacobians
            if not (np.all(np.isfinite(residuals)) and np.all(np.isfinite(jacobians))):
                raise SimulationError("the simulated moments or their derivatives are not finite here")
            self._latest = key, _Halves(residuals, jacobians)
        return self._latest[1]

    def _simulated(self, point: np.ndarray) -> _Halves:
        """The mean over all repeats."""
        target, values = self._descent.target, self.parameters.from_scale(point)
        slope = self.parameters.slope(values) / target.error[:, None]
        residuals, jacobians = [], []
        for number in range(self.repeats):
            moments = self._evaluate(values, _FIRST_STEP + number)
            residuals.append([target.residuals(m) for m in moments])
            jacobians.append([target.jacobian(m) * slope for m in moments])
            self._bar.update()
        return _Halves(np.mean(residuals, axis=0), np.mean(jacobians, axis=0))


def repeats(descent: Descent, errors: np.ndarray) -> int:
    """How many times a step's trajectories make the noise of simulation small beside the data's ``errors`` (P,)."""
    if descent.mc_covariance is None:
        return _MOST_REPEATS
    single = descent.evaluations * np.diag(descent.mc_covariance)
    told = np.isfinite(errors) & (errors > 0)
    share = float(np.max(single[told] / np.square(errors[told]), initial=0.0))
    return int(np.clip(np.ceil(share / _NOISE**2), _FEWEST_REPEATS, _MOST_REPEATS))
