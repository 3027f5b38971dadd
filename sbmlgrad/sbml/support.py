"""What sbmlgrad does not do yet, found in a document before anything is computed from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import libsbml

_NODES = {
    libsbml.AST_FUNCTION_DELAY: "the delay function (values of the past are not supported)",
    libsbml.AST_FUNCTION_RATE_OF: "the rateOf function (rates of change in formulas are not supported)",
}


_RANDOM = {getattr(libsbml, name) for name in dir(libsbml) if name.startswith("AST_DISTRIB_FUNCTION_")}
_READ_HERE = ("l3v2extendedmath",)  # MathML of Level 3 Version 2, which libsbml lists as a package


def unsupported(document: Any) -> tuple[str, ...]:
    """One sentence for each construct that changes the mathematics and is not supported, with its id."""
    return (*_packages(document), *_dynamics(document.getModel()), *_formulas(document.getModel()))


def ignored(document: Any) -> tuple[str, ...]:
    """One warning for each construct that is passed over without changing the mathematics."""
    model = document.getModel()
    warnings = [
        f"the package '{name}' is ignored: the document does not require it"
        for name, needed in packages(document)
        if not needed
    ]
    if model.getNumConstraints():
        warnings.append(f"{model.getNumConstraints()} constraints are not checked")
    return tuple(warnings)


def packages(document: Any) -> Iterator[tuple[str, bool]]:
    """The Level 3 packages that a document uses, with whether it declares them as required."""
    for index in range(document.getNumPlugins()):
        name = document.getPlugin(index).getPackageName()
        if document.getLevel() > 2 and name not in _READ_HERE:
            yield name, document.getPackageRequired(name)
    for index in range(document.getNumUnknownPackages()):
        yield (
            document.getUnknownPackagePrefix(index),
            document.getPackageRequired(document.getUnknownPackageURI(index)),
        )


def formulas(model: Any) -> Iterator[tuple[str, Any]]:
    """Every formula outside of events, with words that say whose it is."""
    for definition in model.getListOfFunctionDefinitions():
        yield f"function '{definition.getId()}'", definition.getMath()
    for assignment in model.getListOfInitialAssignments():
        yield f"initial assignment of '{assignment.getSymbol()}'", assignment.getMath()
    for rule in model.getListOfRules():
        yield f"rule of '{rule.getVariable()}'", rule.getMath()
    for reaction in model.getListOfReactions():
        if reaction.isSetKineticLaw():
            yield f"reaction '{reaction.getId()}'", reaction.getKineticLaw().getMath()
        for reference in (*reaction.getListOfReactants(), *reaction.getListOfProducts()):
            if reference.isSetStoichiometryMath():
                yield f"stoichiometry in '{reaction.getId()}'", reference.getStoichiometryMath().getMath()


def _packages(document: Any) -> Iterator[str]:
    for name, needed in packages(document):
        if needed:
            yield f"the package '{name}' is required to read it, and is not supported"


def _dynamics(model: Any) -> Iterator[str]:
    for number, event in enumerate(model.getListOfEvents(), start=1):
        yield f"event '{event.getId() or f'number {number}'}' (events are not supported)"
    for rule in model.getListOfRules():
        if rule.isRate():
            yield f"rate rule of '{rule.getVariable()}' (rate rules are not supported)"
        elif rule.isAlgebraic():
            formula = libsbml.formulaToL3String(rule.getMath()) if rule.getMath() else ""
            yield f"algebraic rule 0 = {_short(formula)} (algebraic rules are not supported)"
    for reaction in model.getListOfReactions():
        if reaction.isSetFast() and reaction.getFast():
            yield f"reaction '{reaction.getId()}' is fast (fast reactions are not supported)"


def _formulas(model: Any) -> Iterator[str]:
    for where, math in formulas(model):
        for name in sorted(_found(math)):
            yield f"{where} uses {name}"


def _found(math: Any) -> set[str]:
    found: set[str] = set()
    stack = [math] if math is not None else []
    while stack:
        node = stack.pop()
        kind = node.getType()
        if kind in _NODES:
            found.add(_NODES[kind])
        elif kind in _RANDOM:
            found.add(f"the random function {node.getName()} (random draws in formulas are not supported)")
        stack.extend(node.getChild(index) for index in range(node.getNumChildren()))
    return found


def _short(formula: str, most: int = 40) -> str:
    return formula if len(formula) <= most else formula[:most] + "..."
