"""Rates of change are the derivatives of what symbols mean, by sympy's own calculus."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sympy

import sbmlgrad as sg
from sbmlgrad.model.dynamics import amount_rate, by_reactions, rate
from sbmlgrad.model.evaluate import evaluate

Make = Callable[..., sg.Model]


@pytest.fixture(scope="module")
def chemistry(model: Make) -> sg.Model:
    """S, T and U react in a cell that grows by a rule, V in one whose size an assignment rule sets."""
    return model(
        {
            "S": {"amount": 3.0, "only": False},
            "T": {"amount": 2.0},
            "U": {"amount": 4.0, "only": False, "conversion": "own"},
            "V": {"amount": 5.0, "only": False, "compartment": "swelling"},
            "W": {"amount": 5.0, "compartment": "swelling"},
            "fixed": {"amount": 1.0, "boundary": True},
            "still": {"amount": 1.0, "constant": True, "boundary": True},
            "idle": {"amount": 1.0, "only": False},
            "driven": {"amount": 1.0, "only": False, "boundary": True},
            "said": {"amount": 1.0, "boundary": True},
        },
        {
            "one": ("2 S + fixed -> 3 T + U", "k*S*cell"),
            "two": ("T + U + V -> S + W", "k*T*U"),
            "three": ("driven + still -> S", "k"),
        },
        {"k": 0.7, "own": 2.0, "common": 5.0, "size": 1.0},
        {"cell": 2.0, "swelling": 1.0},
        rules={"said": "2*T", "swelling": "1 + T"},
        rates={"cell": "k*cell^2", "size": "T", "driven": "k*T"},
        conversion="common",
    )


@pytest.fixture(scope="module")
def values(chemistry: sg.Model) -> dict[str, float]:
    random = np.random.default_rng(0)
    return {name: float(random.uniform(0.5, 3)) for name in chemistry.initial_values()}


def amounts_per_time(v: dict[str, float]) -> dict[str, float]:
    """Amounts made per unit of time, by hand; U has its own conversion factor."""
    factor, one, two, three = v["common"], v["k"] * v["S"] * v["cell"], v["k"] * v["T"] * v["U"], v["k"]
    return {
        "S": factor * (-2 * one + two + three),
        "T": factor * (3 * one - two),
        "U": v["own"] * (one - two),
        "V": -factor * two,
        "W": factor * two,
    }


def test_reactions_change_amounts(chemistry: sg.Model, values: dict[str, float]) -> None:
    for name, expected in amounts_per_time(values).items():
        assert by_reactions(chemistry.elements, name)
        assert evaluate(amount_rate(chemistry.elements, name), values) == pytest.approx(expected, rel=1e-13)
    for name in ("fixed", "still", "idle", "driven", "said"):
        assert not by_reactions(chemistry.elements, name)


def test_a_concentration_changes_with_its_amount_and_its_volume(chemistry: sg.Model, values: dict[str, float]) -> None:
    """The derivative of n(t)/V(t), with numbers put in for n, V and their derivatives."""
    t = sympy.Symbol("t")
    n, size = sympy.Function("n")(t), sympy.Function("V")(t)
    growth = values["k"] * values["cell"] ** 2
    rates = {**amounts_per_time(values), "idle": 0.0}
    for name in ("S", "U", "idle"):
        substitutions = {
            n.diff(t): rates[name],
            size.diff(t): growth,
            n: values[name] * values["cell"],
            size: values["cell"],
        }
        expected = float((n / size).diff(t).subs(substitutions))
        actual = rate(chemistry.elements, name)
        assert actual is not None
        assert evaluate(actual, values) == pytest.approx(expected, rel=1e-13)


def test_rates_of_everything_else(chemistry: sg.Model, values: dict[str, float]) -> None:
    elements, rates = chemistry.elements, amounts_per_time(values)
    expected = {
        **{"T": rates["T"], "W": rates["W"], "fixed": 0.0, "still": 0.0, "k": 0.0, "own": 0.0},
        **{"cell": values["k"] * values["cell"] ** 2, "size": values["T"], "driven": values["k"] * values["T"]},
    }
    for name, value in expected.items():
        actual = rate(elements, name)
        assert actual is not None
        assert evaluate(actual, values) == pytest.approx(value, rel=1e-13), name
    for name in ("said", "swelling", "V"):  # set by rules, or concentrations where one sets the size
        assert rate(elements, name) is None


def test_conversion_factors_reach_the_solution(model: Make) -> None:
    """Extent k*A per time makes five of B and two of C for each that A loses three of."""
    rates = model(
        {"A": {"amount": 1.0, "conversion": "three"}, "B": {"amount": 0.0}, "C": {"amount": 0.0, "conversion": "two"}},
        {"r": ("A -> B + C", "k*A")},
        {"k": 0.5, "two": 2.0, "three": 3.0, "five": 5.0},
        conversion="five",
    )
    times = np.array([0.0, 0.4, 1.0])
    actual = sg.simulate(rates, times, method="ode").mean
    left = np.exp(-1.5 * times)
    np.testing.assert_allclose(actual["A"], left, rtol=1e-7)
    np.testing.assert_allclose(actual["B"], (1 - left) * 5 / 3, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(actual["C"], (1 - left) * 2 / 3, rtol=1e-7, atol=1e-12)
