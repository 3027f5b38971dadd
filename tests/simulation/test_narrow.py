"""What happens between two observation times happens, however narrow it is, and whatever the output grid.

Integrals are computed apart, with numpy, from the formulas written as Python functions. Seeds are fixed; checks of
exact simulation reject beyond 4 standard errors (a false alarm in 16,000 for each).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SimulationError
from sbmlgrad.simulation.deterministic import prepare_equations, steps_taken

Make = Callable[..., sg.Model]
Function = Callable[..., np.ndarray]
GRIDS = (2, 241)
POINTS = 1_000_000  # of the integrals computed apart
ROUNDS = [pytest.param(0), *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 10))]


def ends(model: sg.Model, variable: str, end: float, grids: Sequence[int] = GRIDS, **more: Any) -> np.ndarray:
    """The last value of a variable, for each number of output points."""
    return np.array(
        [
            sg.simulate(model, np.linspace(0, end, points), select=[variable], **more).mean[variable].iloc[-1]
            for points in grids
        ]
    )


CASES = [  # file, variable, end, right value, its relative tolerance, sd of exact simulation
    ("02-narrow-window-oscillator/model2.xml", "hits", 63.0, 10.0, 1e-12, 0.0),
    ("03-time-equality-trigger/model.xml", "Z", 30.0, 50.0, 1e-6, 50.0**0.5),
    pytest.param(
        *("04-short-pulses/sin.xml", "Z", 240.0, 40 * 240 * np.arccos(0.9995) / np.pi, 1e-6, None),
        marks=pytest.mark.slow,
    ),
    ("04-short-pulses/gauss.xml", "Z", 100.0, 10 * np.pi**0.5, 1e-6, None),
    ("04-short-pulses/light12.xml", "Z", 240.0, 120.0, 1e-6, 120.0**0.5),
    pytest.param("04-short-pulses/floor.xml", "Z", 240.0, 100.0, 1e-6, None, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("file", "variable", "end", "value", "tolerance", "sd"), CASES)
def test_cases(
    data_dir: Path, file: str, variable: str, end: float, value: float, tolerance: float, sd: float | None
) -> None:
    model = sg.read_sbml(data_dir / "cases" / file)
    np.testing.assert_allclose(ends(model, variable, end, method="ode"), value, rtol=tolerance)
    n = 2000
    for points in GRIDS:
        simulation = sg.simulate(model, np.linspace(0, end, points), n=n, seed=1, select=[variable])
        mean, spread = (float(part[variable].iloc[-1]) for part in (simulation.mean, simulation.sd))
        assert abs(mean - value) <= 4 * spread / n**0.5 + 1e-12
        if sd is not None:
            assert abs(spread - sd) <= 4 * sd / (2 * n) ** 0.5


def test_a_narrow_window_is_met_wherever_steps_end(model: Make) -> None:
    """10 peaks, each above the threshold for a 2,000th of a period, seen from 60 output grids drawn at random."""
    peaks = model(
        {},
        parameters={"x": 0.0, "v": 1.0, "hits": 0.0},
        rates={"x": "v", "v": "-x"},
        events={"hit": {"trigger": "x > 0.999999", "set": {"hits": "hits + 1"}}},
    )
    random = np.random.default_rng(5)
    for _ in range(60):
        times = np.sort(random.uniform(0, 63, 100))
        times[-1] = 63.0
        assert sg.simulate(peaks, times, method="ode", select=["hits"]).mean["hits"].iloc[-1] == 10


def test_what_is_equal_but_for_rounding_costs_no_steps(model: Make) -> None:
    """A comparison of what stays the same, and one that comes to its bound and stays there."""
    still = model(
        {"A": {"amount": 29.3776}, "B": {"amount": 100.0}},
        {"R1": ("A -> B", "piecewise(A - 29.3776, A > 29.3776, 0)"), "R2": ("B ->", "0.1*B"), "R3": ("-> B", "0.3*B")},
    )
    coming = model(
        {},
        parameters={"x": 0.0, "y": 0.0},
        rates={"x": "1 - x", "y": "piecewise(x - 1, x > 1, 0)"},
    )
    for each in (still, coming):
        equations, quantities = prepare_equations(each, None, None)
        assert steps_taken(equations, quantities, np.linspace(0, 100, 11)) < 1500


PULSES: dict[str, tuple[str, Function]] = {
    "floor": ("a*piecewise(1, time + f - p*floor((time + f)/p) < w, 0)", lambda t, p, f, w: np.mod(t + f, p) < w),
    "ceil": ("a*piecewise(1, p*ceil((time + f)/p) - time - f < w, 0)", lambda t, p, f, w: np.mod(-t - f, p) < w),
    "rem": ("a*piecewise(1, rem(time + f, p) < w, 0)", lambda t, p, f, w: np.mod(t + f, p) < w),
    "quotient": ("a*piecewise(1, time + f - p*quotient(time + f, p) < w, 0)", lambda t, p, f, w: np.mod(t + f, p) < w),
    "working days": (
        "a*piecewise(1, rem(time + f, p) < w && rem(floor((time + f)/p), 7) < 5, 0)",
        lambda t, p, f, w: (np.mod(t + f, p) < w) & (np.mod(np.floor((t + f) / p), 7) < 5),
    ),
    "sine window": (
        "a*piecewise(1, sin(2*pi*(time + f)/p) > cos(pi*w/p), 0)",
        lambda t, p, f, w: np.sin(2 * np.pi * (t + f) / p) > np.cos(np.pi * w / p),
    ),
    "beats": (
        "a*piecewise(1, sin(2*pi*(time + f)/p) + sin(2*pi*time/(1.37*p)) > 1.9, 0)",
        lambda t, p, f, w: np.sin(2 * np.pi * (t + f) / p) + np.sin(2 * np.pi * t / (1.37 * p)) > 1.9,
    ),
    "smooth train": (
        "a*exp(-((rem(time + f, p) - p/2)/w)^2)",
        lambda t, p, f, w: np.exp(-(((np.mod(t + f, p) - p / 2) / w) ** 2)),
    ),
    "power of a sine": (
        "a*max(0, sin(2*pi*(time + f)/p))^1001",
        lambda t, p, f, w: np.maximum(0, np.sin(2 * np.pi * (t + f) / p)) ** 1001,
    ),
    "steps of a wave": (
        "a*floor(1.01*cos(2*pi*(time + f)/p)^2)",
        lambda t, p, f, w: np.floor(1.01 * np.cos(2 * np.pi * (t + f) / p) ** 2),
    ),
    "triangle": (
        "a*max(0, 1 - abs(rem(time + f, p) - p/2)/w)",
        lambda t, p, f, w: np.maximum(0, 1 - np.abs(np.mod(t + f, p) - p / 2) / w),
    ),
}


FEW = ("floor", "working days", "beats", "smooth train", "power of a sine", "triangle")  # in the default run


@pytest.mark.parametrize("number", ROUNDS)
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in FEW else [pytest.mark.slow]) for n in PULSES])
def test_random_pulses(name: str, number: int, model: Make) -> None:
    """Periodic and narrow, with parameters as period, phase and width; in a law, a rule, and beside what flows."""
    law, function = PULSES[name]
    values = drawn(name, number)
    in_law = model({"Z": {"amount": 0}}, {"r": ("-> Z", law)}, values)
    in_rule = model({"Z": {"amount": 0}}, {"r": ("-> Z", "k")}, {**values, "k": None}, rules={"k": law})
    flowing = model({}, {}, {**values, "z": 0.0, "x": 1.0}, rates={"z": f"x*({law})", "x": "-0.01*x"})
    end = 400.0
    t = (np.arange(POINTS) + 0.5) * (end / POINTS)
    course = 40.0 * function(t, values["p"], values["f"], values["w"])
    for system, variable, weight, grids in (
        (in_law, "Z", 1.0, (2, 97)),
        (in_rule, "Z", 1.0, (2,)),
        (flowing, "z", np.exp(-0.01 * t), (97,)),
    ):
        actual = ends(system, variable, end, grids, method="ode")
        expected = float(np.mean(weight * course) * end)
        np.testing.assert_allclose(actual[0], actual[-1], rtol=1e-6)
        # the sum over points misses half a distance of them at each edge of a pulse
        np.testing.assert_allclose(actual[0], expected, rtol=1e-6, atol=160.0 * (end / POINTS) * end / values["p"])


def drawn(name: str, number: int) -> dict[str, float]:
    """A period, phase and width; those of a pulse and a round are always the same."""
    random = np.random.default_rng([number, *map(ord, name)])
    p = float(random.uniform(5, 60))
    return {"p": p, "f": float(random.uniform(0, p)), "w": p * float(10 ** random.uniform(-3, -1)), "a": 40.0}


@pytest.mark.parametrize("number", ROUNDS)
@pytest.mark.parametrize(
    "name", ["rem", "beats", *(pytest.param(n, marks=pytest.mark.slow) for n in ("sine window", "steps of a wave"))]
)
def test_random_pulses_trigger(name: str, number: int, model: Make) -> None:
    """Each pulse that begins is an event."""
    law, function = PULSES[name]
    values = drawn(name, number)
    event = {"e": {"trigger": f"{law} > 20", "set": {"hits": "hits + 1"}}}
    system = model({"Z": {"amount": 1}}, {"r": ("Z ->", "0*Z")}, {**values, "hits": 0.0}, events=event)
    end = 400.0
    t = np.arange(POINTS + 1) * (end / POINTS)
    on = 40.0 * function(t, values["p"], values["f"], values["w"]) > 20
    expected = np.count_nonzero(on[1:] & ~on[:-1])
    np.testing.assert_array_equal(ends(system, "hits", end, (2, 97), method="ode"), expected)
    np.testing.assert_array_equal(ends(system, "hits", end, (2,), n=20), expected)


def test_equality_with_multiples_of_time(model: Make) -> None:
    event = {"e": {"trigger": "rem(time, 10) == 0 && time > 0", "set": {"Z": "Z + 1"}}}
    system = model({"Z": {"amount": 0}}, {"r": ("Z ->", "0*Z")}, events=event)
    for method in ("ode", "ssa"):
        np.testing.assert_array_equal(ends(system, "Z", 95.0, method=method, n=20), 9)


def test_a_window_that_begins_at_an_event(model: Make) -> None:
    """Its place in time is a variable that the event sets."""
    event = {"e": {"trigger": "sin(2*pi*time/10) > 0.5", "set": {"last": "time"}}}
    law = "piecewise(4000, time > last && time - last < 0.01, 0)"
    system = model({"Z": {"amount": 0}}, {"r": ("-> Z", law)}, {"last": -100.0}, events=event)
    np.testing.assert_allclose(ends(system, "Z", 100.0, method="ode"), 400.0, rtol=1e-6)
    n = 500
    np.testing.assert_allclose(ends(system, "Z", 100.0, n=n, seed=2), 400.0, atol=4 * (400 / n) ** 0.5)


def test_a_window_at_random(model: Make) -> None:
    """Its place differs from trajectory to trajectory."""
    law = "piecewise(4000, time > s && time < s + 0.01, 0)"
    system = model({"Z": {"amount": 0}}, {"r": ("-> Z", law)}, {"s": 50.0}, initial={"s": "uniform(20, 80)"})
    n = 2000
    np.testing.assert_allclose(ends(system, "Z", 100.0, n=n, seed=3), 40.0, atol=4 * (40 / n) ** 0.5)


def test_a_law_with_a_window_in_a_variable(model: Make) -> None:
    """The oscillator is above the line for a while in each of ten periods, in the law of a reaction."""
    law = "piecewise(1000, x > 0.999, 0)"
    system = model({"Z": {"amount": 0}}, {"r": ("-> Z", law)}, {"x": 0.0, "v": 1.0}, rates={"x": "v", "v": "-x"})
    expected = 1000 * 10 * 2 * np.arccos(0.999)
    np.testing.assert_allclose(ends(system, "Z", 63.0, method="ode"), expected, rtol=1e-6)
    n = 200
    np.testing.assert_allclose(ends(system, "Z", 63.0, n=n, seed=4), expected, atol=4 * (expected / n) ** 0.5)


def test_derivatives_of_what_happens_at_thresholds(model: Make) -> None:
    """By the height of a threshold in a law: x' = 1 becomes x' = 3 where x passes h, so x(2) = h + 3 (2 - h)."""
    system = model({}, {}, {"x": 0.0, "h": 0.7}, rates={"x": "piecewise(3, x > h, 1)"})
    table = sg.sensitivity(system, [0.5, 2.0], parameters=["h"], method="ode", select=["x"])
    np.testing.assert_allclose(table["sensitivity"], [0.0, -2.0], atol=1e-6)


@pytest.mark.parametrize(
    "name",
    ["sine window", "steps of a wave", *(pytest.param(n, marks=pytest.mark.slow) for n in ("rem", "smooth train"))],
)
def test_derivatives_of_pulses(name: str, model: Make) -> None:
    """By period, phase and width, on what decays after it was made, against central differences."""
    law, _ = PULSES[name]
    values = {"p": 23.0, "f": 1.3, "w": 0.7, "a": 40.0}
    system = model({"Z": {"amount": 0}}, {"r": ("-> Z", law), "d": ("Z ->", "0.05*Z")}, values)
    names = [n for n in ("p", "f", "w") if n != "w" or name != "steps of a wave"]
    table = sg.sensitivity(system, [50.0, 100.0], parameters=names, method="ode", select=["Z"])

    def level(changes: Mapping[str, float]) -> np.ndarray:
        return sg.simulate(system, [50.0, 100.0], method="ode", select=["Z"], parameters=changes).mean["Z"].to_numpy()

    for parameter in names:
        step = 1e-5 * values[parameter]
        above, below = (level({parameter: values[parameter] + sign * step}) for sign in (1, -1))
        actual = table[table["parameter"] == parameter]["sensitivity"]
        np.testing.assert_allclose(actual, (above - below) / (2 * step), rtol=2e-4, atol=1e-4)


def test_too_fast_to_be_followed(model: Make) -> None:
    system = model({"Z": {"amount": 0}}, {"quick": ("-> Z", "40*(1 + sin(1e9*time))")})
    for method in ("ode", "ssa"):
        with pytest.raises(SimulationError, match=r"reaction 'quick' varies too fast with time .* from 0 to 10"):
            sg.simulate(system, [0.0, 10.0], method=method, n=10)


def test_many_periods_are_followed(model: Make) -> None:
    system = model({"Z": {"amount": 0}}, {"r": ("-> Z", "1 + sin(200*time)")})
    np.testing.assert_allclose(ends(system, "Z", 100.0, (2,), method="ode"), 100 + (1 - np.cos(2e4)) / 200, rtol=1e-8)
