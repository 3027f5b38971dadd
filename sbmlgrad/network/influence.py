"""What a parameter moves besides rates: numbers that events set, and times at which the state or a law jumps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import sympy
from sympy.core.relational import Relational

from sbmlgrad.model.elements import symbol
from sbmlgrad.model.functions import draw, quotient, rem
from sbmlgrad.model.model import Model
from sbmlgrad.network.formulas import formulas

_JUMPING = (Relational, sympy.floor, sympy.ceiling, rem, quotient)


def moving(model: Model, parameters: Sequence[str]) -> dict[str, str]:
    """For each parameter, the first such thing that it moves, in words; empty where it moves none.

    By the form of the formulas, so that something may be named that does not move in the end.
    """
    definitions = _definitions(model)
    return {name: _moved(model, _influenced({symbol(name)}, definitions)) for name in parameters}


def influenced(model: Model, names: Iterable[str]) -> set[str]:
    """What follows any of these, themselves among it; by the form of the formulas."""
    return {item.name for item in _influenced({symbol(name) for name in names}, _definitions(model))}


def _definitions(model: Model) -> list[tuple[sympy.Symbol, AbstractSet[sympy.Symbol]]]:
    """Each symbol that something sets, with the symbols that this follows; several times, where several things do."""
    elements = model.elements
    definitions: list[tuple[sympy.Symbol, AbstractSet[sympy.Symbol]]] = []
    assigned: list[Mapping[str, Any]] = [elements.initial_assignments, elements.assignment_rules, elements.rate_rules]
    for each in [*assigned, *(event.assignments for event in elements.events)]:
        definitions += [(symbol(identifier), formula.free_symbols) for identifier, formula in each.items()]
    # a species' amount, its concentration and the size of its compartment follow each other
    definitions += [
        (symbol(item.id), {symbol(f"[{item.id}]"), symbol(item.compartment)}) for item in elements.species.values()
    ]
    return definitions


def _influenced(
    symbols: set[sympy.Symbol], definitions: Iterable[tuple[sympy.Symbol, AbstractSet[sympy.Symbol]]]
) -> set[sympy.Symbol]:
    influenced = set(symbols)
    while True:
        more = {item for item, follows in definitions if item not in influenced and not influenced.isdisjoint(follows)}
        if not more:
            return influenced
        influenced |= more


def _moved(model: Model, influenced: AbstractSet[sympy.Symbol]) -> str:
    elements = model.elements
    for event in elements.events:
        if any(
            formula is not None and not influenced.isdisjoint(formula.free_symbols)
            for formula in (event.trigger, event.delay, event.priority)
        ):
            return f"moves the time of event {event.id!r}"
        for identifier, value in event.assignments.items():
            follows = not influenced.isdisjoint(value.free_symbols)
            if follows and (identifier in elements.species or value.has(draw)):
                return f"enters what event {event.id!r} sets {identifier!r} to"
    for where, formula in formulas(elements):
        for part in sympy.preorder_traversal(formula):
            if isinstance(part, _JUMPING) and not influenced.isdisjoint(part.free_symbols):
                return f"moves where {where} jumps"
    for identifier, formula in elements.initial_assignments.items():
        if formula.has(draw) and not influenced.isdisjoint(formula.free_symbols):
            return f"enters what {identifier!r} is drawn from"
    return ""
