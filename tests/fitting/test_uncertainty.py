"""The parts of error bars and of the verdict, each against what is known."""

from __future__ import annotations

import numpy as np
import pytest

from sbmlgrad.fitting.uncertainty import _tails, covariance


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


def twin(jacobian: np.ndarray) -> np.ndarray:
    """Derivatives without noise: the same from both halves."""
    return np.stack([jacobian, jacobian])
