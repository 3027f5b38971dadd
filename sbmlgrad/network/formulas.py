"""The formulas of a model with words that say whose they are, and why some cannot be simulated."""

from __future__ import annotations

from collections.abc import Iterable

import sympy

from sbmlgrad.model.elements import Elements
from sbmlgrad.model.functions import draw, holds

_DEEPEST = 5_000  # operations that wait for each other; XLA takes more than half a minute over more


def refusals(elements: Elements) -> list[str]:
    """Why rate equations cannot be made of a model."""
    drawing = [where for where, formula in formulas(elements) if holds(formula, draw)]
    return [
        *undefined(elements),
        *(f"{where} draws random numbers, which only exact simulation (method ssa) does" for where in drawing),
    ]


def undefined(elements: Elements) -> list[str]:
    """Why no method can simulate a model."""
    reasons = []
    for reaction in elements.reactions.values():
        if reaction.kinetic_law is sympy.nan:
            reasons.append(f"reaction {reaction.id!r} has no kinetic law; add one, or remove the reaction")
        if reaction.fast:
            reasons.append(f"reaction {reaction.id!r} is fast (equilibria are not computed; give it a finite rate)")
    for rule in elements.algebraic_rules:
        held = ", ".join(sorted(item.name for item in rule.free_symbols)) or "nothing"
        reasons.append(f"an algebraic rule on {held} cannot be solved for a variable that nothing else determines")
    return reasons


def too_deep(depth: int) -> list[str]:
    """Why formulas of a depth of so many operations are not compiled, if they are not."""
    if depth <= _DEEPEST:
        return []
    return [
        f"its rules and laws follow each other over {depth} operations, and {_DEEPEST} is the most that are compiled; "
        "put in place of a long chain of rules what it comes to"
    ]


def formulas(elements: Elements) -> Iterable[tuple[str, sympy.Basic]]:
    """Every formula of a model with words that say whose it is."""
    for identifier, expression in elements.initial_assignments.items():
        yield f"the initial assignment of {identifier!r}", expression
    for identifier, expression in {**elements.assignment_rules, **elements.rate_rules}.items():
        yield f"the rule of {identifier!r}", expression
    for reaction in elements.reactions.values():
        yield f"reaction {reaction.id!r}", reaction.kinetic_law
        for reference in (*reaction.reactants, *reaction.products):
            yield f"reaction {reaction.id!r}", reference.stoichiometry
    for event in elements.events:
        for expression in (event.trigger, event.delay, event.priority, *event.assignments.values()):
            if expression is not None:
                yield f"event {event.id!r}", expression
