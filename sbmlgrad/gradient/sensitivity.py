"""Sensitivities of mean time courses, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sbmlgrad.errors import SbmlgradError, UnknownIdError
from sbmlgrad.gradient.estimate import by_name, differentiable, estimate, named_estimator
from sbmlgrad.model.model import Model
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.deterministic import prepare_equations, sensitivities
from sbmlgrad.simulation.ensemble import check_times
from sbmlgrad.simulation.simulate import discretised

if TYPE_CHECKING:
    import pandas


def sensitivity(
    model: Model | ReactionNetwork,
    times: Sequence[float] | np.ndarray,
    parameters: Sequence[str],
    n: int = 10_000,
    seed: int = 0,
    estimator: str = "auto",
    method: str = "ssa",
    select: Sequence[str] | None = None,
    start: float = 0.0,
    progress: bool = False,
) -> pandas.DataFrame:
    """Derivatives of expected time courses with respect to parameters, with standard errors.

    Parameters
    ----------
    times
        Increasing observation times (times,), in the model's unit of time.
    parameters
        Ids of parameters, compartments, ``reaction.parameter``, ``S`` (initial amount) or ``[S]``.
    n, seed
        Trajectories and seed.
    estimator
        ``score`` (score function; unbiased, but not for initial amounts), ``straight_through`` (through the generator
        window; any parameter, low variance where responses are smooth, not to be trusted where single molecules
        decide), or ``auto``: the score function, with straight_through for initial amounts.
    method
        ``ssa``: derivatives of expectations, estimated. ``ode``: those of the solution of the rate equations, by
        forward differentiation through the solver and across events; ``n``, ``seed`` and ``estimator`` are not used.
    select
        Observables, as for :func:`sbmlgrad.simulate`.

    Returns
    -------
    DataFrame
        ``time, species, parameter, sensitivity, stderr``: d E[X(t)] / d parameter in amount per unit of the
        parameter; ``stderr`` is 0 with method ``ode``.

    Raises
    ------
    UnknownIdError, UnsupportedError, PropensityError, TruncationError
    """
    times = np.asarray(times, dtype=np.float64)
    if method == "ode":
        return _of_equations(model, times, parameters, select, start)
    if method != "ssa":
        raise SbmlgradError(f"method {method!r}: not available; use 'ssa' or 'ode'")
    chosen = named_estimator(estimator)
    if isinstance(model, Model):
        discrete = discretised(by_name(model, parameters), select)
        target = differentiable(discrete, parameters)
        values = [discrete.quantities[name] for name in parameters]
    else:
        target = differentiable(model, parameters, observables=select)
        values = [float(model.parameters[name]) for name in parameters]
    result = estimate(target, values, times, n, seed, chosen, start, "sensitivity" if progress else None)
    return _table(parameters, target.observables, times, result.derivatives, result.stderr)


def _of_equations(
    model: Model | ReactionNetwork,
    times: np.ndarray,
    parameters: Sequence[str],
    select: Sequence[str] | None,
    start: float,
) -> pandas.DataFrame:
    if isinstance(model, ReactionNetwork):
        raise SbmlgradError("method 'ode': needs a model; for a network from Python use method 'ssa'")
    check_times(times, start)
    equations, quantities = prepare_equations(by_name(model, parameters), None, select)
    names = list(equations.quantities)
    for name in parameters:
        if name not in names:
            raise UnknownIdError(f"no quantity {name!r} to differentiate by; there are {', '.join(names)}")
    places = [names.index(name) for name in parameters]
    slopes = sensitivities(equations, quantities, places, times, start)[1]
    return _table(parameters, equations.observables, times, slopes, np.zeros_like(slopes))


def _table(
    parameters: Sequence[str],
    observables: Sequence[str],
    times: np.ndarray,
    derivatives: np.ndarray,
    stderr: np.ndarray,
) -> pandas.DataFrame:
    """Rows by time, observable and parameter, of derivatives (parameters, observables, times)."""
    import pandas

    rows = pandas.MultiIndex.from_product([parameters, observables, times], names=["parameter", "species", "time"])
    columns = {"sensitivity": derivatives.ravel(), "stderr": stderr.ravel()}
    table = pandas.DataFrame(columns, index=rows).reset_index()
    order = {name: place for place, name in enumerate(observables)}
    table = table.sort_values(
        ["time", "species", "parameter"],
        key=lambda column: column.map(order) if column.name == "species" else column,
        kind="stable",
        ignore_index=True,
    )
    return table[["time", "species", "parameter", "sensitivity", "stderr"]]
