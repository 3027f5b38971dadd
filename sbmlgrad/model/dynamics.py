"""How fast each variable of a model changes, as expressions over the symbols of its formulas."""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from sbmlgrad.model.elements import Elements, SpeciesReference, symbol
from sbmlgrad.model.functions import build

_ZERO = sympy.Integer(0)


def by_reactions(elements: Elements, species: str) -> bool:
    """Whether reactions change the species."""
    item = elements.species[species]
    if item.boundary or item.constant or species in elements.assignment_rules or species in elements.rate_rules:
        return False
    return species in elements.uses


def references(elements: Elements) -> Iterator[SpeciesReference]:
    """All reactants and products of all reactions."""
    for reaction in elements.reactions.values():
        yield from reaction.reactants
        yield from reaction.products


def amount_rate(elements: Elements, species: str) -> sympy.Expr:
    """The rate at which reactions change the amount of a species."""
    factor = elements.species[species].conversion_factor or elements.conversion_factor
    converted = (symbol(factor),) if factor else ()
    terms = [
        _product(sympy.Integer(sign), reference.stoichiometry, reaction.kinetic_law, *converted)
        for sign, reference, reaction in elements.uses.get(species, ())
    ]
    return build(sympy.Add, *terms) if terms else _ZERO


def rate(elements: Elements, identifier: str) -> sympy.Expr | None:
    """The rate of change of a symbol between events; None where an assignment rule sets it, so that it has none.

    A concentration changes with its amount and with the size of its compartment.
    """
    if identifier in elements.rate_rules:
        return elements.rate_rules[identifier]
    if identifier in elements.assignment_rules:
        return None
    if identifier not in elements.species:
        return _ZERO
    change = amount_rate(elements, identifier) if by_reactions(elements, identifier) else _ZERO
    if elements.means_amount(identifier):
        return change
    compartment = elements.species[identifier].compartment
    growth = rate(elements, compartment)
    if growth is None:
        return None
    inverse = build(sympy.Pow, symbol(compartment), sympy.Integer(-1))
    concentrated = _product(change, inverse)
    if growth == 0:
        return concentrated
    return build(sympy.Add, concentrated, _product(sympy.Integer(-1), symbol(identifier), growth, inverse))


def _product(*factors: sympy.Expr) -> sympy.Expr:
    if any(factor == 0 for factor in factors):
        return _ZERO
    return build(sympy.Mul, *[factor for factor in factors if factor != 1])
