"""Confidence limits by the profile of a likelihood, where it is not the parabola that standard errors take it for.

A limit is where the likelihood, at its largest over all other parameters, has fallen by half the 95 % quantile of a
chi-square with one degree of freedom (Venzon & Moolgavkar, Appl. Stat. 37, 87, 1988).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy.optimize import OptimizeResult
from scipy.stats import norm
from scipy.stats import t as student

from sbmlgrad.errors import SimulationError
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.likelihood.likelihood import Evaluation

_NORMAL = float(norm.ppf(0.975))
_STRAIGHT = 0.05  # how far the root of the fall may be from that of a parabola, relative
_CLOSE = 0.02  # of the width, to which a limit is found
_MOST_TRIES = 20
_FALLING = 0.25  # of the way down to a limit, from where on it is looked for up to where nothing can be computed
_LEAST_PART = 0.1  # of the way between two places, that the next one is from either
_MOST_WIDENED = 20
_MOST_NEWTON = 4  # steps by the curvature at the end of the fit
_LITTLE = 1e-3  # log-likelihood, that is not worth a step
_SHRINKS = 0.25  # of what a step promises, that the next one may at most promise at a maximum
_SMALL = 0.02  # on the optimiser's scale: over so short a way any likelihood is a parabola
_FIRST = np.log(10.0)  # on the optimiser's scale, the farthest first place to look at
_FARTHEST = np.log(1000.0)  # the same of all, where the data set no limit


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


class Climb(Protocol):
    """What a fit made large, on the optimiser's scale: a log-likelihood, or minus half a sum of weighted squares."""

    @property
    def parameters(self) -> Parameters:
        """What moves."""
        ...

    def at(self, point: np.ndarray) -> Evaluation:
        """Value and score at a point (P,); :class:`SimulationError` where nothing can be computed."""
        ...

    def near(self, begin: np.ndarray, held: int | None = None, unit: np.ndarray | float = 1.0) -> Any:
        """The best point nearby, as :meth:`sbmlgrad.fitting.ascent.Ascent.near`."""
        ...

    def widen(self, point: np.ndarray, rough: bool = False) -> bool:
        """Whether what is computed took too little into account at this point, and takes more from here on."""
        ...


@dataclass(frozen=True, eq=False)
class Surface:
    """What a fit made large, around its end.

    Attributes
    ----------
    climb
        Its values.
    point, best
        Where the fit ended, on the optimiser's scale (P,), and the value there.
    covariance
        The inverse of the curvature there (P, P); infinite for what the data do not tell.
    margins
        How far 95 % limits are, one of each parameter.
    quantity
        ``log_likelihood`` or ``loss``, which is minus twice the value.
    note
        What is to be known of the values.
    close
        Of its width, to which a limit can be found.
    widens
        Whether the climb is asked at each maximum what it took too little into account.
    """

    climb: Climb
    point: np.ndarray
    best: float
    covariance: np.ndarray
    margins: tuple[Margin, ...]
    quantity: str = "log_likelihood"
    note: str = ""
    close: float = _CLOSE
    widens: bool = False

    @property
    def parameters(self) -> Parameters:
        """What moves."""
        return self.climb.parameters

    @property
    def errors(self) -> np.ndarray:
        """Standard errors (P,), infinite where the data do not tell."""
        errors = np.sqrt(np.diag(self.covariance))
        return np.where(np.isnan(errors), np.inf, errors)


def limits(surface: Surface) -> tuple[np.ndarray, np.ndarray]:
    """95 % confidence limits (P,) on the optimiser's scale, those of a parabola where it is one.

    Infinite where the likelihood does not fall far enough, or the data do not tell a parameter at all.
    """
    errors, point = surface.errors, surface.point
    widths = np.array([margin.errors for margin in surface.margins]) * errors
    ends = [point - widths, point + widths]
    told, parameters = np.isfinite(errors), surface.parameters
    bounded = parameters.at_bound(parameters.from_scale(point)) & surface.widens
    for index in np.flatnonzero((told & (errors > _SMALL)) | bounded):
        for side, sign in enumerate((-1.0, 1.0)):
            profile = Side(surface, int(index), sign)
            if not (told[index] and profile.is_parabola()):
                ends[side][index] = point[index] + sign * profile.error * profile.limit()
    return ends[0], ends[1]


