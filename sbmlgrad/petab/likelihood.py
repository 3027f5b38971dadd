"""How likely measured values are: residuals and log densities of the noise models of PEtab."""

from __future__ import annotations

import math

import numpy as np

from sbmlgrad.petab.definition import Distribution, Scale


def transformed(value: float, scale: Scale) -> float:
    """A value on the scale on which it is compared: -inf for the logarithm of 0, nan for that of less."""
    if scale == "lin":
        return value
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log(value) if scale == "log" else np.log10(value))


def slope_of_transformed(values: np.ndarray, scale: Scale) -> np.ndarray:
    """The derivative of :func:`transformed` by the value."""
    if scale == "lin":
        return np.ones_like(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1.0 / (values if scale == "log" else values * math.log(10.0))


def residual(measured: float, simulated: float, noise: float, scale: Scale) -> float:
    """Simulated minus measured on the scale of comparison, in units of the noise."""
    return (transformed(simulated, scale) - transformed(measured, scale)) / noise


def log_density(measured: float, deviation: float, noise: float, distribution: Distribution, scale: Scale) -> float:
    """The log of the density of a measured value that deviates so much, as :func:`residual` has it.

    The density is one of the value itself: on a logarithmic scale, the derivative of the logarithm is part of it.
    """
    if distribution == "normal":
        shape = -0.5 * deviation**2 - 0.5 * math.log(2 * math.pi)
    else:
        shape = -abs(deviation) - math.log(2)
    stretch = {"lin": 0.0, "log": 0.0, "log10": math.log(math.log(10))}[scale]
    if scale != "lin":
        stretch += math.log(measured)
    return shape - math.log(noise) - stretch
