"""Means and variances of a stream of trajectories, the same to the last bit however it is cut."""

from __future__ import annotations

import numpy as np

from sbmlgrad.simulation.ensemble import GRAIN


class Moments:
    """Running mean and sum of squared deviations of arrays (..., trajectories).

    Values are summed grain by grain, and grains are merged in order by the pairwise update of Chan, Golub and
    LeVeque (1979), so the result does not depend on how trajectories arrive in chunks of whole grains.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: np.ndarray = np.zeros(())
        self._squares: np.ndarray = np.zeros(())

    def add(self, values: np.ndarray) -> None:
        """Take in more trajectories, along the last axis; all but the last call bring whole grains."""
        for begin in range(0, values.shape[-1], GRAIN):
            grain = values[..., begin : begin + GRAIN]
            size = grain.shape[-1]
            total = self.count + size
            with np.errstate(invalid="ignore"):  # values may be infinite; their moments are not numbers then
                mean = grain.mean(axis=-1)
                squares = np.square(grain - mean[..., None]).sum(axis=-1)
                delta = mean - self.mean
                self.mean = self.mean + delta * (size / total)
                self._squares = self._squares + squares + np.square(delta) * (self.count * size / total)
            self.count = total

    @property
    def variance(self) -> np.ndarray:
        """The unbiased variance of one trajectory's value; nan for a single trajectory."""
        if self.count < 2:
            return np.full(np.shape(self._squares), np.nan)
        return self._squares / (self.count - 1)

    @property
    def sd(self) -> np.ndarray:
        """The standard deviation of one trajectory's value."""
        return np.sqrt(self.variance)

    @property
    def stderr(self) -> np.ndarray:
        """The standard error of the mean."""
        return np.sqrt(self.variance / self.count)
