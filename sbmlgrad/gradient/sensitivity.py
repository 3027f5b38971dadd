"""Sensitivities of mean time courses, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sbmlgrad.gradient.estimate import by_name, differentiable, estimate, named_estimator
from sbmlgrad.model.model import Model
from sbmlgrad.network import ReactionNetwork
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
    select
        Observables, as for :func:`sbmlgrad.simulate`.

    Returns
    -------
    DataFrame
        ``time, species, parameter, sensitivity, stderr``: d E[X(t)] / d parameter in amount per unit of the
        parameter.

    Raises
    ------
    UnknownIdError, UnsupportedError, PropensityError, TruncationError
    """
    import pandas

    chosen = named_estimator(estimator)
    if isinstance(model, Model):
        discrete = discretised(by_name(model, parameters), select)
        target = differentiable(discrete, parameters)
        values = [discrete.quantities[name] for name in parameters]
    else:
        target = differentiable(model, parameters, observables=select)
        values = [float(model.parameters[name]) for name in parameters]
    times = np.asarray(times, dtype=np.float64)
    result = estimate(target, values, times, n, seed, chosen, start, "sensitivity" if progress else None)
    rows = pandas.MultiIndex.from_product(
        [parameters, target.observables, times], names=["parameter", "species", "time"]
    )
    table = pandas.DataFrame(
        {"sensitivity": result.derivatives.ravel(), "stderr": result.stderr.ravel()}, index=rows
    ).reset_index()
    order = {name: place for place, name in enumerate(target.observables)}
    table = table.sort_values(
        ["time", "species", "parameter"],
        key=lambda column: column.map(order) if column.name == "species" else column,
        kind="stable",
        ignore_index=True,
    )
    return table[["time", "species", "parameter", "sensitivity", "stderr"]]
