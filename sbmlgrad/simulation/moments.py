"""Means and variances of a stream of trajectories, the same to the last bit however it is cut."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sbmlgrad.simulation.shares import GRAIN


class GrainMoments(NamedTuple):
    """Of each grain its size (grains,), and means and sums of squared deviations (..., grains); of numpy or JAX."""

    sizes: Any
    mean: Any
    squares: Any


def grain_moments(values: np.ndarray) -> GrainMoments:
    """Moments of values (..., trajectories) grain by grain; all but the last are whole."""
    begins = range(0, values.shape[-1], GRAIN)
    mean, squares = (np.empty((*values.shape[:-1], len(begins))) for _ in range(2))
    sizes = np.full(len(begins), GRAIN)
    for index, begin in enumerate(begins):  # one at a time: a grain stays in a core's cache
        grain = values[..., begin : begin + GRAIN]
        sizes[index] = grain.shape[-1]
        with np.errstate(invalid="ignore"):  # values may be infinite; their moments are not numbers then
            mean[..., index] = grain.mean(axis=-1)
            squares[..., index] = np.square(grain - mean[..., index, None]).sum(axis=-1)
    return GrainMoments(sizes, mean, squares)


class Moments:
    """Running mean and sum of squared deviations of arrays (..., trajectories).

    Values are summed grain by grain. Grains are then added up one after the other, as differences from the mean of the
    first, which keeps digits as the pairwise update of Chan, Golub and LeVeque (1979) does; so the result does not
    depend on how trajectories arrive in chunks of whole grains.
    """

    def __init__(self) -> None:
        self.count = 0
        self._origin: np.ndarray = np.zeros(())
        self._sum: np.ndarray = np.zeros(())
        self._squares: np.ndarray = np.zeros(())

    def add(self, values: np.ndarray) -> None:
        """Take in more trajectories, along the last axis; all but the last call bring whole grains."""
        if values.shape[-1]:
            self.add_grains(*grain_moments(values))

    def add_grains(self, sizes: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
        """Take in grains of these sizes (grains,), with their means and sums of squared deviations (..., grains)."""
        if not self.count:
            self._origin = mean[..., 0].copy()
        with np.errstate(invalid="ignore"):
            origin = self._origin[..., None]
            shift = np.where(mean == origin, 0.0, mean - origin)  # also where both are infinite
            self._sum = _added(self._sum, sizes * shift)
            self._squares = _added(self._squares, squares + sizes * np.square(shift))
        self.count += int(sizes.sum())

    @property
    def mean(self) -> np.ndarray:
        """The mean; 0 before there is a trajectory."""
        return self._origin + self._sum / max(self.count, 1)

    @property
    def variance(self) -> np.ndarray:
        """The unbiased variance of one trajectory's value; nan for a single trajectory."""
        if self.count < 2:
            return np.full(np.shape(self._squares), np.nan)
        squares = self._squares - np.square(self._sum) / self.count
        return np.maximum(squares, 0.0) / (self.count - 1)

    @property
    def sd(self) -> np.ndarray:
        """The standard deviation of one trajectory's value."""
        return np.sqrt(self.variance)

    @property
    def stderr(self) -> np.ndarray:
        """The standard error of the mean."""
        return np.sqrt(self.variance / self.count)


def _added(total: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """The total (...) and terms (..., grains), strictly one after the other."""
    first = np.broadcast_to(total, terms.shape[:-1])[..., None]
    return np.cumsum(np.concatenate([first, terms], axis=-1), axis=-1)[..., -1]
