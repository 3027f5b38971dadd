"""Fit a model to a table: the one entry point to calibration."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from sbmlgrad.errors import FitError
from sbmlgrad.fitting.deterministic import EquationFit, without_spread
from sbmlgrad.fitting.loss import Target, target
from sbmlgrad.fitting.optimise import Evaluate, Path, search, settle
from sbmlgrad.fitting.parameters import Bounds, Parameters, choose
from sbmlgrad.fitting.result import Fit
from sbmlgrad.fitting.uncertainty import covariance, noise, scale
from sbmlgrad.gradient.automatic import Automatic
from sbmlgrad.gradient.catalogue import named_estimator
from sbmlgrad.gradient.estimator import Estimate, Estimator, Task
from sbmlgrad.gradient.observables import Moment
from sbmlgrad.gradient.problem import Problem, differentiable
from sbmlgrad.model.model import Model
from sbmlgrad.simulation.deterministic import equations
from sbmlgrad.simulation.ensemble import Ensemble, run
from sbmlgrad.simulation.simulate import discretised, prepare
from sbmlgrad.tables.measurements import match, read_measurements

if TYPE_CHECKING:
    import pandas

_SEARCH_STEPS = 60
_SETTLE_STEPS = 60
_SEEN_TRAJECTORIES = 4000  # for covariances of the data and for the curves of the report


def fit(
    model: Model,
    data: str | os.PathLike[str] | pandas.DataFrame,
    parameters: Mapping[str, Bounds],
    init: Mapping[str, float] | None = None,
    n: int = 2000,
    seed: int = 0,
    method: str = "ssa",
    estimator: str = "auto",
    init_from: str | None = None,
    progress: bool = False,
) -> Fit:
    """Estimate parameters of a model by matching simulated moments, or the solution of its rate equations.

    Parameters
    ----------
    data
        A CSV file or DataFrame: trajectories (``time, S``) or moments (``time, S-mean, S-sd``); ``S`` amounts,
        ``[S]`` concentrations, variables of assignment rules.
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
        ``ssa`` matches moments of exact simulation. ``ode`` matches the rate equations to values and means;
        measured standard deviations only weigh the means.
    estimator
        Of the gradient, as for :func:`sbmlgrad.sensitivity`.
    init_from
        ``"ode"``: start where a fit of the rate equations ends.

    Raises
    ------
    TableError, UnknownIdError, FitError, UnsupportedError, PropensityError, TruncationError
    """
    begun = clock.perf_counter()
    if method not in ("ssa", "ode"):
        raise FitError(f"method {method!r}: not available; use 'ssa' or 'ode'")
    if init_from not in (None, "ode"):
        raise FitError(f"init_from {init_from!r}: not available; use 'ode'")
    if n < 20 and method == "ssa":
        raise FitError(f"n: {n} trajectories are too few for moments; give at least 20")
    measurements = read_measurements(data)
    match(measurements, _observable_ids(model))
    init = dict(init or {})
    if init_from == "ode" and method == "ssa":
        rough = fit(model, data, parameters, init, method="ode", progress=progress)
        init.update({str(name): float(value) for name, value in rough.parameters["estimate"].items()})
    model = model.with_parameters(_checked(model, parameters, init)).by_name(parameters)
    work = _fit_equations if method == "ode" else _fit_moments
    made = work(model, target(measurements), parameters, init, n, seed, estimator, progress)
    return Fit(
        **made,
        data=measurements.source,
        seed=seed,
        seconds=clock.perf_counter() - begun,
    )


def _fit_moments(
    model: Model,
    aim: Target,
    parameters: Mapping[str, Bounds],
    init: Mapping[str, float],
    n: int,
    seed: int,
    estimator: str,
    progress: bool,
) -> dict[str, Any]:
    """Match moments of exact simulation."""
    source = model.elements.source.path
    discrete = discretised(model, aim.observables)
    chosen = choose(parameters, discrete.quantities, init, source)
    squares = [Moment(name, name) for name in aim.observables] if aim.squares else []
    moments = differentiable(discrete, chosen.names, [*aim.observables, *squares])
    _check_reach(moments, chosen, source)
    gradient = named_estimator(estimator)
    if estimator == "exact":
        raise FitError("estimator 'exact': draws nothing, and a fit goes by the noise it sees; use 'auto'")
    path = Path(chosen.to_scale(chosen.start), aim)
    with tqdm(desc="fit", unit="step", disable=None if progress else True, leave=False) as bar:
        error = _follow(model, moments, gradient, chosen, path, n, seed, bar)
    return {
        **_ended(model, chosen, path, error),
        "curves": _curves(_fitted(model, chosen, path), path, seed),
        "n": n,
        "estimator": gradient.name,
    }


def _fit_equations(
    model: Model,
    aim: Target,
    parameters: Mapping[str, Bounds],
    init: Mapping[str, float],
    n: int,
    seed: int,
    estimator: str,
    progress: bool,
) -> dict[str, Any]:
    """Match the solution of the rate equations."""
    source = model.elements.source.path
    aim = without_spread(aim)
    chosen = choose(parameters, equations(model, aim.observables).quantities, init, source)
    problem = EquationFit(model, chosen, aim, source)
    with tqdm(desc="fit", unit="look", disable=None if progress else True, leave=False) as bar:
        path = problem.run(bar)
    return {**_ended(model, chosen, path, problem), "curves": problem.curves(path), "n": 1, "estimator": "ode"}


def _fitted(model: Model, parameters: Parameters, path: Path) -> Model:
    return model.with_parameters(dict(zip(parameters.names, parameters.from_scale(path.point).tolist(), strict=True)))


def _ended(model: Model, parameters: Parameters, path: Path, error: _DataError | EquationFit) -> dict[str, Any]:
    """What both kinds of fit say at their end."""
    tables = _tables(parameters, path, error)
    return {
        **tables,
        "model": _fitted(model, parameters, path),
        "loss": float(np.sum(np.square(path.residuals))),
        "converged": path.converged,
        "message": path.message,
        "warnings": _warnings(path, tables["parameters"]),
        "start": dict(zip(parameters.names, parameters.start.tolist(), strict=True)),
    }


def _follow(
    model: Model,
    moments: Problem,
    gradient: Estimator,
    parameters: Parameters,
    path: Path,
    n: int,
    seed: int,
    bar: tqdm[Any],
) -> _DataError:
    """Search, with little noise; then settle, without bias."""
    error = _DataError(model, parameters, n, seed)
    searching: Estimator = Automatic(searching=True) if isinstance(gradient, Automatic) else gradient
    for phase in (
        search(_evaluator(moments, path.target.times, searching, n, seed), parameters, path, _SEARCH_STEPS),
        settle(_evaluator(moments, path.target.times, gradient, n, seed), parameters, path, _SETTLE_STEPS, error),
    ):
        for row in phase:
            bar.set_postfix_str(f"{row.phase}, loss {row.loss:.4g}", refresh=False)
            bar.update()
    return error


def _evaluator(moments: Problem, times: np.ndarray, gradient: Estimator, n: int, seed: int) -> Evaluate:
    """Two independent halves at any values; what there is to choose is chosen where it is first asked."""
    half = -(-n // 2)
    chosen: list[Estimator] = []

    def evaluate(values: np.ndarray, step: int) -> tuple[Estimate, Estimate]:
        seeds = np.random.SeedSequence((abs(seed), step)).generate_state(2)
        tasks = [Task(values, times, half, int(s)) for s in seeds]
        if not chosen:
            chosen.append(gradient.settled(moments, tasks[0]) if isinstance(gradient, Automatic) else gradient)
        first, second = (chosen[0].estimate(moments, task) for task in tasks)
        return first, second

    return evaluate


class _DataError:
    """The error that the data leave in each parameter, on the optimiser's scale."""

    def __init__(self, model: Model, parameters: Parameters, n: int, seed: int):
        self._model, self._parameters, self.n, self._seed = model, parameters, n, seed
        self._noise: np.ndarray | None = None

    def __call__(self, path: Path) -> np.ndarray:
        if self._noise is None:
            self._noise = noise(path.target, _trajectories(self._model, self._parameters, path, self._seed))
        # While residuals may well be the simulation's own, the data are taken to be better than they seem.
        return np.sqrt(np.diag(self.covariance(path, caution=3.0)))

    def covariance(self, path: Path, caution: float = 1.0) -> np.ndarray:
        assert self._noise is not None
        factors = scale(path.target, self._noise, path.jacobian, path.residuals, path.worth, caution)
        return covariance(self._noise, path.jacobian, factors)


