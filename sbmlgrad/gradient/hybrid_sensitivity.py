"""Derivatives of models in which more than reactions changes anything: events, rate rules, rates that change in time.

The score function where it serves: with the times of reactions held, variables that flow have derivatives of their own,
and the density of the reactions that fired has the score (the jump part at each reaction, less the integral of the
propensities, which is a variable of the flow; Girsanov's theorem for piecewise deterministic processes). It does not
see a parameter that moves numbers of molecules, or a time at which the state or a law jumps. For those there are
central differences with common random numbers, of order h^2 in bias, and as noisy as two ensembles where these part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import compress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import EstimatorError, SbmlgradError, UnknownIdError, UnsupportedError, which
from sbmlgrad.gradient.controls import Controlled, between, linear_algebra
from sbmlgrad.gradient.estimator import Estimate, Task
from sbmlgrad.gradient.observables import Observable
from sbmlgrad.gradient.problem import are_off, probes
from sbmlgrad.model.model import Model
from sbmlgrad.network.hybrid_model import HybridModel
from sbmlgrad.network.influence import moving
from sbmlgrad.network.stochastic import chemistry_of
from sbmlgrad.simulation.distributions import expected
from sbmlgrad.simulation.fractions import warn_of_fractions
from sbmlgrad.simulation.hybrid_ensemble import prepare_hybrid, run_hybrid, run_scored
from sbmlgrad.simulation.moments import Moments
from sbmlgrad.simulation.path import Settings

STEP = 0.05
"""Relative step of the differences."""

_MOST_MARTINGALES = 12  # that serve as control variates: each costs time in every step
_PER_MARTINGALE = 200  # trajectories, without which it adds more noise than it takes off


class Process:
    """Expectations of ``functions`` of a model that flows and jumps, to be differentiated by ``parameters``.

    Made once and evaluated at many values without recompiling.
    """

    def __init__(self, model: Model, parameters: Sequence[str], functions: Sequence[Observable], settings: Settings):
        self.parameters, self.source, self.settings = tuple(parameters), model.elements.source.path, settings
        self.functions = list(functions)
        for function in functions:
            if not function.of_state:
                raise EstimatorError(f"{function.label}: needs a model in which only reactions change anything")
        self.names = list(dict.fromkeys(name for function in functions for name in function.of))
        self.process, self.quantities = prepare_hybrid(model, None, self.names)
        all_names, chemistry = list(self.process.quantities), chemistry_of(model)
        for parameter in parameters:
            if parameter not in all_names:
                meant = which(parameter, all_names)
                raise UnknownIdError(f"{self.source}: no quantity {parameter!r} to differentiate by; {meant}")
            if reason := chemistry.without_derivative(parameter):
                raise UnsupportedError(self.source, [reason])
        self.indices = {parameter: all_names.index(parameter) for parameter in parameters}
        self._jumps = moving(model, self.parameters)
        self._fractions = np.zeros((2, len(self.process.variables)), bool)

    def at(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """The vector of all quantities, for these values (P,) of the parameters; the model's if there are none."""
        result = self.quantities.copy()
        if len(values):
            result[list(self.indices.values())] = values
        return result

    def own(self, point: Mapping[str, float]) -> list[float]:
        """Values of the parameters: those of ``point``, else the model's."""
        return [float(point.get(name, self.quantities[index])) for name, index in self.indices.items()]

    def reasons(self, values: Sequence[float] | np.ndarray) -> dict[str, str]:
        """Why the score does not see a parameter at these values (P,) of the parameters; empty where it does."""
        quantities = self.at(values)
        moved = (np.asarray(self._starts(quantities)) != 0) & self.process.whole
        return {
            name: (f"moves the initial number of {self.process.variables[row.argmax()]!r}" if row.any() else "")
            or self._jumps[name]
            or _switches_off(self.process, quantities, index)
            for (name, index), row in zip(self.indices.items(), moved, strict=True)
        }

    @cached_property
    def _starts(self) -> Any:
        """vector of all quantities -> derivatives of initial values by each parameter (parameters, variables)"""
        directions = np.zeros((len(self.indices), len(self.quantities)))
        directions[np.arange(len(directions)), list(self.indices.values())] = 1.0

        def along(quantities: Any, direction: Any) -> Any:
            return jax.jvp(lambda q: self.process.start(q, expected)[0], (quantities,), (direction,))[1]

        return jax.jit(lambda quantities: jax.vmap(along, in_axes=(None, 0))(quantities, directions))

    def values(self, observed: Any) -> Any:
        """Functions (functions, times, n) of observed variables (variables, times, n)."""
        named = dict(zip(self.names, observed, strict=True))
        return jnp.stack([jnp.asarray(function.value(named), jnp.float64) for function in self.functions])

    def keep(self, fractions: np.ndarray) -> None:
        """Keep in mind what started from, or was set to, fractions of molecules (2, variables)."""
        self._fractions |= fractions

    def warn(self) -> None:
        """Name them."""
        at_start, at_events = (list(compress(self.process.variables, row)) for row in self._fractions)
        warn_of_fractions(self.source, at_start, at_events)


