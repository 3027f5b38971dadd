"""Rosenbrock steps where explicit ones fail: stiff equations, and derivatives through a step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.linalg import expm

from sbmlgrad.simulation.rosenbrock import rosenbrock_step


def test_a_stiff_linear_system_is_followed_with_large_steps() -> None:
    """Rates of 1 and 1e8: steps of 0.1 follow the slow part with order 5, and the fast part is gone after a step."""
    turn = np.array([[1.0, 1.0], [-1.0, 1.0]])
    matrix = turn @ np.diag([-1.0, -1e8]) @ np.linalg.inv(turn)

    def flow(time: Array, state: Array) -> Array:
        return jnp.asarray(matrix) @ state

    step = jax.jit(lambda y: rosenbrock_step(flow, jnp.float64(0), jnp.float64(0.1), y)[0])
    state = jnp.array([2.0, 0.5])
    for _ in range(10):
        state = step(state)
    np.testing.assert_allclose(state, expm(matrix) @ [2.0, 0.5], rtol=1e-7)


def test_a_forced_stiff_equation_returns_to_its_course() -> None:
    """Prothero and Robinson's y' = -k (y - cos t) - sin t, from off its course and with steps of a million lives."""

    def flow(time: Array, state: Array) -> Array:
        return -1e7 * (state - jnp.cos(time)) - jnp.sin(time)

    step = jax.jit(lambda t, y: rosenbrock_step(flow, t, jnp.float64(0.1), y)[0])
    state = jnp.array([3.0])
    for index in range(20):
        state = step(jnp.float64(0.1 * index), state)
    np.testing.assert_allclose(state, np.cos(2.0), rtol=1e-6)


def test_a_root_at_zero_has_no_slope_and_yet_a_step() -> None:
    flow_at = rosenbrock_step(lambda t, y: jnp.sqrt(y) + 1.0, jnp.float64(0), jnp.float64(1e-3), jnp.zeros(1))
    assert np.isfinite(flow_at[0]).all()
    # y' = sqrt(y) + 1 begins as t + 2/3 t**1.5
    np.testing.assert_allclose(flow_at[0], 1e-3 + 2 / 3 * 1e-3**1.5, rtol=0.02)


def test_nothing_may_flow() -> None:
    end, error, dense, *_ = rosenbrock_step(lambda t, y: y, jnp.float64(0), jnp.float64(0.1), jnp.zeros(0))
    assert end.shape == error.shape == dense(jnp.float64(0.5)).shape == (0,)


def test_derivatives_through_a_step() -> None:
    """By rate, start and size of the step, against differences."""

    @jax.jit
    def end(parameters: Array) -> Array:
        rate, start, size = parameters

        def flow(time: Array, state: Array) -> Array:
            eaten = rate * state[0] * state[1]
            return jnp.stack([-eaten, eaten - jnp.cos(time) * state[1]])

        return rosenbrock_step(flow, jnp.float64(0.3), size, jnp.stack([start, jnp.float64(0.7)]))[0]

    index, small = np.array([1.3, 2.0, 0.2]), 1e-5
    actual = jax.jit(jax.jacfwd(end))(jnp.asarray(index))
    differences = [(end(index + d) - end(index - d)) / (2 * small) for d in small * np.eye(3)]
    np.testing.assert_allclose(actual, np.array(differences).T, rtol=1e-7, atol=1e-9)


def test_what_is_absent_stays_absent() -> None:
    """Two that only make each other, from a resource: 0 is 0 after each step, though elimination would pivot there."""

    def flow(time: Array, state: Array) -> Array:
        first, resource, second, waste = state
        product = 1e4 * resource * second
        return jnp.stack(
            [product - first, 1.0 - product - resource, 1e4 * resource * first - second, resource + product - waste]
        )

    step = jax.jit(lambda y: rosenbrock_step(flow, jnp.float64(0), jnp.float64(0.1), y)[0])
    state = jnp.array([0.0, 3.0, 0.0, 1.0])
    for _ in range(20):
        state = step(state)
    assert state[0] == state[2] == 0.0
    np.testing.assert_allclose(state[1], 1.0 + 2.0 * np.exp(-2.0), rtol=1e-6)


def test_slopes_that_are_known_are_used() -> None:
    matrix = np.array([[-2.0, 1.0], [1.0, -3.0]])

    def flow(time: Array, state: Array) -> Array:
        return jnp.asarray(matrix) @ state + time

    start = (jnp.float64(0.2), jnp.float64(0.1), jnp.array([1.0, 2.0]))
    own = rosenbrock_step(flow, *start)[0]
    given = rosenbrock_step(flow, *start, lambda t, y: (jnp.asarray(matrix), jnp.ones(2)))[0]
    np.testing.assert_allclose(given, own, rtol=1e-14)
