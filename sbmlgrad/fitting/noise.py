"""What the model says of the noise in the data at an estimate, corrected by the scatter between replicates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from sbmlgrad.fitting.loss import Target

_APART = 4.0  # standard errors, that the scatter between replicates is off before it counts


@dataclass(frozen=True, eq=False)
class Noise:
    """The covariance of measured numbers.

    Attributes
    ----------
    one
        Covariance (m, m) of the numbers if each were of one trajectory or one cell, a floor and what the table says of
        errors included.
    predicted
        The same by the model alone.
    told
        Which moments (m,) have a covariance that is known, rather than up to the number of cells.
    floored
        Which numbers (m,) hardly vary in the prediction, so that their error is mostly the floor.
    sized
        Whether the size of the covariance of trajectories is predicted, rather than its shape alone.
    smooth
        Whether data that are smoother than a trajectory make the covariance smaller: rate equations are matched to
        means of many cells, too.
    most_share
        One over the least number of cells that may stand behind moments.
    simulated
        How many trajectories would make predictions as noisy as these; infinite for solutions of equations.
    scatter
        The variance between replicates over the predicted one; 1 where they are the same but for chance.
    """

    one: np.ndarray
    predicted: np.ndarray
    told: np.ndarray
    floored: np.ndarray
    sized: bool = True
    smooth: bool = False
    most_share: float = np.inf
    simulated: float = np.inf
    scatter: float = 1.0

    def errors(self, target: Target) -> np.ndarray:
        """The standard deviations (m,) of the numbers, those of moments for one cell."""
        return np.sqrt(np.diag(self.one) / target.replicates)


def observed(
    target: Target, covariance: np.ndarray, level: np.ndarray, sized: bool = True
) -> tuple[np.ndarray, np.ndarray, float]:
    """``one``, ``floored`` and ``scatter`` of :class:`Noise`, from a predicted covariance (m, m) and values (m,).

    Errors that the table states take the place of the predicted ones, and measurement errors are added. Where
    replicates scatter more than predicted, there is measurement error too, without correlation in time and with a
    variance that goes with the level.
    """
    variance = np.diag(covariance)
    floor = target.floor(variance)
    floored = (variance < floor) & np.isnan(target.stated) & (target.added == 0)
    one = _with_stated(target, covariance + np.diag(floor), sized)
    rows = target.trajectory & ~floored & (target.replicates > 1)
    if not rows.any():
        return one, floored, 1.0
    ratio, error = _scatter(target, one, rows)
    if sized and abs(ratio - 1) <= _APART * error:
        return one, floored, 1.0
    kind = target.trajectory
    if sized and ratio < 1:
        return np.where(np.outer(kind, kind), ratio * one, one), floored, ratio
    explained = np.diag(one) if sized else np.zeros(len(floor))
    more = np.zeros(len(floor))
    for series in np.unique(target.series[rows]):
        own = target.series == series
        seen = own & rows
        more[own] = smoothed(level[seen], np.maximum(target.scatter[seen] - explained[seen], 0.0))(level[own])
    if sized:
        return one + np.diag(more), floored, ratio
    return np.where(np.outer(kind, kind), np.diag(more + floor), one), floored, 1.0


def _with_stated(target: Target, one: np.ndarray, sized: bool) -> np.ndarray:
    """A predicted covariance (m, m) with errors of the size that the table says, correlated as predicted."""
    size = np.sqrt(np.diag(one))
    factor = np.where(np.isnan(target.stated), 1.0, np.sqrt(np.nan_to_num(target.stated)) / size)
    alone = (target.added > 0) & (~target.counted & ~target.trajectory & np.isnan(target.stated))
    if not sized:  # what is added is all that is known of the size
        alone = alone | ((target.added > 0) & target.trajectory)
    factor = np.where(alone, 0.0, factor)
    more = target.added * np.where(target.counted, target.replicates, 1.0)
    return one * np.outer(factor, factor) + np.diag(more)


def smoothed(level: np.ndarray, variance: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Variance as a function a + b m + c m^2 of the level m, with a, b and c not negative, from variances (K,)."""

    def powers(m: np.ndarray) -> np.ndarray:
        return np.stack([np.ones_like(m), np.abs(m), np.square(m)], axis=1)

    weight = 1 / np.maximum(variance + variance.mean(), 1e-300)  # sampling errors are in proportion
    terms = powers(level) * weight[:, None]
    scale = np.maximum(np.abs(terms).max(axis=0), 1e-300)
    factors = nnls(terms / scale, variance * weight)[0] / scale
    return lambda m: powers(m) @ factors


def _scatter(target: Target, one: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Variance between replicates over the predicted one, and the error of that ratio where the prediction is right."""
    weight = (target.replicates[rows] - 1) / np.sum(target.replicates[rows] - 1)
    part = one[np.ix_(rows, rows)]
    variance = np.diag(part)
    ratio = float(np.sum(weight * target.scatter[rows] / variance))
    squares = np.square(part) / np.outer(variance, variance)
    return ratio, float(np.sqrt(2 * weight @ squares @ weight / np.mean(target.replicates[rows] - 1)))
