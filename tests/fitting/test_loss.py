"""What is compared with what, and in which units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sbmlgrad.fitting.loss import Target, target
from sbmlgrad.fitting.optimise import Descent
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


def test_sds_of_few_cells_are_smaller_in_the_mean() -> None:
    """Of 50 cells in bursts (gamma, kurtosis 9) an sd is 2 % smaller than that of all cells; simulated sds of few
    trajectories, too, and less so where control variates make up for more."""
    random, n, all_of_them = np.random.default_rng(3), 50, np.sqrt(1.0)
    seen = random.gamma(1.0, 1.0, (400_000, n)).std(axis=1, ddof=1).mean()
    cells = random.gamma(1.0, 1.0, 400_000)[None, None]
    table = pd.DataFrame({"time": [1.0], "A-mean": [1.0], "A-sd": [1.0], "A-n": [n]})
    aim = target(*read_measurements(table))
    aim = replace(aim, blur=aim.blurred(cells, np.square(aim.influence(cells)).mean(axis=1)))
    exact = replace(estimate(1.0, 2.0), values_sd=np.array([[1.0], [np.sqrt(20.0)]]))
    assert seen < 0.99 * all_of_them
    assert aim.predicted(exact).tolist()[0] == 1.0
    assert aim.predicted(exact)[1] == pytest.approx(seen, abs=0.003)  # to second order
    for more in (1.0, 4.0):  # times the trajectories
        error = np.array([[0.0], [np.sqrt(20.0 / (more * exact.n))]])
        drawn = replace(exact, values_stderr=error)
        gained = aim.predicted(drawn)[1] - aim.predicted(exact)[1]
        assert gained == pytest.approx(aim.blur[1] / (more * exact.n), rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 50])
def test_sds_of_few_cells_are_above_0_whatever_the_cells_are_like(n: int) -> None:
    """Of cells in large bursts (kurtosis 23) the first order alone would be below 0, or half of what it is."""
    random = np.random.default_rng(4)
    seen = random.negative_binomial(0.3, 0.03, (100_000, n)).std(axis=1, ddof=1).mean()
    cells = random.negative_binomial(0.3, 0.03, 400_000).astype(float)[None, None]
    table = pd.DataFrame({"time": [1.0], "A-mean": [10.0], "A-sd": [20.0], "A-n": [n]})
    aim = target(*read_measurements(table))
    aim = replace(aim, blur=aim.blurred(cells, np.square(aim.influence(cells)).mean(axis=1)))
    assert cells.std() - aim.blur[1] / n == pytest.approx(seen, rel=0.12)


def test_a_new_blur_moves_residuals_as_the_prediction() -> None:
    table = pd.DataFrame({"time": [1.0], "A-mean": [5.0], "A-sd": [2.0], "A-n": [10]})
    descent, moments = Descent(np.zeros(1), target=target(*read_measurements(table))), estimate(7.0, 58.0)
    descent.residuals, descent.jacobians = descent.target.residuals(moments), np.ones((2, 2, 1))
    descent.evaluations = 1
    descent.reweight(np.array([0.5, 0.25]), np.array([0.0, 3.0]))
    np.testing.assert_allclose(descent.residuals, descent.target.residuals(moments))
    np.testing.assert_allclose(descent.residuals, [2 / 0.5, (3 - 0.3 - 2) / 0.25])
