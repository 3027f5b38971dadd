"""The forward filter against closed forms, and against one with matrices by scipy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csc_array
from scipy.sparse.linalg import expm_multiply
from scipy.stats import binom, norm, poisson

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError
from sbmlgrad.fitting.measured import with_noise
from sbmlgrad.gradient.problem import Problem, differentiable
from sbmlgrad.likelihood.paths import ProjectedPaths
from sbmlgrad.likelihood.records import Trajectories
from sbmlgrad.model.derive import with_constants
from sbmlgrad.simulation.prepare import discretised

Prepared = Callable[[Any, np.ndarray], Any]
Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]
VALUES = np.array([4.0, 0.7])


def passage(begin: int, end: int, span: float, k: float, g: float) -> float:
    """Probability that birth and death lead from one count to another: survivors are binomial, new ones Poisson."""
    kept = np.exp(-g * span)
    alive = np.arange(begin + 1)
    return float(np.sum(binom.pmf(alive, begin, kept) * poisson.pmf(end - alive, k / g * (1 - kept))))


def test_counts_that_are_all_seen(birth_death: Problem, prepared: Prepared) -> None:
    times = np.array([0.0, 0.5, 1.1, 3.0])
    rows = [[3, 4, 2, 7], [3, 3, 5, 4]]
    data = Trajectories(("X",), times, np.array(rows, float)[:, None], np.zeros((2, 1, 4)))
    likelihood = ProjectedPaths(birth_death, data)
    prepared(likelihood, VALUES)

    def exact(values: np.ndarray) -> float:
        spans = np.diff(times)
        return sum(
            np.log(passage(a, b, s, *values)) for row in rows for a, b, s in zip(row, row[1:], spans, strict=False)
        )

    found = likelihood.evaluate(VALUES)
    assert found.value == pytest.approx(exact(VALUES), abs=1e-9)
    steps = 1e-5 * np.eye(2)
    slopes = [(exact(VALUES + step) - exact(VALUES - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(found.score, slopes, rtol=1e-6)


@pytest.mark.parametrize("error", [0.0, 1.5])
def test_a_hidden_species(expression: Problem, draw: Draw, error: float, prepared: Prepared) -> None:
    random, times = np.random.default_rng(4), np.array([0.5, 1.0, 2.0, 3.5])
    seen = draw(random, times) + error * random.normal(size=4)
    seen[1] = np.nan  # nobody looked
    data = Trajectories(("P",), times, seen[None, None], np.full((1, 1, 4), error**2))
    likelihood, values = ProjectedPaths(expression, data), np.array([3.0, 1.0, 2.0, 0.5])
    prepared(likelihood, values)
    assert likelihood.evaluate(values).value == pytest.approx(by_matrices(times, seen, error), abs=1e-6)


@pytest.mark.parametrize("law", ["binomial", "poisson", "normal"])
def test_what_an_instrument_makes_of_counts(models_dir: Path, law: str, prepared: Prepared) -> None:
    """Birth and death from none, a part of which is seen: the forward filter with closed forms, on counts up to 40."""
    model = with_constants(sg.read_sbml(models_dir / "birth_death" / "model.xml"), {"p": 0.6})
    text = {"binomial": "binomial(p)", "poisson": "poisson", "normal": "p + 0.1*X"}[law]
    model, laws = with_noise(model, {"X": text}, {"X"})
    names = ("X", *(one.parameter for one in laws.values() if one.parameter))
    problem = differentiable(discretised(model, names), ("k", "g", "p"))
    times, seen = np.array([0.5, 1.5, 2.0]), np.array([2.0, 4.0, 3.0])
    data = Trajectories(("X",), times, seen[None, None], np.zeros((1, 1, 3)))
    likelihood, values = ProjectedPaths(problem, data, laws), np.array([4.0, 0.7, 0.6])
    prepared(likelihood, values)

    def exact(values: np.ndarray) -> float:
        k, g, p = values
        x = np.arange(41)
        density = {
            "binomial": lambda y: binom.pmf(y, x, p),
            "poisson": lambda y: poisson.pmf(y, x),
            "normal": lambda y: norm.pdf(y, x, p + 0.1 * x),
        }[law]
        law_of_x, total = np.eye(41)[0], 0.0
        for span, y in zip(np.diff(times, prepend=0), seen, strict=True):
            moves = np.array([[passage(a, b, span, k, g) for b in x] for a in x])
            law_of_x = (law_of_x @ moves) * density(y)
            total += np.log(law_of_x.sum())
            law_of_x = law_of_x / law_of_x.sum()
        return total

    found = likelihood.evaluate(values)
    assert found.value == pytest.approx(exact(values), abs=1e-7)
    for index, step in enumerate(1e-4 * np.eye(3)):
        slope = (exact(values + step) - exact(values - step)) / 2e-4
        assert found.score[index] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def by_matrices(times: np.ndarray, seen: np.ndarray, error: float) -> float:
    """The same on messages up to 17 and proteins up to 54."""
    m, p = (part.ravel() for part in np.meshgrid(np.arange(18), np.arange(55), indexing="ij"))
    size, generator = len(m), np.zeros((len(m), len(m)))
    for dm, dp, rate in ((1, 0, 3.0 + 0 * m), (-1, 0, 1.0 * m), (0, 1, 2.0 * m), (0, -1, 0.5 * p)):
        inside = (m + dm >= 0) & (m + dm < 18) & (p + dp >= 0) & (p + dp < 55)
        here = np.flatnonzero(inside)
        generator[here + dm * 55 + dp, here] += rate[here]
        generator[np.arange(size), np.arange(size)] -= rate
    law, now, total, sparse = np.eye(size)[0], 0.0, 0.0, csc_array(generator)
    for time, value in zip(times, seen, strict=True):
        law, now = expm_multiply(sparse * (time - now), law), time
        if not np.isnan(value):
            law = law * (norm.pdf(value, p, error) if error else (p == value))
            total += np.log(law.sum())
            law = law / law.sum()
    return float(total)


def test_a_box_that_is_too_small_grows(expression: Problem) -> None:
    data = Trajectories(("P",), np.array([2.0]), np.array([[[4.0]]]), np.zeros((1, 1, 1)))
    likelihood = ProjectedPaths(expression, data)
    likelihood.prepare(np.array([0.3, 1.0, 2.0, 0.5]))
    small, later = len(likelihood.space), np.array([8.0, 1.0, 2.0, 0.5])
    assert likelihood.widen(later)
    while likelihood.widen(later):
        pass
    assert len(likelihood.space) > small
    assert not likelihood.widen(later)


def test_states_that_nothing_comes_to_are_left_out(expression: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where some trajectories and a margin suggest too wide a box, what is computed stays the same to 1e-8."""
    times, values = np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 1.0, 2.0, 0.5])
    seen = np.array([3.0, 6.0, 14.0, 4.0])
    data = Trajectories(("P",), times, seen[None, None], np.zeros((1, 1, 4)))
    tight, wide = ProjectedPaths(expression, data), ProjectedPaths(expression, data)
    bounds = np.array([0.0, 0.0]), np.array([40.0, 90.0])
    for likelihood in (tight, wide):
        monkeypatch.setattr(likelihood, "_sighted", lambda values: bounds)
    tight.prepare(values)
    monkeypatch.setattr(wide, "_tighten", lambda values, rough: None)
    wide.prepare(values)
    assert len(tight.space) < 0.5 * len(wide.space)
    assert tight.losses(values)[0] < 1e-8
    assert tight.evaluate(values).value == pytest.approx(wide.evaluate(values).value, abs=1e-8)
    assert tight.evaluate(values).value == pytest.approx(by_matrices(times, seen, 0.0), abs=1e-6)


