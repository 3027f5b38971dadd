"""The likelihood of a problem, times prior, around its estimate: what profiles follow and draws are from."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from tqdm import tqdm

from sbmlgrad.errors import FitError, PetabError, SimulationError
from sbmlgrad.fitting.ascent import Ascent, inverse_information
from sbmlgrad.fitting.parameters import Parameters
from sbmlgrad.fitting.profile import USUAL, Surface
from sbmlgrad.likelihood.likelihood import Evaluation
from sbmlgrad.petab.definition import Definition, Parameter
from sbmlgrad.petab.fit import Ended, MultiStart
from sbmlgrad.petab.objective import Objective

_WITH_PRIOR = ", times prior"


class Followed:
    """The log of likelihood times prior at values (P,) of the estimated parameters, with its derivatives."""

    def __init__(self, objective: Objective):
        self._objective = objective

    def prepare(self, values: np.ndarray) -> None:
        """Nothing has to be chosen."""

    def evaluate(self, values: np.ndarray) -> Evaluation:
        """Value, score and information; raises :class:`SimulationError` where they cannot be computed."""
        parameters = self._objective.parameters
        slope = parameters.slope(values)
        try:
            found = self._objective(parameters.to_scale(values))
        except PetabError as error:
            raise SimulationError(str(error)) from None
        return Evaluation(-found.value, -found.gradient / slope, found.curvature / np.outer(slope, slope))

    def widen(self, values: np.ndarray, rough: bool = False) -> bool:
        """Never: everything is taken into account."""
        return False

    def roughly(self, values: np.ndarray) -> AbstractContextManager[None]:
        """As at any time."""
        return nullcontext()


class Drawn:
    """The log of the density on the scale of the search that draws are from."""

    drawn = False

    def __init__(self, searches: MultiStart, bar: tqdm[Any]):
        self._searches, self._bar = searches, bar
        self._settings = searches.objective_at(searches.options.tolerance).settings

    def value(self, point: np.ndarray) -> float:
        """At a point (P,): a prior that is one of the value becomes one of its logarithm, where that is the scale."""
        self._bar.update()
        searches = self._searches
        try:
            found = searches.evaluator.evaluate(searches.named(point), self._settings)
        except PetabError as error:
            raise SimulationError(str(error)) from None
        if found.log_posterior is None:
            return found.llh
        return found.log_posterior + _stretched(searches.definition, searches.parameters, point)

    def widen(self, point: np.ndarray) -> bool:
        """Never."""
        return False


def surface_of(searches: MultiStart, best: Ended, bar: tqdm[Any]) -> Surface:
    """Around the best end of the searches.

    Raises :class:`FitError` for a fit by exact simulation, whose values chance moves.
    """
    if not searches.exact:
        raise FitError(
            f"{searches.definition.source}: profiles and draws are of fits by rate equations; fit with method 'ode', "
            "or take the limits of the table"
        )
    assert best.point is not None
    assert best.posterior is not None
    climb = Ascent(Followed(searches.objective_at(searches.options.tolerance)), searches.parameters, bar)
    at_bound = searches.parameters.at_bound(searches.parameters.from_scale(best.point))
    covariance = inverse_information(best.posterior.curvature, at_bound)
    margins = (USUAL,) * len(best.point)
    note = _WITH_PRIOR if has_priors(searches.definition) else ""
    return Surface(climb, best.point, climb.at(best.point).value, covariance, margins, note=note)


def has_priors(definition: Definition) -> bool:
    """Whether an estimated parameter has a prior."""
    return any(row.estimated and row.prior is not None for row in definition.parameters.values())


def _stretched(definition: Definition, parameters: Parameters, point: np.ndarray) -> float:
    """The log of how much of what priors are of goes into a unit of the scale of the search, up to a constant."""
    rows = [definition.parameters[name] for name in parameters.names]
    return sum(
        _log_slope(row, bool(log), float(value))
        for row, log, value in zip(rows, parameters.log, parameters.from_scale(point), strict=True)
        if row.prior is not None
    )


def _log_slope(row: Parameter, log: bool, value: float) -> float:
    assert row.prior is not None
    if (row.prior.scale != "lin") == log:
        return 0.0
    return float(np.log(value)) if log else -float(np.log(value))
