"""Derivatives of solutions of rate equations, across events, against central differences and closed forms."""

from pathlib import Path

import numpy as np
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SbmlgradError, UnknownIdError
from sbmlgrad.simulation.deterministic import prepare_equations, sensitivities, solve
from sbmlgrad.simulation.path import Settings

# Cases of the SBML Test Suite with events: triggers on time and on the state, delays, priorities, values from the
# time of the trigger, two compartments.
QUICK = ("00026", "00351")
CASES = ("00071", "00354", "00370", "00373", "00421", "00612", "00651", "00930")
TOLERANCE = 1e-5


@pytest.mark.parametrize("case", [*QUICK, *(pytest.param(case, marks=pytest.mark.slow) for case in CASES)])
def test_derivatives_across_events_are_those_of_differences(case: str, data_dir: Path) -> None:
    path = data_dir / "sbml-test-suite" / "semantic" / case / f"{case}-sbml-l3v1.xml"
    if not path.is_file():
        pytest.skip(f"no case {case} of the SBML Test Suite at {path}")
    model = sg.read_sbml(path)
    assert model.elements.events
    equations, quantities = prepare_equations(model, None, None)
    times = np.linspace(0, 5, 14) + 0.0123  # away from round times, at which events happen in these cases
    indices = [p for p, value in enumerate(quantities) if np.isfinite(value) and value != 0][:4]
    values, slopes = sensitivities(equations, quantities, indices, times)
    assert values == pytest.approx(solve(equations, quantities, times), nan_ok=True)
    tight = Settings(relative=1e-11)
    for index, slope in zip(indices, slopes, strict=True):
        step = np.zeros(len(quantities))
        step[index] = 1e-5 * quantities[index]
        above, below = (solve(equations, quantities + s, times, settings=tight) for s in (step, -step))
        difference = (above - below) / (2 * step[index])
        # of the largest derivative by this quantity, or of what its own size would make of the values
        scale = max(np.abs(difference).max(), 1e-6 * np.abs(values).max() / abs(quantities[index]))
        assert np.abs(slope - difference).max() <= TOLERANCE * scale, equations.observables


def test_sensitivities_are_a_table_without_errors(models_dir: Path) -> None:
    # dX/dt = k - g X from 0: X = k/g (1 - exp(-g t))
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    table = sg.sensitivity(model, [0.5, 2.0], ["k", "g"], method="ode")
    assert list(table.columns) == ["time", "species", "parameter", "sensitivity", "stderr"]
    assert (table["stderr"] == 0).all()
    wide = table.pivot(index="time", columns="parameter", values="sensitivity")
    k, g, t = 10.0, 1.0, wide.index.to_numpy()
    assert wide["k"].to_numpy() == pytest.approx((1 - np.exp(-g * t)) / g, rel=1e-6)
    assert wide["g"].to_numpy() == pytest.approx(k * (np.exp(-g * t) * (g * t + 1) - 1) / g**2, rel=1e-6)


def test_what_cannot_be_differentiated_is_an_error(models_dir: Path) -> None:
    model = sg.read_sbml(models_dir / "birth_death" / "model.xml")
    with pytest.raises(UnknownIdError, match="no parameter, compartment or species 'nothing'|'nothing'"):
        sg.sensitivity(model, [1.0], ["nothing"], method="ode")
    with pytest.raises(SbmlgradError, match="method 'euler'"):
        sg.sensitivity(model, [1.0], ["k"], method="euler")
    network = sg.ReactionNetwork([[1]], lambda x, p: np.ones(1), x0=[0], parameters={"k": [1.0]})
    with pytest.raises(SbmlgradError, match="not a single number"):
        sg.sensitivity(network, [1.0], ["k"], method="ode")
