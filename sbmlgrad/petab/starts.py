"""Where the searches of a fit start: drawn from the parameters' bounds or priors, or handed in."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import qmc

from sbmlgrad.errors import FitError
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.petab.definition import Definition
from sbmlgrad.petab.priors import quantile


def draw_starts(definition: Definition, parameters: Parameters, count: int, seed: int) -> np.ndarray:
    """Values (count, P) of a Latin hypercube: uniform on each parameter's scale between its bounds, or by its prior.

    M. D. McKay, R. J. Beckman, W. J. Conover, Technometrics 21:239 (1979).

    Raises
    ------
    FitError
        for a parameter without bounds and without a prior.
    """
    chances = qmc.LatinHypercube(len(parameters.names), rng=np.random.default_rng(seed)).random(count)
    lower, upper = (parameters.to_scale(side) for side in (parameters.lower, parameters.upper))
    starts = np.empty_like(chances)
    for index, name in enumerate(parameters.names):
        row, column = definition.parameters[name], chances[:, index]
        if row.start is not None:
            starts[:, index] = [quantile(row, row.start, float(chance), definition.source) for chance in column]
            continue
        if not np.isfinite(row.upper - row.lower):
            raise FitError(f"{definition.source}: {name!r} has no bounds to draw a start from; add them, or a prior")
        place = lower[index] + column * (upper[index] - lower[index])
        unit = parameters.unit[index]
        starts[:, index] = np.exp(place) if parameters.log[index] else place * unit
    return starts


def check_starts(starts: Any, parameters: Parameters, source: str) -> np.ndarray:
    """Starts that were handed in, as numbers (starts, P); raises :class:`FitError` where they do not fit."""
    table = np.atleast_2d(np.asarray(starts, dtype=float))
    if table.ndim != 2 or table.shape[1] != len(parameters.names) or not len(table):
        raise FitError(
            f"{source}: starts have the shape {np.shape(starts)}; give one row for each, with a column for each of "
            f"{', '.join(parameters.names)}"
        )
    outside = ~((table >= parameters.lower) & (table <= parameters.upper))
    if np.any(outside):
        row, column = (int(index[0]) for index in np.nonzero(outside))
        raise FitError(
            f"{source}: start {row} has {parameters.names[column]!r} at {table[row, column]:g}, outside its bounds "
            f"{parameters.lower[column]:g}:{parameters.upper[column]:g}; start within them"
        )
    return table
