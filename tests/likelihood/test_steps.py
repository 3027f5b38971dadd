"""Rates that follow time, against a closed form and against the master equation solved as differential equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import poisson

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError
from sbmlgrad.gradient.problem import Problem, differentiable
from sbmlgrad.likelihood.cells import ProjectedCells
from sbmlgrad.likelihood.paths import ProjectedPaths
from sbmlgrad.likelihood.records import Snapshots, Trajectories
from sbmlgrad.network.discretise import discretise

Prepared = Callable[[Any, np.ndarray], Any]
Build = Callable[..., sg.Model]
TIMES = np.array([0.7, 0.7, 0.7, 2.0, 2.0, 5.0])
COUNTS = np.array([3, 0, 5, 9, 1, 4])


def problem(model: sg.Model, names: list[str], observable: str) -> Problem:
    return differentiable(discretise(model, [observable], timed=True), names)


@pytest.fixture(scope="module")
def seasons(model: Build) -> Problem:
    """Births that come and go with the time, from nothing: Poisson at all times."""
    system = model(
        {"X": {"amount": 0.0}},
        {"birth": ("-> X", "k*(1 + a*sin(w*time))"), "death": ("X ->", "g*X")},
        {"k": 4.0, "a": 0.8, "w": 3.0, "g": 0.7},
    )
    return problem(system, ["k", "a", "w", "g"], "X")


def poisson_mean(time: float, values: np.ndarray) -> float:
    k, a, w, g = values
    wave = (g * np.sin(w * time) - w * np.cos(w * time) + w * np.exp(-g * time)) / (g**2 + w**2)
    return float(k * ((1 - np.exp(-g * time)) / g + a * wave))


def test_births_that_come_and_go(seasons: Problem, prepared: Prepared, differences: Callable[..., np.ndarray]) -> None:
    values = np.array([4.0, 0.8, 3.0, 0.7])
    likelihood = ProjectedCells(seasons, Snapshots.of(("X",), TIMES, COUNTS[:, None].astype(float)))
    found = prepared(likelihood, values).evaluate(values)

    def exact(values: np.ndarray) -> float:
        return sum(poisson.logpmf(c, poisson_mean(t, values)) for c, t in zip(COUNTS, TIMES, strict=True))

    assert found.value == pytest.approx(exact(values), rel=1e-6)
    np.testing.assert_allclose(found.score, differences(exact, values), rtol=1e-4)


def test_a_followed_cell(seasons: Problem, prepared: Prepared, differences: Callable[..., np.ndarray]) -> None:
    """From one count to the next, what is left of the old and what is new are independent."""
    values = np.array([4.0, 0.8, 3.0, 0.7])
    times, counts = np.array([0.5, 1.5]), np.array([[[2.0, 0.0]]])
    data = Trajectories(("X",), times, counts, np.zeros_like(counts))
    found = prepared(ProjectedPaths(seasons, data), values).evaluate(values)

    def exact(values: np.ndarray) -> float:
        kept = np.exp(-values[3])
        new = poisson_mean(1.5, values) - kept * poisson_mean(0.5, values)
        return poisson.logpmf(2, poisson_mean(0.5, values)) + 2 * np.log1p(-kept) - new

    assert found.value == pytest.approx(exact(values), rel=1e-6)
    np.testing.assert_allclose(found.score, differences(exact, values), rtol=1e-4)


RATES = {"on": 2.0, "decay": 0.9, "off": 0.6, "m": 8.0, "g": 0.5, "late": 0.2}
ACTIVATION = {
    "smooth": (
        "on*(1 - exp(-5*time))^3*exp(-decay*time)",
        lambda t, v: v[0] * (1 - np.exp(-5 * t)) ** 3 * np.exp(-v[1] * t),
    ),
    "clipped": (
        "piecewise(0, on*exp(-decay*time) < 0.4, on*exp(-decay*time) - 0.4)",
        lambda t, v: np.maximum(v[0] * np.exp(-v[1] * t) - 0.4, 0.0),
    ),
    "delayed": ("piecewise(on*decay, time > late, 0)", lambda t, v: v[0] * v[1] * (t > v[5])),
}


def master_equation(activation: Callable[..., np.ndarray], points: np.ndarray, most: int = 40) -> np.ndarray:
    """The log-likelihood of the counts by scipy, of a gene that is off (first half of the states) or on.

    It is solved for all points (points, parameters) at once.
    """
    _, _, off, m, g, late = values = points.T
    size, counts = most + 1, np.arange(most + 1)[:, None]
    none = np.zeros((1, len(points)))

    def slope(time: float, p: np.ndarray) -> np.ndarray:
        silent, active = p.reshape(2, size, -1)
        on = activation(time, values)
        made = np.concatenate([none, active[:-1]])
        lost = [np.concatenate([counts[1:] * half[1:], none]) - counts * half for half in (silent, active)]
        switched = off * active - on * silent
        return np.concatenate([g * lost[0] + switched, g * lost[1] - switched + m * (made - active)]).ravel()

    p, total, begin = np.eye(2 * size)[0][:, None] + none, np.zeros(len(points)), 0.0
    for time in np.unique([*TIMES, *late]):
        p = solve_ivp(slope, (begin, time - 1e-13), p.ravel(), "DOP853", rtol=1e-12, atol=1e-15).y[:, -1]
        p, begin = p.reshape(2 * size, -1), time
        total += sum(np.log(p[c] + p[size + c]) for c in COUNTS[time == TIMES])
    return total


@pytest.mark.parametrize("kind", ACTIVATION)
def test_a_gene_that_time_switches_on(model: Build, kind: str, prepared: Prepared) -> None:
    law, activation = ACTIVATION[kind]
    reactions = {
        "activate": ("off_ -> on_", f"off_*({law})"),
        "stop": ("on_ -> off_", "off*on_"),
        "make": ("-> M", "m*on_"),
        "lose": ("M ->", "g*M"),
    }
    species = {"off_": {"amount": 1.0}, "on_": {"amount": 0.0}, "M": {"amount": 0.0}}
    values = np.array(list(RATES.values()))
    names = list(RATES) if kind == "delayed" else list(RATES)[:-1]
    gene = problem(model(species, reactions, RATES), names, "M")
    own = values[: len(names)]
    found = prepared(ProjectedCells(gene, Snapshots.of(("M",), TIMES, COUNTS[:, None] * 1.0)), own).evaluate(own)
    steps = 1e-4 * np.diag(values)[: len(own)]
    exact, above, below = np.split(
        master_equation(activation, np.concatenate([values[None], values + steps, values - steps])), [1, 1 + len(own)]
    )
    assert found.value == pytest.approx(exact[0], rel=1e-6)
    np.testing.assert_allclose(found.score, (above - below) / (2e-4 * own), rtol=1e-4, atol=1e-6)


def test_a_rate_that_turns_negative_is_refused(model: Build) -> None:
    system = model({"X": {"amount": 0.0}}, {"birth": ("-> X", "k - time")}, {"k": 1.0})
    likelihood = ProjectedCells(problem(system, ["k"], "X"), Snapshots.of(("X",), TIMES, COUNTS[:, None] * 1.0))
    with pytest.raises(SimulationError, match="negative"):
        likelihood.prepare(np.array([1.0]))
