"""The maximum of a likelihood: exact derivatives followed by scipy, error bars from the observed information."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import optax
from tqdm import tqdm

from sbmlgrad.errors import FitError, SimulationError
from sbmlgrad.fitting.ascent import REACH, Ascent
from sbmlgrad.fitting.optimise import Row
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.fitting.profile import USUAL, Margin, Surface, limits
from sbmlgrad.likelihood.likelihood import Likelihood

_MOST_SEARCHES = 30
_NOTHING, _FAR = 0.05, 0.3  # a gain of log-likelihood on such a way, on the optimiser's scale, is not worth another one


@dataclass(frozen=True, eq=False)
class Maximum:
    """Where the likelihood is largest.

    Attributes
    ----------
    point
        On the optimiser's scale (P,).
    value
        The log-likelihood there.
    covariance
        That of the estimates (P, P), from the inverse of the observed information, on the same scale.
    ends
        95 % confidence limits (P,) on the same scale.
    rows
        All evaluations.
    """

    point: np.ndarray
    value: float
    covariance: np.ndarray
    ends: tuple[np.ndarray, np.ndarray]
    rows: list[Row]
    converged: bool
    message: str


def maximise(
    likelihood: Likelihood,
    parameters: Parameters,
    bar: tqdm[Any],
    optimiser: optax.GradientTransformation | None,
    margin: Margin = USUAL,
) -> Maximum:
    """Follow a likelihood, prepared at the start values, to its end, whatever it has to take into account on the way.

    ``margin`` says how far confidence limits are.

    Raises :class:`FitError` where the data are impossible at the start.
    """
    search = Ascent(likelihood, parameters, bar)
    point = parameters.clip(parameters.to_scale(parameters.start))
    if not np.isfinite(search.at(point).value):
        raise FitError(f"the data are impossible with the start values ({likelihood.name}); start elsewhere")
    if optimiser is not None:
        point = search.followed(point, optimiser)
    message, converged, value = "", False, -np.inf
    for _ in range(_MOST_SEARCHES):
        result = search.near(point)
        way, point, message = np.abs(result.x - point), result.x, str(result.message)
        moved, free = float(np.max(way)), ~parameters.at_bound(parameters.from_scale(point))
        gained, value = -result.fun - value, -result.fun
        inside = moved < REACH - 1e-6
        if np.any(way[free] > _FAR) and gained < _NOTHING and not likelihood.drawn:
            message = "the likelihood goes on rising for ever, by next to nothing"
            with suppress(SimulationError):  # its value is to be right all the same
                search.widen(point)
            break
        try:
            if search.widen(point):
                continue
        except SimulationError as error:
            message = f"it cannot be followed any further: {error}"
            break
        converged = inside and search.flat(point)
        if converged:
            break
        if inside and moved == 0:
            break
        message = "it may be larger elsewhere: no step was found that leads there"
    best, covariance = search.at(point).value, search.covariance(point)
    surface = Surface(search, point, best, covariance, (margin,) * len(point), widens=not likelihood.drawn)
    with search.roughly(point):
        ends = limits(surface)
    return Maximum(
        point=point,
        value=best,
        covariance=covariance * margin.variance,
        ends=ends,
        rows=search.rows,
        converged=converged,
        message=f"maximum of the likelihood after {len(search.rows)} evaluations: {message.rstrip('.').lower()}",
    )
