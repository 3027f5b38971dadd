"""Snapshots against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, poisson

import sbmlgrad as sg
from sbmlgrad.gradient.problem import Problem, differentiable
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


def test_what_is_measured_far_from_what_is_expected_stays_possible() -> None:
    """Of 60 that turn over at equal rates each way, 2 on one side: so many on the other are next to never expected."""
    network = sg.ReactionNetwork(
        [[-1, 1], [1, -1]],
        lambda x, p: (p["a"] * x[0], p["b"] * x[1]),
        [30, 30],
        {"a": 1.0, "b": 1.0},
        species=("A", "B"),
    )
    counts, values = np.array([2.0, 30.0]), np.array([1.0, 1.0])
    likelihood = ProjectedCells(
        differentiable(network, ["a", "b"]), Snapshots.of(("A",), np.full(2, 8.0), counts[:, None])
    )
    likelihood.prepare(values)
    exact = binom.logpmf(counts, 60, 0.5).sum()
    assert likelihood.evaluate(values).value == pytest.approx(exact, abs=1e-5)
    with likelihood.roughly(values):
        assert likelihood.evaluate(values).value == pytest.approx(exact, abs=0.1)


def test_what_comes_and_goes_before_it_is_looked_at() -> None:
    """Of 20 A that become X, which is lost, hardly any is left: but on the way there the box of X has to grow."""
    network = sg.ReactionNetwork(
        [[-1, 0], [1, -1]],
        lambda x, p: (p["a"] * x[0], p["b"] * x[1]),
        [20, 0],
        {"a": 10.0, "b": 5.0},
        species=("A", "X"),
    )
    values = np.array([10.0, 5.0])
    likelihood = ProjectedCells(
        differentiable(network, ["a", "b"]), Snapshots.of(("X",), np.array([2.0]), np.array([[0.0]]))
    )
    likelihood.prepare(values)
    assert likelihood.losses(values)[0] > 0.5
    rounds = 0
    while rounds < 10 and likelihood.widen(values):
        rounds += 1
    left = 2 * (np.exp(-10.0) - np.exp(-20.0))
    assert rounds < 10
    assert likelihood.evaluate(values).value == pytest.approx(20 * np.log1p(-left), abs=1e-7)
