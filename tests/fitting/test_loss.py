"""What is compared with what, and in which units."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sbmlgrad.fitting.loss import Target, target
from sbmlgrad.gradient.estimator import Estimate
from sbmlgrad.tables.measurements import read_measurements


def test_replicates_become_means_with_what_they_share() -> None:
    table = pd.DataFrame(
        {"replicate": [1, 1, 2, 2, 3], "time": [0, 1, 0, 1, 0], "A": [1.0, 2, 3, 6, 5], "B": [7, np.nan, 9, 8, np.nan]}
    )
    aim = target(*read_measurements(table))
    assert aim.value.tolist() == [3, 4, 8, 8]  # A at 0 and 1, then B
    assert aim.replicates.tolist() == [3, 2, 2, 1]
    assert aim.scatter[:3].tolist() == [4, 8, 2]
    assert np.isnan(aim.scatter[3])
    shared = [[1 / 3, 2 / 6, 2 / 6, 1 / 3], [2 / 6, 1 / 2, 2 / 4, 1 / 2], [2 / 6, 2 / 4, 1 / 2, 1 / 2]]
    assert aim.shared[:3] == pytest.approx(np.array(shared))


def mean_and_sd() -> Target:
    """A mean of 5 and an sd of 2 measured at one time."""
    return target(*read_measurements(pd.DataFrame({"time": [1.0], "A-mean": [5.0], "A-sd": [2.0]})))


def estimate(mean: float, square: float, stderr: float = 0.0, slopes: tuple[float, float] = (0.0, 0.0)) -> Estimate:
    values = np.array([[mean], [square]])
    errors = np.array([[stderr], [0.0]])
    return Estimate(values, errors, np.array([[[slopes[0]], [slopes[1]]]]), np.zeros((1, 2, 1)), 10, values * 0)


def test_residuals_are_in_units_of_the_error() -> None:
    """E A = 7, E A^2 = 58: the sd is 3; that of the square of a noisy mean is corrected."""
    aim = mean_and_sd()
    assert aim.squares
    assert [aim.column(number) for number in range(2)] == ["A-mean", "A-sd"]
    residuals = aim.residuals(estimate(7.0, 58.0)) * aim.error
    np.testing.assert_allclose(residuals, [7 - 5, 3 - 2])
    np.testing.assert_allclose(aim.predicted(estimate(7.0, 58.0, stderr=0.5)), [7, np.sqrt(9.25)])


def test_the_derivative_of_an_sd() -> None:
    """d sd = (d E A^2 - 2 E A d E A) / (2 sd)."""
    jacobian = mean_and_sd().jacobian(estimate(7.0, 58.0, slopes=(0.5, 10.0)))
    np.testing.assert_allclose(jacobian[:, 0], [0.5, (10 - 2 * 7 * 0.5) / 6])


def test_the_covariance_of_influences_is_that_of_the_moments() -> None:
    """Of a normal variable: variance s^2 of the mean, s^2 / 2 of the sd, and nothing between them."""
    cells = np.random.default_rng(1).normal(5.0, 2.0, 100_000)
    influence = mean_and_sd().influence(cells[None, None])
    np.testing.assert_allclose(influence @ influence.T / 100_000, [[4.0, 0.0], [0.0, 2.0]], atol=0.06)


def test_nothing_varies_less_than_a_part_of_the_largest() -> None:
    table = pd.DataFrame({"time": [0.0, 1.0], "A": [0.0, 10.0]})
    aim = target(*read_measurements(table))
    np.testing.assert_allclose(aim.floor(np.array([0.0, 4.0])), [0.03**2 * 4] * 2)
    np.testing.assert_allclose(aim.floor(np.zeros(2)), [0.03**2 * 100] * 2)