def _trajectories(model: Model, parameters: Parameters, path: Path, seed: int) -> np.ndarray:
    """Simulated observables (observables, times, n) at the present point."""
    values = dict(zip(parameters.names, parameters.from_scale(path.point).tolist(), strict=True))
    return _simulated(model, values, path, path.target.times, seed)


def _simulated(model: Model, values: Mapping[str, float], path: Path, times: np.ndarray, seed: int) -> np.ndarray:
    """Observables (observables, times, n) with initial counts as the fit has them: fractions are kept in the mean."""
    prepared = prepare(model, values, path.target.observables)
    own_seed = int(np.random.SeedSequence((abs(seed), 2**32 - 1)).generate_state(1)[0])
    ensemble = Ensemble(prepared.network, prepared.counts, prepared.coefficients, times, _SEEN_TRAJECTORIES, own_seed)
    return np.concatenate([prepared.observe(chunk.records) for chunk in run(ensemble)], axis=-1)


def _observable_ids(model: Model) -> Collection[str]:
    species = model.elements.species
    return {*model.initial_values(), *(f"[{s}]" for s in species)} - {"<time>"}


def _checked(model: Model, parameters: Mapping[str, Bounds], init: Mapping[str, float] | None) -> Mapping[str, float]:
    """Start values to put into the model; raises :class:`UnknownIdError` for ids that cannot be fitted."""
    known = model.quantities()
    model.with_parameters({name: known.get(name, 1.0) for name in parameters})
    return init or {}


