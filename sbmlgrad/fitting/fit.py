"""Fit a model to a table: the one entry point to calibration."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas

from sbmlgrad.errors import FitError
from sbmlgrad.files import check_file
from sbmlgrad.fitting.checkpoint import Checkpoint, Memory, forgetful
from sbmlgrad.fitting.deterministic import EquationFit
from sbmlgrad.fitting.histograms import HistogramFit, enough, histograms
from sbmlgrad.fitting.identity import identity
from sbmlgrad.fitting.likelihood_fit import (
    LIKELIHOODS,
    LOSSES,
    SUMMARIES,
    LikelihoodFit,
    equation_likelihood_fit,
    likelihood_fit,
)
from sbmlgrad.fitting.loss import joined, target
from sbmlgrad.fitting.moments import Remembered
from sbmlgrad.fitting.moments import source as moments_of
from sbmlgrad.fitting.outcome import Outcome, Posed, estimates, warnings_of
from sbmlgrad.fitting.parameters import Bounds, choose
from sbmlgrad.fitting.result import Fit
from sbmlgrad.fitting.starts import best_of
from sbmlgrad.fitting.stochastic import MomentFit
from sbmlgrad.fitting.switching import check_resolution
from sbmlgrad.fitting.trials import Fitted, Table, Trials, numbers_of, plain_id, set_up
from sbmlgrad.gradient.catalogue import as_estimator
from sbmlgrad.gradient.estimator import Estimator
from sbmlgrad.model.model import Model
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.precision import require_float64
from sbmlgrad.simulation.experiment import MAX_EVENTS, check_seed, check_size
from sbmlgrad.simulation.methods import ODE, SSA, Method, as_method
from sbmlgrad.simulation.progress import bar

if TYPE_CHECKING:
    import optax

_MOST_ARRANGED = 4  # times at which experiments are given longer to come to rest


def fit(
    model: Model | ReactionNetwork,
    data: Table | Sequence[Table],
    parameters: Mapping[str, Bounds],
    *,
    conditions: Table | None = None,
    observables: Mapping[str, str] | None = None,
    noise: Mapping[str, str] | None = None,
    init: Mapping[str, float] | None = None,
    n: int = 2000,
    seed: int = 0,
    method: str | Method = "ssa",
    estimator: str | Estimator = "auto",
    init_from: str | None = None,
    cells: str = "independent",
    loss: str = "auto",
    optimiser: str | optax.GradientTransformation = "gauss_newton",
    starts: int = 1,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    max_events: int = MAX_EVENTS,
    progress: bool = True,
) -> Fit:
    """Estimate parameters of a model by likelihood, by matching simulated moments, or the solution of rate equations.

    Parameters
    ----------
    model
        As for :func:`sbmlgrad.simulate`.
    data
        A CSV file or DataFrame, or several: trajectories (``time, S``, several of them numbered by ``replicate``),
        snapshots (rows of single cells that share a ``time``) or moments (``time, S-mean, S-sd``); ``S`` amounts,
        ``[S]`` concentrations, variables of assignment rules. A column ``condition`` tells experiments apart.
    parameters
        Bounds (lower, upper) by id, or None: parameters, compartments, ``reaction.parameter``, ``S`` (initial
        amount) and ``[S]`` (initial concentration); and other ids, which stand in ``observables`` or ``conditions``.
    conditions
        What was done in each condition, a CSV file or DataFrame: ``condition``, ``time`` if anything changes on the
        way (-inf: so long before that the model has come to rest), and ids with their values from then on: numbers,
        parameters to be fitted, formulas such as ``S + 100``.
    observables
        Formulas by the names that columns of the data have: ``{"signal": "scale*S + offset"}``.
    noise
        Of single values, by what is measured: the standard deviation of a normal law as a formula, ``{"signal":
        "sigma + 0.1*signal"}``, or another law, ``lognormal(s)``, ``laplace(b)``, ``poisson``, ``binomial(p)`` (of
        each molecule to be counted), ``negative_binomial(size)``; see :mod:`sbmlgrad.likelihood.measurement`.
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
        ``moments`` (means and standard deviations of simulated trajectories); ``histograms`` (of single cells, joint
        ones of several species, against simulated ones); ``projection`` (the likelihood of trajectories or snapshots by
        the probabilities of all states, exactly); ``linear_noise`` (the likelihood of trajectories of many molecules);
        ``particles`` (that of trajectories by particle filters on exact simulation); ``dwells`` (that of the times for
        which one observable stays at its levels, all of a record of a few states, such as of an ion channel, where each
        row is a change). ``auto`` takes dwell times where a column ``S-resolution`` says how short the shortest is that
        was seen, moments for moments, for single cells and trajectories the exact likelihood where the states are few
        enough, for other single cells histograms (moments of fewer than 160), and for other trajectories of whole
        numbers, or with errors in the table, particles where some species has few molecules, and the linear noise
        approximation where all have many.
    optimiser
        How the loss is followed downhill, on a scale where parameters with positive bounds are logarithms:
        ``gauss_newton``, damped, or any transformation of optax such as ``optax.adam(0.05)``. The end is the same:
        the fit settles by averaging Gauss-Newton steps, for ``ode`` ends by least squares, and for a likelihood at
        its maximum.
    starts
        From how many start values to fit: the given ones, and others within the bounds, or within a factor of ten of
        the start where there are none. The end with the smallest loss counts.
    checkpoint, resume
        A file that the search is written to as it goes on, once a second at most; whole or not at all, whatever cuts it
        off. With ``resume`` it goes on from the file, if that is there, to the same bits as without a break; else an
        earlier checkpoint is replaced.
    max_events
        A trajectory of those that moments or histograms are matched by in which more reactions fire raises
        :class:`TruncationError`.

    Returns
    -------
    Fit
        with warnings, and words in its message, where it ended farther from the data than its own errors allow.

    Raises
    ------
    TableError, UnknownIdError, FitError, UnsupportedError, PropensityError, TruncationError
    CheckpointError
        for a file that is no checkpoint, or that of a fit with other data, another model or other options.
    """
    begun = clock.perf_counter()
    require_float64()
    seed = check_seed(seed)
    options = _Options(as_method(method), as_estimator(estimator), optimiser, n, seed, cells, loss, max_events)
    if starts < 1:
        raise FitError(f"starts: {starts} are too few; give at least 1")
    if init_from not in (None, "ode"):
        raise FitError(f"init_from {init_from!r}: not available; use 'ode'")
    if resume and checkpoint is None:
        raise FitError("resume: there is no checkpoint to go on from; name its file")
    if checkpoint is not None:
        check_file(checkpoint)
    init, formulas, noise = dict(init or {}), dict(observables or {}), dict(noise or {})
    arrange = partial(set_up, model, data, parameters, conditions=conditions, observables=formulas, noise=noise)
    if init_from == "ode" and isinstance(options.method, SSA):
        first = replace(options, method=as_method("ode"), estimator=as_estimator("auto"), loss="auto")
        problem, outcome, _ = _solved(arrange(init=init), parameters, init, first, 1, progress)
        init.update(_estimates(problem, outcome))
    with ExitStack() as stack:
        kept: Checkpoint | None = None
        for _ in range(_MOST_ARRANGED):
            trials = arrange(init=init)
            if checkpoint is not None and kept is None:
                own = identity(trials, parameters, init, {"observables": formulas, "noise": noise}, options.all(starts))
                kept = stack.enter_context(Checkpoint(checkpoint, own, resume))
            problem, outcome, said = _solved(trials, parameters, init, options, starts, progress, kept)
            found = _estimates(problem, outcome)
            if all(trial.rests(found) for trial in trials.every):
                break
            init = {**init, **found}  # what comes to rest more slowly is given more time
    problem.warn()
    table, correlation = estimates(outcome, problem.parameters)
    return Fit(
        parameters=table,
        correlation=correlation,
        model=_with_estimates(trials.model, {str(name): float(value) for name, value in table["estimate"].items()}),
        loss=outcome.loss,
        loss_name=outcome.loss_name,
        goodness=pandas.Series(outcome.goodness, name="goodness", dtype=float),
        converged=outcome.converged,
        message=said + outcome.message,
        warnings=warnings_of(outcome, table),
        start=dict(zip(problem.parameters.names, problem.parameters.start.tolist(), strict=True)),
        history=outcome.history,
        measured=outcome.measured,
        curves=outcome.curves,
        n=problem.n,
        estimator=options.derivatives(problem),
        trials=trials,
        problem=problem,
        outcome=outcome,
        seed=seed,
        seconds=clock.perf_counter() - begun,
    )


def _solved(
    trials: Trials,
    parameters: Mapping[str, Bounds],
    init: Mapping[str, float],
    options: _Options,
    starts: int,
    progress: bool,
    kept: Checkpoint | None = None,
) -> tuple[Posed, Outcome, str]:
    """The problem, its outcome, and what is to be said of its starts."""
    memory = forgetful if kept is None else kept.remember
    first, note = _posed(trials, parameters, init, options, memory)
    with bar(progress, desc="fit", unit=first.unit) as shown:

        def pose(values: Mapping[str, float]) -> Posed:
            return _posed(trials, parameters, {**init, **values}, options, memory)[0]

        problem, outcome, said = best_of(first, pose, starts, options.seed, shown, kept)
    if note:
        outcome = replace(outcome, message=f"{outcome.message}; {note}", warnings=(*outcome.warnings, note))
    return problem, outcome, said


def _estimates(problem: Posed, outcome: Outcome) -> dict[str, float]:
    """By name, within the bounds."""
    return dict(zip(problem.parameters.names, problem.parameters.within(outcome.point).tolist(), strict=True))


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
    max_events: int

    def __post_init__(self) -> None:
        if not isinstance(self.method, SSA | ODE):
            raise FitError(f"method {self.method.name!r}: a fit has no derivatives of it; use 'ssa' or 'ode'")
        check_size(self.n, self.max_events)
        if self.n < 20 and isinstance(self.method, SSA):
            raise FitError(f"n: {self.n} trajectories are too few for moments; give at least 20")
        if self.cells not in ("independent", "followed"):
            raise FitError(f"cells {self.cells!r}: not available; use 'independent' or 'followed'")
        if self.loss not in LOSSES:
            raise FitError(f"loss {self.loss!r}: not available; use {', '.join(map(repr, LOSSES))}")
        if self.loss in (*LIKELIHOODS, "histograms") and not isinstance(self.method, SSA):
            raise FitError(f"loss {self.loss!r}: is of molecules that react at random; use method 'ssa'")
        if self.optimiser != "gauss_newton" and not hasattr(self.optimiser, "update"):
            raise FitError(
                f"optimiser {self.optimiser!r}: not available; use 'gauss_newton' or a transformation of optax"
            )

    def all(self, starts: int) -> dict[str, Any]:
        """By their names."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"starts": starts}

    def derivatives(self, problem: Posed) -> str:
        """Where they come from."""
        if isinstance(problem, MomentFit):
            return self.estimator.name
        return "ode" if isinstance(self.method, ODE) else "exact"

    @property
    def transformation(self) -> optax.GradientTransformation | None:
        """The optimiser where it was handed in."""
        return None if isinstance(self.optimiser, str) else self.optimiser


