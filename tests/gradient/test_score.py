"""The score function, where it is known in closed form: births at a constant rate, deaths of a few."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import EstimatorError
from sbmlgrad.gradient.estimator import Task
from sbmlgrad.gradient.problem import Problem, differentiable
from sbmlgrad.gradient.score import Score, mean_of_others, score_gain
from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.ssa import Step

ALARM = 4.5  # standard errors: 7e-6 for each comparison


def births(rate: float = 2.0) -> Problem:
    net = ReactionNetwork([[1]], lambda x, p: jnp.stack([p["k"] + 0 * x[0]]), x0=[0], parameters={"k": rate})
    return differentiable(net, ["k"])


@pytest.mark.parametrize(("window", "exact"), [(None, 5.0), (2.0, 2.0), (9.0, 5.0)])
def test_a_window_sees_the_births_in_it(window: float | None, exact: float) -> None:
    """With N births in the last w before t, the score is N/k - w, and its covariance with X is w."""
    result = Score(window).estimate(births(), Task([2.0], np.array([5.0]), 20_000, seed=1))
    assert abs(result.derivatives[0, 0, 0] - exact) < ALARM * result.stderr[0, 0, 0] < 0.3
    assert Score(window).unbiased == (window is None)


def test_a_step_adds_what_fired_less_what_might_have() -> None:
    """d log a_j of the reaction that fires, less the wait times the derivative of the sum."""
    two, three = jnp.full(2, 2.0), jnp.full(2, 3.0)
    step = Step(
        x=(two,),
        propensities=(two, three),
        total=two + three,
        wait=jnp.array([0.5, 0.25]),
        fires=jnp.array([True, False]),
        reaction=jnp.array([0.0, 2.0], jnp.float32),  # none fires in the second trajectory
        uniform=jnp.zeros(2),
        coefficients=(),
    )
    (gain,) = score_gain(step, [[jnp.full(2, 1.0), jnp.full(2, 4.0)]])
    np.testing.assert_allclose(gain, [1 / 2 - 0.5 * 5, -0.25 * 5])


def test_a_mean_is_that_of_the_others() -> None:
    np.testing.assert_allclose(mean_of_others(np.array([1.0, 2.0, 3.0, 6.0])), [11 / 3, 10 / 3, 3, 2])


def test_a_reaction_that_is_switched_off_teaches_nothing() -> None:
    with pytest.raises(EstimatorError, match="'k' at its value switches"):
        Score().estimate(births(), Task([0.0], np.array([1.0]), 10, seed=1))


def test_a_leak_at_0_is_refused_where_nothing_else_is_there(model: Callable[..., sg.Model]) -> None:
    """Only where there is neither P nor Q is the law 0."""
    species = {"M": {"amount": 0}, "P": {"amount": 0}, "Q": {"amount": 0}}
    law = "leak + P^2 / (4 + P^2) + Q^2 / (4 + Q^2)"
    reactions = {"make": ("-> M", law), "one": ("M -> P", "M"), "other": ("M -> Q", "M")}
    system = model(species, reactions, {"leak": 0.0})
    with pytest.raises(EstimatorError, match="'leak' at its value switches 'make' off"):
        sg.sensitivity(system, [1.0], ["leak"], n=8, estimator="score")
