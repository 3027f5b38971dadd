"""Derivatives of models in which more than reactions changes anything: events, rate rules, rates that change in time.

Central finite differences with common random numbers: the same trajectories at parameters a little apart. There is no
coupling that keeps them together, so the noise is that of two ensembles where they part; the bias is of order h^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import numpy as np

from sbmlgrad.errors import EstimatorError, SbmlgradError, UnknownIdError, UnsupportedError
from sbmlgrad.gradient.estimator import Estimate, Task
from sbmlgrad.gradient.observables import Expectation, Moment, Observable, Probability
from sbmlgrad.model.model import Model
from sbmlgrad.network.stochastic import chemistry_of
from sbmlgrad.simulation.ensemble import MAX_EVENTS, check_size
from sbmlgrad.simulation.fractions import warn_of_fractions
from sbmlgrad.simulation.hybrid import prepare_hybrid, run_hybrid
from sbmlgrad.simulation.moments import Moments

STEP = 0.05
"""Relative step of the differences."""


def by_differences(
    model: Model, parameters: Sequence[str], functions: Sequence[Observable], task: Task, estimator: str
) -> Estimate:
    """Expectations and derivatives by ``parameters``; ``task.values`` are not used, the model has them.

    Raises :class:`EstimatorError` for other estimators and for functions of the path.
    """
    if estimator not in ("auto", "coupled_fd"):
        raise EstimatorError(
            f"estimator {estimator!r}: cannot serve a model in which more than reactions changes anything; use 'auto' "
            "(finite differences), or --method ode for the rate equations"
        )
    for function in functions:
        if not isinstance(function, (Moment, Probability, Expectation)):
            raise EstimatorError(f"{function.label}: needs a model in which only reactions change anything")
    check_size(task.n, MAX_EVENTS)
    names = list(dict.fromkeys(name for function in functions for name in function.of))
    process, quantities = prepare_hybrid(model, None, names)
    known, chemistry = list(process.quantities), chemistry_of(model)
    level = Moments()
    rows: list[Moments] = []
    fractions = np.zeros((2, len(process.variables)), bool)
    for parameter in parameters:
        if parameter not in known:
            raise UnknownIdError(f"no quantity {parameter!r} to differentiate by; there are {', '.join(known)}")
        if reason := chemistry.without_derivative(parameter):
            raise UnsupportedError(model.elements.source.path, [reason])
        place = known.index(parameter)
        shift = np.zeros_like(quantities)
        shift[place] = STEP * quantities[place]
        if not shift[place]:
            raise SbmlgradError(f"{parameter!r} is 0, and differences take a part of it; give it another value")
        slope, first = Moments(), not rows
        ensembles = (
            run_hybrid(process, quantities + sign * shift, task.times, task.n, task.seed, task.start, MAX_EVENTS)
            for sign in (1, -1)
        )
        for above, below in zip(*ensembles, strict=True):
            pair = [_values(functions, names, chunk.observed) for chunk in (above, below)]
            fractions |= above.fractions | below.fractions
            slope.add((pair[0] - pair[1]) / (2 * shift[place]))
            if first:
                level.add((pair[0] + pair[1]) / 2)
        rows.append(slope)
    at_start, at_events = (list(compress(process.variables, row)) for row in fractions)
    warn_of_fractions(model.elements.source.path, at_start, at_events, stacklevel=4)
    mean, stderr = np.stack([row.mean for row in rows]), np.stack([row.stderr for row in rows])
    note = f"central differences of {STEP:.0%} with common random numbers, since more than reactions changes something"
    return Estimate(level.mean, level.stderr, mean, stderr, task.n, level.sd, note)


def _values(functions: Sequence[Observable], names: Sequence[str], observed: np.ndarray) -> np.ndarray:
    """Functions (functions, times, n) of observed variables (variables, times, n)."""
    named = dict(zip(names, observed, strict=True))
    values = [f.value(named) for f in functions if isinstance(f, (Moment, Probability, Expectation))]
    return np.stack([np.asarray(value, np.float64) for value in values])
