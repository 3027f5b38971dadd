"""Prior densities of parameters, cut off at their bounds (PEtab 2, "Prior distributions")."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import stats

from sbmlgrad.errors import PetabError
from sbmlgrad.petab.definition import Parameter, Prior

_DISTRIBUTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "cauchy": (2, lambda location, scale: stats.cauchy(location, scale)),
    "chisquare": (1, lambda degrees: stats.chi2(degrees)),
    "exponential": (1, lambda scale: stats.expon(scale=scale)),
    "gamma": (2, lambda shape, scale: stats.gamma(shape, scale=scale)),
    "laplace": (2, lambda location, scale: stats.laplace(location, scale)),
    "log-laplace": (2, lambda location, scale: stats.loglaplace(1 / scale, scale=math.exp(location))),
    "log-normal": (2, lambda mean, sd: stats.lognorm(sd, scale=math.exp(mean))),
    "log-uniform": (2, lambda lower, upper: stats.loguniform(lower, upper)),
    "normal": (2, lambda mean, sd: stats.norm(mean, sd)),
    "rayleigh": (1, lambda scale: stats.rayleigh(scale=scale)),
    "uniform": (2, lambda lower, upper: stats.uniform(lower, upper - lower)),
}


def log_prior(parameters: Mapping[str, Parameter], values: Mapping[str, float], source: str) -> dict[str, float] | None:
    """The log of the prior density at ``values`` by estimated parameter; None where the problem has no priors.

    Where some parameters have one, those without have a uniform one between their bounds.
    """
    estimated = [parameter for parameter in parameters.values() if parameter.estimated]
    if all(parameter.prior is None for parameter in estimated):
        return None
    return {parameter.id: _log_density(parameter, values[parameter.id], source) for parameter in estimated}


def _log_density(parameter: Parameter, value: float, source: str) -> float:
    prior = parameter.prior or Prior("uniform", (parameter.lower, parameter.upper))
    if prior.distribution not in _DISTRIBUTIONS or len(prior.parameters) != _DISTRIBUTIONS[prior.distribution][0]:
        raise PetabError(
            f"{source}: parameter {parameter.id!r} has the prior {prior.distribution!r} with "
            f"{len(prior.parameters)} parameters; use one of {', '.join(_DISTRIBUTIONS)} with as many as it takes"
        )
    distribution = _DISTRIBUTIONS[prior.distribution][1](*prior.parameters)
    if not parameter.lower <= value <= parameter.upper:
        return -math.inf
    inside = distribution.cdf(parameter.upper) - distribution.cdf(parameter.lower)
    with np.errstate(divide="ignore"):
        return float(distribution.logpdf(value) - np.log(inside))
