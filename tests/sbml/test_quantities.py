"""How many molecules one unit of substance is, and what is said where units do not tell."""

from __future__ import annotations

import libsbml
import pytest

from sbmlgrad.model.elements import AVOGADRO
from sbmlgrad.sbml.quantities import Quantities, in_words, listing

Unit = tuple[int, float, int, float]  # kind, exponent, scale, multiplier


def model_of(*units: Unit) -> libsbml.Model:
    """A model with one species, whose amounts are in the product of the units."""
    document = libsbml.SBMLDocument(3, 1)
    model = document.createModel()
    definition = model.createUnitDefinition()
    definition.setId("own")
    for kind, exponent, scale, multiplier in units:
        unit = definition.createUnit()
        unit.setKind(kind)
        unit.setExponent(exponent)
        unit.setScale(scale)
        unit.setMultiplier(multiplier)
    species = model.createSpecies()
    species.setId("S")
    species.setSubstanceUnits("own" if units else "")
    model.document = document  # which owns it
    return model


ITEM, MOLE, NONE, GRAM = (
    libsbml.UNIT_KIND_ITEM,
    libsbml.UNIT_KIND_MOLE,
    libsbml.UNIT_KIND_DIMENSIONLESS,
    libsbml.UNIT_KIND_GRAM,
)


@pytest.mark.parametrize(
    ("units", "count", "words"),
    [
        ([(ITEM, 1, 0, 1.0)], 1.0, "item"),
        ([(MOLE, 1, -9, 1.0)], AVOGADRO * 1e-9, "nanomole"),
        ([(MOLE, 1, -3, 60.0)], AVOGADRO * 0.06, "0.06 mole"),
        ([(ITEM, 1, 0, 1.0), (NONE, 1, 3, 2.0)], 2000.0, "item 2000 dimensionless"),
    ],
)
def test_units_of_molecules(units: list[Unit], count: float, words: str) -> None:
    model = model_of(*units)
    quantities = Quantities(model)
    assert quantities.species(model.getSpecies(0)) == pytest.approx(count, rel=1e-14)
    assert quantities.warnings == ()
    assert in_words(model, "own") == words


@pytest.mark.parametrize(
    ("units", "reason"),
    [
        ([], "'S': no units of substance are declared; amounts are taken as numbers of molecules"),
        ([(GRAM, 1, 0, 1.0)], "'S': the unit 'own' is no number of molecules; amounts"),
        ([(MOLE, 2, 0, 1.0)], "'S': the unit 'own' is no number of molecules; amounts"),
    ],
)
def test_other_units_are_named(units: list[Unit], reason: str) -> None:
    model = model_of(*units)
    quantities = Quantities(model)
    assert quantities.species(model.getSpecies(0)) == 1.0
    (warning,) = quantities.warnings
    assert warning.startswith(reason)
    assert Quantities(model, override=5.0).species(model.getSpecies(0)) == 5.0


def test_long_lists_are_cut() -> None:
    assert listing(list("abcd")) == "a, b, c, d"
    assert listing(list("abcdef")) == "a, b, c, d and 2 more"


@pytest.mark.parametrize(
    ("unit", "told"),
    [
        ((MOLE, 1, 0, 0.0), "comes to 0 molecules"),
        ((MOLE, 1, 400, 1.0), "comes to inf molecules"),
        ((MOLE, 1, 10**9, 1.0), "comes to inf molecules"),
        ((MOLE, 1, -(10**9), 1.0), "comes to 0 molecules"),
        ((MOLE, 1, 0, -1.0), "comes to -6.02214e+23 molecules"),
    ],
)
def test_units_beyond_floats_are_no_number_to_count_in(unit: Unit, told: str) -> None:
    model = model_of(unit)
    quantities = Quantities(model)
    assert quantities.species(model.getSpecies(0)) == 1.0
    (warning,) = quantities.warnings
    assert f"the unit 'own' {told}" in warning
    assert in_words(model, "own").endswith("mole")


@pytest.mark.parametrize(("multiplier", "exponent"), [(0.0, -1.0), (1e300, 3.0), (-2.0, 0.5)])
def test_a_factor_without_a_value_is_no_number_to_count_in(multiplier: float, exponent: float) -> None:
    model = model_of((ITEM, 1, 0, 1.0), (NONE, exponent, 0, multiplier))
    assert Quantities(model).species(model.getSpecies(0)) == 1.0
