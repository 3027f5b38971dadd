"""How long a model takes to come to rest before an experiment begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from sbmlgrad.errors import FitError, SbmlgradError
from sbmlgrad.model.model import Model
from sbmlgrad.simulation.deterministic import prepare_equations, solve

_RESTS = 1e-6  # relative, over the second half of a span
_NOTHING = 1e-9  # of the largest value a variable has had
_FIRST, _LONGEST = 10.0, 1e9  # spans, in the model's unit of time
_STILL = 1e-9  # of the fastest rate of relaxation: what is as slow is conserved
ENOUGH = 16.0
"""Slowest relaxation times after which less than 2e-7 of a difference from rest is left."""
MARGIN = 3.0
"""Of the time that is allowed, so that parameters can change in a fit."""


def settling_time(model: Model, values: Mapping[str, float]) -> float:
    """How long the model with these ``values`` takes to come to rest, by its rate equations: :data:`ENOUGH` of the
    slowest relaxation time at their steady state. Of a law of counts that is exact where all rates are linear.

    Raises
    ------
    FitError
        where there is no steady state, or it is not stable.
    """
    where = model.elements.source.path
    remedy = "time -inf in the table of conditions needs one: give the time of the change instead"
    process, _ = prepare_equations(model, None, None)
    process, quantities = prepare_equations(model, values, process.variables)
    state = _at_rest(lambda times: solve(process, quantities, times), where, remedy)
    coefficients = process.start(jnp.asarray(quantities))[1]
    slopes = jax.jacfwd(lambda x: process.flow(jnp.zeros(()), x, coefficients))(jnp.asarray(state))
    rates = -np.linalg.eigvals(np.asarray(slopes)).real
    moving = np.abs(rates) > _STILL * np.max(np.abs(rates), initial=0.0)
    if np.any(rates[moving] < 0):
        raise FitError(f"{where}: its steady state is not stable; {remedy}")
    return ENOUGH / float(np.min(rates[moving])) if moving.any() else 0.0


def _at_rest(course: Callable[[np.ndarray], np.ndarray], where: str, remedy: str) -> np.ndarray:
    """The state (variables,) in which nothing changes any more."""
    span, largest = _FIRST, 0.0
    while span <= _LONGEST:
        try:
            middle, end = course(np.array([0.5 * span, span])).T
        except SbmlgradError as error:
            raise FitError(f"{where}: no steady state was reached: {error}; {remedy}") from error
        largest = max(largest, float(np.max(np.abs([middle, end]), initial=0.0)))
        if np.all(np.abs(end - middle) <= _RESTS * np.abs(end) + _NOTHING * largest):
            return end
        span *= 10.0
    raise FitError(f"{where}: no steady state was reached by time {span:g}; {remedy}")
