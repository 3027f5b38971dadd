"""An SBML document as a :class:`~sbmlgrad.model.model.Model`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import sympy

from sbmlgrad.errors import SbmlError, UnsupportedError
from sbmlgrad.model.algebraic import solve_algebraic_rules
from sbmlgrad.model.dynamics import rate
from sbmlgrad.model.elements import (
    Compartment,
    Elements,
    Event,
    Parameter,
    Reaction,
    Source,
    Species,
    SpeciesReference,
    rate_id,
    symbol,
)
from sbmlgrad.model.functions import number
from sbmlgrad.model.model import Model
from sbmlgrad.sbml.document import items, parse, read_source
from sbmlgrad.sbml.flatten import flatten
from sbmlgrad.sbml.mathml import Scope
from sbmlgrad.sbml.quantities import Quantities, in_words, listing, size_units, substance_units
from sbmlgrad.sbml.support import ignored


def read_sbml(source: str | Path, molecules_per_unit: float | None = None) -> Model:
    """Read an SBML model (Level 1, 2 or 3) from a path, from BioModels or from XML text.

    Parameters
    ----------
    source
        The path of a file; or a BioModels id such as ``BIOMD0000000035``, where no file has that name: the model
        is downloaded once and kept; or the document itself: text that starts with ``<``.
    molecules_per_unit
        Molecules in one unit of substance, for all species and for reaction extent, whatever the units in the
        file say.

    Raises
    ------
    SbmlError
        The file is missing, cannot be downloaded, is not SBML, or breaks SBML's own rules so that it cannot be
        computed.
    UnsupportedError
        The model uses constructs that sbmlgrad refuses; all of them are named.
    """
    if molecules_per_unit is not None and not 0 < molecules_per_unit < math.inf:
        raise SbmlError(f"molecules_per_unit is {molecules_per_unit}; it must be a positive number")
    origin = read_source(source)
    document, warnings = parse(origin)
    warnings += flatten(document, origin)
    return Model(_Reader(document, origin, warnings).elements(molecules_per_unit))


class _Reader:
    """One document being read. The document stays referenced here: libsbml's nodes die with it."""

    def __init__(self, document: Any, source: Source, warnings: Iterable[str]):
        self.document, self.model, self.source = document, document.getModel(), source
        self.level = document.getLevel()
        self.warnings: list[str] = [*warnings, *ignored(document, source.text)]
        self.laws: dict[str, sympy.Expr] = {}
        self.open_laws: list[str] = []
        self.assigned: Set[str] = frozenset()  # what assignment rules and initial assignments set
        self.moving: Set[str] = frozenset()  # what rate rules and events set
        # libsbml finds what has an id by looking through all that have one
        self.reactions = {reaction.getId(): reaction for reaction in items(self.model.getListOfReactions())}
        self.species = {item.getId() for item in items(self.model.getListOfSpecies())}
        self.named_references = [] if self.level < 3 else [item for item in self._references() if item.getId()]
        functions = {item.getId(): item.getMath() for item in self.model.getListOfFunctionDefinitions()}
        self.scope = Scope(source.path, self._ids(), functions, self._rate)

    def error(self, problem: str) -> SbmlError:
        return SbmlError(f"{self.source.path}: {problem}")

    def elements(self, molecules_per_unit: float | None) -> Elements:
        """Everything the document declares; raises for what cannot be computed."""
        model, quantities = self.model, Quantities(self.model, molecules_per_unit)
        assigning, changing, algebraic = _by_kind(model.getListOfRules())
        rules = self._assignments(assigning, "getVariable", "assignment rule")
        rate_rules = self._assignments(changing, "getVariable", "rate rule")
        initial = self._assignments(model.getListOfInitialAssignments(), "getSymbol", "initial assignment")
        for other, what in ((initial, "an initial assignment"), (rate_rules, "a rate rule")):
            for identifier in rules.keys() & other.keys():
                raise self.error(f"'{identifier}' has an assignment rule and {what}; remove one of them")
        events = tuple(self._event(item, index) for index, item in enumerate(model.getListOfEvents(), start=1))
        self.assigned = rules.keys() | initial.keys()
        self.moving = rate_rules.keys() | {name for event in events for name in event.assignments}
        elements = Elements(
            id=model.getId(),
            name=model.getName(),
            level=self.level,
            version=self.document.getVersion(),
            compartments={item.getId(): self._compartment(item) for item in model.getListOfCompartments()},
            species={item.getId(): self._species(item, quantities) for item in items(model.getListOfSpecies())},
            parameters={item.getId(): _parameter(model, item) for item in items(model.getListOfParameters())},
            reactions={name: self._reaction(item) for name, item in self.reactions.items()},
            assignment_rules=rules,
            initial_assignments=initial,
            extent_molecules=quantities.extent(),
            conversion_factor=self._conversion_factor(model, "the model"),
            time_units=in_words(model, model.getTimeUnits() if model.getLevel() > 2 else "time"),
            substance_units=in_words(model, substance_units(model)),
            source=self.source,
            rate_rules=rate_rules,
            algebraic_rules=tuple(
                self.scope.expression(item.getMath(), "an algebraic rule") for item in algebraic if item.getMath()
            ),
            events=events,
        )
        elements = solve_algebraic_rules(elements, self._variables())
        for event, identifier in ((e, i) for e in events for i in e.assignments if i in elements.assignment_rules):
            raise self.error(f"event '{event.id}' sets '{identifier}', which a rule determines; remove one of them")
        elements = self._with_rates(elements)
        return replace(elements, warnings=(*self.warnings, *self._unset(elements), *quantities.warnings))

    def _with_rates(self, elements: Elements) -> Elements:
        """The elements with the rates of change that formulas refer to among the assignment rules."""
        rates = {}
        for identifier in sorted(self.scope.rates_of):
            change = rate(elements, identifier)
            if change is None:
                raise UnsupportedError(
                    self.source.path, [f"rateOf is taken of '{identifier}', which an assignment rule sets"]
                )
            rates[rate_id(identifier)] = change
        return replace(elements, assignment_rules={**elements.assignment_rules, **rates})

    def _variables(self) -> tuple[str, ...]:
        """The ids that the document lets vary."""
        model = self.model
        numbers = [model.getListOfParameters(), model.getListOfSpecies(), model.getListOfCompartments()]
        varying = [item for every in (*map(items, numbers), self.named_references) for item in every]
        return tuple(item.getId() for item in varying if not item.getConstant())

    def _event(self, item: Any, index: int) -> Event:
        where = f"event '{item.getId() or f'number {index}'}'"
        parts = (item.getTrigger(), item.getDelay(), item.getPriority())
        trigger, delay, priority = (part.getMath() if part is not None else None for part in parts)
        assignments = self._assignments(item.getListOfEventAssignments(), "getVariable", f"assignment in {where}")
        recent = self.level > 2
        return Event(
            id=item.getId() or f"event {index}",
            trigger=sympy.false if trigger is None else self.scope.condition(trigger, f"the trigger of {where}"),
            assignments=assignments,
            delay=None if delay is None else self.scope.expression(delay, f"the delay of {where}"),
            priority=None if priority is None else self.scope.expression(priority, f"the priority of {where}"),
            initial_value=item.getTrigger().getInitialValue() if recent and item.getTrigger() else True,
            persistent=item.getTrigger().getPersistent() if recent and item.getTrigger() else True,
            values_from_trigger_time=item.getUseValuesFromTriggerTime(),
        )

    def _unset(self, elements: Elements) -> Iterable[str]:
        """Warnings of numbers that nothing in the document sets; they are nan."""
        unset = {
            "initial amount or concentration": [
                item.id
                for item in elements.species.values()
                if item.initial_amount is None and item.initial_concentration is None
            ],
            "value": [item.id for item in elements.parameters.values() if item.value is None],
            "size": [item.id for item in elements.compartments.values() if item.size is None and item.dimensions > 0],
        }
        for what, identifiers in unset.items():
            lacking = [f"'{identifier}'" for identifier in identifiers if identifier not in self.assigned]
            if lacking:
                yield f"{listing(lacking)}: no {what} is given; set it before anything is computed"

    def _ids(self) -> frozenset[str]:
        """The ids that stand for a number in formulas, after a check that no id is declared twice."""
        model = self.model
        lists = [model.getListOfCompartments(), model.getListOfSpecies(), model.getListOfParameters()]
        numbers = [item for every in (*map(items, lists), self.named_references) for item in every]
        seen: set[str] = set()
        for item in (*numbers, *items(model.getListOfReactions()), *model.getListOfFunctionDefinitions()):
            identifier = item.getId()
            if not identifier:
                raise self.error(f"line {item.getLine()}: <{item.getElementName()}> has no id; give it one")
            if identifier in seen:
                raise self.error(f"line {item.getLine()}: the id '{identifier}' is declared twice; rename one of them")
            seen.add(identifier)
        return frozenset(item.getId() for item in numbers)

    def _references(self) -> Iterable[Any]:
        for reaction in items(self.model.getListOfReactions()):
            yield from items(reaction.getListOfReactants())
            yield from items(reaction.getListOfProducts())

    def _assignments(self, items: Iterable[Any], target: str, what: str) -> dict[str, sympy.Expr]:
        assignments: dict[str, sympy.Expr] = {}
        for item in items:
            identifier = getattr(item, target)()
            if identifier not in self.scope.ids:
                raise self.error(f"the {what} of '{identifier}' sets an id that is not declared; declare it")
            if identifier in assignments:
                raise self.error(f"'{identifier}' has two {what}s; remove one of them")
            if item.getMath() is not None:  # Level 3 Version 2 allows none, and then nothing is assigned
                assignments[identifier] = self.scope.expression(item.getMath(), f"the {what} of '{identifier}'")
        return assignments

    def _compartment(self, item: Any) -> Compartment:
        dimensions = item.getSpatialDimensionsAsDouble()
        size = item.getSize() if item.isSetSize() else None
        if size is None and self.level < 3 and dimensions > 0:
            size = 1.0
        return Compartment(
            id=item.getId(),
            name=item.getName(),
            size=size,
            dimensions=3.0 if math.isnan(dimensions) else dimensions,
            constant=item.getConstant(),
            units=in_words(self.model, item.getUnits() or size_units(self.model, dimensions)),
        )

    def _species(self, item: Any, quantities: Quantities) -> Species:
        identifier = item.getId()
        if self.model.getCompartment(item.getCompartment()) is None:
            raise self.error(
                f"species '{identifier}' is in compartment '{item.getCompartment()}', which is not declared"
            )
        return Species(
            id=identifier,
            name=item.getName(),
            compartment=item.getCompartment(),
            initial_amount=item.getInitialAmount() if item.isSetInitialAmount() else None,
            initial_concentration=item.getInitialConcentration() if item.isSetInitialConcentration() else None,
            only_substance_units=item.getHasOnlySubstanceUnits(),
            boundary=item.getBoundaryCondition(),
            constant=item.getConstant(),
            conversion_factor=self._conversion_factor(item, f"species '{identifier}'"),
            units=in_words(self.model, item.getSubstanceUnits() or substance_units(self.model)),
            molecules_per_unit=quantities.species(item),
        )

    def _conversion_factor(self, item: Any, owner: str) -> str | None:
        identifier = item.getConversionFactor() if self.level > 2 else ""
        if identifier and self.model.getParameter(identifier) is None:
            raise self.error(f"the conversion factor '{identifier}' of {owner} is no parameter; declare it as one")
        return identifier or None

    def _reaction(self, item: Any) -> Reaction:
        identifier = item.getId()
        law = self._rate(identifier)
        assert law is not None
        return Reaction(
            id=identifier,
            name=item.getName(),
            reversible=item.getReversible(),
            reactants=tuple(self._reference(reference, identifier) for reference in items(item.getListOfReactants())),
            products=tuple(self._reference(reference, identifier) for reference in items(item.getListOfProducts())),
            modifiers=tuple(modifier.getSpecies() for modifier in items(item.getListOfModifiers())),
            kinetic_law=law,
            local_parameters=tuple(
                _parameter(self.model, parameter, f"{identifier}.")
                for parameter in _local_parameters(item.getKineticLaw())
            ),
            fast=item.isSetFast() and item.getFast(),
        )

    def _reference(self, item: Any, reaction: str) -> SpeciesReference:
        species, identifier = item.getSpecies(), item.getId() if self.level > 2 else ""
        if species not in self.species:
            raise self.error(f"reaction '{reaction}' names the species '{species}', which is not declared; declare it")
        declared = item.getStoichiometry() if item.isSetStoichiometry() else math.nan
        stoichiometry = self._stoichiometry(item, reaction)
        value = float(stoichiometry) if isinstance(stoichiometry, sympy.Number) else declared
        return SpeciesReference(species, stoichiometry, identifier or None, value)

    def _stoichiometry(self, item: Any, reaction: str) -> sympy.Expr:
        if item.isSetStoichiometryMath():
            return self.scope.expression(item.getStoichiometryMath().getMath(), f"a stoichiometry in '{reaction}'")
        if self.level > 2:
            if item.getId() and (item.getId() in self.assigned or item.getId() in self.moving):
                return symbol(item.getId())
            if not item.isSetStoichiometry():
                self.warnings.append(f"reaction '{reaction}' leaves the stoichiometry of '{item.getSpecies()}' open: 1")
                return sympy.Integer(1)
            return number(item.getStoichiometry())
        return number(item.getStoichiometry() / (item.getDenominator() or 1))

    def _rate(self, identifier: str) -> sympy.Expr | None:
        """The kinetic law of a reaction, converted once; None where the id is no reaction."""
        if identifier in self.laws:
            return self.laws[identifier]
        item = self.reactions.get(identifier)
        if item is None:
            return None
        law = item.getKineticLaw()
        if law is None or law.getMath() is None:
            return sympy.nan  # to simulate it is refused; what else is in the model can still be looked at
        if identifier in self.open_laws:
            circle = " -> ".join([*self.open_laws, identifier])
            raise self.error(f"the kinetic laws of {circle} use each other's rates in a circle; break it")
        self.open_laws.append(identifier)
        names = [parameter.getId() for parameter in _local_parameters(law)]
        for name in names:
            if names.count(name) > 1:
                raise self.error(f"reaction '{identifier}' declares the parameter '{name}' twice; rename one of them")
        local = {name: symbol(f"{identifier}.{name}") for name in names}
        self.laws[identifier] = self.scope.expression(law.getMath(), f"reaction '{identifier}'", local)
        self.open_laws.pop()
        return self.laws[identifier]


def _by_kind(rules: Iterable[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Assignment rules, rate rules and algebraic rules."""
    rules = list(rules)
    return (
        [rule for rule in rules if rule.isAssignment()],
        [rule for rule in rules if rule.isRate()],
        [rule for rule in rules if rule.isAlgebraic()],
    )


def _local_parameters(law: Any) -> list[Any]:
    if law is None:
        return []
    return items(law.getListOfLocalParameters() if law.getLevel() > 2 else law.getListOfParameters())


def _parameter(model: Any, item: Any, prefix: str = "") -> Parameter:
    return Parameter(
        id=prefix + item.getId(),
        name=item.getName(),
        value=item.getValue() if item.isSetValue() else None,
        constant=item.getConstant(),
        units=in_words(model, item.getUnits()),
    )
