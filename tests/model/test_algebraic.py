"""Algebraic rules become what they determine: held to the rules themselves, and to numpy's solutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import sbmlgrad as sg
from sbmlgrad.errors import UnsupportedError
from sbmlgrad.model.evaluate import evaluate

Make = Callable[..., sg.Model]
NAMES = ("w", "x", "y", "z")


def values_of(model: sg.Model, seed: int = 0, **given: float) -> dict[str, float]:
    """All symbols: random numbers, and what the assignment rules make of them."""
    rules = model.elements.assignment_rules
    random = np.random.default_rng(seed)
    values = {name: float(random.uniform(0.5, 3)) for name in model.initial_values()} | given
    for identifier in model.assignment_order:
        values[identifier] = evaluate(rules[identifier], values)
    return values


def holds(rule: str, values: dict[str, float]) -> bool:
    """Whether a rule, here in Python's notation, is 0."""
    return abs(float(sympy.sympify(rule).subs(values))) < 1e-12


# Rules, the parameters that may vary, and those that are determined.
SOLVABLE: dict[str, tuple[Sequence[str], str, str]] = {
    "a sum": (["x + y - a"], "x", "x"),
    "a difference with a factor": (["a*x - y/b"], "x", "x"),
    "the unknown twice": (["x*a + b*(x - 3) + y"], "x", "x"),
    "a product of sums": (["(x + a)*(y - b) - 2"], "x", "x"),
    "in the numerator of a quotient": (["(x - a)/y + b"], "x", "x"),
    "one of two that may vary": (["x + y - a"], "xy", "x"),
    "two that need each other": (["x + y - a", "x - y - b"], "xy", "xy"),
    "where a factor comes to 0": (["x + y - a", "x + y + z - b", "y + 2*z - 1"], "xyz", "xyz"),
    "linear in one of two": (["x*x - y"], "xy", "y"),
    "in a row": (["x - 2*y", "y - 3*z", "z - a"], "xyz", "xyz"),
    "the second rule leaves the first no choice": (["x + z - a", "x - b"], "xz", "xz"),
    "with functions of what is known": (["exp(a)*x - sin(b)*y"], "x", "x"),
}


@pytest.mark.parametrize("name", SOLVABLE)
def test_rules_hold_for_what_they_determine(model: Make, name: str) -> None:
    rules, varying, determined = SOLVABLE[name]
    parameters = {name: 1.0 + 0.3 * index for index, name in enumerate((*NAMES, "a", "b"))}
    system = model({}, parameters=parameters, algebraic=rules, varying=list(varying))
    assert system.elements.algebraic_rules == ()
    assert len(system.elements.assignment_rules) == len(rules)
    assert set(system.elements.assignment_rules) == set(determined)
    for seed in range(3):
        values = values_of(system, seed)
        assert all(holds(rule, values) for rule in rules), values
    initial = system.initial_values()
    assert all(holds(rule, initial) for rule in rules), "and so they do at the start"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    matrix=st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=3, max_size=3),
    right=st.lists(st.integers(-5, 5), min_size=3, max_size=3),
)
def test_linear_systems_are_solved(model: Make, matrix: list[list[int]], right: list[int]) -> None:
    """As numpy solves them, whatever zeros elimination meets on its way."""
    assume(abs(np.linalg.det(matrix)) > 0.5)
    rows = [" + ".join(f"({c})*{name}" for c, name in zip(row, "xyz", strict=True) if c) for row in matrix]
    rules = [f"{row} - ({value})" for row, value in zip(rows, right, strict=True)]
    system = model({}, parameters=dict.fromkeys("xyz", 0.0), algebraic=rules, varying=["x", "y", "z"])
    actual = [system.initial_values()[name] for name in "xyz"]
    np.testing.assert_allclose(actual, np.linalg.solve(matrix, right), rtol=1e-9, atol=1e-9)


def test_species_and_compartments_are_determined_too(model: Make) -> None:
    """What reactions change is given; a boundary species is not, and neither is a compartment that may vary."""
    species = {"S": {"amount": 3.0}, "B": {"amount": 0.0, "boundary": True}}
    rules = ["B + S - 5", "cell - 2*S"]
    system = model(species, {"r": ("S -> B", "S")}, algebraic=rules, compartments={"cell": 1.0}, varying=["cell"])
    assert set(system.elements.assignment_rules) == {"B", "cell"}
    assert values_of(system, S=3.0)["B"] == 2.0
    assert values_of(system, S=3.0)["cell"] == 6.0
    actual = sg.simulate(system, [0.0, 1.0], method="ode", select=["S", "B", "cell"]).mean
    np.testing.assert_allclose(actual["S"], 3 * np.exp([0, -1]), rtol=1e-7)
    np.testing.assert_allclose(actual["B"], 5 - actual["S"], rtol=1e-12)
    np.testing.assert_allclose(actual["cell"], 2 * actual["S"], rtol=1e-12)


def test_what_other_rules_set_is_not_free(model: Make) -> None:
    system = model(
        {},
        parameters=dict.fromkeys("xyz", 1.0),
        rules={"x": "2"},
        rates={"y": "1"},
        algebraic=["x + y + z"],
        varying=["z"],
    )
    assert set(system.elements.assignment_rules) == {"x", "z"}
    assert values_of(system, y=5.0)["z"] == -7.0


@pytest.mark.parametrize(
    ("rules", "varying", "reason"),
    [
        (["x*x - a"], "x", "an algebraic rule on a, x cannot be solved"),
        (["exp(x) - a"], "x", "an algebraic rule on a, x cannot be solved"),
        (["x + a"], "", "an algebraic rule on a, x cannot be solved"),
        (["x - a", "x - b"], "x", "an algebraic rule on a, b cannot be solved"),
    ],
    ids=["a square", "an exponential", "nothing free", "too many rules"],
)
def test_what_cannot_be_solved_is_named_when_it_is_simulated(
    model: Make, rules: list[str], varying: str, reason: str
) -> None:
    parameters = {"a": 4.0, "b": 1.0, "x": 2.0, "t": 0.0}
    system = model({}, parameters=parameters, rates={"t": "1"}, algebraic=rules, varying=list(varying))
    assert len(system.elements.algebraic_rules) == 1
    for method in ("ode", "ssa"):
        with pytest.raises(UnsupportedError, match=reason):
            sg.simulate(system, [1.0], n=1, method=method)


def test_rules_that_double_when_they_are_solved_have_a_limit(model: Make) -> None:
    """Each solved rule is put into the others: ten rules of ten variables would come to a million terms."""
    names = [f"x{i}" for i in range(10)]
    rules = [
        "a + " + " + ".join(f"{1 + (7 * i + 3 * j) % 11}*{name}" for j, name in enumerate(names)) for i in range(10)
    ]
    with pytest.raises(UnsupportedError, match="its 10 algebraic rules come to more than 10000 terms when they are"):
        model({}, parameters={"a": 4.0, **dict.fromkeys(names, 1.0)}, algebraic=rules, varying=names)
