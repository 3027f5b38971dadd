"""Sensitivities of time courses of expectations, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sbmlgrad.errors import SbmlgradError, UnknownIdError, which
from sbmlgrad.gradient.catalogue import as_estimator
from sbmlgrad.gradient.compare import Comparison, compare
from sbmlgrad.gradient.estimator import Estimate, Estimator, Task
from sbmlgrad.gradient.hybrid_sensitivity import Process, estimate
from sbmlgrad.gradient.observables import Moment, Observable, as_observable
from sbmlgrad.gradient.problem import Problem, differentiable, once
from sbmlgrad.gradient.result import Sensitivity
from sbmlgrad.model.model import Model
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.network.assembly import default_observables
from sbmlgrad.network.discretise import only_counts
from sbmlgrad.network.influence import influenced
from sbmlgrad.network.stochastic import chemistry_of
from sbmlgrad.precision import require_float64
from sbmlgrad.simulation.deterministic import prepare_equations, sensitivities
from sbmlgrad.simulation.experiment import MAX_EVENTS, Experiment
from sbmlgrad.simulation.forecast import NETWORK, look_ahead_at_network, look_ahead_at_process
from sbmlgrad.simulation.fractions import fractional, warn_of_fractions
from sbmlgrad.simulation.methods import ODE, SSA, Method, as_method
from sbmlgrad.simulation.path import Settings
from sbmlgrad.simulation.prepare import discretised
from sbmlgrad.simulation.sparse import suited

if TYPE_CHECKING:
    import pandas


def sensitivity(
    model: Model | ReactionNetwork,
    times: Sequence[float] | np.ndarray | Experiment,
    parameters: Sequence[str],
    *,
    n: int = 10_000,
    seed: int = 0,
    estimator: str | Estimator = "auto",
    method: str | Method = "ssa",
    select: Sequence[str | Observable] | None = None,
    start: float = 0.0,
    max_events: int = MAX_EVENTS,
    progress: bool = True,
) -> Sensitivity:
    """Derivatives of expected time courses with respect to parameters, with standard errors.

    Parameters
    ----------
    model
        As for :func:`sbmlgrad.simulate`.
    times
        Increasing observation times (times,), in the model's unit of time, or an :class:`Experiment`.
    parameters
        Ids of parameters, compartments, ``reaction.parameter``, ``S`` (initial amount) or ``[S]``.
    n, seed
        Trajectories and seed.
    estimator
        A name, or an :class:`~sbmlgrad.gradient.estimator.Estimator`. ``auto`` chooses an unbiased one.
        ``controlled_score``, ``score`` and ``alternative_path`` are unbiased; ``coupled_fd`` (coupled finite
        differences) nearly so; ``straight_through`` has little noise where responses are smooth, and is not to be
        trusted where single molecules decide; ``straight_through_plain`` and ``propensity_straight_through`` are for
        comparison; ``exact`` (finite state projection) draws nothing, for networks of few states. :func:`check`
        compares them. A model with events, rate rules or rates that change in time has ``score`` and ``coupled_fd``,
        here without coupling; ``auto`` takes the first, but for parameters that move numbers of molecules or times of
        jumps.
    method
        A name or an object, as for :func:`sbmlgrad.simulate`. ``ssa``: derivatives of expectations, estimated.
        ``ode``: those of the solution of the rate equations, by forward differentiation through the solver and across
        events; ``n``, ``seed`` and ``estimator`` are not used.
    select
        What to look at: names, as for :func:`sbmlgrad.simulate`, of which the means are meant, or observables:
        :class:`Moment`, :class:`Probability`, :class:`TimeAverage`, :class:`FirstPassage`, :class:`Autocorrelation`.
    max_events
        A trajectory in which more reactions fire raises :class:`TruncationError`.

    Returns
    -------
    Sensitivity
        ``table`` has derivatives, ``expectations`` what they are of; ``note`` says which estimator was chosen and why.

    Raises
    ------
    UnknownIdError, UnsupportedError, PropensityError, TruncationError
    """
    require_float64()
    way = as_method(method)
    said = {"n": n, "seed": seed, "select": select, "start": start, "max_events": max_events}
    experiment = Experiment.of(times, sensitivity.__kwdefaults__, **said)
    model, point = _in_condition(model, experiment, parameters)
    if isinstance(way, ODE):
        return _of_equations(model, point, experiment, parameters, way.settings)
    if not isinstance(way, SSA):
        raise SbmlgradError(f"method {way.name!r}: has no derivatives; use 'ssa' or 'ode'")
    chosen = as_estimator(estimator)
    asked = _asked(experiment)
    if isinstance(model, Model) and not only_counts(model, _variables(asked)):
        functions = asked or [Moment(name) for name in default_observables(model)]
        named, key = _named(model, parameters), ("process", tuple(parameters), tuple(functions), way)
        process = once(named.derived, key, lambda: Process(named, parameters, functions, way.settings))
        values = process.own(point)
        look_ahead_at_process(process.process, process.at(values), experiment)
        result = estimate(process, _task(values, experiment), chosen.name)
        process.warn()
    else:
        problem, values = _pose(model, parameters, asked, point)
        functions = list(problem.functions)
        begun = problem.at(values)
        if chosen.name != "exact":  # which fires no reactions
            as_data = suited(problem.network, None, begun.coefficients)
            look_ahead_at_network(
                _source(model), problem.network, begun.counts, begun.coefficients, experiment, as_data
            )
        warn_of_fractions(_source(model), fractional(problem.network.species, begun.counts))
        result = chosen.estimate(problem, _task(values, experiment, "sensitivity" if progress else None))
    grid = _Grid(list(parameters), [f.label for f in functions], experiment.times)
    name = result.estimator or chosen.name
    return _sensitivity(grid, result, experiment, name)


def check(
    model: Model | ReactionNetwork,
    times: Sequence[float] | np.ndarray | Experiment,
    parameters: Sequence[str],
    *,
    n: int = 10_000,
    seed: int = 0,
    select: Sequence[str | Observable] | None = None,
    start: float = 0.0,
    max_events: int = MAX_EVENTS,
) -> Comparison:
    """All estimators compared on what :func:`sensitivity` would be asked: bias, standard error, cost, and which to use.

    Biases are measured against exact values where the network has few states, else against the least noisy unbiased
    estimator. Where more than ``max_events`` reactions would fire in a trajectory, it is refused before it begins.
    """
    require_float64()
    said = {"n": n, "seed": seed, "select": select, "start": start, "max_events": max_events}
    experiment = Experiment.of(times, check.__kwdefaults__, **said)
    model, point = _in_condition(model, experiment, parameters)
    problem, values = _pose(model, parameters, _asked(experiment), point)
    begun = problem.at(values)
    look_ahead_at_network(_source(model), problem.network, begun.counts, begun.coefficients, experiment)
    return compare(problem, _task(values, experiment))


def _source(model: Model | ReactionNetwork) -> str:
    return model.elements.source.path if isinstance(model, Model) else NETWORK


def _in_condition(
    model: Model | ReactionNetwork, experiment: Experiment, parameters: Sequence[str]
) -> tuple[Model | ReactionNetwork, Mapping[str, float]]:
    """The model with the values that the experiment puts in, and those of parameters to differentiate by.

    Made once for values of others, and of what moves starts. Those by which it is differentiated are handed to what is
    compiled, so that a search compiles nothing anew.
    """
    changes = experiment.parameters
    point = {name: changes[name] for name in parameters if name in changes}
    if isinstance(model, Model) and point:
        structural = chemistry_of(model).structural
        odd = any(name in structural or not value >= 0 for name, value in point.items())
        moved = influenced(model, point)  # by whose starts laws are split, and amounts taken for concentrations
        if odd or not moved.isdisjoint({*model.elements.species, *model.elements.compartments}):
            point = {}
    held = {name: value for name, value in changes.items() if name not in point}
    if not held:
        return model, point
    kept = model.derived if isinstance(model, Model) else model.compiled
    key = ("condition", tuple(held.items()))
    changed: Model | ReactionNetwork = once(kept, key, lambda: model.with_parameters(held))
    return changed, point


def _asked(experiment: Experiment) -> list[Observable] | None:
    return None if experiment.select is None else [as_observable(item) for item in experiment.select]


def _task(values: Sequence[float], experiment: Experiment, progress: str | None = None) -> Task:
    e = experiment
    return Task(values, e.times, e.n, e.seed, e.start, e.max_events, progress)


def _pose(
    model: Model | ReactionNetwork,
    parameters: Sequence[str],
    functions: Sequence[Observable] | None,
    point: Mapping[str, float],
) -> tuple[Problem, list[float]]:
    """The problem, and the values of the parameters: those of ``point``, else the model's."""
    asked = (tuple(parameters), None if functions is None else tuple(functions))
    if not isinstance(model, Model):
        problem = once(model.compiled, ("problem", asked), lambda: differentiable(model, parameters, functions))
        return problem, [float(point.get(name, model.parameters[name])) for name in parameters]
    named = _named(model, parameters)
    discrete = discretised(named, _variables(functions))
    problem = once(named.derived, ("problem", asked), lambda: differentiable(discrete, parameters, functions))
    return problem, [float(point.get(name, discrete.quantities[name])) for name in parameters]


