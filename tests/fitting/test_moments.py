"""Where simulated moments come from, and which parameters they depend on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import FitError, TruncationError
from sbmlgrad.fitting.loss import Target, target
from sbmlgrad.fitting.moments import source
from sbmlgrad.fitting.trials import Fitted, Trial
from sbmlgrad.gradient.automatic import Automatic
from sbmlgrad.gradient.catalogue import named_estimator
from sbmlgrad.gradient.estimator import Task
from sbmlgrad.simulation.methods import SSA
from sbmlgrad.tables.measurements import Measurements, read_measurements

TIMES = np.array([1.0, 2.0])


def measured() -> Measurements:
    (one,) = read_measurements(pd.DataFrame({"time": TIMES, "X-mean": [1.0, 2.0], "X-sd": [1.0, 1.0]}))
    return one


def aim() -> Target:
    return target(measured())


def trials(model: Fitted, names: tuple[str, ...]) -> list[Trial]:
    """One condition in which all parameters are free."""
    return [Trial(model, names, np.arange(len(names)), measured(), {})]


@pytest.mark.parametrize("events", [{}, {"late": {"trigger": "time > 9", "set": {"w": "2"}}}], ids=["counts", "events"])
def test_moments_and_their_derivatives(model: Callable[..., sg.Model], events: dict[str, dict[str, object]]) -> None:
    """Births at rate k are Poisson: E X = k t and E X^2 = k t + (k t)^2, whichever loop runs."""
    births = model({"X": {"amount": 0}}, {"r": (" -> X", "k")}, {"k": 4.0, "w": 1.0}, events=events)
    own = source(trials(births, ("k", "w")), aim(), Automatic(), SSA())
    result = own.estimate(Task([4.0, 1.0], TIMES, 4000, seed=1), descending=False)
    level = 4 * TIMES
    assert np.all(np.abs(result.values - [level, level + level**2]) <= 4.5 * result.values_stderr)  # 7e-6 each
    slopes = np.array([TIMES, TIMES + 2 * 4 * TIMES**2])
    assert np.all(np.abs(result.derivatives[0] - slopes) <= 4.5 * result.stderr[0] + 1e-9)
    np.testing.assert_array_equal(result.derivatives[1], 0.0)
    assert own.reaches(np.array([4.0, 1.0])) == [True, bool(events)], "what an event might do is not known before"
    assert own.simulated(np.array([4.0, 1.0]), TIMES, 300, 2).shape == (1, 2, 300)


def test_what_draws_nothing_is_refused() -> None:
    network = sg.ReactionNetwork([[1]], lambda x, p: (p["k"] + 0 * x[0],), [0], {"k": 4.0}, species=("X",))
    with pytest.raises(FitError, match="estimator 'exact': draws nothing"):
        source(trials(network, ("k",)), aim(), named_estimator("exact"), SSA())


@pytest.mark.parametrize("events", [{}, {"kick": {"trigger": "X > 3", "set": {"X": "0"}}}], ids=["counts", "events"])
def test_a_hopeless_fit_is_refused_before_it_begins(
    model: Callable[..., sg.Model], events: dict[str, dict[str, object]]
) -> None:
    described = model(
        {"X": {"amount": 0}, "Y": {"amount": 0}},
        {"make": ("-> X", "k"), "turn": ("X -> Y", "1e-9*X")},
        {"k": 1e12},
        events=events,
    )
    table = pd.DataFrame({"time": [1.0, 10.0], "Y-mean": [1.0, 2.0], "Y-sd": [1.0, 1.0]})
    with pytest.raises(TruncationError, match="about 1e\\+13 reactions would fire .* more than the 1e\\+08 allowed"):
        sg.fit(described, table, {"k": (1e11, 1e13)})
