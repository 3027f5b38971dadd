"""Formulas of observables and noise, with derivatives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.petab.formulas import Known
from sbmlgrad.petab.observe import Observer

Write = Callable[..., Path]


def test_placeholders_and_noise_of_the_observable_are_followed(version1: Write) -> None:
    problem = sg.read_petab(
        version1(
            observables="observableId | observableFormula | noiseFormula\n"
            "a | observableParameter1_a * A ^ 2 | noiseParameter1_a * a",
            measurements="observableId | simulationConditionId | time | measurement | observableParameters | "
            "noiseParameters\na | fast | 0 | 10 | s | 0.1\na | slow | 0 | 10 | 3 | s",
        )
    )
    unit = np.eye(2)
    known = Known({"time": 0.0, "A": 2.0, "s": 5.0}, {"A": unit[0], "s": unit[1]})
    simulated = Observer(problem.definition).observe({0: known, 1: known}, 2)
    np.testing.assert_allclose(simulated.values, [20.0, 12.0])
    np.testing.assert_allclose(simulated.noise, [2.0, 60.0])
    np.testing.assert_allclose(simulated.slopes, [[20.0, 4.0], [12.0, 0.0]])
    np.testing.assert_allclose(simulated.noise_slopes, [[2.0, 0.4], [60.0, 12.0]])


def test_a_derivative_that_is_none_does_not_spoil_what_does_not_move(version1: Write) -> None:
    problem = sg.read_petab(
        version1(observables="observableId | observableFormula | noiseFormula\na | s * sqrt(A) | 1")
    )
    known = Known({"time": 0.0, "A": 0.0, "s": 5.0}, {"s": np.ones(1)})
    simulated = Observer(problem.definition).observe({0: known, 1: known}, 1)
    assert list(simulated.slopes[:, 0]) == pytest.approx([0.0, 0.0])