def test_noise_below_0_makes_no_state_below_0(expression: Problem, prepared: Prepared) -> None:
    values = np.array([0.3, 1.0, 2.0, 0.5])
    seen = np.array([-1.3, -0.8, 1.0, -2.0])
    data = Trajectories(("P",), np.array([1.0, 2.0, 3.0, 4.0]), seen[None, None], np.full((1, 1, 4), 1.0))
    likelihood = ProjectedPaths(expression, data)
    prepared(likelihood, values)
    with likelihood.roughly(values):
        assert likelihood.space.states.min() == 0
        assert not likelihood.widen(values, rough=True)


def test_confidence_limits_need_fewer_states(expression: Problem, prepared: Prepared) -> None:
    """Next to the estimates, the value is the same to 1e-3; what was seen stays inside; then all is as before."""
    values = np.array([3.0, 1.0, 2.0, 0.5])
    seen = np.array([3.0, 6.0, 14.0, 4.0])
    data = Trajectories(("P",), np.array([1.0, 2.0, 3.0, 4.0]), seen[None, None], np.zeros((1, 1, 4)))
    likelihood = ProjectedPaths(expression, data)
    prepared(likelihood, values)
    states, value = len(likelihood.space), likelihood.evaluate(values).value
    with likelihood.roughly(values):
        assert len(likelihood.space) < 0.7 * states
        assert likelihood.space.states[:, 1].max() >= 14
        assert likelihood.evaluate(values).value == pytest.approx(value, abs=1e-3)
        while likelihood.widen(4 * values, rough=True):
            pass
    assert len(likelihood.space) == states
    assert likelihood.evaluate(values).value == value
    likelihood.limit = 10
    with pytest.raises(SimulationError, match="more than 10 states"), likelihood.roughly(values):
        pass
    likelihood.limit = 20_000
    likelihood.prepare(values)
    assert len(likelihood.space) == states


def test_too_many_states_are_refused(expression: Problem) -> None:
    data = Trajectories(("P",), np.array([2.0]), np.array([[[4.0]]]), np.zeros((1, 1, 1)))
    with pytest.raises(SimulationError, match="more than 50 states"):
        ProjectedPaths(expression, data, limit=50).prepare(np.array([3.0, 1.0, 2.0, 0.5]))


def test_what_cannot_be_has_no_likelihood(birth_death: Problem) -> None:
    data = Trajectories(("X",), np.array([0.0, 1.0]), np.array([[[5.0, 4.0]]]), np.zeros((1, 1, 2)))  # it starts from 3
    likelihood = ProjectedPaths(birth_death, data)
    likelihood.prepare(VALUES)
    assert likelihood.evaluate(VALUES).value == -np.inf


def test_predictions_are_of_the_next_number(birth_death: Problem, prepared: Prepared) -> None:
    data = Trajectories(("X",), np.array([1.0, 2.0]), np.array([[[6.0, 4.0]]]), np.full((1, 1, 2), 0.0))
    likelihood = ProjectedPaths(birth_death, data)
    prepared(likelihood, VALUES)
    expected, kept = likelihood.expected(VALUES), np.exp(-0.7)
    mean = np.array([3.0, 6.0]) * kept + 4.0 / 0.7 * (1 - kept)
    variance = np.array([3.0, 6.0]) * kept * (1 - kept) + 4.0 / 0.7 * (1 - kept)
    np.testing.assert_allclose(expected.predicted, mean, rtol=1e-6)
    np.testing.assert_allclose(expected.sd**2, variance, rtol=1e-5)
