"""What the files of a PEtab problem say, the same for all versions of the format.

Formulas are sympy expressions over ids; an id may be that of a model's entity, of a row of the parameter table, of a
placeholder, or ``time``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import sympy

from sbmlgrad.model.model import Model

if TYPE_CHECKING:
    import pandas

Scale = Literal["lin", "log", "log10"]
Distribution = Literal["normal", "laplace", "poisson", "binomial", "negative-binomial"]

STEADY = -math.inf
"""The time of a period that lasts until nothing changes any more."""


@dataclass(frozen=True)
class Prior:
    """A prior distribution by its name in PEtab 2, with its parameters in the order of the format.

    It is one of the parameter on ``scale``.
    """

    distribution: str
    parameters: tuple[float, ...]
    scale: Scale = "lin"


@dataclass(frozen=True)
class Parameter:
    """A row of the parameter table, on the linear scale; ``nominal`` is nan where the table has none.

    ``scale`` is the one to estimate it on. ``prior`` is None where the table has none, ``start`` where starts of a fit
    are to be uniform between the bounds.
    """

    id: str
    nominal: float
    lower: float
    upper: float
    scale: Scale
    estimated: bool
    prior: Prior | None = None
    start: Prior | None = None


@dataclass(frozen=True)
class Observable:
    """What is measured: its formula, and noise around it.

    Measured and simulated values are compared on ``scale``. Placeholders are ids in the formulas whose values stand
    with each measurement.
    """

    id: str
    formula: sympy.Basic
    noise: sympy.Basic
    scale: Scale
    distribution: Distribution
    placeholders: tuple[str, ...]
    noise_placeholders: tuple[str, ...]


@dataclass(frozen=True)
class Measurement:
    """One measured value; ``time`` is infinite for a steady state, ``row`` the index in the table of measurements.

    The overrides, numbers or ids, are the values of the placeholders of the observable and of its noise.
    """

    observable: str
    experiment: str
    model: str
    time: float
    value: float
    overrides: tuple[sympy.Basic, ...]
    noise_overrides: tuple[sympy.Basic, ...]
    row: int


@dataclass(frozen=True)
class Period:
    """What is changed at a time, by the id of what is changed; at :data:`STEADY`, a pre-equilibration begins."""

    time: float
    changes: Mapping[str, sympy.Basic]


@dataclass(frozen=True)
class Experiment:
    """Periods by increasing time, the first of which begins the simulation."""

    id: str
    periods: tuple[Period, ...]


@dataclass(frozen=True, eq=False)
class Definition:
    """A PEtab problem as its files state it.

    ``table`` is the table of measurements as it was read, ``parameter_table`` that of parameters, as text. ``aliases``
    are ids of the problem that stand for others in the model.
    """

    source: str
    version: str
    models: Mapping[str, Model]
    parameters: Mapping[str, Parameter]
    observables: Mapping[str, Observable]
    experiments: Mapping[str, Experiment]
    measurements: tuple[Measurement, ...]
    table: pandas.DataFrame = field(repr=False)
    parameter_table: pandas.DataFrame = field(repr=False)
    aliases: Mapping[str, str]
