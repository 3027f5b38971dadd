"""Initial values and their derivatives, against those that the model computes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.petab.formulas import Known
from sbmlgrad.petab.restart import Equations

MODEL: dict[str, Any] = {
    "species": {"A": {"concentration": 8.0, "only": False}, "B": {"amount": 6.0, "only": False}},
    "reactions": {"decay": ("A -> B", "k * A * cell")},
    "parameters": {"k": 0.5, "p": 2.0},
    "compartments": {"cell": 2.0},
    "initial": {"k": "p ^ 2 + cell"},
}


def test_slopes_follow_assignments_and_sizes(text: Callable[..., str]) -> None:
    equations = Equations(sg.read_sbml(text(**MODEL)), [])
    values, unit = {"p": 3.0, "cell": 4.0}, np.eye(2)
    plain = equations.initial(Known(values), 0.0)
    state = equations.initial(Known(values, {"p": unit[0], "cell": unit[1]}), 0.0)
    assert dict(state.values) == pytest.approx(dict(plain.values), rel=1e-14)
    assert state.values["k"] == 13.0
    assert state.values["B"] == 1.5  # 6 in a compartment of 4
    np.testing.assert_allclose(state.slopes["k"], [6.0, 1.0])
    np.testing.assert_allclose(state.slopes["B"], [0.0, -6 / 16])
    assert "A" not in state.slopes


def test_what_is_given_takes_the_place_of_an_assignment(text: Callable[..., str]) -> None:
    equations = Equations(sg.read_sbml(text(**MODEL)), [])
    state = equations.initial(Known({"k": 7.0, "A": 2.0}, {"k": np.ones(1), "A": np.full(1, 5.0)}), 0.0)
    assert (state.values["k"], state.values["A"]) == (7.0, 2.0)
    assert (state.slopes["k"], state.slopes["A"]) == (1.0, 5.0)
