"""Events at known times in projections, against the master equation solved by matrix exponentials in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.linalg import expm

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError, UnsupportedError
from sbmlgrad.gradient.problem import Problem, differentiable
from sbmlgrad.likelihood.cells import ProjectedCells
from sbmlgrad.likelihood.paths import ProjectedPaths
from sbmlgrad.likelihood.records import Snapshots, Trajectories
from sbmlgrad.network.discretise import beyond_counts_in_time, discretise

Prepared = Callable[[Any, np.ndarray], Any]
Cells = Callable[[Problem, np.ndarray], ProjectedCells]
Build = Callable[..., sg.Model]
ROOM = 90  # counts that the reference has
TIMES = np.array([1.0, 2.0, 3.5])
ROWS = np.array([3, 9, 6, 14, 11, 19, 4, 7, 9])
VALUES = {"k": 6.0, "g": 0.8, "dose": 7.3, "when": 1.6, "factor": 2.0}


def problem(model: sg.Model, names: list[str]) -> Problem:
    return differentiable(discretise(model, ["X"], timed=True), names)


@pytest.fixture
def cells(prepared: Prepared) -> Callable[[Problem, np.ndarray], ProjectedCells]:
    data = Snapshots.of(("X",), np.repeat(TIMES, 3), ROWS[:, None].astype(float))
    return lambda problem, values: prepared(ProjectedCells(problem, data), values)


def generator(k: float, g: float) -> np.ndarray:
    """Of births at k and deaths at g each."""
    counts = np.arange(ROOM)
    rates = np.diag(g * counts[1:], 1) + np.diag(np.full(ROOM - 1, k), -1)
    return np.asarray(rates - np.diag(rates.sum(axis=0)))


def moved(law: np.ndarray, to: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The law after every count n has become one of the neighbours of ``to(n)``, with the same mean."""
    new = np.minimum(to(np.arange(ROOM, dtype=float)), ROOM - 2)
    low = np.floor(new).astype(int)
    return np.bincount(low, law * (1 - new + low), ROOM) + np.bincount(low + 1, law * (new - low), ROOM)


@pytest.fixture(scope="module")
def dosed(model: Build) -> Problem:
    """Births and deaths; at a time the counts are halved and a dose is added, and births come at another rate."""
    system = model(
        {"X": {"amount": 2.0}},
        {"birth": ("-> X", "k"), "death": ("X ->", "g*X")},
        {"k": 6.0, "g": 0.8, "dose": 7.3, "when": 1.6, "factor": 2.0},
        events={"e": {"trigger": "time >= when", "set": {"X": "0.5*X + dose", "k": "factor*k"}}},
    )
    return problem(system, list(VALUES))


def laws(values: np.ndarray) -> list[np.ndarray]:
    """The probabilities of all counts at each of the times."""
    k, g, dose, when, factor = values
    law = np.eye(ROOM)[2]
    before, after = generator(k, g), generator(factor * k, g)
    first = expm(before * TIMES[0]) @ law
    law = moved(expm(before * when) @ law, lambda n: 0.5 * n + dose)
    return [first, *(expm(after * (time - when)) @ law for time in TIMES[1:])]


def log_likelihood(values: np.ndarray) -> float:
    return float(np.log([law[rows] for law, rows in zip(laws(values), ROWS.reshape(3, 3), strict=True)]).sum())


def test_cells_before_and_after_a_dose(dosed: Problem, differences: Callable[..., np.ndarray], cells: Cells) -> None:
    values = np.array([*VALUES.values()])
    found = cells(dosed, values).evaluate(values)
    assert found.value == pytest.approx(log_likelihood(values), rel=1e-9)
    np.testing.assert_allclose(found.score, differences(log_likelihood, values, 1e-5), rtol=2e-5, atol=1e-5)


def test_what_is_expected_of_cells_after_a_dose(dosed: Problem, cells: Cells) -> None:
    values = np.array([*VALUES.values()])
    expected, counts = cells(dosed, values).expected(values), np.arange(ROOM)
    means = expected.predicted[expected.statistic == "mean"]
    np.testing.assert_allclose(means, [law @ counts for law in laws(values)], rtol=1e-8)


def test_an_observation_at_the_time_of_an_event_sees_it(dosed: Problem, cells: Cells) -> None:
    values = np.array([6.0, 0.8, 7.3, 2.0, 2.0])
    assert cells(dosed, values).evaluate(values).value == pytest.approx(log_likelihood(values), rel=1e-9)


def test_an_event_at_the_last_observation(dosed: Problem, cells: Cells) -> None:
    values, counts = np.array([6.0, 0.8, 7.3, 3.5, 2.0]), np.arange(ROOM)
    expected = cells(dosed, values).expected(values)
    means = expected.predicted[expected.statistic == "mean"]
    np.testing.assert_allclose(means[[0, 2]], [law @ counts for law in laws(values)[::2]], rtol=1e-8)


def test_a_trajectory_through_a_dose(
    dosed: Problem, prepared: Prepared, differences: Callable[..., np.ndarray]
) -> None:
    values, seen = np.array([*VALUES.values()]), np.array([5, 13, 12])

    def exact(values: np.ndarray) -> float:
        k, g, dose, when, factor = values
        before, after = generator(k, g), generator(factor * k, g)
        first = (expm(before * TIMES[0]) @ np.eye(ROOM)[2])[seen[0]]
        law = moved(expm(before * (when - TIMES[0])) @ np.eye(ROOM)[seen[0]], lambda n: 0.5 * n + dose)
        second = (expm(after * (TIMES[1] - when)) @ law)[seen[1]]
        third = (expm(after * (TIMES[2] - TIMES[1])) @ np.eye(ROOM)[seen[1]])[seen[2]]
        return float(np.log([first, second, third]).sum())

    data = Trajectories(("X",), TIMES, seen[None, None].astype(float), np.zeros((1, 1, 3)))
    found = prepared(ProjectedPaths(dosed, data), values).evaluate(values)
    assert found.value == pytest.approx(exact(values), rel=1e-9)
    np.testing.assert_allclose(found.score, differences(exact, values, 1e-5), rtol=2e-5, atol=1e-5)


