"""Memories carried along trajectories, and derivatives at a fixed path."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import sbmlgrad as sg
from sbmlgrad.gradient.accumulator import Accumulator, Direct
from sbmlgrad.gradient.problem import Problem, differentiable
from sbmlgrad.network import ReactionNetwork


def problem() -> Problem:
    net = ReactionNetwork(
        [[1]], lambda x, p: jnp.stack([p["k"] + 0 * x[0]]), x0=[0], parameters={"k": 1.0}, species=("X",)
    )
    return differentiable(net, ["k"], ["X", sg.TimeAverage("X"), sg.FirstPassage("X", 5)])


def test_an_average_adds_up_and_a_passage_stays() -> None:
    accumulator = Accumulator(problem())
    assert accumulator.tracked == (1, 2)
    low, high = (jnp.array([2.0, 4.0]),), (jnp.array([6.0, 4.0]),)
    memory = accumulator.initial(low)
    for x, wait in ((low, 0.5), (high, 2.0), (low, 1.0)):
        memory = accumulator.advance(memory, x, jnp.full(2, wait), (1.0,))
    count, integral, passed = accumulator.record(memory, low, (1.0,))
    np.testing.assert_allclose(count, [2, 4])
    np.testing.assert_allclose(integral, [2 * 0.5 + 6 * 2 + 2 * 1, 4 * 3.5])
    np.testing.assert_allclose(passed, [1, 0])


def test_counts_have_no_direct_derivatives() -> None:
    direct = Direct(problem())
    assert direct.size(3) == 0
    assert direct.initial((jnp.zeros(2),), 3) == ()
