"""How likely measured values are: residuals and log densities of the noise models of PEtab, and of counts."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np

from sbmlgrad.petab.counts import COUNTS, Told, counted
from sbmlgrad.petab.definition import Definition, Distribution, Scale


def transformed(values: Any, scale: Scale) -> Any:
    """Values on the scale on which they are compared: -inf for the logarithm of 0, nan for that of less."""
    if scale == "lin":
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(values) if scale == "log" else np.log10(values)


def slope_of_transformed(values: np.ndarray, scale: Scale) -> np.ndarray:
    """The derivative of :func:`transformed` by the value."""
    if scale == "lin":
        return np.ones_like(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1.0 / (values if scale == "log" else values * math.log(10.0))


def told(
    measured: np.ndarray, simulated: np.ndarray, noise: np.ndarray, distribution: Distribution, scale: Scale
) -> Told:
    """What measured values (n,) tell.

    A density is one of the value itself: on a logarithmic scale, the derivative of the logarithm is part of it.
    """
    if distribution in COUNTS:
        return counted(distribution, measured, simulated, noise)
    normal = distribution == "normal"
    residuals = (transformed(simulated, scale) - transformed(measured, scale)) / noise
    shape = -0.5 * residuals**2 - 0.5 * math.log(2 * math.pi) if normal else -np.abs(residuals) - math.log(2)
    with np.errstate(divide="ignore", invalid="ignore"):
        stretched = np.log(np.abs(slope_of_transformed(measured, scale)))
    slope, pull = slope_of_transformed(simulated, scale) / noise, residuals if normal else np.sign(residuals)
    return Told(
        density=shape - np.log(noise) + stretched,
        residuals=residuals,
        by_value=-pull * slope,
        by_noise=(pull * residuals - 1) / noise,
        of_value=slope**2,
        of_both=np.zeros_like(noise),
        of_noise=(2.0 if normal else 1.0) / noise**2,
    )


def told_by_all(definition: Definition, simulated: np.ndarray, noise: np.ndarray) -> Told:
    """What all measurements of a problem tell, in the order of their table."""
    items = definition.measurements
    every = Told(*(np.zeros(len(items)) for _ in fields(Told)))
    rows_of: dict[tuple[Distribution, Scale], list[int]] = {}
    for row, item in enumerate(items):
        observable = definition.observables[item.observable]
        rows_of.setdefault((observable.distribution, observable.scale), []).append(row)
    for (distribution, scale), rows in rows_of.items():
        measured = np.array([items[row].value for row in rows])
        part = told(measured, simulated[rows], noise[rows], distribution, scale)
        for field in fields(Told):
            getattr(every, field.name)[rows] = getattr(part, field.name)
    return every
