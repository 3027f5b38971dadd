"""What the estimator as published does not see: how many reactions come before the observation."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from sbmlgrad.gradient.estimator import Task
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.gradient.straight_through_plain import StraightThroughPlain
from sbmlgrad.network import ReactionNetwork


def test_births_at_a_constant_rate_have_no_derivative() -> None:
    """That of k t is t; nothing is chosen, and so nothing is relaxed."""
    net = ReactionNetwork([[1]], lambda x, p: jnp.stack([p["k"] + 0 * x[0]]), x0=[0], parameters={"k": 2.0})
    result = StraightThroughPlain().estimate(differentiable(net, ["k"]), Task([2.0], np.array([5.0]), 2000, seed=1))
    assert abs(result.values[0, 0] - 10) < 4.5 * result.values_stderr[0, 0]
    assert result.derivatives[0, 0, 0] == result.stderr[0, 0, 0] == 0.0


def test_a_choice_is_seen_where_it_decides() -> None:
    """Of one molecule that turns to B or C at k1 and k2, B in the end: k2 / (k1 + k2)^2, up to its temperature."""
    net = ReactionNetwork(
        [[-1, -1], [1, 0], [0, 1]],
        lambda x, p: jnp.stack([p["k1"] * x[0], p["k2"] * x[0]]),
        x0=[1, 0, 0],
        parameters={"k1": 1.0, "k2": 3.0},
        species=("A", "B", "C"),
    )
    problem = differentiable(net, ["k1"], ["B"])
    result = StraightThroughPlain(temperature=1.0).estimate(problem, Task([1.0], np.array([50.0]), 20_000, seed=1))
    # softmax of log a + Gumbel noise g at temperature 1: E p (1 - p) / k1, here by numpy
    random = np.random.default_rng(2)
    weights = np.array([1.0, 3.0]) * np.exp(random.gumbel(size=(400_000, 2)))
    share = weights[:, 0] / weights.sum(axis=1)
    assert abs(result.derivatives[0, 0, 0] - np.mean(share * (1 - share))) < 4.5 * result.stderr[0, 0, 0] + 1e-3
