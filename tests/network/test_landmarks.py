"""Times at which functions of time alone do something: found to the last digits, and no others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError
from sbmlgrad.network.assembly import rate_equations
from sbmlgrad.network.landmarks import Landmarks

Make = Callable[..., sg.Model]


def breaks_and_turns(system: sg.Model, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Times at which a switch changes, and turning points, from 0 to the end."""
    equations = rate_equations(system)
    landmarks = equations.landmarks
    assert isinstance(landmarks, Landmarks)
    times, switches = landmarks.find(np.array(list(equations.quantities.values())), 0.0, end)
    assert len(times) in (0, *(1 << k for k in range(20)))
    assert np.all(np.diff(times[np.isfinite(times)]) >= 0)
    return times[switches >= 0], times[(switches < 0) & np.isfinite(times)]


def test_windows_of_a_sine(model: Make) -> None:
    system = model({}, {}, {"x": 0.0}, rates={"x": "piecewise(1, sin(2*pi*time/24) > 0.9995, 0)"})
    half = 24 * np.arccos(0.9995) / (2 * np.pi)
    expected = np.sort(np.concatenate([6 + 24 * np.arange(5) + sign * half for sign in (-1, 1)]))
    breaks, turns = breaks_and_turns(system, 120.0)
    np.testing.assert_allclose(breaks, expected, rtol=1e-13)
    assert len(turns) <= 10  # one for each level stretch


def test_turning_points_of_a_pulse(model: Make) -> None:
    system = model({}, {}, {"x": 0.0}, rates={"x": "exp(-((time - 50.3)/1e-3)^2) + exp(-((time - 20)/5)^2)"})
    breaks, turns = breaks_and_turns(system, 1000.0)
    assert not len(breaks)
    for peak in (20.0, 50.3):
        assert np.min(np.abs(turns - peak)) < 1e-3 * peak


def test_what_is_rounded(model: Make) -> None:
    system = model({}, {}, {"x": 0.0}, rates={"x": "floor(time^2/10) + quotient(exp(time/10), 2)"})
    breaks, _ = breaks_and_turns(system, 12.0)
    expected = np.sort(np.concatenate([np.sqrt(10 * np.arange(1, 15)), [10 * np.log(2)]]))
    np.testing.assert_allclose(breaks, expected, rtol=1e-13)


def test_straight_lines_in_pieces_need_none(model: Make) -> None:
    system = model({}, {}, {"x": 0.0}, rates={"x": "piecewise(time, rem(time, 5) < max(1, floor(time/7)), 0)"})
    assert rate_equations(system).landmarks is None


def test_too_much_is_refused_by_name(model: Make) -> None:
    system = model({}, {}, {"x": 0.0, "y": 0.0}, rates={"x": "1"}, rules={"y": "sin(1e9*time)*x"})
    with pytest.raises(SimulationError, match="the rule of 'y' varies too fast"):
        breaks_and_turns(system, 10.0)
