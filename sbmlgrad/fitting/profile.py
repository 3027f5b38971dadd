"""Confidence limits by the profile of a likelihood, where it is not the parabola that standard errors take it for.

A limit is where the likelihood, at its largest over all other parameters, has fallen by half the 95 % quantile of a
chi-square with one degree of freedom (Venzon & Moolgavkar, Appl. Stat. 37, 87, 1988).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from sbmlgrad.errors import SimulationError
from sbmlgrad.fitting.ascent import Ascent

_WIDTH = float(norm.ppf(0.975))
_STRAIGHT = 0.05  # how far the root of the fall may be from that of a parabola, relative
_CLOSE = 0.02  # of the width, to which a limit is found
_MOST_TRIES = 8
_FARTHEST = np.log(1000.0)  # on the optimiser's scale, where the data set no limit


def limits(ascent: Ascent, point: np.ndarray, best: float, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % confidence limits (P,) around the maximum ``best`` at ``point``, on the optimiser's scale.

    Infinite where the likelihood does not fall far enough, or the data do not tell a parameter at all.
    """
    errors = np.sqrt(np.diag(covariance))
    errors = np.where(np.isnan(errors), np.inf, errors)
    ends = [point - _WIDTH * errors, point + _WIDTH * errors]
    for index in np.flatnonzero(np.isfinite(errors)):
        direction = covariance[:, index] / errors[index]  # where the others go while this one moves by its error
        for side, sign in enumerate((-1.0, 1.0)):
            profile = _Profile(ascent, point, best, int(index), sign * direction, float(errors[index]))
            ends[side][index] = point[index] + sign * errors[index] * profile.limit()
    return ends[0], ends[1]


class _Profile:
    """One parameter to one side, in units of its standard error."""

    def __init__(self, ascent: Ascent, point: np.ndarray, best: float, index: int, direction: np.ndarray, error: float):
        self.ascent, self.point, self.best, self.index = ascent, point, best, index
        self.direction, self.farthest = direction, max(_FARTHEST / error, _WIDTH)

    def limit(self) -> float:
        """How many standard errors away the limit is."""
        if abs(self._root(self._along(_WIDTH)) / _WIDTH - 1) < _STRAIGHT:
            return _WIDTH
        distance, low, high = _WIDTH, 0.0, np.inf
        start = self._along(distance)
        for _ in range(_MOST_TRIES):
            try:
                result = self.ascent.near(start, held=self.index)
            except SimulationError:
                return distance
            root = self._fall(-float(result.fun))
            if abs(root - _WIDTH) < _CLOSE * _WIDTH:
                break
            low, high = (distance, high) if root < _WIDTH else (low, distance)
            if low >= self.farthest:
                return np.inf
            wanted = distance * min(_WIDTH / max(root, 1e-3), 3.0)  # roots grow in proportion, nearly
            if not low < wanted < high:
                wanted = 0.5 * (low + high)
            start = result.x + (wanted - distance) * self.direction
            distance = min(wanted, self.farthest)
            start[self.index] = self._along(distance)[self.index]
            start = self.ascent.parameters.clip(start)
            if start[self.index] != self._along(distance)[self.index]:  # at a bound, which is as far as it goes
                return distance
        return distance

    def _along(self, distance: float) -> np.ndarray:
        return self.point + distance * self.direction

    def _root(self, point: np.ndarray) -> float:
        """The root of the fall at a point within the bounds."""
        try:
            return self._fall(self.ascent.at(self.ascent.parameters.clip(point)).value)
        except SimulationError:
            return np.inf

    def _fall(self, value: float) -> float:
        """What would be the distance, were it a parabola."""
        return float(np.sqrt(max(2 * (self.best - value), 0.0)))
