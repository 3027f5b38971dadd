"""Models made of a model: what an experiment does to amounts, concentrations, sizes and numbers."""

import numpy as np
import pytest
import sympy

import sbmlgrad as sg
from sbmlgrad.errors import UnknownIdError
from sbmlgrad.model.derive import Period, amount, concentration, in_condition, with_constants, with_observables
from sbmlgrad.model.elements import symbol
from sbmlgrad.model.model import Model

SIZE = 2.0


def decay(only_substance: bool, initial_assignment: bool = False) -> Model:
    """S in a compartment of size 2, lost at k times its amount; its symbol is an amount or a concentration."""
    law = "<ci>S</ci>" if only_substance else "<ci>S</ci><ci>c</ci>"
    start = (
        '<listOfInitialAssignments><initialAssignment symbol="S">'
        '<math xmlns="http://www.w3.org/1998/Math/MathML"><cn>7</cn></math></initialAssignment>'
        "</listOfInitialAssignments>"
        if initial_assignment
        else ""
    )
    return sg.read_sbml(
        f"""<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">
        <model substanceUnits="item"><listOfCompartments><compartment id="c" size="{SIZE}" constant="true"
        spatialDimensions="3"/></listOfCompartments><listOfSpecies><species id="S" compartment="c" initialAmount="10"
        hasOnlySubstanceUnits="{str(only_substance).lower()}" boundaryCondition="false" constant="false"/>
        </listOfSpecies><listOfParameters><parameter id="k" value="0.5" constant="true"/></listOfParameters>{start}
        <listOfReactions><reaction id="loss" reversible="false" fast="false"><listOfReactants><speciesReference
        species="S" stoichiometry="1" constant="true"/></listOfReactants><kineticLaw><math
        xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>k</ci>{law}</apply></math></kineticLaw></reaction>
        </listOfReactions></model></sbml>"""
    )


def course(model: Model, times: list[float]) -> np.ndarray:
    return sg.simulate(model, times, method="ode").mean["S"].to_numpy()


@pytest.mark.parametrize("only_substance", [False, True])
@pytest.mark.parametrize(("name", "given", "meant"), [("S", 20.0, 20.0), ("[S]", 20.0, 20.0 * SIZE)])
def test_starts_and_doses_are_amounts_or_concentrations(
    only_substance: bool, name: str, given: float, meant: float
) -> None:
    model = decay(only_substance)
    at_start = in_condition(model, [Period(None, {name: sympy.Float(given)})])
    np.testing.assert_allclose(course(at_start, [0, 1]), meant * np.exp([0, -0.5]), rtol=1e-6)
    later = in_condition(model, [Period(1.0, {name: sympy.Float(given)})])
    np.testing.assert_allclose(course(later, [0, 1, 2]), [10, meant, meant * np.exp(-0.5)], rtol=1e-6)


def test_formulas_see_what_was_there_just_before() -> None:
    model = decay(only_substance=False)
    more = amount(model.elements, "S") + symbol("k") * 10  # a bolus of 5
    dosed = in_condition(model, [Period(1.0, {"S": more, "k": symbol("k") * 2})])
    before = 10 * np.exp(-0.5)
    np.testing.assert_allclose(course(dosed, [1, 2]), [before + 5, (before + 5) * np.exp(-1.0)], rtol=1e-6)
    assert model.elements.events == ()


def test_a_condition_takes_the_place_of_an_initial_assignment_and_of_changes() -> None:
    model = decay(only_substance=False, initial_assignment=True)
    assert in_condition(model, [Period(None, {"S": sympy.Float(3)})]).quantities()["S"] == 3
    tied = in_condition(with_constants(model, {"dose": 4.0}), [Period(None, {"[S]": symbol("dose")})])
    np.testing.assert_allclose(course(tied, [0]), 4 * SIZE)
    assert "S" not in tied.quantities()
    changed = decay(only_substance=True).with_parameters({"S": 1.0, "k": 3.0})
    assert in_condition(changed, [Period(None, {"[S]": sympy.Float(3)})]).quantities() == {"k": 3.0, "c": 2.0, "S": 6.0}


def test_observables_are_variables_of_rules() -> None:
    model = with_constants(decay(only_substance=True), {"scale": 3.0})
    seen = with_observables(model, {"signal": symbol("scale") * concentration(model.elements, "S")})
    simulated = sg.simulate(seen, [0, 1], select=["signal"], method="ode").mean["signal"]
    np.testing.assert_allclose(simulated, 3 * 10 / SIZE * np.exp([0, -0.5]), rtol=1e-6)


def test_what_cannot_be_changed() -> None:
    model = with_observables(decay(only_substance=True), {"signal": symbol("S")})
    with pytest.raises(UnknownIdError, match="'signal' is set by an assignment rule"):
        in_condition(model, [Period(None, {"signal": sympy.Float(1)})])
    with pytest.raises(UnknownIdError, match="'T'"):
        in_condition(model, [Period(2.0, {"T": sympy.Float(1)})])
