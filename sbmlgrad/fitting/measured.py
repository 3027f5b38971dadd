"""Formulas of the noise around what is measured, and values that they allow."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import numpy as np
import sympy

from sbmlgrad.errors import FitError, TableError
from sbmlgrad.likelihood.measurement import COUNTS, LAWS, Laws, Measurement
from sbmlgrad.model.derive import with_observables
from sbmlgrad.model.model import Model
from sbmlgrad.sbml.formula import read_formula
from sbmlgrad.tables.columns import listing
from sbmlgrad.tables.measurements import Measurements

_CALL = re.compile(rf"\s*({'|'.join(LAWS)})\s*(?:\((.*)\))?\s*", re.DOTALL)


def with_noise(model: Model, noise: Mapping[str, str], observables: Collection[str]) -> tuple[Model, Laws]:
    """The model with a variable for the parameter of each law, and the laws by observable.

    A text is a law with its parameter, ``laplace(0.5)``, ``poisson``, or the standard deviation of a normal one.

    Raises :class:`FitError` for what is no observable, :class:`SbmlError` for what is no formula.
    """
    laws, formulas = {}, {}
    for name, text in noise.items():
        where = f"noise of {name!r}"
        if name not in observables:
            raise FitError(
                f"{where}: there is nothing of that name to be measured; there is {listing(sorted(observables))}"
            )
        called = _CALL.fullmatch(text)
        law, formula = called.groups() if called else ("normal", text)
        if (law == "poisson") != (formula is None):
            needs = "takes no parameter" if law == "poisson" else f"needs a parameter, as in {law}(0.5)"
            raise FitError(f"{where}: {text!r}: {law} {needs}")
        laws[name] = Measurement(law)
        if formula is not None:
            variable = f"<noise of {name}>"  # no SBML id contains "<"
            formulas[variable] = read_formula(formula, model, where=where)
            laws[name] = Measurement(law, variable)
            if isinstance(formulas[variable], sympy.Number) and not 0 < float(formulas[variable]) < np.inf:
                raise FitError(f"{where}: is {float(formulas[variable]):g}; it must be positive")
    return with_observables(model, formulas), laws


def check_values(measurements: Measurements, laws: Laws) -> None:
    """Raise :class:`TableError` for columns that say again how exact a value is, and values that cannot be measured."""
    for series in measurements.series:
        law = laws.get(series.observable)
        if law is None:
            continue
        where = f"{measurements.source}: column {series.column!r}"
        if series.statistic in ("sd", "sem", "n", "error") and measurements.cells is None:
            raise TableError(
                f"{where} says how exact {series.observable!r} is, and so does its noise; remove one of the two"
            )
        values = series.values if measurements.cells is None else measurements.cells.of(series.observable)
        if law.law in COUNTS:
            wrong, kind = (values < 0) | (values != np.round(values)), "a whole number from 0 on"
        else:
            wrong, kind = (values <= 0) & (law.law == "lognormal"), "a number above 0"
        if wrong.any():
            shown = where if measurements.cells is None else f"{measurements.source}: column {series.observable!r}"
            raise TableError(f"{shown}: {values[wrong][0]:g} is not {kind}, which values with {law.law} noise are")
