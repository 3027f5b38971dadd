"""Small models from Python: documents written with libsbml, formulas in its own notation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import libsbml
import pytest

import sbmlgrad as sg


def document(
    species: Mapping[str, Mapping[str, Any]],
    reactions: Mapping[str, tuple[str, str]],
    parameters: Mapping[str, float] | None = None,
    compartments: Mapping[str, float] | None = None,
    rules: Mapping[str, str] | None = None,
    initial: Mapping[str, str] | None = None,
    substance: tuple[str, int] | None = None,
    conversion: str | None = None,
    local: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """An SBML Level 3 document.

    ``species`` maps ids to attributes: ``amount`` or ``concentration``, ``only`` (amounts in formulas, the
    default), ``boundary``, ``constant``, ``compartment`` and ``conversion``. ``reactions`` maps ids to an
    equation such as ``"2 A + B -> C"`` and a law. ``substance`` is a base unit with its power of ten.
    """
    file = libsbml.SBMLDocument(3, 2)
    model = file.createModel()
    _set_units(model, substance)
    if conversion:
        model.setConversionFactor(conversion)
    for identifier, size in (compartments or {"cell": 1.0}).items():
        item = model.createCompartment()
        item.setId(identifier)
        item.setSize(size)
        item.setSpatialDimensions(3)
        item.setConstant(True)
    for identifier, value in (parameters or {}).items():
        item = model.createParameter()
        item.setId(identifier)
        item.setValue(value)
        item.setConstant(identifier not in (rules or {}))
    for identifier, attributes in species.items():
        _add_species(model, identifier, **attributes)
    for identifier, formula in (initial or {}).items():
        item = model.createInitialAssignment()
        item.setSymbol(identifier)
        item.setMath(_math(formula))
    for identifier, formula in (rules or {}).items():
        item = model.createAssignmentRule()
        item.setVariable(identifier)
        item.setMath(_math(formula))
    for identifier, (equation, law) in reactions.items():
        _add_reaction(model, identifier, equation, law, (local or {}).get(identifier, {}))
    return str(libsbml.writeSBMLToString(file))


@pytest.fixture
def model() -> Callable[..., sg.Model]:
    """Reads the document that its arguments describe; see :func:`document`."""

    def made(*args: Any, molecules_per_unit: float | None = None, **kwargs: Any) -> sg.Model:
        return sg.read_sbml(document(*args, **kwargs), molecules_per_unit=molecules_per_unit)

    return made


def _math(formula: str) -> Any:
    math = libsbml.parseL3Formula(formula)
    assert math is not None, libsbml.getLastParseL3Error()
    return math


def _set_units(model: Any, substance: tuple[str, int] | None) -> None:
    base, scale = substance or ("item", 0)
    definition = model.createUnitDefinition()
    definition.setId("amount")
    unit = definition.createUnit()
    unit.setKind(libsbml.UnitKind_forName(base))
    unit.setScale(scale)
    unit.setExponent(1)
    unit.setMultiplier(1)
    model.setSubstanceUnits("amount")
    model.setExtentUnits("amount")


def _add_species(
    model: Any,
    identifier: str,
    amount: float | None = None,
    concentration: float | None = None,
    only: bool = True,
    boundary: bool = False,
    constant: bool = False,
    compartment: str = "cell",
    conversion: str | None = None,
) -> None:
    item = model.createSpecies()
    item.setId(identifier)
    item.setCompartment(compartment)
    item.setHasOnlySubstanceUnits(only)
    item.setBoundaryCondition(boundary)
    item.setConstant(constant)
    if amount is not None:
        item.setInitialAmount(amount)
    if concentration is not None:
        item.setInitialConcentration(concentration)
    if conversion:
        item.setConversionFactor(conversion)


def _add_reaction(model: Any, identifier: str, equation: str, law: str, local: Mapping[str, float]) -> None:
    reaction = model.createReaction()
    reaction.setId(identifier)
    reaction.setReversible(False)
    left, right = (_side(side) for side in equation.split("->"))
    for side, create in ((left, reaction.createReactant), (right, reaction.createProduct)):
        for species, stoichiometry in side:
            reference = create()
            reference.setSpecies(species)
            reference.setStoichiometry(stoichiometry)
            reference.setConstant(True)
    kinetic_law = reaction.createKineticLaw()
    kinetic_law.setMath(_math(law))
    for name, value in local.items():
        parameter = kinetic_law.createLocalParameter()
        parameter.setId(name)
        parameter.setValue(value)


def _side(text: str) -> Sequence[tuple[str, float]]:
    terms = [term.split() for term in text.split("+") if term.strip()]
    return [(term[-1], float(term[0]) if len(term) > 1 else 1.0) for term in terms]
