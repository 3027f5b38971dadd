"""Slips of ids: what formulas use must have a value, and what has one must be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sympy

from sbmlgrad.errors import PetabError
from sbmlgrad.petab.definition import Definition
from sbmlgrad.petab.formulas import symbols


def formulas(definition: Definition) -> Iterator[tuple[str, sympy.Basic, Iterable[str]]]:
    """Every formula that looks at a model, with words that say whose it is, and the placeholders in it."""
    for observable in definition.observables.values():
        where = f"observable {observable.id!r}"
        yield where, observable.formula, observable.placeholders
        names = (*observable.placeholders, *observable.noise_placeholders, observable.id)
        yield f"{where}: noise", observable.noise, names
    for experiment in definition.experiments.values():
        for period in experiment.periods:
            for target, formula in period.changes.items():
                yield f"experiment {experiment.id!r}: change of {target!r}", formula, ()
    for item in definition.measurements:
        for formula in (*item.overrides, *item.noise_overrides):
            yield f"measurement of {item.observable!r} in row {item.row + 1}", formula, ()


def check_ids(definition: Definition) -> None:
    """Raise :class:`PetabError` for an id without a value in a formula, and for a value that changes nothing."""
    source = definition.source
    declared = {name for model in definition.models.values() for name in model.initial_values()}
    declared |= {name for model in definition.models.values() for name in model.reaction_ids}
    declared |= {alias for alias, name in definition.aliases.items() if name in declared}
    targets = {
        name: experiment.id
        for experiment in definition.experiments.values()
        for period in experiment.periods
        for name in period.changes
    }
    ids, used = declared | definition.parameters.keys() | targets.keys() | {"time"}, set(declared)
    for where, formula, placeholders in formulas(definition):
        names = symbols([formula])
        for name in sorted(names - ids - set(placeholders)):
            raise PetabError(f"{source}: {where}: {name!r} has no value; add it to the parameter table, or correct it")
        used |= names
    for name in definition.parameters.keys() - used:
        raise PetabError(
            f"{source}: the parameter {name!r} is neither in a model nor in a formula; remove it from the parameter "
            "table, or correct it"
        )
    for name in targets.keys() - used:
        raise PetabError(
            f"{source}: a condition of experiment {targets[name]!r} sets {name!r}, which is neither in a model nor in "
            "a formula; remove it from the condition table, or correct it"
        )
