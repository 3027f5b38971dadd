"""Delays in rate equations, against solutions by the method of steps."""

from collections.abc import Callable
from math import factorial

import jax.numpy as jnp
import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import UnsupportedError
from sbmlgrad.simulation.delay_history import empty_history, recall, remember

TIMES = np.array([0.0, 0.5, 1.0, 2.5, 4.0, 7.3])


def growth(time: float, k: float = 1.0) -> float:
    """x' = k x(t - 1) with x = 1 before 0: a polynomial of k between whole times."""
    return sum((k * (time - n + 1)) ** n / factorial(n) for n in range(int(time) + 2))


@pytest.fixture(scope="module")
def delayed(model: Callable[..., sg.Model]) -> sg.Model:
    """Growth by what was there, a wave and its echoes, and an event that follows an echo."""
    return model(
        {},
        parameters={"x": 1, "k": 1, "lag": 1, "wave": None, "echo": None, "second": None, "stretched": None, "seen": 0},
        rates={"x": "k * delay(x, lag)"},
        rules={
            "wave": "sin(3 * time)",
            "echo": "delay(wave, 0.4)",
            "second": "delay(echo, 0.4)",
            "stretched": "delay(x, time / 2)",
        },
        events={"late": {"trigger": "delay(x, 2) > 1.5", "set": {"seen": "time"}}},
    )


@pytest.fixture(scope="module")
def solution(delayed: sg.Model) -> dict[str, np.ndarray]:
    names = ["x", "echo", "second", "stretched", "seen"]
    mean = sg.simulate(delayed, TIMES, method="ode", select=names).mean
    return {name: mean[name].to_numpy() for name in names}


def test_growth_by_what_was_there(solution: dict[str, np.ndarray]) -> None:
    assert solution["x"] == pytest.approx([growth(t) for t in TIMES], rel=1e-6)


def test_echoes_and_echoes_of_echoes(solution: dict[str, np.ndarray]) -> None:
    # before the start, formulas of time have the value of that time
    assert solution["echo"] == pytest.approx(np.sin(3 * (TIMES - 0.4)), abs=1e-6)
    assert solution["second"][2:] == pytest.approx(np.sin(3 * (TIMES[2:] - 0.8)), abs=1e-6)


def test_a_delay_that_grows(solution: dict[str, np.ndarray]) -> None:
    assert solution["stretched"] == pytest.approx([growth(t / 2) for t in TIMES], rel=1e-5)


def test_an_event_that_waits_for_the_past(solution: dict[str, np.ndarray]) -> None:
    # x = 1 + t up to 1, so 1.5 was passed at 0.5
    assert solution["seen"] == pytest.approx([0, 0, 0, 2.5, 2.5, 2.5], abs=1e-6)


def test_derivatives_go_through_delays(model: Callable[..., sg.Model]) -> None:
    growing = model({}, parameters={"x": 1, "k": 1, "lag": 1}, rates={"x": "k * delay(x, lag)"})
    table = sg.sensitivity(growing, [0.5, 2.5], ["k"], method="ode", select=["x"])
    step = 1e-5
    slope = [(growth(t, 1 + step) - growth(t, 1 - step)) / (2 * step) for t in (0.5, 2.5)]
    assert table["sensitivity"].to_numpy() == pytest.approx(slope, rel=1e-5)


def test_what_is_refused(model: Callable[..., sg.Model]) -> None:
    following = model({}, parameters={"x": 1}, rates={"x": "delay(x, x)"})
    with pytest.raises(UnsupportedError, match="a delay follows the state"):
        sg.simulate(following, TIMES, method="ode")
    jumping = model({"X": {"amount": 5}}, {"decay": ("X ->", "delay(X, 1)")})
    with pytest.raises(UnsupportedError, match="'decay' uses delay"):
        sg.simulate(jumping, TIMES)


def test_the_ring_forgets_the_oldest() -> None:
    history = empty_history(jnp.zeros(()), 4, 1)
    yes = jnp.ones((), bool)
    for time in range(6):  # a parabola, of which cubics are exact
        history = remember(history, yes, jnp.float64(time), jnp.full(1, time**2.0), jnp.full(1, 2.0 * time))
    history = remember(history, ~yes, jnp.float64(9.0), jnp.full(1, 0.0), jnp.full(1, 0.0))
    before = jnp.full(1, -1.0)
    assert [float(recall(history, jnp.full(1, t), before)[0]) for t in (2.5, 4.25, 5.0)] == [6.25, 18.0625, 25.0]
    assert float(recall(history, jnp.full(1, 1.0), before)[0]) == -1.0


def test_at_a_jump_the_later_value_counts() -> None:
    history = empty_history(jnp.zeros(()), 4, 1)
    for value in (1.0, 3.0):
        history = remember(history, jnp.ones((), bool), jnp.float64(2.0), jnp.full(1, value), jnp.zeros(1))
    assert float(recall(history, jnp.full(1, 2.0), jnp.zeros(1))[0]) == 3.0
