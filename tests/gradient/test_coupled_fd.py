"""Coupled differences estimate the difference quotient, bias and all."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient.coupled_fd import CoupledDifferences
from sbmlgrad.gradient.estimator import Task
from sbmlgrad.gradient.observables import Moment
from sbmlgrad.gradient.problem import Problem, differentiable
from sbmlgrad.network import ReactionNetwork


def deaths() -> Problem:
    net = ReactionNetwork([[-1]], lambda x, p: jnp.stack([p["g"] * x[0]]), x0=[100], parameters={"g": 1.0})
    return differentiable(net, ["g"])


def test_the_quotient_of_large_steps() -> None:
    """Of 100 exp(-g t) at g t = 1 with steps of half of g: sinh(1/2) / (1/2) times the derivative."""
    result = CoupledDifferences(step=0.5).estimate(deaths(), Task([1.0], np.array([1.0]), 20_000, seed=1))
    slope, error = result.derivatives[0, 0, 0], result.stderr[0, 0, 0]
    assert abs(slope + 100 * np.exp(-1) * np.sinh(0.5) / 0.5) < 4.5 * error  # 7e-6
    assert abs(slope + 100 * np.exp(-1)) > 10 * error, "the bias of such a step shows"


def test_expectations_are_those_of_the_values_themselves() -> None:
    """Of births at 400: mean and variance are 400. The shift of 20 would add 400 to the variance of pairs.

    Within 4.5 standard errors (1e-5).
    """
    n, mean = 2000, 400.0
    births = ReactionNetwork([[1]], lambda x, p: jnp.stack([p["k"]]), x0=[0], parameters={"k": mean})
    problem = differentiable(births, ["k"], [Moment("X0"), Moment("X0", "X0")])
    values = CoupledDifferences().estimate(problem, Task([mean], np.array([1.0]), n, seed=2)).values[:, 0]
    assert abs(values[0] - mean) < 4.5 * np.sqrt(mean / n)
    assert abs(values[1] - values[0] ** 2 - mean) < 4.5 * np.sqrt(2 / n) * mean


def test_there_is_no_part_of_nothing() -> None:
    with pytest.raises(EstimatorError, match="'g' is 0"):
        CoupledDifferences().estimate(deaths(), Task([0.0], np.array([1.0]), 10, seed=1))
