"""The generator window: of births at a constant rate it sees those in it, exactly."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient.estimator import Task
from sbmlgrad.gradient.problem import Problem, differentiable
from sbmlgrad.gradient.straight_through import StraightThrough
from sbmlgrad.network import ReactionNetwork


def births(*functions: sg.Observable) -> Problem:
    net = ReactionNetwork([[1]], lambda x, p: jnp.stack([p["k"] + 0 * x[0]]), x0=[0], parameters={"k": 2.0})
    return differentiable(net, ["k"], functions or None)


@pytest.mark.parametrize(("window", "exact"), [(2.0, 2.0), (math.inf, 5.0), (None, 5.0)])
def test_births_in_the_window_are_seen_without_noise(window: float | None, exact: float) -> None:
    result = StraightThrough(window).estimate(births(), Task([2.0], np.array([5.0]), 200, seed=1))
    assert result.derivatives[0, 0, 0] == pytest.approx(exact, rel=1e-12)
    assert result.stderr[0, 0, 0] < 1e-12


def test_a_first_passage_has_no_generator() -> None:
    problem = births(sg.FirstPassage("X0", 3))
    with pytest.raises(EstimatorError, match="which no generator window sees"):
        StraightThrough().estimate(problem, Task([2.0], np.array([5.0]), 10, seed=1))