def _alone(covariance: np.ndarray) -> np.ndarray:
    """The standard error (P,) of each parameter if the others were known; 1 where the data do not tell it."""
    result, known = np.ones(len(covariance)), np.flatnonzero(np.isfinite(np.diag(covariance)))
    information = np.diag(np.linalg.pinv(covariance[np.ix_(known, known)]))
    result[known] = np.where(information > 1, 1 / np.sqrt(np.maximum(information, 1.0)), 1.0)
    return result


class Side:
    """One parameter to one side, in units of its standard error, and what was found there: (point, value)."""

    def __init__(self, surface: Surface, index: int, sign: float):
        self.surface, self.index, self.margin = surface, index, surface.margins[index]
        self.unit = _alone(surface.covariance)
        errors = surface.errors
        # where the others go while this one moves by its error, as far as that is known
        if np.isfinite(errors[index]):
            self.error = float(errors[index])
            self.direction = sign * np.nan_to_num(surface.covariance[:, index] / self.error, posinf=0.0, neginf=0.0)
        else:
            self.error = 1.0
            self.direction = sign * np.eye(len(errors))[index]
        self.farthest = _FARTHEST / self.error
        far = surface.point + sign * _FARTHEST * np.eye(len(errors))[index]
        self.room = self.distance(surface.parameters.clip(far))
        """how far the bound is, or the farthest place to look at"""
        self.found: list[tuple[np.ndarray, float]] = []

    def is_parabola(self) -> bool:
        """Whether the limit is where it would be, were this one, with the others where they would be."""
        usual, fall = self.margin.errors, self.margin.fall
        if self.farthest <= usual:
            return False
        point = self.surface.parameters.clip(self._along(usual))
        try:
            value = self._value(point)
        except SimulationError:
            return False
        left = self._promised(self.surface.climb.at(point).score)
        return all(abs(self._fall(height) / fall - 1) < _STRAIGHT for height in (value, value + left))

    def _promised(self, score: np.ndarray) -> float:
        """What the slope says is to be gained by moving the other parameters, where the curvature is as at the end."""
        return 0.5 * float(score @ self._conditional @ score)

    @cached_property
    def _conditional(self) -> np.ndarray:
        """The covariance (P, P) of the others where this one is held, 0 of those that the data do not tell."""
        covariance = self.surface.covariance
        known = [int(i) for i in np.flatnonzero(np.isfinite(np.diag(covariance))) if i != self.index]
        every = np.array([self.index, *known])
        own, result = covariance[np.ix_(every, every)], np.zeros_like(covariance)
        result[np.ix_(known, known)] = own[1:, 1:] - np.outer(own[1:, 0], own[0, 1:]) / own[0, 0]
        return result

    def limit(self) -> float:
        """How many standard errors away the limit is; infinite where there is none."""
        fall, below, above = self.margin.fall, (0.0, 0.0), None
        distance = min(self.margin.errors, _FIRST / self.error, self.farthest)
        start = self._along(distance)
        for _ in range(_MOST_TRIES):
            start, at_bound = self._within(start, distance)
            try:
                result = self._highest(start)
            except SimulationError:  # as far as it can be computed there is no limit
                if below[1] < _FALLING * fall:
                    return np.inf
                above = (distance, np.inf)
                following = self._between(below, above)
                start, distance = start + (following - distance) * self.direction, following
                continue
            root = self._fall(-float(result.fun))
            if result.walled and root > fall:  # the maximum over the others may be where nothing can be computed
                return np.inf
            if at_bound and root < fall:
                return self.distance(start)
            if abs(root - fall) < self.surface.close * fall:
                return distance
            if root < fall and distance >= self.farthest:
                return np.inf
            below, above = ((distance, root), above) if root < fall else (below, (distance, root))
            following = self._between(below, above)
            start, distance = result.x + (following - distance) * self.direction, following
        return np.inf if above is None or np.isinf(above[1]) else above[0]

    def _between(self, below: tuple[float, float], above: tuple[float, float] | None) -> float:
        """Where to look for the limit next, from places with the roots of the fall there, nearer than it and beyond.

        Roots grow in proportion to the distance, nearly, or stay small for long and then grow.
        """
        fall, (near, low) = self.margin.fall, below
        if above is None:
            return min(near * min(fall / max(low, 1e-3), 3.0), self.farthest)
        far, high = above
        if np.isinf(high):
            return (near + far) / 2
        part = (fall**2 - low**2) / (high**2 - low**2) if low > 0 else fall / high
        return near + min(max(part, _LEAST_PART), 1 - _LEAST_PART) * (far - near)

    def follow(self, distances: Sequence[float]) -> None:
        """Find the profile so far away, too, as far as it can be computed."""
        for distance in distances:
            known = sorted([(self.distance(x), x) for x, _ in self.found] + [(0.0, self.surface.point)], key=_first)
            places, points = np.array([d for d, _ in known]), np.array([x for _, x in known])
            start = np.array([np.interp(distance, places, column) for column in points.T])
            if distance > places[-1]:
                start = points[-1] + (distance - places[-1]) * self.direction
            try:
                self._highest(self._within(start, distance)[0])
            except SimulationError:
                return

    def _highest(self, start: np.ndarray) -> Any:
        """The largest value over all other parameters, with what is needed there taken into account."""
        self._value(start)
        result = self._nearest(start)
        for _ in range(_MOST_WIDENED):
            if not np.isfinite(result.fun) or not self._widened(result.x):
                break
            result = self._nearest(result.x)
        self.found.append((np.array(result.x, np.float64), -float(result.fun)))
        return result

    def _nearest(self, point: np.ndarray) -> Any:
        """The best point nearby: by Newton's steps with the curvature at the end, as far as they lead, or by search."""
        climb = self.surface.climb
        told = self.surface.widens and bool(np.isfinite(self.surface.errors).all())
        before = 0.0  # what was promised a step ago: a slope that does not shrink is that of a plateau
        for _ in range(_MOST_NEWTON if told else 0):
            found = climb.at(point)
            if not np.isfinite(found.value) or found.kinked:
                break
            left, following = self._promised(found.score), point + self._conditional @ found.score
            if left < min(_LITTLE, _SHRINKS * before):
                return OptimizeResult(x=point, fun=-(found.value + left), walled=False)
            try:
                inside = np.array_equal(self.surface.parameters.clip(following), following)
                if not inside or not climb.at(following).value > found.value:
                    break
            except SimulationError:
                break
            before, point = left, following
        return climb.near(point, held=self.index, unit=self.unit)

    def _within(self, start: np.ndarray, distance: float) -> tuple[np.ndarray, bool]:
        """Where to begin at this distance, and whether that is at a bound of the parameter."""
        start[self.index] = self._along(distance)[self.index]
        inside = self.surface.parameters.clip(start)
        return inside, bool(inside[self.index] != start[self.index])

    def distance(self, point: np.ndarray) -> float:
        """How far a point is from the end of the fit, in this parameter."""
        return float(abs(point[self.index] - self.surface.point[self.index])) / self.error

    def _along(self, distance: float) -> np.ndarray:
        return self.surface.point + distance * self.direction

    def _value(self, point: np.ndarray) -> float:
        """The value at a point, with what is needed there taken into account."""
        value = self.surface.climb.at(point).value
        for _ in range(_MOST_WIDENED):
            if not np.isfinite(value) or not self._widened(point):
                break
            value = self.surface.climb.at(point).value
        return value

    def _widened(self, point: np.ndarray) -> bool:
        """Whether values at a point took too little into account, and take more from here on."""
        return self.surface.widens and self.surface.climb.widen(point, rough=True)

    def _fall(self, value: float) -> float:
        """What would be the distance, were it a parabola."""
        return float(np.sqrt(max(2 * (self.surface.best - value), 0.0)))


def _first(pair: tuple[float, np.ndarray]) -> float:
    return pair[0]
