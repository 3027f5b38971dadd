"""Models made of a model: with more to look at, more numbers, and what an experiment does to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sympy

from sbmlgrad.errors import UnknownIdError
from sbmlgrad.model.elements import TIME, Elements, Event, Parameter, symbol
from sbmlgrad.model.model import Model


@dataclass(frozen=True)
class Period:
    """What changes at a time: new values by id (``S`` an amount, ``[S]`` a concentration), as formulas.

    A time of None is the start. Formulas are of symbols as kinetic laws have them, see :func:`amount`.
    """

    time: float | None
    changes: Mapping[str, sympy.Expr]


def amount(elements: Elements, species: str) -> sympy.Expr:
    """The amount of a species, of symbols as kinetic laws have them."""
    item = elements.species[species]
    return symbol(species) if elements.means_amount(species) else symbol(species) * symbol(item.compartment)


def concentration(elements: Elements, species: str) -> sympy.Expr:
    """The concentration of a species, of symbols as kinetic laws have them."""
    item = elements.species[species]
    return symbol(species) / symbol(item.compartment) if elements.means_amount(species) else symbol(species)


def with_constants(model: Model, values: Mapping[str, float]) -> Model:
    """The model with more parameters, which are constant."""
    added = {name: Parameter(name, "", value, True, "") for name, value in values.items()}
    return _model(model, parameters={**model.elements.parameters, **added})


def with_observables(model: Model, formulas: Mapping[str, sympy.Expr]) -> Model:
    """The model with variables that assignment rules set, so that they can be looked at by their names."""
    elements = model.elements
    added = {name: Parameter(name, "", None, False, "") for name in formulas}
    return _model(
        model,
        parameters={**elements.parameters, **added},
        assignment_rules={**elements.assignment_rules, **formulas},
    )


def in_condition(model: Model, periods: Sequence[Period]) -> Model:
    """The model with what is done to it: initial assignments for the start, events for the times after it.

    What an initial assignment of the model sets may be set otherwise. A value at a later time is that of the formula
    just before, and holds from that time on, an observation at it included.

    Raises
    ------
    UnknownIdError
        for what the model does not have, or what a rule sets.
    """
    for period in periods:
        model = _from_start(model, period) if period.time is None else _at(model, period, period.time)
    return model


def _from_start(model: Model, period: Period) -> Model:
    elements, changes = model.elements, dict(model.changes)
    initial = dict(elements.initial_assignments)
    for name, formula in period.changes.items():
        target, value = as_symbol(elements, name, formula)
        changes.pop(target, None)
        changes.pop(f"[{target}]", None)
        initial.pop(target, None)
        if isinstance(formula, sympy.Number):
            changes[name] = float(formula)
        else:
            initial[target] = value
    return Model(replace(elements, initial_assignments=initial), changes)


def _at(model: Model, period: Period, time: float) -> Model:
    elements = model.elements
    assignments = dict(as_symbol(elements, name, formula) for name, formula in period.changes.items())
    event = Event(
        id=f"<change at {time:g}>",  # no SBML id contains "<"
        trigger=sympy.Ge(TIME, sympy.Float(time, 17)),
        assignments=assignments,
    )
    parameters = {
        name: replace(item, constant=item.constant and name not in assignments)
        for name, item in elements.parameters.items()
    }
    compartments = {
        name: replace(item, constant=item.constant and name not in assignments)
        for name, item in elements.compartments.items()
    }
    species = {
        name: replace(item, constant=item.constant and name not in assignments)
        for name, item in elements.species.items()
    }
    return _model(
        model, events=(*elements.events, event), parameters=parameters, compartments=compartments, species=species
    )


def as_symbol(elements: Elements, name: str, formula: sympy.Expr) -> tuple[str, sympy.Expr]:
    """The id of what is set (``S`` by its amount, ``[S]`` by its concentration), and the value as its symbol means it.

    Raises :class:`UnknownIdError` for what is not there, or what a rule sets.
    """
    plain = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if plain in elements.assignment_rules:
        raise UnknownIdError(
            f"{elements.source.path}: '{plain}' is set by an assignment rule; change what it depends on instead"
        )
    if plain in elements.species:
        given, means = plain == name, elements.means_amount(plain)
        size = symbol(elements.species[plain].compartment)
        return plain, formula if given == means else formula / size if given else formula * size
    if name in elements.parameters or name in elements.compartments:
        return name, formula
    raise UnknownIdError(f"{elements.source.path}: no parameter, compartment or species '{name}' to be changed")


def _model(model: Model, **parts: object) -> Model:
    return Model(replace(model.elements, **parts), model.changes)  # type: ignore[arg-type]