def estimate(process: Process, task: Task, estimator: str = "auto") -> Estimate:
    """Expectations and derivatives by the score where it serves and by differences elsewhere, or as ``estimator`` says.

    Raises :class:`EstimatorError` for other estimators, and for ``score`` where a parameter moves what it cannot see.
    """
    if estimator not in ("auto", "score", "coupled_fd"):
        raise EstimatorError(
            f"estimator {estimator!r}: cannot serve a model in which more than reactions changes anything; use 'auto' "
            "(score or finite differences), or method 'ode' for the rate equations"
        )
    reasons = process.reasons(task.values)
    _refuse_unseen(estimator, reasons)
    scored = [name for name, reason in reasons.items() if not reason and estimator != "coupled_fd"]
    parts = []
    if scored:
        part, missed = _by_score(process, scored, task)
        reasons.update(dict.fromkeys(compress(scored, missed), "switches a reaction off"))
        _refuse_unseen(estimator, reasons)
        parts, scored = [_rows(part, ~missed)], list(compress(scored, ~missed))
    others = [name for name in process.parameters if name not in scored]
    if others:
        parts.append(_by_differences(process, others, task))
    rows = dict(zip([*scored, *others], np.concatenate([p.derivatives for p in parts]), strict=True))
    errors = dict(zip([*scored, *others], np.concatenate([p.stderr for p in parts]), strict=True))
    because = "; ".join(f"{name!r} {reasons[name]}" for name in others if reasons[name])
    notes = [*(["score with the times of reactions held"] if scored else [])]
    if others:
        notes.append(
            f"central differences of {STEP:.0%} with common random numbers" + (because and f", since {because}")
        )
    return replace(
        parts[0],
        derivatives=np.stack([rows[name] for name in process.parameters]),
        stderr=np.stack([errors[name] for name in process.parameters]),
        note="; ".join(notes),
        estimator=" and ".join([*(["score"] if scored else []), *(["coupled_fd"] if others else [])]),
    )


def _switches_off(process: HybridModel, quantities: np.ndarray, index: int) -> str:
    """Whether a quantity that is 0 keeps a reaction from firing, so that no trajectory shows what it does."""
    if quantities[index] != 0 or not process.channels:
        return ""

    states = jnp.asarray(probes(np.asarray(process.start(jnp.asarray(quantities), expected)[0])))
    times = jnp.asarray(probes(np.zeros(1))[0])

    def propensities(value: jax.Array) -> jax.Array:
        coefficients = process.start(jnp.asarray(quantities).at[index].set(value), expected)[1]
        return jax.vmap(process.propensities_at, in_axes=(0, 1, None))(times, states, coefficients)

    values, slopes = jax.jvp(propensities, (jnp.zeros(()),), (jnp.ones(()),))
    off = np.any(are_off(values, slopes), axis=0)
    return f"is 0 and switches {process.channels[int(np.argmax(off))]!r} off" if off.any() else ""


def _refuse_unseen(estimator: str, reasons: Mapping[str, str]) -> None:
    for name, reason in reasons.items():
        if estimator == "score" and reason:
            raise EstimatorError(f"estimator 'score': {name!r} {reason}, which it does not see; use 'auto'")


def _rows(part: Estimate, kept: np.ndarray) -> Estimate:
    return replace(part, derivatives=part.derivatives[kept], stderr=part.stderr[kept])


