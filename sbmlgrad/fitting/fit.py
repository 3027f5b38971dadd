"""Fit a model to a table: the one entry point to calibration."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas
from tqdm import tqdm

from sbmlgrad.errors import FitError, TableError
from sbmlgrad.fitting.deterministic import EquationFit, without_spread
from sbmlgrad.fitting.likelihood_fit import LIKELIHOODS, LOSSES, likelihood_fit
from sbmlgrad.fitting.loss import target
from sbmlgrad.fitting.moments import source as moments_of
from sbmlgrad.fitting.outcome import Posed, estimates, warnings_of
from sbmlgrad.fitting.parameters import Bounds, choose
from sbmlgrad.fitting.result import Fit
from sbmlgrad.fitting.stochastic import MomentFit
from sbmlgrad.gradient.catalogue import as_estimator
from sbmlgrad.gradient.estimator import Estimator
from sbmlgrad.model.model import Model
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.precision import require_float64
from sbmlgrad.simulation.deterministic import prepare_equations
from sbmlgrad.simulation.methods import ODE, SSA, Method, as_method
from sbmlgrad.tables.measurements import Measurements, match, read_measurements

if TYPE_CHECKING:
    import optax

Fitted = Model | ReactionNetwork


def fit(
    model: Model | ReactionNetwork,
    data: str | os.PathLike[str] | pandas.DataFrame,
    parameters: Mapping[str, Bounds],
    *,
    init: Mapping[str, float] | None = None,
    n: int = 2000,
    seed: int = 0,
    method: str | Method = "ssa",
    estimator: str | Estimator = "auto",
    init_from: str | None = None,
    cells: str = "independent",
    loss: str = "auto",
    optimiser: str | optax.GradientTransformation = "gauss_newton",
    progress: bool = False,
) -> Fit:
    """Estimate parameters of a model by likelihood, by matching simulated moments, or the solution of rate equations.

    Parameters
    ----------
    model
        As for :func:`sbmlgrad.simulate`.
    data
        A CSV file or DataFrame: trajectories (``time, S``, several of them numbered by ``replicate``), snapshots
        (rows of single cells that share a ``time``) or moments (``time, S-mean, S-sd``); ``S`` amounts, ``[S]``
        concentrations, variables of assignment rules.
    parameters
        Bounds (lower, upper) by id, or None: parameters, compartments, ``reaction.parameter``, ``S`` (initial
        amount) and ``[S]`` (initial concentration).
    init
        Start values that differ from the model's.
    n
        Trajectories simulated for each step; fresh random numbers each time.
    seed
        Same seed, same result on the same platform.
    method
        A name or an object, as for :func:`sbmlgrad.simulate`. ``ssa`` takes molecules to react at random; ``loss``
        says how that is matched. ``ode`` matches the rate equations to values and means by least squares; measured
        standard deviations only weigh the means. Errors are those that the model predicts where the fit ends: the
        spread of its trajectories, by simulation or in the linear noise approximation.
    estimator
        Of the gradient, a name or an object, as for :func:`sbmlgrad.sensitivity`.
    init_from
        ``"ode"``: start where a fit of the rate equations ends.
    cells
        Moments at different times are of other cells each time, ``independent`` (flow cytometry, smFISH; the default),
        or of the same ones, ``followed``. Error bars of the second are wider where what a cell does lasts.
    loss
        ``moments`` (means and standard deviations of simulated trajectories); ``projection`` (the likelihood of
        trajectories or snapshots by the probabilities of all states, exactly); ``linear_noise`` (the likelihood of
        trajectories of many molecules); ``particles`` (that of trajectories by particle filters on exact simulation).
        ``auto`` takes moments for moments, for single cells and trajectories the exact likelihood where the states are
        few enough, and for other trajectories of whole numbers, or with errors in the table, particles where some
        species has few molecules, and the linear noise approximation where all have many.
    optimiser
        How the loss is followed downhill, on a scale where parameters with positive bounds are logarithms:
        ``gauss_newton``, damped, or any transformation of optax such as ``optax.adam(0.05)``. The end is the same:
        the fit settles by averaging Gauss-Newton steps, for ``ode`` ends by least squares, and for a likelihood at
        its maximum.

    Returns
    -------
    Fit
        with warnings, and words in its message, where it ended farther from the data than its own errors allow.

    Raises
    ------
    TableError, UnknownIdError, FitError, UnsupportedError, PropensityError, TruncationError
    """
    begun = clock.perf_counter()
    require_float64()
    options = _Options(as_method(method), as_estimator(estimator), optimiser, n, seed, cells, loss)
    if init_from not in (None, "ode"):
        raise FitError(f"init_from {init_from!r}: not available; use 'ode'")
    measurements = match(read_measurements(data), _observable_ids(model), _ids_by_name(model))
    _check_columns(measurements, model, parameters)
    init = dict(init or {})
    if init_from == "ode" and isinstance(options.method, SSA):
        rough = fit(
            model, data, parameters, init=init, method="ode", cells=cells, optimiser=optimiser, progress=progress
        )
        init.update({str(name): float(value) for name, value in rough.parameters["estimate"].items()})
    _check_ids(model, parameters)
    model = _started(model, tuple(parameters), init)
    problem = _posed(model, parameters, init, measurements, options)
    with tqdm(desc="fit", unit=problem.unit, disable=None if progress else True, leave=False) as bar:
        outcome = problem.solve(bar)
    problem.warn()
    table, correlation = estimates(outcome, problem.parameters)
    return Fit(
        parameters=table,
        correlation=correlation,
        model=model.with_parameters({str(name): float(value) for name, value in table["estimate"].items()}),
        loss=outcome.loss,
        loss_name=outcome.loss_name,
        goodness=pandas.Series(outcome.goodness, name="goodness", dtype=float),
        converged=outcome.converged,
        message=outcome.message,
        warnings=warnings_of(outcome, table),
        start=dict(zip(problem.parameters.names, problem.parameters.start.tolist(), strict=True)),
        history=outcome.history,
        measured=outcome.measured,
        curves=outcome.curves,
        n=problem.n,
        estimator=options.derivatives(problem),
        data=measurements.source,
        seed=seed,
        seconds=clock.perf_counter() - begun,
    )


@dataclass(frozen=True)
class _Options:
    """How to fit; refuses what is not available."""

    method: Method
    estimator: Estimator
    optimiser: str | optax.GradientTransformation
    n: int
    seed: int
    cells: str
    loss: str

    def __post_init__(self) -> None:
        if not isinstance(self.method, SSA | ODE):
            raise FitError(f"method {self.method.name!r}: a fit has no derivatives of it; use 'ssa' or 'ode'")
        if self.n < 20 and isinstance(self.method, SSA):
            raise FitError(f"n: {self.n} trajectories are too few for moments; give at least 20")
        if self.cells not in ("independent", "followed"):
            raise FitError(f"cells {self.cells!r}: not available; use 'independent' or 'followed'")
        if self.loss not in LOSSES:
            raise FitError(f"loss {self.loss!r}: not available; use {', '.join(map(repr, LOSSES))}")
        if self.loss in LIKELIHOODS and not isinstance(self.method, SSA):
            raise FitError(f"loss {self.loss!r}: is of molecules that react at random; use method 'ssa'")
        if self.optimiser != "gauss_newton" and not hasattr(self.optimiser, "update"):
            raise FitError(
                f"optimiser {self.optimiser!r}: not available; use 'gauss_newton' or a transformation of optax"
            )

    def derivatives(self, problem: Posed) -> str:
        """Where they come from."""
        if isinstance(problem, MomentFit):
            return self.estimator.name
        return "ode" if isinstance(problem, EquationFit) else "exact"

    @property
    def transformation(self) -> optax.GradientTransformation | None:
        """The optimiser where it was handed in."""
        return None if isinstance(self.optimiser, str) else self.optimiser


def _posed(
    model: Fitted,
    parameters: Mapping[str, Bounds],
    init: Mapping[str, float],
    measurements: Measurements,
    options: _Options,
) -> Posed:
    """The problem to be solved, by the method and the loss."""
    source = model.elements.source.path if isinstance(model, Model) else "the network"
    if isinstance(options.method, SSA):
        by_likelihood = likelihood_fit(
            model, parameters, init, measurements, options.loss, options.transformation, options.seed
        )
        if by_likelihood is not None:
            return by_likelihood
    aim = target(measurements, followed=options.cells == "followed")
    if isinstance(options.method, ODE):
        quantities = prepare_equations(model, None, without_spread(aim).observables)[0].quantities
        values = choose(parameters, quantities, init, source)
        return EquationFit(model, values, aim, source, options.method.settings, options.transformation)
    assert isinstance(options.method, SSA)
    moments = moments_of(model, tuple(parameters), aim, options.estimator, options.method)
    values = choose(parameters, moments.quantities, init, source)
    return MomentFit(moments, values, aim, source, options.n, options.seed, options.transformation)


def _started(model: Fitted, names: tuple[str, ...], init: Mapping[str, float]) -> Fitted:
    """The model with start values put in; the same one where it is fitted again, with all that was compiled for it."""
    key, kept = (names, tuple(init.items())), model.derived if isinstance(model, Model) else model.compiled
    entry = kept.get("started")
    if entry is None or entry[0] != key:
        start_model = model.with_parameters(init) if init else model
        entry = kept["started"] = key, start_model.by_name(names) if isinstance(start_model, Model) else start_model
    started: Fitted = entry[1]
    return started


def _observable_ids(model: Fitted) -> Collection[str]:
    if not isinstance(model, Model):
        return set(model.species)
    species = model.elements.species
    return {*model.initial_values(), *(f"[{s}]" for s in species)} - {"<time>"}


def _ids_by_name(model: Fitted) -> Mapping[str, Collection[str]]:
    """Ids by the names that a model gives to what can be looked at."""
    names: dict[str, set[str]] = {}
    if isinstance(model, Model):
        elements = model.elements
        for kind in (elements.species, elements.parameters, elements.compartments):
            for item in kind.values():
                names.setdefault(item.name, set()).add(item.id)
    return names


def _check_columns(measurements: Measurements, model: Fitted, parameters: Collection[str]) -> None:
    """Raise :class:`TableError` for a constant that is to be fitted, which programs export beside what varies."""
    if not isinstance(model, Model):
        return
    elements = model.elements
    constants = {*elements.parameters, *elements.compartments} - elements.rate_rules.keys() - elements.set_by_events
    for series in measurements.series:
        if series.observable in constants and series.observable in parameters:
            raise TableError(
                f"{measurements.source}: column {series.column!r} is no measurement: {series.observable!r} is to be "
                "fitted; remove the column"
            )


def _check_ids(model: Fitted, parameters: Mapping[str, Bounds]) -> None:
    """Raise :class:`UnknownIdError` for ids that cannot be fitted."""
    if not isinstance(model, Model):
        model.check_names(parameters, ())
        model.check_numbers(parameters)
        return
    quantities = model.quantities()
    model.with_parameters({name: quantities.get(name, 1.0) for name in parameters})
