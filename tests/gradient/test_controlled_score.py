"""The controls take nearly all noise where martingales of the count explain it."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from sbmlgrad.gradient.controlled_score import ControlledScore
from sbmlgrad.gradient.estimator import Task
from sbmlgrad.gradient.problem import differentiable
from sbmlgrad.gradient.score import Score
from sbmlgrad.network import ReactionNetwork


def test_births_and_deaths_are_nearly_without_noise() -> None:
    """E X = k/g (1 - exp(-g t)): the derivative, its error, and that of the plain score for the same trajectories."""
    net = ReactionNetwork(
        [[1, -1]], lambda x, p: jnp.stack([p["k"], p["g"] * x[0]]), x0=[0], parameters={"k": 10.0, "g": 1.0}
    )
    problem, task = differentiable(net, ["k", "g"]), Task([10.0, 1.0], np.array([1.0]), 20_000, seed=1)
    controlled, plain = ControlledScore().estimate(problem, task), Score().estimate(problem, task)
    exact = np.array([1 - np.exp(-1.0), 10 * (2 * np.exp(-1.0) - 1)])
    off = np.abs(controlled.derivatives[:, 0, 0] - exact)
    assert np.all(off < 4.5 * controlled.stderr[:, 0, 0]), off  # 7e-6 each
    assert np.all(controlled.stderr < plain.stderr / 5)
    assert controlled.effective_size > 20 * task.n, "the mean itself is controlled, too"