def _named(model: Model, parameters: Sequence[str]) -> Model:
    return once(model.derived, ("by name", tuple(parameters)), lambda: model.by_name(parameters))


def _variables(functions: Sequence[Observable] | None) -> list[str] | None:
    """What functions look at."""
    return None if functions is None else list(dict.fromkeys(name for f in functions for name in f.of))


def _of_equations(
    model: Model | ReactionNetwork,
    point: Mapping[str, float],
    experiment: Experiment,
    parameters: Sequence[str],
    settings: Settings,
) -> Sensitivity:
    times, select = experiment.times, experiment.select
    names = None if select is None else [item for item in select if isinstance(item, str)]
    for item in select or ():
        if not isinstance(item, str):
            raise SbmlgradError(f"{item.label}: with method 'ode' there are values of variables only; use their names")
    named = _named(model, parameters) if isinstance(model, Model) else model
    if isinstance(model, ReactionNetwork):
        model.check_names(parameters, ())
        model.check_numbers(parameters)
    equations, quantities = prepare_equations(named, point, names)
    names = list(equations.quantities)
    for name in parameters:
        if name not in names:
            raise UnknownIdError(f"{equations.source}: no quantity {name!r} to differentiate by; {which(name, names)}")
    indices = [names.index(name) for name in parameters]
    values, slopes = sensitivities(equations, quantities, indices, times, experiment.start, settings)
    exact = Estimate(values, np.zeros_like(values), slopes, np.zeros_like(slopes), 1, np.zeros_like(values))
    return _sensitivity(_Grid(list(parameters), list(equations.observables), times), exact, experiment, "ode")


