"""Rate equations of what nearly dies out and comes back, and of what rounding makes noise of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import sbmlgrad as sg

Make = Callable[..., sg.Model]
GRIDS = (2, 11, 101)


@pytest.mark.parametrize("points", GRIDS)
def test_a_deep_trough(data_dir: Path, points: int) -> None:
    """x = depth**(-sin t) falls to 2e-16 and comes back to 1; so do its derivatives."""
    model = sg.read_sbml(data_dir / "cases" / "27-deep-trough" / "model.xml")
    times = np.linspace(0, np.pi, points)
    assert sg.simulate(model, times, method="ode", select=["x"]).mean["x"].iloc[-1] == pytest.approx(1.0, rel=1e-5)


def test_the_way_through_a_trough_and_its_derivative(model: Make) -> None:
    """x' = -d cos(t) x, so x = exp(-d sin t) and dx/dd = -sin(t) x, to their own size at any depth."""
    system = model({}, {}, {"x": 1.0, "d": 36.0}, rates={"x": "-d*cos(time)*x"})
    times = np.linspace(0, 2.0, 9)[1:]
    expected = np.exp(-36 * np.sin(times))
    actual = sg.simulate(system, times, method="ode", select=["x"]).mean["x"]
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    table = sg.sensitivity(system, times, parameters=["d"], method="ode", select=["x"])
    np.testing.assert_allclose(table["sensitivity"], -np.sin(times) * expected, rtol=1e-4)


def test_predator_and_prey(model: Make) -> None:
    """Troughs of 1e-12 of the peaks; scipy solves for logarithms, in which nothing is small."""
    laws = {"x": "a*x - b*x*y", "y": "b*x*y - c*y"}
    values = {"x": 30.0, "y": 0.02, "a": 1.0, "b": 1.0, "c": 1.0}
    system = model({}, {}, values, rates=laws)
    times = np.linspace(0, 100, 201)

    def logarithms(_: float, z: np.ndarray) -> np.ndarray:
        return np.array([1.0 - np.exp(z[1]), np.exp(z[0]) - 1.0])

    start = np.log([values["x"], values["y"]])
    exact = solve_ivp(logarithms, (0, 100), start, "DOP853", times, rtol=1e-13, atol=1e-13).y
    assert np.exp(exact.min() - exact.max()) < 1e-12
    actual = sg.simulate(system, times, method="ode", select=["x", "y"]).mean.to_numpy().T
    # what is still to come of an orbit's period moves values where they change a thousandfold in a unit of time
    np.testing.assert_allclose(np.log(actual), exact, atol=2e-4)
    coarse = sg.simulate(system, times[::40], method="ode", select=["x", "y"]).mean.to_numpy().T
    np.testing.assert_allclose(np.log(coarse), np.log(actual[:, ::40]), atol=2e-4)


def test_many_made_of_nothing_one_after_the_other(model: Make) -> None:
    """A chain in which the last one begins as time to the power of 12."""
    chain = {f"x{i}": f"x{i - 1} - x{i}" for i in range(1, 13)}
    system = model({}, {}, {"x0": 1.0, **dict.fromkeys(chain, 0.0)}, rates={"x0": "-x0", **chain})
    times = np.array([0.1, 1.0, 10.0])
    actual = sg.simulate(system, times, method="ode", select=["x12"]).mean["x12"]
    np.testing.assert_allclose(actual, np.exp(-times) * times**12 / 479001600, rtol=1e-5)


def test_a_law_that_is_noise_far_down(model: Make) -> None:
    """1 - tanh is 0 but for rounding far from the pulse; it must not be followed there."""
    system = model({}, {}, {"z": 0.0}, rates={"z": "1 - tanh(((time - 77.7)/0.005)^2)"})
    times = np.linspace(77, 78.4, 1_400_001)
    expected = np.trapezoid(1 - np.tanh(((times - 77.7) / 0.005) ** 2), times)
    for points in GRIDS:
        actual = sg.simulate(system, np.linspace(0, 1000, points), method="ode", select=["z"]).mean["z"].iloc[-1]
        assert actual == pytest.approx(expected, rel=1e-6)


def test_a_small_difference_of_large_fluxes(model: Make) -> None:
    """What two opposite fluxes of 1e9 leave: an equilibrium, which is reached and kept."""
    laws = {"a": "1e9*(b - a)", "b": "1e9*(a - b) - b"}
    system = model({}, {}, {"a": 1.0, "b": 0.0}, rates=laws)
    actual = sg.simulate(system, np.linspace(0, 40, 5), method="ode", select=["a", "b"]).mean
    np.testing.assert_allclose(actual["b"].iloc[1:], 0.5 * np.exp(-0.5 * actual.index[1:]), rtol=1e-5)
