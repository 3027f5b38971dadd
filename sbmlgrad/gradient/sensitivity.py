"""Sensitivities of time courses of expectations, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sbmlgrad.errors import SbmlgradError, UnknownIdError
from sbmlgrad.gradient.catalogue import as_estimator
from sbmlgrad.gradient.compare import Comparison, compare
from sbmlgrad.gradient.estimator import Estimator, Task
from sbmlgrad.gradient.hybrid import Process, estimate
from sbmlgrad.gradient.observables import Moment, Observable, as_observable
from sbmlgrad.gradient.problem import Problem, differentiable, once
from sbmlgrad.model.model import Model
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.network.assembly import default_observables
from sbmlgrad.network.discretise import only_counts
from sbmlgrad.precision import require_float64
from sbmlgrad.simulation.deterministic import prepare_equations, sensitivities
from sbmlgrad.simulation.ensemble import check_times
from sbmlgrad.simulation.fractions import fractional, warn_of_fractions
from sbmlgrad.simulation.simulate import discretised

if TYPE_CHECKING:
    import pandas


def sensitivity(
    model: Model | ReactionNetwork,
    times: Sequence[float] | np.ndarray,
    parameters: Sequence[str],
    *,
    n: int = 10_000,
    seed: int = 0,
    estimator: str | Estimator = "auto",
    method: str = "ssa",
    select: Sequence[str | Observable] | None = None,
    start: float = 0.0,
    progress: bool = False,
) -> pandas.DataFrame:
    """Derivatives of expected time courses with respect to parameters, with standard errors.

    Parameters
    ----------
    model
        As for :func:`sbmlgrad.simulate`.
    times
        Increasing observation times (times,), in the model's unit of time.
    parameters
        Ids of parameters, compartments, ``reaction.parameter``, ``S`` (initial amount) or ``[S]``.
    n, seed
        Trajectories and seed.
    estimator
        A name, or an :class:`~sbmlgrad.gradient.estimator.Estimator`. ``auto`` chooses an unbiased one.
        ``controlled_score``, ``score`` and ``alternative_path`` are unbiased; ``coupled_fd`` (coupled finite
        differences) nearly so; ``straight_through`` has little noise where responses are smooth, and is not to be
        trusted where single molecules decide; ``straight_through_plain`` is for comparison; ``exact`` (finite state
        projection) draws nothing, for networks of few states. :func:`check` compares them. A model with events, rate
        rules or rates that change in time has ``score`` and ``coupled_fd``, here without coupling; ``auto`` takes the
        first, but for parameters that move numbers of molecules or times of jumps.
    method
        ``ssa``: derivatives of expectations, estimated. ``ode``: those of the solution of the rate equations, by
        forward differentiation through the solver and across events; ``n``, ``seed`` and ``estimator`` are not used.
    select
        What to look at: names, as for :func:`sbmlgrad.simulate`, of which the means are meant, or observables:
        :class:`Moment`, :class:`Probability`, :class:`TimeAverage`, :class:`FirstPassage`, :class:`Autocorrelation`.

    Returns
    -------
    DataFrame
        ``time, species, parameter, sensitivity, stderr``: d E / d parameter, in the observable's unit over the
        parameter's; ``stderr`` is 0 with method ``ode``, and a bound on the error with estimator ``exact``.
        ``attrs["note"]`` says which estimator was chosen and why.

    Raises
    ------
    UnknownIdError, UnsupportedError, PropensityError, TruncationError
    """
    require_float64()
    times = np.asarray(times, dtype=np.float64)
    if method == "ode":
        return _of_equations(model, times, parameters, select, start)
    if method != "ssa":
        raise SbmlgradError(f"method {method!r}: not available; use 'ssa' or 'ode'")
    chosen = as_estimator(estimator)
    check_times(times, start)
    asked = None if select is None else [as_observable(item) for item in select]
    if isinstance(model, Model) and not only_counts(model, _variables(asked)):
        functions = asked or [Moment(name) for name in default_observables(model)]
        named, key = _named(model, parameters), ("process", tuple(parameters), tuple(functions))
        process = once(named.derived, key, lambda: Process(named, parameters, functions))
        result = estimate(process, Task([], times, n, seed, start), chosen.name)
        process.warn()
    else:
        problem, values = _pose(model, parameters, asked)
        functions = list(problem.functions)
        counts = problem.at(values).counts
        source = model.elements.source.path if isinstance(model, Model) else "the network"
        warn_of_fractions(source, fractional(problem.network.species, counts))
        result = chosen.estimate(problem, Task(values, times, n, seed, start, "sensitivity" if progress else None))
    table = _table(parameters, [f.label for f in functions], times, result.derivatives, result.stderr)
    table.attrs["note"] = result.note
    return table


def check(
    model: Model | ReactionNetwork,
    times: Sequence[float] | np.ndarray,
    parameters: Sequence[str],
    *,
    n: int = 10_000,
    seed: int = 0,
    select: Sequence[str | Observable] | None = None,
    start: float = 0.0,
) -> Comparison:
    """All estimators compared on what :func:`sensitivity` would be asked: bias, standard error, cost, and which to use.

    Biases are measured against exact values where the network has few states, else against the least noisy unbiased
    estimator.
    """
    require_float64()
    times = np.asarray(times, dtype=np.float64)
    check_times(times, start)
    problem, values = _pose(model, parameters, None if select is None else [as_observable(item) for item in select])
    return compare(problem, Task(values, times, n, seed, start))


def _pose(
    model: Model | ReactionNetwork, parameters: Sequence[str], functions: Sequence[Observable] | None
) -> tuple[Problem, list[float]]:
    """The problem, and the values of the parameters that the model has."""
    asked = (tuple(parameters), None if functions is None else tuple(functions))
    if not isinstance(model, Model):
        problem = once(model.compiled, ("problem", asked), lambda: differentiable(model, parameters, functions))
        return problem, [float(model.parameters[name]) for name in parameters]
    named = _named(model, parameters)
    discrete = discretised(named, _variables(functions))
    problem = once(named.derived, ("problem", asked), lambda: differentiable(discrete, parameters, functions))
    return problem, [discrete.quantities[name] for name in parameters]


def _named(model: Model, parameters: Sequence[str]) -> Model:
    return once(model.derived, ("by name", tuple(parameters)), lambda: model.by_name(parameters))


def _variables(functions: Sequence[Observable] | None) -> list[str] | None:
    """What functions look at."""
    return None if functions is None else list(dict.fromkeys(name for f in functions for name in f.of))


def _of_equations(
    model: Model | ReactionNetwork,
    times: np.ndarray,
    parameters: Sequence[str],
    select: Sequence[str | Observable] | None,
    start: float,
) -> pandas.DataFrame:
    names = None if select is None else [item for item in select if isinstance(item, str)]
    for item in select or ():
        if not isinstance(item, str):
            raise SbmlgradError(f"{item.label}: with method 'ode' there are values of variables only; use their names")
    check_times(times, start)
    named = _named(model, parameters) if isinstance(model, Model) else model
    equations, quantities = prepare_equations(named, None, names)
    names = list(equations.quantities)
    if isinstance(model, ReactionNetwork):
        model.check_names(parameters, ())
        model.check_numbers(parameters)
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