def test_doses_again_and_again(model: Build, cells: Cells) -> None:
    """A trigger that comes true time and again, and one dose that leads beyond what was measured."""
    system = model(
        {"X": {"amount": 0.0}},
        {"death": ("X ->", "g*X")},
        {"g": 0.8, "dose": 4.0},
        events={"e": {"trigger": "sin(6*time) < -0.5", "set": {"X": "X + dose"}}},
    )
    values = np.array([0.8, 4.0])
    found = cells(problem(system, ["g", "dose"]), values).expected(values)
    means = found.predicted[found.statistic == "mean"]
    comes = (7 * np.pi / 6 + 2 * np.pi * np.arange(10)) / 6
    exact = [(4.0 * np.exp(-0.8 * (time - comes[comes <= time]))).sum() for time in TIMES]
    np.testing.assert_allclose(means, exact, rtol=1e-8)


def test_rates_that_flow_in_time_between_events(model: Build, cells: Cells) -> None:
    system = model(
        {"X": {"amount": 0.0}},
        {"birth": ("-> X", "k*(1 + 0.8*sin(3*time))"), "death": ("X ->", "g*X")},
        {"k": 6.0, "g": 0.8},
        events={"e": {"trigger": "time >= 1.6", "set": {"X": "0", "k": "2*k"}}},
    )
    values = np.array([6.0, 0.8])
    found = cells(problem(system, ["k", "g"]), values)
    means = found.expected(values).predicted[found.expected(values).statistic == "mean"]

    def integral(begin: float, end: float, k: float, g: float) -> float:
        grid = np.linspace(begin, end, 20001)
        return float(np.trapezoid(k * (1 + 0.8 * np.sin(3 * grid)) * np.exp(-g * (end - grid)), grid))

    exact = [integral(0, 1, 6, 0.8), integral(1.6, 2, 12, 0.8), integral(1.6, 3.5, 12, 0.8)]
    np.testing.assert_allclose(means, exact, rtol=1e-6)


@pytest.mark.parametrize(("trigger", "after"), [("time >= 2", True), ("time > 2", False)])
def test_what_an_observation_at_the_time_of_an_event_sees(
    model: Build, trigger: str, after: bool, cells: Cells
) -> None:
    """The same as in simulations."""
    system = model(
        {"X": {"amount": 5.0}},
        {"death": ("X ->", "g*X")},
        {"g": 0.1},
        events={"e": {"trigger": trigger, "set": {"X": "X + 50"}}},
    )
    found = cells(problem(system, ["g"]), np.array([0.1])).expected(np.array([0.1]))
    means = found.predicted[found.statistic == "mean"]
    np.testing.assert_allclose(means, sg.simulate(system, TIMES, method="ode").mean["X"], rtol=1e-6)
    assert (means[1] > 50) == after


def test_the_order_of_priorities(model: Build, prepared: Prepared) -> None:
    """First tenfold, then one more."""
    system = model(
        {"X": {"amount": 2.0}},
        {"death": ("X ->", "g*X")},
        {"g": 1e-9},
        events={
            "add": {"trigger": "time >= 1.5", "set": {"X": "X + 1"}, "priority": "1", "from_trigger": False},
            "multiply": {"trigger": "time >= 1.5", "set": {"X": "10*X"}, "priority": "2", "from_trigger": False},
        },
    )
    values = np.array([1e-9])
    data = Snapshots.of(("X",), np.array([1.0, 2.0]), np.array([[2.0], [21.0]]))
    likelihood = prepared(ProjectedCells(problem(system, ["g"]), data), values)
    assert likelihood.evaluate(values).value == pytest.approx(0.0, abs=1e-6)


def test_an_order_left_to_chance_is_refused(model: Build, cells: Cells) -> None:
    system = model(
        {"X": {"amount": 2.0}},
        {"death": ("X ->", "g*X")},
        {"g": 0.1},
        events={
            "add": {"trigger": "time >= 1.5", "set": {"X": "X + 1"}, "from_trigger": False},
            "multiply": {"trigger": "time >= 1.5", "set": {"X": "10*X"}, "from_trigger": False},
        },
    )
    with pytest.raises(SimulationError, match="order left to chance"):
        cells(problem(system, ["g"]), np.array([0.1]))


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"trigger": "X > 5", "set": {"X": "0"}}, "not for time alone"),
        ({"trigger": "time >= when", "set": {"k": "X"}}, "depends on counts"),
        ({"trigger": "time >= when", "set": {"when": "when + 1"}}, "not for time alone"),
        ({"trigger": "time >= when", "set": {"X": "0"}, "delay": "1"}, "has a delay"),
    ],
)
def test_what_is_not_known_beforehand(model: Build, event: dict[str, Any], said: str) -> None:
    system = model(
        {"X": {"amount": 2.0}},
        {"birth": ("-> X", "k"), "death": ("X ->", "g*X")},
        {"k": 6.0, "g": 0.8, "when": 1.6},
        events={"e": event},
    )
    assert said in beyond_counts_in_time(system, ["X"])[0]
    with pytest.raises(UnsupportedError, match=said):
        discretise(system, ["X"], timed=True)
