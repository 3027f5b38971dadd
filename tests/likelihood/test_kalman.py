"""The linear noise approximation, which is exact in its means and covariances for linear networks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import norm

from sbmlgrad.gradient.problem import Problem
from sbmlgrad.likelihood.kalman import LinearNoisePaths
from sbmlgrad.likelihood.records import Trajectories

VALUES = np.array([4.0, 0.7])


def test_steps_of_birth_and_death(birth_death: Problem) -> None:
    times, row = np.array([0.0, 0.5, 1.1, 3.0]), np.array([3.0, 4.0, 2.0, 7.0])
    likelihood = LinearNoisePaths(birth_death, Trajectories(("X",), times, row[None, None], np.zeros((1, 1, 4))))

    def exact(values: np.ndarray) -> float:
        k, g = values
        total = 0.0
        for begin, end, span in zip(row, row[1:], np.diff(times), strict=False):
            kept = np.exp(-g * span)
            mean, variance = begin * kept + k / g * (1 - kept), begin * kept * (1 - kept) + k / g * (1 - kept)
            total += norm.logpdf(end, mean, np.sqrt(variance))
        return total

    found = likelihood.evaluate(VALUES)
    assert found.value == pytest.approx(exact(VALUES), abs=1e-5)
    slopes = [(exact(VALUES + step) - exact(VALUES - step)) / 2e-5 for step in 1e-5 * np.eye(2)]
    np.testing.assert_allclose(found.score, slopes, rtol=1e-4)


def test_a_hidden_species_with_noise(expression: Problem) -> None:
    """Proteins at two times, by the moment equations of the linear network, solved by scipy and begun anew."""
    k, d, b, g = 3.0, 1.0, 2.0, 0.5
    row, error = np.array([5.0, 8.0]), 1.2

    def change(_: float, state: np.ndarray) -> list[float]:
        m, p, mm, mp, pp = state
        spread = [k + d * m - 2 * d * mm, b * mm - (d + g) * mp, b * m + g * p + 2 * (b * mp - g * pp)]
        return [k - d * m, b * m - g * p, *spread]

    state, exact = np.zeros(5), 0.0
    for value in row:
        m, p, mm, mp, pp = solve_ivp(change, (0, 1), state, rtol=1e-9, atol=1e-9).y[:, -1]
        variance = pp + error**2
        exact += norm.logpdf(value, p, np.sqrt(variance))
        off, gain = value - p, np.array([mp, pp]) / variance
        state = np.array(
            [m + gain[0] * off, p + gain[1] * off, mm - gain[0] * mp, mp - gain[0] * pp, pp - gain[1] * pp]
        )
    data = Trajectories(("P",), np.array([1.0, 2.0]), row[None, None], np.full((1, 1, 2), error**2))
    found = LinearNoisePaths(expression, data).evaluate(np.array([k, d, b, g]))
    assert found.value == pytest.approx(exact, abs=1e-4)
