"""Formulas as users write them: what ids mean in them, and the one line for what is no formula."""

from collections.abc import Callable
from typing import Any

import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SbmlError
from sbmlgrad.model.derive import with_constants
from sbmlgrad.model.evaluate import evaluate
from sbmlgrad.sbml.formula import read_formula


@pytest.fixture(scope="module")
def value() -> Callable[[str], float]:
    """Of a formula, where S is 6 molecules in a compartment of size 2, and its symbol a concentration."""
    text = """<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">
    <model substanceUnits="item"><listOfCompartments><compartment id="c" size="2" constant="true"
    spatialDimensions="3"/></listOfCompartments><listOfSpecies><species id="S" compartment="c" initialAmount="6"
    hasOnlySubstanceUnits="false" boundaryCondition="false" constant="false"/></listOfSpecies>
    <listOfReactions><reaction id="loss" reversible="false" fast="false"><listOfReactants><speciesReference
    species="S" stoichiometry="1" constant="true"/></listOfReactants><kineticLaw><math
    xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><cn>5</cn><ci>S</ci></apply></math></kineticLaw></reaction>
    </listOfReactions></model></sbml>"""
    model = with_constants(sg.read_sbml(text), {"pi": 3.0, "time_": 4.0, "Time": 5.0, "scale": 0.5})

    def of(formula: str) -> float:
        found: Any = evaluate(read_formula(formula, model, where="observable 'y'"), model.initial_values())
        return float(found)

    return of


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("S", 6.0),
        ("[S]", 3.0),
        ("scale*[ S ]^2 + S/c", 7.5),
        ("loss", 15.0),
        ("pi", 3.0),  # an id of the model
        ("Time + time_", 9.0),
        ("time", 0.0),
        ("exponentiale", 2.718281828459045),
        ("log10(100) + ln(1) + max(1, 2)", 4.0),
        ("piecewise(1, S > 5, 2)", 1.0),
        ("-2^2", -4.0),
    ],
)
def test_what_a_formula_says(value: Callable[[str], float], formula: str, expected: float) -> None:
    assert value(formula) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("formula", "problem"),
    [
        ("S +", "is no formula"),
        ("2 S", "is no formula"),
        ("[c]", "'c' is no species"),
        ("T", "uses 'T'"),
        ("f(S)", "calls 'f'"),
        ("__import__('os')", "is no formula"),
        ("sin(S, 2)", "is no formula"),
        ("(" * 6000 + "S" + ")" * 6000, "12001 characters"),
        ("+".join(["sin(" * 200 + "S" + ")" * 200]), "nested too deeply"),
        ("", "is no formula"),
    ],
)
def test_what_is_no_formula(value: Callable[[str], float], formula: str, problem: str) -> None:
    with pytest.raises(SbmlError) as caught:
        value(formula)
    assert problem in str(caught.value)
    assert "observable 'y'" in str(caught.value)
    assert "\n" not in str(caught.value)
