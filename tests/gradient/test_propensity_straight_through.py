"""Mean jumps straight through: what they are exact for, and what none of the surrogates of a state can know."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from sbmlgrad.gradient.catalogue import ESTIMATORS, named_estimator
from sbmlgrad.gradient.estimator import Estimate, Task
from sbmlgrad.gradient.observables import Expectation
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.network import ReactionNetwork


@cache
def fork() -> ReactionNetwork:
    """One molecule that turns to B or C."""
    return ReactionNetwork(
        [[-1, -1], [1, 0], [0, 1]],
        lambda x, p: jnp.stack([p["k1"] * x[0], p["k2"] * x[0]]),
        x0=[1, 0, 0],
        parameters={"k1": 1.0, "k2": 3.0},
        species=("A", "B", "C"),
    )


def test_the_mean_of_one_step_has_its_exact_derivative_in_each_trajectory() -> None:
    """B in the end is k1 / (k1 + k2) on average; by k1 that is k2 / (k1 + k2)^2, with no noise at all."""
    problem = differentiable(fork(), ["k1"], ["B", "C"])
    result = named_estimator("propensity_straight_through").estimate(
        problem, Task([1.0], np.array([50.0]), 500, seed=1)
    )
    np.testing.assert_allclose(result.derivatives[0, :, 0], [3 / 16, -3 / 16], rtol=1e-12)
    assert np.all(result.stderr[0, :, 0] < 1e-12)


def test_births_at_a_constant_rate_have_no_derivative() -> None:
    """That of k t is t; which reaction fires is certain, and when does not matter to the count."""
    net = ReactionNetwork([[1]], lambda x, p: jnp.stack([p["k"] + 0 * x[0]]), x0=[0], parameters={"k": 2.0})
    problem = differentiable(net, ["k"])
    result = named_estimator("propensity_straight_through").estimate(problem, Task([2.0], np.array([5.0]), 500, seed=1))
    assert result.derivatives[0, 0, 0] == result.stderr[0, 0, 0] == 0.0


def continued(wave: float) -> Callable[[Any], Any]:
    """x between the integers: at the integers it is x whatever ``wave`` is, and its slope there is 1 + wave."""
    return lambda x: x + wave * jnp.sin(2 * jnp.pi * x) / (2 * jnp.pi)


SURROGATES = ("straight_through_plain", "propensity_straight_through")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_loss_is_known_at_integers_only(name: str) -> None:
    """d E f(B) / d k1 is positive. Surrogates of the state take the slope of a continuation, and with it the sign.

    The generator takes differences of f between states, and its window reaches the start here, where nothing moves.
    """

    def estimate(wave: float) -> Estimate:
        problem = differentiable(fork(), ["k1"], [Expectation(("B",), continued(wave))])
        return named_estimator(name).estimate(problem, Task([1.0], np.array([0.5]), 4000, seed=2))

    straight, waved = estimate(0.0), estimate(-3.0)
    assert abs(waved.values[0, 0] - straight.values[0, 0]) < 1e-12
    slope, other = float(straight.derivatives[0, 0, 0]), float(waved.derivatives[0, 0, 0])
    assert slope > 5 * float(straight.stderr[0, 0, 0])
    if name in SURROGATES:
        assert other == pytest.approx(-2 * slope, rel=1e-9)
    else:
        assert other == pytest.approx(slope, rel=1e-6)
