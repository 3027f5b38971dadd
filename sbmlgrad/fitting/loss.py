"""Weighted moment matching: measured values against simulated moments.

Each measured number is compared with the simulated mean or standard deviation at its time, in units of an error:

- moments (``S-mean``, ``S-sd``): the measured sd, and sd / sqrt(2) for an sd, the relative errors of both moments
  of normal samples. How many cells stand behind them is not known; it is read off the residuals at the end;
- trajectories (``S``): an error that grows as the square root of the measured value, as numbers of molecules vary,
  and is a tenth of the largest value there. (Errors from simulated sds were tried: as they follow the parameters,
  they reward wide ensembles, and the fit drifts.)

Errors have a floor, for times where nothing varies yet: that of a value of a hundredth of the series' largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sbmlgrad.gradient.estimator import Estimate
from sbmlgrad.tables.measurements import Measurements, Series

_FLOOR = 0.01  # of the largest value of the series
_LARGEST_ERROR = 0.1  # of the largest value, for trajectories


@dataclass(frozen=True)
class Target:
    """Measured numbers as flat arrays (m,): what, when, how much, in units of ``error``.

    ``observable`` and ``time`` are places in ``observables`` and ``times``; ``spread`` marks sds; ``group`` numbers
    the trajectories or tables that were measured together.
    """

    observables: tuple[str, ...]
    times: np.ndarray
    observable: np.ndarray
    time: np.ndarray
    spread: np.ndarray
    value: np.ndarray
    error: np.ndarray
    trajectory: np.ndarray  # whether the number belongs to a single trajectory rather than a table of moments
    group: np.ndarray
    floor: np.ndarray

    @property
    def squares(self) -> bool:
        """Whether second moments have to be differentiated."""
        return bool(self.spread.any())

    def predicted(self, moments: Estimate) -> np.ndarray:
        """Simulated counterparts of the measured numbers (m,)."""
        mean, sd = self.mean_and_sd(moments)
        return np.where(self.spread, sd[self.observable, self.time], mean[self.observable, self.time])

    def jacobian(self, moments: Estimate) -> np.ndarray:
        """Their derivatives (m, P)."""
        size = len(self.observables)
        slope = moments.derivatives[:, :size]
        result = slope[:, self.observable, self.time]
        if self.squares:
            mean, sd = self.mean_and_sd(moments)
            second = moments.derivatives[:, size:]
            with np.errstate(divide="ignore", invalid="ignore"):
                spread = (second - 2 * mean * slope) / (2 * sd)
            spread = np.where(sd > 0, spread, 0.0)
            result = np.where(self.spread, spread[:, self.observable, self.time], result)
        return result.T

    def mean_and_sd(self, moments: Estimate) -> tuple[np.ndarray, np.ndarray]:
        """Simulated means and standard deviations (observables, times)."""
        size = len(self.observables)
        mean = moments.values[:size]
        if not self.squares:
            return mean, moments.values_sd[:size]
        # The square of a noisy mean is too large by the noise's variance.
        variance = moments.values[size:] - np.square(mean) + np.square(moments.values_stderr[:size])
        return mean, np.sqrt(np.maximum(variance, 0.0))

    def residuals(self, moments: Estimate) -> np.ndarray:
        """(predicted - measured) / error (m,)."""
        return (self.predicted(moments) - self.value) / self.error

    def influence(self, values: np.ndarray) -> np.ndarray:
        """How much each trajectory of an ensemble moves each moment: (m, n) from values (observables, times, n).

        The covariance of its rows, over the number of trajectories, is that of the moments.
        """
        centred = values - values.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.where(variance > 0, (np.square(centred) - variance) / (2 * np.sqrt(variance)), 0.0)
        rows = centred[self.observable, self.time]
        return np.where(self.spread[:, None], spread[self.observable, self.time], rows)


def target(measurements: Measurements) -> Target:
    """Lay measurements out for comparison."""
    series = measurements.series
    observables = tuple(dict.fromkeys(s.observable for s in series))
    times = np.unique(np.concatenate([s.times for s in series]))
    columns: list[dict[str, np.ndarray]] = []
    groups: dict[object, int] = {}
    for s in series:
        size = len(s.times)
        single = s.statistic == "value"
        label = ("trajectory", s.replicate) if single else ("moments",)
        floor = _FLOOR * (float(np.max(np.abs(s.values))) or 1.0)
        columns.append(
            {
                "observable": np.full(size, observables.index(s.observable)),
                "time": np.searchsorted(times, s.times),
                "spread": np.full(size, s.statistic == "sd"),
                "value": s.values,
                "error": _errors(s, series, floor),
                "trajectory": np.full(size, single),
                "group": np.full(size, groups.setdefault(label, len(groups))),
                "floor": np.full(size, floor),
            }
        )
    return Target(observables, times, **{name: np.concatenate([c[name] for c in columns]) for name in columns[0]})


def _errors(series: Series, every: Sequence[Series], floor: float) -> np.ndarray:
    """Errors from the measured sd where there is one; else they grow as the square root of the value."""
    spreads = [] if series.statistic == "value" else [s for s in every if _is_spread_of(s, series.observable)]
    if not spreads:
        largest = floor / _FLOOR
        return _LARGEST_ERROR * np.sqrt(largest * np.maximum(np.abs(series.values), floor))
    sd = np.hypot(np.interp(series.times, spreads[0].times, spreads[0].values), floor)
    return sd * np.sqrt(0.5) if series.statistic == "sd" else sd


def _is_spread_of(series: Series, observable: str) -> bool:
    return series.observable == observable and series.statistic == "sd"
