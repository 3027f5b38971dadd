"""Snapshots against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, poisson

from sbmlgrad.gradient.problem import Problem
from sbmlgrad.likelihood.cells import ProjectedCells
from sbmlgrad.likelihood.records import Snapshots

Prepared = Callable[[Any, np.ndarray], Any]
VALUES = np.array([4.0, 0.7])


def probability(count: int, time: float, k: float, g: float) -> float:
    kept, alive = np.exp(-g * time), np.arange(4)
    return float(np.sum(binom.pmf(alive, 3, kept) * poisson.pmf(count - alive, k / g * (1 - kept))))


def test_the_probability_of_each_cell(birth_death: Problem, prepared: Prepared) -> None:
    times, counts = np.array([0.5, 0.5, 0.5, 2.0, 2.0]), np.array([3, 3, 5, 9, 1])
    data = Snapshots.of(("X",), times, counts[:, None].astype(float))
    likelihood = ProjectedCells(birth_death, data)
    prepared(likelihood, VALUES)

    def exact(values: np.ndarray) -> float:
        return sum(np.log(probability(c, t, *values)) for c, t in zip(counts.tolist(), times.tolist(), strict=True))

    found = likelihood.evaluate(VALUES)
    assert found.value == pytest.approx(exact(VALUES), abs=1e-9)
    slopes = [(exact(VALUES + step) - exact(VALUES - step)) / 2e-5 for step in 1e-5 * np.eye(2)]
    np.testing.assert_allclose(found.score, slopes, rtol=1e-6)
    assert likelihood.size == 5


def test_hidden_and_uncounted_species_are_summed_over(expression: Problem, prepared: Prepared) -> None:
    values = np.array([3.0, 1.0, 2.0, 0.5])
    both = np.array([[2.0, 3.0], [2.0, np.nan], [np.nan, 3.0]])
    sizes = []
    for row in both:
        names = ("M", "P")
        one = ProjectedCells(expression, Snapshots.of(names, np.array([1.5]), row[None]))
        prepared(one, values)
        sizes.append(one.evaluate(values).value)
    every = ProjectedCells(expression, Snapshots.of(("M", "P"), np.full(3, 1.5), both))
    prepared(every, values)
    assert every.evaluate(values).value == pytest.approx(sum(sizes), abs=1e-7)
    messages = 3.0 * (1 - np.exp(-1.5))  # they are Poisson
    assert sizes[1] == pytest.approx(poisson.logpmf(2, messages), abs=1e-7)


def test_expected_moments(birth_death: Problem, prepared: Prepared) -> None:
    data = Snapshots.of(("X",), np.full(4, 2.0), np.array([[5.0], [6.0], [4.0], [7.0]]))
    likelihood = ProjectedCells(birth_death, data)
    prepared(likelihood, VALUES)
    expected, kept = likelihood.expected(VALUES), np.exp(-1.4)
    mean = 3 * kept + 4 / 0.7 * (1 - kept)
    variance = 3 * kept * (1 - kept) + 4 / 0.7 * (1 - kept)
    assert expected.statistic.tolist() == ["mean", "sd"]
    np.testing.assert_allclose(expected.measured, [5.5, np.std([4, 5, 6, 7], ddof=1)])
    np.testing.assert_allclose(expected.predicted, [mean, np.sqrt(variance)], rtol=1e-6)
    assert expected.sd[0] == pytest.approx(np.sqrt(variance / 4), rel=1e-6)
