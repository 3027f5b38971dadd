"""Events that have no end are given up, with what they have done until then."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sbmlgrad.errors import SimulationError, TruncationError
from sbmlgrad.model import Model
from sbmlgrad.sbml.read import read_sbml
from sbmlgrad.simulation.methods import ODE, SSA
from sbmlgrad.simulation.simulate import simulate

MATH = '<math xmlns="http://www.w3.org/1998/Math/MathML">{}</math>'
# Each event sets what triggers the other, after a delay.
EVENT = (
    '<event useValuesFromTriggerTime="true"><trigger initialValue="false" persistent="true">'
    + MATH.format("<apply><{compare}/><ci>s</ci><cn>0.5</cn></apply>")
    + f"</trigger><delay>{MATH.format('<cn>{delay}</cn>')}</delay><listOfEventAssignments>"
    f'<eventAssignment variable="s">{MATH.format("<cn>{value}</cn>")}</eventAssignment>'
    "</listOfEventAssignments></event>"
)


def ring(delay: str) -> str:
    """A switch that is turned on and off by events, beside a decay."""
    events = EVENT.format(compare="lt", value=1, delay=delay) + EVENT.format(compare="gt", value=0, delay=delay)
    law = MATH.format("<apply><times/><ci>s</ci><ci>X</ci></apply>")
    return f"""<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2">
<model substanceUnits="item" extentUnits="item"><listOfCompartments><compartment id="c" size="1" constant="true"/>
</listOfCompartments><listOfSpecies><species id="X" compartment="c" initialAmount="10" hasOnlySubstanceUnits="true"
boundaryCondition="false" constant="false"/></listOfSpecies>
<listOfParameters><parameter id="s" value="0" constant="false"/></listOfParameters>
<listOfReactions><reaction id="r" reversible="false"><listOfReactants>
<speciesReference species="X" stoichiometry="1" constant="true"/></listOfReactants>
<kineticLaw>{law}</kineticLaw></reaction></listOfReactions><listOfEvents>{events}</listOfEvents></model></sbml>"""


@pytest.mark.filterwarnings("ignore::sbmlgrad.errors.LongRunWarning")  # that it would take days is said before
def test_a_delay_that_is_none_in_any_unit_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Near time 0 floats tell times of 1e-300 apart, so that there was no end."""
    monkeypatch.setattr("sbmlgrad.simulation.events.MOST_AT_ONCE", 100)
    model = read_sbml(ring("0").replace("<cn>0</cn></math></delay>", "<cn>1e-300</cn></math></delay>"))
    with pytest.raises(SimulationError, match="events trigger each other without end at time .* in trajectory 0"):
        simulate(model, [0.0, 1.0], n=2)


def test_events_that_go_on_and_on_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = read_sbml(ring("0.0001"))
    monkeypatch.setattr("sbmlgrad.simulation.events.MOST_ROUNDS", 1000)
    told = r"at time 0\.\d+ in trajectory [01] events have been .* executed \d+ times, and would be more than "
    with pytest.raises(TruncationError, match=told):
        simulate(model, [0.0, 10.0], n=2)


@pytest.mark.filterwarnings("ignore::sbmlgrad.errors.LongRunWarning")  # that it would take days is said before
@pytest.mark.parametrize("method", ["ssa", "ode"])
def test_events_that_will_be_too_many_are_noticed_early(method: str) -> None:
    with pytest.raises(TruncationError, match=r"at time 1\.5\S*e-08 .*executed 30001 times, and would be more "):
        simulate(read_sbml(ring("1e-12")), [0.0, 1.0], n=2, method=method)


def test_events_that_will_not_be_too_many_go_on() -> None:
    """5,000 in a unit of time, which switch a rate on and off."""
    solution = simulate(read_sbml(ring("0.0002")), [0.0, 3.0], n=1, method="ode")
    assert solution.mean["X"].iloc[-1] == pytest.approx(10 * np.exp(-1.5), rel=1e-3)


@pytest.mark.filterwarnings("ignore::sbmlgrad.errors.LongRunWarning")  # that it would take days is said before
@pytest.mark.parametrize("method", ["ssa", "ode"])
def test_steps_that_will_be_too_many_are_noticed_early(model: Callable[..., Model], method: str) -> None:
    """What goes up and down 1.6e8 times in a unit of time; 16 times are no trouble."""
    swinging = model(
        species={"X": {"amount": 1000}},
        reactions={"r": ("X ->", "0.1*X*(1 + x)")},
        parameters={"x": 0.0, "y": 1.0, "w": 100.0},
        rates={"x": "w*y", "y": "-w*x"},
    )
    patient = SSA(max_steps=50_000) if method == "ssa" else ODE(max_steps=50_000)
    with pytest.raises(TruncationError, match="the solver has taken 10001 steps and will not be at the end with the"):
        simulate(swinging, [0.0, 1.0], n=2, method=patient, parameters={"w": 1e9})
    seen = simulate(swinging, [0.0, 1.0], n=2, method=method, seed=1).mean["X"].iloc[-1]
    exact = 1000 * np.exp(-0.1 * (1 + (1 - np.cos(100)) / 100))
    assert seen == pytest.approx(exact, rel=1e-6 if method == "ode" else 0.05)  # of ssa, 5 standard errors and more


def test_what_swings_only_at_first_goes_on(model: Callable[..., Model]) -> None:
    """Thousands of steps in a millionth of the time, until the spring is at rest."""
    spring = model(species={}, parameters={"x": 2.0, "v": 0.0}, rates={"x": "v", "v": "-40*(x - 1) - 0.1*v"})
    assert simulate(spring, [1e8], n=1, method="ode").mean["x"].iloc[-1] == pytest.approx(1.0, rel=1e-6)
