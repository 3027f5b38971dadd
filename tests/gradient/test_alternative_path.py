"""Alternative paths are unbiased where a reaction never fires, and refuse what they forget."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient.alternative_path import AlternativePath
from sbmlgrad.gradient.estimator import Task
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.network import ReactionNetwork


def births_and_deaths() -> ReactionNetwork:
    return ReactionNetwork(
        [[1, -1]], lambda x, p: jnp.stack([p["k"], p["g"] * x[0]]), x0=[0], parameters={"k": 0.0, "g": 0.5}
    )


def test_a_birth_that_never_happens_has_a_derivative() -> None:
    """E X = k/g (1 - exp(-g t)), at k = 0: no trajectory shows a birth, and that by g is exactly 0."""
    problem = differentiable(births_and_deaths(), ["k", "g"])
    result = AlternativePath().estimate(problem, Task([0.0, 0.5], np.array([2.0]), 20_000, seed=1))
    np.testing.assert_array_equal(result.values, 0.0)
    slope, error = result.derivatives[:, 0, 0], result.stderr[:, 0, 0]
    assert abs(slope[0] - (1 - np.exp(-1.0)) / 0.5) < 4.5 * error[0] < 0.2  # 7e-6
    assert slope[1] == 0.0


def test_products_with_an_earlier_time_are_refused() -> None:
    problem = differentiable(births_and_deaths(), ["k"], [sg.Autocorrelation("X0", 1.0)])
    with pytest.raises(EstimatorError, match="forgets what its alternative was at earlier times"):
        AlternativePath().estimate(problem, Task([1.0], np.array([2.0]), 10, seed=1))
