"""Histograms of single cells against simulated ones: shares of cells in ranges of counts, of one or several species.

Ranges hold about as many cells each, of all times of a condition together; for several species they are boxes, halved
by one species after the other. A share of n cells has the variance p (1 - p) / n of the model, which makes the sum of
squares Pearson's chi-square, nearly, and its minimum as precise as the likelihood of such a histogram.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
from tqdm import tqdm

from sbmlgrad.errors import TableError
from sbmlgrad.fitting.loss import Target
from sbmlgrad.fitting.moments import Source
from sbmlgrad.fitting.optimise import Descent
from sbmlgrad.fitting.outcome import Outcome
from sbmlgrad.fitting.stochastic import MomentFit
from sbmlgrad.gradient.observables import Region
from sbmlgrad.tables.measurements import Measurements

_CELLS_A_RANGE = 40  # of all times, at least
_FEWEST_RANGES = 4  # that tell more than means and standard deviations
_MOST_HALVED = 4  # times, which makes 16 ranges

Sides = tuple[tuple[float, ...], tuple[float, ...]]
"""The lower and the upper sides of a box, one of each species."""


class HistogramFit(MomentFit):
    """Measured and simulated histograms, begun where means and standard deviations agree."""

    def __init__(self, rough: MomentFit, source: Source, target: Target):
        super().__init__(source, rough.parameters, target, *rough.settings)
        self._rough = rough

    def solve(self, bar: tqdm[Any]) -> Outcome:
        """Run to the end."""
        ranges = len(self.descent.target.functions)
        return replace(super().solve(bar), loss_name=f"weighted least squares of shares of cells in {ranges} ranges")

    def run(self, bar: tqdm[Any]) -> Descent:
        """Match moments, for which distributions need not overlap, and then histograms."""
        self.descent.point = self._rough.run(bar).point
        return super().run(bar)


def enough(measurements: Measurements) -> bool:
    """Whether there are cells enough for histograms that tell more than moments."""
    cells = measurements.cells
    return cells is not None and int((~np.isnan(cells.values)).all(axis=1).sum()) >= _FEWEST_RANGES * _CELLS_A_RANGE


def histograms(measurements: Measurements) -> Target:
    """The shares of cells in ranges of counts at each time.

    Raises :class:`TableError` where the table has no single cells.
    """
    cells = measurements.cells
    if cells is None:
        raise TableError(
            f"{measurements.source}: loss 'histograms' is of single cells, rows that share a time; use another loss"
        )
    whole = ~np.any(np.isnan(cells.values), axis=1)
    values, when = cells.values[whole], cells.times[whole]
    if not len(values):
        raise TableError(f"{measurements.source}: no row has a value in every column, as joint histograms need them")
    times, many = np.unique(when, return_counts=True)
    halved = int(np.clip(np.log2(max(len(values) / _CELLS_A_RANGE, 1.0)), 1, _MOST_HALVED))
    everything = (-inf,) * values.shape[1], (inf,) * values.shape[1]
    regions = [Region(cells.observables, *sides) for sides in _ranges(values, everything, halved, 0)]
    inside = np.stack([_inside(values, region) for region in regions])
    shares = np.stack([inside[:, when == time].mean(axis=1) for time in times], axis=1)
    size = shares.size
    at, behind = np.tile(np.arange(len(times)), len(regions)), np.tile(many, len(regions)).astype(float)
    flat = np.ravel(shares)
    together = (at[:, None] == at[None, :]) / behind
    return Target(
        observables=tuple(region.label for region in regions),
        functions=tuple(regions),
        trials=(0,) * len(regions),
        conditions=(measurements.condition,),
        times=times,
        observable=np.repeat(np.arange(len(regions)), len(times)),
        time=at,
        spread=np.zeros(size, bool),
        value=flat,
        trajectory=np.zeros(size, bool),
        replicates=behind,
        scatter=np.full(size, np.nan),
        shared=together,
        error=np.sqrt(np.maximum(flat * (1 - flat), 1 / behind) / behind),
        counted=np.ones(size, bool),
        stated=np.full(size, np.nan),
        added=np.zeros(size),
        blur=np.zeros(size),
    )


def _ranges(values: np.ndarray, sides: Sides, halved: int, first: int) -> Iterator[Sides]:
    """Boxes that hold about as many of the values (n, species) each, beginning with one of the species."""
    species = values.shape[1]
    for axis in [(first + k) % species for k in range(species)] if halved else []:
        column = values[:, axis]
        edge = float(np.median(column))
        edge = edge if np.any(column < edge) else edge + 1.0  # half or more are at the least count
        low = column < edge
        if low.any() and not low.all():
            lower, upper = sides
            left = lower, (*upper[:axis], edge, *upper[axis + 1 :])
            right = (*lower[:axis], edge, *lower[axis + 1 :]), upper
            yield from _ranges(values[low], left, halved - 1, axis + 1)
            yield from _ranges(values[~low], right, halved - 1, axis + 1)
            return
    yield sides


def _inside(values: np.ndarray, region: Region) -> np.ndarray:
    """Which rows (n,) a region holds."""
    return np.all((values >= region.lower) & (values < region.upper), axis=1)
