"""The profile of a fit: how well it fits while one parameter is held, and where that is too poor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sbmlgrad.errors import FitError
from sbmlgrad.fitting.profile import Side, Surface
from sbmlgrad.tables.columns import listing

if TYPE_CHECKING:
    import pandas

_BEYOND = 1.2  # times the distance of a limit that a curve goes
_HIGHER = 0.05  # of log-likelihood, or of twice that of a loss: a fit that ended somewhere else
_UNLIMITED = 3.0  # standard errors, that a curve without a limit shows at least


@dataclass(frozen=True, eq=False)
class Profile:
    """How well a fit fits while one parameter is held and the others are at their best.

    Attributes
    ----------
    table
        DataFrame, a row for each point: ``parameter``, which is held at ``value``; ``log_likelihood_difference`` from
        the maximum (0 or less), or ``loss_difference`` from the minimum (0 or more); then a column for each parameter
        with its value there. Of two columns of one name the second is the parameter.
    limits
        DataFrame by parameter: ``estimate``, 95 % limits ``ci_lower`` and ``ci_upper`` (bounds of the search where they
        are met first, infinite limits as 0 or inf where the data set none), ``threshold`` (the difference there).
    quantity
        ``log_likelihood`` or ``loss``.
    note
        How limits are defined, and what to know of the values.
    warnings
        Better fits that were found on the way.
    """

    table: pandas.DataFrame
    limits: pandas.DataFrame
    quantity: str
    note: str
    warnings: tuple[str, ...] = field(default=())

    def limits_in(self, parameters: pandas.DataFrame) -> pandas.DataFrame:
        """A table of parameters with these limits in the place of its own."""
        table = parameters.copy()
        for column in ("ci_lower", "ci_upper"):
            table.loc[self.limits.index, column] = self.limits[column]
        return table

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw a panel for each parameter: a matplotlib figure, also written to a png, svg or pdf file if named."""
        from sbmlgrad.report.plots import save_figure
        from sbmlgrad.report.profiles import plot_profiles

        figure = plot_profiles(self.table, self.limits)
        if path is not None:
            save_figure(figure, path)
        return figure


def chosen(names: Sequence[str], parameters: str | Sequence[str] | None, points: int) -> list[int]:
    """The indices of the parameters to hold; raises :class:`FitError` for what was not fitted."""
    if points < 4:
        raise FitError(f"points: {points} are too few for a profile; give at least 4")
    wanted = list(names) if parameters is None else [parameters] if isinstance(parameters, str) else list(parameters)
    for name in wanted:
        if name not in names:
            raise FitError(f"{name!r} was not fitted, so it has no profile; there is {listing(names)}")
    return [names.index(name) for name in dict.fromkeys(wanted)]


def profiled(surface: Surface, indices: Sequence[int], points: int) -> Profile:
    """The profiles of parameters, with about so many points each, equally spaced on the optimiser's scale.

    The threshold is that of :class:`sbmlgrad.fitting.profile.Margin`: half the 95 % quantile of a chi-square with one
    degree of freedom for a likelihood. For weighted squares, whose weights leave out the correlations of the data, it
    is that quantile times the ratio of the variance of the estimate to what it would be without them (Kent, Biometrika
    69, 19, 1982).
    """
    import pandas

    names, rows, limits = surface.parameters.names, [], []
    sign, unit = (1.0, 1.0) if surface.quantity == "log_likelihood" else (-1.0, 2.0)
    higher: tuple[float, str] | None = None
    for index in indices:
        sides = [Side(surface, index, direction) for direction in (-1.0, 1.0)]
        ends = [_followed(side, points // 2) for side in sides]
        found = [*sides[0].found, (surface.point, surface.best), *sides[1].found]
        for point, value in sorted(found, key=lambda pair: pair[0][index]):
            values = surface.parameters.within(point)
            rows.append([names[index], values[index], sign * unit * (value - surface.best), *values])
            if value > surface.best + _HIGHER and (higher is None or value - surface.best > higher[0]):
                place = ", ".join(f"{name}={number:.6g}" for name, number in zip(names, values, strict=True))
                higher = value - surface.best, place
        limits.append(_limits(surface, index, ends) | {"threshold": -sign * unit * sides[0].margin.fall ** 2 / 2})
    table = pandas.DataFrame(rows, columns=["parameter", "value", f"{surface.quantity}_difference", *names])
    warnings: tuple[str, ...] = ()
    if higher is not None:
        warnings = (
            f"the profile found a better fit than the estimate (by {unit * higher[0]:.3g} of {surface.quantity}) at "
            f"{higher[1]}; fit again from there, or from several starts",
        )
    index_of_limits = pandas.Index([names[index] for index in indices], name="parameter")
    note = f"95 % limits by the profile of the {surface.quantity.replace('_', '-')}" + surface.note
    return Profile(table, pandas.DataFrame(limits, index=index_of_limits), surface.quantity, note, warnings)


def _followed(side: Side, points: int) -> float:
    """How many standard errors away the limit is, with the curve up to there and a little beyond."""
    limit = side.limit()
    reach = _BEYOND * limit
    if not np.isfinite(limit):
        reach = max([_UNLIMITED, *(side.distance(point) for point, _ in side.found)])
    reach = min(reach, side.room)
    if reach > 0:
        side.follow(np.linspace(0.0, reach, points + 1)[1:].tolist())
    return limit


def _limits(surface: Surface, index: int, ends: Sequence[float]) -> dict[str, float]:
    errors = surface.errors[index] if np.isfinite(surface.errors[index]) else 1.0
    result = {"estimate": float(surface.parameters.within(surface.point)[index])}
    for name, direction, distance in zip(("ci_lower", "ci_upper"), (-1.0, 1.0), ends, strict=True):
        point = surface.point.copy()
        point[index] += direction * distance * errors
        with np.errstate(over="ignore"):
            result[name] = float(surface.parameters.from_scale(point)[index])
    return result
