"""The parts of error bars and of the verdict, each against what is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sbmlgrad.fitting.loss import target
from sbmlgrad.fitting.noise import observed, smoothed
from sbmlgrad.fitting.parameters import choose
from sbmlgrad.fitting.uncertainty import _tails, covariance
from sbmlgrad.tables.measurements import read_measurements


def test_replicates_become_means_with_what_they_share() -> None:
    table = pd.DataFrame(
        {"replicate": [1, 1, 2, 2, 3], "time": [0, 1, 0, 1, 0], "A": [1.0, 2, 3, 6, 5], "B": [7, np.nan, 9, 8, np.nan]}
    )
    aim = target(read_measurements(table))
    assert aim.value.tolist() == [3, 4, 8, 8]  # A at 0 and 1, then B
    assert aim.replicates.tolist() == [3, 2, 2, 1]
    assert aim.scatter[:3].tolist() == [4, 8, 2]
    assert np.isnan(aim.scatter[3])
    shared = [[1 / 3, 2 / 6, 2 / 6, 1 / 3], [2 / 6, 1 / 2, 2 / 4, 1 / 2], [2 / 6, 2 / 4, 1 / 2, 1 / 2]]
    assert aim.shared[:3] == pytest.approx(np.array(shared))


def test_the_sandwich_is_that_of_linear_regression() -> None:
    """With independent errors of one size, (J^T J)^-1; and infinite where two columns are the same."""
    jacobian = np.random.default_rng(1).normal(size=(30, 3))
    assert covariance(np.eye(30), twin(jacobian)) == pytest.approx(np.linalg.inv(jacobian.T @ jacobian))
    twice = np.column_stack([jacobian, jacobian[:, 0]])
    assert np.isinf(np.diag(covariance(np.eye(30), twin(twice)))).tolist() == [True, False, False, True]
    # a rate near 0 moves nothing on a logarithmic scale, and still shares its error
    scaled = jacobian * [1, 1, 1e-200]
    whole = covariance(np.eye(30), twin(jacobian))
    assert np.diag(covariance(np.eye(30), twin(scaled)))[:2] == pytest.approx(np.diag(whole)[:2])


def test_noise_of_derivatives_is_not_taken_for_something_seen() -> None:
    """Two columns that are the same but for noise are undetermined; noise elsewhere leaves the error what it is."""
    random = np.random.default_rng(3)
    column = np.ones((30, 1))
    noise = 0.2 * random.normal(size=(2, 30, 2))
    assert np.all(np.isinf(np.diag(covariance(np.eye(30), np.hstack([column, column]) + noise))))
    exact = random.normal(size=(30, 2))
    variances = [np.diag(covariance(np.eye(30), exact + 0.5 * random.normal(size=(2, 30, 2)))) for _ in range(500)]
    # the square of the mean's noise alone would make the variances 0.5^2 / 2 = 12 % too small
    assert np.median(variances, axis=0) == pytest.approx(np.diag(np.linalg.inv(exact.T @ exact)), rel=0.06)


def test_tails_of_sums_of_squares() -> None:
    """Against a million draws; probabilities of 1e-3 above within a factor of 2, and below never taken for less."""
    index = np.arange(20)
    correlated = 0.8 ** np.abs(index[:, None] - index[None, :])
    random = np.random.default_rng(2)
    sums = np.square(random.normal(size=(1_000_000, 20))) @ np.linalg.eigvalsh(correlated)
    high, low = np.quantile(sums, [0.999, 0.001])
    assert 0.5e-3 < _tails(correlated, high)[0] < 2e-3
    assert _tails(correlated, low)[1] > 1e-3


def test_variances_are_smoothed_without_a_negative_term() -> None:
    level = np.linspace(0, 20, 30)
    actual = smoothed(level, 2 + 0.5 * level)(np.array([0.0, 10.0, 100.0]))
    assert actual == pytest.approx([2, 7, 52], rel=1e-6)
    assert np.all(smoothed(level, np.maximum(5 - level, 0))(level) >= 0)


def test_scatter_between_replicates_adds_to_what_is_predicted() -> None:
    """Numbers of variance 4 where 1 is predicted, without correlation in time; and nothing where chance explains it."""
    random = np.random.default_rng(3)
    for sd, expected in ((2.0, 4.0), (1.0, 1.0)):
        values = random.normal(10, sd, (50, 20))
        label, time = np.repeat(np.arange(50), 20), np.tile(np.arange(20), 50)
        aim = target(read_measurements(pd.DataFrame({"replicate": label, "time": time, "A": values.ravel()})))
        one, floored, scatter = observed(aim, np.eye(20), np.full(20, 10.0))
        assert np.diag(one) == pytest.approx(np.full(20, expected), rel=0.15)
        assert not floored.any()
        assert scatter == pytest.approx(expected, rel=0.15)


def test_errors_of_logarithms_become_errors_of_values() -> None:
    chosen = choose({"a": None, "b": (-5.0, 5.0)}, {"a": 2.0, "b": -1.0}, {}, "model")
    values = np.array([2.0, -1.0])
    assert chosen.stderr(values, np.array([0.01, 0.01])) == pytest.approx([0.02, 0.01], rel=1e-4)
    assert chosen.stderr(values, np.array([1.5, 0.5])) == pytest.approx([2 * 1.5 * np.exp(1.5**2 / 2), 0.5])
    assert np.isinf(chosen.stderr(values, np.array([np.inf, np.inf]))).all()


def twin(jacobian: np.ndarray) -> np.ndarray:
    """Derivatives without noise: the same from both halves."""
    return np.stack([jacobian, jacobian])
