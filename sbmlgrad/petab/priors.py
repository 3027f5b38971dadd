"""Prior densities of parameters, cut off at their bounds (PEtab 2, "Prior distributions"), and their derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import stats

from sbmlgrad.errors import PetabError
from sbmlgrad.petab.definition import Parameter, Prior, Scale
from sbmlgrad.petab.likelihood import slope_of_transformed, transformed

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


_SLOPES: dict[str, Callable[..., Any]] = {
    "cauchy": lambda x, location, scale: -2 * (x - location) / (scale**2 + (x - location) ** 2),
    "chisquare": lambda x, degrees: (degrees / 2 - 1) / x - 0.5,
    "exponential": lambda x, scale: -1 / scale,
    "gamma": lambda x, shape, scale: (shape - 1) / x - 1 / scale,
    "laplace": lambda x, location, scale: -np.sign(x - location) / scale,
    "log-laplace": lambda x, location, scale: -(1 + np.sign(np.log(x) - location) / scale) / x,
    "log-normal": lambda x, mean, sd: -(1 + (np.log(x) - mean) / sd**2) / x,
    "log-uniform": lambda x, lower, upper: -1 / x,
    "normal": lambda x, mean, sd: -(x - mean) / sd**2,
    "rayleigh": lambda x, scale: 1 / x - x / scale**2,
    "uniform": lambda x, lower, upper: 0.0,
}
"""Derivatives of the log of the densities."""


def log_prior(parameters: Mapping[str, Parameter], values: Mapping[str, float], source: str) -> dict[str, float] | None:
    """The log of the prior density at ``values`` by estimated parameter; None where the problem has no priors.

    Where some parameters have one, those without have a uniform one between their bounds.
    """
    estimated = [parameter for parameter in parameters.values() if parameter.estimated]
    if all(parameter.prior is None for parameter in estimated):
        return None
    return {parameter.id: _log_density(parameter, values[parameter.id], source) for parameter in estimated}


def slope_of_log_prior(parameter: Parameter, value: float) -> float:
    """The derivative of the log of a parameter's prior density by its value."""
    if parameter.prior is None:
        return 0.0
    prior = parameter.prior
    slope = _SLOPES[prior.distribution](transformed(value, prior.scale), *prior.parameters)
    return float(slope * slope_of_transformed(np.asarray(value), prior.scale))


def quantile(parameter: Parameter, prior: Prior, probability: float, source: str) -> float:
    """The value below which a parameter lies with a probability, by a prior cut off at the bounds."""
    distribution, lower, upper = _cut_off(parameter, prior, source)
    begin, end = distribution.cdf(lower), distribution.cdf(upper)
    value = float(np.clip(distribution.ppf(begin + probability * (end - begin)), lower, upper))
    return float(np.clip(_back(value, prior.scale), parameter.lower, parameter.upper))


def support(parameter: Parameter) -> tuple[float, float]:
    """The values between which a parameter may be: its bounds, and those of a uniform prior."""
    prior = parameter.prior
    if prior is None or "uniform" not in prior.distribution or len(prior.parameters) != 2:
        return parameter.lower, parameter.upper
    lower, upper = (_back(end, prior.scale) for end in prior.parameters)
    return max(parameter.lower, lower), min(parameter.upper, upper)


def _back(value: float, scale: Scale) -> float:
    """A value that is meant on a scale."""
    return {"lin": lambda x: x, "log": math.exp, "log10": lambda x: 10.0**x}[scale](value)


def _log_density(parameter: Parameter, value: float, source: str) -> float:
    prior = parameter.prior or Prior("uniform", (parameter.lower, parameter.upper))
    distribution, lower, upper = _cut_off(parameter, prior, source)
    if not parameter.lower <= value <= parameter.upper:
        return -math.inf
    inside = distribution.cdf(upper) - distribution.cdf(lower)
    with np.errstate(divide="ignore"):
        return float(distribution.logpdf(transformed(value, prior.scale)) - np.log(inside))


def _cut_off(parameter: Parameter, prior: Prior, source: str) -> tuple[Any, float, float]:
    """The distribution of a prior, and the bounds on its scale."""
    takes = _DISTRIBUTIONS.get(prior.distribution, (0,))[0]
    if not takes or len(prior.parameters) != takes:
        raise PetabError(
            f"{source}: parameter {parameter.id!r} has the prior {prior.distribution!r} with "
            f"{len(prior.parameters)} parameters; use one of {', '.join(_DISTRIBUTIONS)} with as many as it takes"
        )
    lower, upper = (transformed(bound, prior.scale) for bound in (parameter.lower, parameter.upper))
    return _DISTRIBUTIONS[prior.distribution][1](*prior.parameters), lower, upper