class _Grid(NamedTuple):
    """What derivatives are by, of, and at which times (times,)."""

    parameters: list[str]
    observables: list[str]
    times: np.ndarray


def _sensitivity(grid: _Grid, result: Estimate, experiment: Experiment, estimator: str) -> Sensitivity:
    import pandas

    slopes = pandas.MultiIndex.from_product(
        [grid.parameters, grid.observables, grid.times], names=["parameter", "observable", "time"]
    )
    table = _tidy({"sensitivity": result.derivatives, "stderr": result.stderr}, slopes, grid.observables)
    table = table[["time", "observable", "parameter", "sensitivity", "stderr"]]
    table.attrs["note"] = result.note
    levels = pandas.MultiIndex.from_product([grid.observables, grid.times], names=["observable", "time"])
    values = _tidy({"expectation": result.values, "stderr": result.values_stderr}, levels, grid.observables)
    values = values[["time", "observable", "expectation", "stderr"]]
    return Sensitivity(table, values, estimator, result.note, result.n, experiment.seed)


def _tidy(columns: Mapping[str, np.ndarray], index: pandas.MultiIndex, observables: Sequence[str]) -> pandas.DataFrame:
    """Rows by time, observable and parameter, of arrays ordered as the index is."""
    import pandas

    table = pandas.DataFrame({name: np.ravel(values) for name, values in columns.items()}, index=index).reset_index()
    order = {name: place for place, name in enumerate(observables)}
    return table.sort_values(
        [name for name in ("time", "observable", "parameter") if name in index.names],
        key=lambda column: column.map(order) if column.name == "observable" else column,
        kind="stable",
        ignore_index=True,
    )
