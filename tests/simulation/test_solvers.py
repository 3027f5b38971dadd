"""Steps of all methods: their orders, their estimates of the error, and the way between the ends of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import sbmlgrad as sg
from sbmlgrad.simulation.rosenbrock import Flow, Slopes, Step
from sbmlgrad.simulation.solvers import DormandPrince, Euler, Rosenbrock, Solver, step_without_noise

FRACTIONS = (0.25, 0.6, 0.85)


def flow(time: Array, state: Array) -> Array:
    """Two coupled equations, not linear and dependent on time, whose solution is :func:`exact`."""
    a, b = state[0], state[1]
    lost = jnp.log(b) - jnp.sin(2 * time)  # 0 on the solution, but not its slopes
    return jnp.stack([a * a * jnp.cos(time) + lost, 2 * jnp.cos(2 * time) * b + b * (a * (2 - jnp.sin(time)) - 1)])


def exact(time: float) -> np.ndarray:
    return np.array([1 / (2 - np.sin(time)), np.exp(np.sin(2 * time))])


@dataclass(frozen=True)
class BogackiShampine:
    """A solver handed in: the pair of orders 3 and 2 (P. Bogacki, L. F. Shampine, Appl. Math. Lett. 2:321, 1989)."""

    order: float = 3
    is_exact: bool = False

    def step(self, flow: Flow, time: Array, step: Array, state: Array, slopes: Slopes | None) -> Step:
        first = flow(time, state)
        second = flow(time + step / 2, state + step / 2 * first)
        third = flow(time + 3 * step / 4, state + 3 * step / 4 * second)
        after = state + step * (2 * first + 3 * second + 4 * third) / 9
        last = flow(time + step, after)
        error = step * (-5 * first / 72 + second / 12 + third / 9 - last / 8)

        def dense(part: Array) -> Array:  # the cubic through both ends
            change = after - state
            begin, end = step * first - change, change - step * last
            return state + part * (change + (1 - part) * (begin + part * (end - begin)))

        return step_without_noise(after, error, dense, step)


SOLVERS: list[Solver] = [Rosenbrock(), DormandPrince(), Euler()]
WITH_ERRORS = [*SOLVERS[:2], BogackiShampine()]


def named(solver: Solver) -> str:
    return type(solver).__name__


def stepper(solver: Solver, flow: Any = flow) -> Any:
    """A compiled step: the state after it, the estimate of its error, and the states at FRACTIONS of the way."""

    def step(time: Array, size: Array, state: Array) -> tuple[Array, Array, Array]:
        end, error, dense, *_ = solver.step(flow, time, size, state, None)
        return end, error, jnp.stack([dense(jnp.float64(fraction)) for fraction in (0.0, *FRACTIONS, 1.0)])

    compiled = jax.jit(step)
    return lambda time, size, state: [
        np.asarray(part) for part in compiled(jnp.float64(time), jnp.float64(size), jnp.asarray(state))
    ]


def errors(step: Any, steps: int) -> np.ndarray:
    """Largest errors over [0, 2]: at the end of all steps, of their ends and insides alone, and as estimated."""
    size, state, worst = 2 / steps, exact(0.0), np.zeros(3)
    for time in size * np.arange(steps):
        state = step(time, size, state)[0]
        end, error, inside = step(time, size, exact(time))
        way = [exact(time + fraction * size) for fraction in FRACTIONS]
        worst = np.maximum(worst, [0.0, np.abs(inside[1:-1] - way).max(), np.abs(error).max()])
        assert np.abs(end - exact(time + size)).max() <= np.abs(error).max()
    worst[0] = np.abs(state - exact(2.0)).max()
    return worst


@pytest.mark.parametrize("solver", SOLVERS[:2], ids=named)
def test_orders(solver: Solver) -> None:
    """The state is of order 5; the dense output of order 4, so that in one step its error falls with the 5th power."""
    step = stepper(solver)
    coarse, fine = errors(step, 40), errors(step, 80)
    orders = np.log2(coarse / fine)
    assert np.all(orders > 4.5), orders
    assert np.all(fine < 1e-7)


@pytest.mark.parametrize("solver", [*SOLVERS, BogackiShampine()], ids=named)
def test_the_way_leads_from_the_state_before_to_the_state_after(solver: Solver) -> None:
    end, error, inside = stepper(solver)(0.3, 0.1, exact(0.3))
    assert end.shape == error.shape == (2,)
    np.testing.assert_array_equal(inside[0], exact(0.3))
    np.testing.assert_allclose(inside[-1], end, rtol=1e-13)


@pytest.mark.parametrize("solver", [*SOLVERS, BogackiShampine()], ids=named)
def test_constant_rates_are_exact(solver: Solver) -> None:
    end, error, inside = stepper(solver, lambda time, state: jnp.array([2.0, -3.0, 0.0]))(5.0, 0.5, [1.0, 1.0, 7.0])
    np.testing.assert_allclose(end, [2.0, -0.5, 7.0], rtol=1e-12)
    np.testing.assert_allclose(error, 0.0, atol=1e-12)
    np.testing.assert_allclose(inside[1], [1.25, 0.625, 7.0], rtol=1e-12)


@pytest.mark.parametrize("solver", WITH_ERRORS, ids=named)
def test_a_step_smaller_than_the_rounding_of_time_is_harmless(solver: Solver) -> None:
    end, error, inside = stepper(solver)(1.0, 1e-17, exact(1.0))
    for values in (end, error + exact(1.0), *inside):
        np.testing.assert_allclose(values, exact(1.0), rtol=1e-14)


@pytest.mark.parametrize("solver", WITH_ERRORS, ids=named)
def test_a_solver_may_be_handed_in(solver: Solver, model: Callable[..., sg.Model]) -> None:
    """x' = 1 - x / 2 beside a propensity of x / 10: both loops use it, and its tolerance is what is asked for."""
    decaying = model({"N": {"amount": 0}}, {"r": ("-> N", "x / 10")}, {"x": 0}, rates={"x": "1 - x / 2"})
    times = np.linspace(0, 5, 6)
    right = 2 - 2 * np.exp(-times / 2)
    for rtol in (1e-4, 1e-9):
        actual = sg.simulate(decaying, times, method=sg.ODE(solver=solver, rtol=rtol), select=["x"]).mean["x"]
        off = np.abs(actual - right)[1:].max()
        assert off < 20 * rtol
    mean = (times - right) / 5  # the integral of x / 10
    actual = sg.simulate(decaying, times, n=4000, method=sg.SSA(solver=solver, rtol=1e-6), select=["N"])
    assert np.all(np.abs(actual.mean["N"] - mean) <= 4.5 * np.sqrt(mean / 4000))  # Poisson: 7e-6 each