def _by_score(process: Process, names: Sequence[str], task: Task) -> tuple[Estimate, np.ndarray]:
    """An estimate, and for each name whether trajectories had a reaction that it switches off (names,)."""
    with linear_algebra().limit(limits=1):  # its threads would wait for those of the simulation
        return _by_controlled_score(process, names, task)


def _by_controlled_score(process: Process, names: Sequence[str], task: Task) -> tuple[Estimate, np.ndarray]:
    quantities = process.at(task.values)
    directions = np.zeros((len(names), len(quantities)))
    directions[np.arange(len(names)), [process.indices[name] for name in names]] = 1.0
    martingales = _martingales(process.process, task.n)
    grid = np.unique(np.concatenate([task.times, between(task)])) if martingales else task.times
    grid = np.unique(np.append(grid, task.start))
    columns = np.searchsorted(grid, task.times)
    latest = np.broadcast_to(columns, (len(process.functions), len(columns)))
    fits = Controlled(latest, grid, task.start, task.n, len(names), len(martingales))
    values, missed = Moments(), np.zeros(len(names), bool)
    settings = replace(process.settings, martingales=martingales)
    experiment = replace(task, times=grid).experiment
    for chunk in run_scored(process.process, quantities, directions, experiment, settings):
        observed, slopes = chunk.observed[:, columns], chunk.slopes[:, :, columns]
        seen = np.asarray(process.values(observed))
        values.add(seen)
        direct = np.stack([_pushed(process, observed, slope) for slope in slopes])
        fits.add(seen, chunk.scores, chunk.martingales, chunk.gains, direct)
        process.keep(chunk.fractions)
        missed |= chunk.missed
    mean, error = fits.expectations()
    derivatives, stderr = fits.derivatives()
    return Estimate(mean, error, derivatives, stderr, task.n, values.sd), missed


def _martingales(process: HybridModel, n: int) -> tuple[tuple[int, int | None], ...]:
    """For each reaction the times it fired, alone and in proportion to each count: what so many trajectories tell the
    coefficients of, and not too many."""
    counts = np.flatnonzero(process.whole & np.any(process.jumps != 0, axis=1)).tolist()
    alone: list[tuple[int, int | None]] = [(j, None) for j in range(len(process.channels))]
    every = [(j, h) for j, _ in alone for h in (None, *counts)]
    most = min(_MOST_MARTINGALES, n // _PER_MARTINGALE)
    return next((tuple(pairs) for pairs in (every, alone) if len(pairs) <= most), ())


def _pushed(process: Process, observed: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """What the functions' own derivatives add (functions, times, n)."""
    moved = {name for name, row in zip(process.names, slope, strict=True) if np.any(row != 0)}
    for function in process.functions:
        if not function.is_smooth and moved.intersection(function.of):
            raise EstimatorError(
                f"{function.label}: {function.of[0]!r} flows, and the chance that it is in a range has no "
                "derivative along a trajectory; use estimator 'coupled_fd'"
            )
    if not moved:
        return np.zeros((len(process.functions), *observed.shape[1:]))
    return np.asarray(jax.jvp(process.values, (jnp.asarray(observed),), (jnp.asarray(slope),))[1])


def _by_differences(process: Process, names: Sequence[str], task: Task) -> Estimate:
    quantities = process.at(task.values)
    level = Moments()
    rows: list[Moments] = []
    for name in names:
        index = process.indices[name]
        shift = np.zeros_like(quantities)
        shift[index] = STEP * quantities[index]
        if not shift[index]:
            raise SbmlgradError(f"{name!r} is 0, and differences take a part of it; give it another value")
        slope, first = Moments(), not rows
        ensembles = (
            run_hybrid(process.process, quantities + sign * shift, task.experiment, process.settings)
            for sign in (1, -1)
        )
        for above, below in zip(*ensembles, strict=True):
            pair = [np.asarray(process.values(chunk.observed)) for chunk in (above, below)]
            process.keep(above.fractions | below.fractions)
            slope.add((pair[0] - pair[1]) / (2 * shift[index]))
            if first:
                level.add((pair[0] + pair[1]) / 2)
        rows.append(slope)
    mean, stderr = np.stack([row.mean for row in rows]), np.stack([row.stderr for row in rows])
    return Estimate(level.mean, level.stderr, mean, stderr, task.n, level.sd)
