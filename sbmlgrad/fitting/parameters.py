"""The numbers being fitted: their start, bounds and scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t

from sbmlgrad.errors import FitError

Bounds = tuple[float, float] | None


@dataclass(frozen=True)
class Parameters:
    """Parameters by name with start values, bounds and scale; arrays (P,).

    Those that start positive and may not become negative move on a logarithmic scale, the others on a linear one
    in units of their start.
    """

    names: tuple[str, ...]
    start: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    log: np.ndarray
    unit: np.ndarray

    def starting_at(self, values: np.ndarray) -> Parameters:
        """The same with another start (P,)."""
        return replace(self, start=values)

    def to_scale(self, values: np.ndarray) -> np.ndarray:
        """Coordinates in which the optimiser moves."""
        safe = np.where(self.log, np.maximum(values, 1e-300), 1.0)
        return np.where(self.log, np.log(safe), values / self.unit)

    def from_scale(self, point: np.ndarray) -> np.ndarray:
        """Parameter values at coordinates of the optimiser."""
        return np.where(self.log, np.exp(np.where(self.log, point, 0.0)), point * self.unit)

    def within(self, point: np.ndarray) -> np.ndarray:
        """The same, and never beyond the bounds, as rounding may be: whoever starts there again is inside."""
        return np.clip(self.from_scale(point), self.lower, self.upper)

    def slope(self, values: np.ndarray) -> np.ndarray:
        """d value / d coordinate."""
        return np.where(self.log, values, self.unit)

    def stderr(self, values: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """Standard errors (P,) of the values, from those of the coordinates.

        What is normal on a logarithmic scale is log-normal: the slope there is taken at its mean, which is hardly above
        the estimate where errors are small, and far above where the data tell the parameter to a factor only.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.where(self.log, np.exp(np.square(errors) / 2), 1.0)
            return np.where(np.isinf(errors), np.inf, errors * mean * self.slope(values))

    def interval(self, point: np.ndarray, errors: np.ndarray, freedom: float) -> tuple[np.ndarray, np.ndarray]:
        """95 % confidence limits (P,) of the values, symmetric on this scale; ``freedom`` is that of Student's t."""
        width = np.where(np.isnan(errors), np.inf, errors) * t.ppf(0.975, freedom)
        with np.errstate(over="ignore"):
            return self.from_scale(point - width), self.from_scale(point + width)

    def clip(self, point: np.ndarray) -> np.ndarray:
        """The nearest coordinates within the bounds."""
        return np.clip(point, self.to_scale(self.lower), self.to_scale(self.upper))

    def at_bound(self, values: np.ndarray) -> np.ndarray:
        """Which parameters stand at a bound (to one part in a million of their scale)."""
        point = self.to_scale(values)
        return (point <= self.to_scale(self.lower) + 1e-6) | (point >= self.to_scale(self.upper) - 1e-6)


def choose(
    requests: Mapping[str, Bounds], values: Mapping[str, float], init: Mapping[str, float], source: str
) -> Parameters:
    """Parameters to fit, from bounds (or None), the model's values and other start values.

    Raises :class:`FitError` where there is nothing to fit, a start is missing or outside its bounds.
    """
    if not requests:
        raise FitError(f"{source}: name at least one parameter to fit")
    stray = [name for name in init if name not in requests]
    if stray:
        raise FitError(f"{source}: {stray[0]!r} has a start value but is not fitted; add it to the parameters")
    names = tuple(requests)
    start = np.array([float(init.get(name, values[name])) for name in names])
    lower, upper = np.full(len(names), -np.inf), np.full(len(names), np.inf)
    for index, (name, bounds) in enumerate(requests.items()):
        if bounds is not None:
            lower[index], upper[index] = bounds
        _check(name, start[index], lower[index], upper[index], source)
    # Rates, sizes and amounts mean nothing below zero, and a model that starts positive does not ask for it.
    log = (start > 0) & ((lower >= 0) | np.isneginf(lower))
    lower = np.where(np.isneginf(lower) & (start >= 0), 0.0, lower)
    unit = np.where(start != 0, np.abs(start), _width(lower, upper))
    return Parameters(names, start, lower, np.where(log & np.isinf(upper), 1e300, upper), log, unit)


def _check(name: str, start: float, lower: float, upper: float, source: str) -> None:
    if not np.isfinite(start):
        raise FitError(f"{source}: {name!r} has no value to start from; give one with init={{{name!r}: value}}")
    if not lower < upper:
        raise FitError(f"{source}: the bounds of {name!r}, {lower:g}:{upper:g}, are not in increasing order")
    if not lower <= start <= upper:
        raise FitError(
            f"{source}: {name!r} starts at {start:g}, outside its bounds {lower:g}:{upper:g}; "
            f"widen them or start within them with init={{{name!r}: value}}"
        )


def _width(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    width = upper - lower
    return np.where(np.isfinite(width) & (width > 0), width / 10, 1.0)