def _posed(
    trials: Trials, parameters: Mapping[str, Bounds], init: Mapping[str, float], options: _Options, memory: Memory
) -> tuple[Posed, str]:
    """The problem to be solved, by the method and the loss, and what to say of the choice."""
    loss = options.loss
    note = ""
    for trial in trials.every:
        check_resolution(trial, loss, "ode" if isinstance(options.method, ODE) else "ssa")
    if isinstance(options.method, SSA):
        by_likelihood = likelihood_fit(
            trials.every, parameters, init, loss, options.transformation, options.seed, memory
        )
        if isinstance(by_likelihood, LikelihoodFit):
            return by_likelihood, ""
        if loss == "auto":
            loss = "histograms" if all(enough(trial.measurements) for trial in trials.every) else "moments"
        note = f"{SUMMARIES[loss]} were matched, not the likelihood: {by_likelihood}" if by_likelihood else ""
    noisy = next((name for trial in trials.every for name in trial.laws), "")
    if noisy and isinstance(options.method, ODE):
        settings = options.method.settings
        return equation_likelihood_fit(trials.every, parameters, init, settings, options.transformation, memory), ""
    if noisy:
        raise FitError(
            f"noise of {noisy!r}: is of single cells and trajectories that have a likelihood, which these data or this "
            "model have not; use method 'ode', or leave it out"
        )
    aim = joined([target(trial.measurements, followed=options.cells == "followed") for trial in trials.every])
    if isinstance(options.method, ODE):
        solver = options.method.settings
        return EquationFit(trials.every, parameters, init, aim, solver, options.transformation, memory), note
    assert isinstance(options.method, SSA)
    estimated = moments_of(trials.every, aim, options.estimator, options.method, options.max_events)
    moments = Remembered(estimated, memory, "moments")
    values = choose(parameters, moments.quantities, init, trials.source)
    moments.look_ahead(values.start, aim.times, options.n)
    rough = MomentFit(moments, values, aim, trials.source, options.n, options.seed, options.transformation)
    if loss == "moments":
        return rough, note
    bins = joined([histograms(trial.measurements) for trial in trials.every])
    estimated = moments_of(trials.every, bins, options.estimator, options.method, options.max_events)
    ranges = Remembered(estimated, memory, "histograms")
    return HistogramFit(rough, ranges, bins), note


def _with_estimates(model: Fitted, estimates: Mapping[str, float]) -> Fitted:
    """The model that was given with what was found of its numbers."""
    known = model.parameters if isinstance(model, ReactionNetwork) else numbers_of(model)
    return model.with_parameters({name: value for name, value in estimates.items() if plain_id(name) in known})