def _check_reach(moments: Problem, parameters: Parameters, source: str) -> None:
    """Refuse parameters that nothing simulated depends on."""
    tangents = moments.at(parameters.start).tangents
    for place, name in enumerate(parameters.names):
        if not (tangents.moves_counts(place) or tangents.moves_rates(place)):
            raise FitError(f"{source}: {name!r} enters no reaction or observable, so the data cannot tell its value")


def _tables(parameters: Parameters, path: Path, error: _DataError | EquationFit) -> dict[str, pandas.DataFrame]:
    """Estimates, their correlations, the history and the residuals."""
    import pandas

    values = parameters.from_scale(path.point)
    slope = parameters.slope(values)
    spread = error.covariance(path) + (0.0 if path.mc_covariance is None else path.mc_covariance)
    stderr = np.sqrt(np.diag(spread))
    with np.errstate(invalid="ignore"):
        correlation = spread / np.outer(stderr, stderr)
    names = pandas.Index(parameters.names, name="parameter")
    upper = np.where(parameters.upper >= 1e300, np.inf, parameters.upper)
    table = {
        "estimate": values,
        "stderr": stderr * slope,
        "lower": parameters.lower,
        "upper": upper,
        "at_bound": parameters.at_bound(values),
    }
    steps = pandas.DataFrame(
        {
            "step": range(len(path.rows)),
            "phase": [row.phase for row in path.rows],
            "loss": [row.loss for row in path.rows],
            "loss_stderr": [row.noise for row in path.rows],
            "n": error.n,
        }
    )
    traces = pandas.DataFrame([row.values for row in path.rows], columns=list(parameters.names))
    aim = path.target
    measured = pandas.DataFrame(
        {
            "observable": [aim.observables[i] for i in aim.observable],
            "statistic": np.where(aim.spread, "sd", np.where(aim.trajectory, "value", "mean")),
            "time": aim.times[aim.time],
            "measured": aim.value,
            "predicted": aim.value + path.residuals * aim.error,
            "error": aim.error,
            "residual": path.residuals,
        }
    )
    return {
        "parameters": pandas.DataFrame(table, index=names),
        "correlation": pandas.DataFrame(correlation, index=names, columns=names.rename(None)),
        "history": pandas.concat([steps, traces], axis=1),  # a parameter may be called "n" or "loss"
        "measured": measured,
    }


def _curves(fitted: Model, path: Path, seed: int) -> pandas.DataFrame:
    """Means and sds of the fitted model on a dense grid of times."""
    import pandas

    known = path.target.times
    times = np.union1d(known, np.linspace(known[0], known[-1], 101))
    values = _simulated(fitted, {}, path, times, seed)
    mean, sd = values.mean(axis=-1), values.std(axis=-1)
    stderr = sd / np.sqrt(values.shape[-1])
    return pandas.concat(
        [
            pandas.DataFrame({"observable": name, "time": times, "mean": m, "mean_stderr": e, "sd": s})
            for name, m, e, s in zip(path.target.observables, mean, stderr, sd, strict=True)
        ],
        ignore_index=True,
    )


def _warnings(path: Path, parameters: pandas.DataFrame) -> tuple[str, ...]:
    texts = [] if path.converged else [path.message]
    for name, row in parameters.iterrows():
        if row["at_bound"]:
            texts.append(f"{name} stands at a bound; widen its bounds or fix it")
        if not np.isfinite(row["stderr"]):
            texts.append(f"{name} is not determined by these data; fix it or measure more")
    return tuple(texts)
