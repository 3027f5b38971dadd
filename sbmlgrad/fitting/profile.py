"""Confidence limits by the profile of a likelihood, where it is not the parabola that standard errors take it for.

A limit is where the likelihood, at its largest over all other parameters, has fallen by half the 95 % quantile of a
chi-square with one degree of freedom (Venzon & Moolgavkar, Appl. Stat. 37, 87, 1988).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from sbmlgrad.errors import SimulationError
from sbmlgrad.fitting.ascent import Ascent

_NORMAL = float(norm.ppf(0.975))
_STRAIGHT = 0.05  # how far the root of the fall may be from that of a parabola, relative
_CLOSE = 0.02  # of the width, to which a limit is found
_MOST_TRIES = 8
_SMALL = 0.02  # on the optimiser's scale: over so short a way any likelihood is a parabola
_FARTHEST = np.log(1000.0)  # on the optimiser's scale, where the data set no limit


@dataclass(frozen=True)
class Margin:
    """How far 95 % limits are: in ``errors`` of the inverse information where the likelihood is a parabola, and
    elsewhere as the root of twice its ``fall``. ``variance`` is that of an estimate over the inverse information."""

    errors: float = _NORMAL
    fall: float = _NORMAL
    variance: float = 1.0

    @classmethod
    def of_few(cls, numbers: int, parameters: int) -> Margin:
        """Where the size of the noise is estimated, too, from so many numbers around what so many parameters decide:
        exact for normal noise around what is linear in them, as in least squares."""
        left = numbers - parameters
        if left < 1:
            return cls()
        quantile = float(student.ppf(0.975, left))
        fall = np.sqrt(numbers * np.log1p(quantile**2 / left))
        return cls(quantile * np.sqrt(numbers / left), float(fall), numbers / left)


USUAL = Margin()


def limits(
    ascent: Ascent, point: np.ndarray, best: float, covariance: np.ndarray, margin: Margin
) -> tuple[np.ndarray, np.ndarray]:
    """95 % confidence limits (P,) around the maximum ``best`` at ``point``, on the optimiser's scale.

    ``covariance`` is the inverse information there.

    Infinite where the likelihood does not fall far enough, or the data do not tell a parameter at all.
    """
    errors = np.sqrt(np.diag(covariance))
    errors = np.where(np.isnan(errors), np.inf, errors)
    ends = [point - margin.errors * errors, point + margin.errors * errors]
    unit = _alone(covariance)
    for index in np.flatnonzero(np.isfinite(errors) & (errors > _SMALL)):
        # where the others go while this one moves by its error, as far as that is known
        direction = np.nan_to_num(covariance[:, index] / errors[index])
        for side, sign in enumerate((-1.0, 1.0)):
            profile = _Profile(ascent, point, best, int(index), sign * direction, float(errors[index]), unit, margin)
            ends[side][index] = point[index] + sign * errors[index] * profile.limit()
    return ends[0], ends[1]


def _alone(covariance: np.ndarray) -> np.ndarray:
    """The standard error (P,) of each parameter if the others were known; 1 where the data do not tell it."""
    result, known = np.ones(len(covariance)), np.flatnonzero(np.isfinite(np.diag(covariance)))
    information = np.diag(np.linalg.pinv(covariance[np.ix_(known, known)]))
    result[known] = np.where(information > 1, 1 / np.sqrt(np.maximum(information, 1.0)), 1.0)
    return result


class _Profile:
    """One parameter to one side, in units of its standard error."""

    def __init__(
        self,
        ascent: Ascent,
        point: np.ndarray,
        best: float,
        index: int,
        direction: np.ndarray,
        error: float,
        unit: np.ndarray,
        margin: Margin,
    ):
        self.unit, self.margin = unit, margin
        self.ascent, self.point, self.best, self.index = ascent, point, best, index
        self.direction, self.error, self.farthest = direction, error, _FARTHEST / error

    def limit(self) -> float:
        """How many standard errors away the limit is."""
        usual, fall = self.margin.errors, self.margin.fall
        if self.farthest > usual and abs(self._root(self._along(usual)) / fall - 1) < _STRAIGHT:
            return usual
        distance, low, high = min(usual, self.farthest), 0.0, np.inf
        start = self._along(distance)
        for _ in range(_MOST_TRIES):
            start, at_bound = self._within(start, distance)
            try:
                result = self.ascent.near(start, held=self.index, unit=self.unit)
            except SimulationError:  # as far as it can be computed there is no limit
                return np.inf
            root = self._fall(-float(result.fun))
            if result.walled and root > fall:  # the maximum over the others may be where nothing can be computed
                return np.inf
            if at_bound and root < fall:
                return float(abs(start[self.index] - self.point[self.index])) / self.error
            if abs(root - fall) < _CLOSE * fall:
                break
            if root < fall and distance >= self.farthest:
                return np.inf
            low, high = (distance, high) if root < fall else (low, distance)
            following = distance * min(fall / max(root, 1e-3), 3.0)  # roots grow in proportion, nearly
            if not low < following < high:
                following = 0.5 * (low + high)
            following = min(following, self.farthest)
            start, distance = result.x + (following - distance) * self.direction, following
        return distance

    def _within(self, start: np.ndarray, distance: float) -> tuple[np.ndarray, bool]:
        """Where to begin at this distance, and whether that is at a bound of the parameter."""
        start[self.index] = self._along(distance)[self.index]
        inside = self.ascent.parameters.clip(start)
        return inside, bool(inside[self.index] != start[self.index])

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
